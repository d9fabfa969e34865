//! One file of soft labels: `shard-NNNNN.parquet`.
//!
//! Columns: `row` (int64, the row's number in the data set, from 0), `id` (the row's own id) and the answers as f32, one
//! column a class under the class's name, or one named `cosine`. The file's metadata says under `attar.soft_labels` what
//! it belongs to (a [`StoreKey`] as JSON), under `attar.shard` its number and under `attar.checksum` the XXH3-64 of the
//! answers: a shard stands alone, and its bytes are the same whoever writes it.

use std::ops::Range;
use std::path::Path;

use super::store::{StoreKey, Values};
use crate::data::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::hash::Fingerprint;
use crate::table::{self, Cell, Column, Table};

const KEY: &str = "attar.soft_labels";
const NUMBER: &str = "attar.shard";
const CHECKSUM: &str = "attar.checksum";
/// Columns before the answers.
const LEADING: [&str; 2] = ["row", "id"];

impl StoreKey {
    /// Names of a row's numbers: the labels of the head, or `cosine`.
    pub fn columns(&self) -> Vec<String> {
        match self.values {
            Values::Cosine => vec!["cosine".to_owned()],
            Values::Logits => self.labels.clone(),
        }
    }
}

/// Writes a shard: `rows` are those of the data set that it holds, `values` their answers.
///
/// # Errors
/// When the file cannot be written, or the numbers have another shape or are not finite.
pub(super) fn write(
    path: &Path,
    key: &StoreKey,
    shard: usize,
    range: Range<usize>,
    rows: &[Row],
    values: &[Vec<f32>],
) -> Result<()> {
    let names = key.columns();
    if rows.len() != range.len() || values.len() != range.len() || values.iter().any(|row| row.len() != names.len()) {
        return Err(bad(path, format!("answers of another shape than {} rows of {}", range.len(), names.len())));
    }
    if let Some(row) = values.iter().position(|row| row.iter().any(|v| !v.is_finite())) {
        return Err(bad(path, format!("the teacher's answer for row {} is not finite", range.start + row)));
    }
    let mut columns = vec![
        (LEADING[0], Column::Integers(range.map(|row| row as i64).collect())),
        (LEADING[1], Column::Texts(rows.iter().map(|row| row.id.clone()).collect())),
    ];
    for (class, name) in names.iter().enumerate() {
        columns.push((name, Column::Floats(values.iter().map(|row| row[class]).collect())));
    }
    let json = serde_json::to_string(key).map_err(|e| Error::model(path.display(), e))?;
    table::write(path, &columns, &[(KEY, json), (NUMBER, shard.to_string()), (CHECKSUM, checksum(values))])
}

fn checksum(values: &[Vec<f32>]) -> String {
    let bytes: Vec<u8> = values.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    Fingerprint::new().with("values", bytes).hex()
}

/// What a shard belongs to, and its number.
///
/// # Errors
/// When the file is damaged or no shard of soft labels.
pub(super) fn key_of(path: &Path) -> Result<(StoreKey, usize)> {
    key_in(&Table::open(path).map_err(|e| again(path, &e))?, path)
}

fn key_in(table: &Table, path: &Path) -> Result<(StoreKey, usize)> {
    let key = table.metadata(KEY).and_then(|json| serde_json::from_str(&json).ok());
    let number = table.metadata(NUMBER).and_then(|text| text.parse().ok());
    key.zip(number).ok_or_else(|| bad(path, format!("no soft labels of this version (no {KEY:?} in its metadata)")))
}

/// The answers in a shard, `[row][column]`.
///
/// # Errors
/// When it is damaged, or its columns, rows or numbers are not what the key says.
pub(super) fn read(path: &Path, key: &StoreKey, range: Range<usize>) -> Result<Vec<Vec<f32>>> {
    let table = Table::open(path).map_err(|e| again(path, &e))?;
    let names = key.columns();
    let expected: Vec<&str> = LEADING.into_iter().chain(names.iter().map(String::as_str)).collect();
    let found: Vec<&str> = table.columns().iter().map(String::as_str).collect();
    if expected != found {
        return Err(bad(path, format!("columns {}, expected {}", found.join(", "), expected.join(", "))));
    }
    if table.rows() != range.len() {
        return Err(bad(path, format!("{} rows, expected {}", table.rows(), range.len())));
    }
    let mut values = vec![Vec::with_capacity(names.len()); range.len()];
    let mut from = 0;
    for group in 0..table.groups() {
        let numbers = table.cells(group, 0).map_err(|e| again(path, &e))?;
        if from + numbers.len() > range.len() {
            return Err(bad(path, format!("more than {} rows", range.len())));
        }
        if let Some(row) = numbers.iter().zip(range.start + from..).find(|(n, row)| **n != Cell::Integer(*row as i64)) {
            return Err(bad(path, format!("{:?} in column \"row\", expected {}", row.0, row.1)));
        }
        for (column, name) in found.iter().enumerate().skip(LEADING.len()) {
            let cells = table.cells(group, column).map_err(|e| again(path, &e))?;
            for (row, cell) in cells.iter().enumerate() {
                match cell {
                    Cell::Float(value) if value.is_finite() => values[from + row].push(*value as f32),
                    other => {
                        let place = range.start + from + row;
                        return Err(bad(path, format!("{other:?} in column {name:?}, row {place}")));
                    }
                }
            }
        }
        from += numbers.len();
    }
    if table.metadata(CHECKSUM).as_deref() != Some(checksum(&values).as_str()) {
        return Err(bad(path, "damaged shard: the checksum is another one".to_owned()));
    }
    Ok(values)
}

fn bad(path: &Path, what: String) -> Error {
    let advice = "remove the file and run `attar-train label` again";
    Error::new(ErrorKind::Data, format!("{}: {what}; {advice}", path.display()))
}

/// A damaged shard is computed again, not fetched again.
fn again(path: &Path, error: &Error) -> Error {
    if error.kind() == ErrorKind::Io {
        return Error::new(ErrorKind::Io, error.to_string());
    }
    bad(path, "damaged shard".to_owned())
}
