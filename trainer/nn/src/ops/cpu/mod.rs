//! Fast f32 operators for the CPU, with backward passes.
//!
//! A parameter's gradient does not travel through candle's gradient store, which would add it to a tensor of zeros first:
//! it is deposited with the running [`crate::backward`] (see [`crate::gradients`]). Sums over rows are taken in blocks of
//! a fixed size and added in order, so that results do not depend on the number of threads.

pub(crate) mod attention;
pub(crate) mod bf16;
pub(crate) mod buffer;
pub(crate) mod embedding;
pub(crate) mod int8;
pub(crate) mod layer;
pub(crate) mod linear;
pub(crate) mod matrix;
pub(crate) mod norm;
pub(crate) mod simd;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor};
use rayon::prelude::*;

pub(crate) use buffer::Buffer;

use crate::ops::Dropout;

/// Elements of one task of an element-wise loop.
pub(crate) const BLOCK: usize = 1 << 15;

/// Rows of one partial sum over rows.
pub(crate) const SUM_ROWS: usize = 64;

/// Whether the fast operators can take these: f32 on the CPU.
pub(crate) fn fits(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}

/// Whether these can be a fast operator's parameters: their gradient must have a place to go, or not be wanted.
pub(crate) fn are_parameters(tensors: &[&Tensor]) -> bool {
    fits(tensors) && tensors.iter().all(|t| (t.is_variable() || !t.track_op()) && t.is_contiguous())
}

/// The elements of a contiguous f32 storage.
pub(crate) fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (CpuStorage::F32(data), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        candle_core::bail!("fast CPU operator: expected a contiguous f32 tensor, got layout {layout:?}");
    };
    Ok(&data[start..end])
}

/// Calls `f` with the elements of a tensor.
pub(crate) fn with_elements<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("fast CPU operator: a tensor is on another device");
    };
    f(elements(storage, layout)?)
}

/// The sum of each column of `rows`, in blocks of [`SUM_ROWS`].
pub(crate) fn column_sums(rows: &[f32], width: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = rows
        .par_chunks(SUM_ROWS * width)
        .map(|rows| {
            let mut sums = vec![0.0; width];
            simd::add_columns(&mut sums, rows);
            sums
        })
        .collect();
    add_partial(partial, width)
}

/// Adds partial sums in order.
pub(crate) fn add_partial(partial: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut parts = partial.into_iter();
    let mut sums = parts.next().unwrap_or_else(|| vec![0.0; width]);
    for part in parts {
        simd::add_assign(&mut sums, &part);
    }
    sums
}

/// Dropout alone.
pub(crate) struct DropoutOp(pub(crate) Dropout);

impl DropoutOp {
    fn apply(&self, x: &[f32]) -> Buffer {
        let mut out = Buffer::stale(x.len());
        out.par_chunks_mut(BLOCK)
            .zip(x.par_chunks(BLOCK))
            .enumerate()
            .for_each(|(i, (out, x))| simd::drop_elements(out, x, self.0, i * BLOCK));
        out
    }
}

impl CustomOp1 for DropoutOp {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.apply(elements(storage, layout)?).into_vec()), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let data = with_elements(gradient, |g| Ok(self.apply(g)))?;
        Ok(Some(Tensor::from_vec(data.into_vec(), result.shape(), gradient.device())?))
    }
}
