//! A team's rule in quell's YAML.

use super::field::{Field, NAMES};
use super::matcher::{Condition, Test, compile, glob, network};
use super::{Rule, Threshold, scalar};
use crate::audit::detect::Severity;
use crate::audit::detect::known;
use crate::runbook::yaml::{Kind, Node};
use crate::runbook::{Diagnostic, parse_duration};

/// Conditions in conditions.
const MAX_DEPTH: usize = 12;
/// Values that one field is compared with.
const MAX_VALUES: usize = 5_000;

/// Collects what is wrong, so that all of it is said at once.
struct Reader<'t> {
    text: &'t str,
    problems: Vec<Diagnostic>,
}

/// A rule.
///
/// # Errors
/// Every problem with its place.
pub fn parse(text: &str, node: &Node) -> Result<Rule, Vec<Diagnostic>> {
    let mut reader = Reader { text, problems: Vec::new() };
    let rule = reader.rule(node);
    match rule {
        Some(rule) if reader.problems.is_empty() => Ok(rule),
        _ => {
            if reader.problems.is_empty() {
                reader.wrong(node, "no rule");
            }
            Err(reader.problems)
        }
    }
}

impl Reader<'_> {
    fn wrong(&mut self, node: &Node, message: impl Into<String>) {
        self.problems.push(Diagnostic::error(self.text, node.span.clone(), message));
    }

    /// Nothing but these keys.
    fn only(&mut self, node: &Node, known: &[&str]) {
        let Kind::Map(entries) = &node.kind else {
            self.wrong(node, format!("a mapping is expected here, not {}", node.type_name()));
            return;
        };
        for (key, span, _) in entries {
            if !known.contains(&key.as_str()) {
                let mut problem = Diagnostic::error(self.text, span.clone(), format!("unknown field `{key}`"));
                problem = problem.suggest(format!("known here: {}", known.join(", ")));
                self.problems.push(problem);
            }
        }
    }

    fn wanted<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n Node> {
        let found = node.get(key);
        if found.is_none() {
            self.wrong(node, format!("`{key}` is missing"));
        }
        found
    }

    fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = scalar(node).filter(|t| !t.is_empty() && t.len() <= 2_000);
        if text.is_none() {
            self.wrong(node, format!("`{what}` must be text of at most 2000 bytes, not {}", node.type_name()));
        }
        text
    }

    fn rule(&mut self, node: &Node) -> Option<Rule> {
        self.only(node, &["apiVersion", "kind", "metadata", "spec"]);
        for (key, value) in [("apiVersion", "quell/v1"), ("kind", "Detection")] {
            let found = self.wanted(node, key)?;
            if scalar(found).as_deref() != Some(value) {
                self.wrong(found, format!("`{key}` must be {value}"));
            }
        }
        let metadata = self.wanted(node, "metadata")?;
        self.only(metadata, &["name", "title"]);
        let name_node = self.wanted(metadata, "name")?;
        let id = self.text(name_node, "name")?;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if id.len() > 80 || !id.chars().all(good) {
            self.wrong(name_node, "`name` is lower-case letters, digits and -, at most 80 of them");
        }
        if known::all().iter().any(|d| d.spec().id == id) {
            self.wrong(name_node, format!("quell has a detection of the name `{id}` itself"));
        }
        let title = match metadata.get("title") {
            Some(title) => self.text(title, "title")?,
            None => id.clone(),
        };
        let spec = self.wanted(node, "spec")?;
        self.only(spec, &["severity", "techniques", "match", "threshold", "sentence", "false-positives", "step"]);
        let severity_node = self.wanted(spec, "severity")?;
        let severity = scalar(severity_node).as_deref().and_then(Severity::parse);
        if severity.is_none() {
            self.wrong(severity_node, "`severity` is one of info, low, medium, high, critical");
        }
        let techniques = spec.get("techniques").map_or_else(Vec::new, |list| self.techniques(list));
        let condition = self.wanted(spec, "match").and_then(|m| self.condition(m, 0));
        let threshold = spec.get("threshold").and_then(|t| self.threshold(t));
        let mut or = |key: &str, default: &str| match spec.get(key) {
            Some(node) => self.text(node, key).unwrap_or_default(),
            None => default.to_owned(),
        };
        let says = or("sentence", &format!("{{who}} [did|tried to do] what the rule `{id}` looks for, {{what}}."));
        let false_positives = or("false-positives", "The rule names none.");
        let step = or("step", "Ask the owner of the identity what it was for.");
        Some(Rule {
            id,
            title,
            severity: severity?,
            techniques: techniques.join(" "),
            says,
            false_positives,
            step,
            condition: condition?.ordered(),
            threshold,
        })
    }

    fn techniques(&mut self, node: &Node) -> Vec<String> {
        let texts = self.texts(node, "techniques");
        for text in &texts {
            let good = text.strip_prefix('T').is_some_and(|r| {
                let (number, sub) = r.split_once('.').unwrap_or((r, "000"));
                let digits = |t: &str, n| t.len() == n && t.bytes().all(|b| b.is_ascii_digit());
                digits(number, 4) && digits(sub, 3)
            });
            if !good {
                self.wrong(node, format!("{text:?} is no ATT&CK technique (T1552.007)"));
            }
        }
        texts
    }

    /// One text, or a list of them.
    fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        let nodes: &[Node] = match &node.kind {
            Kind::List(items) => items,
            _ => std::slice::from_ref(node),
        };
        if nodes.is_empty() || nodes.len() > MAX_VALUES {
            self.wrong(node, format!("`{what}` must hold between one and {MAX_VALUES} values"));
        }
        let mut texts = Vec::new();
        for node in nodes.iter().take(MAX_VALUES) {
            match scalar(node) {
                Some(text) if text.len() <= 4_096 => texts.push(text),
                Some(_) => self.wrong(node, "a value of more than 4096 bytes"),
                None => self.wrong(node, format!("a value is expected here, not {}", node.type_name())),
            }
        }
        texts
    }

    fn condition(&mut self, node: &Node, depth: usize) -> Option<Condition> {
        let Kind::Map(entries) = &node.kind else {
            self.wrong(node, format!("conditions are a mapping of fields, not {}", node.type_name()));
            return None;
        };
        if depth > MAX_DEPTH {
            self.wrong(node, format!("conditions in conditions, more than {MAX_DEPTH} deep"));
            return None;
        }
        if entries.is_empty() {
            self.wrong(node, "no condition: it would match every request");
            return None;
        }
        let mut all = Vec::new();
        for (key, span, value) in entries {
            match key.as_str() {
                "all" | "any" => {
                    let Kind::List(items) = &value.kind else {
                        self.wrong(value, format!("`{key}` is a list of conditions, not {}", value.type_name()));
                        continue;
                    };
                    if items.is_empty() {
                        self.wrong(value, format!("`{key}` of nothing"));
                    }
                    let inner: Vec<Condition> = items.iter().filter_map(|i| self.condition(i, depth + 1)).collect();
                    all.push(if key == "all" { Condition::All(inner) } else { Condition::Any(inner) });
                }
                "not" => all.extend(self.condition(value, depth + 1).map(|c| Condition::Not(Box::new(c)))),
                name => match Field::parse(name) {
                    Ok(field) => {
                        all.extend(self.test(value).map(|test| Condition::Field { field, test, implicit: false }))
                    }
                    Err(why) => {
                        let mut problem = Diagnostic::error(self.text, span.clone(), why);
                        problem = problem.suggest(format!(
                            "fields: {}, extra.KEY, annotations.KEY, request.PATH, response.PATH",
                            NAMES.join(", ")
                        ));
                        self.problems.push(problem);
                    }
                },
            }
        }
        Some(Condition::All(all))
    }

    /// What a field is compared with: a value, a list, or one of `glob`, `regex`, `cidr`, `exists`.
    fn test(&mut self, node: &Node) -> Option<Test> {
        let Kind::Map(entries) = &node.kind else {
            return Some(Test::Is(self.texts(node, "values")));
        };
        let [(key, _, value)] = entries.as_slice() else {
            self.wrong(node, "one of glob, regex, cidr and exists is expected here");
            return None;
        };
        let before = self.problems.len();
        let test = match key.as_str() {
            "glob" => Test::Like(self.each(value, |t| glob(t, false, false))),
            "regex" => Test::Like(self.each(value, compile)),
            "cidr" => Test::Within(self.each(value, network)),
            "exists" => match value.kind {
                Kind::Bool(wanted) => Test::Exists(wanted),
                _ => {
                    self.wrong(value, "`exists` is true or false");
                    return None;
                }
            },
            _ => {
                self.only(node, &["glob", "regex", "cidr", "exists"]);
                return None;
            }
        };
        (self.problems.len() == before).then_some(test)
    }

    fn each<T>(&mut self, node: &Node, make: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut made = Vec::new();
        for text in self.texts(node, "values") {
            match make(&text) {
                Ok(one) => made.push(one),
                Err(why) => self.wrong(node, why),
            }
        }
        made
    }

    fn threshold(&mut self, node: &Node) -> Option<Threshold> {
        self.only(node, &["count", "within", "distinct"]);
        let count_node = self.wanted(node, "count")?;
        let count = scalar(count_node).and_then(|t| t.parse::<usize>().ok()).filter(|n| (2..=10_000).contains(n));
        if count.is_none() {
            self.wrong(count_node, "`count` is between 2 and 10000");
        }
        let within_node = self.wanted(node, "within")?;
        let within = scalar(within_node)
            .and_then(|t| parse_duration(&t).ok())
            .filter(|d| (1..=7 * 86_400).contains(&d.as_secs()));
        if within.is_none() {
            self.wrong(within_node, "`within` is a time between 1s and 7d");
        }
        let distinct = match node.get("distinct") {
            None => None,
            Some(field) => match Field::parse(&scalar(field).unwrap_or_default()) {
                Ok(field) => Some(field),
                Err(why) => {
                    self.wrong(field, why);
                    None
                }
            },
        };
        let within = time::Duration::seconds(i64::try_from(within?.as_secs()).unwrap_or(i64::MAX));
        Some(Threshold { count: count?, within, distinct })
    }
}
