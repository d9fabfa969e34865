//! Training teachers and students.

use std::path::{Path, PathBuf};

use attar_nn::{Encoder, EncoderConfig, HeadSpec, Layers, Student};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::Runner;
use super::ledger::Mark;
use super::rows::{Answers, StageData, thin};
use super::write_json;
use crate::canonical::{canonical, canonical_settings};
use crate::checkpoint::Checkpoints;
use crate::config::{HeadConfig, PoolerStart, StudentConfig, TeacherConfig};
use crate::data::PairTokenizer;
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate;
use crate::files;
use crate::hash::{Fingerprint, hash_file, hash_model};
use crate::matching::{MatchConfig, Matcher};
use crate::metrics;
use crate::objective::Objective;
use crate::scheme::Scheme;
use crate::settings::TrainSettings;
use crate::train_loop::{Surroundings, train};

/// One training of a run.
struct Stage<'a> {
    /// Name, for logs and the mark.
    name: String,
    /// Folder of the result below the run's output.
    folder: PathBuf,
    /// Whether runs with the same inputs share the result.
    shared: bool,
    seed: u64,
    /// Hash of what the first weights come from, and the encoder among it.
    start: String,
    from: &'a Path,
    tokenizer: &'a Path,
    max_len: usize,
    settings: &'a TrainSettings,
    matching: Option<&'a MatchConfig>,
}

/// What a student answers to the held-out rows of each head: stored as `training/NAME/validation.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Predictions {
    /// One for each head that has gold labels in the held-out rows.
    pub heads: Vec<HeadPredictions>,
}

/// What a student answers to the held-out rows of one head.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeadPredictions {
    /// The head.
    pub head: String,
    /// The temperature that was fitted on these rows.
    pub temperature: f64,
    /// The gold class of each row.
    pub gold: Vec<Option<u32>>,
    /// Logits of each row, averaged over the head's copies, before the temperature.
    pub logits: Vec<Vec<f32>>,
}

