//! Running a student without training it.

use attar_nn::{Mode, Student};
use candle_core::Device;

use crate::data::Tokens;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{self, Scores};
use crate::sets::{TrainingSet, batch_of};

/// Rows of a batch when no gradient is needed: a GPU wants more at a time, of not too many tokens.
pub fn evaluation_batch(device: &Device, longest: usize) -> usize {
    if device.is_cpu() { 64 } else { (32_768 / longest.max(1)).clamp(32, 256) }
}

/// The logits of a head for every row, in input order, averaged over the head's copies: `[row][class]`.
///
/// `progress` is told how many rows are done and may stop the work with an error.
///
/// # Errors
/// An unknown head, a failing tensor operation, or what `progress` returned.
pub fn logits(
    student: &Student,
    head: &str,
    tokens: &[Tokens],
    device: &Device,
    mut progress: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<Vec<f32>>> {
    let pad = student.encoder().config().pad_id;
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|&row| tokens[row].len());
    let mut all = vec![Vec::new(); tokens.len()];
    let mut done = 0;
    let longest = order.last().map_or(0, |&row| tokens[row].len());
    for rows in order.chunks(evaluation_batch(device, longest)) {
        let batch = batch_of(rows.iter().map(|&row| &tokens[row]), pad, device)?;
        let copies = student.logits(&batch, head, Mode::Eval)?;
        let count = copies.len() as f32;
        for copy in &copies {
            for (&row, values) in rows.iter().zip(copy.to_vec2::<f32>()?) {
                if all[row].is_empty() {
                    all[row] = vec![0.0; values.len()];
                }
                for (sum, value) in all[row].iter_mut().zip(values) {
                    *sum += value / count;
                }
            }
        }
        done += rows.len();
        progress(done)?;
    }
    if let Some(row) = all.iter().position(|logits| logits.iter().any(|x| !x.is_finite())) {
        return Err(Error::new(
            ErrorKind::Model,
            format!(
                "head {head:?} gives {:?} for row {row}, expected finite numbers; its weights are damaged",
                all[row]
            ),
        ));
    }
    Ok(all)
}

/// The validation score of one head.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize, PartialEq)]
pub struct HeadScores {
    /// The head.
    pub head: String,
    /// Against gold labels; `rows` is 0 where there are none.
    pub gold: Scores,
    /// Mean squared error of the logits against the soft labels, over rows and classes; absent without soft labels.
    pub soft_mse: Option<f64>,
}

/// Scores a student on a validation set.
///
/// # Errors
/// As [`logits`].
pub fn validate(student: &Student, set: &TrainingSet, device: &Device) -> Result<HeadScores> {
    let predicted = logits(student, &set.head, &set.tokens, device, |_| Ok(()))?;
    let (mut sum, mut count) = (0.0f64, 0usize);
    for (row, logits) in predicted.iter().enumerate() {
        let targets: Vec<&[f32]> =
            set.soft.get(row).into_iter().flatten().filter_map(|target| target.as_deref()).collect();
        for (class, &logit) in logits.iter().enumerate().filter(|_| !targets.is_empty()) {
            let target = targets.iter().map(|t| t[class]).sum::<f32>() / targets.len() as f32;
            sum += f64::from(logit - target).powi(2);
            count += 1;
        }
    }
    Ok(HeadScores {
        head: set.head.clone(),
        gold: metrics::score(&predicted, &set.gold, 1.0),
        soft_mse: (count > 0).then(|| sum / count as f64),
    })
}
