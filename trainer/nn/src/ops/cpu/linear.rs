//! Linear layers: one or several side by side over the same input, with GELU where asked.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::int8::Packed;
use super::matrix::{self, Matrix};
use super::{BLOCK, Buffer, bf16, column_sums, elements, simd, with_elements};
use crate::gradients::deposit;
use crate::precision::Precision;

/// Rows of one task. More waste less on packing the weights anew, fewer share out better and keep a block in the cache.
const ROWS: usize = 256;

/// Parts into which each weight's gradient is cut.
const GRADIENT_PARTS: usize = 4;

/// `x [w₀; w₁; ..]ᵀ + [b₀; b₁; ..]`, then GELU where asked. The first weight is also an operand, so that the graph reaches
/// the parameters even where x has none.
pub(crate) struct Linear {
    weights: Vec<(Tensor, Tensor)>,
    precision: Precision,
    gelu: bool,
    /// Whether a backward pass may follow.
    keep: bool,
    /// GELU's slope at each output, kept for the backward pass.
    slope: OnceLock<Buffer>,
}

impl Linear {
    /// At least one weight `[n, k]` and bias `[n]`; GELU only of one; int8 only where no backward pass may follow.
    pub(crate) fn new(weights: Vec<(Tensor, Tensor)>, precision: Precision, gelu: bool, keep: bool) -> Self {
        debug_assert!(!(keep && precision == Precision::Int8), "int8 products have no backward pass");
        Self { weights, precision, gelu, keep, slope: OnceLock::new() }
    }

    /// A product in this layer's precision; that of int8's parts which are not int8 is f32.
    fn multiply(&self, dst: &mut [f32], stride: usize, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
        match self.precision {
            Precision::Bf16 => bf16::multiply(dst, stride, accumulate, a, b),
            Precision::F32 | Precision::Int8 => matrix::multiply(dst, stride, accumulate, 1.0, a, b),
        }
    }

    fn inputs(&self) -> Result<usize> {
        match self.weights.first() {
            Some((w, _)) => w.dim(1),
            None => candle_core::bail!("linear without a weight"),
        }
    }

    fn outputs(&self) -> Result<usize> {
        self.weights.iter().map(|(w, _)| w.dim(0)).sum()
    }

    /// `x` has rows of the weights' inputs.
    pub(crate) fn forward(&self, x: &[f32]) -> Result<Buffer> {
        let (inputs, total) = (self.inputs()?, self.outputs()?);
        let rows = x.len() / inputs;
        let mut y = Buffer::stale(rows * total);
        let mut offset = 0;
        for (weight, bias) in &self.weights {
            let n = weight.dim(0)?;
            with_elements(weight, |w| {
                with_elements(bias, |b| {
                    let packed = (self.precision == Precision::Int8).then(|| Packed::new(w, inputs));
                    let product = |x: &[f32], y: &mut [f32]| match &packed {
                        Some(packed) => packed.multiply(x, &mut y[offset..], total),
                        None => {
                            let rows = x.len() / inputs;
                            let (a, w) = (Matrix::new(x, rows, inputs, inputs), Matrix::new(w, n, inputs, inputs).t());
                            self.multiply(&mut y[offset..], total, false, a, w);
                        }
                    };
                    let pairs = y.par_chunks_mut(ROWS * total).zip(x.par_chunks(ROWS * inputs));
                    if self.gelu && self.keep {
                        let mut slope = Buffer::stale(rows * total);
                        pairs.zip(slope.par_chunks_mut(ROWS * total)).for_each(|((y, x), slope)| {
                            product(x, y);
                            simd::bias_gelu_slope(y, b, slope);
                        });
                        // Filled once: an operator runs forward once.
                        let _ = self.slope.set(slope);
                    } else if self.gelu {
                        pairs.for_each(|(y, x)| {
                            product(x, y);
                            simd::bias_gelu(y, b);
                        });
                    } else {
                        pairs.for_each(|(y, x)| {
                            product(x, y);
                            simd::add_bias(&mut y[offset..], total, b);
                        });
                    }
                    Ok(())
                })
            })?;
            offset += n;
        }
        Ok(y)
    }

    /// Hands over the parameters' gradients; writes x's to `dx`, or adds it where `accumulate`.
    pub(crate) fn backward(&self, x: &[f32], dy: &[f32], dx: Option<&mut [f32]>, accumulate: bool) -> Result<()> {
        let scaled = self.slope.get().map(|slope| {
            let mut out = Buffer::stale(dy.len());
            out.par_chunks_mut(BLOCK)
                .zip(dy.par_chunks(BLOCK))
                .zip(slope.par_chunks(BLOCK))
                .for_each(|((out, dy), s)| simd::multiply(out, dy, s));
            out
        });
        let dy = scaled.as_deref().unwrap_or(dy);
        self.parameter_gradients(x, dy)?;
        dx.map_or(Ok(()), |dx| self.input_gradient(dy, dx, accumulate))
    }

    /// `Σ dy_i w_i`, blocks of rows in parallel.
    fn input_gradient(&self, dy: &[f32], dx: &mut [f32], accumulate: bool) -> Result<()> {
        let (inputs, total) = (self.inputs()?, self.outputs()?);
        let mut offset = 0;
        for (weight, _) in &self.weights {
            let n = weight.dim(0)?;
            with_elements(weight, |w| {
                dx.par_chunks_mut(ROWS * inputs).zip(dy.par_chunks(ROWS * total)).for_each(|(dx, dy)| {
                    let a = Matrix::new(&dy[offset..], dx.len() / inputs, n, total);
                    self.multiply(dx, inputs, accumulate || offset > 0, a, Matrix::new(w, n, inputs, inputs));
                });
                Ok(())
            })?;
            offset += n;
        }
        Ok(())
    }

    /// `dyᵀ x` and the column sums of dy, to where parameters' gradients go.
    fn parameter_gradients(&self, x: &[f32], dy: &[f32]) -> Result<()> {
        let (inputs, total) = (self.inputs()?, self.outputs()?);
        let rows = x.len() / inputs;
        let sums = column_sums(dy, total);
        let mut offset = 0;
        for (weight, bias) in &self.weights {
            let n = weight.dim(0)?;
            if weight.is_variable() {
                let mut dw = Buffer::stale(n * inputs);
                let part = n.div_ceil(GRADIENT_PARTS).next_multiple_of(16);
                dw.par_chunks_mut(part * inputs).enumerate().for_each(|(i, dw)| {
                    let a = Matrix::new(&dy[offset + i * part..], rows, dw.len() / inputs, total).t();
                    self.multiply(dw, inputs, false, a, Matrix::new(x, rows, inputs, inputs));
                });
                deposit(weight, dw)?;
            }
            if bias.is_variable() {
                let mut db = Buffer::stale(n);
                db.copy_from_slice(&sums[offset..offset + n]);
                deposit(bias, db)?;
            }
            offset += n;
        }
        Ok(())
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.forward(elements(x, xl)?)?.into_vec();
        let mut dims = xl.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.outputs()?;
        }
        Ok((CpuStorage::F32(y), dims.into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut dx = x.track_op().then(|| Buffer::stale(x.elem_count()));
        with_elements(gradient, |dy| with_elements(x, |x| self.backward(x, dy, dx.as_deref_mut(), false)))?;
        let dx = dx.map(|dx| Tensor::from_vec(dx.into_vec(), x.shape(), x.device())).transpose()?;
        Ok((dx, None))
    }
}
