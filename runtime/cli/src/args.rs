//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const AFTER_HELP: &str = "\
Examples:
  attar ask 'How long can I leave the SD card in?' --docs ~/notes
  attar index ~/notes -o notes.attarlib
  attar ask 'Which pin is ground?' --library notes.attarlib --json

Exit codes: 0 done, 1 no answer found, 2 usage, input or a bad file.
ATTAR_MODEL names a bundle to use instead of the one in this program; ATTAR_KERNEL forces a kernel.";

const ASK_HELP: &str = "\
Examples:
  attar ask 'What voltage do the GPIO pins take?' --docs examples/docs
  attar ask 'When is the library open?' --docs notes.md hours.html --top 1
  attar ask 'What does E15 mean?' --library notes.attarlib --json

The score is the mean, in log-odds, of the student's probabilities that a passage and its best sentence answer the
question. Answers stand best first by score and the question's rare words together: a lower score may stand above a
higher one. When no text reaches --threshold the reply is \"no answer\" and the exit code is 1; the closest texts are
shown all the same.

With --json one object: {\"question\", \"no_answer_probability\", \"answers\": [{\"text\", \"passage\", \"headings\",
\"source\", \"line\", \"score\"}], \"latency_ms\"}; \"considered\" lists the closest texts below the threshold in the same form.
latency_ms is the time from the question to the reply, with the documents read and the model open.";

const INDEX_HELP: &str = "\
Examples:
  attar index ~/notes -o notes.attarlib       make a library, or bring it up to date
  attar index ~/notes ~/manuals/oven.html -o notes.attarlib

Only new and changed documents are read; those that vanished from a folder are dropped. It is one transaction: a crash
or an error leaves the library as it was. Folders are searched for text (.txt, .text, .log, .rst, .adoc, .org, or no
extension), Markdown (.md, .markdown) and HTML (.html, .htm); other files in them are listed as skipped. A file that you
name is read as text whatever its name, and stays. What cannot be read this time stays as it was. The library holds the
documents' text and their absolute paths.

With --json one object: {\"library\", \"documents\", \"passages\", \"added\", \"updated\", \"unchanged\", \"removed\",
\"skipped\": [{\"source\", \"reason\"}]}.";

const SCORE_HELP: &str = "\
Examples:
  attar score --question 'Who wrote it?' --passage 'Ann wrote the book in 1950.'
  attar score --pairs dev.tsv --head nli --json
  cut -f 2,3 pairs.tsv | attar score --pairs -

A pairs file is tab-separated text without quoting. Its first line names the columns: text_a and text_b (question and
passage, or premise and hypothesis) in any order, and if you like id. Other columns pass through; one whose name an
output column has is called input_NAME.

With --json one object a pair, in input order: {\"id\", \"head\", \"label\", \"probabilities\": {label: p}, \"logits\": {label: x},
\"tokens\", \"windows\"}, and for the head relevance \"relevance\": p. id is the column id, or the pair's number from 0.
A pair longer than the model's input is read in several overlapping windows: see \"windows\".
Without --json: a table of tab-separated columns with a header.";

const INFO_HELP: &str = "\
Examples:
  attar info                    the bundle in this program
  attar info student.attar      another bundle: its checksums are verified
  attar info notes.attarlib     a library made by attar index
  attar info --json             everything that the text says and more, as one object";

const BENCH_HELP: &str = "\
Examples:
  attar bench
  attar bench --model student.attar --lengths 32,128 --batch 1,16 --threads 2 --json
  attar bench --pairs dev.tsv --batch 64

Each length is of real text cut to exactly that many tokens a pair, special tokens included; of a file's pairs, tokens are
those of the whole batch. Before it is timed the
result is checked: finite, and the same twice. With --json one object: {\"model\", \"kernel\", \"threads\", \"cold_open_ms\",
\"peak_rss_bytes\", \"results\": [{\"batch\", \"tokens\", \"median_ms\", \"p95_ms\", \"min_ms\", \"n\"}]}. cold_open_ms is the time from
the start of this program to the first score, peak_rss_bytes the most memory it had (null where the system has no
/proc); both include pages of the mapped bundle.";

#[derive(Debug, Parser)]
#[command(
    name = "attar",
    version,
    about = "Answers questions from your documents and scores pairs of texts, on this device",
    after_help = AFTER_HELP,
    max_term_width = 120
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer a question from documents, with citations
    #[command(
        after_help = ASK_HELP,
        override_usage = "attar ask <QUESTION> --docs <PATH>... [OPTIONS]\n       attar ask <QUESTION> --library <FILE> [OPTIONS]"
    )]
    Ask(AskArgs),
    /// Build or update a library of documents
    #[command(after_help = INDEX_HELP)]
    Index(IndexArgs),
    /// Score pairs of texts: relevance, entailment
    #[command(after_help = SCORE_HELP)]
    Score(ScoreArgs),
    /// Show what a bundle or a library holds, and which kernels this machine can run
    #[command(after_help = INFO_HELP)]
    Info(InfoArgs),
    /// Time the model on this machine
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArgs),
}

