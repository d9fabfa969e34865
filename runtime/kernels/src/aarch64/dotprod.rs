//! The dot product extension (`sdot`; Armv8.2: Raspberry Pi 5, phones since about 2018).

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::Neon;
use crate::gemm_i8::{Activations, Int8Tile};

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

    /// `acc[n] += sum over j < 4 of w[4 n + j] * a[4 LANE + j]`; the intrinsic `vdotq_laneq_s32` is not stable in Rust 1.95.
    #[inline(always)]
    fn sdot<const LANE: i32>(self, mut acc: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
        // SAFETY: the token proves the extension; registers only; LANE is 0..4.
        unsafe {
            asm!(
                "sdot {acc:v}.4s, {w:v}.16b, {a:v}.4b[{lane}]",
                acc = inout(vreg) acc,
                w = in(vreg) w,
                a = in(vreg) a,
                lane = const LANE,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        acc
    }

    /// One group of four inputs, number LANE of the four in `a`.
    ///
    /// # Safety
    /// 64 bytes can be read from `w`.
    #[inline(always)]
    unsafe fn group<const R: usize, const LANE: i32>(
        self,
        acc: &mut [[int32x4_t; 4]; R],
        w: *const i8,
        a: &[int8x16_t; R],
    ) {
        for quarter in 0..4 {
            // SAFETY: the token proves NEON; the caller's contract.
            let w = unsafe { vld1q_s8(w.add(16 * quarter)) };
            for r in 0..R {
                acc[r][quarter] = self.sdot::<LANE>(acc[r][quarter], w, a[r]);
            }
        }
    }
}

impl Int8Tile for Dotprod {
    type Simd = Neon;

    // 20 sums, five vectors of activations and one of weights in 32 registers.
    const ROWS: usize = 5;
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
        // SAFETY: the token proves the features; `a` has R rows of 4 * groups bytes, `w` 64 * groups bytes, `out` R rows
        // of 16 sums (the caller's contract; groups is a multiple of four), and nothing beyond is touched.
        unsafe {
            let mut acc = [[vdupq_n_s32(0); 4]; R];
            for group in (0..groups).step_by(4) {
                let mut rows = [vdupq_n_s8(0); R];
                for r in 0..R {
                    rows[r] = vld1q_s8(a.add(r * a_stride + 4 * group).cast());
                }
                let w = w.add(64 * group);
                self.group::<R, 0>(&mut acc, w, &rows);
                self.group::<R, 1>(&mut acc, w.add(64), &rows);
                self.group::<R, 2>(&mut acc, w.add(128), &rows);
                self.group::<R, 3>(&mut acc, w.add(192), &rows);
            }
            for r in 0..R {
                for quarter in 0..4 {
                    vst1q_s32(out.add(r * out_stride + 4 * quarter), acc[r][quarter]);
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
