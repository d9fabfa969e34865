#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn a_pair_that_fits_is_one_window() {
    assert_eq!(windows(20, 489, 512).unwrap(), [(0..20, 0..489)]);
}

#[test]
fn a_long_passage_is_covered_with_overlap() {
    let windows = windows(12, 1000, 512).unwrap();
    assert_eq!(windows, [(0..12, 0..497), (0..12, 373..870), (0..12, 503..1000)]);
}

#[test]
fn a_long_question_is_cut_instead_of_a_short_passage() {
    let windows = windows(600, 9, 512).unwrap();
    assert_eq!(windows, [(0..500, 0..9), (100..600, 0..9)]);
}

#[test]
fn every_pair_of_tokens_meets_in_some_window_that_fits() {
    for positions in [5, 6, 7, 9, 16] {
        for a in 1..25 {
            for b in 1..25 {
                let windows = windows(a, b, positions).unwrap();
                for (wa, wb) in &windows {
                    assert!(wa.len() + wb.len() + SPECIAL_TOKENS <= positions, "{a} {b} {positions}: {wa:?} {wb:?}");
                    assert!(!wa.is_empty() && !wb.is_empty());
                }
                for i in 0..a {
                    for j in 0..b {
                        assert!(
                            windows.iter().any(|(wa, wb)| wa.contains(&i) && wb.contains(&j)),
                            "{a} {b} {positions}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn absurd_lengths_are_counted_and_not_allocated() {
    assert!(windows(usize::MAX / 2, usize::MAX / 2, 512).unwrap_err() > MAX_WINDOWS);
    assert!(windows(5, 1 << 40, 512).unwrap_err() > MAX_WINDOWS);
}
