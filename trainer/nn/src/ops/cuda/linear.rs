//! Linear layers: one or several side by side over the same input, with GELU where asked.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaDevice, CudaStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};

use super::launch::{Arg, Grid, Launcher, address, column_sums, pointer, tensor, with_storage};
use super::no_cpu;
use crate::gradients::deposit_tensor;

/// Parts of an output whose biases lie apart, at most.
pub(crate) const PARTS: usize = 3;

/// Slices of the rows in the sum for a bias's gradient.
const SLICES: usize = 64;

/// What the backward pass needs.
struct Saved {
    /// All weights `[n, k]` in the type of the activations.
    weight: Tensor,
    /// What GELU was applied to.
    before: Option<Tensor>,
}

/// `x [w₀; w₁; ..]ᵀ + [b₀; b₁; ..]`, then GELU where asked. The first weight is also an operand, so that the graph reaches
/// the parameters even where x has none.
pub(crate) struct Linear {
    layers: Vec<(Tensor, Tensor)>,
    gelu: bool,
    /// Whether a backward pass may follow.
    keep: bool,
    saved: OnceLock<Saved>,
}

impl Linear {
    /// One to [`PARTS`] weights `[n, k]` and biases `[n]`, all of one n; GELU only of one.
    pub(crate) fn new(layers: Vec<(Tensor, Tensor)>, gelu: bool, keep: bool) -> Self {
        Self { layers, gelu, keep, saved: OnceLock::new() }
    }

    /// All weights, one below the other, in the type of the activations.
    fn weight(&self, device: &CudaDevice, dtype: DType) -> Result<Tensor> {
        let (width, inputs) = self.layers[0].0.dims2()?;
        if let ([(weight, _)], DType::F32) = (self.layers.as_slice(), dtype) {
            return Ok(weight.detach());
        }
        let launcher = Launcher::new(device, dtype);
        let all = launcher.alloc(self.layers.len() * width * inputs)?;
        for (i, (weight, _)) in self.layers.iter().enumerate() {
            let to = pointer(&all, &Layout::contiguous_with_offset(width * inputs, i * width * inputs))?;
            let arguments = [address(weight)?, to, Arg::Count(width * inputs)];
            launcher.run("cast", Grid::elements(width * inputs), &arguments)?;
        }
        Ok(tensor(all, (self.layers.len() * width, inputs)))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        no_cpu("linear")
    }

    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        let launcher = Launcher::of(x);
        let weight = self.weight(launcher.device, launcher.dtype)?;
        let (outputs, inputs) = weight.dims2()?;
        let rows = xl.shape().elem_count() / inputs;
        let mut shape = xl.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        let flat = Layout::contiguous_with_offset((rows, inputs), xl.start_offset());
        let y = with_storage(&weight, |w, wl| x.matmul(w, (1, rows, outputs, inputs), &flat, &wl.transpose(0, 1)?))?;
        let n = rows * outputs;
        let (count, columns) = (Arg::Count(n), Arg::Count(outputs));
        let mut before = None;
        let y = if self.gelu {
            let out = launcher.alloc(n)?;
            let bias = address(&self.layers[0].1)?;
            let arguments = [launcher.whole(&y)?, launcher.whole(&out)?, count, columns, bias];
            launcher.run("add_bias_gelu", Grid::elements(n), &arguments)?;
            before = Some(tensor(y, (rows, outputs)));
            out
        } else {
            let mut biases = [Arg::NONE; PARTS];
            for (slot, (_, bias)) in biases.iter_mut().zip(&self.layers) {
                *slot = address(bias)?;
            }
            let width = Arg::Count(outputs / self.layers.len());
            let arguments = [launcher.whole(&y)?, count, columns, width, biases[0], biases[1], biases[2]];
            launcher.run("add_bias", Grid::elements(n), &arguments)?;
            y
        };
        if self.keep {
            // Filled once: an operator runs forward once.
            let _ = self.saved.set(Saved { weight, before });
        }
        Ok((y, shape.into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(saved) = self.saved.get() else {
            candle_core::bail!("linear: the forward pass kept nothing for a backward pass");
        };
        let (outputs, inputs) = saved.weight.dims2()?;
        let rows = x.elem_count() / inputs;
        let mut dy = gradient.contiguous()?.reshape((rows, outputs))?;
        if let Some(before) = &saved.before {
            dy = with_storage(&dy, |storage, layout| {
                let launcher = Launcher::of(storage);
                let n = rows * outputs;
                let dx = launcher.alloc(n)?;
                let arguments = [pointer(storage, layout)?, address(before)?, launcher.whole(&dx)?, Arg::Count(n)];
                launcher.run("gelu_backward", Grid::elements(n), &arguments)?;
                Ok(tensor(dx, (rows, outputs)))
            })?;
        }
        if self.layers.iter().any(|(w, b)| w.is_variable() || b.is_variable()) {
            let dw = dy.t()?.matmul(&x.detach().reshape((rows, inputs))?)?;
            let db = column_sums(&dy, SLICES)?;
            let width = outputs / self.layers.len();
            for (i, (weight, bias)) in self.layers.iter().enumerate() {
                for (parameter, gradient) in [(weight, &dw), (bias, &db)] {
                    if parameter.is_variable() {
                        deposit_tensor(parameter, gradient.narrow(0, i * width, width)?)?;
                    }
                }
            }
        }
        let dx = match x.track_op() {
            true => Some(dy.matmul(&saved.weight)?.reshape(x.shape())?),
            false => None,
        };
        Ok((dx, None))
    }
}
