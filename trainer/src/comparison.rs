//! Many runs out of one file, to compare them: a base, named patches of it, and experiments that combine them.
//!
//! ```toml
//! name = "optimisers"
//!
//! [base]                                      # a run file without name and seed
//! student = { encoder = "MiniLM", heads = [{ name = "nli" }] }
//!
//! [patches.MNLI]                              # what a column or row of a table changes in it
//! stage2.sets = [{ head = "nli", path = "mnli.tsv" }]
//! evaluate = [{ name = "MNLI", head = "nli", path = "dev.tsv" }]
//! [patches.Adam]
//! stage2.training.optimizer = "adam"
//! [patches.SGD]
//! stage2.training.optimizer = "sgd"
//!
//! [[experiments]]                             # a table: each row with each column, once for each seed
//! name = "optimizer"
//! title = "Adam against SGD"
//! columns = ["MNLI"]
//! rows = ["Adam", "SGD"]
//! seeds = [1, 2, 3]
//! references = [{ name = "the paper", figures = { "MNLI/Adam" = 39.5 } }]
//! ```
//!
//! A run is the base with the column's patch and then the row's merged into it: tables are merged, everything else is
//! replaced. Experiments that name the same column, row and seed share the run, and all runs share teachers, soft labels,
//! built pairs and students after stage 1 that have the same inputs.

mod execute;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use execute::{ComparisonRecord, execute};

use crate::config::RunConfig;
use crate::config::describe;
use crate::config::merge;
use crate::error::{Error, Result};

/// A comparison file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Name of the comparison.
    pub name: String,
    /// What it shows, for the report's head; paragraphs are separated by empty lines.
    #[serde(default)]
    pub about: String,
    /// Root of the data files; relative to the file. `--data` overrides.
    #[serde(default = "here")]
    pub data: PathBuf,
    /// Root of the encoder folders; relative to the file. `--encoders` overrides.
    #[serde(default = "here")]
    pub encoders: PathBuf,
    /// What all runs have in common: a run file without `name`, `seed`, `data` and `encoders`.
    pub base: toml::Table,
    /// What a column or row changes, by its name.
    #[serde(default)]
    pub patches: BTreeMap<String, toml::Table>,
    /// The tables.
    pub experiments: Vec<Experiment>,
}

/// One table: every row with every column, once for each seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// Its title in the report.
    pub title: String,
    /// What to know about it, for the report.
    #[serde(default)]
    pub about: String,
    /// Names of patches, usually tasks.
    pub columns: Vec<String>,
    /// Names of patches, usually ways to train.
    pub rows: Vec<String>,
    /// Seeds of the runs.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Show the teachers, students and ensembles of each run in rows of their own, not the run's one answer.
    #[serde(default)]
    pub parts: bool,
    /// Figures of others to show beside ours.
    #[serde(default)]
    pub references: Vec<Reference>,
}

/// Somebody else's figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Whose they are.
    pub name: String,
    /// Accuracy in per cent by `COLUMN/ROW`, or with `parts` by `COLUMN/SYSTEM`, for example `MNLI/teacher t1`.
    pub figures: BTreeMap<String, f64>,
}

/// One run of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    /// The column's name.
    pub column: String,
    /// The row's name.
    pub row: String,
    /// The seed.
    pub seed: u64,
}

impl Variant {
    /// The run's folder below the comparison's output.
    pub fn folder(&self) -> PathBuf {
        Path::new("runs").join(slug(&self.column)).join(slug(&self.row)).join(format!("seed-{}", self.seed))
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}, seed {}", self.column, self.row, self.seed)
    }
}

