//! Data files as rows: TSV, JSONL and Parquet, alone, in shards or in a zip archive.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use super::columns::{Columns, LabelColumn};
use super::labels::LabelMap;
use super::{jsonl, parquet, tsv};
use crate::error::{Error, ErrorKind, Result};
use crate::files;

/// One pair of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The file's own id, or its line or row number.
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

/// How a file is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions<'a> {
    /// Reads the label column and maps its words to the classes of a head; without, labels are ignored.
    pub labels: Option<&'a LabelMap>,
    /// With `labels`: a file without a label column is no error, its rows just have none.
    pub label_optional: bool,
    /// Keeps rows with these values only.
    pub filter: Option<&'a RowFilter>,
    /// What the columns are, where their names do not say it.
    pub columns: Option<&'a Columns>,
}

/// The rows of a file, and what was not one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadRows {
    /// The rows, in the order of the files.
    pub rows: Vec<Row>,
    /// Rows that a label column has no gold label for (`-`, `-1`, empty); they are among `rows`.
    pub unlabelled: usize,
    /// Rows with an empty text, which are left out.
    pub empty: usize,
}

/// The share of rows with an empty text that a file may have before it is taken for a wrong one.
const MAX_EMPTY: f64 = 1e-3;

/// Reads the pairs of a file. With `labels`, a label column is demanded and its words are mapped; without, labels are
/// ignored. See [`read`].
///
/// # Errors
/// As [`read`].
pub fn read_rows(path: &Path, labels: Option<&LabelMap>, filter: &RowFilter) -> Result<Vec<Row>> {
    Ok(read(path, ReadOptions { labels, filter: Some(filter), ..ReadOptions::default() })?.rows)
}

/// Reads the pairs of a file, of all files that a pattern matches (`train-*.parquet`), or of a member of a zip archive
/// (`MNLI.zip/MNLI/train.tsv`).
///
/// The ending decides: `.tsv` and `.txt` have a header row and no quoting, as GLUE writes them (a quotation mark is text);
/// `.jsonl` has one object a line; both may be compressed (`.zst`). `.parquet` is as the Hugging Face hub has it; numbers
/// in its label column are the classes whose names stand in its `huggingface` key. Known names of the texts are
/// `text_a`/`text_b`, `premise`/`hypothesis`, `sentence1`/`sentence2`, `question`/`sentence`, `question`/`passage`,
/// `query`/`passage`, `question`/`answer`, `query`/`answer`, `evidence`/`claim`, and FEVER's `context`/`query`; of labels
/// `label` and `gold_label`; of ids `id`, `index`, `idx`, `pairID` and `SentenceID`.
///
/// # Errors
/// An unreadable file, a missing column, a row with another number of fields, invalid UTF-8 or JSON, a label that the
/// head does not know, no rows, or more than one row in a thousand with an empty text; the message names file and line
/// (row, for Parquet).
pub fn read(path: &Path, options: ReadOptions<'_>) -> Result<ReadRows> {
    let mut all = ReadRows::default();
    for file in files::expand(path)? {
        if file.is_dir() {
            let folder = file.display();
            let message = format!("{folder}: a folder, expected a file, or a pattern such as {folder}/*.parquet");
            return Err(Error::new(ErrorKind::Io, message));
        }
        let mut collector = Collector { path: &file, options, read: ReadRows::default(), seen: 0, first_empty: None };
        match format_of(&file) {
            Some("tsv") => tsv::read(&text_of(&file)?, &mut collector)?,
            Some("jsonl") => jsonl::read(&text_of(&file)?, &mut collector)?,
            Some("parquet") => parquet::read(&mut collector)?,
            other => {
                return Err(Error::new(
                    ErrorKind::Data,
                    format!(
                        "{}: cannot tell the format from the name (ending {:?}); expected .tsv, .txt or .jsonl, \
                         optionally followed by .zst, or .parquet",
                        file.display(),
                        other.unwrap_or("none"),
                    ),
                ));
            }
        }
        let read = collector.finish()?;
        all.rows.extend(read.rows);
        all.unlabelled += read.unlabelled;
        all.empty += read.empty;
    }
    Ok(all)
}

fn text_of(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    files::open(path)?.read_to_end(&mut bytes).map_err(|e| Error::io(path, "read", e))?;
    String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|&&b| b == b'\n').count() + 1;
        Error::data(path, line, "invalid UTF-8; convert the file to UTF-8")
    })
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

/// What a label field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label<'a> {
    /// No label column, or labels are not read.
    Unread,
    /// A word, or a number that the file gives as a word.
    Word(&'a str),
    /// A number, the names of the classes if the file has them, and the names of the text columns.
    Number(i64, Option<&'a [String]>, (&'a str, &'a str)),
    /// Null.
    Missing,
}

/// Gathers the rows of one file.
pub(super) struct Collector<'a> {
    pub(super) path: &'a Path,
    pub(super) options: ReadOptions<'a>,
    read: ReadRows,
    seen: usize,
    first_empty: Option<(usize, &'static str)>,
}

impl Collector<'_> {
    /// How the label column is to be looked for.
    pub(super) fn label_column(&self) -> LabelColumn {
        match (self.options.labels, self.options.label_optional) {
            (None, _) => LabelColumn::Ignored,
            (Some(_), true) => LabelColumn::IfThere,
            (Some(_), false) => LabelColumn::Needed,
        }
    }

    /// An error at a line or row of the file.
    pub(super) fn error(&self, line: usize, message: impl std::fmt::Display) -> Error {
        Error::data(self.path, line, message)
    }

    /// Counts a row that a filter leaves out.
    pub(super) fn pass(&mut self) {
        self.seen += 1;
    }

    /// Adds a row.
    pub(super) fn push(&mut self, line: usize, id: Option<&str>, a: &str, b: &str, label: Label<'_>) -> Result<()> {
        self.seen += 1;
        let class = match (label, self.options.labels) {
            (Label::Unread, _) | (_, None) => None,
            (label, Some(map)) => {
                let class = match label {
                    Label::Word(word) => map.class(word.trim()),
                    Label::Number(number, names, texts) => map.class_of_number(number, names, texts),
                    Label::Missing | Label::Unread => Ok(None),
                };
                let class = class.map_err(|message| self.error(line, message))?;
                self.read.unlabelled += usize::from(class.is_none());
                class
            }
        };
        let (a, b) = (a.trim(), b.trim());
        if a.is_empty() || b.is_empty() {
            self.read.empty += 1;
            self.first_empty.get_or_insert((line, if a.is_empty() { "first" } else { "second" }));
            return Ok(());
        }
        let id = id.map_or_else(|| line.to_string(), str::to_owned);
        self.read.rows.push(Row { id, text_a: a.to_owned(), text_b: b.to_owned(), label: class });
        Ok(())
    }

    fn finish(self) -> Result<ReadRows> {
        if self.seen == 0 {
            return Err(self.error(1, "no rows; the file is empty or has a header row only"));
        }
        if let Some((line, which)) = self.first_empty.filter(|_| self.read.empty as f64 > MAX_EMPTY * self.seen as f64)
        {
            let message = format!(
                "the {which} text is empty, as is one in {} of {} rows; remove these rows or correct the columns",
                self.read.empty, self.seen
            );
            return Err(self.error(line, message));
        }
        Ok(self.read)
    }
}

#[cfg(test)]
mod tests;
