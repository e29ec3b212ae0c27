//! The format as JSON Schema, for editors.

use serde_json::{Value, json};

use super::check::Known;

/// JSON Schema (draft 2020-12) of a runbook, with each action's parameters under `with`.
pub fn schema(known: &[Known]) -> Value {
    let names: Vec<&str> = known.iter().map(|k| k.name.as_str()).collect();
    let with: Vec<Value> = known
        .iter()
        .map(|k| json!({"if": {"properties": {"uses": {"const": k.name}}, "required": ["uses"]}, "then": {"properties": {"with": parameters(&k.schema)}}}))
        .collect();
    let duration = json!({"type": "string", "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "description": "90s, 15m, 24h, 1h30m"});
    let id = json!({"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"});
    let step = json!({
        "type": "object",
        "required": ["id", "title", "uses"],
        "additionalProperties": false,
        "properties": {
            "id": {"allOf": [id], "description": "unique; in expressions `-` is written `_`"},
            "title": {"type": "string"},
            "uses": {"enum": names, "description": "the action"},
            "with": {"type": "object", "description": "its parameters; strings may hold ${{ … }}"},
            "when": {"type": ["string", "boolean"], "description": "an expression; the step runs when it is true"},
            "foreach": {"type": "string", "description": "an expression that gives a list; the step runs once for each, as ${{ item }}"},
            "needs": {"type": "array", "items": {"type": "string"}, "description": "steps whose outcome must be verified first"},
            "approve": {"enum": ["never", "ask", "always"], "description": "never: runs without asking; ask: when it changes something; always: even under --yes"},
            "timeout": duration,
            "retry": {"type": "object", "additionalProperties": false, "properties": {
                "attempts": {"type": "integer", "minimum": 1, "maximum": 20}, "max-wait": duration}},
            "on-failure": {"enum": ["stop", "continue", "ask"]},
        },
        "allOf": with,
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "quell runbook",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "steps"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": {"const": "quell/v1"},
            "kind": {"const": "Runbook"},
            "metadata": {
                "type": "object",
                "required": ["name", "title"],
                "additionalProperties": false,
                "properties": {
                    "name": id, "title": {"type": "string"}, "summary": {"type": "string"},
                    "when": {"type": "string", "description": "when to use it"},
                    "references": {"type": "array", "items": {"type": "object", "required": ["id"], "additionalProperties": false,
                        "properties": {"id": {"type": "string"}, "title": {"type": "string"}, "url": {"type": "string"}}}},
                },
            },
            "inputs": {"type": "object", "propertyNames": id, "additionalProperties": {
                "type": "object", "required": ["type"], "additionalProperties": false,
                "properties": {
                    "type": {"enum": ["name", "namespace", "duration", "integer", "boolean", "choice", "list", "label-selector", "path", "text"]},
                    "required": {"type": "boolean"}, "default": true, "help": {"type": "string"},
                    "pattern": {"type": "string", "format": "regex", "description": "the whole text must match"},
                    "choices": {"type": "array", "items": {"type": "string"}},
                },
            }},
            "alerts": {"type": "array", "items": {"type": "object", "required": ["kind", "inputs"], "additionalProperties": false, "properties": {
                "kind": {"enum": ["alertmanager", "falco"]},
                "match": {"type": "object", "additionalProperties": {"type": "string"}},
                "inputs": {"type": "object", "additionalProperties": {"type": "string"}, "description": "input to path in the alert"},
            }}},
            "steps": {"type": "array", "minItems": 1, "items": {"if": {"required": ["parallel"]},
                "then": {"additionalProperties": false, "properties": {"parallel": {"type": "array", "items": step}}}, "else": step}},
        },
    })
}

/// An action's parameters, where any value may be an expression instead.
fn parameters(schema: &Value) -> Value {
    let mut out = schema.clone();
    if let Some(object) = out.as_object_mut() {
        object.remove("$schema");
        object.remove("title");
    }
    // An action without parameters.
    if out["properties"].is_null() {
        out["properties"] = json!({});
    }
    if let Some(properties) = out["properties"].as_object_mut() {
        for property in properties.values_mut() {
            let description = property["description"].clone();
            let expression = json!({"type": "string", "pattern": "\\$\\{\\{"});
            *property = json!({"description": description, "anyOf": [property.clone(), expression]});
        }
    }
    out
}
