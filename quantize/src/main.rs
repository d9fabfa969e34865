//! `attar-quantize`: turns a student into a bundle.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use attar_bundle::Weights;
use attar_quantize::{
    CalibrationOptions, CheckOptions, ErrorKind, KeepF16, Options, Range, Report, Rows, export_onnx, quantize,
};
use clap::{Parser, ValueEnum};

/// Turn a student into one memory-mapped file that the attar runtime executes, or into ONNX.
///
/// SRC is a student folder as attar-train exports it, or a Hugging Face folder with a BertForSequenceClassification
/// (config.json, tokenizer.json, and model.safetensors or model.onnx), or an ONNX file beside such files. The output appears only when it is whole and opens in the runtime.
#[derive(Debug, Parser)]
#[command(name = "attar-quantize", version, after_help = EXAMPLES)]
struct Args {
    /// Student folder, or Hugging Face BERT classifier folder
    src: PathBuf,

    /// Bundle to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// What to write [default: onnx for an output called *.onnx, else a bundle]
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// How weights are stored [default: int8; ONNX is f32]
    #[arg(short, long, value_enum)]
    weights: Option<Kind>,

    /// How the word embeddings are stored [default: as --weights]
    #[arg(short, long, value_enum)]
    embeddings: Option<Table>,

    /// Ranges of int8 and int4: minmax, mse, or percentile:P with P in percent. mse goes by a linear's outputs where there
    /// is calibration text, else by its weights
    #[arg(long, value_name = "HOW", default_value = "minmax", value_parser = ranges)]
    ranges: Range,

    /// Text to calibrate on: a TSV with text_a and text_b, or plain text; .zst too
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,

    /// Pairs of the calibration text to read
    #[arg(long, value_name = "N", default_value_t = 128, requires = "calibrate")]
    calibrate_pairs: usize,

    /// Move outliers of activations into weights where that is exact, by the calibration text
    #[arg(long, requires = "calibrate")]
    smooth: bool,

    /// Report how far each linear's rounding moves the logits on the calibration text
    #[arg(long, requires = "calibrate")]
    sensitivity: bool,

    /// Keep linears in f16: the N most sensitive on the calibration text, as few as --check needs with "auto", or by name
    /// (pooler,layer.0.ffn_down)
    #[arg(long, value_name = "N|auto|NAMES", value_parser = keep)]
    keep_f16: Option<KeepF16>,

    /// Drop word pieces that these texts never need (single characters stay)
    #[arg(long, value_name = "CORPUS", num_args = 1..)]
    prune_vocab: Vec<PathBuf>,

    /// Labelled pairs to hold the bundle against an f32 one on: a TSV (or .tsv.zst) with text_a, text_b and label
    #[arg(long, value_name = "DATA.tsv")]
    check: Option<PathBuf>,

    /// Head to check [default: the one whose labels the data has]
    #[arg(long, value_name = "NAME", requires = "check")]
    head: Option<String>,

    /// Percentage points of accuracy that may be lost at most
    #[arg(long, value_name = "POINTS", default_value_t = 0.5, requires = "check")]
    max_drop: f64,

    /// Check on the first N rows only
    #[arg(long, value_name = "N", requires = "check")]
    rows: Option<usize>,

