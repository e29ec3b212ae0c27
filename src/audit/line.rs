//! One line of the log: bounded reading, and the few fields that every line is looked at for.

use std::borrow::Cow;
use std::io::BufRead;

use serde::Deserialize;
use time::OffsetDateTime;

use crate::clock;

/// Bytes of the longest line that is taken. An Event with bodies is bounded by etcd's object size (1.5 MiB by default)
/// but for lists, whose response may be larger.
pub const MAX_LINE: usize = 32 * 1024 * 1024;

/// A line as it was found.
pub(super) enum Found {
    /// In the buffer, without its newline; `ended` is false for a last line without one.
    Line { ended: bool },
    /// Longer than [`MAX_LINE`]; skipped.
    TooLong,
    /// No more.
    End,
}

/// Reads the next line into `buffer`, and how many bytes it took from the file.
pub(super) fn next(from: &mut impl BufRead, buffer: &mut Vec<u8>) -> std::io::Result<(Found, u64)> {
    buffer.clear();
    let mut taken = 0u64;
    let mut too_long = false;
    loop {
        let piece = match from.fill_buf() {
            Ok(piece) => piece,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if piece.is_empty() {
            let found = match (too_long, taken) {
                (true, _) => Found::TooLong,
                (false, 0) => Found::End,
                (false, _) => Found::Line { ended: false },
            };
            return Ok((found, taken));
        }
        let newline = piece.iter().position(|b| *b == b'\n');
        let used = newline.map_or(piece.len(), |at| at + 1);
        let text = &piece[..newline.unwrap_or(piece.len())];
        if buffer.len() + text.len() > MAX_LINE {
            too_long = true;
            buffer.clear();
            buffer.shrink_to(1024 * 1024);
        }
        if !too_long {
            buffer.extend_from_slice(text);
        }
        from.consume(used);
        taken += used as u64;
        if newline.is_some() {
            return Ok((if too_long { Found::TooLong } else { Found::Line { ended: true } }, taken));
        }
    }
}

/// How far a request had come when its line was written, least telling first.
///
/// <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Received,
    /// A long-running request (watch, exec, attach) has begun.
    Started,
    Panic,
    Complete,
}

/// Text that is borrowed from the line unless it holds escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    level: Option<Text<'a>>,
    #[serde(borrow, rename = "auditID")]
    audit_id: Option<Text<'a>>,
    #[serde(borrow)]
    stage: Option<Text<'a>>,
    #[serde(borrow)]
    verb: Option<Text<'a>>,
    #[serde(borrow, rename = "requestURI")]
    request_uri: Option<Text<'a>>,
    #[serde(borrow)]
    user: Option<User<'a>>,
    #[serde(borrow)]
    impersonated_user: Option<User<'a>>,
    #[serde(borrow)]
    request_received_timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    stage_timestamp: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    username: Option<Text<'a>>,
    #[serde(borrow)]
    extra: Option<Extra<'a>>,
}

#[derive(Deserialize)]
struct Extra<'a> {
    #[serde(borrow, rename = "authentication.kubernetes.io/pod-uid")]
    pod_uid: Option<Vec<Text<'a>>>,
}

/// What every line is looked at for.
pub(super) struct Glance<'a> {
    pub level: Cow<'a, str>,
    pub audit_id: Cow<'a, str>,
    pub stage: Stage,
    pub verb: Cow<'a, str>,
    pub uri: Cow<'a, str>,
    pub user: Cow<'a, str>,
    pub impersonated: Option<Cow<'a, str>>,
    pub pod_uids: Vec<Cow<'a, str>>,
    pub received: OffsetDateTime,
    pub received_text: Cow<'a, str>,
    pub staged: OffsetDateTime,
}

