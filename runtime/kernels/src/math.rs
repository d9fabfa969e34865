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

/// tanh x = 1 - 2 / (e^2x + 1), absolute error below 3e-7.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.min(s.max(x, s.splat(-10.0)), s.splat(10.0));
    let e = exp(s, s.add(x, x));
    s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))))
}

#[cfg(test)]
mod tests;
