//! Gradients by parameter.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor, TensorId};
use rayon::prelude::*;

use crate::ops::cpu::{BLOCK, Buffer, fits, simd, with_elements};
use crate::{Error, Parameters, Result};

/// One parameter's gradient.
#[derive(Debug, Clone)]
pub(crate) enum Gradient {
    /// Of the parameter's shape.
    Dense(Tensor),
    /// The same in recycled memory of the CPU.
    Host(Arc<Buffer>, Shape),
    /// Some rows of a table; all others are 0.
    Rows(Arc<Rows>),
}

/// Rows of a table's gradient.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Which rows, ascending.
    pub(crate) ids: Vec<u32>,
    /// Their values, one after the other.
    pub(crate) values: Buffer,
    /// The table's shape.
    shape: (usize, usize),
}

impl Rows {
    fn dense(&self) -> Result<Tensor> {
        let (rows, width) = self.shape;
        let mut data = vec![0.0; rows * width];
        for (id, row) in self.ids.iter().zip(self.values.chunks_exact(width)) {
            data[*id as usize * width..][..width].copy_from_slice(row);
        }
        Ok(Tensor::from_vec(data, self.shape, &Device::Cpu)?)
    }

    fn merged(&self, other: &Self, factor: f32) -> Self {
        let width = self.shape.1;
        let (mut ids, mut i, mut j) = (Vec::new(), 0, 0);
        let mut values = Buffer::zeros((self.ids.len() + other.ids.len()) * width);
        while i < self.ids.len() || j < other.ids.len() {
            let mine = self.ids.get(i).copied().unwrap_or(u32::MAX);
            let theirs = other.ids.get(j).copied().unwrap_or(u32::MAX);
            let row = &mut values[ids.len() * width..][..width];
            ids.push(mine.min(theirs));
            if mine <= theirs {
                simd::add_assign(row, &self.values[i * width..][..width]);
                i += 1;
            }
            if theirs <= mine {
                row.iter_mut().zip(&other.values[j * width..][..width]).for_each(|(v, x)| *v += x * factor);
                j += 1;
            }
        }
        Self { ids, values, shape: self.shape }
    }
}

/// Sums and what users see are f32 where a product of bfloat16 gave a gradient.
fn whole(gradient: Tensor) -> Result<Tensor> {
    match gradient.dtype() {
        DType::BF16 | DType::F16 => Ok(gradient.to_dtype(DType::F32)?),
        _ => Ok(gradient),
    }
}

impl Gradient {
    pub(crate) fn dense(&self) -> Result<Tensor> {
        match self {
            Self::Dense(t) => Ok(t.clone()),
            Self::Host(data, shape) => Ok(Tensor::from_slice(data, shape, &Device::Cpu)?),
            Self::Rows(rows) => rows.dense(),
        }
    }

    /// `self + factor * other`.
    fn plus(self, other: &Self, factor: f64) -> Result<Self> {
        if let (Self::Rows(mine), Self::Rows(theirs)) = (&self, other) {
            return Ok(Self::Rows(Arc::new(mine.merged(theirs, factor as f32))));
        }
        if let (Self::Host(mine, shape), Self::Host(theirs, _)) = (&self, other) {
            let mut sum = Buffer::stale(mine.len());
            let factor = factor as f32;
            sum.par_chunks_mut(BLOCK)
                .zip(mine.par_chunks(BLOCK))
                .zip(theirs.par_chunks(BLOCK))
                .for_each(|((s, a), b)| s.iter_mut().zip(a).zip(b).for_each(|((s, a), b)| *s = a + b * factor));
            return Ok(Self::Host(Arc::new(sum), shape.clone()));
        }
        let (mine, theirs) = (whole(self.dense()?)?, whole(other.dense()?)?);
        let theirs = if factor == 1.0 { theirs } else { (theirs * factor)? };
        Ok(Self::Dense((mine + theirs)?.detach()))
    }

    fn sum_of_squares(&self) -> Result<f64> {
        let sum = |x: &[f32]| x.par_chunks(BLOCK).map(simd::sum_of_squares).collect::<Vec<f64>>().iter().sum::<f64>();
        match self {
            Self::Rows(rows) => Ok(sum(&rows.values)),
            Self::Host(data, _) => Ok(sum(data)),
            Self::Dense(t) if fits(&[t]) => Ok(with_elements(t, |x| Ok(sum(x)))?),
            Self::Dense(t) => Ok(f64::from(t.sqr()?.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?)),
        }
    }
}

thread_local! {
    /// Where the fast operators put parameters' gradients while [`backward`] runs on this thread.
    static RUNNING: RefCell<Option<HashMap<TensorId, Gradient>>> = const { RefCell::new(None) };
}

/// Takes the running collection back on every way out.
struct Collection;

impl Collection {
    fn start() -> Self {
        RUNNING.with_borrow_mut(|r| *r = Some(HashMap::new()));
        Self
    }

    fn finish(self) -> HashMap<TensorId, Gradient> {
        RUNNING.take().unwrap_or_default()
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        RUNNING.set(None);
    }
}

fn put(parameter: &Tensor, gradient: Gradient) -> candle_core::Result<()> {
    RUNNING.with_borrow_mut(|running| {
        let Some(running) = running else {
            candle_core::bail!(
                "the fast operators need attar_nn::backward(&loss, parameters) in place of loss.backward()"
            );
        };
        match running.entry(parameter.id()) {
            Entry::Vacant(entry) => {
                entry.insert(gradient);
            }
            Entry::Occupied(mut entry) => {
                let sum = entry.get().clone().plus(&gradient, 1.0).map_err(candle_core::Error::wrap)?;
                entry.insert(sum);
            }
        }
        Ok(())
    })
}

