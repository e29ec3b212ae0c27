//! `${{ … }}`: evaluated once, with bounded work, and never inside a value that came from elsewhere.
//!
//! The language is minijinja's expressions: `inputs.pod`, `steps.record.outputs.pod.uid`, comparisons, `and`, `or`,
//! `not`, `in`, and the filters length, join, first, last, default, lower, upper. Names with `-` are written with `_`.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value};

/// Instructions that one expression may take.
const FUEL: u64 = 20_000;
/// Bytes that one text may come to.
const MAX_TEXT: usize = 64 * 1024;
/// Items that `foreach` may have.
const MAX_ITEMS: usize = 1000;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// It uses the outputs of a step that has not run.
    #[error("it needs the outputs of step {step}, which has not run")]
    NotYet {
        /// The step, as it is written in the expression.
        step: String,
    },
    /// Anything else.
    #[error("{0}")]
    Bad(String),
}

/// The values that expressions see.
pub struct Scope {
    root: Value,
    steps: BTreeSet<String>,
}

impl Scope {
    /// `steps` maps a step's id to `{outputs, status}`.
    pub fn new(inputs: &BTreeMap<String, Value>, steps: &BTreeMap<String, Value>, item: Option<&Value>) -> Scope {
        let mut root = Map::new();
        let names = |map: &BTreeMap<String, Value>| -> Map<String, Value> {
            map.iter().map(|(k, v)| (identifier(k), v.clone())).collect()
        };
        root.insert("inputs".into(), Value::Object(names(inputs)));
        root.insert("steps".into(), Value::Object(names(steps)));
        if let Some(item) = item {
            root.insert("item".into(), item.clone());
        }
        Scope { root: Value::Object(root), steps: steps.keys().map(|k| identifier(k)).collect() }
    }
}

/// A name as expressions write it.
pub fn identifier(name: &str) -> String {
    name.replace('-', "_")
}

/// A part of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Literal(String),
    /// The text between `${{` and `}}`, and where it begins in the string.
    Expression(String, usize),
}

/// Splits a string at its expressions.
///
/// # Errors
/// One that is not closed.
pub fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("${{") {
        if open > 0 {
            all.push(Part::Literal(rest[..open].into()));
        }
        let inside = &rest[open + 3..];
        let close = closing(inside).ok_or_else(|| "`${{` is not closed by `}}`".to_string())?;
        let at = text.len() - inside.len();
        all.push(Part::Expression(inside[..close].into(), at));
        rest = &inside[close + 2..];
    }
    if !rest.is_empty() {
        all.push(Part::Literal(rest.into()));
    }
    Ok(all)
}

/// The place of `}}` outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') if text[i..].starts_with("}}") => return Some(i),
            _ => {}
        }
    }
    None
}

fn environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(FUEL));
    env.add_filter("length", minijinja::filters::length);
    env.add_filter("join", minijinja::filters::join);
    env.add_filter("first", minijinja::filters::first);
    env.add_filter("last", minijinja::filters::last);
    env.add_filter("default", minijinja::filters::default);
    env.add_filter("lower", minijinja::filters::lower);
    env.add_filter("upper", minijinja::filters::upper);
    env
}

/// The names that an expression uses, with their attributes: `steps.record.outputs.pod`. Checks its syntax too.
pub fn names(expression: &str) -> Result<BTreeSet<String>, String> {
    let env = environment();
    let compiled = env.compile_expression(expression.trim()).map_err(|e| spoken(&e))?;
    Ok(compiled.undeclared_variables(true).into_iter().collect())
}

fn one(expression: &str, scope: &Scope) -> Result<Value, ExprError> {
    for name in names(expression).map_err(ExprError::Bad)? {
        if let Some(step) = name.strip_prefix("steps.").and_then(|rest| rest.split('.').next())
            && !scope.steps.contains(step)
        {
            return Err(ExprError::NotYet { step: step.into() });
        }
    }
    let env = environment();
    let compiled = env.compile_expression(expression.trim()).map_err(|e| ExprError::Bad(spoken(&e)))?;
    let value = compiled.eval(minijinja::value::Serde(&scope.root)).map_err(|e| ExprError::Bad(spoken(&e)))?;
    if value.is_undefined() {
        return Err(ExprError::Bad(format!("`{}` is not defined", expression.trim())));
    }
    serde_json::to_value(&value).map_err(|e| ExprError::Bad(e.to_string()))
}

