//! AVX2 with FMA and F16C: any x86-64 CPU since 2013 (Intel Haswell) or 2015 (AMD Excavator).

use std::arch::x86_64::*;

use half::f16;

use crate::chains::Chains;
use crate::gemm_i8::{Activations, Int8Tile};
use crate::simd::{LANES, Simd};

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The CPU has AVX2, FMA and F16C.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Intrinsics whose only duty is that the CPU has the feature, which the token's existence proves; those that take pointers
/// get them from references to arrays of the full width.
macro_rules! simd {
    ($e:expr) => {{
        // SAFETY: the token proves the CPU feature; pointers come from references to whole arrays of the vector's width.
        unsafe { $e }
    }};
}

/// Lanes 0..8 and 8..16.
type F = [__m256; 2];
type I = [__m256i; 2];

/// One intrinsic on both halves. A macro and not a function that takes a closure: closures are functions of their own without
/// the CPU feature, and a build for size leaves them (and every intrinsic in them) as calls, 100 times slower.
macro_rules! both {
    ($intrinsic:ident $(::<$constant:literal>)?, $($x:expr),+) => {
        simd!([$intrinsic$(::<$constant>)?($($x[0]),+), $intrinsic$(::<$constant>)?($($x[1]),+)])
    };
}

/// Halves, then quarters, pairs and single lanes: the tail of the tree of [`Simd::reduce_add`].
#[inline(always)]
pub(crate) fn reduce_add_256(x: __m256) -> f32 {
    simd!({
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
    })
}

#[inline(always)]
fn reduce_max_256(x: __m256) -> f32 {
    simd!({
        let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps::<1>(x, x)))
    })
}

impl Simd for Avx2 {
    type F = F;
    type I = I;

    // 12 sums, two vectors of weights and a broadcast in 16 registers.
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        simd!([_mm256_set1_ps(x); 2])
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> F {
        simd!([_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))])
    }

    #[inline(always)]
    fn store(self, x: F, to: &mut [f32; LANES]) {
        simd!({
            _mm256_storeu_ps(to.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), x[1]);
        });
    }

    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        both!(_mm256_add_ps, a, b)
    }

    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        both!(_mm256_sub_ps, a, b)
    }

    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        both!(_mm256_mul_ps, a, b)
    }

    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        both!(_mm256_div_ps, a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: F, b: F, c: F) -> F {
        both!(_mm256_fmadd_ps, a, b, c)
    }

    #[inline(always)]
    fn max(self, x: F, c: F) -> F {
        both!(_mm256_max_ps, x, c)
    }

    #[inline(always)]
    fn min(self, x: F, c: F) -> F {
        both!(_mm256_min_ps, x, c)
    }

    #[inline(always)]
    fn abs(self, x: F) -> F {
        let sign = self.splat(-0.0);
        both!(_mm256_andnot_ps, sign, x)
    }

    #[inline(always)]
    fn add_exponent(self, p: F, t: F) -> F {
        let (p, t) = (both!(_mm256_castps_si256, p), both!(_mm256_castps_si256, t));
        let shifted = both!(_mm256_slli_epi32::<23>, t);
        let sum = both!(_mm256_add_epi32, p, shifted);
        both!(_mm256_castsi256_ps, sum)
    }

    #[inline(always)]
    fn reduce_add(self, x: F) -> f32 {
        reduce_add_256(simd!(_mm256_add_ps(x[0], x[1])))
    }

    #[inline(always)]
    fn reduce_max(self, x: F) -> f32 {
        reduce_max_256(simd!(_mm256_max_ps(x[0], x[1])))
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32; LANES]) -> I {
        let from = from.as_ptr();
        simd!([_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(8).cast())])
    }

    #[inline(always)]
    fn store_i32(self, x: I, to: &mut [i32; LANES]) {
        simd!({
            _mm256_storeu_si256(to.as_mut_ptr().cast(), x[0]);
            _mm256_storeu_si256(to.as_mut_ptr().add(8).cast(), x[1]);
        });
    }

    #[inline(always)]
    fn sub_i32(self, a: I, b: I) -> I {
        both!(_mm256_sub_epi32, a, b)
    }

    #[inline(always)]
    fn add_i32(self, a: I, b: I) -> I {
        both!(_mm256_add_epi32, a, b)
    }

    #[inline(always)]
    fn store_i8x4(self, x: [I; 4], to: &mut [u8; 4 * LANES]) {
        let to = to.as_mut_ptr();
        for half in 0..2 {
            let [a, b, c, d] = [x[0][half], x[1][half], x[2][half], x[3][half]];
            simd!({
                let byte = _mm256_set1_epi32(0xff);
                let low = _mm256_or_si256(_mm256_and_si256(a, byte), _mm256_slli_epi32::<8>(_mm256_and_si256(b, byte)));
                let high = _mm256_or_si256(_mm256_and_si256(c, byte), _mm256_slli_epi32::<8>(d));
                let all = _mm256_or_si256(low, _mm256_slli_epi32::<16>(high));
                _mm256_storeu_si256(to.add(32 * half).cast(), all);
            });
        }
    }

    #[inline(always)]
    fn to_f32(self, x: I) -> F {
        both!(_mm256_cvtepi32_ps, x)
    }

    #[inline(always)]
    fn round(self, x: F) -> I {
        both!(_mm256_cvtps_epi32, x)
    }

    #[inline(always)]
    fn store_i8(self, x: I, flip: u8, to: &mut [u8; LANES]) {
        simd!({
            let words = words(x);
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            let bytes = _mm_xor_si128(bytes, _mm_set1_epi8(flip as i8));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        });
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> F {
        simd!({
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            let (low, high) = (_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes)));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        })
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> F {
        let from = from.as_ptr();
        simd!([_mm256_cvtph_ps(_mm_loadu_si128(from.cast())), _mm256_cvtph_ps(_mm_loadu_si128(from.add(8).cast()))])
    }
}

