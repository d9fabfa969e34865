#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn error(weights: &[f32], width: usize, range: Range) -> f64 {
    let rounded = quantise_rows(weights, width, range).dequantise(width);
    weights.iter().zip(rounded).map(|(w, r)| f64::from(w - r).powi(2)).sum()
}

proptest! {
    #[test]
    fn an_error_is_within_half_a_scale(
        rows in 1usize..8, width in 1usize..200, exponent in -30i32..30, seed in prop::collection::vec(-1f32..1.0, 1600),
    ) {
        let weights: Vec<f32> = seed[..rows * width].iter().map(|x| x * 2f32.powi(exponent)).collect();
        let quantised = quantise_rows(&weights, width, Range::MinMax);
        let rounded = quantised.dequantise(width);
        for (i, (w, r)) in weights.iter().zip(&rounded).enumerate() {
            // Half a scale, and what the division and the product of f32 lose.
            let bound = quantised.scales[i / width] * 0.5001;
            prop_assert!((w - r).abs() <= bound, "{w} became {r}, {bound}");
        }
        let mut simulated = weights;
        round_weights(&mut simulated, width);
        prop_assert_eq!(simulated, rounded);
    }

    #[test]
    fn least_squares_ranges_are_never_worse(width in 1usize..300, seed in prop::collection::vec(-1f32..1.0, 300)) {
        // Cubed: heavy tails, where clipping pays.
        let weights: Vec<f32> = seed[..width].iter().map(|x| x.powi(3)).collect();
        prop_assert!(error(&weights, width, Range::Mse) <= error(&weights, width, Range::MinMax));
    }

    #[test]
    fn rounded_activations_are_within_half_a_step(row in prop::collection::vec(-1e3f32..1e3, 1..200)) {
        let mut rounded = row.clone();
        round_activations(&mut rounded, row.len());
        let step = row.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
        for (x, r) in row.iter().zip(&rounded) {
            prop_assert!((x - r).abs() <= step * 0.5001);
        }
    }
}

#[test]
fn a_percentile_clips_the_outlier() {
    let mut row = vec![0.5f32; 100];
    row[7] = 50.0;
    assert_eq!(scale(&row, Range::Percentile(0.98)), 0.5 / 127.0);
    assert_eq!(scale(&row, Range::Percentile(1.0)), 50.0 / 127.0);
    let mut nearly_zeros = vec![0f32; 100];
    nearly_zeros[0] = 1.0;
    assert_eq!(scale(&nearly_zeros, Range::Percentile(0.5)), 1.0 / 127.0);
}

#[test]
fn zeros_and_denormals_have_scale_zero() {
    for range in [Range::MinMax, Range::Percentile(0.99), Range::Mse] {
        let rows = quantise_rows(&[0.0, 0.0, 1e-40, -1e-40], 2, range);
        assert_eq!((rows.scales, rows.values), (vec![0.0; 2], vec![0; 4]), "{range:?}");
    }
    let mut small = [1e-31f32, -1e-31];
    round_activations(&mut small, 2);
    assert_eq!(small, [0.0; 2]);
}

#[test]
fn ties_go_to_even() {
    let rows = quantise_rows(&[127.0, 0.5, 1.5, -2.5], 4, Range::MinMax);
    assert_eq!(rows.values, [127, 0, 2, -2]);
}
