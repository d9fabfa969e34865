#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn the_largest_weight_becomes_127() {
    let rows = quantise_rows(&[-2.54, 1.27, 0.0, 0.5, -0.25, 0.125], 3, Range::MinMax);
    assert_eq!(rows.values, [-127, 64, 0, 127, -64, 32]);
    assert_eq!(rows.scales[0], 2.54 / 127.0);
}

#[test]
fn f16_overflow_is_refused_with_its_place() {
    let error = to_f16(&[1.0, 65504.0, 70000.0], "layer.0.qkv.weight").unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Overflow);
    assert!(error.to_string().contains("layer.0.qkv.weight") && error.to_string().contains("index 2"), "{error}");
}

#[test]
fn int4_overflow_is_refused_with_its_row() {
    for range in [Range::MinMax, Range::Mse] {
        let error = to_int4(&[1.0, 2.0, 1e30, 2.0], 2, range, "embeddings.word").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Overflow);
        assert!(error.to_string().contains("\"embeddings.word\": row 1"), "{error}");
    }
}
