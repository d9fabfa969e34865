//! Gradients by parameter.

use candle_core::{DType, Tensor};

use crate::{Error, Parameters, Result};

/// The gradient of a loss for each parameter, in the order of the [`Parameters`] it was computed for.
#[derive(Debug, Clone)]
pub struct Gradients {
    tensors: Vec<Option<Tensor>>,
    /// Every gradient is to be multiplied by this: scaling and clipping cost no pass over the data.
    scale: f64,
}

/// Back-propagates a scalar loss to the parameters.
///
/// A parameter that the loss does not depend on has no gradient (another head's, for example).
///
/// # Errors
/// [`crate::ErrorKind::Argument`] where the loss is not a scalar, [`crate::ErrorKind::Tensor`] where an operator fails.
pub fn backward(loss: &Tensor, parameters: &Parameters) -> Result<Gradients> {
    if loss.elem_count() != 1 {
        return Err(Error::argument(format!("backward: the loss has shape {:?}, expected a scalar", loss.dims())));
    }
    let mut store = loss.backward()?;
    let tensors = parameters.iter().map(|p| store.remove(p.var.as_tensor())).collect();
    Ok(Gradients { tensors, scale: 1.0 })
}

impl Gradients {
    /// The gradient of the parameter at `index`, scaled; `None` where the loss does not depend on it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] where the device fails.
    pub fn get(&self, index: usize) -> Result<Option<Tensor>> {
        match self.tensors.get(index) {
            Some(Some(t)) => Ok(Some((t * self.scale)?)),
            _ => Ok(None),
        }
    }

    pub(crate) fn raw(&self) -> (&[Option<Tensor>], f64) {
        (&self.tensors, self.scale)
    }

    /// Multiplies all gradients (by 1 / micro-steps, for example).
    pub fn scale(&mut self, factor: f64) {
        self.scale *= factor;
    }

    /// Adds the gradients of another micro-step of the same parameters.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] where the number of parameters differs.
    pub fn accumulate(&mut self, other: &Gradients) -> Result<()> {
        if self.tensors.len() != other.tensors.len() {
            return Err(Error::argument(format!(
                "accumulating gradients of {} parameters into those of {}",
                other.tensors.len(),
                self.tensors.len()
            )));
        }
        let ratio = other.scale / self.scale;
        for (mine, theirs) in self.tensors.iter_mut().zip(&other.tensors) {
            if let Some(theirs) = theirs {
                let theirs = if ratio == 1.0 { theirs.clone() } else { (theirs * ratio)? };
                *mine = Some(match mine.take() {
                    Some(mine) => (mine + theirs)?,
                    None => theirs,
                });
            }
        }
        Ok(())
    }

    /// The Euclidean norm of all gradients together.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] where the device fails.
    pub fn global_norm(&self) -> Result<f64> {
        let mut sum = 0.0;
        for t in self.tensors.iter().flatten() {
            sum += f64::from(t.sqr()?.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?);
        }
        Ok(sum.sqrt() * self.scale.abs())
    }

    /// Scales all gradients down so that their global norm is at most `max_norm` (Pascanu et al. 2013) and returns the norm
    /// that they had. A norm that is not finite is returned and nothing is scaled: the caller should skip the step.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] where the device fails.
    pub fn clip(&mut self, max_norm: f64) -> Result<f64> {
        let norm = self.global_norm()?;
        if norm.is_finite() && norm > max_norm {
            self.scale *= max_norm / norm;
        }
        Ok(norm)
    }
}
