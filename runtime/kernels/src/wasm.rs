//! WebAssembly's 128-bit SIMD. WebAssembly has no detection at run time: the kernel exists in builds with
//! `-C target-feature=+simd128`.
//!
//! Relaxed SIMD's 8-bit dot product is not used: it is exact only for activations of 7 bits. Multiply-adds are rounded twice, as in
//! the scalar definition on this architecture.

use std::arch::wasm32::*;

use half::f16;

use crate::chains::Chains;
use crate::gemm_i8::{Activations, Int8Tile};
use crate::simd::{LANES, Simd};

/// Proof of SIMD: the build has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Simd128;

type F = [v128; 4];
type I = [v128; 4];

/// Rounds to nearest-even when added to |x| < 2^22.
const ROUND: f32 = 12_582_912.0;

/// One intrinsic on all four quarters.
macro_rules! all {
    ($intrinsic:ident, $($x:expr),+) => {
        [$intrinsic($($x[0]),+), $intrinsic($($x[1]),+), $intrinsic($($x[2]),+), $intrinsic($($x[3]),+)]
    };
}

/// 16 bytes from the reference.
#[inline(always)]
fn load<T>(from: &[T]) -> v128 {
    assert!(size_of_val(from) >= 16);
    // SAFETY: 16 bytes of plain numbers lie behind the reference; the load needs no alignment.
    unsafe { v128_load(from.as_ptr().cast()) }
}

/// 16 bytes to the reference.
#[inline(always)]
fn store<T: Copy>(x: v128, to: &mut [T]) {
    assert!(size_of_val(to) >= 16);
    // SAFETY: as above; any bytes are valid numbers.
    unsafe { v128_store(to.as_mut_ptr().cast(), x) }
}

impl Simd for Simd128 {
    type F = F;
    type I = I;

    // 12 sums, a broadcast and a vector of weights in the 16 registers of an x86 host.
    const TILE_ROWS: usize = 3;
    const TILE_VECTORS: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        [f32x4_splat(x); 4]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> F {
        [load(&from[..4]), load(&from[4..8]), load(&from[8..12]), load(&from[12..])]
    }

