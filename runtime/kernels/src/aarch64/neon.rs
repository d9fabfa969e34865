//! NEON as every aarch64 CPU has it (Raspberry Pi 3 and 4, phones since 2014).

use std::arch::aarch64::*;
use std::arch::asm;

use half::f16;

use crate::gemm_i8::{Activations, Int8Tile};
use crate::simd::{LANES, Simd};

/// Intrinsics whose only duty is that the CPU has the feature, which the token's existence proves; those that take pointers
/// get them from references to arrays of the full width.
macro_rules! simd {
    ($e:expr) => {{
        // SAFETY: the token proves the CPU feature; pointers come from references to whole arrays of the vector's width.
        unsafe { $e }
    }};
}

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

/// Four products of 16 bits of one row: two quarters of a group's weights by that group's activations.
#[rustfmt::skip]
macro_rules! products {
    ($multiply:literal, $a:literal, $w0:literal $w1:literal, $p0:literal $p1:literal $p2:literal $p3:literal) => {
        concat!(
            $multiply, " ", $p0, ".8h, ", $w0, ".8b, ", $a, ".8b\n",
            $multiply, "2 ", $p1, ".8h, ", $w0, ".16b, ", $a, ".16b\n",
            $multiply, " ", $p2, ".8h, ", $w1, ".8b, ", $a, ".8b\n",
            $multiply, "2 ", $p3, ".8h, ", $w1, ".16b, ", $a, ".16b"
        )
    };
}

/// Adds four products, in pairs, to four sums.
#[rustfmt::skip]
macro_rules! add_pairs {
    ($s0:literal $s1:literal $s2:literal $s3:literal, $p0:literal $p1:literal $p2:literal $p3:literal) => {
        concat!(
            "sadalp ", $s0, ".4s, ", $p0, ".8h\n",
            "sadalp ", $s1, ".4s, ", $p1, ".8h\n",
            "sadalp ", $s2, ".4s, ", $p2, ".8h\n",
            "sadalp ", $s3, ".4s, ", $p3, ".8h"
        )
    };
}

/// Sums of a row: two for each channel (inputs 0 and 1, 2 and 3 of the groups), channels 0 and 1, 2 and 3, and so on.
type RowSums = [int32x4_t; 8];

/// Products of two groups of four inputs are summed in 16 bits (2 * 127 * 128 = 32,512 fits), then added in pairs to 32 bits.
///
/// The loops are one piece of assembly each: of the intrinsics' the compiler makes `ext` and `smull` where `smull2` is meant, and
/// has no registers left for what that needs (125 instructions in the loop of two rows where there are 59 now).
impl Neon {
    /// Adds `pairs` times two groups of two rows, all 16 channels. All 32 registers are in use: 16 sums, a pair of weights of each
    /// group, four broadcasts and eight products.
    ///
    /// # Safety
    /// `pairs` is at least 1; 8 * `pairs` bytes can be read from each of `a`, 128 * `pairs` from `w`.
    #[inline(always)]
    unsafe fn add_two_rows(self, a: [*const u8; 2], w: *const i8, pairs: usize, sums: &mut [RowSums; 2]) {
        let [first, second] = sums;
        // SAFETY: the token proves NEON; the caller's contract.
        unsafe {
            asm!(
                "2:",
                "ldp q20, q21, [{w}]",
                "ldp q22, q23, [{w}, #64]",
                "ld1r {{v16.4s}}, [{a0}], #4",
                "ld1r {{v18.4s}}, [{a1}], #4",
                "ld1r {{v17.4s}}, [{a0}], #4",
                "ld1r {{v19.4s}}, [{a1}], #4",
                products!("smull", "v16", "v20" "v21", "v24" "v25" "v26" "v27"),
                products!("smull", "v18", "v20" "v21", "v28" "v29" "v30" "v31"),
                "ldp q20, q21, [{w}, #32]",
                products!("smlal", "v17", "v22" "v23", "v24" "v25" "v26" "v27"),
                products!("smlal", "v19", "v22" "v23", "v28" "v29" "v30" "v31"),
                "ldp q22, q23, [{w}, #96]",
                add_pairs!("v0" "v1" "v2" "v3", "v24" "v25" "v26" "v27"),
                add_pairs!("v8" "v9" "v10" "v11", "v28" "v29" "v30" "v31"),
                products!("smull", "v16", "v20" "v21", "v24" "v25" "v26" "v27"),
                products!("smull", "v18", "v20" "v21", "v28" "v29" "v30" "v31"),
                "add {w}, {w}, #128",
                products!("smlal", "v17", "v22" "v23", "v24" "v25" "v26" "v27"),
                products!("smlal", "v19", "v22" "v23", "v28" "v29" "v30" "v31"),
                "subs {pairs}, {pairs}, #1",
                add_pairs!("v4" "v5" "v6" "v7", "v24" "v25" "v26" "v27"),
                add_pairs!("v12" "v13" "v14" "v15", "v28" "v29" "v30" "v31"),
                "b.ne 2b",
                w = inout(reg) w => _,
                a0 = inout(reg) a[0] => _,
                a1 = inout(reg) a[1] => _,
                pairs = inout(reg) pairs => _,
                inout("v0") first[0],
                inout("v1") first[1],
                inout("v2") first[2],
                inout("v3") first[3],
                inout("v4") first[4],
                inout("v5") first[5],
                inout("v6") first[6],
                inout("v7") first[7],
                inout("v8") second[0],
                inout("v9") second[1],
                inout("v10") second[2],
                inout("v11") second[3],
                inout("v12") second[4],
                inout("v13") second[5],
                inout("v14") second[6],
                inout("v15") second[7],
                out("v16") _,
                out("v17") _,
                out("v18") _,
                out("v19") _,
                out("v20") _,
                out("v21") _,
                out("v22") _,
                out("v23") _,
                out("v24") _,
                out("v25") _,
                out("v26") _,
                out("v27") _,
                out("v28") _,
                out("v29") _,
                out("v30") _,
                out("v31") _,
                options(pure, readonly, nostack),
            );
        }
    }

