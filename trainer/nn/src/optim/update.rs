//! One parameter's update, fused on the CPU and composite elsewhere.

use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor, Var};
use rayon::prelude::*;

use super::{Moments, OptimizerKind};
use crate::Result;
use crate::gradients::Gradient;
use crate::ops::cpu::simd::multiversion;
use crate::ops::cpu::with_elements;
#[cfg(feature = "cuda")]
use crate::ops::cuda;

/// An update with all of its factors resolved, f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    adam: bool,
    beta1: f32,
    beta2: f32,
    eps: f32,
    /// The gradient is multiplied by this.
    scale: f32,
    /// The weight is multiplied by this first (decoupled decay).
    shrink: f32,
    /// This times the weight is added to the gradient (L2).
    l2: f32,
    /// Learning rate over the first moment's bias correction.
    rate: f32,
    /// One over the root of the second moment's bias correction.
    correction: f32,
}

impl Rule {
    pub(crate) fn new(kind: &OptimizerKind, decay: bool, rate: f64, scale: f64, step: u64) -> Self {
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        let adam = |beta1: f64, beta2: f64, eps: f64, shrink: f64, l2: f64| Self {
            adam: true,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            eps: eps as f32,
            scale: scale as f32,
            shrink: shrink as f32,
            l2: l2 as f32,
            rate: (rate / (1.0 - beta1.powi(exponent))) as f32,
            correction: (1.0 / (1.0 - beta2.powi(exponent)).sqrt()) as f32,
        };
        match *kind {
            OptimizerKind::AdamW { beta1, beta2, eps, weight_decay } => {
                adam(beta1, beta2, eps, if decay { 1.0 - rate * weight_decay } else { 1.0 }, 0.0)
            }
            OptimizerKind::Adam { beta1, beta2, eps, weight_decay } => {
                adam(beta1, beta2, eps, 1.0, if decay { weight_decay } else { 0.0 })
            }
            OptimizerKind::Sgd { momentum, weight_decay } => Self {
                adam: false,
                beta1: momentum as f32,
                beta2: 0.0,
                eps: 1.0,
                scale: scale as f32,
                shrink: 1.0,
                l2: if decay { weight_decay as f32 } else { 0.0 },
                rate: rate as f32,
                correction: 1.0,
            },
        }
    }
}

multiversion! {
    fn adam_slice(rule: &Rule, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        let r = *rule;
        let (c1, c2) = (1.0 - r.beta1, 1.0 - r.beta2);
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * r.scale + r.l2 * *w;
            *m = r.beta1 * *m + c1 * g;
            *v = r.beta2 * *v + c2 * g * g;
            *w = *w * r.shrink - r.rate * *m / (v.sqrt() * r.correction + r.eps);
        }
    }
}

multiversion! {
    /// As `adam_slice` with a gradient of 0.
    fn adam_slice_without(rule: &Rule, w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let r = *rule;
        let (c1, c2) = (1.0 - r.beta1, 1.0 - r.beta2);
        for ((w, m), v) in w.iter_mut().zip(m).zip(v) {
            let g = r.l2 * *w;
            *m = r.beta1 * *m + c1 * g;
            *v = r.beta2 * *v + c2 * g * g;
            *w = *w * r.shrink - r.rate * *m / (v.sqrt() * r.correction + r.eps);
        }
    }
}

multiversion! {
    fn sgd_slice(rule: &Rule, w: &mut [f32], g: &[f32], m: &mut [f32]) {
        let r = *rule;
        for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
            *m = r.beta1 * *m + g * r.scale + r.l2 * *w;
            *w -= r.rate * *m;
        }
    }
}

impl Rule {
    /// Updates a slice; no gradient means 0.
    fn update(&self, w: &mut [f32], g: Option<&[f32]>, m: &mut [f32], v: &mut [f32]) {
        match (self.adam, g) {
            (true, Some(g)) => adam_slice(self, w, g, m, v),
            (true, None) => adam_slice_without(self, w, m, v),
            (false, Some(g)) => sgd_slice(self, w, g, m),
            (false, None) => {
                for (w, m) in w.iter_mut().zip(m) {
                    *m = self.beta1 * *m + self.l2 * *w;
                    *w -= self.rate * *m;
                }
            }
        }
    }
}

/// Elements a task works on: large enough to hide the scheduling, small enough to share out.
const CHUNK: usize = 1 << 15;

/// Rows of a table a task works on.
const CHUNK_ROWS: usize = 64;

