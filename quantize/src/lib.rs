//! Turns students into bundles: int8, f16 or f32, packed in the order in which the kernels read them, and checked.
//!
//! A source is a student folder (`ARCHITECTURE.md`, "The student folder") or any Hugging Face folder with a
//! `BertForSequenceClassification`. Weights are read and quantised tensor by tensor.
//!
//! - int8: symmetric, a scale per output channel of a linear and per row of an embedding, `scale = max|w| / 127` (or a range
//!   that clips, [`Range`]), rounded half to even ([`scheme`]); biases, norms, type embeddings and heads stay f32. Activations
//!   are quantised at run time, so no calibration data is needed.
//! - int4: word embeddings, in groups of 32 columns with an f16 scale each.
//! - f16: linears and word and position embeddings, refused where a weight is beyond 65504.
//!
//! Calibration text ([`CalibrationOptions`]) lets ranges be chosen by the error of a linear's outputs, outliers be migrated
//! ([`Migration`]), and the most sensitive linears be found and kept in f16 ([`KeepF16`]). [`Options::prune`] drops word
//! pieces that a corpus never needs.
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

mod calibrate;
mod check;
mod config;
mod data;
mod error;
mod network;
mod onnx;
mod options;
mod pack;
mod prune;
pub mod scheme;
mod sensitivity;
mod smooth;
mod student;
mod tensors;
mod vocabulary;
mod weights;
mod write;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use attar::Model;
use attar_bundle::{AtomicFile, LinearName, Weights};
use serde_json::{Value, json};

use calibrate::Calibration;
use check::Reference;
use error::fail;
use network::Network;
use pack::{Packed, Recipe};

pub use attar_bundle::Rows;
pub use attar_rounding::Range;
pub use check::{CheckOptions, CheckReport, Progress};
pub use error::{Error, ErrorKind, Result};
pub use onnx::{ExportReport, export as export_onnx};
pub use options::{CalibrationOptions, CalibrationReport, KeepF16, Options, Report};
pub use pack::TensorError;
pub use prune::Pruning;
pub use sensitivity::Sensitivity;
pub use smooth::Migration;
pub use student::Student;

