//! One parameter's update, fused on the CPU and composite elsewhere.

use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var};
use rayon::prelude::*;

use super::{Moments, OptimizerKind};
use crate::Result;

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

    fn adam_slice(&self, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        let (c1, c2) = (1.0 - self.beta1, 1.0 - self.beta2);
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * self.scale + self.l2 * *w;
            *m = self.beta1 * *m + c1 * g;
            *v = self.beta2 * *v + c2 * g * g;
            *w = *w * self.shrink - self.rate * *m / (v.sqrt() * self.correction + self.eps);
        }
    }

    fn sgd_slice(&self, w: &mut [f32], g: &[f32], m: &mut [f32]) {
        for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
            *m = self.beta1 * *m + g * self.scale + self.l2 * *w;
            *w -= self.rate * *m;
        }
    }
}

/// Elements a task works on: large enough to hide the scheduling, small enough to share out.
const CHUNK: usize = 1 << 15;

struct Fused<'a> {
    rule: Rule,
    /// A mutex because candle hands the operator out by shared reference; it is never contended.
    moments: Mutex<(&'a mut [f32], &'a mut [f32])>,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, wl: &Layout, g: &CpuStorage, gl: &Layout) -> candle_core::Result<()> {
        let (Some((w0, w1)), Some((g0, g1))) = (wl.contiguous_offsets(), gl.contiguous_offsets()) else {
            candle_core::bail!("optimizer step on a tensor that is not contiguous");
        };
        let (CpuStorage::F32(w), CpuStorage::F32(g)) = (w, g) else {
            candle_core::bail!("optimizer step on tensors that are not f32");
        };
        let (w, g) = (&mut w[w0..w1], &g[g0..g1]);
        let Ok(mut guard) = self.moments.lock() else {
            candle_core::bail!("optimizer state was poisoned by a panic");
        };
        let (m, v) = &mut *guard;
        let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(m.par_chunks_mut(CHUNK));
        if self.rule.adam {
            chunks.zip(v.par_chunks_mut(CHUNK)).for_each(|(((w, g), m), v)| self.rule.adam_slice(w, g, m, v));
        } else {
            chunks.for_each(|((w, g), m)| self.rule.sgd_slice(w, g, m));
        }
        Ok(())
    }
}

/// Applies a rule to a parameter.
pub(crate) fn apply(rule: &Rule, var: &Var, gradient: &Tensor, moments: &mut Moments) -> Result<()> {
    match moments {
        Moments::Host { first, second } => {
            let fused = Fused { rule: *rule, moments: Mutex::new((first, second)) };
            var.inplace_op2(&gradient.contiguous()?, &fused)?;
        }
        Moments::Device { first, second } => composite(rule, var, gradient, first, second)?,
    }
    Ok(())
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
