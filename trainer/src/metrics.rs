//! Measures of a classifier and of a ranking, on logits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Rows with a gold label.
    pub rows: usize,
    /// Share of rows whose most probable class is the gold one, 0 to 1.
    pub accuracy: f64,
    /// Mean negative log likelihood of the gold class, nats, at the head's temperature.
    pub nll: f64,
    /// Expected calibration error over 15 equal bins of confidence (Guo et al. 2017), 0 to 1.
    pub ece: f64,
}

/// Ranking quality over the groups (questions) that have at least one relevant row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// Groups with a relevant row.
    pub questions: usize,
    /// Mean average precision.
    pub map: f64,
    /// Mean reciprocal rank of the first relevant row.
    pub mrr: f64,
}

/// Index of the greatest value, the first on a tie; 0 for no values.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Soft-max of `logits / temperature`, computed in f64 after subtracting the maximum.
pub fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits.iter().map(|&x| (f64::from(x - max) / temperature).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|e| e / sum).collect()
}

/// `-log softmax(logits / temperature)[class]`, nats; finite for finite logits however far apart.
pub fn negative_log_likelihood(logits: &[f32], class: usize, temperature: f64) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| (f64::from(x - max) / temperature).exp()).sum();
    sum.ln() - f64::from(logits.get(class).copied().unwrap_or(f32::NEG_INFINITY) - max) / temperature
}

/// Rows whose greatest probability lies in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// How many.
    pub rows: usize,
    /// Their mean greatest probability, 0 to 1; 0 for no rows.
    pub confidence: f64,
    /// The share of them that are right, 0 to 1; 0 for no rows.
    pub accuracy: f64,
}

/// How often rows of a confidence are right: 15 equal bins of the greatest probability (Guo et al. 2017); rows without a
/// gold class are left out.
pub fn reliability(logits: &[Vec<f32>], gold: &[Option<u32>], temperature: f64) -> Vec<Bin> {
    const BINS: usize = 15;
    let mut bins = vec![Bin::default(); BINS];
    for (logits, gold) in logits.iter().zip(gold) {
        let Some(gold) = gold.map(|g| g as usize) else { continue };
        let predicted = argmax(logits);
        let confidence = softmax(logits, temperature)[predicted];
        let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.rows += 1;
        bin.confidence += confidence;
        bin.accuracy += f64::from(u8::from(predicted == gold));
    }
    for bin in &mut bins {
        let rows = bin.rows.max(1) as f64;
        (bin.confidence, bin.accuracy) = (bin.confidence / rows, bin.accuracy / rows);
    }
    bins
}

/// Scores rows of logits against gold classes; rows without one are left out. All zero when none is left.
pub fn score(logits: &[Vec<f32>], gold: &[Option<u32>], temperature: f64) -> Scores {
    let (mut rows, mut right, mut nll) = (0usize, 0usize, 0.0);
    for (logits, gold) in logits.iter().zip(gold) {
        let Some(gold) = gold.map(|g| g as usize) else { continue };
        rows += 1;
        right += usize::from(argmax(logits) == gold);
        nll += negative_log_likelihood(logits, gold, temperature);
    }
    let n = rows.max(1) as f64;
    let bins = reliability(logits, gold, temperature);
    let ece = bins.iter().map(|bin| bin.rows as f64 / n * (bin.confidence - bin.accuracy).abs()).sum();
    Scores { rows, accuracy: right as f64 / n, nll: nll / n, ece }
}

/// Ranks the rows of each group by score, descending; of equal ones those that are not relevant come first, so that a model
/// that gives all the same does not look good. `None` when no group has both a relevant and another row, since nothing is
/// ranked then.
pub fn rank<'a>(groups: impl IntoIterator<Item = (&'a str, f64, bool)>) -> Option<Ranking> {
    let mut by_group: BTreeMap<&str, Vec<(f64, bool)>> = BTreeMap::new();
    for (group, score, relevant) in groups {
        by_group.entry(group).or_default().push((score, relevant));
    }
    let (mut questions, mut map, mut mrr, mut ranked) = (0usize, 0.0, 0.0, false);
    for rows in by_group.values_mut() {
        rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (mut found, mut precision, mut first) = (0usize, 0.0, 0.0);
        for (position, (_, relevant)) in rows.iter().enumerate() {
            if *relevant {
                found += 1;
                precision += found as f64 / (position + 1) as f64;
                if found == 1 {
                    first = 1.0 / (position + 1) as f64;
                }
            }
        }
        if found > 0 {
            questions += 1;
            map += precision / found as f64;
            mrr += first;
            ranked |= found < rows.len();
        }
    }
    ranked.then(|| Ranking { questions, map: map / questions as f64, mrr: mrr / questions as f64 })
}

/// The temperature that minimises the mean negative log likelihood of the labelled rows, within 0.05 to 20; 1 when no
/// row has a label.
///
/// The likelihood is convex in 1/T, so its minimum over log T is the only one and a golden-section search finds it
/// (Guo et al. 2017, section 4.2).
pub fn fit_temperature(logits: &[Vec<f32>], gold: &[Option<u32>]) -> f64 {
    let rows: Vec<(&[f32], usize)> =
        logits.iter().zip(gold).filter_map(|(l, g)| g.map(|g| (l.as_slice(), g as usize))).collect();
    if rows.is_empty() {
        return 1.0;
    }
    let cost = |log_t: f64| -> f64 {
        let t = log_t.exp();
        rows.iter().map(|(logits, gold)| negative_log_likelihood(logits, *gold, t)).sum()
    };
    let golden = (5.0f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.05f64.ln(), 20.0f64.ln());
    let mut inner = [high - golden * (high - low), low + golden * (high - low)];
    let mut costs = inner.map(cost);
    while high - low > 1e-5 {
        if costs[0] < costs[1] {
            high = inner[1];
            inner = [high - golden * (high - low), inner[0]];
            costs = [cost(inner[0]), costs[0]];
        } else {
            low = inner[0];
            inner = [inner[1], low + golden * (high - low)];
            costs = [costs[1], cost(inner[1])];
        }
    }
    f64::midpoint(low, high).exp()
}

#[cfg(test)]
mod tests;
