//! Settings as a text that only says what differs from the defaults: what finished steps are recognised by.
//!
//! A field that a later version adds says nothing as long as it has its default, so that runs of older versions stay
//! finished.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value;

use crate::config::RunConfig;
use crate::settings::TrainSettings;

/// A run with one of everything, in which required fields have a value that no real run has: each other field has its
/// default.
const TEMPLATE: &str = r#"
name = "\u0000"
pairs = [{ name = "\u0000", sources = [{ path = "\u0000", kind = "squad" }], reword = { encoder = "\u0000" } }]
teachers = [{ name = "\u0000", kind = "sentence-encoder", encoder = "\u0000" }]
evaluate = [{ name = "\u0000", head = "\u0000", path = "\u0000" }]
[student]
encoder = "\u0000"
heads = [{ name = "\u0000" }]
[stage1]
sets = [{ head = "\u0000" }]
match = { teacher = "\u0000" }
[stage2]
sets = [{ head = "\u0000" }]
match = { teacher = "\u0000" }
"#;

static DEFAULTS: LazyLock<Value> = LazyLock::new(|| {
    let config: RunConfig = toml::from_str(TEMPLATE).expect("the template is a constant; a test parses it");
    json(&config)
});

/// The text of a value of the run file; `part` is its place there, with `0` for any element of a list, for example
/// `["stage2", "sets", "0"]`.
pub(crate) fn canonical(value: &impl Serialize, part: &[&str]) -> String {
    let defaults = part.iter().fold(&*DEFAULTS, |at, key| match at {
        Value::Array(list) => list.first().unwrap_or(&Value::Null),
        at => &at[*key],
    });
    stripped(json(value), defaults).unwrap_or(Value::Null).to_string()
}

/// The text of one training's settings.
pub(crate) fn canonical_settings(settings: &TrainSettings) -> String {
    stripped(json(settings), &json(&TrainSettings::default())).unwrap_or(Value::Null).to_string()
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("settings have only string keys and finite numbers")
}

/// A value without what equals its default; `None` when nothing is left. Keys are sorted.
fn stripped(value: Value, defaults: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => {
            let mut kept: Vec<(String, Value)> = map
                .into_iter()
                .filter(|(key, value)| defaults.get(key) != Some(value))
                .filter_map(|(key, value)| stripped(value, &defaults[&key]).map(|value| (key, value)))
                .collect();
            kept.sort_by(|a, b| a.0.cmp(&b.0));
            (!kept.is_empty()).then(|| Value::Object(kept.into_iter().collect()))
        }
        Value::Array(list) if list.is_empty() => None,
        Value::Array(list) => {
            let of_element = defaults.get(0).unwrap_or(&Value::Null);
            Some(Value::Array(list.into_iter().map(|v| stripped(v, of_element).unwrap_or(Value::Null)).collect()))
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
