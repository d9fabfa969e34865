//! `attar-quantize`: turns a student into a bundle.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use attar_bundle::Weights;
use attar_quantize::{CheckOptions, ErrorKind, Options, Report, quantize};
use clap::{Parser, ValueEnum};

/// Turn a student into one memory-mapped file that the attar runtime executes.
///
/// SRC is a student folder as attar-train exports it, or a Hugging Face folder with a BertForSequenceClassification
/// (config.json, tokenizer.json, model.safetensors). The output appears only when it is whole and opens in the runtime.
#[derive(Debug, Parser)]
#[command(name = "attar-quantize", version, after_help = EXAMPLES)]
struct Args {
    /// Student folder, or Hugging Face BERT classifier folder
    src: PathBuf,

    /// Bundle to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// How weights are stored
    #[arg(short, long, value_enum, default_value = "int8")]
    weights: Kind,

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
  attar-quantize student -o student.attar --check dev_matched.tsv.zst --max-drop 0.5
  attar-quantize cross-encoder -o reranker.attar --weights f16 --json

Exit status: 0 written, 1 it lost more accuracy than --max-drop and nothing was written, 2 anything else.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// 8-bit integers, a scale per output channel
    Int8,
    /// Half precision
    F16,
    /// Single precision
    F32,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.max_drop.is_nan() {
        eprintln!("attar-quantize: --max-drop is not a number");
        return ExitCode::from(2);
    }
    let options = Options {
        source: args.src,
        output: args.output,
        weights: match args.weights {
            Kind::Int8 => Weights::Int8,
            Kind::F16 => Weights::F16,
            Kind::F32 => Weights::F32,
        },
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

/// A closed pipe is not an error: the bundle is written.
fn print(report: &Report, json: bool) -> ExitCode {
    let text = if json { serde_json::to_string(report).unwrap_or_default() } else { describe(report) };
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("attar-quantize: stdout: {e}");
            ExitCode::from(2)
        }
        _ => ExitCode::SUCCESS,
    }
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
