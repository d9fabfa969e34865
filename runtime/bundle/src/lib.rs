//! The `.attar` file format: validated views of a memory-mapped student.
//!
//! A bundle is one file that holds everything a student needs: weights in the order in which the kernels read them, the
//! vocabulary in a form that needs no parsing, heads, labels, temperatures and provenance. It is also a valid
//! [safetensors](https://github.com/huggingface/safetensors) file, so that any tool of that ecosystem can list it.
//! `ARCHITECTURE.md`, section "The bundle", is the format's description; [`FORMAT_VERSION`] its version.
//!
//! - [`Layout::parse`] validates structure and metadata once and keeps a small directory. Nothing is allocated in proportion
//!   to what a file *claims*, and after it succeeded no view can fail.
//! - [`Layout::view`] lends typed slices of the file's bytes; weights are never copied.
//! - [`Layout::verify`] checks every tensor's XXH3-64 checksum and names the bad one.
//! - [`Encoder`] streams a bundle out tensor by tensor; [`AtomicFile`] makes it appear under its name only when it is whole.
//! - [`packing`] has the packed weight layouts, with their inverses.
//!
//! ```
//! use attar_bundle::{ErrorKind, Layout};
//! let error = Layout::parse(b"not a bundle at all").unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Header);
//! ```
#![forbid(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("bundles are little-endian and are used without conversion: big-endian targets are not supported");

mod error;
mod file;
mod header;
mod layout;
mod metadata;
pub mod packing;
mod precision;
mod schema;
mod view;
mod writer;

pub use error::{Error, ErrorKind, Result};
pub use file::AtomicFile;
pub use layout::{Layout, TensorInfo};
pub use metadata::{Architecture, Head, TokenizerConfig, Weights};
pub use precision::{Precision, Rows};
pub use schema::{Contents, Element, LinearName, NormName, TensorSpec};
pub use view::{Embedding, EmbeddingRows, Head as HeadView, HeadLayer, Linear, LinearWeights, Norm, View, Vocabulary};
pub use writer::Encoder;

/// Newest version of the format, `attar.format` in a bundle's metadata. All versions from 1 on are read; the oldest one that
/// can say what a bundle holds is written: 1, or 2 where [`Precision`] has exceptions.
pub const FORMAT_VERSION: u32 = 2;

/// Every tensor begins on a multiple of this many bytes, counted from the beginning of the file: a cache line, and an AVX-512
/// register.
pub const ALIGNMENT: usize = 64;

/// Longest JSON header that is read, bytes. A twelve-layer bundle has about 60 KiB of it; provenance is the rest.
pub const MAX_HEADER_BYTES: usize = 1 << 20;

#[cfg(test)]
#[path = "fixture_tests.rs"]
pub(crate) mod fixture;
