//! What can go wrong, in kinds that a caller can act on.

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file cannot be read: missing, no permission, not a file.
    Io,
    /// The bytes are not a bundle, or a damaged one.
    Bundle,
    /// A bundle of a format version that this crate does not read.
    Version,
    /// The bytes are not the ones that were written.
    Checksum,
    /// The kernel that was asked for does not exist or this processor cannot run it.
    Kernel,
    /// The model has no such head, or it does not serve the purpose.
    Head,
    /// A text cannot be scored: it is empty, or absurdly long.
    Input,
    /// A bug in this crate.
    Internal,
}

/// An error that says where, what was expected and what was found.
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

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Error { kind, message: message.into(), source: Some(Box::new(source)) }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error with `place` (usually the file's path) before its text.
    pub(crate) fn at(self, place: impl std::fmt::Display) -> Self {
        Error { message: format!("{place}: {}", self.message), ..self }
    }
}

impl From<attar_bundle::Error> for Error {
    fn from(error: attar_bundle::Error) -> Self {
        let kind = match error.kind() {
            attar_bundle::ErrorKind::Version => ErrorKind::Version,
            attar_bundle::ErrorKind::Checksum => ErrorKind::Checksum,
            attar_bundle::ErrorKind::Io => ErrorKind::Io,
            attar_bundle::ErrorKind::Alignment | attar_bundle::ErrorKind::Usage => ErrorKind::Internal,
            _ => ErrorKind::Bundle,
        };
        Error::with_source(kind, error.to_string(), error)
    }
}
