//! Compiles the GPU kernels to PTX where the `cuda` feature is on.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/ops/cuda/kernels.cu");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo:rerun-if-env-changed=NVCC");
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let compiler = variable("NVCC")
        .or_else(|| variable("CUDA_HOME").map(|home| home.join("bin").join("nvcc")))
        .unwrap_or_else(|| "nvcc".into());
    let output = variable("OUT_DIR").expect("cargo sets OUT_DIR").join("kernels.ptx");
    // PTX of compute capability 8.0, the first with bfloat16: a driver compiles it for its own GPU, 8.0 or newer.
    let status = Command::new(&compiler)
        .args(["-O3", "-arch=compute_80", "-ptx", "src/ops/cuda/kernels.cu", "-o"])
        .arg(&output)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{}: {status} for src/ops/cuda/kernels.cu", compiler.display()),
        Err(e) => panic!(
            "{}: {e}; the `cuda` feature needs nvcc: `trainer/cuda/toolkit.sh DEST && source DEST/env.sh`",
            compiler.display()
        ),
    }
}
