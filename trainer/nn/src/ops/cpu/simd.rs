//! Element-wise loops in the widest vectors that this CPU has.
//!
//! The loops are plain Rust over slices that the compiler vectorises; [`multiversion!`] compiles each for AVX-512, AVX2 and
//! the baseline and chooses at run time. Nothing is contracted to fused multiply-adds, so all versions agree bit for bit.

use crate::ops::{Dropout, mask_bits};

/// Compiles a function for several x86-64 feature levels and dispatches at run time.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn portable($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                if $crate::ops::cpu::simd::has_avx512() {
                    // SAFETY: the features that the function enables were detected just now.
                    return unsafe { avx512($($arg),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                    // SAFETY: the features that the function enables were detected just now.
                    return unsafe { avx2($($arg),*) };
                }
            }
            portable($($arg),*)
        }
    };
}
pub(crate) use multiversion;

/// Whether this CPU has every feature of the AVX-512 versions.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("avx2") && has!("fma")
}

/// Lanes of the widest vector; reductions keep this many partial sums, whatever the CPU, so that results do not depend on it.
pub(crate) const LANES: usize = 16;

/// `e^x`, relative error below 2e-7; exactly 0 below -87 and saturating above 88 (Cephes' expf).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number and leaves that in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let c = if x > 88.0 { 88.0 } else { x };
    let c = if c < -87.0 { -87.0 } else { c };
    let t = c * std::f32::consts::LOG2_E + ROUND;
    let n = t - ROUND;
    // ln 2 in two parts, the first exact in few bits.
    let r = c - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4f32;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5.0e-1;
    let y = p * r * r + r + 1.0;
    let y = f32::from_bits(y.to_bits().wrapping_add(t.to_bits() << 23));
    if x < -87.0 { 0.0 } else { y }
}

/// `(GELU(x), GELU'(x))`, absolute error below 1e-6. The error function is Abramowitz and Stegun 7.1.26 (1.5e-7), whose
/// exponential is also the one of the derivative.
#[inline(always)]
pub(crate) fn gelu_with_slope(x: f32) -> (f32, f32) {
    let magnitude = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2 * magnitude);
    let e = exp(-0.5 * x * x);
    let p = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let tail = 0.5 * p * e;
    let phi = if x < 0.0 { tail } else { 1.0 - tail };
    /// 1/√(2π)
    const DENSITY: f32 = 0.398_942_3;
    (x * phi, phi + x * e * DENSITY)
}

multiversion! {
    /// Adds `bias` to each row of `y`, whose rows are as wide as the bias and `stride` apart.
    pub(crate) fn add_bias(y: &mut [f32], stride: usize, bias: &[f32]) {
        for row in y.chunks_mut(stride) {
            for (y, b) in row[..bias.len()].iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
}

multiversion! {
    /// `y = GELU(y + bias)` row by row.
    pub(crate) fn bias_gelu(y: &mut [f32], bias: &[f32]) {
        for row in y.chunks_mut(bias.len()) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y = gelu_with_slope(*y + b).0;
            }
        }
    }
}

multiversion! {
    /// `y = GELU(y + bias)` row by row, and the slope there.
    pub(crate) fn bias_gelu_slope(y: &mut [f32], bias: &[f32], slope: &mut [f32]) {
        for (row, slope) in y.chunks_mut(bias.len()).zip(slope.chunks_mut(bias.len())) {
            for ((y, b), s) in row.iter_mut().zip(bias).zip(slope) {
                (*y, *s) = gelu_with_slope(*y + b);
            }
        }
    }
}

multiversion! {
    /// `out = a * b`.
    pub(crate) fn multiply(out: &mut [f32], a: &[f32], b: &[f32]) {
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = a * b;
        }
    }
}

multiversion! {
    /// `sums += ` each column of `rows`.
    pub(crate) fn add_columns(sums: &mut [f32], rows: &[f32]) {
        for row in rows.chunks_exact(sums.len()) {
            for (s, r) in sums.iter_mut().zip(row) {
                *s += r;
            }
        }
    }
}

multiversion! {
    /// `a += b`.
    pub(crate) fn add_assign(a: &mut [f32], b: &[f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
    }
}

multiversion! {
    /// The sum of squares.
    pub(crate) fn sum_of_squares(x: &[f32]) -> f64 {
        let mut total = 0.0f64;
        // f32 within a block, f64 across blocks: fast, and precise for any length.
        for block in x.chunks(4096) {
            let mut acc = [0.0f32; LANES];
            let mut chunks = block.chunks_exact(LANES);
            for c in &mut chunks {
                for (a, x) in acc.iter_mut().zip(c) {
                    *a += x * x;
                }
            }
            let rest: f32 = chunks.remainder().iter().map(|x| x * x).sum();
            total += f64::from(acc.iter().sum::<f32>() + rest);
        }
        total
    }
}

multiversion! {
    /// `out = x` with dropout; `first` is the index of the first element in the whole tensor.
    pub(crate) fn drop_elements(out: &mut [f32], x: &[f32], dropout: Dropout, first: usize) {
        let (threshold, scale, key) = (dropout.threshold(), dropout.scale(), dropout.key);
        for (i, (o, x)) in out.iter_mut().zip(x).enumerate() {
            *o = if mask_bits(key, first.wrapping_add(i)) < threshold { 0.0 } else { x * scale };
        }
    }
}

/// The sum of `f(i)` over `0..n` with [`LANES`] partial sums.
#[inline(always)]
pub(crate) fn lane_sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut acc = [0.0f32; LANES];
    let whole = n / LANES * LANES;
    let mut i = 0;
    while i < whole {
        for (lane, a) in acc.iter_mut().enumerate() {
            *a += f(i + lane);
        }
        i += LANES;
    }
    let mut rest = 0.0;
    for i in whole..n {
        rest += f(i);
    }
    acc.iter().sum::<f32>() + rest
}
