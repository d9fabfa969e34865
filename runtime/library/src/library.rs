//! A library: documents cut into passages, and a full-text index over them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::error::{Error, ErrorKind, Result};
use crate::passage::{Passage, Sentence, cut};
use crate::query::match_expression;
use crate::schema::{self, Access, FileId};
use crate::source::{self, Format, Found, ReadOptions, Skipped, Walk};
use crate::writer::{self, Writer, content_hash};

/// Weights of BM25's three columns: file name, headings, text. A heading's word counts for more than one of the
/// text because it speaks for the whole section; file names are guesses.
const SEARCH: &str = "
SELECT d.source, p.line, p.headings, p.text, p.sentences, hit.score
FROM (SELECT rowid AS id, bm25(words, 0.5, 1.5, 1.0) AS score
      FROM words WHERE words MATCH ?1 ORDER BY score, rowid LIMIT ?2) AS hit
JOIN passage AS p ON p.id = hit.id
JOIN document AS d ON d.id = p.document
ORDER BY hit.score, hit.id";

/// Documents, their passages and the index over them: in memory or in one file.
///
/// ```
/// use attar_library::{Format, Library};
///
/// let mut library = Library::in_memory()?;
/// library.add_text("pi.md", Format::Markdown, "# Power\n\nThe Pi 4 needs 5.1 V and 3 A.\n")?;
/// let found = library.candidates("What voltage does a Pi need?", 5)?;
/// assert_eq!((found[0].source.as_str(), found[0].passage.line), ("pi.md", 3));
/// # Ok::<(), attar_library::Error>(())
/// ```
#[derive(Debug)]
pub struct Library {
    connection: Connection,
    path: Option<PathBuf>,
    /// What the connection is to, where the system tells.
    file: Option<FileId>,
    access: Access,
    /// There was no file before this value.
    made: bool,
}

/// A passage that shares words with a question.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The passage.
    pub passage: Passage,
    /// The document, as it was named when it was indexed.
    pub source: String,
    /// BM25's score: higher is better; comparable within one search only.
    pub score: f64,
}

/// What [`Library::index`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexReport {
    /// Documents that were not in the library before.
    pub added: usize,
    /// Documents whose contents had changed.
    pub updated: usize,
    /// Documents that were as before.
    pub unchanged: usize,
    /// Documents that are no longer there.
    pub removed: usize,
    /// Files in folders that were not read, and why.
    pub skipped: Vec<Skipped>,
}

impl Library {
    /// An empty library that lives as long as this value.
    ///
    /// # Errors
    /// [`ErrorKind::Database`] if memory is short.
    pub fn in_memory() -> Result<Self> {
        Ok(Self { connection: schema::in_memory()?, path: None, file: None, access: Access::Write, made: false })
    }

