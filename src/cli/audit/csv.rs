//! Comma-separated values (RFC 4180), of which no spreadsheet makes a formula.

use std::io::Write;

use super::{Gone, Rows};
use crate::audit::Row;
use crate::report::escape::escape;

const COLUMNS: [&str; 20] = [
    "time", "auditID", "outcome", "code", "verb", "apiGroup", "resource", "subresource", "namespace", "name", "user",
    "impersonatedUser", "trustedSourceIP", "sourceIPs", "userAgent", "command", "requestURI", "credentialID", "file",
    "offset",
];

/// A header, and a row for each request.
pub(super) fn print(out: &mut dyn Write, rows: &mut Rows<'_>) -> Result<(), Gone> {
    write!(out, "{}\r\n", COLUMNS.join(","))?;
    rows.each(|row| {
        let cells: Vec<String> = cells(row).iter().map(|text| cell(text)).collect();
        Ok(write!(out, "{}\r\n", cells.join(","))?)
    })
}

fn cells(row: Row) -> [String; 20] {
    [
        row.time.clone(),
        row.audit_id.clone(),
        row.outcome(),
        row.code.map(|c| c.to_string()).unwrap_or_default(),
        row.verb,
        row.api_group,
        row.resource,
        row.subresource,
        row.namespace,
        row.name,
        row.user,
        row.impersonated_user.map(|u| u.username).unwrap_or_default(),
        row.trusted_source_ip.unwrap_or_default(),
        row.source_ips.join(" "),
        row.user_agent,
        row.command.join(" "),
        row.request_uri,
        row.credential_id.unwrap_or_default(),
        row.origin.file,
        row.origin.offset.to_string(),
    ]
}

/// A cell: controls escaped, quoted where it must be, and with an apostrophe before what a spreadsheet would calculate.
///
/// <https://owasp.org/www-community/attacks/CSV_Injection>
fn cell(text: &str) -> String {
    let text = escape(text);
    let formula = text.trim_start().starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    let text = if formula { format!("'{text}") } else { text.into_owned() };
    if text.contains(['"', ',', ';', '\n', '\r', '\'']) || text.starts_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_calculates_nothing_and_ends_no_row() {
        assert_eq!(cell("kubectl/v1.33 (linux)"), "kubectl/v1.33 (linux)");
        assert_eq!(cell("=cmd|'/c calc'!A0"), "\"'=cmd|'/c calc'!A0\"");
        assert_eq!(cell("a,\"b\"\r\nc"), "\"a,\"\"b\"\"\\r\\nc\"");
        for text in ["+1", "-1", "@x", " =1", "＝1", "\t=1"] {
            let safe = cell(text);
            let begin = safe.trim_start_matches('"').chars().next().unwrap();
            assert!(begin == '\'' || begin == '\\', "{text:?} {safe:?}");
        }
    }
}
