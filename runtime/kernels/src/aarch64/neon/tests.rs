use super::*;
use crate::check::Random;

#[test]
fn norms_are_the_definitions() {
    let mut random = Random::new(1);
    // SAFETY: every aarch64 CPU that Rust's standard library runs on has NEON.
    let neon = unsafe { Neon::new() };
    for most in [1.0, 40.0, 90.0, 128.9] {
        for blocks in [1, 2, 5] {
            let values: Vec<i8> = (0..512 * blocks).map(|_| (random.unit() * most) as i8).collect();
            let (mut got, mut expected) = (vec![7; blocks], vec![9; blocks]);
            neon.weight_norms(&values, &mut got);
            norms::of_weights(&values, &mut expected);
            assert_eq!(got, expected, "weights within {most}");
            let rows: Vec<u8> = values.iter().take(64 * blocks).map(|x| x.cast_unsigned()).collect();
            neon.row_norms(&rows, &mut got);
            norms::of_rows(&rows, &mut expected);
            assert_eq!(got, expected, "rows within {most}");
        }
    }
}