impl Avx2 {
    /// 16 integers of 0..=255 as bytes.
    #[inline(always)]
    pub(crate) fn store_u8(self, x: I, to: &mut [u8; LANES]) {
        simd!({
            let words = words(x);
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        });
    }
}

/// 16 i32 in i16's range as i16, in order.
#[inline(always)]
fn words(x: I) -> __m256i {
    simd!(_mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(x[0], x[1])))
}

/// `vpmaddubsw` would need one instruction fewer, but saturates at 32,767 (2 * 255 * 127 is 64,770). So weights are widened
/// to 16 bits in registers, the even and the odd ones of each group of four apart, and activations are stored as 16 bits in
/// the order 0, 2, 1, 3: `vpmaddwd` is exact.
impl Int8Tile for Avx2 {
    type Simd = Self;

    const ROWS: usize = 4;
    const PANELS: usize = 1;
    const READS: Activations = Activations::Words;

    #[inline(always)]
    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    fn store_activations(self, x: I, to: &mut [u8], _place: usize) {
        let to: &mut [u8; 32] = to.first_chunk_mut().expect("16 activations of 2 bytes");
        simd!({
            let swapped = _mm256_shufflelo_epi16::<0b11_01_10_00>(words(x));
            let swapped = _mm256_shufflehi_epi16::<0b11_01_10_00>(swapped);
            _mm256_storeu_si256(to.as_mut_ptr().cast(), swapped);
        });
    }

    #[inline(always)]
    fn store_probabilities(self, x: I, to: &mut [u8], place: usize) {
        // 16 bits hold 0..=255 as they are.
        self.store_activations(x, to, place);
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
        // SAFETY: the token proves the features; `a` has R rows of 8 * groups bytes, `w` 64 * groups bytes, `out` R rows
        // of 16 sums (the caller's contract), and nothing beyond is touched.
        unsafe {
            let mut acc = [[_mm256_setzero_si256(); 2]; R];
            for group in 0..groups {
                let w = w.add(64 * group);
                let w = [_mm256_loadu_si256(w.cast()), _mm256_loadu_si256(w.add(32).cast())];
                let even = [
                    _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w[0])),
                    _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w[1])),
                ];
                let odd = [_mm256_srai_epi16::<8>(w[0]), _mm256_srai_epi16::<8>(w[1])];
                for r in 0..R {
                    let a = a.add(r * a_stride + 8 * group).cast::<i32>();
                    let a_even = _mm256_set1_epi32(a.read_unaligned());
                    let a_odd = _mm256_set1_epi32(a.add(1).read_unaligned());
                    for half in 0..2 {
                        let sum = _mm256_add_epi32(acc[r][half], _mm256_madd_epi16(even[half], a_even));
                        acc[r][half] = _mm256_add_epi32(sum, _mm256_madd_epi16(odd[half], a_odd));
                    }
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
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

crate::ops::ops!(
    /// The operations with AVX2.
    OPS, name: "avx2", isa: "avx2,fma,f16c", supported: supported,
    token: Avx2, make: Avx2::new(), features: "avx2,fma,f16c"
);