/// Looks at a line. The whole of it is parsed, so that damage anywhere is seen; the error says what is wrong with it.
pub(super) fn glance(line: &[u8]) -> Result<Glance<'_>, &'static str> {
    let raw: Raw = serde_json::from_slice(line).map_err(|e| match e.classify() {
        serde_json::error::Category::Eof => "cut short",
        serde_json::error::Category::Data => "not of an Event's shape",
        _ => "not JSON",
    })?;
    let text = |t: Option<Text<'_>>| t.map(|t| t.0.into_owned());
    match (text(raw.kind).as_deref(), text(raw.api_version).as_deref()) {
        (Some("Event"), Some("audit.k8s.io/v1")) => {}
        (Some("EventList"), _) => return Err("an EventList: only one Event a line is read"),
        _ => return Err("not an Event of audit.k8s.io/v1"),
    }
    let stage = match raw.stage.as_ref().map(|t| t.0.as_ref()) {
        Some("RequestReceived") => Stage::Received,
        Some("ResponseStarted") => Stage::Started,
        Some("ResponseComplete") => Stage::Complete,
        Some("Panic") => Stage::Panic,
        _ => return Err("without a known stage"),
    };
    let (Some(audit_id), Some(received_text), Some(staged)) =
        (raw.audit_id, raw.request_received_timestamp, raw.stage_timestamp)
    else {
        return Err("without auditID or times");
    };
    let received = clock::parse(&received_text.0).map_err(|_| "with a time that is none")?;
    let staged = clock::parse(&staged.0).map_err(|_| "with a time that is none")?;
    let (user, extra) = raw.user.map_or((None, None), |u| (u.username, u.extra));
    Ok(Glance {
        level: raw.level.map_or(Cow::Borrowed("unknown"), |t| t.0),
        audit_id: audit_id.0,
        stage,
        verb: raw.verb.map_or(Cow::Borrowed(""), |t| t.0),
        uri: raw.request_uri.map_or(Cow::Borrowed(""), |t| t.0),
        user: user.map_or(Cow::Borrowed(""), |t| t.0),
        impersonated: raw.impersonated_user.and_then(|u| u.username).map(|t| t.0),
        pod_uids: extra.and_then(|e| e.pod_uid).unwrap_or_default().into_iter().map(|t| t.0).collect(),
        received,
        received_text: received_text.0,
        staged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_are_bounded_and_the_last_may_lack_its_newline() {
        let mut from: &[u8] = b"one\n\nthree";
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        loop {
            match next(&mut from, &mut buffer).unwrap() {
                (Found::End, 0) => break,
                (Found::Line { ended }, n) => seen.push((String::from_utf8(buffer.clone()).unwrap(), ended, n)),
                _ => panic!("unexpected"),
            }
        }
        assert_eq!(seen, [("one".into(), true, 4), (String::new(), true, 1), ("three".into(), false, 5)]);

        let long = [vec![b'x'; MAX_LINE + 1], b"\nnext\n".to_vec()].concat();
        let mut from = std::io::BufReader::new(&long[..]);
        assert!(matches!(next(&mut from, &mut buffer).unwrap(), (Found::TooLong, _)));
        assert!(matches!(next(&mut from, &mut buffer).unwrap(), (Found::Line { ended: true }, 5)));
        assert_eq!(buffer, b"next");
    }

    #[test]
    fn a_planted_key_inside_a_body_is_not_the_events_own() {
        let line = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a","stage":"ResponseComplete",
            "user":{"username":"system:serviceaccount:ns:n\u0061me"},"requestObject":{"stageTimestamp":"1999-01-01T00:00:00Z",
            "user":{"username":"other"}},"requestReceivedTimestamp":"2026-11-23T03:00:00.000001Z","stageTimestamp":"2026-11-23T03:00:01.000000Z"}"#;
        let glance = glance(line).ok().unwrap();
        assert_eq!(glance.user, "system:serviceaccount:ns:name");
        assert_eq!(clock::rfc3339(glance.staged), "2026-11-23T03:00:01.000Z");
    }
}
