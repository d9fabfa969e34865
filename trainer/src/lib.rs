//! Teachers, soft labels and distillation: makes students.
//!
//! A [`config::RunConfig`] states a whole distillation and [`run::run`] does it: it builds question-passage [`pairs`],
//! fine-tunes teachers, stores their soft [`label`]s, trains the student in one or two stages ([`train_loop::train`]) by
//! a [`scheme::Scheme`], fits the heads' temperatures and scores the result. Each piece can be used alone.

#![forbid(unsafe_code)]

mod canonical;
pub mod checkpoint;
pub mod comparison;
pub mod config;
pub mod data;
mod error;
pub mod evaluate;
pub mod fetch;
mod files;
pub mod hash;
pub mod history;
pub mod label;
pub mod matching;
pub mod mean;
pub mod metrics;
pub mod objective;
pub mod pairs;
pub mod parts;
pub mod progress;
pub mod random;
pub mod report;
pub mod run;
pub mod scheme;
pub mod sets;
pub mod settings;
mod table;
#[cfg(test)]
mod testing;
pub mod train_loop;

pub use error::{Error, ErrorKind, Result};
