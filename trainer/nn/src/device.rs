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
    Device::new_cuda(ordinal).map_err(|e| {
        Error::new(
            ErrorKind::Device,
            format!("device {name:?}: cannot open GPU {ordinal}: {e}; check `nvidia-smi`, or use \"cpu\""),
        )
    })
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
