//! From logits to scores.

use attar_bundle::Head;

/// What a head says about a pair.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// The head's outputs, one per label, as they come.
    pub logits: Vec<f32>,
    /// Soft-max of the logits divided by the head's temperature: they sum to 1 and mean what they say.
    pub probabilities: Vec<f32>,
    /// Tokens that were read, special tokens and repeated ones of overlapping windows included.
    pub tokens: usize,
    /// Windows that the pair was read in. More than one means that it is longer than the encoder's input; this score is then
    /// the window's that says most, see [`crate::Session::score`].
    pub windows: usize,
}

impl Score {
    /// Index of the most probable label; the first of equals.
    pub fn best(&self) -> usize {
        let mut best = 0;
        for (i, p) in self.probabilities.iter().enumerate() {
            if *p > self.probabilities[best] {
                best = i;
            }
        }
        best
    }
}

/// `softmax(logits / temperature)` into `out`, in f64, the largest subtracted first.
pub(crate) fn probabilities(logits: &[f32], temperature: f32, out: &mut Vec<f32>) {
    let scaled = |x: f32| f64::from(x) / f64::from(temperature);
    let largest = logits.iter().map(|&x| scaled(x)).fold(f64::NEG_INFINITY, f64::max);
    let exponential = |x: f32| (scaled(x) - largest).exp();
    let sum: f64 = logits.iter().map(|&x| exponential(x)).sum();
    out.clear();
    out.extend(logits.iter().map(|&x| (exponential(x) / sum) as f32));
}

/// Whether a label says "nothing to see in this window".
fn is_neutral(label: &str) -> bool {
    label == "neutral" || label.starts_with("not_")
}

/// How much a window says: the probability that is not neutral's; for a head without a neutral label, that of the most
/// probable label. A window's evidence is a positive label's (`relevant`, `entailment`, `contradiction`), since a window that
/// lacks the evidence is what a neutral label looks like.
pub(crate) fn evidence(head: &Head, probabilities: &[f32]) -> f32 {
    let positive = || head.labels.iter().zip(probabilities).filter(|(label, _)| !is_neutral(label)).map(|(_, &p)| p);
    match positive().count() {
        n if n == head.labels.len() => probabilities.iter().copied().fold(0.0, f32::max),
        _ => positive().sum(),
    }
}

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;