/// Which model computes, and how.
#[derive(Debug, Args)]
pub(crate) struct StudentArgs {
    /// Bundle to use, its checksums verified first, or the name of one in this program [default: the first of these]
    #[arg(long, value_name = "FILE|NAME", env = "ATTAR_MODEL", hide_env_values = true)]
    pub model: Option<PathBuf>,
    /// Kernel to compute with; `attar info` lists them [default: the fastest]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    /// The question
    pub question: String,
    /// Files and folders to search: text, Markdown, HTML
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "library", conflicts_with = "library")]
    pub docs: Vec<PathBuf>,
    /// Library to search, made by `attar index`
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
    /// Answers to show at most
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    pub top: usize,
    /// Passages that full-text search hands to the model
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    pub candidates: usize,
    /// Least score of an answer, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.5, value_parser = probability)]
    pub threshold: f32,
    /// Threads; 0 for all processors
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub student: StudentArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    /// Files and folders to read
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The library to make or update
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// First text: the question (relevance) or the premise (nli)
    #[arg(long, value_name = "TEXT", requires = "passage", required_unless_present = "pairs")]
    pub question: Option<String>,
    /// Second text: the passage (relevance) or the hypothesis (nli)
    #[arg(long, value_name = "TEXT", requires = "question")]
    pub passage: Option<String>,
    /// Tab-separated file with columns text_a and text_b; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["question", "passage"])]
    pub pairs: Option<PathBuf>,
    /// Head of the model to score with; `attar info` lists them
    #[arg(long, value_name = "NAME", default_value = "relevance")]
    pub head: String,
    /// Threads; 0 for all processors
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print one JSON object a pair
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub student: StudentArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// A bundle, its name in this program, or a library [default: ATTAR_MODEL, or the first bundle in this program]
    pub file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Tokens a pair, special tokens included
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "16,32,64,128,256")]
    pub lengths: Vec<usize>,
    /// Pairs a call
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1", value_parser = at_least_one)]
    pub batch: Vec<usize>,
    /// Time the first pairs of this file as they are, instead of lengths [columns as for attar score]
    #[arg(long, value_name = "FILE", conflicts_with = "lengths")]
    pub pairs: Option<PathBuf>,
    /// Threads; 0 for all processors
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Head to time [default: relevance, or else the first]
    #[arg(long, value_name = "NAME")]
    pub head: Option<String>,
    /// Seconds to spend on each length and batch
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub student: StudentArgs,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("expected a probability, 0 to 1".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(s) if (0.0..=3600.0).contains(&s) => Ok(s),
        _ => Err("expected seconds, 0 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(at_least_one("0").is_err() && at_least_one("-1").is_err());
        assert!(probability("1.5").is_err() && probability("nan").is_err());
        assert_eq!(probability("0.5"), Ok(0.5));
        assert!(seconds("nan").is_err() && seconds("-1").is_err());
    }
}
