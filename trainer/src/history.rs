//! `history.jsonl`: how loss and validation went, one object an evaluation, for reports.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::Position;
use crate::error::{Error, Result};
use crate::evaluate::HeadScores;
use crate::files;

/// One evaluation during a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Name of the training.
    pub training: String,
    /// Finished steps.
    pub step: usize,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Mean training loss since the entry before.
    pub loss: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Trained examples a second in this sitting.
    pub examples_per_second: f64,
    /// Validation scores.
    pub scores: Vec<HeadScores>,
}

/// The file, open for appending.
pub struct History {
    path: PathBuf,
    name: String,
}

impl History {
    /// Opens the file and drops entries after `step`: they belong to a sitting that ended after its last checkpoint.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, name: &str, step: usize) -> Result<Self> {
        let kept: Vec<Entry> = read_history(path)?.into_iter().filter(|e| e.step <= step).collect();
        files::write_whole(path, |w| {
            for entry in &kept {
                writeln!(w, "{}", serde_json::to_string(entry)?)?;
            }
            Ok(())
        })?;
        Ok(Self { path: path.to_owned(), name: name.to_owned() })
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, at: &Position, learning_rate: f64, examples_per_second: f64) -> Result<()> {
        let entry = Entry {
            training: self.name.clone(),
            step: at.step,
            seconds: at.seconds,
            loss: at.mean_loss(),
            learning_rate,
            examples_per_second,
            scores: at.last_scores.clone(),
        };
        let line = serde_json::to_string(&entry).map_err(|e| Error::model("writing the history", e))?;
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)
            .map_err(|e| Error::io(&self.path, "open", e))?;
        writeln!(file, "{line}").map_err(|e| Error::io(&self.path, "write", e))
    }
}

/// Reads a history; no entries when there is no file. A last line that was cut off by a crash is ignored.
///
/// # Errors
/// When the file is there but cannot be read.
pub fn read_history(path: &Path) -> Result<Vec<Entry>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io(path, "read", e)),
    }
}
