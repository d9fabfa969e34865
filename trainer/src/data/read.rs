//! TSV and JSONL files, plain or `.zst`, as rows.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use super::labels::LabelMap;
use crate::error::{Error, ErrorKind, Result};
use crate::files;

/// One pair of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The file's own id, or its line number.
    pub id: String,
    /// Premise or question.
    pub text_a: String,
    /// Hypothesis or passage.
    pub text_b: String,
    /// Class of the head, if the row has a gold label.
    pub label: Option<u32>,
}

/// Keeps rows whose column has a value, for example `split = "train"`.
pub type RowFilter = BTreeMap<String, String>;

// The first name that a file has is taken. `label` comes before MNLI's and SNLI's `gold_label`, because a file with
// both has added the former on purpose.
const A: &[&str] = &["text_a", "premise", "sentence1", "question", "query"];
const B: &[&str] = &["text_b", "hypothesis", "sentence2", "sentence", "passage"];
const LABEL: &[&str] = &["label", "gold_label"];
const ID: &[&str] = &["id", "index", "idx", "pairID"];

/// Reads the pairs of a file. With `labels`, a label column is demanded and its words are mapped; without, labels are
/// ignored.
///
/// A TSV has a header row and no quoting; JSONL has one object a line with the same names. Known names are
/// `text_a`/`premise`/`sentence1`/`question`/`query`, `text_b`/`hypothesis`/`sentence2`/`sentence`/`passage`,
/// `label`/`gold_label` and `id`/`index`/`idx`/`pairID`.
///
/// # Errors
/// An unreadable file, a missing column, a row with too few fields, invalid UTF-8 or JSON, an empty text, or a label
/// that the head does not know; the message names file and line.
pub fn read_rows(path: &Path, labels: Option<&LabelMap>, filter: &RowFilter) -> Result<Vec<Row>> {
    let mut bytes = Vec::new();
    files::open(path)?.read_to_end(&mut bytes).map_err(|e| Error::io(path, "read", e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|&&b| b == b'\n').count() + 1;
        Error::data(path, line, "invalid UTF-8; convert the file to UTF-8")
    })?;
    match format_of(path) {
        Some("tsv") => read_tsv(path, &text, labels, filter),
        Some("jsonl") => read_jsonl(path, &text, labels, filter),
        other => Err(Error::new(
            ErrorKind::Data,
            format!(
                "{}: cannot tell the format from the name (ending {:?}); expected .tsv, .txt or .jsonl, optionally \
                 followed by .zst",
                path.display(),
                other.unwrap_or("none"),
            ),
        )),
    }
}

fn format_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".zst").unwrap_or(name);
    Some(match name.rsplit_once('.')?.1 {
        "tsv" | "txt" => "tsv",
        "jsonl" | "ndjson" | "json" => "jsonl",
        other => other,
    })
}

fn read_tsv(path: &Path, text: &str, labels: Option<&LabelMap>, filter: &RowFilter) -> Result<Vec<Row>> {
    let mut lines = text.lines().enumerate();
    let header: Vec<&str> = match lines.next() {
        Some((_, line)) => line.trim_start_matches('\u{feff}').split('\t').collect(),
        None => return Err(Error::data(path, 1, "empty file, expected a header row")),
    };
    let find = |names: &[&str]| names.iter().find_map(|n| header.iter().position(|h| h == n));
    let need = |names: &[&str]| {
        find(names).ok_or_else(|| {
            Error::data(path, 1, format!("no column {}; the header has {}", names.join(" or "), header.join(", ")))
        })
    };
    let (a, b) = (need(A)?, need(B)?);
    let label = if labels.is_some() { Some(need(LABEL)?) } else { None };
    let id = find(ID);
    let mut conditions = Vec::new();
    for (name, value) in filter {
        conditions.push((need(&[name.as_str()])?, value.as_str()));
    }
    let mut rows = Vec::new();
    for (index, line) in lines {
        let number = index + 1;
        if line.trim().is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |column: usize| {
            fields.get(column).copied().map(str::trim).ok_or_else(|| {
                Error::data(
                    path,
                    number,
                    format!(
                        "{} fields, expected at least {} (column {:?}); texts must not hold tabs",
                        fields.len(),
                        column + 1,
                        header[column]
                    ),
                )
            })
        };
        let mut keep = true;
        for &(column, value) in &conditions {
            keep &= field(column)? == value;
        }
        if keep {
            let word = label.map(field).transpose()?;
            let id = id.map(field).transpose()?.map_or_else(|| number.to_string(), str::to_owned);
            rows.push(row(path, number, id, field(a)?, field(b)?, word, labels)?);
        }
    }
    Ok(rows)
}

fn read_jsonl(path: &Path, text: &str, labels: Option<&LabelMap>, filter: &RowFilter) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(line)
            .map_err(|e| Error::data(path, number, format!("not a JSON object: {e}; expected one object a line")))?;
        let object = value
            .as_object()
            .ok_or_else(|| Error::data(path, number, "not a JSON object; expected one object a line"))?;
        let find = |names: &[&str]| names.iter().find_map(|n| object.get(*n)).and_then(scalar);
        let need = |names: &[&str]| {
            find(names).ok_or_else(|| {
                let keys = object.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                Error::data(
                    path,
                    number,
                    format!("no text or number under {}; the object has {keys}", names.join(" or ")),
                )
            })
        };
        let mut keep = true;
        for (name, value) in filter {
            keep &= need(&[name.as_str()])? == *value;
        }
        if !keep {
            continue;
        }
        let word = match labels {
            Some(_) if LABEL.iter().any(|n| object.get(*n) == Some(&Value::Null)) => Some(String::new()),
            Some(_) => Some(need(LABEL)?),
            None => None,
        };
        let id = find(ID).unwrap_or_else(|| number.to_string());
        let (a, b) = (need(A)?, need(B)?);
        rows.push(row(path, number, id, a.trim(), b.trim(), word.as_deref(), labels)?);
    }
    Ok(rows)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn row(
    path: &Path,
    line: usize,
    id: String,
    text_a: &str,
    text_b: &str,
    word: Option<&str>,
    labels: Option<&LabelMap>,
) -> Result<Row> {
    let label = match (word, labels) {
        (Some(word), Some(labels)) => labels.class(word).map_err(|message| Error::data(path, line, message))?,
        _ => None,
    };
    for (name, text) in [("first", text_a), ("second", text_b)] {
        if text.is_empty() {
            return Err(Error::data(path, line, format!("the {name} text is empty; remove the row")));
        }
    }
    Ok(Row { id, text_a: text_a.to_owned(), text_b: text_b.to_owned(), label })
}

#[cfg(test)]
mod tests;
