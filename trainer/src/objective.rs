//! The loss of a batch: gold labels, soft labels, or both, and a teacher's insides.

use attar_nn::loss::{self, SoftLoss as NnSoftLoss};
use attar_nn::{Mode, Student};
use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::matching::Matcher;
use crate::sets::{TrainingSet, batch_of};
use crate::settings::{SoftLoss, TrainSettings};

/// What a training minimises.
#[derive(Clone, Copy)]
pub struct Objective<'a> {
    /// Weights and kinds of the labels' losses.
    pub settings: &'a TrainSettings,
    /// The teacher whose insides are matched, if any.
    pub matcher: Option<&'a Matcher>,
}

impl<'a> Objective<'a> {
    /// Labels only.
    pub fn labels(settings: &'a TrainSettings) -> Self {
        Self { settings, matcher: None }
    }
}

/// The sum over `rows` of each row's loss, divided by `step_rows` (the rows of the whole step, so that the parts of a
/// step add up) and averaged over the copies of the head; a scalar.
///
/// A row's loss is `(1 - a) CE(gold) + a soft` (Yang et al. 2020, eq. 3), where it has both answers; with only one, that
/// one at weight 1; with neither, nothing. A matched teacher's distance is added.
///
/// # Errors
/// An unknown head, a target with another number of classes, or a failing tensor operation.
pub fn batch_loss(
    student: &Student,
    set: &TrainingSet,
    rows: &[usize],
    step_rows: usize,
    objective: Objective<'_>,
    mode: Mode,
    device: &Device,
) -> Result<Tensor> {
    let settings = objective.settings;
    let batch = batch_of(rows.iter().map(|&row| &set.tokens[row]), student.encoder().config().pad_id, device)?;
    let (copies, matched) = match objective.matcher {
        None => (student.logits(&batch, &set.head, mode)?, None),
        Some(matcher) => {
            let encoded = student.encoder().encode(&batch, mode, matcher.capture())?;
            let pooled = student.encoder().pooled(&encoded.hidden)?;
            (student.logits_from_pooled(&pooled, &set.head, mode)?, Some(matcher.loss(&encoded, &batch)?))
        }
    };
    let mut total: Option<Tensor> = None;
    let mut add = |term: Tensor| -> Result<()> {
        total = Some(match total.take() {
            Some(sum) => (sum + term)?,
            None => term,
        });
        Ok(())
    };
    let share = 1.0 / (step_rows as f64 * copies.len() as f64);
    for (copy, logits) in copies.iter().enumerate() {
        let (count, classes) = logits.dims2()?;
        let gold: Vec<u32> = rows.iter().map(|&row| set.gold[row].unwrap_or(0)).collect();
        let mut hard_weights = vec![0f32; count];
        let mut soft_weights = vec![0f32; count];
        let mut targets = vec![0f32; count * classes];
        for (i, &row) in rows.iter().enumerate() {
            let target = set.target(row, copy).filter(|t| t.len() == classes);
            (hard_weights[i], soft_weights[i]) = weights(set.gold[row].is_some(), target.is_some(), settings);
            if let Some(target) = target {
                targets[i * classes..(i + 1) * classes].copy_from_slice(target);
            }
        }
        let hard_sum: f32 = hard_weights.iter().sum();
        if hard_sum > 0.0 {
            let gold = Tensor::from_vec(gold, count, device)?;
            let weights = Tensor::from_vec(hard_weights, count, device)?;
            // The library's weighted mean divides by the weights' sum.
            add((loss::cross_entropy(logits, &gold, Some(&weights))? * (f64::from(hard_sum) * share))?)?;
        }
        let soft_sum: f32 = soft_weights.iter().sum();
        if soft_sum > 0.0 {
            let kind = match settings.soft_loss {
                SoftLoss::Mse => NnSoftLoss::MseLogits,
                SoftLoss::Kl => NnSoftLoss::Kl { temperature: settings.soft_temperature },
            };
            let targets = Tensor::from_vec(targets, (count, classes), device)?;
            let weights = Tensor::from_vec(soft_weights, count, device)?;
            add((loss::soft(kind, logits, &targets, Some(&weights))? * (f64::from(soft_sum) * share))?)?;
        }
    }
    if let Some(matched) = matched {
        // A mean over these rows; the step's mean is over all of its rows.
        add((matched * (rows.len() as f64 / step_rows as f64))?)?;
    }
    match total {
        Some(total) => Ok(total),
        // Nothing to learn here: a zero that still depends on the parameters.
        None => Ok((copies[0].sum_all()? * 0.0)?),
    }
}

/// The weights of a row's gold and soft label.
fn weights(gold: bool, soft: bool, settings: &TrainSettings) -> (f32, f32) {
    let a = settings.soft_label_weight as f32;
    match (gold, soft) {
        (true, true) => (1.0 - a, a),
        (gold, soft) => (f32::from(u8::from(gold)), f32::from(u8::from(soft))),
    }
}
