//! One JSON object a line.

use serde_json::{Map, Value};

use super::columns::{self, Chosen, LabelColumn};
use super::read::{Collector, Label};
use super::tsv::filter_of;
use crate::error::Result;

/// The keys of the first object that are used; every other object must have them too.
struct Keys {
    names: Vec<String>,
    chosen: Chosen,
}

pub(super) fn read(text: &str, collector: &mut Collector<'_>) -> Result<()> {
    let mut keys: Option<Keys> = None;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(line)
            .map_err(|e| collector.error(number, format!("not a JSON object: {e}; expected one object a line")))?;
        let Value::Object(object) = value else {
            return Err(collector.error(number, "not a JSON object; expected one object a line"));
        };
        let keys = match &mut keys {
            Some(keys) => keys,
            none => none.insert(keys_of(&object, number, collector)?),
        };
        let scalar = |column: usize| object.get(&keys.names[column]).and_then(scalar);
        let need = |column: usize| {
            scalar(column).ok_or_else(|| {
                let found = object.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                collector
                    .error(number, format!("no text or number under {}; the object has {found}", keys.names[column]))
            })
        };
        let mut keep = true;
        for (column, value) in &keys.chosen.conditions {
            keep &= need(*column)? == *value;
        }
        if !keep {
            collector.pass();
            continue;
        }
        let (a, b) = (need(keys.chosen.a)?, need(keys.chosen.b)?);
        let word = match keys.chosen.label {
            Some(column) if object.get(&keys.names[column]) == Some(&Value::Null) => None,
            Some(column) => Some(need(column)?),
            None => None,
        };
        let label = match (&word, keys.chosen.label) {
            (Some(word), _) => Label::Word(word),
            (None, Some(_)) => Label::Missing,
            (None, None) => Label::Unread,
        };
        let id = keys.chosen.id.and_then(scalar);
        collector.push(number, id.as_deref(), &a, &b, label)?;
    }
    Ok(())
}

fn keys_of(object: &Map<String, Value>, line: usize, collector: &Collector<'_>) -> Result<Keys> {
    let names: Vec<String> = object.keys().cloned().collect();
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    let chosen = columns::choose(&borrowed, collector.options.columns, collector.label_column(), filter_of(collector))
        .map_err(|message| collector.error(line, message))?;
    if chosen.label.is_none() && collector.label_column() == LabelColumn::Needed {
        return Err(collector.error(line, columns::no_label(&borrowed)));
    }
    Ok(Keys { names, chosen })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
