//! The one error type of the crate.

use std::fmt;
use std::path::Path;

/// What kind of failure happened, for a caller that wants to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or folder could not be read or written.
    Io,
    /// A data file holds something that it must not hold; the message names file and line.
    Data,
    /// A setting is unknown, missing or contradicts another.
    Config,
    /// A model, tokenizer or tensor computation failed.
    Model,
    /// Stored work (a checkpoint, soft labels) was made from other inputs than the present ones.
    Mismatch,
    /// The user asked the program to stop; what was done so far is stored.
    Interrupted,
}

/// An error of training, labelling or data preparation: where, what was expected, what was got, what to do.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind with its whole message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// With what to do or to know about it.
    pub(crate) fn with_hint(mut self, hint: impl fmt::Display) -> Self {
        self.message = format!("{}; {hint}", self.message);
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn io(path: &Path, action: &str, source: std::io::Error) -> Self {
        Self {
            kind: ErrorKind::Io,
            message: format!("{}: cannot {action}: {source}", path.display()),
            source: Some(Box::new(source)),
        }
    }

    /// A data error at a one-based line of a file.
    pub(crate) fn data(path: &Path, line: usize, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Data, format!("{}:{line}: {message}", path.display()))
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn mismatch(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Mismatch, message)
    }

    pub(crate) fn model(context: impl fmt::Display, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { kind: ErrorKind::Model, message: format!("{context}: {source}"), source: Some(Box::new(source)) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message already ends with the source's text; what lies behind the source is still worth showing.
        self.source.as_deref().and_then(std::error::Error::source)
    }
}

impl From<candle_core::Error> for Error {
    fn from(source: candle_core::Error) -> Self {
        Self::model("tensor computation", source)
    }
}

impl From<attar_nn::Error> for Error {
    fn from(source: attar_nn::Error) -> Self {
        Self { kind: ErrorKind::Model, message: source.to_string(), source: Some(Box::new(source)) }
    }
}