impl Comparison {
    /// Reads a comparison file and checks every run of it; `data` and `encoders` become relative to the present folder.
    ///
    /// # Errors
    /// An I/O error, or a configuration error that names the line, or the column and row.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?;
        let mut comparison = Self::parse(&text).map_err(|e| Error::config(format!("{}: {e}", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        comparison.data = folder.join(&comparison.data);
        comparison.encoders = folder.join(&comparison.encoders);
        Ok(comparison)
    }

    /// Parses the text of a comparison file and checks every run of it.
    ///
    /// # Errors
    /// As [`Comparison::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let comparison: Self = toml::from_str(text).map_err(|e| Error::config(describe(&e, text)))?;
        comparison.check()?;
        Ok(comparison)
    }

    fn check(&self) -> Result<()> {
        for key in ["name", "seed", "data", "encoders"] {
            if self.base.contains_key(key) {
                return Err(Error::config(format!("[base] has {key:?}, which the comparison itself states")));
            }
        }
        let mut slugs = BTreeMap::new();
        for name in self.patches.keys() {
            if let Some(other) = slugs.insert(slug(name), name) {
                return Err(Error::config(format!(
                    "patches {other:?} and {name:?} would have the same folder {:?}; rename one",
                    slug(name)
                )));
            }
        }
        let mut names = BTreeSet::new();
        for experiment in &self.experiments {
            if !names.insert(&experiment.name) {
                return Err(Error::config(format!(
                    "experiment {:?} is there twice; names must differ",
                    experiment.name
                )));
            }
            for (what, list) in [("columns", &experiment.columns), ("rows", &experiment.rows)] {
                if list.is_empty() {
                    return Err(Error::config(format!("experiment {:?} has no {what}", experiment.name)));
                }
            }
            if experiment.seeds.is_empty() {
                return Err(Error::config(format!("experiment {:?} has no seeds", experiment.name)));
            }
        }
        if self.experiments.is_empty() {
            return Err(Error::config("no [[experiments]]; expected at least one"));
        }
        self.variants().iter().try_for_each(|variant| self.config(variant).map(drop))
    }

    /// All runs, each once, in the order in which the experiments name them.
    pub fn variants(&self) -> Vec<Variant> {
        let mut seen = BTreeSet::new();
        self.experiments.iter().flat_map(Experiment::variants).filter(|v| seen.insert(v.clone())).collect()
    }

    /// The configuration of one run.
    ///
    /// # Errors
    /// A configuration error that names the column and row.
    pub fn config(&self, variant: &Variant) -> Result<RunConfig> {
        let mut table = self.base.clone();
        for name in [&variant.column, &variant.row] {
            let patch = self.patches.get(name).ok_or_else(|| {
                let known: Vec<&str> = self.patches.keys().map(String::as_str).collect();
                Error::config(format!("no patch {name:?}; [patches] has {}", known.join(", ")))
            })?;
            merge(&mut table, patch);
        }
        let seed = i64::try_from(variant.seed)
            .map_err(|_| Error::config(format!("seed {} is greater than TOML allows", variant.seed)))?;
        table.insert("name".into(), format!("{} {}", variant.column, variant.row).into());
        table.insert("seed".into(), seed.into());
        let mut config = RunConfig::from_table(table).map_err(|e| Error::config(format!("run of {variant}: {e}")))?;
        config.data.clone_from(&self.data);
        config.encoders.clone_from(&self.encoders);
        Ok(config)
    }
}

impl Experiment {
    /// Its runs: by column, then row, then seed.
    pub fn variants(&self) -> Vec<Variant> {
        let mut all = Vec::new();
        for column in &self.columns {
            for row in &self.rows {
                all.extend(self.seeds.iter().map(|&seed| Variant { column: column.clone(), row: row.clone(), seed }));
            }
        }
        all
    }
}

/// A name as a folder's name.
fn slug(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => out.push(c.to_ascii_lowercase()),
            _ if out.ends_with('-') => {}
            _ => out.push('-'),
        }
    }
    out.trim_matches('-').to_owned()
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

fn one_seed() -> Vec<u64> {
    vec![17]
}

#[cfg(test)]
mod tests;
