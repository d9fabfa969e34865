//! The definition: what every other kernel must compute, in plain Rust.

use half::f16;

use crate::chains::Chains;
use crate::gemm_i8::{Activations, Int8Tile};
use crate::simd::{LANES, Simd};

/// Plain Rust; needs no CPU feature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar;

type F = [f32; LANES];
type I = [i32; LANES];

/// Rounds to nearest-even when added to and subtracted from |x| < 2^22.
const ROUND: f32 = 12_582_912.0;

/// `a * b + c`. Fused where the CPU can be expected to do it (or the C library to pick the instruction at run time); on
/// other architectures (armv7, wasm) a fused one is a software routine of 50 ns, so there it is rounded twice.
#[inline(always)]
fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Whether multiply-adds are rounded once.
pub(crate) const FUSED: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

#[inline(always)]
fn map(a: F, b: F, f: impl Fn(f32, f32) -> f32) -> F {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn reduce(mut x: F, f: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            x[i] = f(x[i], x[i + half]);
        }
    }
    x[0]
}

impl Simd for Scalar {
    type F = F;
    type I = I;

    const TILE_ROWS: usize = 4;
    const TILE_VECTORS: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> F {
        *from
    }

    #[inline(always)]
    fn store(self, x: F, to: &mut [f32; LANES]) {
        *to = x;
    }

    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        map(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        map(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        map(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        map(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn mul_add(self, a: F, b: F, c: F) -> F {
        std::array::from_fn(|i| mul_add(a[i], b[i], c[i]))
    }

    #[inline(always)]
    fn max(self, x: F, c: F) -> F {
        map(x, c, |x, c| if x > c { x } else { c })
    }

    #[inline(always)]
    fn min(self, x: F, c: F) -> F {
        map(x, c, |x, c| if x < c { x } else { c })
    }

    #[inline(always)]
    fn abs(self, x: F) -> F {
        x.map(f32::abs)
    }

    #[inline(always)]
    fn add_exponent(self, p: F, t: F) -> F {
        map(p, t, |p, t| f32::from_bits(p.to_bits().wrapping_add(t.to_bits() << 23)))
    }

    #[inline(always)]
    fn reduce_add(self, x: F) -> f32 {
        reduce(x, |a, b| a + b)
    }

    #[inline(always)]
    fn reduce_max(self, x: F) -> f32 {
        reduce(x, f32::max)
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32; LANES]) -> I {
        *from
    }

    #[inline(always)]
    fn store_i32(self, x: I, to: &mut [i32; LANES]) {
        *to = x;
    }

    #[inline(always)]
    fn sub_i32(self, a: I, b: I) -> I {
        std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    fn add_i32(self, a: I, b: I) -> I {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn store_i8x4(self, x: [I; 4], to: &mut [u8; 4 * LANES]) {
        *to = std::array::from_fn(|i| x[i % 4][i / 4] as u8);
    }

    #[inline(always)]
    fn to_f32(self, x: I) -> F {
        x.map(|x| x as f32)
    }

    #[inline(always)]
    fn round(self, x: F) -> I {
        x.map(|x| (x + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32)
    }

    #[inline(always)]
    fn store_i8(self, x: I, flip: u8, to: &mut [u8; LANES]) {
        *to = x.map(|x| x as u8 ^ flip);
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> F {
        from.map(f32::from)
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> F {
        from.map(f16::to_f32_const)
    }
}

impl Int8Tile for Scalar {
    type Simd = Self;

    const ROWS: usize = 1;
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
        for r in 0..R {
            // SAFETY: the caller's contract: R rows of 4 * groups bytes, 64 * groups weights, R rows of 16 sums.
            let (a, w, out) = unsafe {
                (
                    std::slice::from_raw_parts(a.add(r * a_stride), 4 * groups),
                    std::slice::from_raw_parts(w, 64 * groups),
                    std::slice::from_raw_parts_mut(out.add(r * out_stride), LANES),
                )
            };
            out.fill(0);
            for (a, w) in a.chunks_exact(4).zip(w.chunks_exact(64)) {
                for (sum, w) in out.iter_mut().zip(w.chunks_exact(4)) {
                    let dot: i32 = a.iter().zip(w).map(|(&a, &w)| i32::from(a as i8) * i32::from(w)).sum();
                    *sum = sum.wrapping_add(dot);
                }
            }
        }
    }
}

crate::ops::ops!(
    /// The scalar definition as a kernel.
    OPS, name: "scalar", isa: "none", supported: || true, token: Scalar, make: Scalar
);