struct Fused<'a, 'm> {
    rule: Rule,
    gradient: &'a [f32],
    /// Where the gradient is only of some rows: their ids, ascending, and the width of a row.
    rows: Option<(&'a [u32], usize)>,
    /// A mutex because candle hands the operator out by shared reference; it is never contended.
    moments: Mutex<(&'m mut [f32], &'m mut [f32])>,
}

impl Fused<'_, '_> {
    fn run(&self, w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let size = self.rows.map_or(CHUNK, |(_, width)| CHUNK_ROWS * width);
        // SGD has no second moment: an empty slice for each chunk.
        let v_chunks: Vec<&mut [f32]> = if v.is_empty() {
            w.chunks(size).map(|_| Default::default()).collect()
        } else {
            v.chunks_mut(size).collect()
        };
        let chunks = w.par_chunks_mut(size).zip(m.par_chunks_mut(size)).zip(v_chunks).enumerate();
        chunks.for_each(|(i, ((w, m), v))| match self.rows {
            None => self.rule.update(w, Some(&self.gradient[i * size..][..w.len()]), m, v),
            Some((ids, width)) => {
                let mut next = ids.partition_point(|&id| (id as usize) < i * CHUNK_ROWS);
                for (r, (w, m)) in w.chunks_exact_mut(width).zip(m.chunks_exact_mut(width)).enumerate() {
                    let here = ids.get(next).is_some_and(|&id| id as usize == i * CHUNK_ROWS + r);
                    let g = here.then(|| &self.gradient[next * width..][..width]);
                    next += usize::from(here);
                    let v = if v.is_empty() { Default::default() } else { &mut v[r * width..(r + 1) * width] };
                    self.rule.update(w, g, m, v);
                }
            }
        });
    }
}

impl InplaceOp1 for Fused<'_, '_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(w), Some((start, end))) = (w, layout.contiguous_offsets()) else {
            candle_core::bail!("optimizer step: expected a contiguous f32 tensor");
        };
        let Ok(mut guard) = self.moments.lock() else {
            candle_core::bail!("optimizer state was poisoned by a panic");
        };
        let (m, v) = &mut *guard;
        self.run(&mut w[start..end], m, v);
        Ok(())
    }
}

/// Applies a rule to a parameter.
pub(crate) fn apply(rule: &Rule, var: &Var, gradient: &Gradient, moments: &mut Moments) -> Result<()> {
    match moments {
        Moments::Host { first, second } => {
            let moments = Mutex::new((first.as_mut_slice(), second.as_mut_slice()));
            match gradient {
                Gradient::Rows(rows) => {
                    let width = var.dim(1)?;
                    let fused = Fused { rule: *rule, gradient: &rows.values, rows: Some((&rows.ids, width)), moments };
                    var.inplace_op1(&fused)?;
                }
                Gradient::Host(data, _) => {
                    var.inplace_op1(&Fused { rule: *rule, gradient: data, rows: None, moments })?
                }
                Gradient::Dense(tensor) => with_elements(tensor, |gradient| {
                    var.inplace_op1(&Fused { rule: *rule, gradient, rows: None, moments })
                })?,
            }
        }
        Moments::Device { first, second } => {
            let gradient = gradient.dense()?;
            #[cfg(feature = "cuda")]
            if cuda::fits(&[&gradient, first]) && cuda::are_parameters(&[var]) {
                return on_gpu(rule, var, &gradient, first, second.as_ref());
            }
            composite(rule, var, &gradient, first, second)?;
        }
    }
    Ok(())
}

#[cfg(feature = "cuda")]
fn on_gpu(rule: &Rule, var: &Var, gradient: &Tensor, first: &Tensor, second: Option<&Tensor>) -> Result<()> {
    let r = rule;
    let step = cuda::optimizer::Step {
        adam: r.adam,
        numbers: [r.beta1, r.beta2, r.eps, r.scale, r.shrink, r.l2, r.rate, r.correction],
        gradient: &gradient.contiguous()?,
        first,
        second,
    };
    Ok(var.inplace_op1(&step)?)
}

/// The definition of the update, out of plain candle operators.
fn composite(rule: &Rule, var: &Var, gradient: &Tensor, first: &mut Tensor, second: &mut Option<Tensor>) -> Result<()> {
    let f = f64::from;
    let w = var.as_detached_tensor();
    let mut g = (gradient.detach().to_dtype(w.dtype())? * f(rule.scale))?;
    if rule.l2 != 0.0 {
        g = (g + (&w * f(rule.l2))?)?;
    }
    let share = if rule.adam { 1.0 - f(rule.beta1) } else { 1.0 };
    *first = ((&*first * f(rule.beta1))? + (&g * share)?)?;
    let delta = match second {
        Some(v) => {
            *v = ((&*v * f(rule.beta2))? + (g.sqr()? * (1.0 - f(rule.beta2)))?)?;
            let root = ((v.sqrt()? * f(rule.correction))? + f(rule.eps))?;
            ((&*first / root)? * f(rule.rate))?
        }
        None => (&*first * f(rule.rate))?,
    };
    var.set(&((w * f(rule.shrink))? - delta)?)?;
    Ok(())
}
