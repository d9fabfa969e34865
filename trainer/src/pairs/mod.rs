//! Pairs for the first stage, for teachers to label, and of shared words with labels: positives, BM25 hard negatives, random, reworded and
//! word-overlap ones.

mod bm25;
mod build;
mod overlap;
mod reword;
mod sentences;
mod sources;
mod words;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::Columns;

pub use bm25::Bm25;
pub use build::{BuiltPair, PairKind, build_from, write_pairs};
pub use reword::RewordConfig;
pub use sentences::split_sentences;
pub use sources::{Collection, Question, read_source};

/// Pairs to build.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsConfig {
    /// Name, to refer to them.
    pub name: String,
    /// Where questions and passages come from.
    pub sources: Vec<PairSource>,
    /// Negatives of each question out of those that its source has: other passages of its paragraph (SQuAD), or rows with label 0.
    #[serde(default = "one")]
    pub given: usize,
    /// BM25 hard negatives of each question.
    #[serde(default = "one")]
    pub bm25: usize,
    /// Random negatives of each question.
    #[serde(default = "one")]
    pub random: usize,
    /// Use at most this many questions of all sources together.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Further passages for each question: its positives, or the question itself, with some words replaced. For a teacher to label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reword: Option<RewordConfig>,
    /// Further passages for each question that is a plain English statement, made of its own words and labelled by whether they follow from
    /// it: two nouns exchanged, the beginning or the end left out. For entailment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overlap: bool,
    /// Files (of sets that something is measured on) whose texts must not occur, case and punctuation aside: neither as question
    /// nor as passage.
    #[serde(default)]
    pub exclude: Vec<PathBuf>,
}

/// One file of questions and passages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSource {
    /// The file.
    pub path: PathBuf,
    /// Its form.
    pub kind: SourceKind,
    /// For `kind = "pairs"`: what its columns are, where their names do not say it.
    #[serde(default)]
    pub columns: Option<Columns>,
    /// How its passages are cut.
    #[serde(default)]
    pub cut: Cut,
    /// Use at most this many of its questions.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// The form of a file of questions and passages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// JSONL, a paragraph a line: `{"context", "qas": [{"id", "question", "answers": [{"answer_start", "text"}]}]}`.
    Squad,
    /// TSV or JSONL of question and passage, with or without labels; a row without one is a positive.
    Pairs,
}

/// How passages are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// Not at all.
    #[default]
    Whole,
    /// Into sentences.
    Sentences,
    /// Into runs of 1 to 4 sentences, as the passages of documents on a device are.
    Chunks,
}

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests;
