//! The gradient of a table's rows.

use candle_core::{CudaDevice, DType, Device, Result, Tensor};

use super::launch::{Arg, Grid, Launcher, address, tensor, with_storage};

/// Gradients that one block adds up one after the other, in the first of two sums.
const PIECE: usize = 16;

/// The gradient of a table `[rows, width]` whose rows `ids` were taken: `gradient` is f32 `[ids, width]`, contiguous.
pub(crate) fn gradient(ids: &[u32], rows: usize, gradient: &Tensor) -> Result<Tensor> {
    let width = gradient.dim(1)?;
    // Where each row's gradients lie, row after row.
    let mut begins = vec![0u32; rows + 1];
    ids.iter().for_each(|&id| begins[id as usize + 1] += 1);
    for row in 0..rows {
        begins[row + 1] += begins[row];
    }
    let mut next = begins.clone();
    let mut order = vec![0u32; ids.len()];
    for (position, &id) in ids.iter().enumerate() {
        order[next[id as usize] as usize] = position as u32;
        next[id as usize] += 1;
    }
    // Pieces of a row's gradients, and each used row's pieces.
    let (mut pieces, mut used, mut of_rows) = (vec![0u32], Vec::new(), vec![0u32]);
    for row in 0..rows {
        let (begin, end) = (begins[row], begins[row + 1]);
        if begin < end {
            pieces.extend((begin..end).step_by(PIECE).map(|at| (at + PIECE as u32).min(end)));
            used.push(row as u32);
            of_rows.push(pieces.len() as u32 - 1);
        }
    }
    with_storage(gradient, |storage, _| {
        let launcher = Launcher::new(&storage.device, DType::F32);
        let device = launcher.device;
        let (order, pieces_starts) = (upload(&order, device)?, upload(&pieces, device)?);
        let count = pieces.len() - 1;
        let partial = launcher.alloc(count * width)?;
        let ends = [address(gradient)?, launcher.whole(&partial)?];
        sum(&launcher, ends, address(&order)?, &pieces_starts, Arg::NONE, count, width)?;
        let (ids, starts) = (upload(&used, device)?, upload(&of_rows, device)?);
        let table = Tensor::zeros((rows, width), DType::F32, gradient.device())?;
        let partial = tensor(partial, (count, width));
        let ends = [address(&partial)?, address(&table)?];
        sum(&launcher, ends, Arg::NONE, &starts, address(&ids)?, used.len(), width)?;
        Ok(table)
    })
}

fn sum(
    launcher: &Launcher<'_>,
    [from, to]: [Arg; 2],
    order: Arg,
    starts: &Tensor,
    ids: Arg,
    segments: usize,
    width: usize,
) -> Result<()> {
    let grid = Grid { blocks: (segments as u32, 1), threads: 128, shared: 0 };
    launcher.run("segment_sums", grid, &[from, to, order, address(starts)?, ids, Arg::Count(width)])
}

fn upload(numbers: &[u32], device: &CudaDevice) -> Result<Tensor> {
    Tensor::from_slice(numbers, numbers.len(), &Device::Cuda(device.clone()))
}
