//! Sigma rules for Kubernetes audit logs: the part of the language that such rules use. What can't be mapped is refused
//! with the reason, never left out in silence.
//!
//! <https://sigmahq.io/sigma-specification/>

use std::collections::BTreeMap;

use regex::Regex;

use super::field::{Field, MAX_STEPS, Own, Step};
use super::matcher::{Condition, Test, compile, glob, network};
use super::{Parsed, Rule, scalar};
use crate::audit::detect::Severity;
use crate::runbook::Diagnostic;
use crate::runbook::yaml::{Kind, Node};

/// Words of a condition.
const MAX_WORDS: usize = 500;
/// Parentheses in parentheses.
const MAX_DEPTH: usize = 32;
/// Values of one field.
const MAX_VALUES: usize = 2_000;

/// A rule, or why it can't be one here.
///
/// # Errors
/// It has neither title nor detection.
pub fn parse(text: &str, node: &Node) -> Result<Parsed, Vec<Diagnostic>> {
    let Some(title) = node.get("title").and_then(scalar).filter(|t| !t.is_empty() && t.len() <= 500) else {
        return Err(vec![Diagnostic::error(text, node.span.clone(), "a Sigma rule without a `title`")]);
    };
    let mut warnings = Vec::new();
    match rule(text, node, &title, &mut warnings) {
        Ok(rule) => Ok(Parsed::Rule(Box::new(rule), warnings)),
        Err(why) => Ok(Parsed::Refused { rule: title, why }),
    }
}

