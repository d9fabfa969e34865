//! Layer norm, with the residual sum and its dropout in the same pass. The backward pass computes the rows again: they cost
//! less to read twice than to store.

use candle_core::{CpuStorage, CudaStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor};

use super::launch::{Arg, Grid, Launcher, address, column_sums, pointer, tensor, with_storage};
use super::{drop_arguments, no_cpu};
use crate::gradients::deposit_tensor;
use crate::ops::Dropout;

/// Blocks of the backward pass, each with its own part of the sums for weight and bias.
const BLOCKS: usize = 264;

/// `LayerNorm(dropout(x) + residual)`. The weight is an operand so that the graph reaches the parameters.
pub(crate) struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) eps: f32,
    /// Of x, before the residual is added.
    pub(crate) dropout: Option<Dropout>,
}

impl LayerNorm {
    /// Whether a row of this width fits into the shared memory that the backward pass needs.
    pub(crate) fn holds(width: usize) -> bool {
        Grid::holds(3 * width)
    }

    fn forward(&self, x: &CudaStorage, xl: &Layout, residual: Arg) -> Result<(CudaStorage, Shape)> {
        let launcher = Launcher::of(x);
        let width = self.weight.elem_count();
        let rows = xl.shape().elem_count() / width;
        let y = launcher.alloc(rows * width)?;
        let [key, threshold, scale] = drop_arguments(self.dropout);
        let (weight, bias) = (address(&self.weight)?, address(&self.bias)?);
        let (from, to) = (pointer(x, xl)?, launcher.whole(&y)?);
        let numbers = [Arg::Count(rows), Arg::Count(width), Arg::Real(self.eps)];
        let [rows_argument, width_argument, eps] = numbers;
        let arguments = [from, residual, weight, bias, to, rows_argument, width_argument, eps, key, threshold, scale];
        launcher.run("norm", Grid::rows(rows, usize::MAX, width), &arguments)?;
        Ok((y, xl.shape().clone()))
    }

    /// The gradients of x and of the residual.
    fn backward(&self, x: &Tensor, residual: Option<&Tensor>, gradient: &Tensor) -> Result<(Tensor, Tensor)> {
        let width = self.weight.elem_count();
        let rows = x.elem_count() / width;
        let gradient = gradient.contiguous()?;
        let grid = Grid::rows(rows, BLOCKS, 3 * width);
        let blocks = grid.blocks.0 as usize;
        let (ds, dx, partial) = with_storage(&gradient, |dy, layout| {
            let launcher = Launcher::of(dy);
            let ds = launcher.alloc(rows * width)?;
            let dx = self.dropout.map(|_| launcher.alloc(rows * width)).transpose()?;
            let partial = launcher.alloc_as(blocks * 2 * width, DType::F32)?;
            let [key, threshold, scale] = drop_arguments(self.dropout);
            let arguments = [
                pointer(dy, layout)?,
                address(x)?,
                residual.map_or(Ok(Arg::NONE), address)?,
                address(&self.weight)?,
                launcher.whole(&ds)?,
                dx.as_ref().map_or(Ok(Arg::NONE), |dx| launcher.whole(dx))?,
                launcher.whole(&partial)?,
                Arg::Count(rows),
                Arg::Count(width),
                Arg::Real(self.eps),
                key,
                threshold,
                scale,
            ];
            launcher.run("norm_backward", grid, &arguments)?;
            let ds = tensor(ds, x.shape());
            let dx = dx.map_or_else(|| ds.clone(), |dx| tensor(dx, x.shape()));
            Ok((ds, dx, tensor(partial, (blocks, 2 * width))))
        })?;
        if self.weight.is_variable() || self.bias.is_variable() {
            let sums = column_sums(&partial, 8)?;
            for (i, parameter) in [&self.weight, &self.bias].into_iter().enumerate() {
                if parameter.is_variable() {
                    deposit_tensor(parameter, sums.narrow(0, i * width, width)?)?;
                }
            }
        }
        Ok((dx, ds))
    }
}

impl CustomOp2 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        no_cpu("layer norm")
    }

    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.forward(x, xl, Arg::NONE)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, _) = self.backward(x, None, gradient)?;
        Ok((x.track_op().then_some(dx), None))
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "residual-layer-norm"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        no_cpu("layer norm")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        residual: &CudaStorage,
        rl: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.forward(x, xl, pointer(residual, rl)?)
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, ds) = self.backward(x, Some(residual), gradient)?;
        Ok((x.track_op().then_some(dx), residual.track_op().then_some(ds), None))
    }
}
