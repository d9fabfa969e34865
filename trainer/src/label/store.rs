//! Soft labels on disk: `labels.json` and `shard-NNNNN.safetensors`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::data::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::hash::Fingerprint;

const FORMAT: u32 = 1;

/// Rows of a shard: what an interruption loses at most.
pub const SHARD_ROWS: usize = 2048;

/// What the numbers of a store are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// One a row: the cosine of the two texts, -1 to 1.
    Cosine,
    /// One a class: logits.
    Logits,
}

/// What soft labels belong to; a store with another key is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreKey {
    /// Version of the layout.
    pub format: u32,
    /// Name of the teacher.
    pub teacher: String,
    /// Hash of the teacher's folder and of the settings that change its answers.
    pub teacher_hash: String,
    /// Hash of the rows' texts, in order.
    pub dataset_hash: String,
    /// The head.
    pub head: String,
    /// Its labels in class order.
    pub labels: Vec<String>,
    /// Number of rows.
    pub rows: usize,
    /// Rows of a shard.
    pub shard_rows: usize,
    /// What the numbers are.
    pub values: Values,
}

impl StoreKey {
    /// The key of a teacher's answers for rows.
    pub fn new(teacher: &str, teacher_hash: &str, head: &str, labels: &[String], values: Values, rows: &[Row]) -> Self {
        Self {
            format: FORMAT,
            teacher: teacher.to_owned(),
            teacher_hash: teacher_hash.to_owned(),
            dataset_hash: dataset_hash(rows),
            head: head.to_owned(),
            labels: labels.to_vec(),
            rows: rows.len(),
            shard_rows: SHARD_ROWS,
            values,
        }
    }

    /// Numbers of a row.
    pub fn columns(&self) -> usize {
        match self.values {
            Values::Cosine => 1,
            Values::Logits => self.labels.len(),
        }
    }
}

/// The hash of the rows' texts, in order.
pub fn dataset_hash(rows: &[Row]) -> String {
    let mut fingerprint = Fingerprint::new();
    for row in rows {
        fingerprint.add(&row.text_a, row.text_b.as_bytes());
    }
    fingerprint.hex()
}

/// A folder of soft labels.
pub struct LabelStore {
    folder: PathBuf,
    key: StoreKey,
}

impl LabelStore {
    /// Opens the folder, or begins it when it holds no labels.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when it holds labels of another key: it says which part differs.
    pub fn open(folder: &Path, key: StoreKey) -> Result<Self> {
        let path = folder.join("labels.json");
        if path.exists() {
            let found = read_key(&path)?;
            if let Some((part, found, expected)) = difference(&found, &key) {
                return Err(Error::mismatch(format!(
                    "{}: {part} {found}, expected {expected}; these soft labels belong to something else: choose \
                     another folder, or remove this one",
                    path.display()
                )));
            }
        } else {
            let json = serde_json::to_vec_pretty(&key).map_err(|e| Error::model("labels.json", e))?;
            files::write_whole(&path, |w| w.write_all(&json))?;
        }
        Ok(Self { folder: folder.to_owned(), key })
    }

    /// The key that a folder has.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn key_of(folder: &Path) -> Result<StoreKey> {
        read_key(&folder.join("labels.json"))
    }

    /// What the labels belong to.
    pub fn key(&self) -> &StoreKey {
        &self.key
    }

    /// The rows of each shard.
    pub fn shards(&self) -> Vec<std::ops::Range<usize>> {
        let step = self.key.shard_rows.max(1);
        (0..self.key.rows).step_by(step).map(|from| from..(from + step).min(self.key.rows)).collect()
    }

    fn shard_path(&self, shard: usize) -> PathBuf {
        self.folder.join(format!("shard-{shard:05}.safetensors"))
    }

    /// Whether a shard is there.
    pub fn has(&self, shard: usize) -> bool {
        self.shard_path(shard).exists()
    }

    /// Writes a shard, `[rows of the shard][columns]`.
    ///
    /// # Errors
    /// When the file cannot be written, or the numbers have another shape.
    pub fn write(&self, shard: usize, values: &[Vec<f32>]) -> Result<()> {
        let columns = self.key.columns();
        let flat: Vec<f32> = values.iter().flatten().copied().collect();
        let tensor = Tensor::from_vec(flat, (values.len(), columns), &Device::Cpu)?;
        let path = self.shard_path(shard);
        let temporary = path.with_extension("tmp");
        let tensors = HashMap::from([("values".to_owned(), tensor)]);
        candle_core::safetensors::save(&tensors, &temporary)
            .map_err(|e| Error::model(format!("{}: cannot write", temporary.display()), e))?;
        fs::rename(&temporary, &path).map_err(|e| Error::io(&path, "rename into place", e))
    }

    /// All rows' numbers, `[row][column]`.
    ///
    /// # Errors
    /// A data error that names the first shard that is missing, damaged, of another shape or not finite.
    pub fn read(&self) -> Result<Vec<Vec<f32>>> {
        let mut all = Vec::with_capacity(self.key.rows);
        for (shard, rows) in self.shards().into_iter().enumerate() {
            let path = self.shard_path(shard);
            let bad = |what: String| {
                Error::new(
                    ErrorKind::Data,
                    format!("{}: {what}; remove the file and run `attar-train label` again", path.display()),
                )
            };
            let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu)
                .map_err(|e| bad(format!("missing or damaged shard: {e}")))?;
            let tensor = tensors.remove("values").ok_or_else(|| bad("no tensor \"values\"".to_owned()))?;
            let values: Vec<Vec<f32>> =
                tensor.to_vec2().map_err(|e| bad(format!("\"values\" is not a matrix of f32: {e}")))?;
            let columns = values.first().map_or(0, Vec::len);
            if values.len() != rows.len() || columns != self.key.columns() {
                return Err(bad(format!(
                    "{} rows of {columns}, expected {} rows of {}",
                    values.len(),
                    rows.len(),
                    self.key.columns()
                )));
            }
            if values.iter().flatten().any(|v| !v.is_finite()) {
                return Err(bad("a value is not finite".to_owned()));
            }
            all.extend(values);
        }
        Ok(all)
    }
}

fn read_key(path: &Path) -> Result<StoreKey> {
    let json = fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    serde_json::from_slice(&json).map_err(|e| {
        Error::new(ErrorKind::Data, format!("{}: not a soft-label folder of this version: {e}", path.display()))
    })
}

/// The first part in which two keys differ.
fn difference(found: &StoreKey, expected: &StoreKey) -> Option<(&'static str, String, String)> {
    let parts = |key: &StoreKey| {
        [
            ("format", key.format.to_string()),
            ("teacher", key.teacher.clone()),
            ("teacher_hash", key.teacher_hash.clone()),
            ("dataset_hash", key.dataset_hash.clone()),
            ("head", key.head.clone()),
            ("labels", key.labels.join(", ")),
            ("rows", key.rows.to_string()),
            ("shard_rows", key.shard_rows.to_string()),
            ("values", format!("{:?}", key.values)),
        ]
    };
    parts(found).into_iter().zip(parts(expected)).find(|(a, b)| a != b).map(|((name, a), (_, b))| (name, a, b))
}
