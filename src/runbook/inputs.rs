//! Inputs: typed, checked before anything else, all problems at once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::diagnostic::did_you_mean;
use super::duration;
use super::model::{Input, InputKind, Runbook};
use crate::cluster::Problem;

/// Longest text that an input may have.
const MAX_TEXT: usize = 4096;

/// Types, defaults and patterns applied to what was given. The input `namespace` takes `namespace` when it was not set.
///
/// # Errors
/// Every wrong input, each with what to do.
pub fn bind_inputs(
    runbook: &Runbook,
    given: &[(String, String)],
    namespace: Option<&str>,
) -> Result<BTreeMap<String, Value>, Vec<Problem>> {
    let mut values = BTreeMap::new();
    let mut wrong = Vec::new();
    for (i, (name, _)) in given.iter().enumerate() {
        if !runbook.inputs.iter().any(|input| input.name == *name) {
            let problem = Problem::usage(format!("runbook {} has no input {name:?}", runbook.name));
            wrong.push(match did_you_mean(name, runbook.inputs.iter().map(|i| i.name.as_str())) {
                Some(near) => problem.hint(near),
                None => problem,
            });
        }
        let list = runbook.inputs.iter().any(|input| input.name == *name && input.kind == InputKind::List);
        if !list && given[..i].iter().any(|(n, _)| n == name) {
            wrong.push(Problem::usage(format!("input {name} is given twice")));
        }
    }
    for input in &runbook.inputs {
        let texts: Vec<&str> = given.iter().filter(|(n, _)| *n == input.name).map(|(_, v)| v.as_str()).collect();
        let from_flag = (input.name == "namespace").then_some(namespace).flatten();
        let value = match (texts.as_slice(), from_flag, &input.default) {
            ([], Some(namespace), _) => convert(input, &json!(namespace)),
            ([], None, Some(default)) => Ok(default.clone()),
            ([], None, None) if input.required => {
                let problem = Problem::usage(format!("input {} is missing: --set {}=…", input.name, input.name));
                wrong.push(if input.help.is_empty() { problem } else { problem.hint(input.help.clone()) });
                continue;
            }
            ([], None, None) => Ok(Value::Null),
            (several, _, _) if input.kind == InputKind::List => convert(input, &json!(several.join(","))),
            ([text, ..], _, _) => convert(input, &json!(text)),
        };
        match value {
            Ok(value) => {
                values.insert(input.name.clone(), value);
            }
            Err(why) => wrong.push(Problem::usage(format!("input {}: {why}", input.name))),
        }
    }
    if wrong.is_empty() { Ok(values) } else { Err(wrong) }
}

/// One value to its input's type.
///
/// # Errors
/// A text for people.
pub fn convert(input: &Input, value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if input.kind == InputKind::List => {
            let all: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            all.ok_or("a list of texts")?.join(",")
        }
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        _ => return Err("not a text".into()),
    };
    if text.len() > MAX_TEXT {
        return Err(format!("{} bytes are too long: at most {MAX_TEXT}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{text:?} has control characters"));
    }
    if let Some(what) = text.split([',', ' ']).find_map(credential_in_url) {
        return Err(format!(
            "it holds {what}, which the process list has seen by now and the journal would keep (replace it); name a file \
             that only you may read instead"
        ));
    }
    let converted = match &input.kind {
        InputKind::Name if subdomain(&text) => json!(text),
        InputKind::Name => {
            return Err(format!("{text:?} can't be the name of an object: lower-case letters, digits, `-` and `.`"));
        }
        InputKind::Namespace if subdomain(&text) && !text.contains('.') && text.len() <= 63 => json!(text),
        InputKind::Namespace => {
            return Err(format!("{text:?} can't be a namespace: lower-case letters, digits and `-`, at most 63"));
        }
        InputKind::Duration => json!(duration::parse(&text)?.as_secs()),
        InputKind::Integer => json!(text.parse::<i64>().map_err(|_| format!("{text:?} is no whole number"))?),
        InputKind::Boolean => match text.as_str() {
            "true" | "yes" => json!(true),
            "false" | "no" => json!(false),
            _ => return Err(format!("{text:?} is neither true nor false")),
        },
        InputKind::Choice(choices) if choices.contains(&text) => json!(text),
        InputKind::Choice(choices) => return Err(format!("{text:?} is none of {}", choices.join(", "))),
        InputKind::List => json!(text.split(',').map(str::trim).filter(|t| !t.is_empty()).collect::<Vec<_>>()),
        InputKind::LabelSelector => json!(label_selector(&text)?),
        InputKind::Path if text.is_empty() => return Err("a path can't be empty".into()),
        InputKind::Path | InputKind::Text => json!(text),
    };
    if let Some(pattern) = &input.pattern {
        // The check has compiled it once; a pattern that does not compile lets nothing pass.
        let whole = regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|e| e.to_string())?;
        if !whole.is_match(&text) {
            return Err(format!("{text:?} does not match {pattern}"));
        }
    }
    Ok(converted)
}

