//! What of an event a rule may ask for.

use std::borrow::Cow;

use serde_json::Value;

use crate::audit::detect::Look;

/// Values that are taken of one field: a body chosen by an intruder must not make a rule run long.
const MAX_VALUES: usize = 10_000;
/// Steps of a path.
pub const MAX_STEPS: usize = 24;

/// A field by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// One that the event itself has.
    Own(Own),
    /// A key of the user's extra.
    Extra(String),
    /// An annotation.
    Annotation(String),
    /// In the request's body.
    Request(Vec<Step>),
    /// In the response's.
    Response(Vec<Step>),
}

macro_rules! own {
    ($($name:literal $variant:ident $what:literal,)*) => {
        /// What every event has.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Own { $(#[doc = $what] $variant,)* }
        /// Their names in a team's rules.
        pub const NAMES: &[&str] = &[$($name,)*];
        impl Own {
            fn parse(name: &str) -> Option<Own> {
                match name { $($name => Some(Own::$variant),)* _ => None }
            }
        }
    };
}

own! {
    "auditID" AuditId "Chosen by the client, if it likes.",
    "stage" Stage "`ResponseComplete`.",
    "level" Level "`Metadata`, `Request`, `RequestResponse`.",
    "verb" Verb "`get`, `create`, …",
    "uri" Uri "Path and query as sent.",
    "user" User "Who authenticated.",
    "groups" Groups "Of who authenticated.",
    "impersonatedUser" Impersonated "As whom they acted.",
    "impersonatedGroups" ImpersonatedGroups "Of the impersonated user.",
    "effectiveUser" Effective "Whose rights counted.",
    "serviceAccount" Account "`namespace/name` of who authenticated.",
    "sourceIP" Source "The last address that is no trusted proxy's.",
    "sourceIPs" Sources "All; the client may have made up all but the last.",
    "userAgent" Agent "The client's own word.",
    "group" Group "API group, empty for the core group.",
    "version" Version "API version.",
    "resource" Resource "Plural: `pods`.",
    "subresource" Sub "`exec`.",
    "namespace" Namespace "Of the object.",
    "name" Name "Of the object.",
    "code" Code "HTTP status.",
    "reason" Reason "Of the response's status.",
    "message" Message "Of the response's status.",
    "allowed" Allowed "`true` or `false`: whether it was let through.",
    "pod" Pod "That the token is bound to.",
    "node" Node "That the token is bound to.",
    "credential" Credential "`JTI=…` or `X509SHA256=…`.",
    "command" Command "Of an exec, its words joined by spaces.",
}

/// A step into a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A key.
    Key(String),
    /// Every item of a list.
    Each,
}

impl Field {
    /// A name as a team writes it: `verb`, `annotations.KEY`, `request.spec.containers[].image`,
    /// `request.metadata.labels["app.kubernetes.io/name"]`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(name: &str) -> Result<Field, String> {
        if let Some(key) = name.strip_prefix("extra.") {
            return Ok(Field::Extra(key.to_owned()));
        }
        if let Some(key) = name.strip_prefix("annotations.") {
            return Ok(Field::Annotation(key.to_owned()));
        }
        if let Some(rest) = name.strip_prefix("request.") {
            return Ok(Field::Request(steps(rest)?));
        }
        if let Some(rest) = name.strip_prefix("response.") {
            return Ok(Field::Response(steps(rest)?));
        }
        Own::parse(name).map(Field::Own).ok_or_else(|| format!("an event has no field `{name}`"))
    }

    /// How dear it is to ask: bodies have to be parsed.
    pub fn cost(&self) -> u8 {
        match self {
            Field::Own(Own::Verb | Own::Resource | Own::Sub | Own::Namespace | Own::Group) => 0,
            Field::Own(Own::Command | Own::Account) => 2,
            Field::Own(_) | Field::Extra(_) | Field::Annotation(_) => 1,
            Field::Request(_) | Field::Response(_) => 3,
        }
    }

    /// Its values; none if the event has none.
    pub fn values<'l>(&self, look: &'l Look, implicit: bool) -> Vec<Cow<'l, str>> {
        let event = look.event;
        let some = |text: &'l str| if text.is_empty() { Vec::new() } else { vec![Cow::Borrowed(text)] };
        let all = |texts: &'l [Cow<'l, str>]| texts.iter().map(|t| Cow::Borrowed(t.as_ref())).collect();
        match self {
            Field::Extra(key) => {
                event.user.extra.iter().find(|(k, _)| k == key).map_or_else(Vec::new, |(_, values)| all(values))
            }
            Field::Annotation(key) => event.annotation(key).map_or_else(Vec::new, |v| vec![Cow::Borrowed(v)]),
            Field::Request(steps) => scalars(look.body(), steps, implicit),
            Field::Response(steps) => scalars(look.answer(), steps, implicit),
            Field::Own(own) => match own {
                Own::AuditId => some(&event.audit_id),
                Own::Stage => vec![Cow::Borrowed(event.stage.as_str())],
                Own::Level => vec![Cow::Borrowed(event.level.as_str())],
                Own::Verb => some(&event.verb),
                Own::Uri => some(&event.uri),
                Own::User => some(&event.user.username),
                Own::Groups => all(&event.user.groups),
                Own::Impersonated => event.impersonated.as_ref().map_or_else(Vec::new, |u| some(&u.username)),
                Own::ImpersonatedGroups => event.impersonated.as_ref().map_or_else(Vec::new, |u| all(&u.groups)),
                Own::Effective => some(&event.effective_user().username),
                Own::Account => event
                    .user
                    .service_account()
                    .map_or_else(Vec::new, |(namespace, name)| vec![Cow::Owned(format!("{namespace}/{name}"))]),
                Own::Source => look.address.map_or_else(Vec::new, |a| vec![Cow::Borrowed(a)]),
                Own::Sources => all(&event.source_ips),
                Own::Agent => some(&event.user_agent),
                Own::Group if event.object.is_some() => vec![Cow::Borrowed(look.group())],
                Own::Group => Vec::new(),
                Own::Version => event.object.as_ref().map_or_else(Vec::new, |o| some(&o.version)),
                Own::Resource => some(look.resource()),
                Own::Sub => some(look.sub()),
                Own::Namespace => some(look.namespace()),
                Own::Name => some(look.name()),
                Own::Code => event.code.map_or_else(Vec::new, |c| vec![Cow::Owned(c.to_string())]),
                Own::Reason => some(&event.reason),
                Own::Message => some(&event.message),
                Own::Allowed => {
                    event.allowed().map_or_else(Vec::new, |a| vec![Cow::Borrowed(if a { "true" } else { "false" })])
                }
                Own::Pod => event.pod().map_or_else(Vec::new, |(name, _)| some(name)),
                Own::Node => event.node().map_or_else(Vec::new, |(name, _)| some(name)),
                Own::Credential => event.credential_id().map_or_else(Vec::new, some),
                Own::Command => {
                    let command = event.command().join(" ");
                    if command.is_empty() { Vec::new() } else { vec![Cow::Owned(command)] }
                }
            },
        }
    }

    /// Whether the event has it at all; an object or an empty list in a body counts too.
    pub fn exists(&self, look: &Look, implicit: bool) -> bool {
        let in_body = |body: &Value, steps: &[Step]| {
            let mut found = Vec::new();
            reach(body, steps, implicit, &mut found);
            found.iter().any(|v| !v.is_null())
        };
        match self {
            Field::Request(steps) => in_body(look.body(), steps),
            Field::Response(steps) => in_body(look.answer(), steps),
            _ => !self.values(look, implicit).is_empty(),
        }
    }
}

