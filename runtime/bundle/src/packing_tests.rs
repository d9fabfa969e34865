#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

#[test]
fn int8_order_is_tracts_packed_i8_k4() {
    // Output 17, input 6 of a 20 x 9 linear: second tile of 16, second group of 4, place 2.
    let mut weights = vec![0i8; 20 * 9];
    weights[17 * 9 + 6] = 5;
    let packed = pack_i8(&weights, 20, 9);
    assert_eq!(packed.len(), 48 * 64);
    // [np/16, kp/4, 16, 4] at [1, 1, 1, 2].
    let at = ((16 + 1) * 16 + 1) * 4 + 2;
    assert_eq!(packed.iter().position(|&w| w == 5), Some(at));
}

#[test]
fn float_order_is_panels_of_48_outputs() {
    let mut weights = vec![0f32; 50 * 3];
    weights[49 * 3 + 2] = 5.0;
    let packed = pack_float(&weights, 50, 3);
    assert_eq!(packed.len(), 96 * 3);
    assert_eq!(packed.iter().position(|&w| w == 5.0), Some((3 + 2) * 48 + 1));
}

#[test]
fn channel_sums_are_128_times_the_row() {
    assert_eq!(channel_sums(&[1, 2, 3, -127, -127, -127], 2, 3)[..3], [128 * 6, -128 * 381, 0]);
}

#[test]
fn int4_groups_hold_columns_i_and_i_plus_16_in_byte_i() {
    let mut row = vec![0i8; 33];
    (row[1], row[17], row[32]) = (7, -8, 3);
    let packed = pack_i4(&row, 33);
    assert_eq!(packed.len(), 32);
    assert_eq!((packed[0], packed[1], packed[16], packed[17]), (0x88, 0x0f, 0x8b, 0x88));
}

proptest! {
    #[test]
    fn int4_packing_has_an_inverse(rows in 1usize..20, width in 1usize..150, seed: u64) {
        let values: Vec<i8> = (0..rows * width).map(|i| (seed.wrapping_mul(i as u64 | 1) >> 60) as i8 - 8).collect();
        let packed = pack_i4(&values, width);
        prop_assert_eq!(packed.len(), rows * width.div_ceil(INT4_GROUP) * 16);
        prop_assert_eq!(&unpack_i4(&packed, width), &values);
    }

    #[test]
    fn int8_packing_has_an_inverse_and_pads_with_zero(n in 1usize..120, k in 1usize..150, seed: u64) {
        let weights: Vec<i8> = (0..n * k).map(|i| (seed.wrapping_mul(i as u64 | 1) >> 56) as i8).collect();
        let packed = pack_i8(&weights, n, k);
        prop_assert_eq!(packed.len(), padded_outputs(n) * padded_inputs(k));
        prop_assert_eq!(&unpack_i8(&packed, n, k), &weights);
        let sum = |w: &[i8]| w.iter().map(|&x| i64::from(x).pow(2)).sum::<i64>();
        prop_assert_eq!(sum(&packed), sum(&weights), "padding is zero");
    }

    #[test]
    fn float_packing_has_an_inverse_and_pads_with_zero(n in 1usize..120, k in 1usize..150) {
        let weights: Vec<f32> = (0..n * k).map(|i| i as f32 + 1.0).collect();
        let packed = pack_float(&weights, n, k);
        prop_assert_eq!(packed.len(), padded_outputs(n) * k);
        prop_assert_eq!(&unpack_float(&packed, n, k), &weights);
        prop_assert_eq!(packed.iter().filter(|&&w| w != 0.0).count(), n * k, "padding is zero");
    }
}
