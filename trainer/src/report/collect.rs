//! Reading what runs left behind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::history::{Entry, read_history};
use crate::run::{FileScores, RunRecord};
use crate::train_loop::Summary;

/// A run's output folder.
pub(super) struct RunData {
    pub(super) folder: PathBuf,
    pub(super) record: RunRecord,
    /// Empty before the run has come to its evaluation.
    pub(super) scores: Vec<FileScores>,
    /// In the order of their names.
    pub(super) trainings: Vec<TrainingData>,
}

/// One training of a run.
pub(super) struct TrainingData {
    pub(super) name: String,
    /// Absent before the training has ended.
    pub(super) summary: Option<Summary>,
    pub(super) history: Vec<Entry>,
}

impl RunData {
    /// The names of the evaluated files, in order.
    pub(super) fn files(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for score in &self.scores {
            if !names.contains(&score.name.as_str()) {
                names.push(&score.name);
            }
        }
        names
    }

    /// The run's one answer to a file: its student's, or that of the mean probability of several students.
    pub(super) fn answer(&self, file: &str) -> Option<&FileScores> {
        self.system(file, "student").or_else(|| self.system(file, crate::run::Ensemble::MeanProbability.name()))
    }

    /// What a system scored on a file.
    pub(super) fn system(&self, file: &str, system: &str) -> Option<&FileScores> {
        self.scores.iter().find(|s| s.name == file && s.system == system)
    }

    /// Mean accuracy on training rows after stage 2, over the rows of a head's sets and over several students.
    pub(super) fn training_accuracy(&self, head: &str) -> Option<f64> {
        let (mut right, mut rows) = (0.0, 0usize);
        for training in self.trainings.iter().filter(|t| t.name.starts_with("stage2")) {
            for scores in training.summary.iter().flat_map(|s| &s.training_scores).filter(|s| s.head == head) {
                right += scores.gold.accuracy * scores.gold.rows as f64;
                rows += scores.gold.rows;
            }
        }
        (rows > 0).then(|| right / rows as f64)
    }
}

/// Reads a run's output folder.
///
/// # Errors
/// When it holds no run, or a file of it cannot be read.
pub(super) fn read_run(folder: &Path) -> Result<RunData> {
    let record: RunRecord = read_json(&folder.join("run.json"))?;
    let evaluation = folder.join("evaluation.json");
    let scores = if evaluation.exists() { read_json(&evaluation)? } else { Vec::new() };
    let mut trainings = Vec::new();
    for name in training_names(folder)? {
        let training = folder.join("training").join(&name);
        let summary = training.join("summary.json");
        let summary = if summary.exists() { Some(read_json(&summary)?) } else { None };
        trainings.push(TrainingData { history: read_history(&training.join("history.jsonl"))?, summary, name });
    }
    Ok(RunData { folder: folder.to_owned(), record, scores, trainings })
}

fn training_names(output: &Path) -> Result<Vec<String>> {
    let folder = output.join("training");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&folder).map_err(|e| Error::io(&folder, "list", e))?;
    let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let json = fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    serde_json::from_slice(&json).map_err(|e| Error::model(path.display(), e))
}