/// A path into a body.
pub fn steps(path: &str) -> Result<Vec<Step>, String> {
    let bad = || format!("`{path}` is no path: write `spec.containers[].image` or `metadata.labels[\"a.b/c\"]`");
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[]") {
            steps.push(Step::Each);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("[\"") {
            let end = after.find("\"]").ok_or_else(bad)?;
            steps.push(Step::Key(after[..end].to_owned()));
            rest = &after[end + 2..];
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return Err(bad());
            }
            steps.push(Step::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        if let Some(after) = rest.strip_prefix('.') {
            if after.is_empty() {
                return Err(bad());
            }
            rest = after;
        } else if !rest.is_empty() && !rest.starts_with('[') {
            return Err(bad());
        }
    }
    if steps.is_empty() || steps.len() > MAX_STEPS {
        return Err(bad());
    }
    Ok(steps)
}

fn reach<'v>(value: &'v Value, steps: &[Step], implicit: bool, found: &mut Vec<&'v Value>) {
    if found.len() >= MAX_VALUES {
        return;
    }
    match (steps.split_first(), value) {
        (None, _) => found.push(value),
        (Some((Step::Each, rest)), Value::Array(items)) => items.iter().for_each(|i| reach(i, rest, implicit, found)),
        (Some((Step::Key(key), rest)), Value::Object(map)) => {
            if let Some(inner) = map.get(key) {
                reach(inner, rest, implicit, found);
            }
        }
        (Some((Step::Key(_), _)), Value::Array(items)) if implicit => {
            items.iter().for_each(|i| reach(i, steps, implicit, found));
        }
        _ => {}
    }
}

fn scalars<'v>(body: &'v Value, steps: &[Step], implicit: bool) -> Vec<Cow<'v, str>> {
    let mut found = Vec::new();
    reach(body, steps, implicit, &mut found);
    let mut values = Vec::new();
    for value in found {
        match value {
            Value::String(text) => values.push(Cow::Borrowed(text.as_str())),
            Value::Bool(b) => values.push(Cow::Owned(b.to_string())),
            Value::Number(n) => values.push(Cow::Owned(n.to_string())),
            Value::Array(items) if implicit => {
                values.extend(items.iter().take(MAX_VALUES).filter_map(Value::as_str).map(Cow::Borrowed));
            }
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let key = |k: &str| Step::Key(k.into());
        assert_eq!(
            steps("spec.containers[].image").unwrap(),
            [key("spec"), key("containers"), Step::Each, key("image")]
        );
        assert_eq!(steps("labels[\"a.b/c\"]").unwrap(), [key("labels"), key("a.b/c")]);
        assert_eq!(steps("a[].b[][]").unwrap().len(), 5);
        for bad in ["", ".", "a.", "a..b", "a[0]", "a[\"x", "a[]b", &"a.".repeat(30)] {
            assert!(steps(bad).is_err(), "{bad}");
        }
        assert!(Field::parse("verbs").is_err() && Field::parse("annotations.a/b").is_ok());
    }
}
