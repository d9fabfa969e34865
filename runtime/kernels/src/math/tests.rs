use super::*;
use crate::check::reference;
use crate::scalar::{FUSED, Scalar};
use crate::simd::LANES;

/// Largest error of `f` against `exact` over `from..=to`, as `measure` sees it.
fn worst(
    f: impl Fn([f32; LANES]) -> [f32; LANES],
    exact: impl Fn(f64) -> f64,
    (from, to): (f32, f32),
    measure: impl Fn(f64, f64, f64) -> f64,
) -> f64 {
    const STEPS: usize = 200_000;
    let mut worst = 0.0_f64;
    for i in (0..STEPS).step_by(LANES) {
        let x: [f32; LANES] = std::array::from_fn(|l| from + (to - from) * ((i + l) as f32 / STEPS as f32));
        for (x, y) in x.into_iter().zip(f(x)) {
            worst = worst.max(measure(f64::from(x), f64::from(y), exact(f64::from(x))));
        }
    }
    worst
}

#[test]
fn exp_is_accurate() {
    let slope = if FUSED { 2e-8 } else { 1e-7 };
    let relative = |x: f64, got: f64, exact: f64| ((got - exact) / exact).abs() / (2e-7 + slope * x.abs());
    let error = worst(|x| exp(Scalar, x), f64::exp, (-86.0, 20.0), relative);
    assert!(error < 1.0, "{error} of the bound");
    assert_eq!(exp(Scalar, [0.0; LANES]), [1.0; LANES]);
    let tiny = exp(Scalar, [f32::NEG_INFINITY; LANES])[0];
    assert!(tiny.is_normal() && tiny < 5e-38);
    assert_eq!(exp(Scalar, [f32::NAN; LANES])[0], tiny);
}

#[test]
fn the_coarse_gelu_is_accurate_enough_for_8_bits() {
    let of_bound = |x: f64, got: f64, exact: f64| (got - exact).abs() / (1e-4 + 1e-5 * x.abs());
    let error = worst(|x| gelu_coarse(Scalar, x), reference::gelu, (-100.0, 100.0), of_bound).max(worst(
        |x| gelu_coarse(Scalar, x),
        reference::gelu,
        (-6.0, 6.0),
        of_bound,
    ));
    println!("{error:.2} of the bound");
    assert!(error < 1.0, "{error} of the bound");
}

#[test]
fn the_coarse_power_of_two_is_accurate_enough_for_8_bits() {
    let relative = |_: f64, got: f64, exact: f64| ((got - exact) / exact).abs();
    let error = worst(|x| exp2_coarse(Scalar, x), f64::exp2, (-30.0, 8.0), relative);
    println!("largest relative error {error:.1e}");
    assert!(error < 1e-4, "{error:e}");
    assert_eq!(exp2_coarse(Scalar, [f32::NEG_INFINITY; LANES]), exp2_coarse(Scalar, [-30.0; LANES]));
    assert_eq!(exp2_coarse(Scalar, [f32::NAN; LANES]), exp2_coarse(Scalar, [-30.0; LANES]));
}

#[test]
fn gelu_is_the_exact_one() {
    let absolute = |_: f64, got: f64, exact: f64| (got - exact).abs();
    let near = worst(|x| gelu(Scalar, x), reference::gelu, (-4.0, 4.0), absolute);
    assert!(near < 1.0e-6, "{near:e}");
    let scaled = |x: f64, got: f64, exact: f64| (got - exact).abs() / x.abs().max(1.0);
    let wide = worst(|x| gelu(Scalar, x), reference::gelu, (-50.0, 50.0), scaled);
    assert!(wide < 1.0e-6, "{wide:e}");
    // erf = 2 gelu(x) / x - 1.
    let erf = |x: f64, got: f64, exact: f64| if x.abs() < 0.1 { 0.0 } else { (2.0 * (got - exact) / x).abs() };
    let erf = worst(|x| gelu(Scalar, x), reference::gelu, (-8.0, 8.0), erf);
    assert!(erf < 1.0e-6, "{erf:e}");
    println!("gelu: {near:.1e} within 4, {wide:.1e} x within 50, erf {erf:.1e}");
    assert!(gelu(Scalar, [-1e30; LANES])[0].abs() < 1e-6);
    assert_eq!(gelu(Scalar, [0.0; LANES])[0], 0.0);
}

#[test]
fn tanh_is_accurate() {
    let absolute = |_: f64, got: f64, exact: f64| (got - exact).abs();
    let error = worst(|x| tanh(Scalar, x), f64::tanh, (-20.0, 20.0), absolute);
    assert!(error < 3.0e-7, "{error:e}");
}