/// Quantises a student, checks the bundle if that was asked for, and writes it.
///
/// The output appears under its name only when it is whole, opens in the runtime with all checksums right, and lost no more
/// than was allowed. `progress` is told of the check's rows.
///
/// # Errors
/// Every [`ErrorKind`]; the output is not touched then.
pub fn quantize(options: &Options, progress: Progress<'_>) -> Result<Report> {
    let start = Instant::now();
    options.consistent()?;
    keep_source(&options.source, &options.output)?;
    let mut student = Student::open(&options.source)?;
    // A check is against the student as it is, with its whole vocabulary.
    let whole = (options.check.is_some() && !options.prune.is_empty()).then(|| Student::open(&options.source));
    let whole = whole.transpose()?;
    let pruning = match options.prune.is_empty() {
        true => None,
        false => Some(prune::prune(&mut student, &options.prune)?),
    };
    let mut recipe = Recipe {
        word: options.embeddings.unwrap_or(options.weights.into()),
        range: options.ranges,
        ..Recipe::plain(options.weights)
    };
    let calibration = match &options.calibration {
        None => None,
        Some(wanted) => Some(calibrated(&mut student, wanted, &options.keep_f16, &mut recipe)?),
    };
    match (&options.keep_f16, &calibration) {
        (KeepF16::Named(names), _) => recipe.f16 = sensitivity::named(&student, names)?,
        (KeepF16::Worst(count), Some(found)) => {
            recipe.f16 = sensitivity::worst(&student, &found.sensitivity, *count);
        }
        _ => {}
    }
    let mut packed = Packed::new(&student, &recipe)?;
    let mut facts = facts(&student, &recipe, &packed, &pruning, &calibration)?;
    let mut check = None;
    if let Some(wanted) = &options.check {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("temporary folder"), e))?;
        let path = folder.path().join("f32.attar");
        let plain = Recipe::plain(Weights::F32);
        let exact = whole.as_ref().unwrap_or(&student);
        write_and_open(exact, &plain, &Packed::new(exact, &plain)?, &facts, AtomicFile::create(&path)?)?.0.commit()?;
        let reference = Reference::new(&path, wanted, progress)?;
        let path = folder.path().join("candidate.attar");
        let found = loop {
            write_and_open(&student, &recipe, &packed, &facts, AtomicFile::create(&path)?)?.0.commit()?;
            let found = reference.compare(&path, wanted, progress)?;
            let kept = recipe.f16.len();
            let all = LinearName::all(&student.architecture).count();
            let (KeepF16::Auto, Some(calibration)) = (&options.keep_f16, &calibration) else { break found };
            if found.drop <= wanted.max_drop || kept == all {
                break found;
            }
            // Twice as many, since a check costs more than a bundle that is some kilobytes too large.
            recipe.f16 = sensitivity::worst(&student, &calibration.sensitivity, (2 * kept).max(1));
            packed = Packed::new(&student, &recipe)?;
        };
        found.judge(wanted.max_drop)?;
        facts = self::facts(&student, &recipe, &packed, &pruning, &calibration)?;
        facts["check"] = json!(found);
        check = Some(found);
    }
    // The report of the check belongs into the header, which comes first in the file: so the file is written once more.
    let (file, info) = write_and_open(&student, &recipe, &packed, &facts, AtomicFile::create(&options.output)?)?;
    file.commit()?;
    Ok(Report {
        output: options.output.clone(),
        weights: options.weights.name(),
        embeddings: recipe.word.name(),
        ranges: options::range_name(options.ranges),
        bytes: info.file_bytes,
        parts: info.parts.iter().map(|part| (part.name.to_string(), json!(part.bytes))).collect(),
        parameters: info.parameters,
        heads: info.heads.into_iter().map(|head| head.name).collect(),
        unused_rows: student.unused_rows,
        ignored_tensors: student.ignored_tensors,
        f16_linears: recipe.f16.iter().map(|name| name.prefix()).collect(),
        tensors: packed.errors,
        pruning,
        calibration,
        check,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Refuses an output that would replace a file that the student is read from.
pub(crate) fn keep_source(source: &Path, output: &Path) -> Result<()> {
    const READ: [&str; 5] = ["config.json", "tokenizer.json", "model.safetensors", "model.onnx", "attar.toml"];
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    let Some(output_place) = place(output) else { return Ok(()) };
    let folder = if source.is_dir() { source } else { source.parent().unwrap_or(Path::new("")) };
    let read = READ.iter().filter_map(|name| place(&folder.join(name))).chain(place(source));
    if read.into_iter().any(|read| read == output_place) {
        fail!(Usage, "{}: the student is read from this file; give the output another name", output.display());
    }
    Ok(())
}

impl Options {
    /// Refuses what contradicts itself.
    fn consistent(&self) -> Result<()> {
        let int8 = self.weights == Weights::Int8;
        if self.keep_f16 != KeepF16::None && !int8 {
            fail!(Usage, "keeping linears in f16 is for int8 bundles, and this one is {}", self.weights);
        }
        if self.keep_f16.needs_sensitivity() && self.calibration.is_none() {
            fail!(Usage, "keeping the most sensitive linears in f16 needs calibration text to find them (--calibrate)");
        }
        if self.keep_f16 == KeepF16::Auto && self.check.is_none() {
            fail!(Usage, "keeping as few linears in f16 as the check needs wants a check (--check)");
        }
        if self.calibration.is_some() && !int8 {
            fail!(Usage, "calibration is for int8 bundles, and this one is {}", self.weights);
        }
        let rounded_rows = matches!(self.embeddings, Some(Rows::Int4 | Rows::Int8));
        if self.ranges != Range::MinMax && !int8 && !rounded_rows {
            fail!(Usage, "ranges are of int8 and int4 values, and this bundle is {}", self.weights);
        }
        if self.check.as_ref().is_some_and(|check| check.rows == Some(0)) {
            fail!(Usage, "a check of 0 rows says nothing; give at least 1, or leave the number out for all");
        }
        Ok(())
    }
}

/// Runs calibration text through the student and lets it decide on scales.
fn calibrated(
    student: &mut Student,
    options: &CalibrationOptions,
    keep: &KeepF16,
    recipe: &mut Recipe,
) -> Result<CalibrationReport> {
    let mut calibration = Calibration::new(student, &Network::new(student)?, &options.data, options.pairs)?;
    let mut report = CalibrationReport {
        data: options.data.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        pairs: calibration.pairs,
        ..CalibrationReport::default()
    };
    if options.migrate {
        report.migration = smooth::migrate(student, &mut calibration)?;
    }
    if recipe.range == Range::Mse {
        for name in LinearName::all(&student.architecture) {
            let scales = calibrate::output_scales(&student.linear(name)?, calibration.inputs(student, name))?;
            recipe.scales.insert(name.prefix(), scales);
        }
    }
    if options.sensitivity || keep.needs_sensitivity() {
        report.sensitivity = sensitivity::measure(student, &Network::new(student)?, &calibration, recipe)?;
    }
    Ok(report)
}

/// What the bundle's metadata says about quantising, `attar.quantization`.
fn facts(
    student: &Student,
    recipe: &Recipe,
    packed: &Packed,
    pruning: &Option<Pruning>,
    calibration: &Option<CalibrationReport>,
) -> Result<Value> {
    let mut parts = serde_json::Map::new();
    for tensor in student.contents(recipe, &json!({})).tensors()? {
        let part = match tensor.name.split('.').next() {
            Some("tokenizer") => "vocabulary",
            Some("embeddings") => "embeddings",
            Some("layer") => "encoder",
            Some("pooler") => "pooler",
            _ => "heads",
        };
        let bytes = parts.get(part).and_then(Value::as_u64).unwrap_or(0) + tensor.bytes() as u64;
        parts.insert(part.into(), json!(bytes));
    }
    let mut facts = json!({
        "tool": concat!("attar-quantize ", env!("CARGO_PKG_VERSION")),
        "weights": recipe.weights.name(),
        "embeddings": recipe.word.name(),
        "ranges": options::range_name(recipe.range),
        "bytes_by_part": parts,
        "tensors": packed.errors,
        "check": null,
    });
    if !recipe.f16.is_empty() {
        facts["f16_linears"] = json!(recipe.f16.iter().map(|name| name.prefix()).collect::<Vec<_>>());
    }
    if let Some(pruning) = pruning {
        facts["pruning"] = json!(pruning);
    }
    if let Some(calibration) = calibration {
        facts["calibration"] = json!(calibration);
    }
    Ok(facts)
}

/// Writes a bundle and has the runtime open and verify it while it still has its temporary name.
fn write_and_open(
    student: &Student,
    recipe: &Recipe,
    packed: &Packed,
    facts: &Value,
    mut file: AtomicFile,
) -> Result<(AtomicFile, attar::Info)> {
    write::write(student, recipe, packed, facts, &mut file)?;
    file.flush().map_err(|e| Error::io(file.temporary(), e))?;
    let model = Model::open(file.temporary()).map_err(check::runtime)?;
    model.verify().map_err(check::runtime)?;
    Ok((file, model.info()))
}
