//! What a training needs to go on as if it had never stopped.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use attar_nn::{Parameters, optim::Optimizer, save_tensors};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::HeadScores;
use crate::files;

const FORMAT: u32 = 1;

/// Where a training stands. Batches and dropout masks are functions of the seed and the step, so the step is also the
/// random state and the position in the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Version of the checkpoint's layout.
    pub format: u32,
    /// What the training is made from; another value means other settings, data or first weights.
    pub fingerprint: String,
    /// Seed of all shuffles and masks.
    pub seed: u64,
    /// Finished optimiser steps.
    pub step: usize,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Mean loss since the last evaluation and the number of steps in it.
    pub loss_sum: (f64, u64),
    /// Best validation so far: step and objective.
    pub best: Option<(usize, f64)>,
    /// Evaluations since the best.
    pub since_best: usize,
    /// The validation scores at the best step.
    pub best_scores: Vec<HeadScores>,
    /// The last evaluation.
    pub last_scores: Vec<HeadScores>,
}

impl Position {
    /// The beginning.
    pub fn start(fingerprint: &str, seed: u64) -> Self {
        Self {
            format: FORMAT,
            fingerprint: fingerprint.to_owned(),
            seed,
            step: 0,
            seconds: 0.0,
            loss_sum: (0.0, 0),
            best: None,
            since_best: 0,
            best_scores: Vec::new(),
            last_scores: Vec::new(),
        }
    }

    /// Mean training loss since the last evaluation; 0 before the first step.
    pub fn mean_loss(&self) -> f64 {
        self.loss_sum.0 / self.loss_sum.1.max(1) as f64
    }
}

/// What a checkpoint gives back besides the weights and the optimiser's state: where the training stood, and the weights of
/// the best validation so far.
pub type Resumed = (Position, Option<HashMap<String, Tensor>>);

/// The folder that holds the checkpoints of one training: `step-N/` and the file `latest`, which names one of them.
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// Checkpoints below `folder`, which is made when the first is written.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Writes a checkpoint; the one before it stays until this one is whole.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(
        &self,
        position: &Position,
        parameters: &Parameters,
        optimizer: &Optimizer,
        best: Option<&HashMap<String, Tensor>>,
    ) -> Result<()> {
        let name = format!("step-{}", position.step);
        let folder = self.folder.join(&name);
        files::create_folder(&folder)?;
        parameters.save(&folder.join("weights.safetensors"))?;
        save_tensors(&optimizer.state(parameters)?, &folder.join("optimizer.safetensors"))?;
        if let Some(best) = best {
            save_tensors(best, &folder.join("best.safetensors"))?;
        }
        let json = serde_json::to_vec_pretty(position).map_err(|e| Error::model("writing a checkpoint", e))?;
        files::write_whole(&folder.join("position.json"), |w| w.write_all(&json))?;
        files::write_whole(&self.folder.join("latest"), |w| w.write_all(name.as_bytes()))?;
        self.remove_others(&name)
    }

    /// Reads the newest checkpoint, if there is one, into the parameters and the optimiser.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when it was made from another `fingerprint`; an I/O or model error when it is damaged.
    pub fn load(
        &self,
        fingerprint: &str,
        parameters: &Parameters,
        optimizer: &mut Optimizer,
    ) -> Result<Option<Resumed>> {
        let latest = self.folder.join("latest");
        let name = match fs::read_to_string(&latest) {
            Ok(name) => name,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(&latest, "read", e)),
        };
        let folder = self.folder.join(name.trim());
        let path = folder.join("position.json");
        let json = fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
        let position: Position = serde_json::from_slice(&json).map_err(|e| {
            Error::new(
                ErrorKind::Mismatch,
                format!("{}: not a checkpoint of this version: {e}; remove {}", path.display(), self.folder.display()),
            )
        })?;
        if position.format != FORMAT || position.fingerprint != fingerprint {
            return Err(Error::mismatch(format!(
                "{}: made from other settings, data or first weights (format {}, fingerprint {}, expected {FORMAT}, \
                 {fingerprint}); undo the change, choose another output, or remove the folder to begin again",
                self.folder.display(),
                position.format,
                position.fingerprint
            )));
        }
        parameters.load(&folder.join("weights.safetensors"))?;
        optimizer.restore(parameters, &load_tensors(&folder.join("optimizer.safetensors"))?)?;
        let best = match position.best {
            Some(_) => Some(load_tensors(&folder.join("best.safetensors"))?),
            None => None,
        };
        Ok(Some((position, best)))
    }

    /// Removes all checkpoints, once the training's result is stored.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn clear(&self) -> Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&self.folder, "remove", e)),
            _ => Ok(()),
        }
    }

    fn remove_others(&self, keep: &str) -> Result<()> {
        let entries = fs::read_dir(&self.folder).map_err(|e| Error::io(&self.folder, "list", e))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("step-") && name != keep {
                fs::remove_dir_all(entry.path()).map_err(|e| Error::io(&entry.path(), "remove", e))?;
            }
        }
        Ok(())
    }
}

fn load_tensors(path: &Path) -> Result<HashMap<String, Tensor>> {
    candle_core::safetensors::load(path, &Device::Cpu)
        .map_err(|e| Error::model(format!("{}: damaged checkpoint", path.display()), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        for right in 1..60 {
            for rows in right..60 {
                let mut position = Position::start("print", 1);
                position.best = Some((1, f64::from(right) / f64::from(rows)));
                position.loss_sum = (f64::from(right).sqrt() / f64::from(rows), 3);
                let json = serde_json::to_vec_pretty(&position).expect("finite numbers");
                assert_eq!(serde_json::from_slice::<Position>(&json).expect("what was written"), position);
            }
        }
    }
}
