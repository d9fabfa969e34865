//! Layer norm, with the residual sum and its dropout in the same pass.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::simd::{self, lane_sum, multiversion};
use super::{Buffer, SUM_ROWS, add_partial, elements, with_elements};
use crate::gradients::deposit;
use crate::ops::{Dropout, mask_bits};

/// What the backward pass needs.
struct Saved {
    /// The rows before weight and bias: mean 0, variance 1.
    normed: Buffer,
    /// One over the standard deviation of each row.
    inverse: Buffer,
}

/// `LayerNorm(dropout(x) + residual)`. The weight is an operand so that the graph reaches the parameters.
pub(crate) struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) eps: f32,
    /// Of x, before the residual is added.
    pub(crate) dropout: Option<Dropout>,
    pub(crate) keep: bool,
    saved: OnceLock<Saved>,
}

/// One block of rows of the forward pass.
struct Block<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    /// Where the block begins in the whole tensor.
    first: usize,
    y: &'a mut [f32],
    normed: &'a mut [f32],
    inverse: &'a mut [f32],
}

multiversion! {
    fn forward_block(block: Block<'_>, weight: &[f32], bias: &[f32], eps: f32, dropout: Option<Dropout>) {
        let width = weight.len();
        let Block { x, residual, first, y, normed, inverse } = block;
        for (r, inverse) in inverse.iter_mut().enumerate() {
            let at = r * width..(r + 1) * width;
            let (x, y, normed) = (&x[at.clone()], &mut y[at.clone()], &mut normed[at.clone()]);
            match dropout {
                Some(d) => {
                    let (threshold, scale) = (d.threshold(), d.scale());
                    for (i, (s, x)) in normed.iter_mut().zip(x).enumerate() {
                        let keep = mask_bits(d.key, (first + r * width).wrapping_add(i)) >= threshold;
                        *s = if keep { x * scale } else { 0.0 };
                    }
                }
                None => normed.copy_from_slice(x),
            }
            if let Some(residual) = residual {
                for (s, x) in normed.iter_mut().zip(&residual[at]) {
                    *s += x;
                }
            }
            let mean = lane_sum(width, |i| normed[i]) / width as f32;
            // Two passes: the row is in the first-level cache, and the one-pass formula cancels.
            let variance = lane_sum(width, |i| { let c = normed[i] - mean; c * c }) / width as f32;
            *inverse = 1.0 / (variance + eps).sqrt();
            for (((s, y), w), b) in normed.iter_mut().zip(y).zip(weight).zip(bias) {
                *s = (*s - mean) * *inverse;
                *y = *s * w + b;
            }
        }
    }
}

/// One block of rows of the backward pass.
struct BackBlock<'a> {
    dy: &'a [f32],
    normed: &'a [f32],
    inverse: &'a [f32],
    /// The gradient of the sum under the norm.
    ds: &'a mut [f32],
}

multiversion! {
    /// Fills `ds`; returns this block's part of the gradients of weight and bias, one after the other.
    fn backward_block(block: BackBlock<'_>, weight: &[f32]) -> Vec<f32> {
        let width = weight.len();
        let mut sums = vec![0.0f32; 2 * width];
        let (dw, db) = sums.split_at_mut(width);
        let BackBlock { dy, normed, inverse, ds } = block;
        for (r, inverse) in inverse.iter().enumerate() {
            let at = r * width..(r + 1) * width;
            let (dy, n, ds) = (&dy[at.clone()], &normed[at.clone()], &mut ds[at]);
            let mean = lane_sum(width, |i| dy[i] * weight[i]) / width as f32;
            let along = lane_sum(width, |i| dy[i] * weight[i] * n[i]) / width as f32;
            for i in 0..width {
                ds[i] = (dy[i] * weight[i] - mean - n[i] * along) * inverse;
            }
            for i in 0..width {
                dw[i] += dy[i] * n[i];
                db[i] += dy[i];
            }
        }
        sums
    }
}

impl LayerNorm {
    pub(crate) fn new(weight: &Tensor, bias: &Tensor, eps: f64, dropout: Option<Dropout>, keep: bool) -> Self {
        Self { weight: weight.clone(), bias: bias.clone(), eps: eps as f32, dropout, keep, saved: OnceLock::new() }
    }