    #[inline(always)]
    fn store(self, x: F, to: &mut [f32; LANES]) {
        for i in 0..4 {
            store(x[i], &mut to[4 * i..4 * i + 4]);
        }
    }

    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        all!(f32x4_add, a, b)
    }

    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        all!(f32x4_sub, a, b)
    }

    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        all!(f32x4_mul, a, b)
    }

    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        all!(f32x4_div, a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: F, b: F, c: F) -> F {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn max(self, x: F, c: F) -> F {
        // `pmax(a, b)` is `a < b ? b : a`.
        all!(f32x4_pmax, c, x)
    }

    #[inline(always)]
    fn min(self, x: F, c: F) -> F {
        all!(f32x4_pmin, c, x)
    }

    #[inline(always)]
    fn abs(self, x: F) -> F {
        all!(f32x4_abs, x)
    }

    #[inline(always)]
    fn add_exponent(self, p: F, t: F) -> F {
        [0, 1, 2, 3].map(|i| i32x4_add(p[i], i32x4_shl(t[i], 23)))
    }

    #[inline(always)]
    fn reduce_add(self, x: F) -> f32 {
        let x = f32x4_add(f32x4_add(x[0], x[2]), f32x4_add(x[1], x[3]));
        let x = f32x4_add(x, i32x4_shuffle::<2, 3, 2, 3>(x, x));
        f32x4_extract_lane::<0>(x) + f32x4_extract_lane::<1>(x)
    }

    #[inline(always)]
    fn reduce_max(self, x: F) -> f32 {
        let x = f32x4_pmax(f32x4_pmax(x[0], x[2]), f32x4_pmax(x[1], x[3]));
        let x = f32x4_pmax(x, i32x4_shuffle::<2, 3, 2, 3>(x, x));
        f32x4_extract_lane::<0>(x).max(f32x4_extract_lane::<1>(x))
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32; LANES]) -> I {
        [load(&from[..4]), load(&from[4..8]), load(&from[8..12]), load(&from[12..])]
    }

    #[inline(always)]
    fn store_i32(self, x: I, to: &mut [i32; LANES]) {
        for i in 0..4 {
            store(x[i], &mut to[4 * i..4 * i + 4]);
        }
    }

    #[inline(always)]
    fn sub_i32(self, a: I, b: I) -> I {
        all!(i32x4_sub, a, b)
    }

    #[inline(always)]
    fn add_i32(self, a: I, b: I) -> I {
        all!(i32x4_add, a, b)
    }

    #[inline(always)]
    fn to_f32(self, x: I) -> F {
        all!(f32x4_convert_i32x4, x)
    }

    #[inline(always)]
    fn round(self, x: F) -> I {
        let round = f32x4_splat(ROUND);
        x.map(|x| i32x4_sub(f32x4_add(x, round), round))
    }

    #[inline(always)]
    fn store_i8x4(self, x: [I; 4], to: &mut [u8; 4 * LANES]) {
        let byte = i32x4_splat(0xff);
        for i in 0..4 {
            let low = v128_or(v128_and(x[0][i], byte), i32x4_shl(v128_and(x[1][i], byte), 8));
            let high = v128_or(v128_and(x[2][i], byte), i32x4_shl(x[3][i], 8));
            store(v128_or(low, i32x4_shl(high, 16)), &mut to[16 * i..16 * i + 16]);
        }
    }

    #[inline(always)]
    fn store_i8(self, x: I, flip: u8, to: &mut [u8; LANES]) {
        let byte = i32x4_splat(0xff);
        let x = x.map(|x| v128_and(x, byte));
        let bytes = u8x16_narrow_i16x8(i16x8_narrow_i32x4(x[0], x[1]), i16x8_narrow_i32x4(x[2], x[3]));
        store(v128_xor(bytes, u8x16_splat(flip)), to);
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> F {
        let bytes = load(from);
        let (low, high) = (i16x8_extend_low_i8x16(bytes), i16x8_extend_high_i8x16(bytes));
        let integers = [
            i32x4_extend_low_i16x8(low),
            i32x4_extend_high_i16x8(low),
            i32x4_extend_low_i16x8(high),
            i32x4_extend_high_i16x8(high),
        ];
        self.to_f32(integers)
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> F {
        self.load(&from.map(f16::to_f32_const))
    }
}

/// As NEON's: products of two groups of four inputs are summed in 16 bits (2 * 127 * 128 = 32,512 fits), then in pairs in 32.
impl Int8Tile for Simd128 {
    type Simd = Self;

    // 8 sums a row, and the rest for weights and products.
    const ROWS: usize = 2;
    const PANELS: usize = 1;
    const READS: Activations = Activations::Signed;

    #[inline(always)]
    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
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
        // SAFETY: `a` has R rows of 4 * groups bytes, `w` 64 * groups bytes, `out` R rows of 16 sums (the caller's contract; groups
        // is even), and nothing beyond is touched; no access needs alignment.
        unsafe {
            let mut acc = [[i32x4_splat(0); 8]; R];
            for group in (0..groups).step_by(2) {
                let w = w.add(64 * group);
                let mut pairs = [[i32x4_splat(0); 2]; R];
                for r in 0..R {
                    let a = a.add(r * a_stride + 4 * group).cast::<u32>();
                    pairs[r] = [v128_load32_splat(a), v128_load32_splat(a.add(1))];
                }
                for quarter in 0..4 {
                    let w0 = v128_load(w.add(16 * quarter).cast());
                    let w1 = v128_load(w.add(64 + 16 * quarter).cast());
                    for r in 0..R {
                        let ([a0, a1], acc) = (pairs[r], &mut acc[r]);
                        let low = i16x8_add(i16x8_extmul_low_i8x16(w0, a0), i16x8_extmul_low_i8x16(w1, a1));
                        let high = i16x8_add(i16x8_extmul_high_i8x16(w0, a0), i16x8_extmul_high_i8x16(w1, a1));
                        acc[2 * quarter] = i32x4_add(acc[2 * quarter], i32x4_extadd_pairwise_i16x8(low));
                        acc[2 * quarter + 1] = i32x4_add(acc[2 * quarter + 1], i32x4_extadd_pairwise_i16x8(high));
                    }
                }
            }
            for r in 0..R {
                for quarter in 0..4 {
                    let (low, high) = (acc[r][2 * quarter], acc[r][2 * quarter + 1]);
                    let even = i32x4_shuffle::<0, 2, 4, 6>(low, high);
                    let odd = i32x4_shuffle::<1, 3, 5, 7>(low, high);
                    v128_store(out.add(r * out_stride + 4 * quarter).cast(), i32x4_add(even, odd));
                }
            }
        }
    }
}

crate::ops::ops!(
    /// The operations with WebAssembly's SIMD.
    OPS, name: "wasm-simd128", isa: "simd128", supported: || true, token: Simd128, make: Simd128
);
