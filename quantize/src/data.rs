//! Labelled pairs for the check, and texts for calibration and pruning; plain or compressed with zstd.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::error::{Error, Result, fail};

/// Longest line that is read: far above any pair of texts, far below what fills a memory.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// A labelled pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// 1-based, the header is 1.
    pub(crate) line: usize,
    pub(crate) a: String,
    pub(crate) b: String,
    pub(crate) label: String,
}

pub(crate) fn read(path: &Path, limit: Option<usize>) -> Result<Vec<Row>> {
    parse(open(path)?, limit).map_err(|e| Error::new(e.kind(), format!("{}: {e}", path.display())))
}

fn open(path: &Path) -> Result<BufReader<Box<dyn Read>>> {
    let io = |e| Error::io(path, e);
    let file = File::open(path).map_err(io)?;
    Ok(BufReader::new(match path.extension().is_some_and(|e| e == "zst") {
        true => Box::new(zstd::Decoder::new(file).map_err(io)?),
        false => Box::new(file),
    }))
}

/// Calls `visit` with every line that is UTF-8 text; of a `.jsonl` (or `.jsonl.zst`) file with every string in it.
///
/// # Errors
/// [`crate::ErrorKind::Io`]; [`crate::ErrorKind::Data`] for a line that is no text, or no JSON where it should be, naming it.
pub(crate) fn for_each_text(path: &Path, visit: &mut dyn FnMut(&str)) -> Result<()> {
    let mut reader = open(path)?;
    let place = path.display();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let json = name.trim_end_matches(".zst").ends_with(".jsonl");
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        match reader.by_ref().take(MAX_LINE_BYTES).read_line(&mut line) {
            Ok(0) => break,
            Ok(n) if n as u64 == MAX_LINE_BYTES => {
                fail!(Data, "{place}: line {number} is longer than {MAX_LINE_BYTES} bytes")
            }
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => fail!(Data, "{place}: line {number} is not UTF-8"),
            Err(e) => fail!(Io, "{place}: line {number}: {e}"),
        }
        if !json {
            visit(line.trim_end());
        } else if !line.trim().is_empty() {
            match serde_json::from_str(&line) {
                Ok(value) => strings(&value, visit),
                Err(e) => fail!(Data, "{place}: line {number}: {e}"),
            }
        }
    }
    Ok(())
}

fn strings(value: &serde_json::Value, visit: &mut dyn FnMut(&str)) {
    match value {
        serde_json::Value::String(text) => visit(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings(item, visit)),
        serde_json::Value::Object(members) => members.values().for_each(|member| strings(member, visit)),
        _ => {}
    }
}

/// Pairs of texts: the columns `text_a` and `text_b` of a TSV with such a header; otherwise each text with the one after it.
/// At most `limit`, spread evenly over the file.
///
/// # Errors
/// As [`for_each_text`].
pub(crate) fn read_texts(path: &Path, limit: usize) -> Result<Vec<(String, String)>> {
    let (mut header, mut pairs, mut last) = (None, Vec::new(), None::<String>);
    let mut first = true;
    for_each_text(path, &mut |text| {
        let cells: Vec<&str> = text.split('\t').collect();
        if std::mem::take(&mut first) {
            let place = |name: &str| cells.iter().position(|cell| cell.trim_start_matches('\u{feff}') == name);
            header = place("text_a").zip(place("text_b"));
            if header.is_some() {
                return;
            }
        }
        match header {
            Some((a, b)) => {
                if let (Some(a), Some(b)) = (cells.get(a), cells.get(b)) {
                    pairs.push((a.to_string(), b.to_string()));
                }
            }
            None if text.trim().is_empty() => {}
            None => {
                if let Some(last) = last.replace(text.to_string()) {
                    pairs.push((last, text.to_string()));
                }
            }
        }
    })?;
    if pairs.is_empty() {
        fail!(Data, "{}: no two texts to calibrate on", path.display());
    }
    let step = pairs.len().div_ceil(limit.max(1));
    Ok(pairs.into_iter().step_by(step).collect())
}

fn parse(mut reader: impl BufRead, limit: Option<usize>) -> Result<Vec<Row>> {
    let mut line = String::new();
    let mut number = 0;
    let mut next = |line: &mut String| -> Result<Option<usize>> {
        line.clear();
        number += 1;
        match reader.by_ref().take(MAX_LINE_BYTES).read_line(line) {
            Ok(0) => Ok(None),
            Ok(n) if n as u64 == MAX_LINE_BYTES => fail!(Data, "line {number} is longer than {MAX_LINE_BYTES} bytes"),
            Ok(_) => {
                line.truncate(line.trim_end_matches(['\n', '\r']).len());
                Ok(Some(number))
            }
            Err(e) => fail!(Io, "line {number}: {e}"),
        }
    };
    if next(&mut line)?.is_none() {
        fail!(Data, "empty; expected a header with text_a, text_b and label");
    }
    let header: Vec<String> = line.trim_start_matches('\u{feff}').split('\t').map(str::to_string).collect();
    let column = |name: &str| match header.iter().position(|c| c == name) {
        Some(column) => Ok(column),
        None => fail!(Data, "line 1: no column {name:?}; the header has {}", header.join(", ")),
    };
    let (a, b, label) = (column("text_a")?, column("text_b")?, column("label")?);
    let mut rows = Vec::new();
    while limit.is_none_or(|limit| rows.len() < limit) {
        let Some(number) = next(&mut line)? else { break };
        if line.is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split('\t').collect();
        if cells.len() != header.len() {
            fail!(Data, "line {number}: {} columns, the header has {}", cells.len(), header.len());
        }
        let cell = |column: usize| cells[column].trim().to_string();
        rows.push(Row { line: number, a: cell(a), b: cell(b), label: cell(label) });
    }
    if rows.is_empty() {
        fail!(Data, "no rows after the header");
    }
    Ok(rows)
}

/// Index of `label`, as a data set writes it, among a head's labels: the label itself; a number, which is an index; or what
/// the same thing is called by another head (an answer that entails its question is `relevant`).
pub(crate) fn label_index(label: &str, labels: &[String]) -> Option<usize> {
    let of = |name: &str| labels.iter().position(|l| l == name);
    let lower = label.to_lowercase();
    let alias = || match lower.as_str() {
        "entailment" => of("relevant"),
        "not_entailment" => of("not_relevant"),
        "relevant" => of("entailment"),
        "not_relevant" | "neutral" | "contradiction" => of("not_entailment"),
        _ => None,
    };
    of(&lower).or_else(alias).or_else(|| lower.parse().ok().filter(|&i: &usize| i < labels.len()))
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
