//! NEON as every aarch64 CPU has it (Raspberry Pi 3 and 4, phones since 2014).

use std::arch::aarch64::*;
use std::arch::asm;

use half::f16;

use crate::simd::{LANES, Simd};

/// Intrinsics whose only duty is that the CPU has the feature, which the token's existence proves; those that take pointers
/// get them from references to arrays of the full width.
macro_rules! simd {
    ($e:expr) => {{
        // SAFETY: the token proves the CPU feature; pointers come from references to whole arrays of the vector's width.
        unsafe { $e }
    }};
}

mod int8;

/// Proof that the CPU has NEON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// # Safety
    /// The CPU has NEON.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// The low bytes of 16 integers.
    #[inline(always)]
    pub(super) fn narrow(self, x: I) -> uint8x16_t {
        simd!({
            let low = vcombine_s16(vmovn_s32(x[0]), vmovn_s32(x[1]));
            let high = vcombine_s16(vmovn_s32(x[2]), vmovn_s32(x[3]));
            vreinterpretq_u8_s8(vcombine_s8(vmovn_s16(low), vmovn_s16(high)))
        })
    }

    /// Bytes with the bits of `by` flipped.
    #[inline(always)]
    pub(super) fn flip(self, x: uint8x16_t, by: u8) -> uint8x16_t {
        simd!(veorq_u8(x, vdupq_n_u8(by)))
    }

    /// Sixteen inputs of number `place` of `together` rows that stand together, eight bytes of each in turn.
    #[inline(always)]
    pub(super) fn store_halves(self, x: uint8x16_t, to: &mut [u8], place: usize, together: usize) {
        assert!(place < together && to.len() == 16 * together);
        let (low, high) = to.split_at_mut(8 * together);
        let low: &mut [u8; 8] = low[8 * place..].first_chunk_mut().expect("eight bytes of this row");
        let high: &mut [u8; 8] = high[8 * place..].first_chunk_mut().expect("eight bytes of this row");
        simd!({
            vst1_u8(low.as_mut_ptr(), vget_low_u8(x));
            vst1_u8(high.as_mut_ptr(), vget_high_u8(x));
        });
    }
}

/// Lanes 0..4, 4..8, 8..12 and 12..16.
type F = [float32x4_t; 4];
type I = [int32x4_t; 4];

/// One intrinsic on all quarters. A macro and not a function that takes a closure: closures are functions of their own without
/// the CPU feature, and a build for size leaves them (and every intrinsic in them) as calls.
macro_rules! all {
    ($intrinsic:ident $(::<$constant:literal>)?, $($x:expr),+) => {
        simd!([
            $intrinsic$(::<$constant>)?($($x[0]),+),
            $intrinsic$(::<$constant>)?($($x[1]),+),
            $intrinsic$(::<$constant>)?($($x[2]),+),
            $intrinsic$(::<$constant>)?($($x[3]),+),
        ])
    };
}

impl Simd for Neon {
    type F = F;
    type I = I;

    // 24 sums, four vectors of weights and a broadcast in 32 registers.
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        simd!([vdupq_n_f32(x); 4])
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> F {
        let from = from.as_ptr();
        simd!([vld1q_f32(from), vld1q_f32(from.add(4)), vld1q_f32(from.add(8)), vld1q_f32(from.add(12))])
    }

