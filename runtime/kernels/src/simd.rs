//! The vector operations that the kernels are written in: 16 lanes on every instruction set.
//!
//! A logical vector is one AVX-512 register, two AVX registers, four NEON registers or an array. Every operation is one
//! IEEE-754 operation a lane (or an exact integer one), fused multiply-adds are fused everywhere, and reductions go over
//! the same tree. So code written against [`Simd`] gives the same bits on every kernel.

use half::f16;

/// Lanes of a logical vector.
pub(crate) const LANES: usize = 16;

/// A token of an instruction set. Holding one proves that the CPU has it: the constructors are `unsafe`.
///
/// Methods are `#[inline(always)]`, so that they end up inside a function with the right `#[target_feature]`.
pub(crate) trait Simd: Copy {
    /// 16 f32.
    type F: Copy;
    /// 16 i32.
    type I: Copy;

    /// Rows of an f32 matrix tile that fit the registers, at most 8.
    const TILE_ROWS: usize;
    /// Vectors of columns of an f32 matrix tile, 1 or 3.
    const TILE_VECTORS: usize;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, from: &[f32; LANES]) -> Self::F;
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger one; `c` where x is NaN. `c` must not be NaN.
    fn max(self, x: Self::F, c: Self::F) -> Self::F;
    /// The smaller one; `c` where x is NaN. `c` must not be NaN.
    fn min(self, x: Self::F, c: Self::F) -> Self::F;
    fn abs(self, x: Self::F) -> Self::F;
    /// `bits(p) + (bits(t) << 23)`: multiplies p by a power of two whose exponent stands in the low bits of t.
    fn add_exponent(self, p: Self::F, t: Self::F) -> Self::F;
    /// Sum of the lanes: lane i with i + 8, then i + 4, i + 2, i + 1.
    fn reduce_add(self, x: Self::F) -> f32;
    /// Largest lane. No lane may be NaN.
    fn reduce_max(self, x: Self::F) -> f32;

    fn load_i32(self, from: &[i32; LANES]) -> Self::I;
    fn store_i32(self, x: Self::I, to: &mut [i32; LANES]);
    /// Wrapping difference.
    fn sub_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Wrapping sum.
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Rounded to nearest, ties to even.
    fn to_f32(self, x: Self::I) -> Self::F;
    /// Rounded to nearest, ties to even, for |x| <= 255.
    fn round(self, x: Self::F) -> Self::I;
    /// The low bytes of four vectors, interleaved by lane: four weights of 16 output channels.
    fn store_i8x4(self, x: [Self::I; 4], to: &mut [u8; 4 * LANES]);
    /// The low byte of each lane, flipped by `flip`: 0 for i8, 0x80 for u8 = i8 + 128.
    fn store_i8(self, x: Self::I, flip: u8, to: &mut [u8; LANES]);
    fn load_i8(self, from: &[i8; LANES]) -> Self::F;
    fn load_f16(self, from: &[f16; LANES]) -> Self::F;
    /// Transposes 16 vectors.
    #[inline(always)]
    fn transpose(self, rows: &mut [[f32; LANES]; LANES]) {
        for i in 0..LANES {
            for j in 0..i {
                let t = rows[i][j];
                rows[i][j] = rows[j][i];
                rows[j][i] = t;
            }
        }
    }

    /// Up to 16 values, zero beyond.
    #[inline(always)]
    fn load_part(self, from: &[f32]) -> Self::F {
        match from.first_chunk() {
            Some(chunk) => self.load(chunk),
            None => {
                let mut lanes = [0.0; LANES];
                lanes[..from.len()].copy_from_slice(from);
                self.load(&lanes)
            }
        }
    }

    /// The first up to 16 lanes.
    #[inline(always)]
    fn store_part(self, x: Self::F, to: &mut [f32]) {
        match to.first_chunk_mut() {
            Some(chunk) => self.store(x, chunk),
            None => {
                let mut lanes = [0.0; LANES];
                self.store(x, &mut lanes);
                to.copy_from_slice(&lanes[..to.len()]);
            }
        }
    }
}

/// A weight type that the f32 kernels read.
pub(crate) trait Element: Copy {
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F;
}

impl Element for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        s.load(from)
    }
}

impl Element for f16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        s.load_f16(from)
    }
}
