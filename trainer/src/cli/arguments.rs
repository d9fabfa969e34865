//! What can be said on the command line.

use std::path::PathBuf;

use attar_nn::Precision;
use attar_trainer::fetch::DEFAULT_ENDPOINT;
use attar_trainer::label::ShardSet;
use attar_trainer::pairs::RewordConfig;
use attar_trainer::parts::parse_size;
use attar_trainer::scheme::Scheme;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Teachers, soft labels and distillation: makes students.
#[derive(Parser, Debug)]
#[command(name = "attar-train", version, about, propagate_version = true)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
pub struct Common {
    /// Where to compute: cpu, cuda or cuda:N
    #[arg(long, global = true, default_value = "cpu")]
    pub device: String,
    /// What encoders compute in
    #[arg(long, global = true, value_enum, default_value_t = PrecisionArgument::F32)]
    pub precision: PrecisionArgument,
    /// Threads; 0 for one a core
    #[arg(long, global = true, default_value_t = 0)]
    pub threads: usize,
    /// Seed of everything random; overrides the run file's
    #[arg(long, global = true)]
    pub seed: Option<u64>,
    /// Minutes between checkpoints
    #[arg(long, global = true, default_value_t = 5.0, value_name = "MINUTES", value_parser = minutes)]
    pub checkpoint_minutes: f64,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Do a whole distillation that a TOML file states
    Run(RunArguments),
    /// Do the runs of a comparison that a TOML file states, and write their tables
    Compare(CompareArguments),
    /// Train a student, with soft labels of teachers or without
    Distill(DistillArguments),
    /// Fine-tune a teacher on gold labels
    Teacher(TeacherArguments),
    /// Build question-passage pairs with hard and random negatives, reworded passages, and texts of shared words
    Pairs(PairsArguments),
    /// Compute a teacher's soft labels for a file, once, on disk
    Label(LabelArguments),
    /// Fetch data sets and encoders from the Hugging Face hub
    Fetch(FetchArguments),
    /// Cut files into parts with checksums, or put them together
    Parts(PartsArguments),
    /// Make one student of several: the mean of their weights
    Mean(MeanArguments),
    /// Score a student on labelled files
    Evaluate(EvaluateArguments),
    /// Write the report of a run, of a comparison, or of several runs together
    Report(ReportArguments),
    /// Check a device's operators, gradients and training against f64 on the CPU
    Selftest,
}

#[derive(Args, Debug)]
pub struct RunArguments {
    /// The run file
    pub file: PathBuf,
    /// Folder of everything the run makes
    #[arg(long, short, default_value = "artifacts/runs/NAME", value_name = "FOLDER")]
    pub output: PathBuf,
    /// Root of the data files; overrides the run file's
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Root of the encoder folders; overrides the run file's
    #[arg(long, value_name = "FOLDER")]
    pub encoders: Option<PathBuf>,
    /// Folder where runs keep what others may need too, by the hash of what made it: pairs, teachers, soft labels, first stages; the output folder if not given
    #[arg(long, value_name = "FOLDER")]
    pub shared: Option<PathBuf>,
    /// Only fine-tune these teachers and compute their soft labels, for a later run with the same --shared: several processes or
    /// machines share the work so
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "shared")]
    pub teachers: Option<Vec<String>>,
    /// Print the scores as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct CompareArguments {
    /// The comparison file
    pub file: PathBuf,
    /// Folder of everything the runs make
    #[arg(long, short, default_value = "artifacts/comparisons/NAME", value_name = "FOLDER")]
    pub output: PathBuf,
    /// Root of the data files; overrides the file's
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Root of the encoder folders; overrides the file's
    #[arg(long, value_name = "FOLDER")]
    pub encoders: Option<PathBuf>,
    /// Folder where runs keep what others may need too, by the hash of what made it: pairs, teachers, soft labels, first stages; shared/ in the output folder if not given
    #[arg(long, value_name = "FOLDER")]
    pub shared: Option<PathBuf>,
    /// Do the runs of this experiment only
    #[arg(long, value_name = "EXPERIMENT")]
    pub only: Option<String>,
}

