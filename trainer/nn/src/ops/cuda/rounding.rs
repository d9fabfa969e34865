//! Rows rounded to int8 and back, for training with an int8 runtime's roundings.

use candle_core::cuda::CudaStorageSlice;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, InplaceOp1, Layout, Result, Shape, Tensor};

use super::launch::{Arg, Grid, Launcher, pointer};
use super::no_cpu;

/// Activations rounded along the last dimension; the gradient passes as it is (straight-through).
pub(crate) struct RoundActivations;

impl CustomOp1 for RoundActivations {
    fn name(&self) -> &'static str {
        "round-activations"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        no_cpu("rounding of activations")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let launcher = Launcher::of(x);
        let (rows, width) = rows_of(layout);
        let y = launcher.alloc(rows * width)?;
        let zero = Arg::Real(attar_rounding::int8::ZERO_ROW);
        let arguments = [pointer(x, layout)?, launcher.whole(&y)?, Arg::Count(rows), Arg::Count(width), zero];
        launcher.run("round_activations", Grid::rows(rows, usize::MAX, 0), &arguments)?;
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.clone()))
    }
}

/// Weights rounded in place, a scale a row.
pub(crate) struct RoundWeights;

impl InplaceOp1 for RoundWeights {
    fn name(&self) -> &'static str {
        "round-weights"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        no_cpu("rounding of weights")
    }

    fn cuda_fwd(&self, w: &mut CudaStorage, layout: &Layout) -> Result<()> {
        if !matches!(w.slice, CudaStorageSlice::F32(_)) {
            candle_core::bail!("rounding of weights: expected f32");
        }
        let (rows, width) = rows_of(layout);
        let arguments = [pointer(w, layout)?, Arg::Count(rows), Arg::Count(width)];
        Launcher::of(w).run("round_weights", Grid::rows(rows, usize::MAX, 0), &arguments)
    }
}

/// The number of rows, and their length.
fn rows_of(layout: &Layout) -> (usize, usize) {
    let width = layout.dims().last().copied().unwrap_or(1).max(1);
    (layout.shape().elem_count() / width, width)
}