fn spoken(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// Evaluates every expression in a value, once. A string that is one whole expression takes its type.
pub fn evaluate(value: &Value, scope: &Scope) -> Result<Value, ExprError> {
    match value {
        Value::String(text) => string(text, scope),
        Value::Array(items) => {
            items.iter().map(|v| evaluate(v, scope)).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| Ok((k.clone(), evaluate(v, scope)?)))
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
        other => Ok(other.clone()),
    }
}

fn string(text: &str, scope: &Scope) -> Result<Value, ExprError> {
    let parts = parts(text).map_err(ExprError::Bad)?;
    if let [Part::Expression(whole, _)] = parts.as_slice() {
        return one(whole, scope);
    }
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Literal(literal) => out.push_str(&literal),
            Part::Expression(expression, _) => match one(&expression, scope)? {
                Value::String(s) => out.push_str(&s),
                Value::Null => {}
                other => out.push_str(&other.to_string()),
            },
        }
        if out.len() > MAX_TEXT {
            return Err(ExprError::Bad("the text came to more than 64 KiB".into()));
        }
    }
    Ok(Value::String(out))
}

/// An expression without `${{ }}`, or with it around the whole.
pub fn bare(text: &str) -> &str {
    let trimmed = text.trim();
    match trimmed.strip_prefix("${{").and_then(|t| t.strip_suffix("}}")) {
        Some(inside) if !inside.contains("${{") => inside.trim(),
        _ => trimmed,
    }
}

/// `when`: whether an expression is true.
pub fn truth(expression: &str, scope: &Scope) -> Result<bool, ExprError> {
    Ok(match one(bare(expression), scope)? {
        Value::Bool(b) => b,
        Value::Null => false,
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
        Value::Number(n) => n.as_f64() != Some(0.0),
    })
}

/// `foreach`: an expression's list.
pub fn list(expression: &str, scope: &Scope) -> Result<Vec<Value>, ExprError> {
    match one(bare(expression), scope)? {
        Value::Array(items) if items.len() <= MAX_ITEMS => Ok(items),
        Value::Array(items) => Err(ExprError::Bad(format!("{} items are too many: at most {MAX_ITEMS}", items.len()))),
        _ => Err(ExprError::Bad("it does not give a list".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        let inputs = [
            ("pod".to_string(), json!("web")),
            ("audit-log".to_string(), json!(["a", "b"])),
            ("evil".to_string(), json!("${{ inputs.pod }}")),
        ];
        let steps = [("re-cord".to_string(), json!({"outputs": {"n": 3, "pod": {"uid": "u"}}, "status": "verified"}))];
        Scope::new(&inputs.into(), &steps.into(), Some(&json!("it")))
    }

    #[test]
    fn whole_expressions_keep_their_type_and_others_become_text() {
        let with = json!({"a": "${{ inputs.audit_log }}", "b": "x-${{ inputs.pod }}-${{ steps.re_cord.outputs.n }}", "c": 1, "d": ["${{ item }}"]});
        let got = evaluate(&with, &scope()).unwrap();
        assert_eq!(got, json!({"a": ["a", "b"], "b": "x-web-3", "c": 1, "d": ["it"]}));
    }

    #[test]
    fn a_value_is_never_evaluated_again() {
        assert_eq!(evaluate(&json!("${{ inputs.evil }}"), &scope()).unwrap(), json!("${{ inputs.pod }}"));
        assert_eq!(evaluate(&json!("a ${{ inputs.evil }}"), &scope()).unwrap(), json!("a ${{ inputs.pod }}"));
    }

    #[test]
    fn a_step_that_has_not_run_is_told_from_a_mistake() {
        assert_eq!(
            evaluate(&json!("${{ steps.later.outputs.x }}"), &scope()),
            Err(ExprError::NotYet { step: "later".into() })
        );
        assert!(matches!(evaluate(&json!("${{ inputs.nope }}"), &scope()), Err(ExprError::Bad(_))));
        assert!(matches!(evaluate(&json!("${{ inputs.pod"), &scope()), Err(ExprError::Bad(_))));
    }

    #[test]
    fn work_is_bounded() {
        let nested = format!("${{{{ {}1{} }}}}", "[".repeat(2000), "]".repeat(2000));
        assert!(evaluate(&json!(nested), &scope()).is_err());
        assert!(truth("inputs.pod == 'web' and steps.re_cord.status == 'verified'", &scope()).unwrap());
        assert_eq!(list("${{ inputs.audit_log }}", &scope()).unwrap().len(), 2);
        assert!(list("inputs.pod", &scope()).is_err());
    }
}
