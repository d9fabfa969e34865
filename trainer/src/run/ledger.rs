//! Which steps are done, by the hash of what made them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::files;
use crate::progress::{Reporter, Stop};

/// The mark of one step: a file that holds the hash of the step's inputs.
pub(super) struct Mark {
    path: PathBuf,
    hash: String,
}

impl Mark {
    /// The mark `steps/NAME` of a run.
    pub(super) fn new(output: &Path, name: &str, hash: String) -> Self {
        Self { path: output.join("steps").join(name), hash }
    }

    /// The hash of the step's inputs.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// Waits until no other process does this step, and keeps others from it as long as the file is held: runs that share a folder
    /// do a step once. `None` if it is done.
    pub(super) fn lock_unless_done(&self, result: &Path, stop: &Stop, reporter: Reporter) -> Result<Option<File>> {
        let path = self.path.with_added_extension("lock");
        let mut waiting = false;
        loop {
            if self.done(result) {
                return Ok(None);
            }
            if let Some(file) = files::try_lock(&path)? {
                // The process that had it may have done the step since.
                return Ok((!self.done(result)).then_some(file));
            }
            if !waiting {
                reporter.say(format!("{}: another process does this step; waiting for it", path.display()));
                waiting = true;
            }
            stop.check()?;
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Whether the step was done with these inputs and its result is still there.
    pub(super) fn done(&self, result: &Path) -> bool {
        result.exists() && std::fs::read_to_string(&self.path).is_ok_and(|hash| hash.trim() == self.hash)
    }

    /// Sets the mark.
    pub(super) fn set(&self) -> Result<()> {
        files::write_whole(&self.path, |w| writeln!(w, "{}", self.hash))
    }

    /// Takes an outdated mark away before the step's result is overwritten.
    pub(super) fn unset(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&self.path, "remove", e)),
            _ => Ok(()),
        }
    }
}
