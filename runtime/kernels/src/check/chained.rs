//! Kernels that add up eight products in 16 bits, as NEON's does: where it is proved that they fit, or, wrongly, always.

use std::slice;

use crate::chains::{BLOCK, Chains};
use crate::gemm_i8::{Activations, Int8Tile};
use crate::scalar::Scalar;
use crate::simd::LANES;

/// `ALWAYS`: whether or not they fit.
#[derive(Clone, Copy)]
pub(crate) struct Chained<const ALWAYS: bool>;

impl<const ALWAYS: bool> Chained<ALWAYS> {
    /// Eight bytes of the row, then eight of the other, in turn.
    fn store(bytes: [i32; LANES], to: &mut [u8], place: usize) {
        for (i, byte) in bytes.into_iter().enumerate() {
            to[16 * (i / 8) + 8 * place + i % 8] = byte as u8;
        }
    }
}

impl<const ALWAYS: bool> Int8Tile for Chained<ALWAYS> {
    type Simd = Scalar;

    const ROWS: usize = 2;
    const PANELS: usize = 1;
    const READS: Activations = Activations::Signed;
    const TOGETHER: usize = 2;
    const CHAINS: bool = true;

    fn simd(self) -> Scalar {
        Scalar
    }

    fn store_activations(self, x: [i32; LANES], to: &mut [u8], place: usize) {
        Self::store(x, to, place);
    }

    fn store_probabilities(self, x: [i32; LANES], to: &mut [u8], place: usize) {
        Self::store(x.map(|x| x - 128), to, place);
    }

    unsafe fn tile<const R: usize, const P: usize>(
        self,
        a: *const u8,
        _a_stride: usize,
        w: *const i8,
        _w_stride: usize,
        groups: usize,
        out: *mut i32,
        out_stride: usize,
        _prefetch: *const i8,
        chains: Option<Chains<'_>>,
    ) {
        // SAFETY: the tile's contract.
        let (a, w) = unsafe { (slice::from_raw_parts(a, 8 * groups), slice::from_raw_parts(w, 64 * groups)) };
        for r in 0..R {
            // SAFETY: the tile's contract.
            let out = unsafe { slice::from_raw_parts_mut(out.add(r * out_stride), LANES) };
            for (n, out) in out.iter_mut().enumerate() {
                *out = 0;
                for input in 0..4 {
                    for first in (0..groups).step_by(BLOCK) {
                        let fits = |c: Chains<'_>| ALWAYS || c.weights[first / BLOCK] <= c.limits[first / BLOCK];
                        let chain = chains.is_some_and(fits);
                        let (mut narrow, mut wide) = (0_i16, 0);
                        for group in first..(first + BLOCK).min(groups) {
                            let a = i32::from(a[16 * (group / 2) + 8 * r + 4 * (group % 2) + input].cast_signed());
                            let product = a * i32::from(w[64 * group + 4 * n + input]);
                            narrow = narrow.wrapping_add(product as i16);
                            wide += product;
                        }
                        *out += if chain { i32::from(narrow) } else { wide };
                    }
                }
            }
        }
    }
}

crate::ops::ops!(
    /// A kernel that is right.
    PROVEN, name: "chained", isa: "none", supported: || true, token: Chained<false>, make: Chained::<false>
);

/// The same without proof.
pub(crate) mod hoped {
    use super::Chained;

    crate::ops::ops!(
        /// A wrong kernel.
        OPS, name: "chained-always", isa: "none", supported: || true, token: Chained<true>, make: Chained::<true>
    );
}