/// How a model is trained.
#[derive(Args, Debug)]
pub struct Training {
    /// Data to train on, for example nli=mnli.tsv; can be repeated
    #[arg(long = "train", required = true, value_name = "HEAD=FILE", value_parser = assignment)]
    pub train: Vec<(String, PathBuf)>,
    /// Data to score the result on; can be repeated
    #[arg(long = "dev", value_name = "HEAD=FILE", value_parser = assignment)]
    pub dev: Vec<(String, PathBuf)>,
    /// Use at most this many rows of each training file
    #[arg(long)]
    pub limit: Option<usize>,
    /// Passes over the data
    #[arg(long, default_value_t = 3)]
    pub epochs: usize,
    /// Stop after this many steps; 0 for all epochs
    #[arg(long, default_value_t = 0)]
    pub max_steps: usize,
    /// Rows of a step
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Learning rate at the end of the warm-up
    #[arg(long, default_value_t = 5e-5)]
    pub learning_rate: f64,
    /// Stop after this many evaluations without a better one; 0 for never
    #[arg(long, default_value_t = 0)]
    pub patience: usize,
    /// Greatest number of tokens of a pair
    #[arg(long, default_value_t = 128)]
    pub max_len: usize,
    /// What the pooler starts as
    #[arg(long, value_enum, default_value_t = PoolerArgument::Encoder)]
    pub pooler: PoolerArgument,
    /// Fully connected layers of each head
    #[arg(long, default_value_t = 1)]
    pub head_layers: usize,
    /// Folder of everything that is made
    #[arg(long, short, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Print the scores as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PrecisionArgument {
    /// f32 throughout
    F32,
    /// Operands of matrix products in bfloat16; parameters and optimiser stay f32. For GPUs, and CPUs with AVX512-BF16
    Bf16,
    /// Operands of linears in int8, without gradients: for `label` and `evaluate` on the CPU
    Int8,
}

