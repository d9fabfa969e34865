//! What can go wrong when a student becomes a bundle.

use std::path::Path;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Reading or writing failed.
    Io,
    /// A file of the source folder is missing, malformed, or of a kind that cannot be taken.
    Source,
    /// A tensor is missing, unexpected, has the wrong shape or element type, or holds a value that is no finite number.
    Tensor,
    /// A weight does not fit the number format that was asked for.
    Overflow,
    /// The labelled data cannot be used with this student.
    Data,
    /// The bundle lost more accuracy than was allowed, and was not written.
    Accuracy,
    /// Options that contradict one another.
    Usage,
    /// A bug: what was written does not open.
    Internal,
}

/// An error that says in which file, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    pub(crate) fn io(path: &Path, error: std::io::Error) -> Self {
        Error { kind: ErrorKind::Io, message: format!("{}: {error}", path.display()), source: Some(Box::new(error)) }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<attar_bundle::Error> for Error {
    fn from(error: attar_bundle::Error) -> Self {
        let kind = match error.kind() {
            attar_bundle::ErrorKind::Io => ErrorKind::Io,
            attar_bundle::ErrorKind::Metadata | attar_bundle::ErrorKind::Header => ErrorKind::Source,
            _ => ErrorKind::Internal,
        };
        Error { kind, message: error.to_string(), source: Some(Box::new(error)) }
    }
}

/// `return Err` of that kind with a formatted text.
macro_rules! fail {
    ($kind:ident, $($text:tt)*) => {
        return Err($crate::error::Error::new($crate::error::ErrorKind::$kind, format!($($text)*)))
    };
}
pub(crate) use fail;
