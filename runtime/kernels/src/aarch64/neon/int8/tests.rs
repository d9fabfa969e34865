use super::*;
use crate::check::Random;

#[test]
fn sums_of_squares_are_the_definitions() {
    let mut random = Random::new(1);
    // SAFETY: every aarch64 CPU that Rust's standard library runs on has NEON.
    let neon = unsafe { Neon::new() };
    for most in [1.0, 40.0, 90.0, 128.9] {
        for blocks in [1, 2, 5] {
            let values: Vec<i8> = (0..512 * blocks).map(|_| (random.unit() * most) as i8).collect();
            let (mut got, mut expected) = (vec![7; blocks], vec![9; blocks]);
            neon.weight_squares(&values, &mut got);
            chains::weight_squares(&values, &mut expected);
            assert_eq!(got, expected, "weights within {most}");
            let rows: Vec<u8> = values.iter().take(64 * blocks).map(|x| x.cast_unsigned()).collect();
            neon.row_squares(&rows, &mut got);
            chains::row_squares(&rows, &mut expected);
            assert_eq!(got, expected, "rows within {most}");
        }
    }
}

#[test]
fn a_block_within_its_limit_is_summed_in_16_bits() {
    // SAFETY: as above.
    let neon = unsafe { Neon::new() };
    let (weights, rows) = ([127_i8; 512], [127_u8; 64]);
    for (limit, sum) in [(0, 32 * 127 * 127), (u16::MAX, 4 * i32::from((8_i32 * 127 * 127) as i16))] {
        let (mut out, chains) = ([0_i32; 32], Chains { weights: &[u16::MAX], limits: &[limit] });
        // SAFETY: two rows of 32 inputs, a panel of as many, sums of two rows.
        unsafe {
            let (a, w) = (rows.as_ptr(), weights.as_ptr());
            neon.tile::<2, 1>(a, 32, w, 512, 8, out.as_mut_ptr(), 16, w, Some(chains));
        }
        assert_eq!(out, [sum; 32], "limit {limit}");
    }
}
