//! Changes to a library: what an index run adds, replaces and drops, in one transaction.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::error::{Error, ErrorKind, Result};
use crate::library::IndexReport;
use crate::passage::{Passage, Sentence, cut};
use crate::schema::{self, FileId};
use crate::source::{self, Format, Found, Place, ReadOptions, Skipped, Walk};

/// Runs `work` in one transaction, in a database that has our schema.
pub(crate) fn write<T>(
    connection: &mut Connection,
    path: Option<&Path>,
    file: Option<FileId>,
    work: impl FnOnce(&mut Writer<'_>) -> Result<T>,
) -> Result<T> {
    let fail = |e| Error::database(path, e);
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(fail)?;
    // What would be written to a file that is no longer at its path is lost.
    if let Some(path) = path.filter(|path| schema::file_id(path) != file) {
        return Err(Error::at(ErrorKind::Busy, path, "another process replaced this library meanwhile; try again"));
    }
    if schema::is_blank(&transaction).map_err(fail)? {
        schema::create(&transaction).map_err(fail)?;
    }
    let mut writer = Writer { transaction, path };
    let value = work(&mut writer)?;
    writer.transaction.commit().map_err(fail)?;
    Ok(value)
}

/// A library inside a transaction.
pub(crate) struct Writer<'a> {
    transaction: Transaction<'a>,
    path: Option<&'a Path>,
}

/// Version of how documents are read and cut. Raise it when that changes: libraries then read their documents again.
pub(crate) const READER: i64 = 2;

/// What the library knows of a document.
struct Known {
    bytes: i64,
    modified_ns: i64,
    hash: Vec<u8>,
    source: String,
    reader: i64,
}

