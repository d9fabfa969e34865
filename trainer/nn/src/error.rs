//! The error of this crate.

use std::path::Path;

/// What kind of failure an [`Error`] is, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file could not be read or written.
    Io,
    /// A file was read but says something that is malformed, unsupported or inconsistent.
    Format,
    /// An argument does not fit (a shape, an unknown head, a probability out of range).
    Argument,
    /// The device is absent or cannot be used.
    Device,
    /// A tensor operation failed.
    Tensor,
}

/// Where something failed, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result whose error is [`struct@Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Argument, message)
    }

    pub(crate) fn format(path: &Path, message: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Format, format!("{}: {message}", path.display()))
    }

    pub(crate) fn io(path: &Path, doing: &str, source: std::io::Error) -> Self {
        let message = format!("{}: cannot {doing}: {source}", path.display());
        Self { kind: ErrorKind::Io, message, source: Some(Box::new(source)) }
    }
}

impl From<candle_core::Error> for Error {
    fn from(source: candle_core::Error) -> Self {
        Self { kind: ErrorKind::Tensor, message: format!("tensor operation: {source}"), source: Some(Box::new(source)) }
    }
}
