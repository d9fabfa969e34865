#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

#[test]
fn the_largest_weight_becomes_127() {
    let rows = quantise_rows(&[-2.54, 1.27, 0.0, 0.5, -0.25, 0.125], 3);
    assert_eq!(rows.values, [-127, 64, 0, 127, -64, 32]);
    assert_eq!(rows.scales[0], 2.54 / 127.0);
}

#[test]
fn halves_round_to_even() {
    // Scale 1: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2.
    assert_eq!(quantise_rows(&[127.0, 0.5, 1.5, 2.5, -0.5], 5).values, [127, 0, 2, 2, 0]);
}

#[test]
fn a_row_of_zeros_and_a_row_of_subnormals_have_scale_zero() {
    let rows = quantise_rows(&[0.0, 0.0, 1e-40, -1e-40, f32::MAX, f32::MIN], 2);
    assert_eq!(rows.scales[..2], [0.0, 0.0]);
    assert_eq!(rows.values, [0, 0, 0, 0, 127, -127]);
}

#[test]
fn f16_overflow_is_refused_with_its_place() {
    let error = to_f16(&[1.0, 65504.0, 70000.0], "layer.0.qkv.weight").unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Overflow);
    assert!(error.to_string().contains("layer.0.qkv.weight") && error.to_string().contains("index 2"), "{error}");
}

proptest! {
    #[test]
    fn no_weight_moves_by_more_than_half_a_scale(row in prop::collection::vec(-1e3f32..1e3, 1..200)) {
        let rows = quantise_rows(&row, row.len());
        for (w, &q) in row.iter().zip(&rows.values) {
            let back = f32::from(q) * rows.scales[0];
            prop_assert!((w - back).abs() <= rows.scales[0] * 0.5001, "{w} became {back}");
        }
    }
}
