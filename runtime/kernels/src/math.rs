//! Soft-max's exponential, GELU and tanh: one polynomial each, the same on every kernel.

use crate::simd::Simd;

/// 1.5 * 2^23: adding it rounds to an integer and leaves that integer in the low bits.
const ROUND: f32 = 12_582_912.0;
/// Arguments of [`exp`] are raised to this, whose exponential is still a normal number.
const EXP_MIN: f32 = -86.0;

/// 2^f on [-0.5, 0.5], highest power first: Cephes' `exp2f` (Moshier 1989), relative error below 2e-7.
const EXP2: [f32; 7] =
    [1.535_336_2e-4, 1.339_887_5e-3, 9.618_437e-3, 5.550_332_5e-2, 0.240_226_48, std::f32::consts::LN_2, 1.0];

/// e^x for x <= 87, relative error below 2e-7 + 2e-8 |x| (1e-7 |x| where multiply-adds are not fused); x below -86 (and NaN) gives e^-86, about 4.5e-38.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.max(x, s.splat(EXP_MIN));
    let log2e = s.splat(std::f32::consts::LOG2_E);
    let rounded = s.mul_add(x, log2e, s.splat(ROUND));
    let n = s.sub(rounded, s.splat(ROUND));
    let f = s.mul_add(x, log2e, s.sub(s.splat(0.0), n));
    let mut p = s.splat(EXP2[0]);
    for &c in &EXP2[1..] {
        p = s.mul_add(p, f, s.splat(c));
    }
    s.add_exponent(p, rounded)
}

/// 2^f on [-0.5, 0.5], highest power first: minimax in relative error (Remez exchange), 7.5e-5. Enough for probabilities that
/// are rounded to 1/255.
const EXP2_COARSE: [f32; 4] = [0.055_171_67, 0.242_611_12, 0.693_261, 0.999_928_06];

/// 2^x for x <= 127, relative error below 1e-4; x below -30 (and NaN) gives 2^-30.
#[inline(always)]
pub(crate) fn exp2_coarse<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.max(x, s.splat(-30.0));
    let rounded = s.add(x, s.splat(ROUND));
    let f = s.sub(x, s.sub(rounded, s.splat(ROUND)));
    let mut p = s.splat(EXP2_COARSE[0]);
    for &c in &EXP2_COARSE[1..] {
        p = s.mul_add(p, f, s.splat(c));
    }
    s.add_exponent(p, rounded)
}

/// Beyond this |x|, Phi is 0 or 1 to f32's precision.
const PHI_RANGE: f32 = 5.3;
/// Centre of x^2 over the range: the polynomial is in `x^2 - PHI_CENTRE`, which keeps its terms small.
const PHI_CENTRE: f32 = 14.045;
/// (Phi(x) - 1/2) / x, highest power first. Remez exchange with 14 terms on (0, 5.3], error 9.2e-8 on Phi.
#[allow(clippy::excessive_precision, reason = "as the fit printed them")]
const PHI: [f32; 14] = [
    -7.879_718_87e-19,
    2.831_586_77e-17,
    -3.416_728_84e-16,
    6.445_228_93e-15,
    -2.568_870_48e-13,
    6.340_223_24e-12,
    -1.242_593_39e-10,
    2.432_821_86e-9,
    -4.618_835_79e-8,
    8.254_042_8e-7,
    -1.429_143_65e-5,
    2.497_283_85e-4,
    -4.736_085_02e-3,
    1.333_925_83e-1,
];

/// x Phi(x) with Phi(x) = (1 + erf(x / sqrt 2)) / 2: the exact GELU (Hendrycks and Gimpel 2016).
///
/// |error of erf| < 1e-6, and the result's error is below 2e-6 everywhere (`math/tests.rs` measures both).
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::F) -> S::F {
    // Clamping below keeps gelu(-100) at -5.3 Phi(-5.3), which is 0 to within 1e-6, instead of -100 times an error.
    let x = s.max(x, s.splat(-PHI_RANGE));
    let z = s.min(x, s.splat(PHI_RANGE));
    let square = s.mul_add(z, z, s.splat(-PHI_CENTRE));
    let mut p = s.splat(PHI[0]);
    for &c in &PHI[1..] {
        p = s.mul_add(p, square, s.splat(c));
    }
    s.mul(x, s.mul_add(z, p, s.splat(0.5)))
}

/// As [`PHI_RANGE`], for [`gelu_coarse`]: beyond it, x Phi(x) is within 6e-5 of 0 or x.
const PHI_COARSE_RANGE: f32 = 4.2;
const PHI_COARSE_CENTRE: f32 = 8.82;
/// As [`PHI`] with 9 terms on (0, 4.2], error 7.4e-6 on Phi.
#[allow(clippy::excessive_precision, reason = "as the fit printed them")]
const PHI_COARSE: [f32; 9] = [
    5.998_061_15e-11,
    -1.401_080_49e-9,
    1.721_554_79e-8,
    -2.562_099_22e-7,
    4.131_920_13e-6,
    -5.677_596_09e-5,
    7.174_794_23e-4,
    -9.238_326_16e-3,
    1.678_561_46e-1,
];

/// [`gelu`] with an error below 1e-4 + 1e-5 |x|: for results that are rounded to 8 bits, in steps of about 0.05. Five multiply-adds
/// fewer, 1 % of an int8 layer.
#[inline(always)]
pub(crate) fn gelu_coarse<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.max(x, s.splat(-PHI_COARSE_RANGE));
    let z = s.min(x, s.splat(PHI_COARSE_RANGE));
    let square = s.mul_add(z, z, s.splat(-PHI_COARSE_CENTRE));
    let mut p = s.splat(PHI_COARSE[0]);
    for &c in &PHI_COARSE[1..] {
        p = s.mul_add(p, square, s.splat(c));
    }
    s.mul(x, s.mul_add(z, p, s.splat(0.5)))
}

/// tanh x = 1 - 2 / (e^2x + 1), absolute error below 3e-7.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.min(s.max(x, s.splat(-10.0)), s.splat(10.0));
    let e = exp(s, s.add(x, x));
    s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))))
}

#[cfg(test)]
mod tests;
