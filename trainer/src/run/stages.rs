//! Training teachers and students.

use std::path::{Path, PathBuf};

use attar_nn::{Encoder, EncoderConfig, HeadSpec, Layers, Student};
use candle_core::Tensor;

use super::Runner;
use super::ledger::Mark;
use super::rows::{Answers, StageData};
use super::write_json;
use crate::checkpoint::Checkpoints;
use crate::config::{PoolerStart, StageConfig, TeacherConfig};
use crate::data::PairTokenizer;
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate;
use crate::hash::{Fingerprint, hash_file, hash_model};
use crate::metrics;
use crate::scheme::Scheme;
use crate::settings::TrainSettings;
use crate::train_loop::{Surroundings, train};

/// One training of a run.
struct Stage<'a> {
    /// Name, for logs and the mark.
    name: String,
    /// Folder of the result, of `training/` with checkpoints, and of the history.
    folder: PathBuf,
    /// Hash of what the first weights come from.
    start: String,
    tokenizer: &'a Path,
    max_len: usize,
    settings: &'a TrainSettings,
}

impl Runner<'_> {
    /// Fine-tunes a teacher on gold labels.
    pub(super) fn fine_tune(&self, teacher: &TeacherConfig) -> Result<()> {
        let folder = self.encoder(&teacher.encoder);
        let tokenizer = PairTokenizer::from_folder(&folder, teacher.max_len)?;
        let config = StageConfig { sets: teacher.sets.clone(), training: teacher.training.clone() };
        let data = self.stage_data(&config, Answers::Gold, 0, &tokenizer)?;
        let stage = Stage {
            name: format!("teacher-{}", teacher.name),
            folder: self.output("teachers").join(&teacher.name),
            start: hash_model(&folder)?,
            tokenizer: &folder.join("tokenizer.json"),
            max_len: teacher.max_len,
            settings: &teacher.training,
        };
        self.train_stage(&stage, &data, || {
            let mut model = Student::new(Encoder::load(&folder, &Layers::All, &self.device)?);
            for head in &self.config.student.heads {
                if teacher.sets.iter().any(|set| set.head == head.name) {
                    model.add_head(spec(&head.name, head.labels()?, 1, head.layers), self.config.seed)?;
                }
            }
            Ok(model)
        })
    }

    /// Trains one student through its stages; returns its folder.
    pub(super) fn distil(&self, number: usize) -> Result<PathBuf> {
        let suffix = if self.student_count() > 1 { format!("-{number}") } else { String::new() };
        let student = &self.config.student;
        let encoder = self.encoder(&student.encoder);
        let tokenizer_path = encoder.join("tokenizer.json");
        let tokenizer = PairTokenizer::from_folder(&encoder, student.max_len)?;
        let mut start = Fingerprint::new()
            .with("student", format!("{student:?}"))
            .with("copies", format!("{:?}", self.copies()))
            .with("number", number.to_string());
        match student.fresh {
            Some(_) => start.add("tokenizer", hash_file(&tokenizer_path)?.as_bytes()),
            None => start.add("encoder", hash_model(&encoder)?.as_bytes()),
        }
        let mut before: Option<PathBuf> = None;
        if let Some(config) = &self.config.stage1 {
            let data = self.stage_data(config, Answers::Soft, number, &tokenizer)?;
            let stage = Stage {
                name: format!("stage1{suffix}"),
                folder: self.output(format!("stage1{suffix}")),
                start: start.hex(),
                tokenizer: &tokenizer_path,
                max_len: student.max_len,
                settings: &config.training,
            };
            self.train_stage(&stage, &data, || self.first_student(number))?;
            start.add("stage1", hash_model(&stage.folder)?.as_bytes());
            before = Some(stage.folder);
        }
        let config = &self.config.stage2;
        let answers = if self.config.scheme == Scheme::FineTune { Answers::Gold } else { Answers::Both };
        let data = self.stage_data(config, answers, number, &tokenizer)?;
        let stage = Stage {
            name: format!("stage2{suffix}"),
            folder: self.output(format!("student{suffix}")),
            start: start.hex(),
            tokenizer: &tokenizer_path,
            max_len: student.max_len,
            settings: &config.training,
        };
        self.train_stage(&stage, &data, || match &before {
            Some(folder) => Ok(Student::load(folder, &self.device)?),
            None => self.first_student(number),
        })?;
        Ok(stage.folder)
    }

    /// The number of copies of each head.
    fn copies(&self) -> Vec<usize> {
        let heads = self.config.student.heads.iter();
        heads.map(|head| self.config.scheme.copies(self.config.teachers_of(&head.name).len())).collect()
    }

    /// The student before any training.
    fn first_student(&self, number: usize) -> Result<Student> {
        let config = &self.config.student;
        let folder = self.encoder(&config.encoder);
        let seed = self.config.seed.wrapping_add(number as u64);
        let encoder = match &config.fresh {
            Some(fresh) => {
                let tokenizer = folder.join("tokenizer.json");
                let vocabulary = tokenizers::Tokenizer::from_file(&tokenizer)
                    .map_err(|e| Error::config(format!("{}: {e}", tokenizer.display())))?
                    .get_vocab_size(true);
                let (layers, hidden, heads) = (fresh.layers, fresh.hidden, fresh.attention_heads);
                let shape = EncoderConfig::bert(layers, hidden, heads, fresh.intermediate, vocabulary);
                Encoder::new(&shape, seed, &self.device)?
            }
            None => Encoder::load(&folder, &config.layers(), &self.device)?,
        };
        let mut student = Student::new(encoder);
        if config.pooler == PoolerStart::Identity {
            identity_pooler(&student)?;
        }
        for (head, copies) in config.heads.iter().zip(self.copies()) {
            student.add_head(spec(&head.name, head.labels()?, copies, head.layers), seed)?;
        }
        Ok(student)
    }

    /// Trains, fits temperatures and saves, unless that was done before.
    fn train_stage(&self, stage: &Stage<'_>, data: &StageData, first: impl FnOnce() -> Result<Student>) -> Result<()> {
        let config = self.config;
        let hash = Fingerprint::new()
            .with("name", &stage.name)
            .with("seed", config.seed.to_string())
            .with("start", &stage.start)
            .with("data", &data.hash)
            .with("validation", format!("{:?}", config.validation))
            .with("max_len", stage.max_len.to_string())
            .with("settings", format!("{:?}", stage.settings))
            .hex();
        let mark = Mark::new(&self.options.output, &stage.name, hash);
        if mark.done(&stage.folder.join("attar.toml")) {
            self.options.reporter.say(format!("{}: done before", stage.name));
            return Ok(());
        }
        mark.unset()?;
        let mut student = first()?;
        student.set_precision(self.options.precision);
        if stage.max_len > student.encoder().config().max_tokens() {
            return Err(Error::config(format!(
                "{}: max_len = {}, but the encoder has {} positions",
                stage.name,
                stage.max_len,
                student.encoder().config().max_tokens()
            )));
        }
        let training = self.output("training").join(&stage.name);
        let around = Surroundings {
            device: &self.device,
            folder: &training,
            name: &stage.name,
            checkpoint_every: self.options.checkpoint_every,
            stop: &self.options.stop,
            reporter: self.options.reporter,
        };
        let summary =
            train(&student, &data.training, &data.validation, stage.settings, config.seed, mark.hash(), &around)?;
        for set in &data.validation {
            if set.gold.iter().any(Option::is_some) {
                let logits = evaluate::logits(&student, &set.head, &set.tokens, &self.device, |_| Ok(()))?;
                student.set_temperature(&set.head, metrics::fit_temperature(&logits, &set.gold))?;
            }
        }
        student.save(&stage.folder, stage.tokenizer, &self.provenance(stage, data))?;
        write_json(&training.join("summary.json"), &summary)?;
        mark.set()?;
        Checkpoints::new(&training.join("checkpoint")).clear()
    }

    fn provenance(&self, stage: &Stage<'_>, data: &StageData) -> toml::Table {
        let config = self.config;
        let teachers: Vec<String> =
            config.teachers.iter().map(|t| format!("{} ({})", t.name, t.encoder.display())).collect();
        let mut table = config.provenance.clone();
        let mut put = |key: &str, value: toml::Value| {
            table.entry(key).or_insert(value);
        };
        put("run", config.name.clone().into());
        put("stage", stage.name.clone().into());
        put("scheme", config.scheme.name().into());
        put("start", config.student.encoder.display().to_string().into());
        put("seed", config.seed.to_string().into());
        put("data", data.described.clone().into());
        put("teachers", teachers.into());
        put("commit", self.commit.clone().into());
        put("trainer", format!("attar-trainer {}", env!("CARGO_PKG_VERSION")).into());
        table
    }
}

/// Sets the pooler to `tanh(hidden[CLS])`.
fn identity_pooler(student: &Student) -> Result<()> {
    let missing = |name: &str| Error::new(ErrorKind::Model, format!("the encoder has no parameter {name:?}"));
    for name in ["pooler.dense.weight", "pooler.dense.bias"] {
        let var = &student.parameters().get(name).ok_or_else(|| missing(name))?.var;
        let value = match *var.dims() {
            [rows, _] => Tensor::eye(rows, var.dtype(), var.device())?,
            _ => var.zeros_like()?,
        };
        var.set(&value)?;
    }
    Ok(())
}

fn spec(name: &str, labels: Vec<String>, copies: usize, layers: usize) -> HeadSpec {
    HeadSpec { name: name.to_owned(), labels, copies, layers, temperature: 1.0 }
}