fn rule(text: &str, node: &Node, title: &str, warnings: &mut Vec<Diagnostic>) -> Result<Rule, String> {
    if node.get("correlation").is_some() || node.get("type").is_some() {
        return Err("it correlates other rules: write a team's rule with a `threshold` instead".into());
    }
    let source = node.get("logsource").ok_or("it has no `logsource`")?;
    let of = |key: &str| source.get(key).and_then(scalar).unwrap_or_default();
    if of("product") != "kubernetes" || !matches!(of("service").as_str(), "audit" | "") {
        return Err(format!("it is for the log {}/{}, not for kubernetes/audit", of("product"), of("service")));
    }
    if of("service").is_empty() && of("category") != "audit" {
        return Err("it does not say `service: audit`".into());
    }
    let detection = node.get("detection").ok_or("it has no `detection`")?;
    let Kind::Map(entries) = &detection.kind else { return Err("its `detection` is no mapping".into()) };
    let mut selections = BTreeMap::new();
    let mut conditions = Vec::new();
    for (key, _, value) in entries {
        match key.as_str() {
            "condition" => match &value.kind {
                Kind::List(items) => conditions.extend(items.iter().filter_map(scalar)),
                _ => conditions.extend(scalar(value)),
            },
            "timeframe" => return Err("it has a `timeframe`: write a team's rule with a `threshold` instead".into()),
            name => {
                selections.insert(
                    name.to_owned(),
                    selection(text, value, warnings).map_err(|e| format!("in `{name}`: {e}"))?,
                );
            }
        }
    }
    if conditions.is_empty() {
        return Err("it has no `condition`".into());
    }
    let parsed: Result<Vec<Condition>, String> = conditions.iter().map(|c| condition(c, &selections)).collect();
    let severity = match node.get("level").and_then(scalar).as_deref() {
        Some("informational") => Severity::Info,
        Some(level) => Severity::parse(level).ok_or_else(|| format!("its level {level:?} is none"))?,
        None => Severity::Medium,
    };
    let list = |key: &str| -> Vec<String> {
        match node.get(key).map(|n| &n.kind) {
            Some(Kind::List(items)) => items.iter().filter_map(scalar).take(50).collect(),
            Some(Kind::Text(text)) => vec![text.clone()],
            _ => Vec::new(),
        }
    };
    let techniques: Vec<String> = list("tags")
        .iter()
        .filter_map(|t| t.to_ascii_lowercase().strip_prefix("attack.t").map(|n| format!("T{n}")))
        .filter(|t| t[1..].starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    let id = node.get("id").and_then(scalar).unwrap_or_else(|| slug(title));
    let false_positives = list("falsepositives").join("; ");
    Ok(Rule {
        id: format!("sigma-{}", id.chars().take(80).collect::<String>()),
        title: title.to_owned(),
        severity,
        techniques: techniques.join(" "),
        says: "{who} [did|tried to do] what a Sigma rule looks for, {what}.".into(),
        false_positives: if false_positives.is_empty() {
            "The rule names none.".into()
        } else {
            false_positives.chars().take(1000).collect()
        },
        step: "Read the rule's references, and ask the owner of the identity.".into(),
        condition: Condition::Any(parsed?).ordered(),
        threshold: None,
    })
}

fn slug(title: &str) -> String {
    title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// A mapping: all of it. A list of mappings: any of them. Words without a field can't be looked for.
fn selection(text: &str, node: &Node, warnings: &mut Vec<Diagnostic>) -> Result<Condition, String> {
    match &node.kind {
        Kind::Map(entries) => {
            if entries.is_empty() {
                return Err("it selects nothing".into());
            }
            let as_create = |k: &str, v: &str| node.get(k).and_then(scalar).as_deref() == Some(v);
            if as_create("objectRef.subresource", "exec") && as_create("verb", "create") {
                warnings.push(warn(text, node, "it sees exec only as `create`: over a WebSocket it is a `get`"));
            }
            let all: Result<Vec<Condition>, String> =
                entries.iter().map(|(k, _, v)| item(text, k, v, warnings)).collect();
            Ok(Condition::All(all?))
        }
        Kind::List(items) if !items.is_empty() && items.iter().all(|i| matches!(i.kind, Kind::Map(_))) => {
            let any: Result<Vec<Condition>, String> = items.iter().map(|i| selection(text, i, warnings)).collect();
            Ok(Condition::Any(any?))
        }
        _ => Err("words without a field: the raw line is not searched".into()),
    }
}

fn warn(text: &str, node: &Node, message: &str) -> Diagnostic {
    Diagnostic::error(text, node.span.clone(), message).warning()
}

#[derive(Default)]
struct Modifiers {
    like: Option<&'static str>,
    regex: Option<String>,
    cidr: bool,
    exists: bool,
    all: bool,
    cased: bool,
}

fn modifiers(names: &[&str]) -> Result<Modifiers, String> {
    let mut found = Modifiers::default();
    for name in names {
        match *name {
            "contains" => found.like = Some("contains"),
            "startswith" => found.like = Some("startswith"),
            "endswith" => found.like = Some("endswith"),
            "all" => found.all = true,
            "cased" => found.cased = true,
            "re" => found.regex = Some(String::new()),
            "cidr" => found.cidr = true,
            "exists" => found.exists = true,
            "i" | "m" | "s" if found.regex.is_some() => {
                if let Some(flags) = &mut found.regex {
                    flags.push_str(name);
                }
            }
            other => return Err(format!("the modifier `{other}` is not known here")),
        }
    }
    Ok(found)
}

/// `field|modifier|…: value or values`.
fn item(text: &str, key: &str, node: &Node, warnings: &mut Vec<Diagnostic>) -> Result<Condition, String> {
    let mut parts = key.split('|');
    let name = parts.next().unwrap_or_default();
    let modifiers = modifiers(&parts.collect::<Vec<_>>())?;
    let field = field(name)?;
    let condition = |test| Condition::Field { field: field.clone(), test, implicit: true };
    if modifiers.exists {
        return match node.kind {
            Kind::Bool(wanted) => Ok(condition(Test::Exists(wanted))),
            _ => Err(format!("`{key}` must be true or false")),
        };
    }
    if matches!(node.kind, Kind::Null) {
        return Ok(condition(Test::Exists(false)));
    }
    let nodes: &[Node] = match &node.kind {
        Kind::List(items) => items,
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() || nodes.len() > MAX_VALUES {
        return Err(format!("`{key}` must have between one and {MAX_VALUES} values"));
    }
    let or_absent = nodes.iter().any(|n| matches!(n.kind, Kind::Null));
    let values: Vec<String> = nodes
        .iter()
        .filter(|n| !matches!(n.kind, Kind::Null))
        .map(|n| scalar(n).ok_or_else(|| format!("`{key}`: {} is no value", n.type_name())))
        .collect::<Result<_, _>>()?;
    sane(text, name, &values, nodes, warnings)?;
    if modifiers.cidr {
        let nets: Result<Vec<_>, String> = values.iter().map(|v| network(v)).collect();
        return Ok(condition(Test::Within(nets?)));
    }
    // `field: '*'` asks whether it is there with a value.
    if modifiers.like.is_none() && modifiers.regex.is_none() && values == ["*"] {
        return Ok(condition(Test::Exists(true)));
    }
    let patterns: Result<Vec<Regex>, String> = values.iter().map(|v| pattern(v, &modifiers)).collect();
    let patterns = patterns.map_err(|e| format!("`{key}`: {e}"))?;
    let test = condition(if modifiers.all { Test::LikeAll(patterns) } else { Test::Like(patterns) });
    Ok(if or_absent { Condition::Any(vec![test, condition(Test::Exists(false))]) } else { test })
}

fn pattern(value: &str, modifiers: &Modifiers) -> Result<Regex, String> {
    if let Some(flags) = &modifiers.regex {
        return compile(&if flags.is_empty() { value.to_owned() } else { format!("(?{flags}){value}") });
    }
    let text = match modifiers.like {
        Some("contains") => format!("*{value}*"),
        Some("startswith") => format!("{value}*"),
        Some("endswith") => format!("*{value}"),
        _ => value.to_owned(),
    };
    glob(&text, !modifiers.cased, true)
}

/// What can never be in a log is said: such a rule would be silent, and silence would be taken for good news.
fn sane(
    text: &str,
    name: &str,
    values: &[String],
    nodes: &[Node],
    warnings: &mut Vec<Diagnostic>,
) -> Result<(), String> {
    let wild = |v: &str| v.contains(['*', '?']);
    match name {
        "responseStatus.code" => match values.iter().find(|v| !wild(v) && v.parse::<u16>().is_err()) {
            Some(v) => {
                Err(format!("responseStatus.code is a number in an audit log, never {v:?}: it could match nothing"))
            }
            None => Ok(()),
        },
        "verb" => {
            const VERBS: &[&str] = &[
                "get",
                "list",
                "watch",
                "create",
                "update",
                "patch",
                "delete",
                "deletecollection",
                "post",
                "put",
                "head",
                "options",
                "connect",
                "impersonate",
            ];
            let never: Vec<&String> =
                values.iter().filter(|v| !wild(v) && !VERBS.contains(&v.to_ascii_lowercase().as_str())).collect();
            if !values.is_empty() && never.len() == values.len() {
                return Err(format!("{:?} is no verb of an audit log: it could match nothing", never[0]));
            }
            if let (Some(v), Some(node)) = (never.first(), nodes.first()) {
                warnings.push(warn(
                    text,
                    node,
                    &format!("{v:?} is no verb of an audit log; the others are looked for"),
                ));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The fields of an audit event by the names that Sigma rules use, which are the log's own.
fn field(name: &str) -> Result<Field, String> {
    let own = match name {
        "auditID" => Own::AuditId,
        "stage" => Own::Stage,
        "level" => Own::Level,
        "verb" => Own::Verb,
        "requestURI" => Own::Uri,
        "user.username" => Own::User,
        "user.groups" => Own::Groups,
        "impersonatedUser.username" => Own::Impersonated,
        "impersonatedUser.groups" => Own::ImpersonatedGroups,
        "sourceIPs" => Own::Sources,
        "userAgent" => Own::Agent,
        "objectRef.apiGroup" => Own::Group,
        "objectRef.apiVersion" => Own::Version,
        "objectRef.resource" => Own::Resource,
        "objectRef.subresource" => Own::Sub,
        "objectRef.namespace" => Own::Namespace,
        "objectRef.name" => Own::Name,
        "responseStatus.code" => Own::Code,
        "responseStatus.reason" => Own::Reason,
        "responseStatus.message" => Own::Message,
        _ => {
            if let Some(key) = name.strip_prefix("annotations.") {
                return Ok(Field::Annotation(key.to_owned()));
            }
            if let Some(key) = name.strip_prefix("user.extra.") {
                return Ok(Field::Extra(key.to_owned()));
            }
            for (prefix, make) in
                [("requestObject.", Field::Request as fn(Vec<Step>) -> Field), ("responseObject.", Field::Response)]
            {
                if let Some(path) = name.strip_prefix(prefix) {
                    let steps: Vec<Step> =
                        path.split('.').map(|k| Step::Key(k.trim_end_matches("[]").to_owned())).collect();
                    if steps.len() > MAX_STEPS {
                        return Err(format!("the path `{name}` is too long"));
                    }
                    return Ok(make(steps));
                }
            }
            let near = [
                "objectRef.apiGroup",
                "objectRef.resource",
                "objectRef.namespace",
                "objectRef.name",
                "user.username",
                "requestObject.spec.volumes.hostPath",
                "requestObject.spec.containers.securityContext.capabilities",
            ]
            .into_iter()
            .find(|full| full.rsplit('.').next() == Some(name));
            let hint = near.map_or(String::new(), |n| format!("; `{n}` may be meant"));
            return Err(format!("an audit event has no field `{name}`{hint}"));
        }
    };
    Ok(Field::Own(own))
}

/// `a and not (b or 1 of c*)`.
fn condition(text: &str, selections: &BTreeMap<String, Condition>) -> Result<Condition, String> {
    if text.contains('|') {
        return Err("its condition counts (`|`): write a team's rule with a `threshold` instead".into());
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    if words.len() > MAX_WORDS {
        return Err("its condition is too long".into());
    }
    let mut parser = Parser { words: &words, at: 0, selections, text };
    let parsed = parser.or(0)?;
    match parser.words.get(parser.at) {
        None => Ok(parsed),
        Some(word) => Err(format!("its condition `{text}` can't be read at `{word}`")),
    }
}

struct Parser<'c> {
    words: &'c [&'c str],
    at: usize,
    selections: &'c BTreeMap<String, Condition>,
    text: &'c str,
}

impl Parser<'_> {
    fn take(&mut self, word: &str) -> bool {
        let is = self.words.get(self.at).is_some_and(|w| w.eq_ignore_ascii_case(word));
        self.at += usize::from(is);
        is
    }

    fn or(&mut self, depth: usize) -> Result<Condition, String> {
        let mut any = vec![self.and(depth)?];
        while self.take("or") {
            any.push(self.and(depth)?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Condition::Any(any) })
    }

    fn and(&mut self, depth: usize) -> Result<Condition, String> {
        let mut all = vec![self.one(depth)?];
        while self.take("and") {
            all.push(self.one(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::All(all) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > MAX_DEPTH {
            return Err("its condition is nested too deeply".into());
        }
        if self.take("not") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.or(depth + 1)?;
            return if self.take(")") { Ok(inner) } else { Err(format!("its condition `{}` lacks a `)`", self.text)) };
        }
        let word = *self.words.get(self.at).ok_or_else(|| format!("its condition `{}` ends too early", self.text))?;
        self.at += 1;
        if self.words.get(self.at).is_some_and(|w| w.eq_ignore_ascii_case("of")) {
            let all = match word.to_ascii_lowercase().as_str() {
                "all" => true,
                "1" | "any" => false,
                other => {
                    return Err(format!("its condition asks for {other} of several: only 1 and all are known here"));
                }
            };
            let name =
                *self.words.get(self.at + 1).ok_or_else(|| format!("its condition `{}` ends too early", self.text))?;
            self.at += 2;
            let pattern = glob(name, false, false)?;
            // A name that begins with _ is not among `them`.
            let chosen: Vec<Condition> = self
                .selections
                .iter()
                .filter(|(n, _)| if name == "them" { !n.starts_with('_') } else { pattern.is_match(n) })
                .map(|(_, c)| c.clone())
                .collect();
            if chosen.is_empty() {
                return Err(format!("its condition names `{name}`, and there is no such selection"));
            }
            return Ok(if all { Condition::All(chosen) } else { Condition::Any(chosen) });
        }
        self.selections
            .get(word)
            .cloned()
            .ok_or_else(|| format!("its condition names `{word}`, and there is no such selection"))
    }
}