    #[inline(always)]
    fn store(self, x: F, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr();
        simd!({
            vst1q_f32(to, x[0]);
            vst1q_f32(to.add(4), x[1]);
            vst1q_f32(to.add(8), x[2]);
            vst1q_f32(to.add(12), x[3]);
        });
    }

    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        all!(vaddq_f32, a, b)
    }

    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        all!(vsubq_f32, a, b)
    }

    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        all!(vmulq_f32, a, b)
    }

    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        all!(vdivq_f32, a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: F, b: F, c: F) -> F {
        all!(vfmaq_f32, c, a, b)
    }

    #[inline(always)]
    fn max(self, x: F, c: F) -> F {
        all!(vmaxnmq_f32, x, c)
    }

    #[inline(always)]
    fn min(self, x: F, c: F) -> F {
        all!(vminnmq_f32, x, c)
    }

    #[inline(always)]
    fn abs(self, x: F) -> F {
        all!(vabsq_f32, x)
    }

    #[inline(always)]
    fn add_exponent(self, p: F, t: F) -> F {
        let (p, t) = (all!(vreinterpretq_u32_f32, p), all!(vreinterpretq_u32_f32, t));
        let shifted = all!(vshlq_n_u32::<23>, t);
        let sum = all!(vaddq_u32, p, shifted);
        all!(vreinterpretq_f32_u32, sum)
    }

    #[inline(always)]
    fn reduce_add(self, x: F) -> f32 {
        simd!({
            let x = vaddq_f32(vaddq_f32(x[0], x[2]), vaddq_f32(x[1], x[3]));
            let x = vadd_f32(vget_low_f32(x), vget_high_f32(x));
            vget_lane_f32::<0>(x) + vget_lane_f32::<1>(x)
        })
    }

    #[inline(always)]
    fn reduce_max(self, x: F) -> f32 {
        simd!(vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(x[0], x[2]), vmaxnmq_f32(x[1], x[3]))))
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32; LANES]) -> I {
        let from = from.as_ptr();
        simd!([vld1q_s32(from), vld1q_s32(from.add(4)), vld1q_s32(from.add(8)), vld1q_s32(from.add(12))])
    }

    #[inline(always)]
    fn store_i32(self, x: I, to: &mut [i32; LANES]) {
        for quarter in 0..4 {
            simd!(vst1q_s32(to.as_mut_ptr().add(4 * quarter), x[quarter]));
        }
    }

    #[inline(always)]
    fn sub_i32(self, a: I, b: I) -> I {
        all!(vsubq_s32, a, b)
    }

    #[inline(always)]
    fn add_i32(self, a: I, b: I) -> I {
        all!(vaddq_s32, a, b)
    }

    #[inline(always)]
    fn store_i8x4(self, x: [I; 4], to: &mut [u8; 4 * LANES]) {
        for quarter in 0..4 {
            simd!({
                let pair = vsliq_n_s32::<8>(x[0][quarter], x[1][quarter]);
                let triple = vsliq_n_s32::<16>(pair, x[2][quarter]);
                let all = vsliq_n_s32::<24>(triple, x[3][quarter]);
                vst1q_u8(to.as_mut_ptr().add(16 * quarter), vreinterpretq_u8_s32(all));
            });
        }
    }

    #[inline(always)]
    fn to_f32(self, x: I) -> F {
        all!(vcvtq_f32_s32, x)
    }

    #[inline(always)]
    fn round(self, x: F) -> I {
        all!(vcvtnq_s32_f32, x)
    }

    #[inline(always)]
    fn store_i8(self, x: I, flip: u8, to: &mut [u8; LANES]) {
        let bytes = self.flip(self.narrow(x), flip);
        simd!(vst1q_u8(to.as_mut_ptr(), bytes));
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> F {
        simd!({
            let bytes = vld1q_s8(from.as_ptr());
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ]
        })
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> F {
        let from = from.as_ptr().cast::<u16>();
        let (a, b) = widen(simd!(vld1q_u16(from)));
        let (c, d) = widen(simd!(vld1q_u16(from.add(8))));
        [a, b, c, d]
    }
}

/// f16 to f32. The conversion belongs to base NEON, but its intrinsic takes a type that asks for the fp16 arithmetic feature.
#[inline(always)]
fn widen(halves: uint16x8_t) -> (float32x4_t, float32x4_t) {
    let (low, high): (float32x4_t, float32x4_t);
    // SAFETY: a vector of NEON exists, so the CPU has it; registers only.
    unsafe {
        asm!(
            "fcvtl {low:v}.4s, {halves:v}.4h",
            "fcvtl2 {high:v}.4s, {halves:v}.8h",
            low = out(vreg) low,
            high = lateout(vreg) high,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    (low, high)
}

fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

crate::ops::ops!(
    /// The operations with NEON.
    OPS, name: "neon", isa: "neon", supported: supported, token: Neon, make: Neon::new(), features: "neon"
);
