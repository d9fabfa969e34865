#![allow(clippy::unwrap_used)]
use super::*;

fn probabilities(logits: &[f32], temperature: f32) -> Vec<f32> {
    let mut out = vec![f32::NAN; 5];
    super::probabilities(logits, temperature, &mut out);
    out
}

fn head(labels: &[&str]) -> Head {
    let labels = labels.iter().map(|l| l.to_string()).collect();
    Head { name: "h".into(), labels, copies: 1, layers: 1, temperature: 1.0 }
}

#[test]
fn probabilities_sum_to_one_at_any_magnitude() {
    for logits in [[0.0, 0.0, 0.0], [1e30, -1e30, 0.0], [200.0, 199.0, -200.0], [-1e30, -1e30, -1e30]] {
        let p = probabilities(&logits, 1.0);
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{logits:?}: {p:?}");
    }
}

#[test]
fn temperature_divides_the_logits() {
    let p = probabilities(&[2.0, 0.0], 2.0);
    assert!((p[0] - 1.0 / (1.0 + (-1f32).exp())).abs() < 1e-6);
}

#[test]
fn evidence_is_what_is_not_neutral() {
    assert_eq!(evidence(&head(&["not_relevant", "relevant"]), &[0.75, 0.25]), 0.25);
    assert_eq!(evidence(&head(&["entailment", "neutral", "contradiction"]), &[0.5, 0.25, 0.25]), 0.75);
    assert_eq!(evidence(&head(&["a", "b"]), &[0.625, 0.375]), 0.625);
}

#[test]
fn best_is_the_first_of_equals() {
    let score = Score { logits: vec![1.0; 3], probabilities: vec![0.2, 0.4, 0.4], tokens: 5, windows: 1 };
    assert_eq!(score.best(), 1);
}
