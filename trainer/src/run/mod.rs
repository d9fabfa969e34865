//! A whole distillation: pairs, teachers, soft labels, stages, evaluation, report; every step done once.

mod ensemble;
mod ledger;
mod preflight;
mod rows;
mod scoring;
mod stages;
mod steps;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use attar_nn::Precision;
use candle_core::Device;
use serde::{Deserialize, Serialize};

pub use ensemble::Ensemble;
pub use scoring::{FileScores, Reliability, score_file};
pub use stages::{HeadPredictions, Predictions};

use crate::canonical::canonical;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files;
use crate::hash::{Fingerprint, hash_file, hash_model};
use crate::label::Teacher;
use crate::progress::{Reporter, Stop};
use crate::report;
use ledger::Mark;

/// Where and how a run runs; nothing here changes what it makes, but for the rounding of device, precision and threads.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Folder of everything the run makes.
    pub output: PathBuf,
    /// Folder of what several runs share, by the hash of what made it: built pairs, fine-tuned teachers, soft labels,
    /// students after stage 1 and teachers' scores. Without one, the run keeps its own in `output`.
    pub shared: Option<PathBuf>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// What encoders compute in.
    pub precision: Precision,
    /// Threads; 0 for one a core.
    pub threads: usize,
    /// How often a training writes a checkpoint.
    pub checkpoint_every: Duration,
    /// Who shows progress.
    pub reporter: Reporter,
    /// Asked at every safe point.
    pub stop: Stop,
}

/// What is printed before a run and stored as `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// The resolved configuration.
    pub config: RunConfig,
    /// What computed it.
    #[serde(flatten)]
    pub circumstances: Circumstances,
}

/// What computed something: where its rounding and its speed come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Circumstances {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// What encoders computed in.
    #[serde(default)]
    pub precision: Precision,
    /// Threads in use.
    pub threads: usize,
    /// Commit of the program, or `unknown`.
    pub commit: String,
    /// Version of the program.
    pub version: String,
}

impl Circumstances {
    /// Those of this program with these options.
    pub(crate) fn of(options: &RunOptions) -> Self {
        Self {
            device: options.device.clone(),
            precision: options.precision,
            threads: if options.threads == 0 { rayon::current_num_threads() } else { options.threads },
            commit: commit(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// In words, for logs and reports.
impl std::fmt::Display for Circumstances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, precision, threads, commit, version } = self;
        let precision = match precision {
            Precision::F32 => String::new(),
            other => format!("{}, ", other.name()),
        };
        write!(f, "device {device} ({precision}{threads} threads), commit {commit}, version {version}")
    }
}

/// Does all of a run that is not done yet, and returns what its student scored.
///
/// The output folder gets `run.json`, `pairs/`, `teachers/`, `labels/`, `stage1/`, `student/` (or `students/N` for
/// `m-o-m`), `evaluation.json` and `report.md`. A step whose inputs have not changed since it was done is skipped.
///
/// # Errors
/// Any error of its steps; after [`crate::ErrorKind::Interrupted`], the same call goes on.
pub fn run(config: &RunConfig, options: &RunOptions) -> Result<Vec<FileScores>> {
    // First, so that a device that is not there changes nothing.
    let device = attar_nn::choose_device(&options.device)?;
    files::create_folder(&options.output)?;
    let _lock = files::lock_folder(&options.output, "run")?;
    let record = RunRecord { config: config.clone(), circumstances: Circumstances::of(options) };
    let resolved = toml::to_string(&config).map_err(|e| Error::model("writing the resolved configuration", e))?;
    options.reporter.say(format!("{}\n# seed {}, {}", resolved.trim_end(), config.seed, record.circumstances));
    write_json(&options.output.join("run.json"), &record)?;

    let runner = Runner::with_teachers(config, options, device, record.circumstances.commit)?;
    let students = (0..runner.student_count()).map(|number| runner.distil(number)).collect::<Result<Vec<_>>>()?;
    let scores = runner.evaluate(&students)?;
    report::write(&options.output)?;
    Ok(scores)
}

/// Does the part of a run before its students: pairs, teachers and their soft labels, below [`RunOptions::shared`] for a later
/// run to find.
///
/// # Errors
/// As [`run`].
pub fn prepare(config: &RunConfig, options: &RunOptions) -> Result<()> {
    Runner::with_teachers(config, options, attar_nn::choose_device(&options.device)?, commit())?.label_sets()
}

/// As [`run`], but a run whose settings, data and encoders have not changed since it ended is not looked into at all: its
/// stored scores come back at once, with `true`.
///
/// # Errors
/// As [`run`].
pub fn run_once(config: &RunConfig, options: &RunOptions) -> Result<(Vec<FileScores>, bool)> {
    let Some(hash) = inputs_hash(config)? else { return Ok((run(config, options)?, false)) };
    let mark = Mark::new(&options.output, "run", hash);
    let scores = options.output.join("evaluation.json");
    if mark.done(&scores) {
        let json = std::fs::read(&scores).map_err(|e| Error::io(&scores, "read", e))?;
        return Ok((serde_json::from_slice(&json).map_err(|e| Error::model(scores.display(), e))?, true));
    }
    mark.unset()?;
    let scores = run(config, options)?;
    mark.set()?;
    Ok((scores, false))
}

/// The hash of all that a run reads: its settings without the roots of its paths, its data files and encoders. `None` where a
/// path is a pattern or lies in an archive: then the steps themselves find out what is done.
fn inputs_hash(config: &RunConfig) -> Result<Option<String>> {
    let rootless = RunConfig { data: PathBuf::new(), encoders: PathBuf::new(), ..config.clone() };
    let mut fingerprint = Fingerprint::new().with("config", canonical(&rootless, &[]));
    let sets = config.stage1.iter().chain([&config.stage2]).flat_map(|s| &s.sets);
    let sets = sets.chain(config.teachers.iter().flat_map(|t| &t.sets));
    let files = sets
        .filter_map(|set| set.path.as_ref())
        .chain(config.teachers.iter().filter_map(|t| t.fit.as_ref()))
        .chain(config.pairs.iter().flat_map(|p| p.sources.iter().map(|s| &s.path).chain(&p.exclude)))
        .chain(config.evaluate.iter().map(|e| &e.path));
    for file in files.collect::<BTreeSet<_>>() {
        let path = files::resolve(&config.data, file);
        if !path.is_file() {
            return Ok(None);
        }
        fingerprint.add("file", hash_file(&path)?.as_bytes());
    }
    if config.student.fresh.is_some() {
        let tokenizer = config.encoders.join(&config.student.encoder).join("tokenizer.json");
        fingerprint.add("tokenizer", hash_file(&tokenizer)?.as_bytes());
    } else {
        fingerprint.add("student", hash_model(&config.encoders.join(&config.student.encoder))?.as_bytes());
    }
    for reword in config.pairs.iter().filter_map(|pairs| pairs.reword.as_ref()) {
        fingerprint.add("reword", hash_model(&config.encoders.join(&reword.encoder))?.as_bytes());
    }
    // One of soft labels alone has its hash in the settings.
    for teacher in config.teachers.iter().filter(|teacher| teacher.labels.is_none()) {
        fingerprint.add("teacher", hash_model(&config.encoders.join(&teacher.encoder))?.as_bytes());
    }
    Ok(Some(fingerprint.hex()))
}

/// One run at work.
struct Runner<'a> {
    config: &'a RunConfig,
    options: &'a RunOptions,
    device: Device,
    commit: String,
    /// Where built pairs are, by name.
    pairs: BTreeMap<String, PathBuf>,
    /// Where fine-tuned teachers are, by name.
    teachers: BTreeMap<String, PathBuf>,
    /// Teachers in memory, by name, while a stage's sets are labelled.
    loaded: RefCell<BTreeMap<String, Rc<Teacher>>>,
}

