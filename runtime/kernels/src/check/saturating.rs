//! A kernel that is wrong in the way that int8 kernels have been.

use std::slice;

use crate::chains::Chains;
use crate::gemm_i8::{Activations, Int8Tile};
use crate::scalar::Scalar;
use crate::simd::LANES;

/// What a kernel built on `vpmaddubsw` does: unsigned activations, and sums of two products saturated to 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct Saturating;

impl Int8Tile for Saturating {
    type Simd = Scalar;

    const ROWS: usize = 1;
    const PANELS: usize = 1;
    const READS: Activations = Activations::Unsigned;

    fn simd(self) -> Scalar {
        Scalar
    }

    unsafe fn tile<const R: usize, const P: usize>(
        self,
        a: *const u8,
        a_stride: usize,
        w: *const i8,
        _w_stride: usize,
        groups: usize,
        out: *mut i32,
        out_stride: usize,
        _prefetch: *const i8,
        _chains: Option<Chains<'_>>,
    ) {
        for r in 0..R {
            // SAFETY: the tile's contract.
            let (a, w, out) = unsafe {
                (
                    slice::from_raw_parts(a.add(r * a_stride), 4 * groups),
                    slice::from_raw_parts(w, 64 * groups),
                    slice::from_raw_parts_mut(out.add(r * out_stride), LANES),
                )
            };
            for (n, out) in out.iter_mut().enumerate() {
                *out = 0;
                for k in (0..4 * groups).step_by(2) {
                    let product = |k: usize| i32::from(a[k]) * i32::from(w[(k / 4 * 16 + n) * 4 + k % 4]);
                    *out += (product(k) + product(k + 1)).clamp(i32::from(i16::MIN), i32::from(i16::MAX));
                }
            }
        }
    }
}

crate::ops::ops!(
    /// A wrong kernel.
    OPS, name: "saturating", isa: "none", supported: || true, token: Saturating, make: Saturating
);
