//! Optimisers and learning rate schedules.

mod schedule;
mod update;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

pub use schedule::{Decay, Schedule};

use crate::{Error, Gradients, Parameters, Result};

/// An optimiser and its constants. Weight decay applies only to parameters that are marked for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    #[serde(rename = "adamw")]
    AdamW {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        eps: f64,
        /// A parameter shrinks by `rate * weight_decay` a step.
        weight_decay: f64,
    },
    /// Adam (Kingma and Ba 2015); weight decay is added to the gradient.
    Adam {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        eps: f64,
        /// L2 regularisation.
        weight_decay: f64,
    },
    /// Stochastic gradient descent: `m = momentum * m + g; w -= rate * m`.
    Sgd {
        /// The momentum; 0 for none.
        momentum: f64,
        /// L2 regularisation.
        weight_decay: f64,
    },
}

impl OptimizerKind {
    /// AdamW as BERT is fine-tuned: 0.9, 0.999, 1e-8, decay 0.01.
    pub fn adam_w() -> Self {
        Self::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }

    /// Adam with its authors' constants and no decay.
    pub fn adam() -> Self {
        Self::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }

    /// SGD with momentum 0.9 and no decay.
    pub fn sgd() -> Self {
        Self::Sgd { momentum: 0.9, weight_decay: 0.0 }
    }

    fn check(&self) -> Result<()> {
        let (fractions, positive, decay) = match *self {
            Self::AdamW { beta1, beta2, eps, weight_decay } | Self::Adam { beta1, beta2, eps, weight_decay } => {
                ([beta1, beta2], eps, weight_decay)
            }
            Self::Sgd { momentum, weight_decay } => ([momentum, 0.0], 1.0, weight_decay),
        };
        if fractions.iter().any(|f| !(0.0..1.0).contains(f)) || !(positive > 0.0 && decay >= 0.0) {
            return Err(Error::argument(format!(
                "optimizer {self:?}: expected betas and momentum in [0, 1), eps positive, weight_decay not negative"
            )));
        }
        Ok(())
    }
}

/// What an optimiser remembers about one parameter.
#[derive(Debug)]
enum Moments {
    /// On the CPU: plain vectors, updated in place. The second is empty for SGD.
    Host { first: Vec<f32>, second: Vec<f32> },
    /// Elsewhere: tensors. `None` before the first step, and the second always for SGD.
    Device { first: Tensor, second: Option<Tensor> },
}

/// An optimiser with its state.
#[derive(Debug)]
pub struct Optimizer {
    kind: OptimizerKind,
    /// Per parameter, made when it first has a gradient.
    moments: Vec<Option<Moments>>,
    /// Steps taken per parameter (heads may start later), for Adam's bias correction.
    steps: Vec<u64>,
}

impl Optimizer {
    /// An optimiser for these parameters. Later steps must be given the same parameters, in the same order.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for a constant out of range.
    pub fn new(kind: OptimizerKind, parameters: &Parameters) -> Result<Self> {
        kind.check()?;
        let n = parameters.len();
        Ok(Self { kind, moments: (0..n).map(|_| None).collect(), steps: vec![0; n] })
    }

    /// The configuration.
    pub fn kind(&self) -> OptimizerKind {
        self.kind
    }

    /// Updates the parameters that have a gradient, at this learning rate.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] where parameters or gradients are not those this optimiser was made for.
    pub fn step(&mut self, parameters: &Parameters, gradients: &Gradients, rate: f64) -> Result<()> {
        let (tensors, scale) = gradients.raw();
        if parameters.len() != self.moments.len() || tensors.len() != self.moments.len() {
            return Err(Error::argument(format!(
                "optimizer for {} parameters got {} parameters and {} gradients",
                self.moments.len(),
                parameters.len(),
                tensors.len()
            )));
        }
        for (i, (parameter, gradient)) in parameters.iter().zip(tensors).enumerate() {
            let Some(gradient) = gradient else { continue };
            self.steps[i] += 1;
            let rule = update::Rule::new(&self.kind, parameter.decay, rate, scale, self.steps[i]);
            let moments = match &mut self.moments[i] {
                Some(moments) => moments,
                empty => empty.insert(Moments::new(&self.kind, &parameter.var)?),
            };
            update::apply(&rule, &parameter.var, gradient, moments)?;
        }
        Ok(())
    }

