//! The training loop.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use attar_nn::optim::Optimizer;
use attar_nn::{Gradients, Mode, Student, backward};
use candle_core::{Device, Tensor};

use crate::checkpoint::{Checkpoints, Position};
use crate::data::{BatchPlan, PlanSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::{self, HeadScores};
use crate::history::History;
use crate::objective::{Objective, batch_loss};
use crate::progress::{Reporter, Stop};
use crate::sets::TrainingSet;

/// Where and for whom a training runs; nothing here changes its result.
pub struct Surroundings<'a> {
    /// Where to compute.
    pub device: &'a Device,
    /// Holds `checkpoint/` and `history.jsonl`.
    pub folder: &'a Path,
    /// A word for the logs.
    pub name: &'a str,
    /// How often a checkpoint is written, besides when stopped.
    pub checkpoint_every: Duration,
    /// Asked before every step.
    pub stop: &'a Stop,
    /// Who shows progress.
    pub reporter: Reporter,
}

/// What a training came to.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// Finished steps.
    pub steps: usize,
    /// The step whose weights were the best.
    pub best_step: usize,
    /// The share of the weights that are those before the first step (`start_weight`).
    #[serde(default)]
    pub start_weight: f64,
    /// Validation of the result.
    pub scores: Vec<HeadScores>,
    /// The same of training rows, of each set, where a run has measured it.
    #[serde(default)]
    pub training_scores: Vec<HeadScores>,
    /// Seconds over all sittings.
    pub seconds: f64,
    /// Trained examples a second, in this sitting.
    pub examples_per_second: f64,
}

/// Trains a student in place and leaves it with the weights of the best validation, mixed with those it began with where
/// the settings have a `start_weight`.
///
/// The result is a function of the student, the sets, the objective, the seed and (on the CPU) the number of threads; a
/// training that is stopped and called again with the same goes on from its checkpoint and ends with the same bits.
///
/// # Errors
/// [`ErrorKind::Interrupted`] when asked to stop, after a checkpoint; [`ErrorKind::Mismatch`] for a checkpoint of
/// another training; a configuration error for no rows; a model error when the loss is no longer finite.
pub fn train(
    student: &Student,
    sets: &[TrainingSet],
    validation: &[TrainingSet],
    objective: Objective<'_>,
    seed: u64,
    fingerprint: &str,
    around: &Surroundings<'_>,
) -> Result<Summary> {
    let settings = objective.settings;
    settings.check()?;
    if settings.patience > 0 && validation.is_empty() {
        return Err(Error::config(format!(
            "{}: patience = {}, but no rows are held out to say what is better; raise validation.fraction, or leave patience out",
            around.name, settings.patience
        )));
    }
    let lengths: Vec<Vec<u32>> = sets.iter().map(TrainingSet::lengths).collect();
    let sizes: Vec<usize> = lengths.iter().map(Vec::len).collect();
    let plan = PlanSettings { batch_size: settings.batch_size, temperature: settings.sampling_temperature, seed };
    let epoch_steps = BatchPlan::len_for(&sizes, plan);
    let steps = match epoch_steps * settings.epochs {
        0 => return Err(Error::config("no rows to train on; give at least one set with rows")),
        all if settings.max_steps == 0 => all,
        all => all.min(settings.max_steps),
    };
    let schedule = settings.schedule(steps);
    // The first step that computes with an int8 bundle's roundings.
    let rounded_from = match settings.quantization_aware {
        true => (settings.quantization_start * steps as f64).round() as usize,
        false => usize::MAX,
    };
    let evaluate_every = steps.div_ceil(settings.evaluations.max(1)).max(1);

    let start = (settings.start_weight > 0.0).then(|| student.parameters().snapshot()).transpose()?;
    let with_projection = objective.matcher.map(|m| m.parameters(student)).transpose()?;
    let parameters = with_projection.as_ref().unwrap_or(student.parameters());
    let mut optimizer = Optimizer::new(settings.optimizer_kind(), parameters)?;
    let checkpoints = Checkpoints::new(&around.folder.join("checkpoint"));
    let (mut at, mut best) = checkpoints
        .load(fingerprint, parameters, &mut optimizer)?
        .unwrap_or_else(|| (Position::start(fingerprint, seed), None));
    let mut history = History::open(&around.folder.join("history.jsonl"), around.name, at.step)?;
    let mut progress = around.reporter.begin(around.name, "steps", steps as u64, at.step as u64);
    let (begun, seconds_before) = (Instant::now(), at.seconds);
    let (mut epoch, mut batches) = (usize::MAX, BatchPlan::new(&[], 0, plan));
    let (mut examples, mut saved) = (0usize, Instant::now());
    let mut stopped_early = settings.patience > 0 && at.since_best >= settings.patience;

    // All validation is of int8 where that is trained for: the best step is the best int8 student.
    let validate = || -> Result<Vec<HeadScores>> {
        let rounded = settings.quantization_aware.then(|| student.simulate_int8()).transpose()?;
        let scores = validation.iter().map(|set| evaluate::validate(student, set, around.device)).collect();
        rounded.map_or(Ok(()), |rounded| rounded.restore())?;
        scores
    };

    while at.step < steps && !stopped_early {
        if epoch != at.step / epoch_steps {
            epoch = at.step / epoch_steps;
            batches = BatchPlan::new(&lengths, epoch as u64, plan);
        }
        let batch = &batches.batches()[at.step % epoch_steps];
        let set = &sets[batch.set];
        let rate = schedule.rate(at.step as u64);

        let rounded = (at.step >= rounded_from).then(|| student.simulate_int8()).transpose()?;
        let mut sum: Option<Gradients> = None;
        let mut costs = Vec::with_capacity(settings.micro_batches);
        let part = batch.rows.len().div_ceil(settings.micro_batches);
        for (micro, rows) in batch.rows.chunks(part).enumerate() {
            let mode = Mode::Train { seed: mask_seed(seed, at.step, micro) };
            let cost = batch_loss(student, set, rows, batch.rows.len(), objective, mode, around.device)?;
            let gradients = backward(&cost, parameters)?;
            costs.push(cost.detach());
            match &mut sum {
                Some(sum) => sum.accumulate(&gradients)?,
                None => sum = Some(gradients),
            }
        }
        // Gradients of the rounded weights change the f32 ones.
        rounded.map_or(Ok(()), |rounded| rounded.restore())?;
        let mut gradients = sum.expect("a planned batch has at least one row");
        let limit = if settings.clip > 0.0 { settings.clip } else { f64::INFINITY };
        let norm = gradients.clip(limit)?;
        // Read only now: on a GPU each reading waits for all that was asked for before.
        let mut loss = 0.0;
        for cost in costs {
            loss += f64::from(cost.to_scalar::<f32>()?);
        }
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(diverged(around.name, at.step, loss, norm));
        }
        optimizer.step(parameters, &gradients, rate)?;

        at.step += 1;
        at.loss_sum = (at.loss_sum.0 + loss, at.loss_sum.1 + 1);
        at.seconds = seconds_before + begun.elapsed().as_secs_f64();
        examples += batch.rows.len();
        let speed = examples as f64 / begun.elapsed().as_secs_f64();
        progress.update(at.step as u64, || format!("loss {:.4} {speed:.1} ex/s", at.mean_loss()));

        if at.step % evaluate_every == 0 || at.step == steps {
            at.last_scores = validate()?;
            let score = selection_score(&at.last_scores);
            progress.say(format!("step {} loss {:.4} {}", at.step, at.mean_loss(), in_words(&at.last_scores)));
            history.append(&at, rate, speed)?;
            at.loss_sum = (0.0, 0);
            if !validation.is_empty() && at.best.is_none_or(|(_, best)| score > best) {
                at.best = Some((at.step, score));
                at.best_scores = at.last_scores.clone();
                at.since_best = 0;
                best = Some(parameters.snapshot()?);
            } else {
                at.since_best += 1;
                stopped_early = settings.patience > 0 && at.since_best >= settings.patience;
            }
        }
        let stop = around.stop.requested();
        if stop || saved.elapsed() >= around.checkpoint_every {
            checkpoints.save(&at, parameters, &optimizer, best.as_ref())?;
            saved = Instant::now();
        }
        if stop {
            progress.say(format!("stopped at step {}; the same command goes on from there", at.step));
            around.stop.check()?;
        }
    }
    restore_best(student, best.as_ref())?;
    let mut scores = at.best_scores;
    if let Some(start) = start {
        student.parameters().mix(&start, settings.start_weight)?;
        scores = validate()?;
        progress.say(format!("with {} of the start's weights: {}", settings.start_weight, in_words(&scores)));
    }
    progress.finish();
    Ok(Summary {
        steps: at.step,
        best_step: at.best.map_or(at.step, |(step, _)| step),
        start_weight: settings.start_weight,
        scores,
        training_scores: Vec::new(),
        seconds: at.seconds,
        examples_per_second: examples as f64 / begun.elapsed().as_secs_f64(),
    })
}

