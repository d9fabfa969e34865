//! int8, f16 and f32 encoder kernels for x86-64, aarch64 and WebAssembly, each held against its scalar definition.
//!
//! A [`Kernel`] is an instruction set that this CPU was found to have; it runs whole BERT encoder layers over ragged batches
//! of concatenated sequences. Weights are borrowed in the packed order of the bundle, so they can lie in a memory map.
//!
//! | kernel | int8 products | floats |
//! |---|---|---|
//! | `scalar` | i32 multiplication: the definition | plain Rust |
//! | `avx2` | 16-bit `vpmaddwd` (`vpmaddubsw` saturates) | AVX2 + FMA |
//! | `avx-vnni` | `vpdpbusd`, 256 bits | AVX2 + FMA |
//! | `avx512-vnni` | `vpdpbusd`, 512 bits | AVX-512 |
//! | `amx` | `tdpbusd` in linear layers, `vpdpbusd` in attention | AVX-512 |
//! | `neon` | `smull`, `smlal`, `sadalp`: eight in 16 bits where it is proved that they fit | NEON |
//! | `neon-dotprod` | `sdot` | NEON |
//! | `neon-i8mm` | `smmla` | NEON |
//! | `wasm-simd128` | `i16x8.extmul_i8x16` | SIMD, where the build has it |
//!
//! Numbers: activations are quantised per token (max-abs / 127, ties to even), weights per output channel; sums of products are
//! exact; everything in floats is the same sequence of IEEE-754 operations on every kernel of x86-64 and aarch64 (16 lanes,
//! fused multiply-adds, one polynomial for each function, no libm), so all kernels give the same bits. On other architectures
//! `scalar` rounds multiply-adds twice.
//!
//! ```
//! use attar_kernels::{Dense, Kernel};
//!
//! let kernel = Kernel::best();
//! let head = Dense::new(&[1.0, 2.0, 3.0, 4.0], &[0.5, -0.5], 2, 2)?;
//! let mut logits = [0.0; 2];
//! kernel.head(&head, &[1.0, 1.0], &mut logits)?;
//! assert_eq!(logits, [3.5, 6.5]);
//! # Ok::<(), attar_kernels::Error>(())
//! ```

// Tiles index arrays in loops over constants: iterator adapters and closures are functions of their own, which a build for
// size leaves as calls without the CPU features.
#![allow(clippy::needless_range_loop)]

mod attention;
mod attention_i8;
mod chains;
mod encoder;
mod error;
mod gemm_f32;
mod gemm_i8;
mod kernel;
mod layer;
mod linear;
mod math;
mod ops;
mod rows;
mod scalar;
mod scratch;
mod shared_rows;
mod simd;
#[cfg(not(target_family = "wasm"))]
mod team;
#[cfg(target_family = "wasm")]
#[path = "team/alone.rs"]
mod team;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod check;

pub use error::{Error, ErrorKind};
pub use kernel::Kernel;
pub use layer::{Embeddings, EncoderLayer, INT4_GROUP, MAX_HIDDEN, Table};
pub use linear::{
    Dense, INPUT_ALIGN_I8, Linear, LinearF16, LinearF32, LinearI8, MAX_INPUTS, MAX_OUTPUTS, Norm, OUTPUT_ALIGN,
    padded_inputs_i8, padded_outputs,
};
pub use scratch::Scratch;
