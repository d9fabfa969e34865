//! Fused operators for a GPU, with backward passes: f32 or bfloat16 activations, f32 parameters.
//!
//! Products go to cuBLAS through candle; `kernels.cu` holds what comes between them. As on the CPU, a parameter's gradient is
//! deposited with the running [`crate::backward`]. With `ATTAR_CUDA=composite` in the environment nothing fits here, and the
//! composites of candle's operators run instead (but for dropout, whose masks would have to be made on the host).
//!
//! candle gives each host thread a stream of its own and the kernels record no events: use one device from one thread, or
//! synchronise it before another takes over.

pub(crate) mod attention;
mod launch;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod optimizer;
pub(crate) mod rounding;
pub(crate) mod table;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use launch::{Arg, Grid, Launcher, pointer};

use super::Dropout;

/// Whether the fused operators can take these as activations.
pub(crate) fn fits(tensors: &[&Tensor]) -> bool {
    static COMPOSITE: OnceLock<bool> = OnceLock::new();
    tensors.iter().all(|t| holds(t))
        && !*COMPOSITE.get_or_init(|| std::env::var("ATTAR_CUDA").is_ok_and(|v| v == "composite"))
}

/// Whether the kernels have this type of elements, and they are on a GPU.
pub(crate) fn holds(x: &Tensor) -> bool {
    x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::BF16)
}

/// Whether these can be a fused operator's parameters: their gradient must have a place to go, or not be wanted.
pub(crate) fn are_parameters(tensors: &[&Tensor]) -> bool {
    fits(tensors)
        && tensors.iter().all(|t| t.dtype() == DType::F32 && (t.is_variable() || !t.track_op()) && t.is_contiguous())
}

fn no_cpu<T>(name: &str) -> Result<T> {
    candle_core::bail!("{name}: this operator runs on a GPU")
}

/// What a kernel is told of a dropout: key, threshold and scale.
fn drop_arguments(dropout: Option<Dropout>) -> [Arg; 3] {
    match dropout {
        Some(d) => [Arg::Bits64(d.key), Arg::Bits32(d.threshold()), Arg::Real(d.scale())],
        None => [Arg::Bits64(0), Arg::Bits32(0), Arg::Real(1.0)],
    }
}

/// Dropout alone, with the masks of [`Dropout::factor`].
pub(crate) struct DropoutOp(pub(crate) Dropout);

impl CustomOp1 for DropoutOp {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        no_cpu("dropout")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let launcher = Launcher::of(x);
        let n = layout.shape().elem_count();
        let y = launcher.alloc(n)?;
        let [key, threshold, scale] = drop_arguments(Some(self.0));
        let arguments = [pointer(x, layout)?, launcher.whole(&y)?, Arg::Count(n), key, threshold, scale];
        launcher.run("dropout", Grid::elements(n), &arguments)?;
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.contiguous()?.apply_op1_no_bwd(&Self(self.0))?))
    }
}

#[cfg(test)]
mod tests {
    /// The file names each kernel for both types of activations.
    #[test]
    fn the_kernels_were_compiled() {
        let names = [
            "norm_backward_f32",
            "norm_backward_bf16",
            "segment_sums_f32",
            "round_activations_bf16",
            "round_weights_f32",
        ];
        for name in names {
            assert!(super::launch::PTX.contains(&format!(".entry {name}(")), "{name}");
        }
    }
}
