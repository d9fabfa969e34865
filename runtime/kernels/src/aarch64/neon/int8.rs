//! int8 products with `smull` and `smlal`, which leave sums of 16 bits: [`crate::chains`] says how many products these hold.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{I, Neon};
use crate::chains::{self, BLOCK_INPUTS, Chains};
use crate::gemm_i8::{Activations, Int8Tile};

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

#[cfg(test)]
mod tests;
