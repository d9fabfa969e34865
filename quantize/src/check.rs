//! Whether quantising lost anything: the bundle beside an f32 bundle of the same student, in the runtime, on labelled pairs.

use std::path::{Path, PathBuf};

use attar::{Model, Score};
use serde::Serialize;

use crate::data::{self, Row, label_index};
use crate::error::{Error, ErrorKind, Result, fail};

/// Pairs that are scored by one call: bounds memory, and lets a progress bar move.
const CHUNK: usize = 256;

/// What to check with, and how much may be lost.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// A TSV with the columns `text_a`, `text_b` and `label`; `.zst` is decompressed.
    pub data: PathBuf,
    /// The head to check; by default the one whose labels the data has.
    pub head: Option<String>,
    /// Percentage points of accuracy that may be lost at most.
    pub max_drop: f64,
    /// Rows to read at most.
    pub rows: Option<usize>,
    /// Threads; 0 for as many as the machine has.
    pub threads: usize,
}

/// What the check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// The data file's name.
    pub data: String,
    /// The head that was checked.
    pub head: String,
    /// Rows that were scored.
    pub rows: usize,
    /// Percent of rows that the f32 bundle labels right.
    pub f32_accuracy: f64,
    /// Percent of rows that this bundle labels right.
    pub accuracy: f64,
    /// `f32_accuracy - accuracy`, percentage points.
    pub drop: f64,
    /// Percent of rows that both label alike.
    pub agreement: f64,
    /// Root mean square of the differences of logits.
    pub logit_rmse: f64,
    /// Largest difference of two logits.
    pub logit_max: f64,
}

impl CheckReport {
    /// Refuses a loss of more than `max_drop` points.
    pub(crate) fn judge(&self, max_drop: f64) -> Result<()> {
        if self.drop > max_drop {
            fail!(
                Accuracy,
                "accuracy on {} fell from {:.2} to {:.2} %: {:.2} points, at most {max_drop} are allowed; nothing was written",
                self.data,
                self.f32_accuracy,
                self.accuracy,
                self.drop
            );
        }
        Ok(())
    }
}

/// Called with the number of rows done and of all rows.
pub type Progress<'p> = &'p mut dyn FnMut(usize, usize);

/// The labelled pairs and what the f32 bundle makes of them: computed once, however many candidates are held against it.
pub(crate) struct Reference {
    rows: Vec<Row>,
    head: attar::HeadInfo,
    scores: Vec<Score>,
}

impl Reference {
    /// Scores the data with the f32 bundle at `path`.
    pub(crate) fn new(path: &Path, options: &CheckOptions, progress: Progress<'_>) -> Result<Reference> {
        let rows = data::read(&options.data, options.rows)?;
        let model = Model::open(path).map_err(runtime)?;
        let head = model.heads()[choose_head(&model, &rows, options)?].clone();
        let mut reference = Reference { rows, head, scores: Vec::new() };
        reference.scores = reference.score(&model, options, progress)?;
        Ok(reference)
    }

    fn score(&self, model: &Model, options: &CheckOptions, progress: Progress<'_>) -> Result<Vec<Score>> {
        let mut session = model.session().threads(options.threads);
        let mut scores = Vec::with_capacity(self.rows.len());
        for chunk in self.rows.chunks(CHUNK) {
            let pairs: Vec<(&str, &str)> = chunk.iter().map(|row| (row.a.as_str(), row.b.as_str())).collect();
            let place = format!("{} (rows from line {})", options.data.display(), chunk[0].line);
            let found = session.score(&self.head.name, &pairs);
            scores.extend(found.map_err(|e| Error::new(ErrorKind::Data, format!("{place}: {e}")))?);
            progress(scores.len(), self.rows.len());
        }
        Ok(scores)
    }

    /// Holds the bundle at `path` against the f32 one.
    pub(crate) fn compare(&self, path: &Path, options: &CheckOptions, progress: Progress<'_>) -> Result<CheckReport> {
        let candidate = self.score(&Model::open(path).map_err(runtime)?, options, progress)?;
        Ok(self.report(&candidate, options))
    }

    fn report(&self, candidate: &[Score], options: &CheckOptions) -> CheckReport {
        let (mut right, mut agree, mut squares, mut largest, mut logits) = ([0usize; 2], 0usize, 0f64, 0f64, 0usize);
        for (row, (x, y)) in self.rows.iter().zip(self.scores.iter().zip(candidate)) {
            let truth = label_index(&row.label, &self.head.labels);
            right[0] += usize::from(Some(x.best()) == truth);
            right[1] += usize::from(Some(y.best()) == truth);
            agree += usize::from(x.best() == y.best());
            logits += x.logits.len();
            for (x, y) in x.logits.iter().zip(&y.logits) {
                let difference = f64::from((x - y).abs());
                squares += difference * difference;
                largest = largest.max(difference);
            }
        }
        let percent = |n: usize| 100.0 * n as f64 / self.rows.len() as f64;
        CheckReport {
            data: options.data.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            head: self.head.name.clone(),
            rows: self.rows.len(),
            f32_accuracy: percent(right[0]),
            accuracy: percent(right[1]),
            drop: percent(right[0]) - percent(right[1]),
            agreement: percent(agree),
            logit_rmse: (squares / logits.max(1) as f64).sqrt(),
            logit_max: largest,
        }
    }
}

/// The head that was named, or the only one that knows every label of the data.
fn choose_head(model: &Model, rows: &[Row], options: &CheckOptions) -> Result<usize> {
    let heads = model.heads();
    let names = || heads.iter().map(|h| format!("{} ({})", h.name, h.labels.join(", "))).collect::<Vec<_>>().join("; ");
    let stranger = |head: &attar::HeadInfo| rows.iter().find(|row| label_index(&row.label, &head.labels).is_none());
    let exact = |head: &attar::HeadInfo| rows.iter().all(|row| head.labels.contains(&row.label));
    let place = options.data.display();
    if let Some(name) = &options.head {
        let Some(index) = heads.iter().position(|h| h.name == *name) else {
            fail!(Data, "the student has no head {name:?}; it has {}", names());
        };
        if let Some(row) = stranger(&heads[index]) {
            let labels = heads[index].labels.join(", ");
            fail!(Data, "{place}: line {}: label {:?} is none of head {name:?}: {labels}", row.line, row.label);
        }
        return Ok(index);
    }
    let exactly: Vec<usize> = (0..heads.len()).filter(|&i| exact(&heads[i])).collect();
    let roughly: Vec<usize> = (0..heads.len()).filter(|&i| stranger(&heads[i]).is_none()).collect();
    match (exactly.as_slice(), roughly.as_slice()) {
        ([one], _) | ([], [one]) => Ok(*one),
        ([], []) => fail!(Data, "{place}: its labels are those of no head; the student has {}", names()),
        _ => fail!(Data, "{place}: its labels fit several heads; choose one with --head: {}", names()),
    }
}

/// An error of the runtime about a bundle that was written a moment ago.
pub(crate) fn runtime(error: attar::Error) -> Error {
    let kind = match error.kind() {
        attar::ErrorKind::Io => ErrorKind::Io,
        attar::ErrorKind::Kernel => ErrorKind::Data,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, error.to_string())
}
