#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn accuracy_nll_and_ece_of_a_hand_computed_case() {
    // Confidences 0.75 (right) and 0.75 (wrong): accuracy 0.5, ECE |1.5 - 1| / 2.
    let three = 3.0f32.ln();
    let scores = score(&[vec![three, 0.0], vec![three, 0.0], vec![0.0, 9.0]], &[Some(0), Some(1), None], 1.0);
    assert_eq!((scores.rows, scores.accuracy), (2, 0.5));
    assert!((scores.ece - 0.25).abs() < 1e-6, "{}", scores.ece);
    assert!((scores.nll - (-(0.75f64.ln()) - 0.25f64.ln()) / 2.0).abs() < 1e-6);
}

#[test]
fn nothing_to_score_gives_zeros() {
    assert_eq!(score(&[], &[], 1.0), Scores { rows: 0, accuracy: 0.0, nll: 0.0, ece: 0.0 });
}

#[test]
fn extreme_logits_stay_finite() {
    let nll = negative_log_likelihood(&[1e4, -1e4], 1, 1.0);
    assert!((nll - 2e4).abs() < 1e-6);
    assert_eq!(softmax(&[1e4, -1e4], 0.05), [1.0, 0.0]);
}

#[test]
fn map_and_mrr_of_a_hand_computed_case() {
    let rows = [("q", 3.0, false), ("q", 2.0, true), ("q", 1.0, true), ("r", 1.0, true), ("s", 1.0, false)];
    let ranking = rank(rows).unwrap();
    // q: precision 1/2 and 2/3; r: 1; s has nothing relevant.
    assert_eq!(ranking.questions, 2);
    assert!((ranking.map - (0.5 * (0.5 + 2.0 / 3.0) + 1.0) / 2.0).abs() < 1e-12);
    assert!((ranking.mrr - 0.75).abs() < 1e-12);
    assert_eq!(rank([("q", 1.0, true)]), None);
}

#[test]
fn the_temperature_of_overconfident_logits_is_found() {
    // Right three times out of four with logit difference d: the best temperature makes that 3 : 1, T = d / ln 3.
    let logits = vec![vec![5.0f32, 0.0]; 4];
    let gold = [Some(0), Some(0), Some(0), Some(1)];
    let temperature = fit_temperature(&logits, &gold);
    assert!((temperature - 5.0 / 3.0f64.ln()).abs() < 1e-3, "{temperature}");
    assert!(score(&logits, &gold, temperature).nll < score(&logits, &gold, 1.0).nll);
    assert!(score(&logits, &gold, temperature).ece < 1e-3);
}

#[test]
fn a_temperature_without_labels_or_errors_stays_in_range() {
    assert_eq!(fit_temperature(&[vec![1.0, 0.0]], &[None]), 1.0);
    let always_right = fit_temperature(&[vec![1.0, 0.0]], &[Some(0)]);
    assert!((0.05..0.06).contains(&always_right), "{always_right}");
}

#[test]
fn a_model_that_gives_all_the_same_does_not_look_good() {
    let rows = [("q", 0.5, true), ("q", 0.5, false), ("q", 0.5, false)];
    let ranking = rank(rows).unwrap();
    assert_eq!((ranking.map, ranking.mrr), (1.0 / 3.0, 1.0 / 3.0));
}
