//! Models that answer for a student to learn from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use attar_nn::{Encoder, EncoderConfig, HeadSpec, Layers, Precision, Student};
use candle_core::Device;
use rayon::prelude::*;

use super::shards::ShardSet;
use super::store::{LabelStore, StoreKey, Values};
use crate::config::TeacherKind;
use crate::data::{PairTokenizer, Row, Tokens, Truncation, relevance_question_first};
use crate::error::{Error, Result};
use crate::evaluate;
use crate::hash::{Fingerprint, hash_model, hash_text};
use crate::progress::{Progress, Stop};
use crate::sets::batch_of;

impl TeacherKind {
    /// What its answers are.
    pub(crate) fn values(self) -> Values {
        match self {
            Self::SentenceEncoder => Values::Cosine,
            Self::Classifier => Values::Logits,
        }
    }
}

enum Model {
    Sentences(Box<Encoder>),
    Classifier(Box<Student>),
}

/// A teacher; its weights are read when it first has to answer.
pub struct Teacher {
    name: String,
    hash: String,
    kind: TeacherKind,
    folder: PathBuf,
    precision: Precision,
    /// A classifier's.
    heads: Vec<HeadSpec>,
    model: OnceLock<Model>,
    tokenizer: PairTokenizer,
    device: Device,
}

impl Teacher {
    /// Opens a teacher's folder.
    ///
    /// # Errors
    /// When the folder lacks a file, or holds another architecture than `kind` needs.
    pub fn load(
        name: &str,
        kind: TeacherKind,
        folder: &Path,
        max_len: usize,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        let heads = match kind {
            TeacherKind::SentenceEncoder => Vec::new(),
            TeacherKind::Classifier => Student::heads_of(folder)?,
        };
        EncoderConfig::load(&folder.join("config.json"))?;
        let mut hash = Fingerprint::new()
            .with("model", hash_model(folder)?)
            .with("max_len", max_len.to_string())
            .with("kind", format!("{kind:?}"));
        if precision != Precision::default() {
            hash = hash.with("precision", format!("{precision:?}"));
        }
        let hash = hash.hex();
        let tokenizer = PairTokenizer::from_folder(folder, max_len)?;
        Ok(Self {
            name: name.to_owned(),
            hash,
            kind,
            folder: folder.to_owned(),
            precision,
            heads,
            model: OnceLock::new(),
            tokenizer,
            device: device.clone(),
        })
    }

