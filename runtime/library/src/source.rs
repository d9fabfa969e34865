//! Finds documents on disk and reads them as UTF-8 text.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::block::Blocks;
use crate::error::{Error, ErrorKind, Result};

/// How a document's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Paragraphs separated by blank lines.
    Text,
    /// CommonMark with tables, footnotes, definition lists and front matter.
    Markdown,
    /// HTML.
    Html,
}

impl Format {
    /// The format that a file's name promises; text where it promises none.
    pub fn of(path: &Path) -> Self {
        match extension(path).as_deref() {
            Some("md" | "markdown" | "mkd" | "mdown") => Self::Markdown,
            Some("html" | "htm" | "xhtml") => Self::Html,
            _ => Self::Text,
        }
    }

    pub(crate) fn parse(self, text: &str) -> Blocks {
        match self {
            Self::Text => crate::text::parse(text),
            Self::Markdown => crate::markdown::parse(text),
            Self::Html => crate::html::parse(text),
        }
    }
}

/// Limits on what is read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReadOptions {
    /// A larger file is refused (named by path) or skipped (in a folder); 64 MiB.
    pub max_file_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { max_file_bytes: 64 << 20 }
    }
}

/// A file in a folder that was not read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The path as it would have been cited.
    pub source: String,
    /// Why it was not read.
    pub reason: String,
}

/// A document that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Absolute, canonical: the document's identity.
    pub path: PathBuf,
    /// As the user named it: what citations show.
    pub source: String,
    /// Named by its own path rather than found in a folder: then it must be readable.
    pub explicit: bool,
    pub bytes: u64,
    pub modified_ns: i64,
}

/// What lies under one path.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub root: PathBuf,
    pub found: Vec<Found>,
    pub skipped: Vec<Skipped>,
    /// Folders that could not be listed and files that could not be looked at, absolute: what they hold is not known.
    pub unseen: Vec<PathBuf>,
}

/// Lists the documents under `root`, sorted by path; hidden files are left out.
pub(crate) fn walk(root: &Path) -> Result<Walk> {
    let canonical = fs::canonicalize(root).map_err(|e| Error::io(root, "open", e))?;
    let metadata = fs::metadata(&canonical).map_err(|e| Error::io(root, "open", e))?;
    let mut walk = Walk { root: canonical.clone(), ..Walk::default() };
    if metadata.is_dir() {
        walk.folder(root, canonical)?;
        walk.found.sort_by(|a, b| a.path.cmp(&b.path));
        walk.skipped.sort_by(|a, b| a.source.cmp(&b.source));
    } else if metadata.is_file() {
        let source = utf8(root)?;
        walk.found.push(found(canonical, source, true, &metadata));
    } else {
        return Err(Error::at(ErrorKind::NotText, root, "neither a file nor a folder"));
    }
    Ok(walk)
}

impl Walk {
    fn folder(&mut self, shown: &Path, canonical: PathBuf) -> Result<()> {
        let mut folders = vec![(shown.to_path_buf(), canonical)];
        let mut is_root = true;
        while let Some((shown, real)) = folders.pop() {
            let entries = match fs::read_dir(&real).and_then(Iterator::collect::<std::io::Result<Vec<_>>>) {
                Ok(entries) => entries,
                Err(error) if is_root => return Err(Error::io(&shown, "list", error)),
                Err(error) => {
                    self.skip(&shown, format!("cannot list: {error}"));
                    self.unseen.push(real);
                    continue;
                }
            };
            is_root = false;
            for entry in entries {
                let name = entry.file_name();
                if name.as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                let (shown, real) = (shown.join(&name), real.join(&name));
                // Follows links to files. Links to folders are not followed: they can form circles.
                match (entry.file_type(), fs::metadata(&real)) {
                    (Ok(kind), _) if kind.is_dir() => folders.push((shown, real)),
                    (Ok(_), Ok(metadata)) if metadata.is_file() => self.file(shown, real, &metadata),
                    (Ok(_), Ok(metadata)) if metadata.is_dir() => {
                        self.skip(&shown, "a link to a folder; name that folder itself".to_owned());
                    }
                    (Ok(_), Ok(_)) => self.skip(&shown, "not a regular file".to_owned()),
                    (Err(error), _) | (_, Err(error)) => {
                        self.skip(&shown, format!("cannot open: {error}"));
                        if error.kind() != std::io::ErrorKind::NotFound {
                            self.unseen.push(real);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, shown: PathBuf, real: PathBuf, metadata: &Metadata) {
        if !is_document(&real) {
            return self.skip(&shown, "not text, Markdown or HTML by its name".to_owned());
        }
        match shown.to_str() {
            Some(source) => self.found.push(found(real, source.to_owned(), false, metadata)),
            None => self.skip(&shown, "its path is not UTF-8".to_owned()),
        }
    }

    fn skip(&mut self, shown: &Path, reason: String) {
        self.skipped.push(Skipped { source: shown.display().to_string(), reason });
    }
}

/// What became of a document that the library knows.
#[derive(Debug)]
pub(crate) enum Place {
    Here(Found),
    Gone,
    /// It cannot be looked at.
    Unknown(std::io::Error),
}

/// The document at a path that the library knows and that no walk lists: by its name no document, or hidden.
pub(crate) fn known(path: &str, source: &str) -> Place {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let path = PathBuf::from(path);
    match fs::canonicalize(&path).and_then(|canonical| Ok((canonical, fs::metadata(&path)?))) {
        // Where a folder above became a link, the file is another one.
        Ok((canonical, metadata)) if metadata.is_file() && canonical == path => {
            Place::Here(found(path, source.to_owned(), false, &metadata))
        }
        Ok(_) => Place::Gone,
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Place::Gone,
        Err(error) => Place::Unknown(error),
    }
}

fn found(path: PathBuf, source: String, explicit: bool, metadata: &Metadata) -> Found {
    let modified_ns = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or(0);
    Found { path, source, explicit, bytes: metadata.len(), modified_ns }
}

fn utf8(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::at(ErrorKind::Io, path, "the path is not UTF-8; rename it"))
}

fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase)
}

/// In a folder only files that promise prose are read: a folder of notes also holds pictures, tables and programs.
fn is_document(path: &Path) -> bool {
    match extension(path) {
        None => true,
        Some(extension) => matches!(
            extension.as_str(),
            "txt"
                | "text"
                | "md"
                | "markdown"
                | "mkd"
                | "mdown"
                | "html"
                | "htm"
                | "xhtml"
                | "rst"
                | "adoc"
                | "org"
                | "log"
        ),
    }
}

/// Reads a whole file within the size limit.
pub(crate) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
    let mut bytes = Vec::new();
    let limit = options.max_file_bytes;
    // One byte more than allowed tells a file that grew, or that has no honest length, from one that fits.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| Error::io(path, "read", e))?;
    if bytes.len() as u64 > limit {
        let message = format!("larger than {limit} bytes, the most that one document may have; split it");
        return Err(Error::at(ErrorKind::TooLarge, path, message));
    }
    Ok(bytes)
}

/// The text of a file's bytes: UTF-8, with or without a byte order mark.
pub(crate) fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    let not_text = |message: String| Error::at(ErrorKind::NotText, path, message);
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(not_text("UTF-16 text; convert it to UTF-8".to_owned()));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(at) = bytes.iter().position(|&b| b == 0) {
        return Err(not_text(format!("a binary file (NUL at byte {at}), not text")));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let line = bytes[..at].iter().filter(|&&b| b == b'\n').count() + 1;
        not_text(format!("not UTF-8 text at byte {at} (line {line}); convert it to UTF-8"))
    })
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