impl Writer<'_> {
    /// Brings the documents under one root up to date.
    pub fn walk(
        &mut self,
        walk: Walk,
        root: &Path,
        options: &ReadOptions,
        seen: &mut HashSet<String>,
        report: &mut IndexReport,
    ) -> Result<()> {
        let mut known = self.known_under(&walk.root)?;
        let mut readable = 0;
        // What was named by its own path was read, whatever the walk thinks of it.
        let named = |skipped: &Skipped| {
            !seen.is_empty()
                && std::fs::canonicalize(&skipped.source)
                    .is_ok_and(|path| path.to_str().is_some_and(|p| seen.contains(p)))
        };
        report.skipped.extend(walk.skipped.into_iter().filter(|skipped| !named(skipped)));
        for found in walk.found {
            let Some(path) = found.path.to_str().map(str::to_owned) else {
                report.skipped.push(Skipped { source: found.source, reason: "its path is not UTF-8".to_owned() });
                continue;
            };
            let before = known.remove(&path);
            if !seen.insert(path.clone()) {
                readable += 1;
                continue;
            }
            readable += usize::from(self.update(found, &path, before.as_ref(), options, report)?);
        }
        if readable == 0 {
            return Err(no_documents(root, &report.skipped));
        }
        // What the walk does not list is gone, unless it was named by its own path, or could not be looked at this time.
        for (path, before) in known {
            if seen.contains(&path) || walk.unseen.iter().any(|unseen| Path::new(&path).starts_with(unseen)) {
                continue;
            }
            match source::known(&path, &before.source) {
                Place::Here(found) => {
                    report.skipped.retain(|skipped| skipped.source != before.source);
                    self.update(found, &path, Some(&before), options, report)?;
                    seen.insert(path);
                }
                Place::Gone => {
                    self.remove(&path)?;
                    report.removed += 1;
                }
                Place::Unknown(error) => {
                    let reason = format!("cannot open: {error}; its text of before is kept");
                    report.skipped.push(Skipped { source: before.source, reason });
                    seen.insert(path);
                }
            }
        }
        Ok(())
    }

    /// Brings one document up to date; whether it could be read. One that cannot be read this time stays as it was.
    fn update(
        &mut self,
        found: Found,
        path: &str,
        before: Option<&Known>,
        options: &ReadOptions,
        report: &mut IndexReport,
    ) -> Result<bool> {
        match self.file(&found, path, before, options, report) {
            Ok(()) => Ok(true),
            Err(error) if !found.explicit && is_skippable(error.kind()) => {
                let kept = before.is_some() && error.kind() == ErrorKind::Io;
                let kept_as = if kept { "; its text of before is kept" } else { "" };
                let reason = format!("{}{kept_as}", error.message());
                report.skipped.push(Skipped { source: found.source, reason });
                if before.is_some() && !kept {
                    self.remove(path)?;
                    report.removed += 1;
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn known_under(&self, root: &Path) -> Result<HashMap<String, Known>> {
        let read = || -> rusqlite::Result<_> {
            let mut statement = self
                .transaction
                .prepare_cached("SELECT path, bytes, modified_ns, hash, source, reader FROM document")?;
            let rows = statement.query_map([], |row| {
                let known = Known {
                    bytes: row.get(1)?,
                    modified_ns: row.get(2)?,
                    hash: row.get(3)?,
                    source: row.get(4)?,
                    reader: row.get(5)?,
                };
                Ok((row.get::<_, String>(0)?, known))
            })?;
            rows.filter(|row| row.as_ref().map_or(true, |(path, _)| Path::new(path).starts_with(root))).collect()
        };
        read().map_err(|e| self.fail(e))
    }

    fn file(
        &mut self,
        found: &Found,
        path: &str,
        before: Option<&Known>,
        options: &ReadOptions,
        report: &mut IndexReport,
    ) -> Result<()> {
        let same_time = |known: &Known| {
            known.modified_ns == found.modified_ns
                && u64::try_from(known.bytes) == Ok(found.bytes)
                && known.source == found.source
                && known.reader == READER
        };
        if before.is_some_and(same_time) {
            report.unchanged += 1;
            return Ok(());
        }
        let shown = Path::new(&found.source);
        let bytes = source::read(&found.path, options).map_err(|e| rename(e, shown))?;
        let hash = content_hash(&bytes);
        if before.is_some_and(|known| known.hash == hash && known.reader == READER) {
            self.touch(found, path)?;
            report.unchanged += 1;
            return Ok(());
        }
        let text = source::decode(shown, &bytes)?;
        let passages = cut(&Format::of(&found.path).parse(text));
        if passages.is_empty() {
            return Err(Error::at(ErrorKind::NotText, shown, "no text in it"));
        }
        if before.is_some() {
            self.remove(path)?;
            report.updated += 1;
        } else {
            report.added += 1;
        }
        self.insert(found, path, &hash, &passages)
    }

    pub fn insert(&self, found: &Found, path: &str, hash: &[u8], passages: &[Passage]) -> Result<()> {
        let insert = || -> rusqlite::Result<()> {
            let bytes = i64::try_from(found.bytes).unwrap_or(i64::MAX);
            self.transaction
                .prepare_cached(
                    "INSERT INTO document(path, source, bytes, modified_ns, hash, reader) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![path, found.source, bytes, found.modified_ns, hash, READER])?;
            let document = self.transaction.last_insert_rowid();
            let mut passage_row = self.transaction.prepare_cached(
                "INSERT INTO passage(document, line, headings, text, sentences) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            let mut words_row = self
                .transaction
                .prepare_cached("INSERT INTO words(rowid, name, headings, text) VALUES (?1, ?2, ?3, ?4)")?;
            let name = found.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            for passage in passages {
                let headings = passage.headings.join("\n");
                passage_row.execute(params![
                    document,
                    passage.line,
                    headings,
                    passage.text,
                    pack(&passage.sentences)
                ])?;
                let id = self.transaction.last_insert_rowid();
                words_row.execute(params![id, name, headings, passage.text])?;
            }
            Ok(())
        };
        insert().map_err(|e| self.fail(e))
    }

    fn touch(&self, found: &Found, path: &str) -> Result<()> {
        let bytes = i64::try_from(found.bytes).unwrap_or(i64::MAX);
        self.transaction
            .prepare_cached("UPDATE document SET bytes = ?2, modified_ns = ?3, source = ?4 WHERE path = ?1")
            .and_then(|mut statement| statement.execute(params![path, bytes, found.modified_ns, found.source]))
            .map(drop)
            .map_err(|e| self.fail(e))
    }

    pub fn remove(&self, path: &str) -> Result<()> {
        let remove = || -> rusqlite::Result<()> {
            let id: Option<i64> = self
                .transaction
                .prepare_cached("SELECT id FROM document WHERE path = ?1")?
                .query_row([path], |row| row.get(0))
                .optional()?;
            if let Some(id) = id {
                for sql in [
                    "DELETE FROM words WHERE rowid IN (SELECT id FROM passage WHERE document = ?1)",
                    "DELETE FROM passage WHERE document = ?1",
                    "DELETE FROM document WHERE id = ?1",
                ] {
                    self.transaction.prepare_cached(sql)?.execute([id])?;
                }
            }
            Ok(())
        };
        remove().map_err(|e| self.fail(e))
    }

    fn fail(&self, error: rusqlite::Error) -> Error {
        Error::database(self.path, error)
    }
}

fn is_skippable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotText | ErrorKind::TooLarge | ErrorKind::Io | ErrorKind::NotFound)
}

/// The same error under the name that the user gave the file.
fn rename(error: Error, shown: &Path) -> Error {
    Error::at(error.kind(), shown, error.message())
}

fn no_documents(root: &Path, skipped: &[Skipped]) -> Error {
    let message = match skipped.iter().find(|s| Path::new(&s.source).starts_with(root)) {
        Some(first) => format!(
            "no readable document (text, Markdown or HTML); for example {} was skipped: {}",
            first.source, first.reason
        ),
        None => "an empty folder: no readable document (text, Markdown or HTML) in it".to_owned(),
    };
    Error::at(ErrorKind::NoDocuments, root, message)
}

pub(crate) fn content_hash(bytes: &[u8]) -> [u8; 16] {
    xxhash_rust::xxh3::xxh3_128(bytes).to_le_bytes()
}

/// Sentences as little-endian triples: start, end, line.
pub(crate) fn pack(sentences: &[Sentence]) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    sentences
        .iter()
        .flat_map(|s| [number(s.range.start), number(s.range.end), s.line])
        .flat_map(u32::to_le_bytes)
        .collect()
}
