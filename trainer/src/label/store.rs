//! A folder of soft labels: shards, and nothing else.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::shard;
use super::shards::ShardSet;
use crate::data::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::hash::Fingerprint;

/// 1 was safetensors with a `labels.json`.
const FORMAT: u32 = 2;

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
    /// Hash of the teacher's folder, kind and `max_len`, and of the precision it computes in where that is not f32.
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
///
/// Several processes, on one machine or on many, may fill the same folder, or folders whose files are then put into one:
/// every shard is written under a temporary name and renamed, and holds what it belongs to.
pub struct LabelStore {
    folder: PathBuf,
    key: StoreKey,
}

impl LabelStore {
    /// Opens the folder, or begins it when it holds no labels.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when it holds a shard of another key: it says which part differs. A data error for a damaged
    /// shard, or labels of an earlier version, which are not read: they have to be computed again.
    pub fn open(folder: &Path, key: StoreKey) -> Result<Self> {
        if folder.join("labels.json").exists() {
            return Err(Error::new(
                ErrorKind::Data,
                format!(
                    "{}: soft labels of an earlier version (labels.json, safetensors); remove the folder and label again",
                    folder.display()
                ),
            ));
        }
        files::create_folder(folder)?;
        let store = Self { folder: folder.to_owned(), key };
        for number in (0..store.shards().len()).filter(|&number| store.has(number)) {
            store.check_shard(number)?;
        }
        Ok(store)
    }

    /// The key that the shards of a folder have.
    ///
    /// # Errors
    /// When there is no shard, or its key cannot be read.
    pub fn key_of(folder: &Path) -> Result<StoreKey> {
        let pattern = folder.join("shard-*.parquet");
        let first = files::expand(&pattern)?.into_iter().next().unwrap_or(pattern);
        Ok(shard::key_of(&first)?.0)
    }

    /// What the labels belong to.
    pub fn key(&self) -> &StoreKey {
        &self.key
    }

    /// The rows of each shard.
    pub fn shards(&self) -> Vec<Range<usize>> {
        let step = self.key.shard_rows.max(1);
        (0..self.key.rows).step_by(step).map(|from| from..(from + step).min(self.key.rows)).collect()
    }

    /// The shards that are not there.
    pub fn missing(&self) -> ShardSet {
        (0..self.shards().len()).filter(|&shard| !self.has(shard)).collect()
    }

    /// Where a shard is, or will be.
    pub fn shard_path(&self, shard: usize) -> PathBuf {
        self.folder.join(format!("shard-{shard:05}.parquet"))
    }

    /// Whether a shard is there.
    pub fn has(&self, shard: usize) -> bool {
        self.shard_path(shard).exists()
    }

    fn check_shard(&self, number: usize) -> Result<()> {
        let path = self.shard_path(number);
        let (found, in_file) = shard::key_of(&path)?;
        if let Some((part, found, expected)) = difference(&found, &self.key) {
            return Err(Error::mismatch(format!(
                "{}: {part} {found}, expected {expected}; these soft labels belong to something else: choose another \
                 folder, or remove this one",
                path.display()
            )));
        }
        if in_file != number {
            return Err(Error::mismatch(format!(
                "{}: holds shard {in_file}, expected {number}; give the file its own name back",
                path.display()
            )));
        }
        Ok(())
    }

    /// Writes a shard: the answers for its rows, `[rows of the shard][columns]`.
    ///
    /// # Errors
    /// When the file cannot be written, or the numbers have another shape.
    pub fn write(&self, shard: usize, rows: &[Row], values: &[Vec<f32>]) -> Result<()> {
        let range = self.shards()[shard].clone();
        shard::write(&self.shard_path(shard), &self.key, shard, range, rows, values)
    }

    /// All rows' numbers, `[row][column]`.
    ///
    /// # Errors
    /// A data error that lists the missing shards, or names the first that is damaged, of another shape or not finite.
    pub fn read(&self) -> Result<Vec<Vec<f32>>> {
        let missing = self.missing();
        if !missing.is_empty() {
            return Err(Error::new(
                ErrorKind::Data,
                format!(
                    "{}: {} of {} shards are missing: {missing}; copy them there, or compute them with `attar-train label \
                     --shards {missing}`",
                    self.folder.display(),
                    missing.len(),
                    self.shards().len()
                ),
            ));
        }
        let mut all = Vec::with_capacity(self.key.rows);
        for (number, rows) in self.shards().into_iter().enumerate() {
            self.check_shard(number)?;
            all.extend(shard::read(&self.shard_path(number), &self.key, rows)?);
        }
        Ok(all)
    }
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
