//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// What a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A path does not exist.
    NotFound,
    /// A path exists and cannot be read or written.
    Io,
    /// A document is no UTF-8 text, or holds none.
    NotText,
    /// A document is larger than [`crate::ReadOptions::max_file_bytes`].
    TooLarge,
    /// No readable document lies under a path.
    NoDocuments,
    /// A question without words, or one with too many.
    Question,
    /// The file is no Attar library.
    NotALibrary,
    /// The library was written by a newer version.
    NewerVersion,
    /// The library's contents contradict themselves.
    Corrupt,
    /// Another process is writing to the library.
    Busy,
    /// SQLite failed in another way.
    Database,
    /// The model refused a pair.
    Model,
}

/// An error that names the file, what was expected, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}{message}", prefix(.path.as_deref()))]
pub struct Error {
    kind: ErrorKind,
    path: Option<PathBuf>,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

fn prefix(path: Option<&Path>) -> String {
    path.map(|path| format!("{}: ", path.display())).unwrap_or_default()
}

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The kind of failure, for callers that act on it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file or folder concerned, where there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The text without the path.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, path: None, message: message.into(), source: None }
    }

    pub(crate) fn at(kind: ErrorKind, path: &Path, message: impl Into<String>) -> Self {
        Self { path: Some(path.to_path_buf()), ..Self::new(kind, message) }
    }

    pub(crate) fn io(path: &Path, doing: &str, error: std::io::Error) -> Self {
        let (kind, message) = match error.kind() {
            std::io::ErrorKind::NotFound => (ErrorKind::NotFound, "no such file or folder".to_owned()),
            _ => (ErrorKind::Io, format!("cannot {doing}: {error}")),
        };
        Self { source: Some(Box::new(error)), ..Self::at(kind, path, message) }
    }

    pub(crate) fn database(path: Option<&Path>, error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let (kind, message) = match error.sqlite_error_code() {
            Some(Code::NotADatabase) => {
                (ErrorKind::NotALibrary, "not an Attar library; make one with `attar index PATH... -o FILE`".to_owned())
            }
            Some(Code::DatabaseCorrupt | Code::TypeMismatch) => (ErrorKind::Corrupt, corrupt(&error)),
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => (
                ErrorKind::Busy,
                "another process is writing to this library; try again when it has finished".to_owned(),
            ),
            Some(
                Code::CannotOpen | Code::ReadOnly | Code::PermissionDenied | Code::SystemIoFailure | Code::DiskFull,
            ) => (ErrorKind::Io, error.to_string()),
            None if is_wrong_type(&error) => (ErrorKind::Corrupt, corrupt(&error)),
            _ => (ErrorKind::Database, format!("SQLite: {error}")),
        };
        Self { kind, path: path.map(Path::to_path_buf), message, source: Some(Box::new(error)) }
    }

    pub(crate) fn model(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self { source: None, ..Self::new(ErrorKind::Model, error.to_string()) }
    }
}

fn corrupt(error: &dyn std::fmt::Display) -> String {
    format!("the library is damaged ({error}); delete it and run `attar index` again")
}

/// Row accessors fail without an SQLite code where a damaged file holds a value of another type.
fn is_wrong_type(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::Utf8Error(..)
    )
}
