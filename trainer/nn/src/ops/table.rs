//! Rows of a table, with a gradient that is parallel on a GPU.
//!
//! candle's `index_select` has `index_add` as its backward pass, whose CUDA kernel walks through the ids one after the
//! other. Here a row's gradients are gathered and added in groups, groups of groups, and so on: each step is a gather and a
//! sum over all rows at once, the order of additions is fixed, and no atomics are needed.

use std::collections::HashMap;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor};

/// Gradients that one step adds up.
const GROUP: usize = 8;

/// The rows `ids` of a table `[rows, width]`: result `[ids, width]`.
pub(crate) fn rows(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    // On a GPU a wrong one would end the whole context, and later.
    let (rows, _) = table.dims2()?;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= rows) {
        candle_core::bail!("row {id} of a table with {rows} rows");
    }
    let index = Tensor::from_slice(ids, ids.len(), table.device())?;
    table.contiguous()?.apply_op1(Rows { ids: ids.to_vec(), index })
}

struct Rows {
    ids: Vec<u32>,
    /// The same on the table's device.
    index: Tensor,
}

impl Rows {
    fn shape(&self, layout: &Layout) -> Result<Shape> {
        Ok((self.ids.len(), layout.shape().dims2()?.1).into())
    }
}

impl CustomOp1 for Rows {
    fn name(&self) -> &'static str {
        "table-rows"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (index, index_layout) = self.index.storage_and_layout();
        let Storage::Cpu(index) = &*index else { candle_core::bail!("table rows: the ids are on another device") };
        Ok((table.index_select(index, layout, index_layout, 0)?, self.shape(layout)?))
    }

    fn cuda_fwd(&self, table: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (index, index_layout) = self.index.storage_and_layout();
        let Storage::Cuda(index) = &*index else { candle_core::bail!("table rows: the ids are on another device") };
        Ok((table.index_select(index, layout, index_layout, 0)?, self.shape(layout)?))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = table.dims2()?;
        #[cfg(feature = "cuda")]
        if super::cuda::fits(&[gradient]) && gradient.dtype() == candle_core::DType::F32 {
            return Ok(Some(super::cuda::table::gradient(&self.ids, rows, &gradient.contiguous()?)?));
        }
        // Where each used row's gradients lie, in order of first use.
        let mut slots: HashMap<u32, usize> = HashMap::new();
        let mut members: Vec<Vec<u32>> = Vec::new();
        for (position, &id) in self.ids.iter().enumerate() {
            let slot = *slots.entry(id).or_insert_with(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            members[slot].push(position as u32);
        }
        let mut sums = gradient.contiguous()?;
        while members.iter().any(|m| m.len() > 1) {
            // The row behind the last is zero and fills groups up.
            let zero = sums.dim(0)? as u32;
            let (mut index, mut next, mut groups) = (Vec::new(), Vec::with_capacity(members.len()), 0u32);
            for list in &members {
                let mut row = Vec::with_capacity(list.len().div_ceil(GROUP));
                for group in list.chunks(GROUP) {
                    index.extend(group.iter().copied().chain(std::iter::repeat_n(zero, GROUP - group.len())));
                    row.push(groups);
                    groups += 1;
                }
                next.push(row);
            }
            sums = gather(&padded(&sums, width)?, &index)?.reshape((groups as usize, GROUP, width))?.sum(1)?;
            members = next;
        }
        // The table's rows out of the sums: unused ones get the zero behind them.
        let zero = sums.dim(0)? as u32;
        let mut index = vec![zero; rows];
        for (id, slot) in slots {
            index[id as usize] = members[slot][0];
        }
        Ok(Some(gather(&padded(&sums, width)?, &index)?))
    }
}

/// With a row of zeros at the end.
fn padded(x: &Tensor, width: usize) -> Result<Tensor> {
    Tensor::cat(&[x, &Tensor::zeros((1, width), x.dtype(), x.device())?], 0)
}

fn gather(x: &Tensor, index: &[u32]) -> Result<Tensor> {
    x.index_select(&Tensor::from_slice(index, index.len(), x.device())?, 0)
}