    pub(crate) fn forward(&self, x: &[f32], residual: Option<&[f32]>) -> Result<Buffer> {
        let width = self.weight.elem_count();
        let mut y = Buffer::stale(x.len());
        let (mut normed, mut inverse) = (Buffer::stale(x.len()), Buffer::stale(x.len() / width));
        let block = SUM_ROWS * width;
        with_elements(&self.weight, |weight| {
            with_elements(&self.bias, |bias| {
                let outputs =
                    y.par_chunks_mut(block).zip(normed.par_chunks_mut(block)).zip(inverse.par_chunks_mut(SUM_ROWS));
                outputs.zip(x.par_chunks(block)).enumerate().for_each(|(i, (((y, normed), inverse), x))| {
                    let first = i * block;
                    let residual = residual.map(|r| &r[first..first + x.len()]);
                    forward_block(
                        Block { x, residual, first, y, normed, inverse },
                        weight,
                        bias,
                        self.eps,
                        self.dropout,
                    );
                });
                Ok(())
            })
        })?;
        if self.keep {
            // Filled once: an operator runs forward once.
            let _ = self.saved.set(Saved { normed, inverse });
        }
        Ok(y)
    }

    /// The gradients of the sum under the norm (the residual's) and, where it differs, of x.
    pub(crate) fn backward(&self, dy: &[f32]) -> Result<(Buffer, Option<Buffer>)> {
        let Some(saved) = self.saved.get() else {
            candle_core::bail!("layer norm: the forward pass kept nothing for a backward pass");
        };
        let width = self.weight.elem_count();
        let block = SUM_ROWS * width;
        let mut ds = Buffer::stale(saved.normed.len());
        let partial: Vec<Vec<f32>> = with_elements(&self.weight, |weight| {
            let inputs =
                dy.par_chunks(block).zip(saved.normed.par_chunks(block)).zip(saved.inverse.par_chunks(SUM_ROWS));
            Ok(ds
                .par_chunks_mut(block)
                .zip(inputs)
                .map(|(ds, ((dy, normed), inverse))| backward_block(BackBlock { dy, normed, inverse, ds }, weight))
                .collect())
        })?;
        let sums = add_partial(partial, 2 * width);
        for (parameter, sums) in [&self.weight, &self.bias].into_iter().zip(sums.chunks_exact(width)) {
            if parameter.is_variable() {
                let mut gradient = Buffer::stale(width);
                gradient.copy_from_slice(sums);
                deposit(parameter, gradient)?;
            }
        }
        let dx = self.dropout.map(|dropout| {
            let mut dx = Buffer::stale(ds.len());
            dx.par_chunks_mut(block)
                .zip(ds.par_chunks(block))
                .enumerate()
                .for_each(|(i, (dx, ds))| simd::drop_elements(dx, ds, dropout, i * block));
            dx
        });
        Ok((ds, dx))
    }

    /// The gradients of x and of the residual as tensors.
    fn backward_tensors(&self, gradient: &Tensor) -> Result<(Tensor, Tensor)> {
        let (ds, dx) = with_elements(gradient, |dy| self.backward(dy))?;
        let tensor = |data: Buffer| Tensor::from_vec(data.into_vec(), gradient.shape(), gradient.device());
        let ds = tensor(ds)?;
        let dx = dx.map(tensor).transpose()?.unwrap_or_else(|| ds.clone());
        Ok((dx, ds))
    }
}

impl CustomOp2 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.forward(elements(x, xl)?, None)?.into_vec()), xl.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, _) = self.backward_tensors(gradient)?;
        Ok((x.track_op().then_some(dx), None))
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "residual-layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        residual: &CpuStorage,
        rl: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = self.forward(elements(x, xl)?, Some(elements(residual, rl)?))?;
        Ok((CpuStorage::F32(y.into_vec()), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, ds) = self.backward_tensors(gradient)?;
        Ok((x.track_op().then_some(dx), residual.track_op().then_some(ds), None))
    }
}
