//! Launching the kernels.

use candle_core::backend::BackendStorage;
use candle_core::cuda::cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use candle_core::cuda::{CudaStorageSlice, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Layout, Result, Shape, Storage, Tensor};

pub(super) const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

/// An argument of a kernel, by value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg {
    /// An address on the device; 0 for none.
    Pointer(u64),
    /// `size_t`
    Count(usize),
    /// `uint32_t`
    Bits32(u32),
    /// `uint64_t`
    Bits64(u64),
    /// `float`
    Real(f32),
    /// `int`
    Int(i32),
}

impl Arg {
    pub(super) const NONE: Self = Self::Pointer(0);
}

/// Blocks, threads of a block, and bytes of shared memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) blocks: (u32, u32),
    pub(super) threads: u32,
    pub(super) shared: u32,
}

/// Threads of a block of an element-wise kernel.
const THREADS: u32 = 256;
/// Warps of a block of a kernel that gives a warp to each row.
pub(super) const WARPS: u32 = 4;
/// Shared memory that a block gets without asking.
const SHARED: usize = 48 * 1024;

impl Grid {
    /// For a loop over elements.
    pub(super) fn elements(n: usize) -> Self {
        Self { blocks: (n.div_ceil(THREADS as usize).clamp(1, 4096) as u32, 1), threads: THREADS, shared: 0 }
    }

    /// A warp for each of `rows`, at most `blocks` blocks, with `floats` numbers in shared memory a warp.
    pub(super) fn rows(rows: usize, blocks: usize, floats: usize) -> Self {
        let blocks = rows.div_ceil(WARPS as usize).clamp(1, blocks) as u32;
        Self { blocks: (blocks, 1), threads: 32 * WARPS, shared: (WARPS as usize * floats * 4) as u32 }
    }

    /// Whether [`Grid::rows`] with as many floats a warp fits into a block's shared memory.
    pub(super) fn holds(floats: usize) -> bool {
        WARPS as usize * floats * 4 <= SHARED
    }
}

/// Launches kernels for one type of activations on one device.
pub(super) struct Launcher<'a> {
    pub(super) device: &'a CudaDevice,
    pub(super) dtype: DType,
}

impl<'a> Launcher<'a> {
    pub(super) fn of(storage: &'a CudaStorage) -> Self {
        Self { device: storage.device(), dtype: storage.dtype() }
    }

    pub(super) fn new(device: &'a CudaDevice, dtype: DType) -> Self {
        Self { device, dtype }
    }

    /// Memory for `n` activations, not yet written.
    pub(super) fn alloc(&self, n: usize) -> Result<CudaStorage> {
        self.alloc_as(n, self.dtype)
    }

    pub(super) fn alloc_as(&self, n: usize, dtype: DType) -> Result<CudaStorage> {
        // SAFETY: every caller launches a kernel that writes all elements before anything reads them.
        let slice = unsafe {
            match dtype {
                DType::F32 => CudaStorageSlice::F32(self.device.alloc(n)?),
                DType::BF16 => CudaStorageSlice::BF16(self.device.alloc(n)?),
                other => candle_core::bail!("fused GPU operator: no kernels for {other:?}"),
            }
        };
        Ok(CudaStorage { slice, device: self.device.clone() })
    }

    /// The address of a storage's first element.
    pub(super) fn whole(&self, storage: &CudaStorage) -> Result<Arg> {
        pointer(storage, &Layout::contiguous(0usize))
    }

    /// Runs the kernel `{name}_{dtype}`.
    pub(super) fn run(&self, name: &str, grid: Grid, arguments: &[Arg]) -> Result<()> {
        let suffix = if self.dtype == DType::BF16 { "bf16" } else { "f32" };
        let function = self.device.get_or_load_custom_func(&format!("{name}_{suffix}"), "attar-nn", PTX)?;
        let mut launch = function.builder();
        for argument in arguments {
            match argument {
                Arg::Pointer(x) | Arg::Bits64(x) => launch.arg(x),
                Arg::Count(x) => launch.arg(x),
                Arg::Bits32(x) => launch.arg(x),
                Arg::Real(x) => launch.arg(x),
                Arg::Int(x) => launch.arg(x),
            };
        }
        let config = LaunchConfig {
            grid_dim: (grid.blocks.0, grid.blocks.1, 1),
            block_dim: (grid.threads, 1, 1),
            shared_mem_bytes: grid.shared,
        };
        // SAFETY: each caller passes the arguments of the kernel's signature in `kernels.cu`, with pointers to as many
        // elements as its counts say; memory is freed in the order of the same stream, that of the one thread that uses the device (see the
        // module's documentation).
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }
}

/// The address of a contiguous tensor's first element.
pub(super) fn pointer(storage: &CudaStorage, layout: &Layout) -> Result<Arg> {
    if !layout.is_contiguous() {
        candle_core::bail!("fused GPU operator: expected a contiguous tensor, got layout {layout:?}");
    }
    let stream = storage.device().cuda_stream();
    let (address, size) = match &storage.slice {
        CudaStorageSlice::F32(s) => (s.device_ptr(&stream).0, 4),
        CudaStorageSlice::BF16(s) => (s.device_ptr(&stream).0, 2),
        CudaStorageSlice::U32(s) => (s.device_ptr(&stream).0, 4),
        _ => candle_core::bail!("fused GPU operator: no kernels for {:?}", storage.dtype()),
    };
    Ok(Arg::Pointer(address + layout.start_offset() as u64 * size))
}

/// The address of a contiguous tensor on the GPU. The tensor must outlive the launch.
pub(super) fn address(tensor: &Tensor) -> Result<Arg> {
    with_storage(tensor, pointer)
}

/// Calls `f` with a tensor's storage on the GPU.
pub(super) fn with_storage<T>(tensor: &Tensor, f: impl FnOnce(&CudaStorage, &Layout) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => f(storage, layout),
        _ => candle_core::bail!("fused GPU operator: a tensor is on another device"),
    }
}

/// A tensor of its own, without a graph.
pub(super) fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// The sums of the columns of a contiguous x `[rows, columns]`, f32 `[columns]`; `slices` of the rows are summed side by side.
pub(super) fn column_sums(x: &Tensor, slices: usize) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let slices = slices.clamp(1, rows.max(1));
    let sums = with_storage(x, |storage, layout| {
        let launcher = Launcher::of(storage);
        let partial = launcher.alloc_as(slices * columns, DType::F32)?;
        let grid = Grid { blocks: (columns.div_ceil(128) as u32, slices as u32), threads: 128, shared: 0 };
        let arguments = [pointer(storage, layout)?, launcher.whole(&partial)?, Arg::Count(rows), Arg::Count(columns)];
        launcher.run("column_sums", grid, &arguments)?;
        Ok(tensor(partial, (slices, columns)))
    })?;
    if slices == 1 { sums.squeeze(0) } else { column_sums(&sums, 1) }
}
