/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No kernel of that name was compiled for this architecture.
    UnknownKernel,
    /// The kernel exists, but this CPU lacks the instructions that it needs.
    UnsupportedKernel,
    /// A slice has another length than the dimensions ask for, or a dimension is out of range.
    Shape,
    /// Scales, biases or padding hold values that no quantizer writes.
    Value,
    /// A token, position or type id lies outside its table.
    IdOutOfRange,
}

/// An error of this crate: its kind, and a message that says where, what was expected and what was got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    kind: ErrorKind,
    detail: String,
}

impl Error {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// `what` has `got` elements, but `why` asks for `expected`.
    pub(crate) fn length(what: &str, got: usize, expected: usize, why: &str) -> Self {
        Self::new(ErrorKind::Shape, format!("{what}: {got} elements, expected {expected} ({why})"))
    }
}

/// Checks one length.
pub(crate) fn check_length(what: &str, got: usize, expected: usize, why: &str) -> Result<(), Error> {
    if got == expected { Ok(()) } else { Err(Error::length(what, got, expected, why)) }
}
