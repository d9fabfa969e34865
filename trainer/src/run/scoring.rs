//! Scoring finished students on files.

use std::path::{Path, PathBuf};

use attar_nn::{Precision, Student};
use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::ensemble::{Ensemble, fitted_weights, probabilities};
use super::stages::Predictions;
use super::{Runner, write_json};
use crate::config::{EvaluateConfig, TeacherConfig, TeacherKind};
use crate::data::{self, LabelMap, PairTokenizer, ReadOptions, Row, read_rows};
use crate::error::{Error, Result};
use crate::evaluate;
use crate::hash::{Fingerprint, hash_model};
use crate::label::dataset_hash;
use crate::metrics::{self, Bin, Ranking, Scores};
use crate::progress::{Reporter, Stop, cpu_seconds};

/// What was scored on one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileScores {
    /// Name of the file in the run, or its path.
    pub name: String,
    /// The head.
    pub head: String,
    /// Who answered: `student`, `student 1` of several, `teacher NAME`, or the ensemble's name.
    #[serde(default = "student")]
    pub system: String,
    /// How several students answered together; absent for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<Ensemble>,
    /// Against the gold labels.
    pub scores: Scores,
    /// For relevance, the ranking of each question's rows, where a question has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<Ranking>,
    /// Scored rows a second.
    pub rows_per_second: f64,
    /// Processor time of a row, all threads together, ms: what it costs on a machine that others use too. Absent where the
    /// system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms_per_row: Option<f64>,
    /// Numbers in the weights of all models that answered.
    #[serde(default)]
    pub parameters: usize,
    /// Rows by their confidence, without and with the head's temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
}

fn student() -> String {
    "student".to_owned()
}

/// How often the answers of a confidence are right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// At temperature 1.
    pub before: Vec<Bin>,
    /// The expected calibration error at temperature 1.
    pub ece_before: f64,
    /// At the head's temperature.
    pub after: Vec<Bin>,
}

/// A labelled file with a model's answers.
struct Rows {
    rows: Vec<Row>,
    logits: Vec<Vec<f32>>,
    seconds: f64,
    cpu_seconds: Option<f64>,
    parameters: usize,
}

/// The logits of a student folder's head for a file.
fn predict(
    student: &Student,
    tokenizer: &PairTokenizer,
    head: &str,
    rows: Vec<Row>,
    device: &Device,
    reporter: Reporter,
    stop: &Stop,
) -> Result<Rows> {
    let (begun, cpu) = (std::time::Instant::now(), cpu_seconds());
    let tokens = tokenizer.rows(&rows, crate::label::truncation_for(head))?;
    let mut progress = reporter.begin(&format!("score {head}"), "rows", rows.len() as u64, 0);
    let logits = evaluate::logits(student, head, &tokens, device, |done| {
        progress.update(done as u64, String::new);
        stop.check()
    })?;
    Ok(Rows {
        rows,
        logits,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: cpu.zip(cpu_seconds()).map(|(before, after)| after - before),
        parameters: student.parameters().scalars(),
    })
}

fn scored(name: &str, head: &str, system: &str, of: &Rows, temperature: f64) -> FileScores {
    let gold: Vec<Option<u32>> = of.rows.iter().map(|r| r.label).collect();
    let ranking = (head == "relevance")
        .then(|| {
            metrics::rank(of.rows.iter().zip(&of.logits).filter_map(|(row, logits)| {
                let relevant = row.label? == 1;
                Some((row.text_a.as_str(), f64::from(logits[1]) - f64::from(logits[0]), relevant))
            }))
        })
        .flatten();
    FileScores {
        name: name.to_owned(),
        head: head.to_owned(),
        system: system.to_owned(),
        ensemble: None,
        scores: metrics::score(&of.logits, &gold, temperature),
        ranking,
        rows_per_second: of.rows.len() as f64 / of.seconds.max(1e-9),
        cpu_ms_per_row: of.cpu_seconds.map(|s| 1e3 * s / of.rows.len().max(1) as f64),
        parameters: of.parameters,
        reliability: Some(Reliability {
            before: metrics::reliability(&of.logits, &gold, 1.0),
            ece_before: metrics::score(&of.logits, &gold, 1.0).ece,
            after: metrics::reliability(&of.logits, &gold, temperature),
        }),
    }
}

