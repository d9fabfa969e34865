//! The C ABI of Attar, with Kotlin and Swift on top.
//!
//! `include/attar.h` is the documentation of every function: who owns what, for how long, and from which threads. This crate keeps its
//! promises: no panic crosses it, every pointer is checked as far as a pointer can be, and nothing is printed.
//!
//! Rust programs use the crates `attar` and `attar-library` directly.

mod argument;
#[cfg(feature = "jni")]
mod jni;
#[cfg(feature = "library")]
mod library;
mod model;
#[cfg(feature = "library")]
mod results;
mod session;
mod status;

use std::ffi::c_char;

pub use argument::Text;
#[cfg(feature = "library")]
pub use library::{
    Library, attar_library_add_text, attar_library_ask, attar_library_destroy, attar_library_in_memory,
    attar_library_open, attar_library_size, attar_library_update,
};
pub use model::{
    Model, ModelOptions, attar_model_default, attar_model_destroy, attar_model_from_memory, attar_model_head,
    attar_model_head_count, attar_model_label, attar_model_label_count, attar_model_open,
};
#[cfg(feature = "library")]
pub use results::{
    Answer, AskOptions, Counts, Report, Results, attar_report_counts, attar_report_destroy, attar_report_skipped,
    attar_results_answer, attar_results_count, attar_results_destroy, attar_results_no_answer_probability,
};
pub use session::{
    Pair, Scores, Session, SessionOptions, attar_session_create, attar_session_destroy, attar_session_relevance,
    attar_session_score,
};
pub use status::{Status, attar_last_error, attar_status_name};

/// The version of the library; `attar_version` in `attar.h`.
#[unsafe(no_mangle)]
pub extern "C" fn attar_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

#[cfg(test)]
mod tests;
