//! Several students' answers as one.

use serde::{Deserialize, Serialize};

use crate::metrics;

/// How several students answer together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ensemble {
    /// The class that most students choose; on a tie the one with the greater mean probability.
    Majority,
    /// The greatest mean probability.
    MeanProbability,
    /// As the mean, each student weighted by its validation accuracy.
    ValidationWeight,
    /// As the mean, with the weights that make the held-out labels most likely.
    FittedWeight,
}

impl Ensemble {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Majority, Self::MeanProbability, Self::ValidationWeight, Self::FittedWeight];

    /// Words for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Majority => "majority vote",
            Self::MeanProbability => "mean probability",
            Self::ValidationWeight => "weights by validation accuracy",
            Self::FittedWeight => "weights fitted on validation",
        }
    }

    /// Log probabilities of one row out of the students' probabilities of it, `[student][class]`; `weights` are used by
    /// the weighted means only.
    pub(super) fn answer(self, probabilities: &[Vec<f64>], weights: &[f64]) -> Vec<f32> {
        let mut sums = vec![0.0f64; probabilities.first().map_or(0, Vec::len)];
        for (of_student, weight) in probabilities.iter().zip(weights) {
            let weight = match self {
                Self::ValidationWeight | Self::FittedWeight => *weight,
                Self::Majority | Self::MeanProbability => 1.0,
            };
            for (sum, p) in sums.iter_mut().zip(of_student) {
                *sum += weight * p;
            }
            if self == Self::Majority {
                // A vote outweighs any sum of probabilities, which then only breaks ties.
                let vote = (0..of_student.len()).rev().max_by(|&a, &b| of_student[a].total_cmp(&of_student[b]));
                sums[vote.unwrap_or(0)] += probabilities.len() as f64 + 1.0;
            }
        }
        let total: f64 = sums.iter().sum();
        sums.iter().map(|s| (s / total).max(1e-12).ln() as f32).collect()
    }
}

/// The weights, at least 0 and of sum 1, that maximise the likelihood of the gold classes under the weighted mean of the
/// students' probabilities: `gold_probabilities[student][row]`.
///
/// The log likelihood is concave in the weights and each round of expectation-maximisation raises it (Dempster, Laird and
/// Rubin 1977, section 4.3, with the components held fixed).
pub(super) fn fitted_weights(gold_probabilities: &[Vec<f64>]) -> Vec<f64> {
    const ROUNDS: usize = 500;
    let students = gold_probabilities.len();
    let rows = gold_probabilities.first().map_or(0, Vec::len);
    let mut weights = vec![1.0 / students.max(1) as f64; students];
    if rows == 0 {
        return weights;
    }
    for _ in 0..ROUNDS {
        let mut next = vec![0.0; students];
        for row in 0..rows {
            let of_row = gold_probabilities.iter().map(|student| student[row].max(1e-12));
            let shares: Vec<f64> = of_row.zip(&weights).map(|(p, weight)| weight * p).collect();
            let sum: f64 = shares.iter().sum();
            next.iter_mut().zip(&shares).for_each(|(n, share)| *n += share / sum / rows as f64);
        }
        let change = next.iter().zip(&weights).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        weights = next;
        if change < 1e-9 {
            break;
        }
    }
    weights
}

/// Soft-max of every row.
pub(super) fn probabilities(logits: &[Vec<f32>], temperature: f64) -> Vec<Vec<f64>> {
    logits.iter().map(|row| metrics::softmax(row, temperature)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_counts_heads_and_a_mean_counts_certainty() {
        let rows = [vec![0.45, 0.55, 0.0], vec![0.45, 0.55, 0.0], vec![1.0, 0.0, 0.0]];
        let chosen = |e: Ensemble, w: &[f64]| metrics::argmax(&e.answer(&rows, w));
        assert_eq!(chosen(Ensemble::Majority, &[1.0; 3]), 1);
        assert_eq!(chosen(Ensemble::MeanProbability, &[1.0; 3]), 0);
        assert_eq!(chosen(Ensemble::ValidationWeight, &[1.0, 1.0, 0.1]), 1);
        // One vote each: the mean breaks the tie.
        let tie = [vec![0.6, 0.4], vec![0.1, 0.9]];
        assert_eq!(metrics::argmax(&Ensemble::Majority.answer(&tie, &[1.0; 2])), 1);
    }

    #[test]
    fn fitted_weights_find_the_mixture_that_made_the_rows() {
        // The likelihood (w 0.9 + (1 - w) 0.1)^8 (w 0.1 + (1 - w) 0.9)^2 has its maximum where w 0.9 + (1 - w) 0.1 = 0.8.
        let first: Vec<f64> = (0..10).map(|i| if i < 8 { 0.9 } else { 0.1 }).collect();
        let second: Vec<f64> = first.iter().map(|p| 1.0 - p).collect();
        let weights = fitted_weights(&[first.clone(), second]);
        assert!((weights[0] - 0.875).abs() < 1e-6 && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{weights:?}");
        // A student that knows nothing gets nothing where another is always right.
        let weights = fitted_weights(&[vec![1.0; 50], vec![1.0 / 3.0; 50]]);
        assert!(weights[0] > 0.99, "{weights:?}");
        assert_eq!(fitted_weights(&[vec![], vec![]]), [0.5, 0.5]);
    }
}
