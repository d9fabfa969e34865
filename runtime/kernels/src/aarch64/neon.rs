//! NEON as every aarch64 CPU has it (Raspberry Pi 3 and 4, phones since 2014).

use std::arch::aarch64::*;
use std::arch::asm;

use half::f16;

use crate::chains::{self, BLOCK_INPUTS, Chains};
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

/// Four broadcasts: of row 0 groups 0 and 1, of row 1 groups 0 and 1.
#[rustfmt::skip]
macro_rules! broadcast {
    ($a:literal) => { concat!("ld4r {{v16.4s, v17.4s, v18.4s, v19.4s}}, [{", $a, "}], #16") };
}

/// Eight channels' weights of one group (v20 and v21) or the next (v22 and v23), so many bytes from `w` on.
#[rustfmt::skip]
macro_rules! weights {
    (0, $at:literal) => { concat!("ldp q20, q21, [{w}, #", $at, "]") };
    (1, $at:literal) => { concat!("ldp q22, q23, [{w}, #", $at, "]") };
}

/// Products of one group with both rows: of the first of two, or of the second.
#[rustfmt::skip]
macro_rules! both_rows {
    ($multiply:literal, 0) => {
        concat!(
            products!($multiply, "v16", "v20" "v21", "v24" "v25" "v26" "v27"), "\n",
            products!($multiply, "v18", "v20" "v21", "v28" "v29" "v30" "v31")
        )
    };
    ($multiply:literal, 1) => {
        concat!(
            products!($multiply, "v17", "v22" "v23", "v24" "v25" "v26" "v27"), "\n",
            products!($multiply, "v19", "v22" "v23", "v28" "v29" "v30" "v31")
        )
    };
}

/// Adds the products to the sums of both rows: of the low eight channels, or the high.
#[rustfmt::skip]
macro_rules! add_both {
    (low) => {
        concat!(
            add_pairs!("v0" "v1" "v2" "v3", "v24" "v25" "v26" "v27"), "\n",
            add_pairs!("v8" "v9" "v10" "v11", "v28" "v29" "v30" "v31")
        )
    };
    (high) => {
        concat!(
            add_pairs!("v4" "v5" "v6" "v7", "v24" "v25" "v26" "v27"), "\n",
            add_pairs!("v12" "v13" "v14" "v15", "v28" "v29" "v30" "v31")
        )
    };
}

/// Two groups of two rows that stand together, all 16 channels: products of two groups are summed in 16 bits (2 * 127 * 128 = 32,512
/// fits), then added in pairs to 32 bits.
#[rustfmt::skip]
macro_rules! two_groups {
    () => {
        concat!(
            weights!(0, 0), "\n", broadcast!("a"), "\n", weights!(1, 64), "\n",
            both_rows!("smull", 0), "\n", weights!(0, 32), "\n",
            both_rows!("smlal", 1), "\n", weights!(1, 96), "\n",
            add_both!(low), "\n",
            both_rows!("smull", 0), "\n", "add {w}, {w}, #128\n",
            both_rows!("smlal", 1), "\n",
            add_both!(high)
        )
    };
}

