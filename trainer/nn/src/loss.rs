//! Losses on logits, in log space: stable at any finite logit; and losses on a network's insides.

mod matching;

use candle_core::{D, DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use matching::{attention_relations, hidden_states};

/// How a student's logits are compared with a teacher's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum SoftLoss {
    /// Mean over classes of the squared difference of logits (TMKD, Yang et al. 2020).
    MseLogits,
    /// `T² KL(softmax(teacher / T) ‖ softmax(student / T))`, nats (Hinton et al. 2015; T² keeps the gradient's size).
    Kl {
        /// The temperature T, positive.
        temperature: f64,
    },
}

/// Log soft-max over the last dimension.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] where the device fails.
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&log_sum)?)
}

/// The mean of per-row losses `[b]`; with weights `[b]` the weighted mean `Σ w l / Σ w` (0 where all weights are 0).
fn mean(rows: &Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
    let Some(weights) = weights else { return Ok(rows.mean_all()?) };
    if weights.dims() != rows.dims() {
        return Err(Error::argument(format!(
            "loss: weights of shape {:?}, expected {:?}",
            weights.dims(),
            rows.dims()
        )));
    }
    let weights = weights.detach().to_dtype(rows.dtype())?;
    let total = weights.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    let factor = if total > 0.0 { 1.0 / total } else { 0.0 };
    Ok(((rows * weights)?.sum_all()? * factor)?)
}

/// Checks that logits are `[b, c]`, finite or not.
fn shape(what: &str, logits: &Tensor) -> Result<(usize, usize)> {
    match *logits.dims() {
        [rows, classes] if rows > 0 && classes > 0 => Ok((rows, classes)),
        ref other => Err(Error::argument(format!("{what}: logits of shape {other:?}, expected [batch, classes]"))),
    }
}

/// Cross-entropy in nats of logits `[b, c]` against labels u32 `[b]`; the (weighted) mean over rows, a scalar.
///
/// # Errors
/// [`crate::ErrorKind::Argument`] for shapes that do not fit, [`crate::ErrorKind::Tensor`] for a label out of range.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
    let (rows, _) = shape("cross-entropy", logits)?;
    if labels.dims() != [rows] {
        return Err(Error::argument(format!("cross-entropy: labels of shape {:?}, expected [{rows}]", labels.dims())));
    }
    let picked = log_softmax(logits)?.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
    mean(&picked.neg()?, weights)
}

/// The soft loss of a student's logits against a teacher's, both `[b, c]`; the (weighted) mean over rows, a scalar. The
/// teacher gets no gradient.
///
/// # Errors
/// [`crate::ErrorKind::Argument`] for shapes that do not fit or a temperature that is not positive.
pub fn soft(kind: SoftLoss, student: &Tensor, teacher: &Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
    shape("soft loss", student)?;
    if student.dims() != teacher.dims() {
        return Err(Error::argument(format!(
            "soft loss: teacher's logits {:?}, expected {:?}",
            teacher.dims(),
            student.dims()
        )));
    }
    let teacher = teacher.detach().to_dtype(student.dtype())?;
    let rows = match kind {
        SoftLoss::MseLogits => (student - teacher)?.sqr()?.mean(D::Minus1)?,
        SoftLoss::Kl { temperature } => {
            if !(temperature.is_finite() && temperature > 0.0) {
                return Err(Error::argument(format!(
                    "soft loss: temperature {temperature}, expected a positive number"
                )));
            }
            let log_p = log_softmax(&(teacher / temperature)?)?;
            let log_q = log_softmax(&(student / temperature)?)?;
            ((log_p.exp()? * (log_p - log_q)?)?.sum(D::Minus1)? * (temperature * temperature))?
        }
    };
    mean(&rows, weights)
}

/// `(1 - a) CE(hard) + a soft`: one term where a is 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillLoss {
    /// The weight a of the soft loss, 0 to 1.
    pub soft_label_weight: f64,
    /// The soft loss.
    pub soft: SoftLoss,
}

impl DistillLoss {
    /// The loss of logits `[b, c]` against labels u32 `[b]` and a teacher's logits `[b, c]`. Labels may be absent where
    /// a = 1, the teacher where a = 0.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for a weight outside 0 to 1, an operand that is missing, or shapes that do not fit.
    pub fn compute(
        &self,
        logits: &Tensor,
        labels: Option<&Tensor>,
        teacher: Option<&Tensor>,
        weights: Option<&Tensor>,
    ) -> Result<Tensor> {
        let a = self.soft_label_weight;
        if !(0.0..=1.0).contains(&a) {
            return Err(Error::argument(format!("distillation loss: soft_label_weight {a}, expected 0 to 1")));
        }
        let missing = |what: &str| Error::argument(format!("distillation loss: soft_label_weight {a} needs {what}"));
        let hard = match a < 1.0 {
            true => Some(cross_entropy(logits, labels.ok_or_else(|| missing("hard labels"))?, weights)?),
            false => None,
        };
        let soft = match a > 0.0 {
            true => Some(soft(self.soft, logits, teacher.ok_or_else(|| missing("a teacher's logits"))?, weights)?),
            false => None,
        };
        match (hard, soft) {
            (Some(hard), Some(soft)) => Ok(((hard * (1.0 - a))? + (soft * a)?)?),
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (None, None) => Err(missing("a number")),
        }
    }
}

#[cfg(test)]
mod tests;