fn restore_best(student: &Student, best: Option<&HashMap<String, Tensor>>) -> Result<()> {
    if let Some(best) = best {
        student.parameters().restore(best)?;
    }
    Ok(())
}

/// Accuracy over all validation rows (so that a head with few of them does not choose by chance), or without any gold
/// label the negative mean soft error.
fn selection_score(scores: &[HeadScores]) -> f64 {
    let rows: usize = scores.iter().map(|s| s.gold.rows).sum();
    if rows > 0 {
        return scores.iter().map(|s| s.gold.accuracy * s.gold.rows as f64).sum::<f64>() / rows as f64;
    }
    -scores.iter().filter_map(|s| s.soft_mse).sum::<f64>() / scores.len().max(1) as f64
}

/// `HEAD 80.1 %, HEAD mse 0.1`.
pub(crate) fn in_words(scores: &[HeadScores]) -> String {
    let words: Vec<String> = scores
        .iter()
        .map(|s| match s.soft_mse {
            Some(mse) if s.gold.rows == 0 => format!("{} mse {mse:.4}", s.head),
            _ => format!("{} {:.1} %", s.head, 100.0 * s.gold.accuracy),
        })
        .collect();
    words.join(", ")
}

/// A seed for the dropout masks of one micro-batch.
fn mask_seed(seed: u64, step: usize, micro: usize) -> u64 {
    crate::random::Random::new(&[seed, step as u64, micro as u64]).next_u64()
}

fn diverged(name: &str, step: usize, loss: f64, norm: f64) -> Error {
    Error::new(
        ErrorKind::Model,
        format!(
            "{name}: loss {loss} and gradient norm {norm} at step {step}, expected finite numbers; lower learning_rate or clip, or lengthen warmup"
        ),
    )
}

#[cfg(test)]
mod tests;
