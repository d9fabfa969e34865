//! The int8 tile of AVX512-VNNI, in assembly.
//!
//! Up to 8 rows x 3 panels: 24 sums, three vectors of weights and a broadcast in 32 registers. The compiler's version of the same
//! loop kept the row pointers on the stack, and two of the sums as well as soon as the surrounding code had constants to keep
//! (1.2 times as slow); `#[inline(never)]` does not help, since it is called from functions that are always inlined.

use std::arch::asm;

/// Weights of a row of sums: broadcasts four activations and multiplies them with each panel's 16 x 4 weights.
macro_rules! row {
    ($address:literal, $a:literal) => {
        concat!("vpbroadcastd zmm28, dword ptr [", $address, "]\n", "vpdpbusd zmm", $a, ", zmm28, zmm29\n")
    };
    ($address:literal, $a:literal, $b:literal) => {
        concat!(row!($address, $a), "vpdpbusd zmm", $b, ", zmm28, zmm30\n")
    };
    ($address:literal, $a:literal, $b:literal, $c:literal) => {
        concat!(row!($address, $a, $b), "vpdpbusd zmm", $c, ", zmm28, zmm31\n")
    };
}

/// Loads of one group's weights.
macro_rules! weights {
    (1) => {
        "vmovdqu64 zmm29, [{w}]\n"
    };
    (2) => {
        concat!(weights!(1), "vmovdqu64 zmm30, [{w} + {ws}]\n")
    };
    (3) => {
        concat!(weights!(2), "vmovdqu64 zmm31, [{w} + 2 * {ws}]\n")
    };
}

/// Stores of a row of sums.
macro_rules! store {
    ($a:literal) => {
        concat!("vmovdqu64 [{out}], zmm", $a, "\n")
    };
    ($a:literal, $b:literal) => {
        concat!(store!($a), "vmovdqu64 [{out} + 64], zmm", $b, "\n")
    };
    ($a:literal, $b:literal, $c:literal) => {
        concat!(store!($a, $b), "vmovdqu64 [{out} + 128], zmm", $c, "\n")
    };
}

/// A tile of the rows listed by address and registers of their sums.
macro_rules! tile {
    ($call:ident, $panels:tt: $($address:literal => $($sum:literal),+;)+) => {{
        let Tile { a, a_stride, w, w_stride, groups, out, out_stride, prefetch } = $call;
        let a3 = a.wrapping_add(3 * a_stride);
        let a6 = a.wrapping_add(6 * a_stride);
        // SAFETY: as `tile` says; rows beyond R are not addressed.
        unsafe {
            asm!(
                $($(concat!("vpxord zmm", $sum, ", zmm", $sum, ", zmm", $sum),)+)+
                // Small tiles use neither stride.
                "/* {s} {ws} */",
                "2:",
                weights!($panels),
                "prefetcht0 [{prefetch}]",
                $(row!($address, $($sum),+),)+
                "add {w}, 64",
                "add {prefetch}, 64",
                "add {a}, 4",
                "add {a3}, 4",
                "add {a6}, 4",
                "dec {groups}",
                "jnz 2b",
                $(store!($($sum),+), "add {out}, {outs}",)+
                a = inout(reg) a => _,
                a3 = inout(reg) a3 => _,
                a6 = inout(reg) a6 => _,
                s = in(reg) a_stride,
                w = inout(reg) w => _,
                ws = in(reg) w_stride,
                groups = inout(reg) groups => _,
                out = inout(reg) out => _,
                outs = in(reg) 4 * out_stride,
                prefetch = inout(reg) prefetch => _,
                out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
                out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
                out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
                out("zmm28") _, out("zmm29") _, out("zmm30") _, out("zmm31") _,
                options(nostack),
            );
        }
    }};
}

/// The tile of the first `$rows` of the rows listed; `$count` is how many the tile of this step has.
macro_rules! first_rows {
    ($call:ident, $rows:ident, $count:expr, $panels:tt; $($kept:literal => $($k:literal),+;)*; {$($row:tt)*} $($more:tt)*) => {
        if $rows == $count {
            tile!($call, $panels: $($kept => $($k),+;)* $($row)*)
        } else {
            first_rows!($call, $rows, $count + 1, $panels; $($kept => $($k),+;)* $($row)*; $($more)*)
        }
    };
    ($call:ident, $rows:ident, $count:expr, $panels:tt; $($kept:literal => $($k:literal),+;)*;) => {
        unreachable!("a tile has 1 to 8 rows")
    };
}

/// What a tile computes, in bytes and sums: see [`crate::gemm_i8::Int8Tile::tile`].
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub a: *const u8,
    pub a_stride: usize,
    pub w: *const i8,
    pub w_stride: usize,
    pub groups: usize,
    pub out: *mut i32,
    pub out_stride: usize,
    /// Where 64 * `groups` bytes are fetched into the first cache: weights needed next, or any address.
    pub prefetch: *const i8,
}

/// `out[r][p * 16 + n] = sum over k of a[r][k] * w[p][n][k]` for r < R, p < P, n < 16, with activations of u8.
///
/// # Safety
/// The CPU has AVX512-VNNI. R is 1 to 8, P 1 to 3, `groups` at least 1. `a` has R rows of 4 * groups bytes, `w` P panels of
/// 64 * groups bytes, `out` R rows of 16 * P sums, each with its stride.
#[inline(always)]
pub(super) unsafe fn tile<const R: usize, const P: usize>(call: Tile) {
    match P {
        1 => first_rows!(call, R, 1, 1; ;
            {"{a}" => 0;} {"{a} + {s}" => 1;} {"{a} + 2 * {s}" => 2;}
            {"{a3}" => 3;} {"{a3} + {s}" => 4;} {"{a3} + 2 * {s}" => 5;}
            {"{a6}" => 6;} {"{a6} + {s}" => 7;}
        ),
        2 => first_rows!(call, R, 1, 2; ;
            {"{a}" => 0, 1;} {"{a} + {s}" => 2, 3;} {"{a} + 2 * {s}" => 4, 5;}
            {"{a3}" => 6, 7;} {"{a3} + {s}" => 8, 9;} {"{a3} + 2 * {s}" => 10, 11;}
            {"{a6}" => 12, 13;} {"{a6} + {s}" => 14, 15;}
        ),
        3 => first_rows!(call, R, 1, 3; ;
            {"{a}" => 0, 1, 2;} {"{a} + {s}" => 3, 4, 5;} {"{a} + 2 * {s}" => 6, 7, 8;}
            {"{a3}" => 9, 10, 11;} {"{a3} + {s}" => 12, 13, 14;} {"{a3} + 2 * {s}" => 15, 16, 17;}
            {"{a6}" => 18, 19, 20;} {"{a6} + {s}" => 21, 22, 23;}
        ),
        _ => unreachable!("a tile has 1 to 3 panels"),
    }
}