/// What a URL holds that nobody else may know, if anything.
fn credential_in_url(text: &str) -> Option<&'static str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    if user.and_then(|u| u.split_once(':')).is_some_and(|(_, password)| !password.is_empty()) {
        return Some("a password");
    }
    let query = rest.split_once('?').map(|(_, q)| q).unwrap_or_default();
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default().to_lowercase());
    let telling = |name: &String| {
        ["token", "secret", "password", "signature", "credential"].iter().any(|t| name.contains(t))
            || name == "sig"
            || name.ends_with("key")
    };
    names.into_iter().any(|n| telling(&n)).then_some("a credential in its query")
}

/// RFC 1123 subdomain, as Kubernetes takes it.
fn subdomain(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn label_selector(text: &str) -> Result<String, String> {
    let requirement = r"!?[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?(\s*(=|==|!=)\s*[-A-Za-z0-9_.]*|\s+(in|notin)\s+\([-A-Za-z0-9_., ]*\))?";
    let whole =
        regex::Regex::new(&format!(r"^\s*{requirement}(\s*,\s*{requirement})*\s*$")).map_err(|e| e.to_string())?;
    if whole.is_match(text) {
        Ok(text.trim().into())
    } else {
        Err(format!("{text:?} is no label selector: app=web,tier in (a,b)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(kind: InputKind) -> Input {
        Input { name: "x".into(), kind, required: false, default: None, help: String::new(), pattern: None }
    }

    #[test]
    fn each_type_takes_what_it_should_and_nothing_else() {
        let good = [
            (InputKind::Name, "web-7d9f.x", json!("web-7d9f.x")),
            (InputKind::Namespace, "pay", json!("pay")),
            (InputKind::Duration, "24h", json!(86400)),
            (InputKind::Integer, "-3", json!(-3)),
            (InputKind::Boolean, "yes", json!(true)),
            (InputKind::Choice(vec!["a".into()]), "a", json!("a")),
            (InputKind::List, "a, b,", json!(["a", "b"])),
            (InputKind::LabelSelector, "app=web,tier in (a,b),!x", json!("app=web,tier in (a,b),!x")),
        ];
        for (kind, text, value) in good {
            assert_eq!(convert(&input(kind), &json!(text)), Ok(value));
        }
        let bad = [
            (InputKind::Name, "Web"),
            (InputKind::Name, "../x"),
            (InputKind::Namespace, "a.b"),
            (InputKind::Duration, "soon"),
            (InputKind::Integer, "1.5"),
            (InputKind::Boolean, "maybe"),
            (InputKind::Choice(vec!["a".into()]), "b"),
            (InputKind::LabelSelector, "a=b; rm"),
            (InputKind::Text, "a\u{1b}[31m"),
        ];
        for (kind, text) in bad {
            assert!(convert(&input(kind.clone()), &json!(text)).is_err(), "{kind:?} {text:?}");
        }
    }

    #[test]
    fn a_url_with_a_credential_is_refused_and_not_repeated() {
        for (text, refused) in [
            ("https://logs.example/access.log", false),
            ("postgres://admin@db:5432/shop?sslmode=require", false),
            ("https://logs.example/a?from=1&to=2", false),
            ("postgres://admin:s3cr3t@db/shop", true),
            ("https://bucket.example/a.log?X-Amz-Signature=s3cr3t", true),
            ("/var/log/a.log,https://logs.example/b?access_token=s3cr3t", true),
            ("https://store.example/c?sv=1&sig=s3cr3t", true),
        ] {
            for kind in [InputKind::Text, InputKind::List] {
                let came = convert(&input(kind), &json!(text));
                assert_eq!(came.is_err(), refused, "{text}");
                assert!(!came.err().unwrap_or_default().contains("s3cr3t"));
            }
        }
    }

    #[test]
    fn a_pattern_must_match_the_whole() {
        let with = Input { pattern: Some("a+".into()), ..input(InputKind::Text) };
        assert!(convert(&with, &json!("aa")).is_ok());
        assert!(convert(&with, &json!("aab")).is_err());
    }
}