    /// The state as named f32 and i64 tensors on the CPU, for a checkpoint: `{parameter}.first`, `.second`, `.step`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] where the device fails.
    pub fn state(&self, parameters: &Parameters) -> Result<HashMap<String, Tensor>> {
        let mut out = HashMap::new();
        for ((p, moments), &step) in parameters.iter().zip(&self.moments).zip(&self.steps) {
            let Some(moments) = moments else { continue };
            let (first, second) = match moments {
                Moments::Host { first, second } => {
                    let tensor = |v: &[f32]| Tensor::from_slice(v, p.var.shape(), &Device::Cpu);
                    (tensor(first)?, if second.is_empty() { None } else { Some(tensor(second)?) })
                }
                Moments::Device { first, second } => {
                    let host = |t: &Tensor| t.to_device(&Device::Cpu);
                    (host(first)?, second.as_ref().map(host).transpose()?)
                }
            };
            out.insert(format!("{}.first", p.name), first);
            if let Some(second) = second {
                out.insert(format!("{}.second", p.name), second);
            }
            out.insert(format!("{}.step", p.name), Tensor::new(&[step as i64], &Device::Cpu)?);
        }
        Ok(out)
    }

    /// Takes over a state that [`Optimizer::state`] gave; parameters it does not mention begin afresh.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for a state of another optimiser or of other shapes; then nothing is changed.
    pub fn restore(&mut self, parameters: &Parameters, state: &HashMap<String, Tensor>) -> Result<()> {
        let mut restored = Self::new(self.kind, parameters)?;
        let two = !matches!(self.kind, OptimizerKind::Sgd { .. });
        for (i, p) in parameters.iter().enumerate() {
            let Some(first) = state.get(&format!("{}.first", p.name)) else { continue };
            let second = state.get(&format!("{}.second", p.name));
            let step = state.get(&format!("{}.step", p.name));
            let fits = |t: &Tensor| t.shape() == p.var.shape() && t.dtype() == DType::F32;
            let (Some(step), true) = (step, fits(first) && second.is_some() == two && second.is_none_or(fits)) else {
                return Err(Error::argument(format!(
                    "restoring the optimizer: the state of {:?} is not that of {:?} with shape {:?}",
                    p.name,
                    self.kind,
                    p.var.dims()
                )));
            };
            restored.steps[i] = step.flatten_all()?.to_vec1::<i64>()?.first().map_or(0, |&s| s.max(0) as u64);
            restored.moments[i] = Some(Moments::restore(first, second, p.var.device())?);
        }
        *self = restored;
        Ok(())
    }
}

impl Moments {
    fn new(kind: &OptimizerKind, var: &Tensor) -> Result<Self> {
        let two = !matches!(kind, OptimizerKind::Sgd { .. });
        if var.device().is_cpu() && var.dtype() == DType::F32 {
            let n = var.elem_count();
            return Ok(Self::Host { first: vec![0.0; n], second: if two { vec![0.0; n] } else { Vec::new() } });
        }
        let zeros = || var.zeros_like();
        Ok(Self::Device { first: zeros()?, second: if two { Some(zeros()?) } else { None } })
    }

    fn restore(first: &Tensor, second: Option<&Tensor>, device: &Device) -> Result<Self> {
        if device.is_cpu() {
            let host = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
            return Ok(Self::Host { first: host(first)?, second: second.map(host).transpose()?.unwrap_or_default() });
        }
        Ok(Self::Device { first: first.to_device(device)?, second: second.map(|t| t.to_device(device)).transpose()? })
    }
}

#[cfg(test)]
mod tests;
