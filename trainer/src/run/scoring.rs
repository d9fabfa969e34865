//! Scoring finished students on files.

use std::path::{Path, PathBuf};

use attar_nn::Student;
use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::{Runner, write_json};
use crate::data::{self, LabelMap, PairTokenizer, ReadOptions, Row, read_rows};
use crate::error::{Error, Result};
use crate::evaluate;
use crate::metrics::{self, Ranking, Scores};
use crate::progress::{Reporter, Stop};

/// How several students answer together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ensemble {
    /// The class that most students choose; on a tie the one with the greater mean probability.
    Majority,
    /// The greatest mean probability.
    MeanProbability,
    /// As the mean, each student weighted by its validation accuracy.
    ValidationWeight,
}

/// What was scored on one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileScores {
    /// Name of the file in the run, or its path.
    pub name: String,
    /// The head.
    pub head: String,
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
}

/// A labelled file read for a student.
pub(crate) struct Rows {
    pub(crate) rows: Vec<Row>,
    pub(crate) logits: Vec<Vec<f32>>,
    pub(crate) seconds: f64,
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
    let begun = std::time::Instant::now();
    let tokens = tokenizer.rows(&rows, crate::label::truncation_for(head))?;
    let mut progress = reporter.begin(&format!("score {head}"), "rows", rows.len() as u64, 0);
    let logits = evaluate::logits(student, head, &tokens, device, |done| {
        progress.update(done as u64, String::new);
        stop.check()
    })?;
    Ok(Rows { rows, logits, seconds: begun.elapsed().as_secs_f64() })
}

fn scored(name: &str, head: &str, ensemble: Option<Ensemble>, of: &Rows, temperature: f64) -> FileScores {
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
        ensemble,
        scores: metrics::score(&of.logits, &gold, temperature),
        ranking,
        rows_per_second: of.rows.len() as f64 / of.seconds.max(1e-9),
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
    labels: &std::collections::BTreeMap<String, String>,
    device: &Device,
    reporter: Reporter,
    stop: &Stop,
) -> Result<FileScores> {
    let student = Student::load(folder, device)?;
    let spec = student.head(head)?.clone();
    let map = LabelMap::new(head, &spec.labels, labels)?;
    let rows = read_rows(path, Some(&map), &Default::default())?;
    let tokenizer = PairTokenizer::from_folder(folder, max_len.min(student.encoder().config().max_tokens()))?;
    let predicted = predict(&student, &tokenizer, head, rows, device, reporter, stop)?;
    Ok(scored(&path.display().to_string(), head, None, &predicted, spec.temperature))
}

impl Runner<'_> {
    /// Scores the students, and several together, on the files of the run; writes `evaluation.json`.
    pub(super) fn evaluate(&self, folders: &[PathBuf]) -> Result<Vec<FileScores>> {
        let students: Vec<Student> =
            folders.iter().map(|f| Ok(Student::load(f, &self.device)?)).collect::<Result<_>>()?;
        let mut all = Vec::new();
        for file in &self.config.evaluate {
            let path = self.data(&file.path);
            let map = LabelMap::new(&file.head, &self.config.head(&file.head)?.labels()?, &file.labels)?;
            let options = ReadOptions {
                labels: Some(&map),
                filter: Some(&file.filter),
                columns: file.columns.as_ref(),
                ..ReadOptions::default()
            };
            let rows = data::read(&path, options)?.rows;
            let mut predictions = Vec::new();
            for (folder, student) in folders.iter().zip(&students) {
                let tokenizer = PairTokenizer::from_folder(folder, self.config.student.max_len)?;
                let (reporter, stop) = (self.options.reporter, &self.options.stop);
                let predicted = predict(student, &tokenizer, &file.head, rows.clone(), &self.device, reporter, stop)?;
                let name = match folders {
                    [_] => file.name.clone(),
                    _ => format!("{} {}", file.name, folder.file_name().unwrap_or_default().to_string_lossy()),
                };
                let temperature = student.head(&file.head)?.temperature;
                all.push(scored(&name, &file.head, None, &predicted, temperature));
                predictions.push((predicted, temperature));
            }
            if predictions.len() > 1 {
                let weights = self.validation_weights(&file.head)?;
                for ensemble in [Ensemble::Majority, Ensemble::MeanProbability, Ensemble::ValidationWeight] {
                    let together = combine(&predictions, ensemble, &weights);
                    all.push(scored(&file.name, &file.head, Some(ensemble), &together, 1.0));
                }
            }
        }
        for file in &all {
            self.options.reporter.say(format!(
                "{} ({}{}): accuracy {:.2} %, ece {:.3}, {} rows",
                file.name,
                file.head,
                file.ensemble.map_or_else(String::new, |e| format!(", {e:?}")),
                100.0 * file.scores.accuracy,
                file.scores.ece,
                file.scores.rows
            ));
        }
        write_json(&self.output("evaluation.json"), &all)?;
        Ok(all)
    }

    /// The validation accuracy of each student on a head.
    fn validation_weights(&self, head: &str) -> Result<Vec<f64>> {
        (0..self.student_count())
            .map(|number| {
                let path = self.output("training").join(format!("stage2-{number}")).join("summary.json");
                let json = std::fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
                let summary: crate::train_loop::Summary =
                    serde_json::from_slice(&json).map_err(|e| Error::model(path.display(), e))?;
                let of_head = summary.scores.iter().find(|s| s.head == head);
                Ok(of_head.map_or(1.0, |s| s.gold.accuracy.max(1e-6)))
            })
            .collect()
    }
}

/// The answers of several students as log probabilities.
fn combine(predictions: &[(Rows, f64)], ensemble: Ensemble, weights: &[f64]) -> Rows {
    let first = &predictions[0].0;
    let logits = (0..first.rows.len())
        .map(|row| {
            let mut sums = vec![0.0f64; first.logits[row].len()];
            for ((prediction, temperature), weight) in predictions.iter().zip(weights) {
                let probabilities = metrics::softmax(&prediction.logits[row], *temperature);
                let weight = if ensemble == Ensemble::ValidationWeight { *weight } else { 1.0 };
                for (sum, p) in sums.iter_mut().zip(&probabilities) {
                    *sum += weight * p;
                }
                if ensemble == Ensemble::Majority {
                    // A vote outweighs any sum of probabilities, which then only breaks ties.
                    sums[metrics::argmax(&prediction.logits[row])] += predictions.len() as f64 + 1.0;
                }
            }
            let total: f64 = sums.iter().sum();
            sums.iter().map(|s| (s / total).max(1e-12).ln() as f32).collect()
        })
        .collect();
    Rows { rows: first.rows.clone(), logits, seconds: predictions.iter().map(|(p, _)| p.seconds).sum() }
}
