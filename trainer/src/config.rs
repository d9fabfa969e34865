//! The run file: one TOML that states a whole distillation.

mod check;
mod extend;

pub(crate) use check::describe;
pub(crate) use extend::merge;

use std::collections::BTreeMap;
use std::path::PathBuf;

use attar_nn::{Layers, Precision};
use serde::{Deserialize, Serialize};

use crate::data::{Columns, RowFilter, head_labels};
use crate::error::{Error, Result};
use crate::label::AgainstGold;
use crate::matching::MatchConfig;
use crate::pairs::PairsConfig;
use crate::scheme::Scheme;
use crate::settings::TrainSettings;

/// A whole run. Relative paths of data are below `data`, names of encoders below `encoders`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the run, for logs and provenance.
    pub name: String,
    /// Seed of everything random.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Seed of row limits, of the validation rows and of built pairs; `seed` when absent. Runs that differ by `seed` alone
    /// then have the same rows, and share teachers and soft labels.
    #[serde(default)]
    pub data_seed: Option<u64>,
    /// Root of the data files; relative to the run file. `--data` overrides.
    #[serde(default = "here")]
    pub data: PathBuf,
    /// Root of the encoder folders; relative to the run file. `--encoders` overrides.
    #[serde(default = "here")]
    pub encoders: PathBuf,
    /// How teachers' answers reach the student.
    #[serde(default)]
    pub scheme: Scheme,
    /// What is trained.
    pub student: StudentConfig,
    /// What is held out of the training data.
    #[serde(default)]
    pub validation: ValidationConfig,
    /// Question-passage pairs to build.
    #[serde(default)]
    pub pairs: Vec<PairsConfig>,
    /// Who gives soft labels.
    #[serde(default)]
    pub teachers: Vec<TeacherConfig>,
    /// The first stage: soft labels only.
    pub stage1: Option<StageConfig>,
    /// The task stage.
    pub stage2: StageConfig,
    /// Files that the finished student is scored on; never trained on.
    #[serde(default)]
    pub evaluate: Vec<EvaluateConfig>,
    /// Whether classifier teachers are scored on those files too.
    #[serde(default)]
    pub evaluate_teachers: bool,
    /// Free-form strings and arrays of strings for the student folder's provenance, besides what is added by itself.
    #[serde(default)]
    pub provenance: toml::Table,
}

/// The student's shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudentConfig {
    /// Folder to start from, or for a `fresh` one, the folder whose tokenizer it takes.
    pub encoder: PathBuf,
    /// Layers to keep of it: absent for all, a number for the first k, or a list.
    #[serde(default)]
    pub layers: Option<LayerChoice>,
    /// Start from random weights of this shape instead.
    #[serde(default)]
    pub fresh: Option<FreshConfig>,
    /// Go on with the heads of the trained student in `encoder` ([`attar_nn::Student::go_on`]); otherwise they begin afresh.
    // Left out where it is off, so that runs of before this setting are recognised by the same hash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub go_on: bool,
    /// What the pooler starts as.
    #[serde(default)]
    pub pooler: PoolerStart,
    /// Greatest number of tokens of a pair.
    #[serde(default = "default_max_len")]
    pub max_len: usize,
    /// The heads.
    pub heads: Vec<HeadConfig>,
}

/// What the pooler `tanh(W hidden[CLS] + b)` starts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolerStart {
    /// The encoder's own weights.
    #[default]
    Encoder,
    /// `W` the identity and `b` zero, so that the heads begin by reading `[CLS]` itself. Sentence encoders never trained
    /// their pooler: MiniLM-L6's weights have a root mean square of 0.009, which lets a fifth of the signal and of the
    /// gradient through, and training stays at chance for its first hundreds of steps.
    Identity,
}

/// `layers = 3` or `layers = [0, 2, 5]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LayerChoice {
    /// The first k.
    First(usize),
    /// These, counted from 0.
    Chosen(Vec<usize>),
}

impl StudentConfig {
    /// The layers to keep.
    pub fn layers(&self) -> Layers {
        match &self.layers {
            None => Layers::All,
            Some(LayerChoice::First(count)) => Layers::First(*count),
            Some(LayerChoice::Chosen(layers)) => Layers::Chosen(layers.clone()),
        }
    }
}

/// The shape of a student with random weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshConfig {
    /// Encoder layers.
    pub layers: usize,
    /// Width.
    pub hidden: usize,
    /// Attention heads; divides the width.
    pub attention_heads: usize,
    /// Width of the feed-forward part.
    pub intermediate: usize,
}

/// A classification head.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Its name; `nli`, `rte` and `relevance` have their labels.
    pub name: String,
    /// Labels in class order, for any other head.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Fully connected layers.
    #[serde(default = "one")]
    pub layers: usize,
}

