//! What to quantise and how, and what came of it.

use std::path::PathBuf;

use attar_bundle::{Rows, Weights};
use attar_rounding::Range;
use serde::Serialize;
use serde_json::Value;

use crate::check::{CheckOptions, CheckReport};
use crate::pack::TensorError;
use crate::prune::Pruning;
use crate::sensitivity::Sensitivity;
use crate::smooth::Migration;

/// Text that shows what the student's layers see.
#[derive(Debug, Clone)]
pub struct CalibrationOptions {
    /// A TSV with the columns `text_a` and `text_b`, or any text, of which each line makes a pair with the next; `.zst` is
    /// decompressed, of `.jsonl` every string is a text.
    pub data: PathBuf,
    /// Pairs to read at most, spread evenly over the file.
    pub pairs: usize,
    /// Move outliers of the activations into the weights where that changes nothing but the rounding.
    pub migrate: bool,
    /// Measure how far each part's rounding moves the logits.
    pub sensitivity: bool,
}

impl CalibrationOptions {
    /// 128 pairs, no migration, no sensitivity.
    pub fn new(data: impl Into<PathBuf>) -> CalibrationOptions {
        CalibrationOptions { data: data.into(), pairs: 128, migrate: false, sensitivity: false }
    }
}

/// Which linears of an int8 bundle stay f16.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeepF16 {
    /// None.
    #[default]
    None,
    /// These, by name (`layer.5.ffn_down`, `pooler`).
    Named(Vec<String>),
    /// So many, the most sensitive ones; needs calibration text.
    Worst(usize),
    /// As few as let the check pass; needs calibration text and a check.
    Auto,
}

impl KeepF16 {
    /// Whether the most sensitive linears must be known.
    pub(crate) fn needs_sensitivity(&self) -> bool {
        matches!(self, KeepF16::Worst(_) | KeepF16::Auto)
    }
}

/// What to quantise, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The source folder.
    pub source: PathBuf,
    /// The bundle to write; an existing file is replaced when the new one is whole.
    pub output: PathBuf,
    /// How weights are stored.
    pub weights: Weights,
    /// How the word embeddings are stored; by default like the other weights.
    pub embeddings: Option<Rows>,
    /// How the ranges of int8 and int4 are chosen. [`Range::Mse`] goes by the error of a linear's outputs where there is
    /// calibration text, else by that of the weights.
    pub ranges: Range,
    /// Text to calibrate on.
    pub calibration: Option<CalibrationOptions>,
    /// Which linears of an int8 bundle stay f16.
    pub keep_f16: KeepF16,
    /// Texts by which the vocabulary is pruned; none for the whole vocabulary.
    pub prune: Vec<PathBuf>,
    /// Refuse a bundle that loses accuracy.
    pub check: Option<CheckOptions>,
}

impl Options {
    /// Options without any of the extras: min-max ranges, no calibration, no pruning, no check.
    pub fn new(source: impl Into<PathBuf>, output: impl Into<PathBuf>, weights: Weights) -> Options {
        Options {
            source: source.into(),
            output: output.into(),
            weights,
            embeddings: None,
            ranges: Range::MinMax,
            calibration: None,
            keep_f16: KeepF16::None,
            prune: Vec::new(),
            check: None,
        }
    }
}

/// What calibration found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CalibrationReport {
    /// The file's name.
    pub data: String,
    /// Pairs that were run through the f32 student.
    pub pairs: usize,
    /// What became of each layer's `attention_output`, if migration was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub migration: Vec<Migration>,
    /// How far each part's rounding moves the logits, the worst first, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The bundle.
    pub output: PathBuf,
    /// How weights are stored.
    pub weights: &'static str,
    /// How the word embeddings are stored.
    pub embeddings: &'static str,
    /// How ranges were chosen.
    pub ranges: String,
    /// Length of the bundle in bytes.
    pub bytes: u64,
    /// The same by part.
    pub parts: serde_json::Map<String, Value>,
    /// Number of parameters.
    pub parameters: u64,
    /// The heads' names.
    pub heads: Vec<String>,
    /// Embedding rows that no token has, and that were left out.
    pub unused_rows: usize,
    /// Tensors of the source that a classifier does not need.
    pub ignored_tensors: Vec<String>,
    /// Linears that stay f16.
    pub f16_linears: Vec<String>,
    /// How far each tensor moved, in file order.
    pub tensors: Vec<TensorError>,
    /// What pruning did.
    pub pruning: Option<Pruning>,
    /// What calibration found.
    pub calibration: Option<CalibrationReport>,
    /// What the check found.
    pub check: Option<CheckReport>,
    /// How long it took.
    pub seconds: f64,
}

/// `"minmax"`, `"mse"` or `"percentile:99.9"`.
pub(crate) fn range_name(range: Range) -> String {
    match range {
        Range::MinMax => "minmax".into(),
        Range::Mse => "mse".into(),
        Range::Percentile(share) => format!("percentile:{}", (f64::from(share) * 1e6).round() / 1e4),
    }
}
