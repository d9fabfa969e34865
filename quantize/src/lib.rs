//! Turns students into bundles: int8, f16 or f32, packed in the order in which the kernels read them, and checked.
//!
//! A source is a student folder (`ARCHITECTURE.md`, "The student folder") or any Hugging Face folder with a
//! `BertForSequenceClassification`. Weights are read, quantised and written tensor by tensor.
//!
//! - int8: symmetric, a scale per output channel of a linear and per row of an embedding, `scale = max|w| / 127`, rounded half
//!   to even ([`scheme`]); biases, norms, type embeddings and heads stay f32. Activations are quantised at run time, so no
//!   calibration data is needed.
//! - f16: linears and word and position embeddings, refused where a weight is beyond 65504.
//!
//! ```no_run
//! use attar_quantize::{Options, quantize};
//!
//! let options = Options::new("student", "student.attar", attar_bundle::Weights::Int8);
//! let report = quantize(&options, &mut |done, all| eprintln!("{done} of {all} rows"))?;
//! println!("{} bytes", report.bytes);
//! # Ok::<(), attar_quantize::Error>(())
//! ```
#![forbid(unsafe_code)]

mod check;
mod config;
mod data;
mod error;
pub mod scheme;
mod student;
mod tensors;
mod vocabulary;
mod write;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use attar::Model;
use attar_bundle::{AtomicFile, Weights};
use serde::Serialize;
use serde_json::{Value, json};

pub use check::{CheckOptions, CheckReport, Progress};
pub use error::{Error, ErrorKind, Result};
pub use student::Student;

/// What to quantise, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The source folder.
    pub source: PathBuf,
    /// The bundle to write; an existing file is replaced when the new one is whole.
    pub output: PathBuf,
    /// How weights are stored.
    pub weights: Weights,
    /// Refuse a bundle that loses accuracy.
    pub check: Option<CheckOptions>,
}

impl Options {
    /// Options without a check.
    pub fn new(source: impl Into<PathBuf>, output: impl Into<PathBuf>, weights: Weights) -> Options {
        Options { source: source.into(), output: output.into(), weights, check: None }
    }
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The bundle.
    pub output: PathBuf,
    /// How weights are stored.
    pub weights: &'static str,
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
    /// What the check found.
    pub check: Option<CheckReport>,
    /// How long it took.
    pub seconds: f64,
}

/// Quantises a student, checks the bundle if that was asked for, and writes it.
///
/// The output appears under its name only when it is whole, opens in the runtime with all checksums right, and lost no more
/// than was allowed. `progress` is told of the check's rows.
///
/// # Errors
/// Every [`ErrorKind`]; the output is not touched then.
pub fn quantize(options: &Options, progress: Progress<'_>) -> Result<Report> {
    let start = Instant::now();
    let student = Student::open(&options.source)?;
    let mut facts = json!({
        "tool": concat!("attar-quantize ", env!("CARGO_PKG_VERSION")),
        "weights": options.weights.name(),
        "check": null,
    });
    let mut check = None;
    if let Some(wanted) = &options.check {
        let found = check_student(&student, options.weights, wanted, &facts, progress)?;
        found.judge(wanted.max_drop)?;
        facts["check"] = json!(found);
        check = Some(found);
    }
    // The report of the check belongs into the header, which comes first in the file: so the bundle is made once more,
    // which takes less time than copying it and patching checksums takes code.
    let (file, info) = write_and_open(&student, options.weights, &facts, AtomicFile::create(&options.output)?)?;
    file.commit()?;
    Ok(Report {
        output: options.output.clone(),
        weights: options.weights.name(),
        bytes: info.file_bytes,
        parts: info.parts.iter().map(|part| (part.name.to_string(), json!(part.bytes))).collect(),
        parameters: info.parameters,
        heads: info.heads.into_iter().map(|head| head.name).collect(),
        unused_rows: student.unused_rows,
        ignored_tensors: student.ignored_tensors,
        check,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Writes a bundle and has the runtime open and verify it while it still has its temporary name.
fn write_and_open(
    student: &Student,
    weights: Weights,
    facts: &Value,
    mut file: AtomicFile,
) -> Result<(AtomicFile, attar::Info)> {
    write::write(student, weights, facts, &mut file)?;
    file.flush().map_err(|e| Error::io(file.temporary(), e))?;
    let model = Model::open(file.temporary()).map_err(check::runtime)?;
    model.verify().map_err(check::runtime)?;
    Ok((file, model.info()))
}

fn check_student(
    student: &Student,
    weights: Weights,
    options: &CheckOptions,
    facts: &Value,
    progress: Progress<'_>,
) -> Result<CheckReport> {
    let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("temporary folder"), e))?;
    let bundle = |name: &str, weights: Weights| -> Result<PathBuf> {
        let path = folder.path().join(name);
        write_and_open(student, weights, facts, AtomicFile::create(&path)?)?.0.commit()?;
        Ok(path)
    };
    let reference = bundle("f32.attar", Weights::F32)?;
    let candidate = if weights == Weights::F32 { reference.clone() } else { bundle("candidate.attar", weights)? };
    check::compare(&reference, &candidate, options, progress)
}
