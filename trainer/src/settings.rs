//! The settings of one training.

use attar_nn::optim::{Decay as NnDecay, OptimizerKind, Schedule};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which update rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerChoice {
    /// AdamW, decoupled weight decay (Loshchilov and Hutter 2019).
    #[default]
    Adamw,
    /// Adam with L2 weight decay in the gradient (Kingma and Ba 2015).
    Adam,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

/// How the learning rate goes after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Linearly to zero.
    #[default]
    Linear,
    /// Half a cosine to zero.
    Cosine,
    /// Not at all.
    Constant,
}

/// What a soft label costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SoftLoss {
    /// Mean squared error of the logits (the paper).
    #[default]
    Mse,
    /// `T^2 KL(teacher || student)` of the soft-max at temperature T (Hinton et al. 2015).
    Kl,
}

/// How a student is trained in one stage. Every field has a default and can be set in a run file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// Passes over the data.
    pub epochs: usize,
    /// Stop after this many steps; 0 for all epochs.
    pub max_steps: usize,
    /// Rows of one optimiser step.
    pub batch_size: usize,
    /// A step's rows are computed in this many parts whose gradients are summed: less memory, same result.
    pub micro_batches: usize,
    /// Update rule.
    pub optimizer: OptimizerChoice,
    /// Learning rate at the end of the warm-up.
    pub learning_rate: f64,
    /// Share of all steps over which the learning rate rises from zero, 0 to 1.
    pub warmup: f64,
    /// What the learning rate does after that.
    pub decay: Decay,
    /// Decoupled weight decay of matrices; biases and layer norms have none.
    pub weight_decay: f64,
    /// Greatest norm of the gradient of all parameters together; 0 for no limit.
    pub clip: f64,
    /// The `a` of `(1 - a) CE(gold) + a soft`, for rows that have both. A row with only one of them has weight 1 on it.
    pub soft_label_weight: f64,
    /// What a soft label costs.
    pub soft_loss: SoftLoss,
    /// The T of `soft_loss = "kl"`.
    pub soft_temperature: f64,
    /// A set with n rows is drawn in proportion to n^temperature; 1 means every row once an epoch.
    pub sampling_temperature: f64,
    /// Train with the roundings of an int8 bundle (min-max ranges) for the last part of the steps, and validate with them.
    // Left out where it is off, so that runs of before this setting are recognised by the same hash.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quantization_aware: bool,
    /// The share of the steps after which `quantization_aware` begins, 0 to 1.
    #[serde(skip_serializing_if = "is_default_start")]
    pub quantization_start: f64,
    /// Keep the embeddings and this many of the encoder's first layers as they are; a step then costs them a third.
    #[serde(skip_serializing_if = "is_zero")]
    pub frozen_layers: usize,
    /// The share of the weights before the first step in the result, 0 to 1: 0.5 is the mean of before and after. For a
    /// student that goes on (`go_on`): between the two lie weights that are often better than either
    /// (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). Parameters that began fresh are not mixed.
    #[serde(skip_serializing_if = "is_nothing")]
    pub start_weight: f64,
    /// How many times the validation split is scored, evenly spread over the steps; at least the last step.
    pub evaluations: usize,
    /// Stop after this many evaluations without a better one; 0 for never. The best weights are kept either way.
    pub patience: usize,
}

/// The default of [`TrainSettings::quantization_start`]: rounding noise is of use when the weights have settled.
const QUANTIZATION_START: f64 = 0.7;

fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn is_nothing(share: &f64) -> bool {
    *share == 0.0
}

fn is_default_start(start: &f64) -> bool {
    *start == QUANTIZATION_START
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 3,
            max_steps: 0,
            batch_size: 32,
            micro_batches: 1,
            optimizer: OptimizerChoice::Adamw,
            learning_rate: 5e-5,
            warmup: 0.06,
            decay: Decay::Linear,
            weight_decay: 0.01,
            clip: 1.0,
            soft_label_weight: 0.5,
            soft_loss: SoftLoss::Mse,
            soft_temperature: 1.0,
            sampling_temperature: 1.0,
            quantization_aware: false,
            quantization_start: QUANTIZATION_START,
            frozen_layers: 0,
            start_weight: 0.0,
            evaluations: 8,
            patience: 0,
        }
    }
}

impl TrainSettings {
    /// The learning rate over `steps` steps.
    pub fn schedule(&self, steps: usize) -> Schedule {
        Schedule {
            peak: self.learning_rate,
            warmup_steps: (self.warmup * steps as f64).round() as u64,
            total_steps: steps as u64,
            decay: match self.decay {
                Decay::Linear => NnDecay::Linear,
                Decay::Cosine => NnDecay::Cosine,
                Decay::Constant => NnDecay::Constant,
            },
        }
    }

    /// The optimiser with this weight decay and its authors' other constants.
    pub fn optimizer_kind(&self) -> OptimizerKind {
        let weight_decay = self.weight_decay;
        let (beta1, beta2, eps) = (0.9, 0.999, 1e-8);
        match self.optimizer {
            OptimizerChoice::Adamw => OptimizerKind::AdamW { beta1, beta2, eps, weight_decay },
            OptimizerChoice::Adam => OptimizerKind::Adam { beta1, beta2, eps, weight_decay },
            OptimizerChoice::Sgd => OptimizerKind::Sgd { momentum: 0.9, weight_decay },
        }
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// A configuration error that names the field, the range and the value.
    pub fn check(&self) -> Result<()> {
        let positive = |name: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(Error::config(format!("{name} = {value}, expected a number above 0")))
            }
        };
        let fraction = |name: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(Error::config(format!("{name} = {value}, expected a number from 0 to 1")))
            }
        };
        positive("epochs", self.epochs as f64)?;
        positive("batch_size", self.batch_size as f64)?;
        positive("micro_batches", self.micro_batches as f64)?;
        positive("learning_rate", self.learning_rate)?;
        positive("soft_temperature", self.soft_temperature)?;
        fraction("warmup", self.warmup)?;
        fraction("quantization_start", self.quantization_start)?;
        fraction("start_weight", self.start_weight)?;
        fraction("soft_label_weight", self.soft_label_weight)?;
        fraction("sampling_temperature", self.sampling_temperature)?;
        for (name, value) in [("weight_decay", self.weight_decay), ("clip", self.clip)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::config(format!("{name} = {value}, expected 0 or more")));
            }
        }
        if self.micro_batches > self.batch_size {
            return Err(Error::config(format!(
                "micro_batches = {} is more than batch_size = {}",
                self.micro_batches, self.batch_size
            )));
        }
        Ok(())
    }
}