/// Adds to a parameter's gradient in the running [`backward`].
pub(crate) fn deposit(parameter: &Tensor, values: Buffer) -> candle_core::Result<()> {
    put(parameter, Gradient::Host(Arc::new(values), parameter.shape().clone()))
}

/// Adds to a parameter's gradient, of its shape, in the running [`backward`].
#[cfg(feature = "cuda")]
pub(crate) fn deposit_tensor(parameter: &Tensor, gradient: Tensor) -> candle_core::Result<()> {
    put(parameter, Gradient::Dense(gradient))
}

/// Adds to some rows of a table's gradient; ids ascend.
pub(crate) fn deposit_rows(parameter: &Tensor, ids: Vec<u32>, values: Buffer) -> candle_core::Result<()> {
    put(parameter, Gradient::Rows(Arc::new(Rows { ids, values, shape: parameter.dims2()? })))
}

/// The gradient of a loss for each parameter, in the order of the [`Parameters`] it was computed for.
#[derive(Debug, Clone)]
pub struct Gradients {
    entries: Vec<Option<Gradient>>,
    /// Every gradient is to be multiplied by this: scaling and clipping cost no pass over the data.
    scale: f64,
}

/// Back-propagates a scalar loss to the parameters. (candle's own `loss.backward()` is an error: the fast operators hand
/// parameters' gradients over here, some of them sparse.)
///
/// A parameter that the loss does not depend on has no gradient (another head's, for example).
///
/// # Errors
/// [`crate::ErrorKind::Argument`] where the loss is not a scalar or has no graph ([`crate::Mode::Eval`] records none),
/// [`crate::ErrorKind::Tensor`] where an operator fails.
pub fn backward(loss: &Tensor, parameters: &Parameters) -> Result<Gradients> {
    if loss.elem_count() != 1 || !loss.track_op() {
        return Err(Error::argument(format!(
            "backward: the loss has shape {:?} and {} graph, expected a scalar with one (Mode::Train records it)",
            loss.dims(),
            if loss.track_op() { "a" } else { "no" }
        )));
    }
    let collection = Collection::start();
    let mut store = loss.backward()?;
    let mut deposited = collection.finish();
    let mut entries = Vec::with_capacity(parameters.len());
    for p in parameters {
        let in_graph = store.remove(p.var.as_tensor()).map(Gradient::Dense);
        entries.push(match (deposited.remove(&p.var.id()), in_graph) {
            (Some(a), Some(b)) => Some(a.plus(&b, 1.0)?),
            (one, other) => one.or(other),
        });
    }
    Ok(Gradients { entries, scale: 1.0 })
}

impl Gradients {
    /// The gradient of the parameter at `index`, scaled and dense; `None` where the loss does not depend on it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] where the device fails.
    pub fn get(&self, index: usize) -> Result<Option<Tensor>> {
        match self.entries.get(index) {
            Some(Some(g)) => Ok(Some((whole(g.dense()?)? * self.scale)?)),
            _ => Ok(None),
        }
    }

    pub(crate) fn raw(&self) -> (&[Option<Gradient>], f64) {
        (&self.entries, self.scale)
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
        if self.entries.len() != other.entries.len() {
            return Err(Error::argument(format!(
                "accumulating gradients of {} parameters into those of {}",
                other.entries.len(),
                self.entries.len()
            )));
        }
        if self.scale != other.scale {
            // Make the scale part of the values, so that any two (0 among them) add up.
            for entry in self.entries.iter_mut().flatten() {
                *entry = Gradient::Dense((whole(entry.dense()?)? * self.scale)?);
            }
            self.scale = 1.0;
        }
        let factor = if self.scale == other.scale { 1.0 } else { other.scale };
        for (mine, theirs) in self.entries.iter_mut().zip(&other.entries) {
            let Some(theirs) = theirs else { continue };
            *mine = Some(match mine.take() {
                Some(mine) => mine.plus(theirs, factor)?,
                None if factor == 1.0 => theirs.clone(),
                None => Gradient::Dense((whole(theirs.dense()?)? * factor)?),
            });
        }
        Ok(())
    }

    /// The Euclidean norm of all gradients together.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] where the device fails.
    pub fn global_norm(&self) -> Result<f64> {
        let mut sum = 0.0;
        #[cfg(feature = "cuda")]
        let mut on_gpu = Vec::new();
        for gradient in self.entries.iter().flatten() {
            #[cfg(feature = "cuda")]
            if let Gradient::Dense(t) = gradient
                && crate::ops::cuda::fits(&[t])
            {
                on_gpu.push(t);
                continue;
            }
            sum += gradient.sum_of_squares()?;
        }
        #[cfg(feature = "cuda")]
        {
            sum += crate::ops::cuda::optimizer::sums_of_squares(&on_gpu)?.iter().sum::<f64>();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 and 2⁻⁹ are bfloat16 numbers, their sum is none.
    #[test]
    #[allow(clippy::unwrap_used)]
    fn bfloat16_gradients_add_up_in_f32() {
        let half = |x: f32| Tensor::new(&[x], &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
        let of = |x: f32, scale: f64| Gradients { entries: vec![Some(Gradient::Dense(half(x)))], scale };
        let value = |g: &Gradients| g.get(0).unwrap().unwrap().to_vec1::<f32>().unwrap()[0];
        let small = 1.0 / 512.0;
        let mut sum = of(1.0, 1.0);
        sum.accumulate(&of(small, 1.0)).unwrap();
        assert_eq!(value(&sum), 1.0 + small);
        let mut scaled = of(1.0, 1.0);
        scaled.accumulate(&of(1.0, f64::from(small))).unwrap();
        assert_eq!(value(&scaled), 1.0 + small);
    }
}
