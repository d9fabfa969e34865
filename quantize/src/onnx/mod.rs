//! ONNX, out and in: the f32 student as a graph that ONNX Runtime runs, and BERT classifiers that others exported.
//!
//! `.onnx` files are protocol buffers. [`proto`] has the messages that both directions need, written by hand from `onnx.proto`
//! (IR version 8) for prost: some twenty fields instead of a code generator and a compiler for `.proto` files in the build.

mod export;
mod import;
mod proto;

pub use export::{ExportReport, export};
pub(crate) use import::{Named, read};

#[cfg(test)]
mod tests;
