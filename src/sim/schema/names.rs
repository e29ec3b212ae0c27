//! What may be a name, a label and the like, after `k8s.io/apimachinery/pkg/util/validation`. Each function returns the
//! complaints in the server's words, none if all is well.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SEARCH: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// What a name may be, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameRule {
    /// Most kinds.
    Subdomain,
    /// Namespaces.
    Label,
    /// Services.
    Label1035,
    /// The kinds of RBAC.
    PathSegment,
}

impl NameRule {
    /// The rule for a kind's names.
    pub(super) fn of(kind: &str) -> Self {
        match kind {
            "Namespace" => NameRule::Label,
            "Service" => NameRule::Label1035,
            "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" => NameRule::PathSegment,
            _ => NameRule::Subdomain,
        }
    }

    /// What is wrong with `name`; of a prefix (`generateName`) the last character does not matter.
    pub(super) fn check(self, name: &str, prefix: bool) -> Vec<String> {
        // A generated suffix follows the dash, so that it may end the prefix.
        let masked = match name.strip_suffix('-') {
            Some(start) if prefix && !start.is_empty() => format!("{start}a"),
            _ => name.to_owned(),
        };
        match self {
            NameRule::Subdomain => subdomain(&masked),
            NameRule::Label if masked.contains('.') => vec!["must not contain dots".to_owned()],
            NameRule::Label => label(&masked),
            NameRule::Label1035 => label_1035(&masked),
            NameRule::PathSegment => path_segment(name, prefix),
        }
    }
}

fn lower_alphanumeric(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn label_shape(s: &str) -> bool {
    bounded(s, lower_alphanumeric, |c| lower_alphanumeric(c) || c == b'-')
}

/// Not empty, `edge` at both ends and `inner` throughout.
fn bounded(s: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let ends = s.bytes().next().zip(s.bytes().last());
    ends.is_some_and(|(first, last)| edge(first) && edge(last)) && s.bytes().all(inner)
}

fn shape(s: &str, limit: usize, fits: bool, complaint: &str) -> Vec<String> {
    let mut found = Vec::new();
    if s.len() > limit {
        found.push(format!("must be no more than {limit} characters"));
    }
    if !fits {
        found.push(complaint.to_owned());
    }
    found
}

/// RFC 1123 subdomain.
pub(super) fn subdomain(s: &str) -> Vec<String> {
    shape(s, 253, s.split('.').all(label_shape), SUBDOMAIN)
}

/// A domain to search in: underscores are in use there.
pub(super) fn subdomain_with_underscores(s: &str) -> Vec<String> {
    let inner = |c: u8| lower_alphanumeric(c) || c == b'-' || c == b'_';
    let fits = s.split('.').all(|part| bounded(part, |c| lower_alphanumeric(c) || c == b'_', inner));
    shape(s, 253, fits, SEARCH)
}

/// RFC 1123 label.
pub(super) fn label(s: &str) -> Vec<String> {
    shape(s, 63, label_shape(s), LABEL)
}

fn label_1035(s: &str) -> Vec<String> {
    let fits = label_shape(s) && s.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
    shape(s, 63, fits, LABEL_1035)
}

/// A name that becomes a segment of a URL's path.
pub(super) fn path_segment(s: &str, prefix: bool) -> Vec<String> {
    if !prefix && (s == "." || s == "..") {
        return vec![format!("may not be '{s}'")];
    }
    ['/', '%'].into_iter().filter(|c| s.contains(*c)).map(|c| format!("may not contain '{c}'")).collect()
}

fn qualified_shape(s: &str) -> bool {
    bounded(s, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

/// A label's or annotation's key: a name with an optional domain and `/` before it.
pub(super) fn qualified(key: &str) -> Vec<String> {
    let mut found = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                found.push("prefix part must be non-empty".to_owned());
            } else {
                found.extend(subdomain(prefix).into_iter().map(|m| format!("prefix part {m}")));
            }
            *name
        }
        _ => {
            let with_domain = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {QUALIFIED}{with_domain}")];
        }
    };
    if name.is_empty() {
        found.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        found.push("name part must be no more than 63 bytes".to_owned());
    }
    if !qualified_shape(name) {
        found.push(format!("name part {QUALIFIED}"));
    }
    found
}

/// A label's value.
pub(super) fn label_value(s: &str) -> Vec<String> {
    let mut found = Vec::new();
    if s.len() > 63 {
        found.push("must be no more than 63 bytes".to_owned());
    }
    if !s.is_empty() && !qualified_shape(s) {
        found.push(LABEL_VALUE.to_owned());
    }
    found
}

/// A key in the data of a ConfigMap or Secret.
pub(super) fn config_key(s: &str) -> Vec<String> {
    let mut found = Vec::new();
    if s.len() > 253 {
        found.push("must be no more than 253 characters".to_owned());
    }
    if s.is_empty() || !s.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c)) {
        found.push(CONFIG_KEY.to_owned());
    }
    match s {
        "." => found.push("must not be '.'".to_owned()),
        ".." => found.push("must not be '..'".to_owned()),
        _ if s.starts_with("..") => found.push("must not start with '..'".to_owned()),
        _ => {}
    }
    found
}

/// A port's name (IANA service name).
pub(super) fn port_name(s: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut complain = |when: bool, words: &str| {
        if when {
            found.push(words.to_owned());
        }
    };
    complain(s.len() > 15, "must be no more than 15 characters");
    let charset = s.bytes().all(|c| lower_alphanumeric(c) || c == b'-') && !s.is_empty();
    complain(!charset, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    complain(!s.bytes().any(|c| c.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    complain(s.contains("--"), "must not contain consecutive hyphens");
    complain(s.starts_with('-') || s.ends_with('-'), "must not begin or end with a hyphen");
    found
}

/// A port's number.
pub(super) fn port_number(n: i64) -> Option<&'static str> {
    (!(1..=65535).contains(&n)).then_some("must be between 1 and 65535, inclusive")
}

/// An environment variable's name.
pub(super) fn env_name(s: &str) -> Option<&'static str> {
    let fits = !s.is_empty() && s.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=');
    (!fits)
        .then_some("a valid environment variable name must consist only of printable ASCII characters other than '='")
}

/// A number of percent, as text.
pub(super) fn percent(s: &str) -> Option<&'static str> {
    let digits = s.strip_suffix('%').unwrap_or_default();
    let fits = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    (!fits).then_some(
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
    )
}