    /// As [`Neon::add_two_rows`], of one row.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn add_row(self, a: *const u8, w: *const i8, pairs: usize, sums: &mut RowSums) {
        // SAFETY: the token proves NEON; the caller's contract.
        unsafe {
            asm!(
                "2:",
                "ldp q20, q21, [{w}]",
                "ldp q28, q29, [{w}, #32]",
                "ldp q22, q23, [{w}, #64]",
                "ldp q30, q31, [{w}, #96]",
                "ld1r {{v16.4s}}, [{a}], #4",
                "ld1r {{v17.4s}}, [{a}], #4",
                products!("smull", "v16", "v20" "v21", "v24" "v25" "v26" "v27"),
                products!("smull", "v16", "v28" "v29", "v8" "v9" "v10" "v11"),
                "add {w}, {w}, #128",
                products!("smlal", "v17", "v22" "v23", "v24" "v25" "v26" "v27"),
                products!("smlal", "v17", "v30" "v31", "v8" "v9" "v10" "v11"),
                "subs {pairs}, {pairs}, #1",
                add_pairs!("v0" "v1" "v2" "v3", "v24" "v25" "v26" "v27"),
                add_pairs!("v4" "v5" "v6" "v7", "v8" "v9" "v10" "v11"),
                "b.ne 2b",
                w = inout(reg) w => _,
                a = inout(reg) a => _,
                pairs = inout(reg) pairs => _,
                inout("v0") sums[0],
                inout("v1") sums[1],
                inout("v2") sums[2],
                inout("v3") sums[3],
                inout("v4") sums[4],
                inout("v5") sums[5],
                inout("v6") sums[6],
                inout("v7") sums[7],
                out("v8") _,
                out("v9") _,
                out("v10") _,
                out("v11") _,
                out("v16") _,
                out("v17") _,
                out("v20") _,
                out("v21") _,
                out("v22") _,
                out("v23") _,
                out("v24") _,
                out("v25") _,
                out("v26") _,
                out("v27") _,
                out("v28") _,
                out("v29") _,
                out("v30") _,
                out("v31") _,
                options(pure, readonly, nostack),
            );
        }
    }
}

impl Int8Tile for Neon {
    type Simd = Self;

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
    ) {
        debug_assert!((1..=2).contains(&R) && groups >= 2 && groups.is_multiple_of(2));
        // SAFETY: the token proves NEON; `a` has R rows of 4 * groups bytes, `w` 64 * groups bytes, `out` R rows
        // of 16 sums (the caller's contract; groups is positive and even), and nothing beyond is touched.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 8]; 2];
            match R {
                1 => self.add_row(a, w, groups / 2, &mut sums[0]),
                _ => self.add_two_rows([a, a.add(a_stride)], w, groups / 2, &mut sums),
            }
            for (r, sums) in sums.iter().enumerate().take(R) {
                for quarter in 0..4 {
                    let sums = vpaddq_s32(sums[2 * quarter], sums[2 * quarter + 1]);
                    vst1q_s32(out.add(r * out_stride + 4 * quarter), sums);
                }
            }
        }
    }
}

fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

crate::ops::ops!(
    /// The operations with NEON.
    OPS, name: "neon", isa: "neon", supported: supported, token: Neon, make: Neon::new(), features: "neon"
);
