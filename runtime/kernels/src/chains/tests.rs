use super::*;
use crate::check::Random;

/// The largest magnitude that the sum of eight products has on its way.
fn largest_partial_sum(weights: [i8; BLOCK], row: [i8; BLOCK]) -> i32 {
    let mut sum = 0;
    let partial = weights.iter().zip(row).map(|(&w, a)| {
        sum += i32::from(w) * i32::from(a);
        i32::abs(sum)
    });
    partial.max().unwrap_or(0)
}

/// The same eight values in every lane of a panel's block, and of two rows' block.
fn squares(weights: [i8; BLOCK], row: [i8; BLOCK]) -> (u16, u16) {
    let panel: Vec<i8> = weights.iter().flat_map(|&w| [w; 64]).collect();
    let rows: Vec<u8> = row
        .chunks(2)
        .flat_map(|g| [[g[0]; 4], [g[1]; 4], [g[0]; 4], [g[1]; 4]].concat())
        .map(i8::cast_unsigned)
        .collect();
    let (mut of_panel, mut of_pair) = ([0], [0]);
    weight_squares(&panel, &mut of_panel);
    row_squares(&rows, &mut of_pair);
    (of_panel[0], of_pair[0])
}

#[test]
fn what_is_within_the_limit_fits_16_bits() {
    let mut random = Random::new(1);
    let (mut within, mut closest) = (0, 0);
    for _ in 0..200_000 {
        let (most_w, most_a) = (1 + random.below(128) as i32, 1 + random.below(127) as i32);
        let weights: [i8; BLOCK] = std::array::from_fn(|_| (random.unit() * most_w as f32) as i8);
        // Half of them parallel to the weights, where the inequality is sharp.
        let parallel = random.below(2) == 0;
        let row = std::array::from_fn(|i| match parallel {
            true => (i32::from(weights[i]) * most_a / most_w).clamp(-127, 127) as i8,
            false => (random.unit() * most_a as f32) as i8,
        });
        let (of_weights, row_squares) = squares(weights, row);
        if of_weights <= limit(row_squares) {
            let sum = largest_partial_sum(weights, row);
            assert!(sum <= 32_767, "{weights:?} {row:?} sum to {sum}");
            (within, closest) = (within + 1, closest.max(sum));
        }
    }
    assert!((50_000..200_000).contains(&within), "{within} within the limit");
    assert!(closest > 32_500, "the closest sum is {closest}");
}

#[test]
fn what_saturates_is_within_no_limit_but_zeros() {
    assert_eq!(squares([-128; BLOCK], [127; BLOCK]), (u16::MAX, u16::MAX));
    assert_eq!(squares([127, 0, 0, 0, 0, 0, 0, -128], [0, 3, 0, 0, 0, 0, 0, -4]), (127 * 127 + 128 * 128, 25));
    assert!(u16::MAX > limit(0) && u16::MAX > limit(1));
    assert_eq!(limit(u16::MAX), 0);
    assert_eq!(limit(32_767), 32_767);
}

#[test]
fn the_largest_lane_counts() {
    let mut panel = vec![1_i8; 2 * 16 * BLOCK_INPUTS];
    panel[16 * BLOCK_INPUTS + 3 * 64 + 63] = -100;
    let mut of_panel = [0; 2];
    weight_squares(&panel, &mut of_panel);
    assert_eq!(of_panel, [8, 10_007]);
    let mut rows = vec![1_u8; 4 * BLOCK_INPUTS];
    rows[2 * BLOCK_INPUTS - 1] = 50;
    let mut of_pair = [0; 2];
    row_squares(&rows, &mut of_pair);
    assert_eq!(of_pair, [2_507, 8]);
}

#[test]
fn a_table_has_the_limits_of_each_pair_of_rows() {
    let rows: Vec<u8> = (0..8 * 64).map(|i| if i / 128 == 2 { 127 } else { 0 }).collect();
    let mut table = ChainTable::new(&rows, 64, row_squares).expect("eight rows");
    assert_eq!(table.weights_mut().len(), 2);
    table.weights_mut()[1] = 7;
    assert_eq!((table.pair(1).limits, table.pair(1).weights), (&[u16::MAX - 1; 2][..], &[0, 7][..]));
    assert_eq!(table.pair(2).limits, [0; 2]);
    assert!(ChainTable::new(&rows[..6 * 64], 64, row_squares).is_none(), "few rows");
    let long = vec![0; 8 * 64 * 256];
    assert!(ChainTable::new(&long, 64 * 256, row_squares).is_none(), "too many blocks for the table");
}
