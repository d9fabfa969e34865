//! Pairs of texts from a tab-separated file, a row at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Result, anyhow, bail};

/// A longer line is no row of texts: a file without line feeds must not fill the memory.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// One row.
#[derive(Debug, PartialEq)]
pub(crate) struct Pair {
    /// The column `id`, if there is one.
    pub id: Option<String>,
    pub text_a: String,
    pub text_b: String,
    /// The other columns, in the order of [`PairReader::others`].
    pub others: Vec<String>,
    /// Where it stands, 1-based.
    pub line: u64,
}

/// Reads rows under a header.
pub(crate) struct PairReader {
    name: String,
    input: Box<dyn BufRead>,
    line: u64,
    columns: usize,
    id: Option<usize>,
    text_a: usize,
    text_b: usize,
    others: Vec<(usize, String)>,
}

impl PairReader {
    /// Opens a file, or standard input for `-`, and reads its header.
    pub fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Self::new("standard input".to_owned(), Box::new(BufReader::new(io::stdin())));
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => anyhow!("{name}: no such file"),
            _ => anyhow!("{name}: cannot open: {e}"),
        })?;
        Self::new(name, Box::new(BufReader::with_capacity(1 << 16, file)))
    }

    fn new(name: String, input: Box<dyn BufRead>) -> Result<Self> {
        let mut reader = Self { name, input, line: 0, columns: 0, id: None, text_a: 0, text_b: 0, others: Vec::new() };
        let Some(header) = reader.next_line()? else {
            bail!("{}: empty; expected a header line with the columns text_a and text_b", reader.name);
        };
        let header = header.strip_prefix('\u{feff}').unwrap_or(&header);
        let names: Vec<&str> = header.split('\t').collect();
        let (text_a, text_b) = (reader.column(&names, "text_a")?, reader.column(&names, "text_b")?);
        reader.id = names.iter().position(|name| *name == "id");
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                bail!("{}:1: two columns are called {name:?}", reader.name);
            }
            if i != text_a && i != text_b && Some(i) != reader.id {
                reader.others.push((i, (*name).to_owned()));
            }
        }
        (reader.text_a, reader.text_b, reader.columns) = (text_a, text_b, names.len());
        Ok(reader)
    }

    /// Names of the columns that pass through.
    pub fn others(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(|(_, name)| name.as_str())
    }

    /// `FILE:LINE`, for errors.
    pub fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.name)
    }

    /// The next row; `None` at the end.
    pub fn next_pair(&mut self) -> Result<Option<Pair>> {
        let Some(row) = self.next_line()? else { return Ok(None) };
        let line = self.line;
        if row.is_empty() {
            // Blank lines may end the file; between rows they are a row that lost its texts.
            while let Some(row) = self.next_line()? {
                if !row.is_empty() {
                    bail!("{}: an empty line between rows", self.place(line));
                }
            }
            return Ok(None);
        }
        let fields: Vec<&str> = row.split('\t').collect();
        if fields.len() != self.columns {
            bail!("{}: {} columns, expected {} as in the header", self.place(line), fields.len(), self.columns);
        }
        for (column, name) in [(self.text_a, "text_a"), (self.text_b, "text_b")] {
            if fields[column].trim().is_empty() {
                bail!("{}: column {name} is empty", self.place(line));
            }
        }
        Ok(Some(Pair {
            id: self.id.map(|column| fields[column].to_owned()),
            text_a: fields[self.text_a].to_owned(),
            text_b: fields[self.text_b].to_owned(),
            others: self.others.iter().map(|&(column, _)| fields[column].to_owned()).collect(),
            line,
        }))
    }

    fn column(&self, names: &[&str], wanted: &str) -> Result<usize> {
        names.iter().position(|name| *name == wanted).ok_or_else(|| {
            let mut found = format!("{names:?}");
            if let Some((cut, _)) = found.char_indices().nth(200) {
                found.truncate(cut);
                found.push_str("...");
            }
            anyhow!(
                "{}:1: no column {wanted:?} in the header line; found {found} (columns are separated by tabs)",
                self.name
            )
        })
    }

    fn next_line(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        let line = self.line + 1;
        self.input
            .by_ref()
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|e| anyhow!("{}: cannot read: {e}", self.place(line)))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() as u64 > MAX_LINE_BYTES {
            bail!("{}: a line of more than {MAX_LINE_BYTES} bytes; expected tab-separated rows", self.place(line));
        }
        self.line = line;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        String::from_utf8(bytes).map(Some).map_err(|e| {
            anyhow!("{}: not UTF-8 text at byte {} of the line", self.place(line), e.utf8_error().valid_up_to())
        })
    }
}

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
