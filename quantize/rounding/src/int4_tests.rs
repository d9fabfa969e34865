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
        rows in 1usize..5, width in 1usize..100, exponent in -9i32..9, seed in prop::collection::vec(-1f32..1.0, 500),
    ) {
        let weights: Vec<f32> = seed[..rows * width].iter().map(|x| x * 2f32.powi(exponent)).collect();
        let quantised = quantise_rows(&weights, width, Range::MinMax);
        prop_assert!(quantised.values.iter().all(|q| (-7..=7).contains(q)));
        let groups = width.div_ceil(GROUP);
        for (i, (w, r)) in weights.iter().zip(quantised.dequantise(width)).enumerate() {
            let bound = quantised.scales[i / width * groups + i % width / GROUP].to_f32() * 0.5001;
            prop_assert!((w - r).abs() <= bound, "{w} became {r}, {bound}");
        }
    }

    #[test]
    fn a_searched_scale_is_better(seed in prop::collection::vec(-1f32..1.0, 64)) {
        prop_assert!(error(&seed, 64, Range::Mse) <= error(&seed, 64, Range::MinMax) * 1.001);
    }
}

#[test]
fn zeros_stay_zeros_and_too_large_a_weight_shows() {
    for range in [Range::MinMax, Range::Mse] {
        let rows = quantise_rows(&[0.0; 40], 40, range);
        assert_eq!((rows.scales.len(), rows.dequantise(40)), (2, vec![0.0; 40]), "{range:?}");
    }
    assert!(quantise_rows(&[1e6], 1, Range::MinMax).scales[0].is_infinite());
}
