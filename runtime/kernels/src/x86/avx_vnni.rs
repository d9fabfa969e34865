//! AVX-VNNI: `vpdpbusd` on 256 bits, for CPUs without AVX-512 (Intel since Alder Lake, AMD since Zen 5).

use std::arch::x86_64::*;

use super::avx2::Avx2;
use crate::chains::Chains;
use crate::gemm_i8::{Activations, Int8Tile};
use crate::simd::Simd;

/// Proof that the CPU has AVX-VNNI, AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AvxVnni(Avx2);

impl AvxVnni {
    /// # Safety
    /// The CPU has AVX-VNNI, AVX2, FMA and F16C.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller's contract.
        Self(unsafe { Avx2::new() })
    }
}

impl Int8Tile for AvxVnni {
    type Simd = Avx2;

    // 12 sums, two vectors of weights and a broadcast in 16 registers.
    const ROWS: usize = 6;
    const PANELS: usize = 1;
    const READS: Activations = Activations::Unsigned;

    #[inline(always)]
    fn simd(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn store_probabilities(self, x: <Avx2 as Simd>::I, to: &mut [u8], _place: usize) {
        self.0.store_u8(x, to.first_chunk_mut().expect("16 probabilities of a byte"));
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
        // SAFETY: the token proves the features; `a` has R rows of 4 * groups bytes, `w` 64 * groups bytes, `out` R rows
        // of 16 sums (the caller's contract), and nothing beyond is touched.
        unsafe {
            let mut acc = [[_mm256_setzero_si256(); 2]; R];
            for group in 0..groups {
                let w = w.add(64 * group);
                let w = [_mm256_loadu_si256(w.cast()), _mm256_loadu_si256(w.add(32).cast())];
                for r in 0..R {
                    let a = a.add(r * a_stride + 4 * group).cast::<i32>();
                    let a = _mm256_set1_epi32(a.read_unaligned());
                    acc[r][0] = _mm256_dpbusd_avx_epi32(acc[r][0], a, w[0]);
                    acc[r][1] = _mm256_dpbusd_avx_epi32(acc[r][1], a, w[1]);
                }
            }
            for r in 0..R {
                let out = out.add(r * out_stride);
                _mm256_storeu_si256(out.cast(), acc[r][0]);
                _mm256_storeu_si256(out.add(8).cast(), acc[r][1]);
            }
        }
    }
}

fn supported() -> bool {
    is_x86_feature_detected!("avxvnni")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

crate::ops::ops!(
    /// The operations with AVX-VNNI.
    OPS, name: "avx-vnni", isa: "avx2,fma,f16c,avxvnni", supported: supported,
    token: AvxVnni, make: AvxVnni::new(), features: "avx2,fma,f16c,avxvnni"
);
