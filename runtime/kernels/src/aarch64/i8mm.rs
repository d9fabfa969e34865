//! The int8 matrix multiplication extension (`smmla`; Armv8.6: Apple M2 and A15, Graviton 3, Cortex-X2, Cortex-A510).

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::Neon;
use super::tile::tile_loop;
use crate::chains::Chains;
use crate::gemm_i8::{Activations, Int8Tile};

/// Most pairs of rows of a tile.
const MOST_PAIRS: usize = 6;

/// Two groups of four inputs of eight channels, to eight inputs of channels 0 and 1, 2 and 3, 4 and 5, 6 and 7 in v28, v29, v24, v25.
macro_rules! load_weights {
    () => {
        "ldp q24, q25, [{w}], #64\n\
         ldp q26, q27, [{w}], #64\n\
         zip1 v28.4s, v24.4s, v26.4s\n\
         zip2 v29.4s, v24.4s, v26.4s\n\
         zip1 v24.4s, v25.4s, v27.4s\n\
         zip2 v25.4s, v25.4s, v27.4s"
    };
}

/// One pair of rows times the eight channels.
#[rustfmt::skip]
macro_rules! pair {
    ($rows:literal, $s0:literal $s1:literal $s2:literal $s3:literal) => {
        concat!(
            "smmla ", $s0, ".4s, ", $rows, ".16b, v28.16b\n",
            "smmla ", $s1, ".4s, ", $rows, ".16b, v29.16b\n",
            "smmla ", $s2, ".4s, ", $rows, ".16b, v24.16b\n",
            "smmla ", $s3, ".4s, ", $rows, ".16b, v25.16b"
        )
    };
}

/// Proof that the CPU has NEON with the int8 matrix multiplication extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct I8mm(Neon);

impl I8mm {
    /// # Safety
    /// The CPU has NEON and the int8 matrix multiplication extension.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller's contract.
        Self(unsafe { Neon::new() })
    }

    /// Eight channels of up to six pairs of rows: `sums[p][c][2 i + j]` is the sum of row 2 p + i and channel 2 c + j.
    ///
    /// The loop is one piece of assembly for each number of pairs, 16 inputs at a time. With all six, all 32 registers are in use: 24
    /// sums, four vectors of weights and four of rows.
    ///
    /// # Safety
    /// PAIRS is 1 to [`MOST_PAIRS`], `sixteens` at least 1. 64 * `sixteens` bytes can be read from `a` for each four rows that PAIRS begins,
    /// and 32 bytes from `w` and every 64 bytes after it, 4 * `sixteens` times.
    #[inline(always)]
    unsafe fn half_panel<const PAIRS: usize>(
        self,
        a: *const u8,
        w: *const i8,
        sixteens: usize,
    ) -> [[int32x4_t; 4]; MOST_PAIRS] {
        macro_rules! multiply {
            ($($step:expr),+) => {
                // SAFETY: the token proves the extension; the caller's contract: rows that PAIRS does not begin are not read.
                unsafe { tile_loop!(a, 64 * sixteens, w, sixteens; $($step),+) }
            };
        }
        // v26 and v27 hold rows as well once the weights are zipped, so that no product waits for rows just loaded.
        match PAIRS {
            1 => multiply!("ldr q30, [{a0}], #32", load_weights!(), pair!("v30", "v0" "v1" "v2" "v3")),
            2 => multiply!(
                "ldp q30, q31, [{a0}], #32",
                load_weights!(),
                pair!("v30", "v0" "v1" "v2" "v3"),
                pair!("v31", "v4" "v5" "v6" "v7")
            ),
            3 => multiply!(
                "ldp q30, q31, [{a0}], #32",
                load_weights!(),
                "ldr q26, [{a1}], #32",
                pair!("v30", "v0" "v1" "v2" "v3"),
                pair!("v31", "v4" "v5" "v6" "v7"),
                pair!("v26", "v8" "v9" "v10" "v11")
            ),
            4 => multiply!(
                "ldp q30, q31, [{a0}], #32",
                load_weights!(),
                "ldp q26, q27, [{a1}], #32",
                pair!("v30", "v0" "v1" "v2" "v3"),
                pair!("v31", "v4" "v5" "v6" "v7"),
                pair!("v26", "v8" "v9" "v10" "v11"),
                pair!("v27", "v12" "v13" "v14" "v15")
            ),
            5 => multiply!(
                "ldp q30, q31, [{a0}], #32",
                load_weights!(),
                "ldp q26, q27, [{a1}], #32",
                pair!("v30", "v0" "v1" "v2" "v3"),
                pair!("v31", "v4" "v5" "v6" "v7"),
                "ldr q30, [{a2}], #32",
                pair!("v26", "v8" "v9" "v10" "v11"),
                pair!("v27", "v12" "v13" "v14" "v15"),
                pair!("v30", "v16" "v17" "v18" "v19")
            ),
            _ => multiply!(
                "ldp q30, q31, [{a0}], #32",
                load_weights!(),
                "ldp q26, q27, [{a1}], #32",
                pair!("v30", "v0" "v1" "v2" "v3"),
                pair!("v31", "v4" "v5" "v6" "v7"),
                "ldp q30, q31, [{a2}], #32",
                pair!("v26", "v8" "v9" "v10" "v11"),
                pair!("v27", "v12" "v13" "v14" "v15"),
                pair!("v30", "v16" "v17" "v18" "v19"),
                pair!("v31", "v20" "v21" "v22" "v23")
            ),
        }
    }
}

