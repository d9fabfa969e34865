//! Kernels of x86-64.

pub(crate) mod amx;
pub(crate) mod avx2;
pub(crate) mod avx512;
mod avx512_tile;
pub(crate) mod avx_vnni;