impl HeadConfig {
    /// A head with one layer and its known labels.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), labels: Vec::new(), layers: 1 }
    }

    /// The labels in class order.
    ///
    /// # Errors
    /// When the head is not a known one and has fewer than two labels.
    pub fn labels(&self) -> Result<Vec<String>> {
        match head_labels(&self.name) {
            Some(labels) if self.labels.is_empty() || self.labels == labels => {
                Ok(labels.iter().map(|&l| l.to_owned()).collect())
            }
            Some(labels) => Err(Error::config(format!(
                "head {:?} has the labels {}; leave `labels` out or choose another name",
                self.name,
                labels.join(", ")
            ))),
            None if self.labels.len() >= 2 => Ok(self.labels.clone()),
            None => Err(Error::config(format!(
                "head {:?}: {} labels, expected at least two; known without labels are nli, rte and relevance",
                self.name,
                self.labels.len()
            ))),
        }
    }
}

/// What is held out of the training data to choose weights and fit temperatures.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationConfig {
    /// Share of the first texts (premises, questions) that is held out with all its pairs, 0 to 0.5.
    pub fraction: f64,
    /// At most this many held-out rows of each head are scored.
    pub max_rows: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self { fraction: 0.03, max_rows: 1000 }
    }
}

/// Who gives soft labels.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// Name, to refer to it.
    pub name: String,
    /// What it is.
    pub kind: TeacherKind,
    /// Its folder: an encoder, or a folder with heads: of a classifier that is not trained here, or that is trained further.
    pub encoder: PathBuf,
    /// The hash in the name of the folder of its soft labels, NAME-HASH in `labels/` of the shared folder: it answers out of that
    /// alone, is not trained, and its encoder need not be here. For labels that another machine made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// What a student learns of its answers that contradict a row's gold label.
    #[serde(default)]
    pub against_gold: AgainstGold,
    /// Greatest number of tokens it reads of a text or pair.
    #[serde(default = "default_max_len")]
    pub max_len: usize,
    /// What it computes its answers in; as the command line says when absent. `int8` (on the CPU) is the fastest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// For a sentence encoder: how a cosine becomes a margin.
    #[serde(default)]
    pub calibration: Calibration,
    /// For a sentence encoder: a labelled file of the `relevance` head that the calibration is fitted on.
    #[serde(default)]
    pub fit: Option<PathBuf>,
    /// For a classifier: fine-tune it on these first.
    #[serde(default)]
    pub sets: Vec<SetConfig>,
    /// For a classifier without `sets`: fine-tune it on the gold labels of stage 2's sets first.
    #[serde(default)]
    pub fine_tune: bool,
    /// For a fine-tuned classifier: what its pooler starts as.
    #[serde(default)]
    pub pooler: PoolerStart,
    /// For a fine-tuned classifier: fully connected layers of its heads; those of the student's heads when absent.
    #[serde(default)]
    pub head_layers: Option<usize>,
    /// For a fine-tuned classifier: its own seed; the run's when absent.
    #[serde(default)]
    pub seed: Option<u64>,
    /// For a fine-tuned classifier: how it is fine-tuned.
    #[serde(default)]
    pub training: TrainSettings,
}

/// What kind of teacher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherKind {
    /// The cosine of mean-pooled, normalised embeddings of the two texts is their relevance.
    SentenceEncoder,
    /// The logits of a head of the same name.
    Classifier,
}

/// `margin = scale * (cosine - offset)`, the target of `logit[relevant] - logit[not_relevant]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calibration {
    /// Margin per unit of cosine.
    pub scale: f32,
    /// The cosine at which a passage is as likely relevant as not.
    pub offset: f32,
}

impl Default for Calibration {
    /// Scale 10 and offset 0.45: close to a logistic regression of QNLI's train labels on MiniLM-L6's cosine.
    fn default() -> Self {
        Self { scale: 10.0, offset: 0.45 }
    }
}

/// One stage of training.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// What it is trained on.
    pub sets: Vec<SetConfig>,
    /// The teachers that label the sets that name none.
    #[serde(default)]
    pub teachers: Vec<String>,
    /// How.
    #[serde(default)]
    pub training: TrainSettings,
    /// What the student's last layer learns of a teacher's insides.
    #[serde(default, rename = "match")]
    pub matching: Option<MatchConfig>,
}

/// Rows for one head.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetConfig {
    /// The head.
    pub head: String,
    /// A data file, or
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// the name of built pairs.
    #[serde(default)]
    pub pairs: Option<String>,
    /// Use at most this many rows.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Use rows whose columns have these values only.
    #[serde(default, rename = "where")]
    pub filter: RowFilter,
    /// Further words of the label column and the head's label that each means.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What the file's columns are, where their names do not say it.
    #[serde(default)]
    pub columns: Option<Columns>,
    /// Whether the file's gold labels are used; without them, only the teachers' answers are learned.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub gold: bool,
    /// The teachers that label it.
    #[serde(default)]
    pub teachers: Vec<String>,
}

/// A file to score the student on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateConfig {
    /// Name of the result.
    pub name: String,
    /// The head.
    pub head: String,
    /// The file.
    pub path: PathBuf,
    /// Use at most this many rows.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Use rows whose columns have these values only.
    #[serde(default, rename = "where")]
    pub filter: RowFilter,
    /// Further words of the label column and the head's label that each means.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What the file's columns are, where their names do not say it.
    #[serde(default)]
    pub columns: Option<Columns>,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn default_seed() -> u64 {
    17
}

fn default_max_len() -> usize {
    128
}

fn one() -> usize {
    1
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

#[cfg(test)]
mod tests;