/// The operands of a loop over two rows: its own, and all 32 registers: 16 sums, four broadcasts, weights of two groups (eight channels)
/// and eight products.
macro_rules! two_rows {
    ($sums:expr; [$($template:expr),+ $(,)?] $($operands:tt)+) => {{
        let [first, second] = $sums;
        asm!(
            $($template,)+
            $($operands)+,
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
    }};
}

/// The loops are one piece of assembly each: of the intrinsics' the compiler makes `ext` and `smull` where `smull2` is meant, and
/// has no registers left for what that needs (125 instructions in the loop of two groups where there are 56 now).
impl Neon {
    /// Adds `pairs` times two groups of two rows, all 16 channels.
    ///
    /// # Safety
    /// `pairs` is at least 1; 16 * `pairs` bytes can be read from `a`, 128 * `pairs` from `w`.
    #[inline(always)]
    unsafe fn add_two_rows(self, a: *const u8, w: *const i8, pairs: usize, sums: &mut [RowSums; 2]) {
        // SAFETY: the token proves NEON; the caller's contract.
        unsafe {
            two_rows!(sums; ["2:", two_groups!(), "subs {pairs}, {pairs}, #1", "b.ne 2b"]
                a = inout(reg) a => _,
                w = inout(reg) w => _,
                pairs = inout(reg) pairs => _
            );
        }
    }

    /// As [`Neon::add_two_rows`], of as many blocks as there are limits. Products of all eight groups of a block are summed in 16 bits where they
    /// are sure to fit: 16 instructions to add them instead of 64, and four to know it.
    ///
    /// Eight channels at a time. Weights of the next two groups are loaded while the products of the last run; the broadcasts' registers are in use
    /// until just before they are loaded again, for which a core that executes in order waits.
    ///
    /// # Safety
    /// There is at least one limit, and a sum of squares for each; 64 bytes can be read from `a` for each, 512 from `w`.
    #[inline(always)]
    unsafe fn add_blocks(self, a: *const u8, w: *const i8, chains: Chains<'_>, sums: &mut [RowSums; 2]) {
        // SAFETY: the token proves NEON; the caller's contract.
        unsafe {
            two_rows!(sums; [
                "2:",
                "ldrh {squares:w}, [{weights}], #2",
                "ldrh {limit:w}, [{limits}], #2",
                "cmp {squares:w}, {limit:w}",
                "b.hi 3f",
                // The low eight channels.
                weights!(0, 0), broadcast!("a"), weights!(1, 64),
                both_rows!("smull", 0), weights!(0, 128), both_rows!("smlal", 1), broadcast!("a"), weights!(1, 192),
                both_rows!("smlal", 0), weights!(0, 256), both_rows!("smlal", 1), broadcast!("a"), weights!(1, 320),
                both_rows!("smlal", 0), weights!(0, 384), both_rows!("smlal", 1), broadcast!("a"), weights!(1, 448),
                both_rows!("smlal", 0), weights!(0, 32), both_rows!("smlal", 1), broadcast!("again"), weights!(1, 96),
                add_both!(low),
                // The high eight.
                both_rows!("smull", 0), weights!(0, 160), both_rows!("smlal", 1), broadcast!("again"), weights!(1, 224),
                both_rows!("smlal", 0), weights!(0, 288), both_rows!("smlal", 1), broadcast!("again"), weights!(1, 352),
                both_rows!("smlal", 0), weights!(0, 416), both_rows!("smlal", 1), broadcast!("again"), weights!(1, 480),
                both_rows!("smlal", 0), "add {w}, {w}, #512", both_rows!("smlal", 1),
                add_both!(high),
                "subs {blocks}, {blocks}, #1",
                "b.ne 2b",
                "b 5f",
                // A block that may not fit.
                "3:",
                "mov {squares}, #4",
                "4:",
                two_groups!(),
                "subs {squares}, {squares}, #1",
                "b.ne 4b",
                "mov {again}, {a}",
                "subs {blocks}, {blocks}, #1",
                "b.ne 2b",
                "5:",
                ]
                a = inout(reg) a => _,
                again = inout(reg) a => _,
                w = inout(reg) w => _,
                weights = inout(reg) chains.weights.as_ptr() => _,
                limits = inout(reg) chains.limits.as_ptr() => _,
                blocks = inout(reg) chains.weights.len() => _,
                squares = out(reg) _,
                limit = out(reg) _
            );
        }
    }

    /// As [`Neon::add_two_rows`], of the first row only.
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
                "ld2r {{v16.4s, v17.4s}}, [{a}], {step}",
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
                step = in(reg) 16_usize,
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

/// Squares of a group's 64 weights (in v0 to v3), written or added to eight registers.
#[rustfmt::skip]
macro_rules! squares {
    ($multiply:literal, $s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal) => {
        concat!(
            "ldp q0, q1, [{w}], #32\n",
            "ldp q2, q3, [{w}], #32\n",
            $multiply, " ", $s0, ".8h, v0.8b, v0.8b\n",
            $multiply, "2 ", $s1, ".8h, v0.16b, v0.16b\n",
            $multiply, " ", $s2, ".8h, v1.8b, v1.8b\n",
            $multiply, "2 ", $s3, ".8h, v1.16b, v1.16b\n",
            $multiply, " ", $s4, ".8h, v2.8b, v2.8b\n",
            $multiply, "2 ", $s5, ".8h, v2.16b, v2.16b\n",
            $multiply, " ", $s6, ".8h, v3.8b, v3.8b\n",
            $multiply, "2 ", $s7, ".8h, v3.16b, v3.16b"
        )
    };
}

/// Adds v24 to v31 to v16 to v23, saturating.
#[rustfmt::skip]
macro_rules! add_squares {
    () => {
        concat!(
            "uqadd v16.8h, v16.8h, v24.8h\n", "uqadd v17.8h, v17.8h, v25.8h\n",
            "uqadd v18.8h, v18.8h, v26.8h\n", "uqadd v19.8h, v19.8h, v27.8h\n",
            "uqadd v20.8h, v20.8h, v28.8h\n", "uqadd v21.8h, v21.8h, v29.8h\n",
            "uqadd v22.8h, v22.8h, v30.8h\n", "uqadd v23.8h, v23.8h, v31.8h"
        )
    };
}

impl Neon {
    /// [`chains::weight_squares`]. Three squares fit 16 bits (3 * 128 * 128 = 49,152); beyond that sums saturate.
    ///
    /// # Safety
    /// `to` is not empty, and 512 bytes can be read from `w` for each of its elements.
    #[inline(always)]
    unsafe fn panel_squares(self, w: *const i8, to: &mut [u16]) {
        // SAFETY: the token proves NEON; the caller's contract.
        unsafe {
            asm!(
                "2:",
                squares!("smull", "v16" "v17" "v18" "v19" "v20" "v21" "v22" "v23"),
                squares!("smlal", "v16" "v17" "v18" "v19" "v20" "v21" "v22" "v23"),
                squares!("smlal", "v16" "v17" "v18" "v19" "v20" "v21" "v22" "v23"),
                squares!("smull", "v24" "v25" "v26" "v27" "v28" "v29" "v30" "v31"),
                squares!("smlal", "v24" "v25" "v26" "v27" "v28" "v29" "v30" "v31"),
                squares!("smlal", "v24" "v25" "v26" "v27" "v28" "v29" "v30" "v31"),
                add_squares!(),
                squares!("smull", "v24" "v25" "v26" "v27" "v28" "v29" "v30" "v31"),
                squares!("smlal", "v24" "v25" "v26" "v27" "v28" "v29" "v30" "v31"),
                add_squares!(),
                "umax v16.8h, v16.8h, v17.8h",
                "umax v18.8h, v18.8h, v19.8h",
                "umax v20.8h, v20.8h, v21.8h",
                "umax v22.8h, v22.8h, v23.8h",
                "umax v16.8h, v16.8h, v18.8h",
                "umax v20.8h, v20.8h, v22.8h",
                "umax v16.8h, v16.8h, v20.8h",
                "umaxv h16, v16.8h",
                "str h16, [{to}], #2",
                "subs {blocks}, {blocks}, #1",
                "b.ne 2b",
                w = inout(reg) w => _,
                to = inout(reg) to.as_mut_ptr() => _,
                blocks = inout(reg) to.len() => _,
                out("v0") _,
                out("v1") _,
                out("v2") _,
                out("v3") _,
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
                options(nostack),
            );
        }
    }

    /// A block's of [`chains::row_squares`].
    #[inline(always)]
    fn pair_squares(self, block: &[u8; 2 * BLOCK_INPUTS]) -> u16 {
        let mut sums = [simd!(vdupq_n_u16(0)); 2];
        for sixteen in block.as_chunks::<16>().0 {
            simd!({
                let x = vld1q_s8(sixteen.as_ptr().cast());
                let (first, second) = (vget_low_s8(x), vget_high_s8(x));
                sums[0] = vqaddq_u16(sums[0], vreinterpretq_u16_s16(vmull_s8(first, first)));
                sums[1] = vqaddq_u16(sums[1], vreinterpretq_u16_s16(vmull_s8(second, second)));
            });
        }
        simd!({
            // Lanes of even groups and of odd ones.
            let first = vqadd_u16(vget_low_u16(sums[0]), vget_high_u16(sums[0]));
            let second = vqadd_u16(vget_low_u16(sums[1]), vget_high_u16(sums[1]));
            vmaxv_u16(vmax_u16(first, second))
        })
    }
}

impl Int8Tile for Neon {
    type Simd = Self;

    const ROWS: usize = 2;
    const PANELS: usize = 1;
    const READS: Activations = Activations::Signed;
    const TOGETHER: usize = 2;
    const CHAINS: bool = true;

    #[inline(always)]
    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    fn weight_squares(self, panel: &[i8], to: &mut [u16]) {
        assert!(!to.is_empty() && panel.len() == 16 * BLOCK_INPUTS * to.len());
        // SAFETY: the token proves NEON; the panel has as many blocks as `to` has elements, at least one.
        unsafe { self.panel_squares(panel.as_ptr(), to) }
    }

    #[inline(always)]
    fn row_squares(self, rows: &[u8], to: &mut [u16]) {
        for (block, to) in rows.as_chunks::<{ 2 * BLOCK_INPUTS }>().0.iter().zip(to) {
            *to = self.pair_squares(block);
        }
    }

    #[inline(always)]
    fn store_activations(self, x: I, to: &mut [u8], place: usize) {
        self.store_halves(self.narrow(x), to, place, Self::TOGETHER);
    }

    #[inline(always)]
    fn store_probabilities(self, x: I, to: &mut [u8], place: usize) {
        self.store_halves(self.flip(self.narrow(x), 0x80), to, place, Self::TOGETHER);
    }

    #[inline(always)]
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
        debug_assert!((1..=2).contains(&R) && groups >= 2 && groups.is_multiple_of(2));
        debug_assert!(
            chains.is_none_or(|c| c.weights.len() == c.limits.len() && c.weights.len() * chains::BLOCK == groups)
        );
        // SAFETY: the token proves NEON; `a` has two rows of 4 * groups bytes that stand together, `w` 64 * groups bytes, `out` R rows
        // of 16 sums (the caller's contract; groups is positive and even, and `chains` are of as many), and nothing beyond is touched.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 8]; 2];
            match (R, chains) {
                (1, _) => self.add_row(a, w, groups / 2, &mut sums[0]),
                (_, None) => self.add_two_rows(a, w, groups / 2, &mut sums),
                (_, Some(chains)) => self.add_blocks(a, w, chains, &mut sums),
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

#[cfg(test)]
mod tests;
