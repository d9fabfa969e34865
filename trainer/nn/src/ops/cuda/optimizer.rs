//! The optimiser's step and the gradients' norm.

use candle_core::cuda::CudaStorageSlice;
use candle_core::{CpuStorage, CudaStorage, DType, InplaceOp1, Layout, Result, Tensor};

use super::launch::{Arg, Grid, Launcher, address, pointer, with_storage};

/// Blocks of one sum of squares.
const BLOCKS: usize = 64;

/// The sum of the squares of each tensor: all are waited for together.
pub(crate) fn sums_of_squares(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    let Some(first) = tensors.first() else { return Ok(Vec::new()) };
    let contiguous = tensors.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
    let partial = Tensor::zeros((tensors.len(), BLOCKS), DType::F32, first.device())?;
    for (i, x) in contiguous.iter().enumerate() {
        with_storage(x, |storage, layout| {
            let n = x.elem_count();
            let grid = Grid { blocks: (n.div_ceil(256).clamp(1, BLOCKS) as u32, 1), threads: 256, shared: 0 };
            let arguments = [pointer(storage, layout)?, address(&partial.narrow(0, i, 1)?)?, Arg::Count(n)];
            Launcher::of(storage).run("sum_of_squares", grid, &arguments)
        })?;
    }
    Ok(partial.to_vec2::<f32>()?.iter().map(|row| row.iter().map(|&x| f64::from(x)).sum()).collect())
}

/// One update of a parameter and its moments, in place.
pub(crate) struct Step<'a> {
    /// Adam's rule, or that of SGD with momentum.
    pub(crate) adam: bool,
    /// beta1, beta2, eps, scale, shrink, l2, rate, correction: see `Rule`.
    pub(crate) numbers: [f32; 8],
    pub(crate) gradient: &'a Tensor,
    pub(crate) first: &'a Tensor,
    pub(crate) second: Option<&'a Tensor>,
}

impl InplaceOp1 for Step<'_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        super::no_cpu("optimizer step")
    }

    fn cuda_fwd(&self, w: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let n = layout.shape().elem_count();
        let sizes = [Some(self.gradient), Some(self.first), self.second];
        if sizes.into_iter().flatten().any(|t| t.elem_count() != n) || !matches!(w.slice, CudaStorageSlice::F32(_)) {
            candle_core::bail!("optimizer step: gradient and moments do not fit a parameter of {n} f32 elements");
        }
        let mut arguments = vec![pointer(w, layout)?, address(self.gradient)?, address(self.first)?];
        if self.adam {
            let Some(second) = self.second else {
                candle_core::bail!("optimizer step: Adam without a second moment");
            };
            arguments.push(address(second)?);
        }
        arguments.push(Arg::Count(n));
        arguments.extend(self.numbers.map(Arg::Real));
        let name = if self.adam { "adam" } else { "sgd" };
        Launcher::new(&w.device, self.gradient.dtype()).run(name, Grid::elements(n), &arguments)
    }
}
