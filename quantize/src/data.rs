//! Labelled pairs for the check: TSV with a header, plain or compressed with zstd.

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
    let io = |e| Error::io(path, e);
    let file = File::open(path).map_err(io)?;
    let reader: Box<dyn Read> = match path.extension().is_some_and(|e| e == "zst") {
        true => Box::new(zstd::Decoder::new(file).map_err(io)?),
        false => Box::new(file),
    };
    parse(BufReader::new(reader), limit).map_err(|e| Error::new(e.kind(), format!("{}: {e}", path.display())))
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
