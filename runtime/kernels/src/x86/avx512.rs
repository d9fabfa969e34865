//! AVX-512 with VNNI: Intel since Cascade Lake and Ice Lake, AMD since Zen 4.

use std::arch::x86_64::*;

use half::f16;

use super::avx2::reduce_add_256;
use super::avx512_tile::{Tile, tile};
use crate::chains::Chains;
use crate::gemm_i8::{Activations, Int8Tile};
use crate::simd::{LANES, Simd};

/// Proof that the CPU has AVX-512 F, BW, DQ, VL and VNNI (and with them AVX2 and FMA).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The CPU has AVX-512 F, BW, DQ, VL and VNNI, AVX2 and FMA.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        Self(())
    }
}

macro_rules! simd {
    ($e:expr) => {{
        // SAFETY: the token proves the CPU feature; pointers come from references to whole arrays of the vector's width.
        unsafe { $e }
    }};
}

impl Simd for Avx512 {
    type F = __m512;
    type I = __m512i;

    // 24 sums, three vectors of weights and a broadcast in 32 registers.
    const TILE_ROWS: usize = 8;
    const TILE_VECTORS: usize = 3;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        simd!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        simd!(_mm512_loadu_ps(from.as_ptr()))
    }

    #[inline(always)]
    fn store(self, x: __m512, to: &mut [f32; LANES]) {
        simd!(_mm512_storeu_ps(to.as_mut_ptr(), x));
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        simd!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        simd!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        simd!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        simd!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        simd!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, x: __m512, c: __m512) -> __m512 {
        simd!(_mm512_max_ps(x, c))
    }

    #[inline(always)]
    fn min(self, x: __m512, c: __m512) -> __m512 {
        simd!(_mm512_min_ps(x, c))
    }

    #[inline(always)]
    fn abs(self, x: __m512) -> __m512 {
        simd!(_mm512_abs_ps(x))
    }

    #[inline(always)]
    fn add_exponent(self, p: __m512, t: __m512) -> __m512 {
        simd!({
            let shifted = _mm512_slli_epi32::<23>(_mm512_castps_si512(t));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), shifted))
        })
    }

    #[inline(always)]
    fn reduce_add(self, x: __m512) -> f32 {
        reduce_add_256(simd!(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x))))
    }

    #[inline(always)]
    fn reduce_max(self, x: __m512) -> f32 {
        simd!(_mm512_reduce_max_ps(x))
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32; LANES]) -> __m512i {
        simd!(_mm512_loadu_si512(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn store_i32(self, x: __m512i, to: &mut [i32; LANES]) {
        simd!(_mm512_storeu_si512(to.as_mut_ptr().cast(), x));
    }

    #[inline(always)]
    fn sub_i32(self, a: __m512i, b: __m512i) -> __m512i {
        simd!(_mm512_sub_epi32(a, b))
    }

    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        simd!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn store_i8x4(self, x: [__m512i; 4], to: &mut [u8; 4 * LANES]) {
        simd!({
            let byte = _mm512_set1_epi32(0xff);
            let low =
                _mm512_or_si512(_mm512_and_si512(x[0], byte), _mm512_slli_epi32::<8>(_mm512_and_si512(x[1], byte)));
            let high = _mm512_or_si512(_mm512_and_si512(x[2], byte), _mm512_slli_epi32::<8>(x[3]));
            let all = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), all);
        });
    }

    #[inline(always)]
    fn to_f32(self, x: __m512i) -> __m512 {
        simd!(_mm512_cvtepi32_ps(x))
    }

    #[inline(always)]
    fn round(self, x: __m512) -> __m512i {
        simd!(_mm512_cvtps_epi32(x))
    }

    #[inline(always)]
    fn store_i8(self, x: __m512i, flip: u8, to: &mut [u8; LANES]) {
        simd!({
            let bytes = _mm_xor_si128(_mm512_cvtepi32_epi8(x), _mm_set1_epi8(flip as i8));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        });
    }

    #[inline(always)]
    fn transpose(self, rows: &mut [[f32; LANES]; LANES]) {
        simd!({
            // Pairs of rows, then quadruples, then 128-bit lanes twice: 4 x 16 shuffles.
            let mut a = [_mm512_setzero_ps(); 16];
            let mut b = a;
            for i in 0..8 {
                let (x, y) = (_mm512_loadu_ps(rows[2 * i].as_ptr()), _mm512_loadu_ps(rows[2 * i + 1].as_ptr()));
                a[2 * i] = _mm512_unpacklo_ps(x, y);
                a[2 * i + 1] = _mm512_unpackhi_ps(x, y);
            }
            for i in 0..4 {
                for j in 0..2 {
                    let (x, y) = (_mm512_castps_pd(a[4 * i + j]), _mm512_castps_pd(a[4 * i + 2 + j]));
                    b[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                    b[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                }
            }
            for i in 0..2 {
                for j in 0..4 {
                    a[8 * i + j] = _mm512_shuffle_f32x4::<0x88>(b[8 * i + j], b[8 * i + 4 + j]);
                    a[8 * i + 4 + j] = _mm512_shuffle_f32x4::<0xdd>(b[8 * i + j], b[8 * i + 4 + j]);
                }
            }
            for j in 0..8 {
                let (x, y) = (a[j], a[8 + j]);
                _mm512_storeu_ps(rows[j].as_mut_ptr(), _mm512_shuffle_f32x4::<0x88>(x, y));
                _mm512_storeu_ps(rows[8 + j].as_mut_ptr(), _mm512_shuffle_f32x4::<0xdd>(x, y));
            }
        });
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> __m512 {
        simd!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()))))
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> __m512 {
        simd!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
    }
}

impl Int8Tile for Avx512 {
    type Simd = Self;

    const ROWS: usize = 8;
    const PANELS: usize = 3;
    const READS: Activations = Activations::Unsigned;

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
        w_stride: usize,
        groups: usize,
        out: *mut i32,
        out_stride: usize,
        prefetch: *const i8,
        _chains: Option<Chains<'_>>,
    ) {
        let call = Tile { a, a_stride, w, w_stride, groups, out, out_stride, prefetch };
        // SAFETY: the token proves the features; the rest is the caller's contract.
        unsafe { tile::<R, P>(call) }
    }
}

pub(super) fn supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
}

crate::ops::ops!(
    /// The operations with AVX-512 VNNI.
    OPS, name: "avx512-vnni", isa: "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", supported: supported,
    token: Avx512, make: Avx512::new(), features: "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma"
);
