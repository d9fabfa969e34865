#![allow(clippy::unwrap_used)]

use super::*;

const SETTINGS: PlanSettings = PlanSettings { batch_size: 8, temperature: 1.0, seed: 5 };

fn lengths(count: usize) -> Vec<u32> {
    (0..count).map(|i| 10 + (i as u32 * 7919) % 90).collect()
}

#[test]
fn every_row_comes_once_an_epoch() {
    let sets = [lengths(100), lengths(33)];
    let plan = BatchPlan::new(&sets, 2, SETTINGS);
    for (set, lengths) in sets.iter().enumerate() {
        let mut rows: Vec<usize> =
            plan.batches().iter().filter(|b| b.set == set).flat_map(|b| b.rows.clone()).collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
    }
    assert_eq!(plan.batches().len(), BatchPlan::len_for(&[100, 33], SETTINGS));
}

#[test]
fn a_plan_is_a_function_of_seed_and_epoch() {
    let sets = [lengths(100)];
    assert_eq!(BatchPlan::new(&sets, 1, SETTINGS), BatchPlan::new(&sets, 1, SETTINGS));
    assert_ne!(BatchPlan::new(&sets, 1, SETTINGS), BatchPlan::new(&sets, 2, SETTINGS));
    assert_ne!(BatchPlan::new(&sets, 1, SETTINGS), BatchPlan::new(&sets, 1, PlanSettings { seed: 6, ..SETTINGS }));
}

#[test]
fn batches_hold_rows_of_similar_length() {
    let sets = [lengths(2000)];
    let padded: u32 = BatchPlan::new(&sets, 0, SETTINGS)
        .batches()
        .iter()
        .map(|b| b.rows.len() as u32 * b.rows.iter().map(|&r| sets[0][r]).max().unwrap())
        .sum();
    let real: u32 = sets[0].iter().sum();
    assert!(f64::from(padded) < 1.1 * f64::from(real), "{padded} padded, {real} real tokens");
}

#[test]
fn the_temperature_moves_shares_towards_small_sets() {
    let settings = PlanSettings { temperature: 0.5, ..SETTINGS };
    assert_eq!(shares(&[10_000, 100], 1.0), [10_000, 100]);
    // 100 : 10 of 10,100 rows.
    assert_eq!(shares(&[10_000, 100], 0.5), [9182, 918]);
    assert_eq!(shares(&[100, 0], 0.0), [100, 0]);
    let plan = BatchPlan::new(&[lengths(1000), lengths(10)], 0, settings);
    let small = plan.batches().iter().filter(|b| b.set == 1).map(|b| b.rows.len()).sum::<usize>();
    assert_eq!(small, shares(&[1000, 10], 0.5)[1]);
    assert_eq!(plan.batches().len(), BatchPlan::len_for(&[1000, 10], settings));
}

#[test]
fn a_set_drawn_in_part_goes_on_in_the_next_epoch() {
    let mut seen: Vec<usize> = (0..4).flat_map(|epoch| draw(100, 25, epoch, 0, 9)).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert_eq!(draw(0, 5, 0, 0, 9), Vec::<usize>::new());
    assert_eq!(draw(3, 7, 0, 0, 9).len(), 7);
}