impl<'a> Runner<'a> {
    /// A run whose pairs are built and whose teachers are fine-tuned.
    fn with_teachers(config: &'a RunConfig, options: &'a RunOptions, device: Device, commit: String) -> Result<Self> {
        if options.precision == Precision::Int8 {
            return Err(Error::config(
                "--precision int8 has no gradients to train with; train in f32 or bf16, and give `precision = \"int8\"` to the \
                 [[teachers]] that are to answer in it",
            ));
        }
        let mut runner = Self {
            config,
            options,
            device,
            commit,
            pairs: BTreeMap::new(),
            teachers: BTreeMap::new(),
            loaded: RefCell::default(),
        };
        runner.check_encoders()?;
        runner.check_files()?;
        runner.pairs = runner.build_pairs()?;
        runner.teachers = runner.train_teachers()?;
        Ok(runner)
    }
}

impl Runner<'_> {
    fn output(&self, name: impl AsRef<Path>) -> PathBuf {
        self.options.output.join(name)
    }

    fn data(&self, path: &Path) -> PathBuf {
        files::resolve(&self.config.data, path)
    }

    fn encoder(&self, path: &Path) -> PathBuf {
        self.config.encoders.join(path)
    }

    /// How many students the scheme trains.
    fn student_count(&self) -> usize {
        let teachers = self.config.student.heads.iter().map(|h| self.config.teachers_of(&h.name).len()).max();
        self.config.scheme.students(teachers.unwrap_or(0))
    }
}

/// Writes a value as indented JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec_pretty(value).map_err(|e| Error::model(path.display(), e))?;
    files::write_whole(path, |w| w.write_all(&json))
}

/// The commit that this program was built from: given at build time, or that of the working tree it was built in.
pub(crate) fn commit() -> String {
    if let Some(commit) = option_env!("ATTAR_COMMIT") {
        return commit.to_owned();
    }
    let folder = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    folder
        .and_then(|folder| {
            let git = std::process::Command::new("git")
                .arg("-C")
                .arg(folder)
                .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
                .output()
                .ok()?;
            let text = String::from_utf8(git.stdout).ok()?;
            (git.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests;
