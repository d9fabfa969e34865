//! The dot product extension (`sdot`; Armv8.2: Raspberry Pi 5, phones since about 2018).

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::Neon;
use super::tile::tile_loop;
use crate::chains::Chains;
use crate::gemm_i8::{Activations, Int8Tile};

/// Most pairs of rows of a tile.
const MOST_PAIRS: usize = 3;

/// Two quarters of a group's weights (v28 and v29, or v30 and v31) times a row of the group in a lane.
#[rustfmt::skip]
macro_rules! row {
    (($w0:literal $w1:literal), $rows:literal $lane:literal, $s0:literal $s1:literal) => {
        concat!(
            "sdot ", $s0, ".4s, ", $w0, ".16b, ", $rows, ".4b[", $lane, "]\n",
            "sdot ", $s1, ".4s, ", $w1, ".16b, ", $rows, ".4b[", $lane, "]"
        )
    };
}

/// The same for the two rows of a vector: group 0 of the first is lane 0, of the second lane 2, group 1 in the lanes after.
#[rustfmt::skip]
macro_rules! pair {
    (0, $w:tt, $rows:literal, ($a0:literal $a1:literal), ($b0:literal $b1:literal)) => {
        concat!(row!($w, $rows "0", $a0 $a1), "\n", row!($w, $rows "2", $b0 $b1))
    };
    (1, $w:tt, $rows:literal, ($a0:literal $a1:literal), ($b0:literal $b1:literal)) => {
        concat!(row!($w, $rows "1", $a0 $a1), "\n", row!($w, $rows "3", $b0 $b1))
    };
}

/// The same for one to three pairs, in v24 to v26: with the low or the high eight channels.
#[rustfmt::skip]
macro_rules! pairs {
    (1, $group:tt, $w0:literal $w1:literal, low) => { pair!($group, ($w0 $w1), "v24", ("v0" "v1"), ("v4" "v5")) };
    (1, $group:tt, $w0:literal $w1:literal, high) => { pair!($group, ($w0 $w1), "v24", ("v2" "v3"), ("v6" "v7")) };
    (2, $group:tt, $w0:literal $w1:literal, low) => {
        concat!(pairs!(1, $group, $w0 $w1, low), "\n", pair!($group, ($w0 $w1), "v25", ("v8" "v9"), ("v12" "v13")))
    };
    (2, $group:tt, $w0:literal $w1:literal, high) => {
        concat!(pairs!(1, $group, $w0 $w1, high), "\n", pair!($group, ($w0 $w1), "v25", ("v10" "v11"), ("v14" "v15")))
    };
    (3, $group:tt, $w0:literal $w1:literal, low) => {
        concat!(pairs!(2, $group, $w0 $w1, low), "\n", pair!($group, ($w0 $w1), "v26", ("v16" "v17"), ("v20" "v21")))
    };
    (3, $group:tt, $w0:literal $w1:literal, high) => {
        concat!(pairs!(2, $group, $w0 $w1, high), "\n", pair!($group, ($w0 $w1), "v26", ("v18" "v19"), ("v22" "v23")))
    };
}

/// Proof that the CPU has NEON with the dot product extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dotprod(Neon);

impl Dotprod {
    /// # Safety
    /// The CPU has NEON and the dot product extension.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller's contract.
        Self(unsafe { Neon::new() })
    }

    /// All 16 channels of up to three pairs of rows: `sums[r][q]` are row r's of channels 4 q to 4 q + 3.
    ///
    /// The loop is one piece of assembly for each number of pairs, 16 inputs at a time. Weights of eight channels are loaded while
    /// the products of the eight before run, but for the first of a step.
    ///
    /// # Safety
    /// PAIRS is 1 to [`MOST_PAIRS`], `sixteens` at least 1. 32 * `sixteens` bytes can be read from `a` for each pair, and 256 * `sixteens`
    /// from `w`.
    #[inline(always)]
    unsafe fn panel<const PAIRS: usize>(
        self,
        a: *const u8,
        w: *const i8,
        sixteens: usize,
    ) -> [[int32x4_t; 4]; 2 * MOST_PAIRS] {
        macro_rules! multiply {
            (load: $load:expr; group 0: $a0:expr, $a1:expr; group 1: $b0:expr, $b1:expr) => {
                // SAFETY: the token proves the extension; the caller's contract: pairs beyond PAIRS are not read.
                unsafe {
                    tile_loop!(a, 32 * sixteens, w, sixteens;
                        "ldp q28, q29, [{w}], #32", $load, "ldp q30, q31, [{w}], #32",
                        $a0, "ldp q28, q29, [{w}], #32", $a1, "ldp q30, q31, [{w}], #32", $b0, $b1)
                }
            };
        }
        match PAIRS {
            1 => multiply!(
                load: "ldr q24, [{a0}], #16";
                group 0: pairs!(1, 0, "v28" "v29", low), pairs!(1, 0, "v30" "v31", high);
                group 1: pairs!(1, 1, "v28" "v29", low), pairs!(1, 1, "v30" "v31", high)
            ),
            2 => multiply!(
                load: "ldr q24, [{a0}], #16\nldr q25, [{a1}], #16";
                group 0: pairs!(2, 0, "v28" "v29", low), pairs!(2, 0, "v30" "v31", high);
                group 1: pairs!(2, 1, "v28" "v29", low), pairs!(2, 1, "v30" "v31", high)
            ),
            _ => multiply!(
                load: "ldr q24, [{a0}], #16\nldr q25, [{a1}], #16\nldr q26, [{a2}], #16";
                group 0: pairs!(3, 0, "v28" "v29", low), pairs!(3, 0, "v30" "v31", high);
                group 1: pairs!(3, 1, "v28" "v29", low), pairs!(3, 1, "v30" "v31", high)
            ),
        }
    }
}

impl Int8Tile for Dotprod {
    type Simd = Neon;

    // 24 sums, three pairs of rows and four vectors of weights in 32 registers.
    const ROWS: usize = 2 * MOST_PAIRS;
    const PANELS: usize = 1;
    const READS: Activations = Activations::Signed;
    const TOGETHER: usize = 2;

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
        // SAFETY: the token proves the features; `a` has R rows of 4 * groups bytes, in pairs that are whole, `w` 64 * groups bytes,
        // `out` R rows of 16 sums (the caller's contract; groups is a positive multiple of four), and nothing beyond is touched.
        unsafe {
            let sums = match R.div_ceil(2) {
                1 => self.panel::<1>(a, w, groups / 4),
                2 => self.panel::<2>(a, w, groups / 4),
                _ => self.panel::<3>(a, w, groups / 4),
            };
            for (r, sums) in sums.iter().enumerate().take(R) {
                for quarter in 0..4 {
                    vst1q_s32(out.add(r * out_stride + 4 * quarter), sums[quarter]);
                }
            }
        }
    }
}

fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("neon") && std::arch::is_aarch64_feature_detected!("dotprod")
}

crate::ops::ops!(
    /// The operations with the dot product extension.
    OPS, name: "neon-dotprod", isa: "neon,dotprod", supported: supported,
    token: Dotprod, make: Dotprod::new(), features: "neon,dotprod"
);
