//! Doing all runs of a comparison, each once.

use serde::{Deserialize, Serialize};

use super::Comparison;
use crate::error::{Error, Result};
use crate::files;
use crate::report;
use crate::run::{Circumstances, RunOptions, run_once, write_json};

/// What `comparison.json` in the output holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ComparisonRecord {
    /// The comparison.
    pub comparison: Comparison,
    /// What computed it.
    #[serde(flatten)]
    pub circumstances: Circumstances,
}

/// Does the runs of a comparison that are not done yet, in `runs/COLUMN/ROW/seed-N` below the output, and writes
/// `report.md` and `report.html`. With `only`, the runs of one experiment.
///
/// What runs have in common is kept in `shared/` by the hash of what made it and computed once. After an interruption the
/// same call goes on.
///
/// # Errors
/// Any error of a run; a configuration error for an unknown experiment, or when another process works in the same output.
pub fn execute(comparison: &Comparison, options: &RunOptions, only: Option<&str>) -> Result<()> {
    if let Some(name) = only.filter(|name| !comparison.experiments.iter().any(|e| e.name == *name)) {
        let known: Vec<&str> = comparison.experiments.iter().map(|e| e.name.as_str()).collect();
        return Err(Error::config(format!("experiment {name:?}, expected one of {}", known.join(", "))));
    }
    files::create_folder(&options.output)?;
    let _lock = files::lock_folder(&options.output, "comparison")?;
    let record = ComparisonRecord { comparison: comparison.clone(), circumstances: Circumstances::of(options) };
    write_json(&options.output.join("comparison.json"), &record)?;
    let wanted: Vec<_> = match only {
        Some(name) => comparison.experiments.iter().filter(|e| e.name == name).flat_map(|e| e.variants()).collect(),
        None => comparison.variants(),
    };
    for (number, variant) in wanted.iter().enumerate() {
        let output = options.output.join(variant.folder());
        let shared = options.shared.clone().unwrap_or_else(|| options.output.join("shared"));
        let of_run = RunOptions { output, shared: Some(shared), ..options.clone() };
        let config = comparison.config(variant)?;
        let (scores, before) = run_once(&config, &of_run)?;
        let accuracy = scores.first().map_or(String::new(), |s| format!(", {:.1} %", 100.0 * s.scores.accuracy));
        options.reporter.say(format!(
            "== run {} of {}: {variant}{}{accuracy}",
            number + 1,
            wanted.len(),
            if before { ": done before" } else { "" }
        ));
    }
    report::write(&options.output)?;
    Ok(())
}