    fn model(&self) -> Result<&Model> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let model = match self.kind {
            TeacherKind::SentenceEncoder => {
                let mut encoder = Encoder::load(&self.folder, &Layers::All, &self.device)?;
                encoder.set_precision(self.precision);
                Model::Sentences(Box::new(encoder))
            }
            TeacherKind::Classifier => {
                let mut student = Student::load(&self.folder, &self.device)?;
                student.set_precision(self.precision);
                Model::Classifier(Box::new(student))
            }
        };
        Ok(self.model.get_or_init(|| model))
    }

    /// The hash of its folder and of the settings that change its answers.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The key of this teacher's answers for rows of a head.
    ///
    /// # Errors
    /// A configuration error when it cannot answer for the head.
    pub fn key(&self, head: &str, labels: &[String], rows: &[Row]) -> Result<StoreKey> {
        match self.kind {
            TeacherKind::SentenceEncoder if head == "relevance" => {}
            TeacherKind::SentenceEncoder => {
                return Err(Error::config(format!(
                    "teacher {:?} is a sentence encoder and answers for head \"relevance\" only, not for {head:?}",
                    self.name
                )));
            }
            TeacherKind::Classifier => {
                let spec = self.heads.iter().find(|spec| spec.name == head).ok_or_else(|| {
                    let known: Vec<&str> = self.heads.iter().map(|spec| spec.name.as_str()).collect();
                    Error::config(format!("teacher {:?}: no head {head:?}; it has {}", self.name, known.join(", ")))
                })?;
                if spec.labels != labels {
                    return Err(Error::config(format!(
                        "teacher {:?}: head {head:?} has the labels {}, expected {}",
                        self.name,
                        spec.labels.join(", "),
                        labels.join(", ")
                    )));
                }
            }
        }
        let values = self.kind.values();
        Ok(StoreKey::new(&self.name, &self.hash, head, labels, values, rows))
    }

    /// Computes those of the given shards that a store lacks. `rows` are all rows that the store's key was made of.
    ///
    /// A shard is computed from its own rows alone, so that its bytes do not depend on who computes which others.
    ///
    /// # Errors
    /// An interruption, after a whole shard; or a model or I/O error.
    pub fn label(
        &self,
        store: &LabelStore,
        rows: &[Row],
        shards: &ShardSet,
        progress: &mut Progress,
        stop: &Stop,
    ) -> Result<()> {
        let mut done = 0;
        for (shard, range) in store.shards().into_iter().enumerate().filter(|(shard, _)| shards.contains(*shard)) {
            done += range.len() as u64;
            if store.has(shard) {
                continue;
            }
            stop.check()?;
            let part = &rows[range];
            let values = match self.model()? {
                Model::Sentences(encoder) => self.cosines(encoder, part)?.into_iter().map(|c| vec![c]).collect(),
                Model::Classifier(model) => {
                    let truncation = truncation_for(&store.key().head);
                    let tokens = self.tokenizer.rows(part, truncation)?;
                    evaluate::logits(model, &store.key().head, &tokens, &self.device, |_| Ok(()))?
                }
            };
            store.write(shard, part, &values)?;
            progress.update(done, String::new);
        }
        Ok(())
    }

    /// The cosine of each row's texts.
    ///
    /// # Errors
    /// A configuration error when the teacher is no sentence encoder; a model error.
    pub fn score(&self, rows: &[Row]) -> Result<Vec<f32>> {
        match self.model()? {
            Model::Sentences(encoder) => self.cosines(encoder, rows),
            Model::Classifier(_) => Err(Error::config(format!(
                "teacher {:?} is a classifier; only a sentence encoder has cosines",
                self.name
            ))),
        }
    }

    /// Cosines; each text is encoded once, in batches of similar length.
    ///
    /// Texts are not remembered from one shard to the next: what a text is padded to changes the last bits of its
    /// embedding, and a shard's would then depend on the shards before it.
    fn cosines(&self, encoder: &Encoder, rows: &[Row]) -> Result<Vec<f32>> {
        let mut cache: HashMap<u64, Box<[f32]>> = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        let texts = rows.iter().flat_map(|row| [&row.text_a, &row.text_b]).map(|text| (hash_text(text), text));
        let texts: Vec<(u64, &String)> = texts.filter(|&(key, _)| seen.insert(key)).collect();
        let tokens = texts.par_iter().map(|&(key, text)| Ok((key, self.tokenizer.single(text)?)));
        let mut missing = tokens.collect::<Result<Vec<(u64, Tokens)>>>()?;
        missing.sort_by_key(|(_, tokens)| tokens.len());
        let longest = missing.last().map_or(0, |(_, tokens)| tokens.len());
        for batch in missing.chunks(evaluate::evaluation_batch(&self.device, longest)) {
            let inputs = batch_of(batch.iter().map(|(_, tokens)| tokens), encoder.config().pad_id, &self.device)?;
            let embeddings = encoder.embed(&inputs)?.to_vec2::<f32>()?;
            for ((key, _), embedding) in batch.iter().zip(embeddings) {
                cache.insert(*key, embedding.into());
            }
        }
        let of = |text: &str| cache.get(&hash_text(text)).expect("every text of the rows was encoded above");
        Ok(rows.iter().map(|row| dot(of(&row.text_a), of(&row.text_b))).collect())
    }
}

/// How overlong pairs of a head are cut.
pub(crate) fn truncation_for(head: &str) -> Truncation {
    if relevance_question_first(head) { Truncation::SecondOnly } else { Truncation::LongerFirst }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
