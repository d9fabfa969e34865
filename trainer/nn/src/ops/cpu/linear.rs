//! Linear layers: one or several side by side over the same input, with GELU where asked.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::matrix::{self, Matrix};
use super::{buffer, column_sums, elements, rows_and_width, simd, with_elements};
use crate::gradients::deposit;

/// Rows of one task. More waste less on packing the weights anew, fewer share out better and keep a block in the cache.
const ROWS: usize = 256;

/// Parts into which each weight's gradient is cut.
const GRADIENT_PARTS: usize = 4;

/// `x [w₀; w₁; ..]ᵀ + [b₀; b₁; ..]`, then GELU where asked. The first weight is also an operand, so that the graph reaches
/// the parameters even where x has none.
pub(crate) struct Linear {
    pub(crate) weights: Vec<(Tensor, Tensor)>,
    pub(crate) gelu: bool,
    /// Whether a backward pass may follow.
    pub(crate) keep: bool,
    /// GELU's slope at each output, kept for the backward pass.
    pub(crate) slope: OnceLock<Vec<f32>>,
}

impl Linear {
    fn outputs(&self) -> Result<usize> {
        self.weights.iter().map(|(w, _)| w.dim(0)).sum()
    }

    fn forward(&self, x: &[f32], inputs: usize, total: usize) -> Result<Vec<f32>> {
        let rows = x.len() / inputs;
        let mut y = buffer(rows * total);
        let mut offset = 0;
        for (weight, bias) in &self.weights {
            let n = weight.dim(0)?;
            with_elements(weight, |w| {
                with_elements(bias, |b| {
                    let product = |x: &[f32], y: &mut [f32]| {
                        let rows = x.len() / inputs;
                        let (a, w) = (Matrix::new(x, rows, inputs, inputs), Matrix::new(w, n, inputs, inputs).t());
                        matrix::multiply(&mut y[offset..], total, false, 1.0, a, w);
                    };
                    let pairs = y.par_chunks_mut(ROWS * total).zip(x.par_chunks(ROWS * inputs));
                    if self.gelu && self.keep {
                        let mut slope = buffer(rows * total);
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
                            add_bias_at(y, offset, total, b);
                        });
                    }
                    Ok(())
                })
            })?;
            offset += n;
        }
        Ok(y)
    }

    /// `Σ dy_i w_i`, blocks of rows in parallel.
    fn input_gradient(&self, dy: &[f32], inputs: usize, total: usize) -> Result<Vec<f32>> {
        let mut dx = buffer(dy.len() / total * inputs);
        let mut offset = 0;
        for (weight, _) in &self.weights {
            let n = weight.dim(0)?;
            with_elements(weight, |w| {
                dx.par_chunks_mut(ROWS * inputs).zip(dy.par_chunks(ROWS * total)).for_each(|(dx, dy)| {
                    let a = Matrix::new(&dy[offset..], dx.len() / inputs, n, total);
                    matrix::multiply(dx, inputs, offset > 0, 1.0, a, Matrix::new(w, n, inputs, inputs));
                });
                Ok(())
            })?;
            offset += n;
        }
        Ok(dx)
    }

    /// `dyᵀ x` and the column sums of dy, to where parameters' gradients go.
    fn parameter_gradients(&self, x: &[f32], dy: &[f32], inputs: usize, total: usize) -> Result<()> {
        let rows = x.len() / inputs;
        let sums = column_sums(dy, total);
        let mut offset = 0;
        for (weight, bias) in &self.weights {
            let n = weight.dim(0)?;
            if weight.is_variable() {
                let mut dw = buffer(n * inputs);
                let part = n.div_ceil(GRADIENT_PARTS).next_multiple_of(16);
                dw.par_chunks_mut(part * inputs).enumerate().for_each(|(i, dw)| {
                    let a = Matrix::new(&dy[offset + i * part..], rows, dw.len() / inputs, total).t();
                    matrix::multiply(dw, inputs, false, 1.0, a, Matrix::new(x, rows, inputs, inputs));
                });
                deposit(weight, dw)?;
            }
            if bias.is_variable() {
                deposit(bias, sums[offset..offset + n].to_vec())?;
            }
            offset += n;
        }
        Ok(())
    }
}

fn add_bias_at(y: &mut [f32], offset: usize, total: usize, bias: &[f32]) {
    // The last row ends at the end of the slice: shift the view, not the rows.
    simd::add_bias(&mut y[offset..], total, bias);
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, inputs) = rows_and_width(xl)?;
        let total = self.outputs()?;
        let y = self.forward(elements(x, xl)?, inputs, total)?;
        let mut dims = xl.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = total;
        }
        Ok((CpuStorage::F32(y), dims.into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let inputs = x.dim(candle_core::D::Minus1)?;
        let total = result.dim(candle_core::D::Minus1)?;
        let scaled = match self.slope.get() {
            None => None,
            Some(slope) => Some(with_elements(gradient, |g| {
                let mut out = buffer(g.len());
                out.par_chunks_mut(super::BLOCK)
                    .zip(g.par_chunks(super::BLOCK))
                    .zip(slope.par_chunks(super::BLOCK))
                    .for_each(|((out, g), s)| simd::multiply(out, g, s));
                Ok(out)
            })?),
        };
        let dx = with_elements(gradient, |g| {
            let dy = scaled.as_deref().unwrap_or(g);
            with_elements(x, |x| self.parameter_gradients(x, dy, inputs, total))?;
            if x.track_op() { Ok(Some(self.input_gradient(dy, inputs, total)?)) } else { Ok(None) }
        })?;
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
        Ok((dx, None))
    }
}