    /// Threads for the check, 0 for as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

const EXAMPLES: &str = "Examples:
  attar-quantize student -o student.attar
  attar-quantize student -o small.attar --embeddings int4 --prune-vocab corpus.txt
  attar-quantize student -o student.attar --ranges mse --calibrate pairs.tsv --smooth --sensitivity
  attar-quantize student -o student.attar --check dev_matched.tsv.zst --max-drop 0.5
  attar-quantize student -o student.onnx
  attar-quantize cross-encoder -o reranker.attar --weights f16 --json

Exit status: 0 written, 1 it lost more accuracy than --max-drop and nothing was written, 2 anything else.";

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// A bundle for the runtime
    Bundle,
    /// An ONNX file (opset 17) of the f32 student
    Onnx,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Kind {
    /// 8-bit integers, a scale per output channel
    Int8,
    /// Half precision
    F16,
    /// Single precision
    F32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Table {
    /// 4-bit integers, a scale per 32 columns
    Int4,
    /// 8-bit integers, a scale per row
    Int8,
    /// Half precision
    F16,
    /// Single precision
    F32,
}

fn ranges(text: &str) -> Result<Range, String> {
    let expected = || format!("{text:?}: expected minmax, mse or percentile:P with P above 50 and at most 100");
    match text.split_once(':') {
        None if text == "minmax" => Ok(Range::MinMax),
        None if text == "mse" => Ok(Range::Mse),
        Some(("percentile", share)) => match share.parse::<f32>() {
            Ok(share) if share > 50.0 && share <= 100.0 => Ok(Range::Percentile(share / 100.0)),
            _ => Err(expected()),
        },
        _ => Err(expected()),
    }
}

fn keep(text: &str) -> Result<KeepF16, String> {
    match text {
        "auto" => Ok(KeepF16::Auto),
        number if number.starts_with(|c: char| c.is_ascii_digit()) => {
            number.parse().map(KeepF16::Worst).map_err(|e| format!("{text:?}: {e}"))
        }
        names => Ok(KeepF16::Named(names.split(',').map(|name| name.trim().to_string()).collect())),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.max_drop.is_nan() {
        eprintln!("attar-quantize: --max-drop is not a number");
        return ExitCode::from(2);
    }
    let onnx = args.output.extension().is_some_and(|e| e == "onnx");
    if args.format.map_or(onnx, |format| format == Format::Onnx) {
        return export(&args);
    }
    let options = Options {
        source: args.src,
        output: args.output,
        weights: match args.weights.unwrap_or(Kind::Int8) {
            Kind::Int8 => Weights::Int8,
            Kind::F16 => Weights::F16,
            Kind::F32 => Weights::F32,
        },
        embeddings: args.embeddings.map(|table| match table {
            Table::Int4 => Rows::Int4,
            Table::Int8 => Rows::Int8,
            Table::F16 => Rows::F16,
            Table::F32 => Rows::F32,
        }),
        ranges: args.ranges,
        calibration: args.calibrate.map(|data| CalibrationOptions {
            pairs: args.calibrate_pairs,
            migrate: args.smooth,
            sensitivity: args.sensitivity,
            ..CalibrationOptions::new(data)
        }),
        keep_f16: args.keep_f16.unwrap_or_default(),
        prune: args.prune_vocab,
        check: args.check.map(|data| CheckOptions {
            data,
            head: args.head,
            max_drop: args.max_drop,
            rows: args.rows,
            threads: args.threads,
        }),
    };
    let show = !args.quiet && std::io::stderr().is_terminal();
    let mut progress = |done: usize, all: usize| {
        if show {
            eprint!("\rchecking {done} of {all}{}", if done == all { "\n" } else { "" });
        }
    };
    match quantize(&options, &mut progress) {
        Ok(report) => print(&report, args.json),
        Err(error) => {
            eprintln!("attar-quantize: {error}");
            ExitCode::from(if error.kind() == ErrorKind::Accuracy { 1 } else { 2 })
        }
    }
}

/// `--format onnx`: of the f32 student, so that nothing else applies.
fn export(args: &Args) -> ExitCode {
    let given = [
        (args.weights.is_some_and(|kind| kind != Kind::F32), "--weights"),
        (args.embeddings.is_some(), "--embeddings"),
        (args.ranges != Range::MinMax, "--ranges"),
        (args.calibrate.is_some(), "--calibrate"),
        (args.keep_f16.is_some(), "--keep-f16"),
        (!args.prune_vocab.is_empty(), "--prune-vocab"),
        (args.check.is_some(), "--check"),
    ];
    if let Some((_, option)) = given.iter().find(|(given, _)| *given) {
        eprintln!("attar-quantize: {option} does not apply to ONNX: the f32 student is exported as it is");
        return ExitCode::from(2);
    }
    match export_onnx(&args.src, &args.output) {
        Ok(report) if args.json => show(&serde_json::to_string(&report).unwrap_or_default()),
        Ok(report) => {
            let (place, outputs) = (report.output.display(), report.outputs.join(", "));
            let megabytes = report.bytes as f64 / 1e6;
            show(&format!("{place}: {megabytes:.2} MB of ONNX, opset {}, outputs {outputs}", report.opset))
        }
        Err(error) => {
            eprintln!("attar-quantize: {error}");
            ExitCode::from(2)
        }
    }
}

/// A closed pipe is not an error: the bundle is written.
fn show(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("attar-quantize: stdout: {e}");
            ExitCode::from(2)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn print(report: &Report, json: bool) -> ExitCode {
    show(&if json { serde_json::to_string(report).unwrap_or_default() } else { describe(report) })
}

fn describe(report: &Report) -> String {
    let megabytes = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
    let mut text = format!(
        "{}: {} of {} ({:.1} million parameters), heads {}, in {:.2} s\n",
        report.output.display(),
        megabytes(report.bytes),
        report.weights,
        report.parameters as f64 / 1e6,
        report.heads.join(", "),
        report.seconds
    );
    for (part, bytes) in &report.parts {
        text += &format!("  {part:<11} {:>10}\n", megabytes(bytes.as_u64().unwrap_or_default()));
    }
    if report.unused_rows > 0 {
        text += &format!("left out: {} embedding rows that no token has\n", report.unused_rows);
    }
    if !report.ignored_tensors.is_empty() {
        text += &format!("left out: tensors {}\n", report.ignored_tensors.join(", "));
    }
    if report.embeddings != report.weights {
        text += &format!("word embeddings: {}\n", report.embeddings);
    }
    if let Some(pruning) = &report.pruning {
        text += &format!(
            "vocabulary: {} of {} pieces, by {} tokens of {}\n",
            pruning.pieces,
            pruning.pieces_before,
            pruning.corpus_tokens,
            pruning.corpus.join(", ")
        );
    }
    if let Some(worst) = report.tensors.iter().max_by(|a, b| a.relative_rms.total_cmp(&b.relative_rms)) {
        let (error, ranges) = (100.0 * worst.relative_rms, &report.ranges);
        text +=
            &format!("largest error of weights: {error:.2} % (RMS) in {} ({}, {ranges})\n", worst.tensor, worst.kind);
    }
    if let Some(calibration) = &report.calibration {
        text += &format!("calibrated on {} pairs of {}\n", calibration.pairs, calibration.data);
        for m in &calibration.migration {
            let how = m.strength.map_or("left alone".into(), |s| format!("migrated, strength {s}"));
            text +=
                &format!("  {}: {how}, int8 output error {:.4} -> {:.4}\n", m.linear, m.error_before, m.error_after);
        }
        for s in &calibration.sensitivity {
            text += &format!("  {:<24} alone in int8: logits differ by {:.5} (RMS)\n", s.part, s.logit_rmse);
        }
    }
    if !report.f16_linears.is_empty() {
        text += &format!("in f16: {}\n", report.f16_linears.join(", "));
    }
    if let Some(check) = &report.check {
        text += &format!(
            "{} rows of {} with head {}: accuracy {:.2} % (f32 {:.2} %, {:.2} points lost), {:.2} % labelled alike, \
             logits differ by {:.4} (RMS), {:.4} at most\n",
            check.rows,
            check.data,
            check.head,
            check.accuracy,
            check.f32_accuracy,
            check.drop,
            check.agreement,
            check.logit_rmse,
            check.logit_max
        );
    }
    text.truncate(text.trim_end().len());
    text
}
