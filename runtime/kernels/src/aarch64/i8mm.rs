//! The int8 matrix multiplication extension (`smmla`; Armv8.6: Apple M2 and A15, Graviton 3, Cortex-X2, Cortex-A510).

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::Neon;
use crate::gemm_i8::{Activations, Int8Tile};

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

    /// `acc[2 i + j] += sum over k < 8 of a[8 i + k] * w[8 j + k]`; the intrinsic `vmmlaq_s32` is not stable in Rust 1.95.
    #[inline(always)]
    fn smmla(self, mut acc: int32x4_t, a: int8x16_t, w: int8x16_t) -> int32x4_t {
        // SAFETY: the token proves the extension; registers only.
        unsafe {
            asm!(
                "smmla {acc:v}.4s, {a:v}.16b, {w:v}.16b",
                acc = inout(vreg) acc,
                a = in(vreg) a,
                w = in(vreg) w,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        acc
    }

    /// Two groups of eight channels for three pairs of rows. In one piece, since the compiler otherwise loads all weights of a step
    /// first, for which there are no registers beside 24 sums: 27 of the loop's 79 instructions were moves. Here all 32 are in use.
    ///
    /// # Safety
    /// 32 bytes can be read from `w`, and from 64 bytes after it.
    #[inline(always)]
    unsafe fn three_pairs(
        self,
        acc: &mut [[int32x4_t; 8]; PAIRS],
        half: usize,
        rows: &[int8x16_t; PAIRS],
        w: *const i32,
    ) {
        let [first, second, third] = acc;
        let sums = 4 * half;
        // SAFETY: the token proves the extension; the caller's contract.
        unsafe {
            asm!(
                "ldp {w0:q}, {w2:q}, [{w}]",
                "ldp {w1:q}, {w3:q}, [{w}, #64]",
                "zip1 {low:v}.4s, {w0:v}.4s, {w1:v}.4s",
                "zip2 {w1:v}.4s, {w0:v}.4s, {w1:v}.4s",
                "smmla {a0:v}.4s, {r0:v}.16b, {low:v}.16b",
                "smmla {b0:v}.4s, {r1:v}.16b, {low:v}.16b",
                "smmla {c0:v}.4s, {r2:v}.16b, {low:v}.16b",
                "zip1 {w0:v}.4s, {w2:v}.4s, {w3:v}.4s",
                "smmla {a1:v}.4s, {r0:v}.16b, {w1:v}.16b",
                "smmla {b1:v}.4s, {r1:v}.16b, {w1:v}.16b",
                "smmla {c1:v}.4s, {r2:v}.16b, {w1:v}.16b",
                "zip2 {w3:v}.4s, {w2:v}.4s, {w3:v}.4s",
                "smmla {a2:v}.4s, {r0:v}.16b, {w0:v}.16b",
                "smmla {b2:v}.4s, {r1:v}.16b, {w0:v}.16b",
                "smmla {c2:v}.4s, {r2:v}.16b, {w0:v}.16b",
                "smmla {a3:v}.4s, {r0:v}.16b, {w3:v}.16b",
                "smmla {b3:v}.4s, {r1:v}.16b, {w3:v}.16b",
                "smmla {c3:v}.4s, {r2:v}.16b, {w3:v}.16b",
                w = in(reg) w,
                w0 = out(vreg) _,
                w1 = out(vreg) _,
                w2 = out(vreg) _,
                w3 = out(vreg) _,
                low = out(vreg) _,
                r0 = in(vreg) rows[0],
                r1 = in(vreg) rows[1],
                r2 = in(vreg) rows[2],
                a0 = inout(vreg) first[sums],
                a1 = inout(vreg) first[sums + 1],
                a2 = inout(vreg) first[sums + 2],
                a3 = inout(vreg) first[sums + 3],
                b0 = inout(vreg) second[sums],
                b1 = inout(vreg) second[sums + 1],
                b2 = inout(vreg) second[sums + 2],
                b3 = inout(vreg) second[sums + 3],
                c0 = inout(vreg) third[sums],
                c1 = inout(vreg) third[sums + 1],
                c2 = inout(vreg) third[sums + 2],
                c3 = inout(vreg) third[sums + 3],
                options(pure, readonly, nostack, preserves_flags),
            );
        }
    }
}

/// Most pairs of rows of a tile.
const PAIRS: usize = 3;

impl Int8Tile for I8mm {
    type Simd = Neon;

    // 24 sums (2 x 2 each), three pairs of rows of activations and five vectors of weights in 32 registers.
    const ROWS: usize = 2 * PAIRS;
    const PANELS: usize = 1;
    const READS: Activations = Activations::Signed;

    #[inline(always)]
    fn simd(self) -> Neon {
        self.0
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
        let pairs = R.div_ceil(2);
        // SAFETY: the token proves the features; `a` has R rows of 4 * groups bytes, `w` 64 * groups bytes, `out` R rows
        // of 16 sums (the caller's contract; groups is even), and nothing beyond is touched.
        unsafe {
            let mut acc = [[vdupq_n_s32(0); 8]; PAIRS];
            for group in (0..groups).step_by(2) {
                let mut rows = [vdupq_n_s8(0); PAIRS];
                for pair in 0..pairs {
                    // An odd last row is its own partner; the partner's sums are dropped.
                    let partner = (2 * pair + 1).min(R - 1);
                    let first = vld1_s8(a.add(2 * pair * a_stride + 4 * group).cast());
                    let second = vld1_s8(a.add(partner * a_stride + 4 * group).cast());
                    rows[pair] = vcombine_s8(first, second);
                }
                let w = w.add(64 * group).cast::<i32>();
                if pairs == PAIRS {
                    self.three_pairs(&mut acc, 0, &rows, w);
                    self.three_pairs(&mut acc, 1, &rows, w.add(8));
                    continue;
                }
                for quarter in 0..4 {
                    // Two groups of the same four channels, to eight inputs of channels 0 and 1, and of 2 and 3.
                    let (w0, w1) = (vld1q_s32(w.add(4 * quarter)), vld1q_s32(w.add(16 + 4 * quarter)));
                    let low = vreinterpretq_s8_s32(vzip1q_s32(w0, w1));
                    let high = vreinterpretq_s8_s32(vzip2q_s32(w0, w1));
                    for pair in 0..pairs {
                        let (acc, rows) = (&mut acc[pair], rows[pair]);
                        acc[2 * quarter] = self.smmla(acc[2 * quarter], rows, low);
                        acc[2 * quarter + 1] = self.smmla(acc[2 * quarter + 1], rows, high);
                    }
                }
            }
            for r in 0..R {
                let acc = &acc[r / 2];
                for quarter in 0..4 {
                    let low = vreinterpretq_s64_s32(acc[2 * quarter]);
                    let high = vreinterpretq_s64_s32(acc[2 * quarter + 1]);
                    let sums = if r % 2 == 0 { vzip1q_s64(low, high) } else { vzip2q_s64(low, high) };
                    vst1q_s32(out.add(r * out_stride + 4 * quarter), vreinterpretq_s32_s64(sums));
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