    /// Opens a library file to search in it.
    ///
    /// The file may come from anyone: its schema is compared with ours and nothing in it is run.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Io`], [`ErrorKind::NotALibrary`], [`ErrorKind::NewerVersion`],
    /// [`ErrorKind::Corrupt`] or [`ErrorKind::Busy`], with the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), Access::Read)
    }

    /// Opens a library file to add to it, and makes it where there is none. One that this value made is gone again when the first
    /// change fails.
    ///
    /// # Errors
    /// As [`Library::open`], and [`ErrorKind::NotFound`] if the folder that it belongs into does not exist.
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), Access::Write)
    }

    fn open_with(path: &Path, access: Access) -> Result<Self> {
        let made = !path.exists();
        let connection = schema::open(path, access)?;
        Ok(Self { connection, path: Some(path.to_path_buf()), file: schema::file_id(path), access, made })
    }

    /// The library's file, if it has one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Brings the library up to date with files and folders: new and changed documents are read, unchanged ones
    /// (same path, size and time, or same contents) left alone, and those that vanished from a root dropped. What cannot
    /// be listed or read this time stays as it was, and is reported.
    ///
    /// All of it is one transaction: after an error or a crash the library is as it was before.
    /// A document is known by its absolute path, and cited as `roots` named it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Io`] for a root that can't be read; [`ErrorKind::NotText`] or
    /// [`ErrorKind::TooLarge`] for a file named by its own path (in a folder such a file is skipped and
    /// reported); [`ErrorKind::NoDocuments`] for a folder without a readable document;
    /// [`ErrorKind::Busy`] if another process is writing.
    pub fn index<P: AsRef<Path>>(&mut self, roots: &[P], options: &ReadOptions) -> Result<IndexReport> {
        let roots: Vec<&Path> = roots.iter().map(AsRef::as_ref).collect();
        let result = self.index_paths(&roots, options);
        self.cleaned(result)
    }

    fn index_paths(&mut self, roots: &[&Path], options: &ReadOptions) -> Result<IndexReport> {
        let mut walks =
            roots.iter().map(|root| Ok((*root, source::walk(root)?))).collect::<Result<Vec<(&Path, Walk)>>>()?;
        // Files that are named go first: a folder above them may not list them, and they must be readable.
        walks.sort_by_key(|(_, walk)| !walk.found.iter().any(|found| found.explicit));
        let mut report = IndexReport::default();
        let library = self.path.as_deref().and_then(|path| std::fs::canonicalize(path).ok());
        self.write(|writer| {
            let mut seen = HashSet::new();
            for (root, mut walk) in walks {
                walk.found.retain(|found| Some(&found.path) != library.as_ref());
                writer.walk(walk, root, options, &mut seen, &mut report)?;
            }
            Ok(())
        })?;
        Ok(report)
    }

    /// Adds, or replaces, one document that the caller holds as text; `source` is its name in citations.
    ///
    /// # Errors
    /// [`ErrorKind::NotText`] if it has no text; [`ErrorKind::Busy`] if another process is writing.
    pub fn add_text(&mut self, source: &str, format: Format, text: &str) -> Result<()> {
        let passages = cut(&format.parse(text));
        if passages.is_empty() {
            return Err(Error::at(ErrorKind::NotText, Path::new(source), "no text in it"));
        }
        let found = Found {
            path: PathBuf::from(source),
            source: source.to_owned(),
            explicit: true,
            bytes: text.len() as u64,
            modified_ns: 0,
        };
        let hash = content_hash(text.as_bytes());
        let result = self.write(|writer| {
            writer.remove(source)?;
            writer.insert(&found, source, &hash, &passages)
        });
        self.cleaned(result)
    }

    /// The number of documents and of passages.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a damaged file.
    pub fn len(&self) -> Result<(usize, usize)> {
        let sql = "SELECT (SELECT count(*) FROM document), (SELECT count(*) FROM passage)";
        self.connection
            .query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .map(|(documents, passages)| (documents.max(0) as usize, passages.max(0) as usize))
            .map_err(|e| self.fail(e))
    }

    /// The passages that share the most telling words with a question (BM25), best first, at most `limit`.
    ///
    /// Any text is a question: none is a syntax error. Words are compared without case, accents and English
    /// endings.
    ///
    /// # Errors
    /// [`ErrorKind::Question`] if the question has no word, more than 256 different ones, or more than 2,000
    /// characters; [`ErrorKind::Busy`] if another process holds the library for more than five seconds while it
    /// writes a large change; [`ErrorKind::Corrupt`] for a damaged library.
    pub fn candidates(&self, question: &str, limit: usize) -> Result<Vec<Candidate>> {
        let expression = match_expression(question)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(SEARCH).map_err(|e| self.fail(e))?;
        let mut rows = statement.query(params![expression, limit]).map_err(|e| self.fail(e))?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.fail(e))? {
            out.push(self.candidate(row)?);
        }
        Ok(out)
    }

    fn candidate(&self, row: &rusqlite::Row<'_>) -> Result<Candidate> {
        let read = || -> rusqlite::Result<_> {
            let headings: String = row.get(2)?;
            let sentences: Vec<u8> = row.get(4)?;
            Ok((row.get(0)?, row.get(1)?, headings, row.get::<_, String>(3)?, sentences, row.get::<_, f64>(5)?))
        };
        let (source, line, headings, text, packed, score) = read().map_err(|e| self.fail(e))?;
        let sentences = unpack(&packed, &text).ok_or_else(|| {
            let message =
                "the library is damaged (sentences outside their passage); delete it and run `attar index` again";
            match &self.path {
                Some(path) => Error::at(ErrorKind::Corrupt, path, message),
                None => Error::new(ErrorKind::Corrupt, message),
            }
        })?;
        let headings = headings.split('\n').filter(|h| !h.is_empty()).map(str::to_owned).collect();
        // SQLite's BM25 is negative, the better the smaller.
        Ok(Candidate { source, passage: Passage { text, headings, line, sentences }, score: -score })
    }

    fn write<T>(&mut self, work: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        // Another process may have replaced the file, or removed one that it had made in vain.
        if let Some(path) = self.path.clone()
            && self.access == Access::Write
            && schema::file_id(&path) != self.file
        {
            *self = Self::open_with(&path, Access::Write)?;
        }
        writer::write(&mut self.connection, self.path.as_deref(), self.file, work)
    }

    /// A library that failed before its first document leaves no empty file behind. Whoever else has the file open notices, by its
    /// [`FileId`]; who is writing to it has the lock.
    fn cleaned<T>(&mut self, result: Result<T>) -> Result<T> {
        if self.made && result.as_ref().is_err_and(|error| error.kind() != ErrorKind::Busy) {
            self.remove_if_never_written();
        }
        result
    }

    fn remove_if_never_written(&mut self) {
        let Some(path) = &self.path else { return };
        let behavior = rusqlite::TransactionBehavior::Immediate;
        if let Ok(transaction) = self.connection.transaction_with_behavior(behavior)
            && schema::is_blank(&transaction).unwrap_or(false)
            && schema::file_id(path) == self.file
            && std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0)
        {
            let _ = std::fs::remove_file(path);
        }
    }

    fn fail(&self, error: rusqlite::Error) -> Error {
        Error::database(self.path.as_deref(), error)
    }
}

/// The inverse of [`writer::pack`]; nothing for ranges that are not ordered pieces of the text.
fn unpack(bytes: &[u8], text: &str) -> Option<Vec<Sentence>> {
    let (triples, rest) = bytes.as_chunks::<12>();
    if triples.is_empty() || !rest.is_empty() {
        return None;
    }
    let mut from = 0;
    triples
        .iter()
        .map(|triple| {
            let (numbers, _) = triple.as_chunks::<4>();
            let number = |i: usize| numbers.get(i).map(|&n| u32::from_le_bytes(n));
            let range = number(0)? as usize..number(1)? as usize;
            let ordered = from <= range.start && range.start < range.end;
            from = range.end;
            (ordered && text.get(range.clone()).is_some()).then_some(Sentence { range, line: number(2)? })
        })
        .collect()
}

#[cfg(test)]
#[path = "library_tests.rs"]
mod tests;