impl Runner<'_> {
    /// Fine-tunes a teacher on gold labels; returns its folder.
    pub(super) fn fine_tune(&self, teacher: &TeacherConfig) -> Result<PathBuf> {
        let folder = self.encoder(&teacher.encoder);
        let tokenizer = PairTokenizer::from_folder(&folder, teacher.max_len)?;
        let data = self.stage_data(&teacher.sets, Answers::Gold, 0, &tokenizer)?;
        let heads: Vec<HeadConfig> = (self.config.student.heads.iter())
            .filter(|head| teacher.sets.iter().any(|set| set.head == head.name))
            .map(|head| HeadConfig { layers: teacher.head_layers.unwrap_or(head.layers), ..head.clone() })
            .collect();
        let seed = teacher.seed.unwrap_or(self.config.seed);
        let mut start = Fingerprint::new().with("encoder", hash_model(&folder)?);
        start.add("heads", canonical(&heads, &["student", "heads"]).as_bytes());
        if teacher.pooler == PoolerStart::Identity {
            start.add("pooler", b"identity");
        }
        let stage = Stage {
            name: format!("teacher-{}", teacher.name),
            folder: Path::new("teachers").join(&teacher.name),
            shared: true,
            seed,
            start: start.hex(),
            from: &teacher.encoder,
            tokenizer: &folder.join("tokenizer.json"),
            max_len: teacher.max_len,
            settings: &teacher.training,
            matching: None,
        };
        self.train_stage(&stage, &data, || {
            let wanted: Vec<HeadSpec> =
                heads.iter().map(|head| Ok(spec(&head.name, head.labels()?, 1, head.layers))).collect::<Result<_>>()?;
            // A folder that has these heads is a teacher that goes on with them; other heads are of no use.
            if folder.join("attar.toml").is_file() {
                let mut model = Student::load(&folder, &self.device)?;
                let found: Vec<HeadSpec> =
                    model.heads().map(|head| HeadSpec { temperature: 1.0, ..head.clone() }).collect();
                if found == wanted {
                    for head in &heads {
                        model.set_temperature(&head.name, 1.0)?;
                    }
                    return Ok(model);
                }
            }
            let mut model = Student::new(Encoder::load(&folder, &Layers::All, &self.device)?);
            if teacher.pooler == PoolerStart::Identity {
                identity_pooler(&model)?;
            }
            for head in wanted {
                model.add_head(head, seed)?;
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
            .with("student", canonical(&StudentConfig { encoder: PathBuf::new(), ..student.clone() }, &["student"]))
            .with("copies", format!("{:?}", self.copies()))
            .with("number", number.to_string());
        match student.fresh {
            Some(_) => start.add("tokenizer", hash_file(&tokenizer_path)?.as_bytes()),
            None => start.add("encoder", hash_model(&encoder)?.as_bytes()),
        }
        let mut before: Option<PathBuf> = None;
        if let Some(config) = &self.config.stage1 {
            let data = self.stage_data(&config.sets, Answers::Soft, number, &tokenizer)?;
            let stage = Stage {
                name: format!("stage1{suffix}"),
                folder: format!("stage1{suffix}").into(),
                shared: true,
                seed: self.config.seed,
                start: start.hex(),
                from: &student.encoder,
                tokenizer: &tokenizer_path,
                max_len: student.max_len,
                settings: &config.training,
                matching: config.matching.as_ref(),
            };
            let folder = self.train_stage(&stage, &data, || self.first_student(number))?;
            start.add("stage1", hash_model(&folder)?.as_bytes());
            before = Some(folder);
        }
        let config = &self.config.stage2;
        let answers = if self.config.scheme == Scheme::FineTune { Answers::Gold } else { Answers::Both };
        let data = self.stage_data(&config.sets, answers, number, &tokenizer)?;
        let stage = Stage {
            name: format!("stage2{suffix}"),
            folder: format!("student{suffix}").into(),
            shared: false,
            seed: self.config.seed,
            start: start.hex(),
            from: &student.encoder,
            tokenizer: &tokenizer_path,
            max_len: student.max_len,
            settings: &config.training,
            matching: config.matching.as_ref(),
        };
        self.train_stage(&stage, &data, || match &before {
            Some(folder) => Ok(Student::load(folder, &self.device)?),
            None => self.first_student(number),
        })
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
        let wanted: Vec<HeadSpec> = (config.heads.iter().zip(self.copies()))
            .map(|(head, copies)| Ok(spec(&head.name, head.labels()?, copies, head.layers)))
            .collect::<Result<_>>()?;
        if config.go_on {
            return Ok(Student::go_on(&folder, &config.layers(), &wanted, seed, &self.device)?);
        }
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
        for head in wanted {
            student.add_head(head, seed)?;
        }
        Ok(student)
    }

    /// Trains, fits temperatures and saves, unless that was done before; returns the result's folder.
    fn train_stage(
        &self,
        stage: &Stage<'_>,
        data: &StageData,
        first: impl FnOnce() -> Result<Student>,
    ) -> Result<PathBuf> {
        let mut hash = Fingerprint::new()
            .with("name", &stage.name)
            .with("seed", stage.seed.to_string())
            .with("start", &stage.start)
            .with("data", &data.hash)
            .with("validation", canonical(&self.config.validation, &["validation"]))
            .with("max_len", stage.max_len.to_string())
            .with("settings", canonical_settings(stage.settings));
        if let Some(matching) = stage.matching {
            hash.add("match", canonical(matching, &["stage2", "match"]).as_bytes());
            let teacher = self.teacher_folder(self.config.teacher(&matching.teacher)?);
            hash.add("matched teacher", hash_model(&teacher)?.as_bytes());
        }
        let hash = hash.hex();
        let own = self.output("training").join(&stage.name);
        let (folder, training, mark) = match &self.options.shared {
            Some(shared) if stage.shared => {
                let name = format!("{}-{hash}", stage.name);
                (
                    shared.join("models").join(&name),
                    shared.join("training").join(&name),
                    Mark::new(shared, &name, hash.clone()),
                )
            }
            _ => (self.output(&stage.folder), own.clone(), Mark::new(&self.options.output, &stage.name, hash)),
        };
        let lock = mark.lock_unless_done(&folder.join("attar.toml"), &self.options.stop, self.options.reporter)?;
        if lock.is_none() {
            self.options.reporter.say(format!("{}: done before", stage.name));
            if !stage.shared {
                self.bring_provenance_up_to_date(&folder)?;
            }
        } else {
            mark.unset()?;
            self.train_model(stage, data, first()?, &folder, &training, mark.hash())?;
            mark.set()?;
            Checkpoints::new(&training.join("checkpoint")).clear()?;
        }
        if training != own {
            // A report needs no more than the run's own folder.
            for name in ["history.jsonl", "summary.json", "validation.json"] {
                let bytes =
                    std::fs::read(training.join(name)).map_err(|e| Error::io(&training.join(name), "read", e))?;
                files::write_whole(&own.join(name), |w| w.write_all(&bytes))?;
            }
        }
        Ok(folder)
    }

    fn train_model(
        &self,
        stage: &Stage<'_>,
        data: &StageData,
        mut student: Student,
        folder: &Path,
        training: &Path,
        hash: &str,
    ) -> Result<()> {
        student.set_precision(self.options.precision);
        student.freeze(stage.settings.frozen_layers);
        if stage.max_len > student.encoder().config().max_tokens() {
            return Err(Error::config(format!(
                "{}: max_len = {}, but the encoder has {} positions",
                stage.name,
                stage.max_len,
                student.encoder().config().max_tokens()
            )));
        }
        let around = Surroundings {
            device: &self.device,
            folder: training,
            name: &stage.name,
            checkpoint_every: self.options.checkpoint_every,
            stop: &self.options.stop,
            reporter: self.options.reporter,
        };
        let matcher = match stage.matching {
            Some(config) => {
                let teacher = self.teacher_folder(self.config.teacher(&config.teacher)?);
                Some(Matcher::load(config, &teacher, stage.tokenizer, &student, stage.seed, &self.device)?)
            }
            None => None,
        };
        let objective = Objective { settings: stage.settings, matcher: matcher.as_ref() };
        let mut summary = train(&student, &data.training, &data.validation, objective, stage.seed, hash, &around)?;
        let mut predictions = Predictions { heads: Vec::new() };
        for set in &data.validation {
            if set.gold.iter().any(Option::is_some) {
                let logits = evaluate::logits(&student, &set.head, &set.tokens, &self.device, |_| Ok(()))?;
                let temperature = metrics::fit_temperature(&logits, &set.gold);
                student.set_temperature(&set.head, temperature)?;
                let (head, gold) = (set.head.clone(), set.gold.clone());
                predictions.heads.push(HeadPredictions { head, temperature, gold, logits });
            }
        }
        for set in &data.training {
            // As many rows as validation has: beside its accuracy this says how much was learned by heart.
            let mut some = set.clone();
            thin(&mut some, self.config.validation.max_rows, self.config.data_seed());
            summary.training_scores.push(evaluate::validate(&student, &some, &self.device)?);
        }
        student.save(folder, stage.tokenizer, &self.provenance(stage, data))?;
        write_json(&training.join("validation.json"), &predictions)?;
        write_json(&training.join("summary.json"), &summary)
    }

    /// What the run file says of a student may have changed without it.
    fn bring_provenance_up_to_date(&self, folder: &Path) -> Result<()> {
        let mut provenance = Student::provenance_of(folder)?;
        let before = provenance.clone();
        provenance.extend(self.config.provenance.clone());
        if provenance != before {
            Student::replace_provenance(folder, &provenance)?;
            self.options.reporter.say(format!("{}: its provenance was changed", folder.display()));
        }
        Ok(())
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
        put("start", stage.from.display().to_string().into());
        put("seed", stage.seed.to_string().into());
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
