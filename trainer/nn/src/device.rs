//! Choosing where to compute.

use candle_core::Device;

use crate::{Error, ErrorKind, Result};

/// Opens `"cpu"`, `"cuda"` (the first GPU) or `"cuda:N"`.
///
/// # Errors
/// [`ErrorKind::Argument`] for any other name, [`ErrorKind::Device`] where the GPU or its driver is absent or this
/// program was built without the `cuda` feature.
pub fn choose_device(name: &str) -> Result<Device> {
    let ordinal = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => Some(0),
        other => other.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok()),
    };
    let Some(ordinal) = ordinal else {
        return Err(Error::argument(format!(
            "device {name:?}: expected \"cpu\", \"cuda\" or \"cuda:N\" with a number N"
        )));
    };
    if !cfg!(feature = "cuda") {
        return Err(Error::new(
            ErrorKind::Device,
            format!(
                "device {name:?}: this program was built without CUDA; rebuild with `--features cuda`, or use \"cpu\""
            ),
        ));
    }
    let device = Device::new_cuda(ordinal).map_err(|e| {
        Error::new(
            ErrorKind::Device,
            format!("device {name:?}: cannot open GPU {ordinal}: {e}; check `nvidia-smi`, or use \"cpu\""),
        )
    })?;
    #[cfg(feature = "cuda")]
    gpu::tune(ordinal)?;
    Ok(device)
}

#[cfg(feature = "cuda")]
mod gpu {
    use std::ffi::c_void;

    use candle_core::cuda::cudarc::driver::{result, sys};

    use crate::{Error, ErrorKind, Result};

    /// TF32 for f32 matrix products, and a memory pool that keeps what it has: by default it gives all memory back to the
    /// driver at each synchronisation and asks for it anew.
    pub(super) fn tune(ordinal: usize) -> Result<()> {
        candle_core::cuda::set_gemm_reduced_precision_f32(true);
        let failed = |e: result::DriverError| {
            Error::new(ErrorKind::Device, format!("GPU {ordinal}: cannot configure its memory pool: {e}"))
        };
        let number = i32::try_from(ordinal).map_err(|_| Error::argument(format!("GPU {ordinal}: no such number")))?;
        let device = result::device::get(number).map_err(failed)?;
        let mut keep = u64::MAX;
        let mut pool = std::ptr::null_mut();
        // SAFETY: the device was opened, so the driver is initialised; `pool` is written before it is used, and the
        // attribute's value is a u64, as the driver's documentation of the release threshold says.
        unsafe {
            sys::cuDeviceGetDefaultMemPool(&mut pool, device).result().map_err(failed)?;
            let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut keep).cast::<c_void>()).result().map_err(failed)
        }
    }
}

/// Sets the number of threads that CPU operators use. Call it once, before the first tensor operation; 0 leaves the
/// default, one per core. (candle's own CPU operators, which this crate avoids on its fast paths, read `RAYON_NUM_THREADS`.)
///
/// # Errors
/// [`ErrorKind::Device`] where the thread pool has already been started with another number.
pub fn set_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        return Ok(());
    }
    if rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().is_err()
        && rayon::current_num_threads() != threads
    {
        return Err(Error::new(
            ErrorKind::Device,
            format!(
                "cannot use {threads} threads: the pool already runs {}; choose the number before the first tensor operation",
                rayon::current_num_threads()
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_chosen_by_name() {
        assert!(choose_device("cpu").is_ok_and(|d| d.is_cpu()));
        for name in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            assert!(choose_device(name).is_err_and(|e| e.kind() == ErrorKind::Argument), "{name:?}");
        }
        if !cfg!(feature = "cuda") {
            let error = choose_device("cuda:0").err().map(|e| (e.kind(), e.to_string()));
            assert!(error.is_some_and(|(kind, text)| kind == ErrorKind::Device && text.contains("--features cuda")));
        }
    }
}