impl From<PrecisionArgument> for Precision {
    fn from(argument: PrecisionArgument) -> Self {
        match argument {
            PrecisionArgument::F32 => Self::F32,
            PrecisionArgument::Bf16 => Self::Bf16,
            PrecisionArgument::Int8 => Self::Int8,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PoolerArgument {
    /// The encoder's own weights
    Encoder,
    /// The identity: for encoders that never trained their pooler, as sentence encoders
    Identity,
}

#[derive(Args, Debug)]
pub struct DistillArguments {
    /// Encoder folder to start from
    #[arg(long, value_name = "FOLDER")]
    pub encoder: PathBuf,
    /// Keep the first K layers only
    #[arg(long, value_name = "K")]
    pub layers: Option<usize>,
    /// How teachers' answers reach the student; fine-tune without teachers, m-o-1 with
    #[arg(long)]
    pub scheme: Option<Scheme>,
    /// A fine-tuned teacher that labels every training file whose head it has; can be repeated
    #[arg(long = "teacher", value_name = "FOLDER")]
    pub teachers: Vec<PathBuf>,
    /// A sentence encoder whose cosine labels the relevance files; can be repeated
    #[arg(long = "sentence-encoder", value_name = "FOLDER")]
    pub sentence_encoders: Vec<PathBuf>,
    /// Unlabelled question-passage pairs for a first stage; needs --sentence-encoder or a teacher with relevance
    #[arg(long, value_name = "FILE")]
    pub stage1: Option<PathBuf>,
    /// The a of (1 - a) CE(gold) + a soft
    #[arg(long, default_value_t = 0.5)]
    pub soft_label_weight: f64,
    #[command(flatten)]
    pub training: Training,
}

#[derive(Args, Debug)]
pub struct TeacherArguments {
    /// Encoder folder to start from
    #[arg(long, value_name = "FOLDER")]
    pub encoder: PathBuf,
    #[command(flatten)]
    pub training: Training,
}

#[derive(Args, Debug)]
pub struct PairsArguments {
    /// SQuAD paragraphs as JSONL; can be repeated
    #[arg(long, value_name = "FILE")]
    pub squad: Vec<PathBuf>,
    /// Question-passage rows as TSV or JSONL; can be repeated
    #[arg(long, value_name = "FILE")]
    pub pairs: Vec<PathBuf>,
    /// For --pairs without a header row: what the columns are, for example question,passage
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub columns: Option<Vec<String>>,
    /// How passages are cut
    #[arg(long, value_enum, default_value_t = CutArgument::Whole)]
    pub cut: CutArgument,
    /// Negatives of each question out of its own: other passages of its paragraph, or rows with label 0
    #[arg(long, default_value_t = 1)]
    pub given: usize,
    /// BM25 hard negatives of each question
    #[arg(long, default_value_t = 1)]
    pub bm25: usize,
    /// Random negatives of each question
    #[arg(long, default_value_t = 1)]
    pub random: usize,
    /// Use at most this many questions
    #[arg(long)]
    pub limit: Option<usize>,
    /// Add passages with some words replaced by near ones: those that this encoder's word embeddings say
    #[arg(long, value_name = "ENCODER")]
    pub reword: Option<PathBuf>,
    /// For --reword: how many of each pair, at most
    #[arg(long, default_value_t = RewordConfig::COPIES, requires = "reword")]
    pub copies: usize,
    /// For --reword: share of the words that are replaced, of those that the encoder's vocabulary has whole
    #[arg(long, default_value_t = RewordConfig::SHARE, requires = "reword")]
    pub share: f64,
    /// For --reword: a word is replaced by one of this many nearest
    #[arg(long, default_value_t = RewordConfig::NEIGHBOURS, requires = "reword")]
    pub neighbours: usize,
    /// Add texts of each first text's own words, labelled by whether they follow from it: two nouns exchanged, a part left out. For English
    /// statements of at most 20 words
    #[arg(long)]
    pub overlap: bool,
    /// File whose questions and passages must not occur; can be repeated
    #[arg(long, value_name = "FILE")]
    pub exclude: Vec<PathBuf>,
    /// The file to write
    #[arg(long, short, value_name = "FILE.tsv")]
    pub output: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CutArgument {
    /// Not at all
    Whole,
    /// Into sentences
    Sentences,
    /// Into runs of 1 to 4 sentences
    Chunks,
}

#[derive(Args, Debug)]
pub struct LabelArguments {
    /// The teacher's folder
    #[arg(long, value_name = "FOLDER")]
    pub teacher: PathBuf,
    /// What the teacher is
    #[arg(long, value_enum)]
    pub kind: KindArgument,
    /// The pairs to label
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// For a TSV without a header row: what its columns are, for example text_a,text_b
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub columns: Option<Vec<String>>,
    /// The head
    #[arg(long, default_value = "relevance")]
    pub head: String,
    /// Greatest number of tokens of a text or pair
    #[arg(long, default_value_t = 128)]
    pub max_len: usize,
    /// The teacher's name in the run file that will use the labels; that of its folder if not given
    #[arg(long)]
    pub name: Option<String>,
    /// Compute these shards only, for example 3-7 or 0-2,5
    #[arg(long, value_name = "SHARDS", conflicts_with = "worker")]
    pub shards: Option<ShardSet>,
    /// Compute every Nth shard from the Ith on, I from 0: one of N jobs that share the work
    #[arg(long, value_name = "I/N", value_parser = worker)]
    pub worker: Option<(usize, usize)>,
    /// Folder of the soft labels; several jobs may fill the same one
    #[arg(long, short, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Also cut the folder into parts of at most this size, for example 4MiB, in FOLDER.parts
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub part_size: Option<u64>,
    /// Print what was made as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KindArgument {
    /// Cosine of sentence embeddings
    SentenceEncoder,
    /// Logits of a head
    Classifier,
}

#[derive(Args, Debug)]
pub struct FetchArguments {
    /// Names as `fetch --list` shows them, an encoder's owner/name, or datasets/owner/name[/folder]; with @revision or without
    #[arg(required_unless_present = "list", value_name = "NAME")]
    pub names: Vec<String>,
    /// Show the names that are known
    #[arg(long)]
    pub list: bool,
    /// Folder of data sets
    #[arg(long, default_value = "artifacts/data", value_name = "FOLDER")]
    pub data: PathBuf,
    /// Folder of encoders
    #[arg(long, default_value = "artifacts/pretrained", value_name = "FOLDER")]
    pub encoders: PathBuf,
    /// Address of the hub or of a mirror
    #[arg(long, env = "HF_ENDPOINT", default_value = DEFAULT_ENDPOINT, value_name = "URL")]
    pub endpoint: String,
    /// Take the newest commit, also where fetched.toml has an older one
    #[arg(long)]
    pub update: bool,
    /// Print what is there now as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct PartsArguments {
    #[command(subcommand)]
    pub command: PartsCommand,
}

#[derive(Subcommand, Debug)]
pub enum PartsCommand {
    /// Cut a file or folder into NAME.part-00000, ... and NAME.parts.toml
    Split {
        /// The file or folder
        path: PathBuf,
        /// Greatest size of a part, for example 4000000 or 4MiB
        #[arg(long, default_value = "4MiB", value_name = "BYTES", value_parser = parse_size)]
        part_size: u64,
        /// Folder of the parts
        #[arg(long, short, value_name = "FOLDER")]
        output: PathBuf,
    },
    /// Check the parts beside a manifest and put them together
    Join {
        /// NAME.parts.toml
        manifest: PathBuf,
        /// Folder to put NAME into
        #[arg(long, short, value_name = "FOLDER")]
        output: PathBuf,
    },
}

#[derive(Args, Debug)]
pub struct MeanArguments {
    /// Student folders that went on from the same weights; one given twice counts twice
    #[arg(required = true, num_args = 2.., value_name = "STUDENT")]
    pub students: Vec<PathBuf>,
    /// Folder of the new student
    #[arg(long, short, value_name = "FOLDER")]
    pub output: PathBuf,
}

#[derive(Args, Debug)]
pub struct EvaluateArguments {
    /// Student or teacher folder
    pub model: PathBuf,
    /// Labelled file, for example nli=dev.tsv; can be repeated
    #[arg(required = true, value_name = "HEAD=FILE", value_parser = assignment)]
    pub files: Vec<(String, PathBuf)>,
    /// Greatest number of tokens of a pair
    #[arg(long, default_value_t = 128)]
    pub max_len: usize,
    /// Print the scores as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct ReportArguments {
    /// Output folder of a run or of a comparison, or of several runs to compare
    #[arg(required = true, value_name = "FOLDER")]
    pub runs: Vec<PathBuf>,
    /// Folder for report.md and report.html; the run's own, and none for several runs
    #[arg(long, short, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}

fn assignment(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((head, path)) if !head.is_empty() && !path.is_empty() => Ok((head.to_owned(), PathBuf::from(path))),
        _ => Err(format!("{text:?}, expected HEAD=FILE, for example nli=mnli/train.tsv")),
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        // Beyond a year is never, and infinity is no duration.
        Ok(minutes) if (0.0..=525_600.0).contains(&minutes) => Ok(minutes),
        _ => Err(format!("{text:?}, expected minutes from 0 to 525600")),
    }
}

fn worker(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((worker, workers)) if worker < workers => Ok((worker, workers)),
        _ => Err(format!("{text:?}, expected I/N with I from 0 to N - 1, for example 0/4")),
    }
}
