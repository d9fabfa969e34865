//! What can be wrong with a bundle.

use std::io;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was: what a caller may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file ends before what its header announces, or goes on after it: an interrupted copy or download.
    Size,
    /// The JSON header is missing, too long, or not what safetensors calls a header. Most likely not a bundle at all.
    Header,
    /// A bundle of a format version that this crate does not read.
    Version,
    /// A metadata value is missing, malformed, out of range, or contradicts another.
    Metadata,
    /// Tensors overlap, leave holes, or do not begin on a 64-byte boundary.
    Placement,
    /// A tensor is missing, unexpected, or has another element type or shape than the architecture asks for.
    Tensor,
    /// A tensor holds a value that it must not hold, such as a scale that is not a number.
    Value,
    /// The bytes are not the ones that were written.
    Checksum,
    /// The bytes lie in memory where they cannot be viewed as numbers.
    Alignment,
    /// The writer was given tensors in another order, size or number than it was announced.
    Usage,
    /// Reading or writing failed.
    Io,
}

/// An error that says where in the bundle, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    pub(crate) fn io(message: impl Into<String>, source: io::Error) -> Self {
        let message = format!("{}: {source}", message.into());
        Error { kind: ErrorKind::Io, message, source: Some(source) }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error with `place` (usually the file's path) before its text.
    #[must_use]
    pub fn at(self, place: impl std::fmt::Display) -> Self {
        Error { message: format!("{place}: {}", self.message), ..self }
    }
}

/// Shorthand for the `return Err(Error::new(kind, format!(...)))` that validation is made of.
macro_rules! fail {
    ($kind:ident, $($text:tt)*) => {
        return Err($crate::error::Error::new($crate::error::ErrorKind::$kind, format!($($text)*)))
    };
}
pub(crate) use fail;