/// Scores a student folder on a labelled file.
///
/// # Errors
/// A folder or file that cannot be read, an unknown head, or an interruption.
#[allow(clippy::too_many_arguments)]
pub fn score_file(
    folder: &Path,
    head: &str,
    path: &Path,
    max_len: usize,
    precision: Precision,
    labels: &std::collections::BTreeMap<String, String>,
    device: &Device,
    reporter: Reporter,
    stop: &Stop,
) -> Result<FileScores> {
    let mut student = Student::load(folder, device)?;
    student.set_precision(precision);
    let spec = student.head(head)?.clone();
    let map = LabelMap::new(head, &spec.labels, labels)?;
    let rows = read_rows(path, Some(&map), &Default::default())?;
    some_labelled(&rows, path, head)?;
    let tokenizer = PairTokenizer::from_folder(folder, max_len.min(student.encoder().config().max_tokens()))?;
    let predicted = predict(&student, &tokenizer, head, rows, device, reporter, stop)?;
    Ok(scored(&path.display().to_string(), head, "student", &predicted, spec.temperature))
}

/// Nothing can be scored on rows of which none has a gold label.
pub(super) fn some_labelled(rows: &[Row], path: &Path, head: &str) -> Result<()> {
    if rows.iter().any(|row| row.label.is_some()) {
        return Ok(());
    }
    Err(Error::config(format!(
        "{}: {} rows, and none has a gold label of head {head:?} to score against; give a file with labels, or another `where`",
        path.display(),
        rows.len()
    )))
}

