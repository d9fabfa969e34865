//! Parquet files as the Hugging Face hub publishes them.

use serde_json::Value;

use super::columns::{self, LabelColumn};
use super::read::{Collector, Label};
use super::tsv::filter_of;
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Cell, Table};

pub(super) fn read(collector: &mut Collector<'_>) -> Result<()> {
    let table = Table::open(collector.path)?;
    let bad = |message: String| Error::new(ErrorKind::Data, format!("{}: {message}", collector.path.display()));
    let names: Vec<&str> = table.columns().iter().map(String::as_str).collect();
    let chosen = columns::choose(&names, collector.options.columns, collector.label_column(), filter_of(collector))
        .map_err(bad)?;
    if chosen.label.is_none() && collector.label_column() == LabelColumn::Needed {
        return Err(bad(columns::no_label(&names)));
    }
    let texts = (names[chosen.a], names[chosen.b]);
    let classes = chosen.label.and_then(|label| class_names(&table, names[label]));
    let mut number = 0;
    for group in 0..table.groups() {
        let (a, b) = (table.cells(group, chosen.a)?, table.cells(group, chosen.b)?);
        let label = chosen.label.map(|column| table.cells(group, column)).transpose()?;
        let id = chosen.id.map(|column| table.cells(group, column)).transpose()?;
        let mut conditions = Vec::new();
        for (column, value) in &chosen.conditions {
            conditions.push((table.cells(group, *column)?, value));
        }
        for row in 0..a.len() {
            number += 1;
            if conditions.iter().any(|(cells, value)| cells[row].text().as_deref() != Some(value.as_str())) {
                collector.pass();
                continue;
            }
            let text = |cell: &Cell, name: &str| match cell {
                Cell::Text(text) => Ok(text.clone()),
                Cell::Null => Ok(String::new()),
                other => Err(collector.error(number, format!("column {name:?} holds {other:?}, expected a text"))),
            };
            let (text_a, text_b) = (text(&a[row], texts.0)?, text(&b[row], texts.1)?);
            let label = match label.as_ref().map(|cells| &cells[row]) {
                None => Label::Unread,
                Some(Cell::Null) => Label::Missing,
                Some(Cell::Integer(class)) => Label::Number(*class, classes.as_deref(), texts),
                Some(Cell::Text(word)) => Label::Word(word),
                Some(other) => {
                    return Err(
                        collector.error(number, format!("the label is {other:?}, expected an integer or a text"))
                    );
                }
            };
            let id = id.as_ref().and_then(|cells| cells[row].text());
            collector.push(number, id.as_deref(), &text_a, &text_b, label)?;
        }
    }
    Ok(())
}

/// The names of a label column's classes, which the `datasets` library writes into the file's metadata.
fn class_names(table: &Table, column: &str) -> Option<Vec<String>> {
    let json: Value = serde_json::from_str(&table.metadata("huggingface")?).ok()?;
    let names = json.pointer("/info/features")?.get(column)?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}