impl Int8Tile for I8mm {
    type Simd = Neon;

    const ROWS: usize = 2 * MOST_PAIRS;
    const PANELS: usize = 1;
    const READS: Activations = Activations::Signed;
    // Two pairs for one `ldp`.
    const TOGETHER: usize = 4;

    #[inline(always)]
    fn simd(self) -> Neon {
        self.0
    }

    #[inline(always)]
    fn store_activations(self, x: [int32x4_t; 4], to: &mut [u8], place: usize) {
        self.0.store_halves(self.0.narrow(x), to, place, Self::TOGETHER);
    }

    #[inline(always)]
    fn store_probabilities(self, x: [int32x4_t; 4], to: &mut [u8], place: usize) {
        self.0.store_halves(self.0.flip(self.0.narrow(x), 0x80), to, place, Self::TOGETHER);
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
        _chains: Option<Chains<'_>>,
    ) {
        debug_assert!((1..=Self::ROWS).contains(&R) && groups >= 4 && groups.is_multiple_of(4));
        // SAFETY: the token proves the features; `a` has R rows of 4 * groups bytes, in fours that stand together and are all there,
        // `w` 64 * groups bytes, `out` R rows of 16 sums (the caller's contract; groups is a positive multiple of four), and nothing
        // beyond is touched.
        unsafe {
            for half in 0..2 {
                let w = w.add(32 * half);
                let sums = match R.div_ceil(2) {
                    1 => self.half_panel::<1>(a, w, groups / 4),
                    2 => self.half_panel::<2>(a, w, groups / 4),
                    3 => self.half_panel::<3>(a, w, groups / 4),
                    4 => self.half_panel::<4>(a, w, groups / 4),
                    5 => self.half_panel::<5>(a, w, groups / 4),
                    _ => self.half_panel::<6>(a, w, groups / 4),
                };
                for r in 0..R {
                    let sums = &sums[r / 2];
                    for quarter in 0..2 {
                        let low = vreinterpretq_s64_s32(sums[2 * quarter]);
                        let high = vreinterpretq_s64_s32(sums[2 * quarter + 1]);
                        let sums = if r % 2 == 0 { vzip1q_s64(low, high) } else { vzip2q_s64(low, high) };
                        vst1q_s32(out.add(r * out_stride + 8 * half + 4 * quarter), vreinterpretq_s32_s64(sums));
                    }
                }
            }
        }
    }
}

fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("neon") && std::arch::is_aarch64_feature_detected!("i8mm")
}

crate::ops::ops!(
    /// The operations with the int8 matrix multiplication extension.
    OPS, name: "neon-i8mm", isa: "neon,i8mm", supported: supported,
    token: I8mm, make: I8mm::new(), features: "neon,i8mm"
);