impl Runner<'_> {
    /// Scores the students, several together, and teachers where that is asked for, on the files of the run; writes
    /// `evaluation.json`.
    pub(super) fn evaluate(&self, folders: &[PathBuf]) -> Result<Vec<FileScores>> {
        let students: Vec<Student> =
            folders.iter().map(|f| Ok(Student::load(f, &self.device)?)).collect::<Result<_>>()?;
        let mut all = Vec::new();
        for file in &self.config.evaluate {
            let rows = self.evaluation_rows(file)?;
            let mut predictions = Vec::new();
            for (number, (folder, student)) in folders.iter().zip(&students).enumerate() {
                let tokenizer = PairTokenizer::from_folder(folder, self.config.student.max_len)?;
                let predicted = self.predict(student, &tokenizer, file, rows.clone())?;
                let system = if folders.len() == 1 { "student".to_owned() } else { format!("student {}", number + 1) };
                let temperature = student.head(&file.head)?.temperature;
                all.push(scored(&file.name, &file.head, &system, &predicted, temperature));
                predictions.push((predicted, temperature));
            }
            if predictions.len() > 1 {
                for ensemble in Ensemble::ALL {
                    let weights = self.weights(ensemble, &file.head)?;
                    let together = combine(&predictions, ensemble, &weights);
                    let scores = scored(&file.name, &file.head, ensemble.name(), &together, 1.0);
                    all.push(FileScores { ensemble: Some(ensemble), ..scores });
                }
            }
            if self.config.evaluate_teachers {
                for teacher in self.config.teachers_of(&file.head) {
                    if teacher.kind == TeacherKind::Classifier && teacher.labels.is_none() {
                        all.push(self.score_teacher(teacher, file, &rows)?);
                    }
                }
            }
        }
        for file in &all {
            self.options.reporter.say(format!(
                "{} ({}, {}): accuracy {:.2} %, ece {:.3}, {} rows",
                file.name,
                file.head,
                file.system,
                100.0 * file.scores.accuracy,
                file.scores.ece,
                file.scores.rows
            ));
        }
        write_json(&self.output("evaluation.json"), &all)?;
        Ok(all)
    }

    fn evaluation_rows(&self, file: &EvaluateConfig) -> Result<Vec<Row>> {
        let path = self.data(&file.path);
        let map = LabelMap::new(&file.head, &self.config.head(&file.head)?.labels()?, &file.labels)?;
        let options = ReadOptions {
            labels: Some(&map),
            filter: Some(&file.filter),
            columns: file.columns.as_ref(),
            ..ReadOptions::default()
        };
        let rows = data::read(&path, options)?.rows;
        let rows = match file.limit {
            Some(limit) => data::limit(rows, limit, self.config.data_seed()),
            None => rows,
        };
        some_labelled(&rows, &path, &file.head)?;
        Ok(rows)
    }

    fn predict(
        &self,
        model: &Student,
        tokenizer: &PairTokenizer,
        file: &EvaluateConfig,
        rows: Vec<Row>,
    ) -> Result<Rows> {
        predict(model, tokenizer, &file.head, rows, &self.device, self.options.reporter, &self.options.stop)
    }

    /// A teacher's scores on a file; runs that share a folder compute them once.
    fn score_teacher(&self, teacher: &TeacherConfig, file: &EvaluateConfig, rows: &[Row]) -> Result<FileScores> {
        let folder = self.teacher_folder(teacher);
        let mut made_of = Fingerprint::new()
            .with("teacher", hash_model(&folder)?)
            .with("rows", dataset_hash(rows))
            .with("head", &file.head)
            .with("max_len", teacher.max_len.to_string());
        for row in rows {
            made_of.add("gold", format!("{:?}", row.label).as_bytes());
        }
        let root = self.options.shared.as_ref().unwrap_or(&self.options.output);
        let stored = root.join("scores").join(format!("{}-{}.json", teacher.name, made_of.hex()));
        let scores: FileScores = if stored.exists() {
            let json = std::fs::read(&stored).map_err(|e| Error::io(&stored, "read", e))?;
            serde_json::from_slice(&json).map_err(|e| Error::model(stored.display(), e))?
        } else {
            let model = Student::load(&folder, &self.device)?;
            let temperature = model.head(&file.head)?.temperature;
            let tokenizer = PairTokenizer::from_folder(&folder, teacher.max_len)?;
            let predicted = self.predict(&model, &tokenizer, file, rows.to_vec())?;
            let scores = scored(&file.name, &file.head, &format!("teacher {}", teacher.name), &predicted, temperature);
            write_json(&stored, &scores)?;
            scores
        };
        Ok(FileScores { name: file.name.clone(), ..scores })
    }

    /// The weight of each student in an ensemble for a head.
    fn weights(&self, ensemble: Ensemble, head: &str) -> Result<Vec<f64>> {
        let count = self.student_count();
        let stored = |number: usize, name: &str| self.output("training").join(format!("stage2-{number}")).join(name);
        match ensemble {
            Ensemble::Majority | Ensemble::MeanProbability => Ok(vec![1.0; count]),
            Ensemble::ValidationWeight => (0..count)
                .map(|number| {
                    let summary: crate::train_loop::Summary = read_json(&stored(number, "summary.json"))?;
                    let of_head = summary.scores.iter().find(|s| s.head == head);
                    Ok(of_head.map_or(1.0, |s| s.gold.accuracy.max(1e-6)))
                })
                .collect(),
            Ensemble::FittedWeight => {
                let mut students = Vec::new();
                for number in 0..count {
                    let all: Predictions = read_json(&stored(number, "validation.json"))?;
                    let Some(of_head) = all.heads.into_iter().find(|h| h.head == head) else {
                        return Ok(vec![1.0; count]);
                    };
                    let rows = probabilities(&of_head.logits, of_head.temperature);
                    let gold = rows.iter().zip(&of_head.gold).filter_map(|(p, g)| Some(p[(*g)? as usize]));
                    students.push(gold.collect());
                }
                Ok(fitted_weights(&students))
            }
        }
    }
}

/// The answers of several students as log probabilities.
fn combine(predictions: &[(Rows, f64)], ensemble: Ensemble, weights: &[f64]) -> Rows {
    let first = &predictions[0].0;
    let students: Vec<Vec<Vec<f64>>> =
        predictions.iter().map(|(rows, temperature)| probabilities(&rows.logits, *temperature)).collect();
    let logits = (0..first.rows.len())
        .map(|row| {
            let of_row: Vec<Vec<f64>> = students.iter().map(|s| s[row].clone()).collect();
            ensemble.answer(&of_row, weights)
        })
        .collect();
    Rows {
        rows: first.rows.clone(),
        logits,
        seconds: predictions.iter().map(|(p, _)| p.seconds).sum(),
        cpu_seconds: predictions.iter().map(|(p, _)| p.cpu_seconds).sum(),
        parameters: predictions.iter().map(|(p, _)| p.parameters).sum(),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let json = std::fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    serde_json::from_slice(&json).map_err(|e| Error::model(path.display(), e))
}
