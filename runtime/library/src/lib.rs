#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod answer;
mod block;
mod error;
mod html;
mod library;
mod lined;
mod markdown;
mod overlap;
mod passage;
mod query;
mod schema;
mod sentence;
mod source;
mod student;
mod text;
mod writer;

pub use answer::{Answer, AnswerOptions, Answerer, Reply, Reranker};
pub use error::{Error, ErrorKind, Result};
pub use library::{Candidate, IndexReport, Library};
pub use passage::{Passage, Sentence};
pub use source::{Format, ReadOptions, Skipped};
