//! Which rows are trained on at which step: a pure function of the seed and the epoch.

use crate::random::Random;

/// One micro-batch: rows of one set, of similar length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of the set.
    pub set: usize,
    /// Rows of the set.
    pub rows: Vec<usize>,
}

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub struct PlanSettings {
    /// Rows of a batch.
    pub batch_size: usize,
    /// A set with n rows is drawn in proportion to n^temperature; 1 means every row once an epoch.
    pub temperature: f64,
    /// Seed of all shuffles.
    pub seed: u64,
}

/// Batches of a window are grouped by length; the wider, the less padding and the less randomness.
const WINDOW_BATCHES: usize = 64;

/// The batches of one epoch, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    batches: Vec<Batch>,
}

impl BatchPlan {
    /// Plans an epoch over sets given as the token counts of their rows.
    ///
    /// An epoch has as many rows as all sets together. A set's share of them is proportional to n^temperature; a set
    /// with a larger share than it has rows is gone through several times, one with a smaller share continues in the
    /// next epoch where it stopped. Within a set: shuffle, sort windows of 64 batches by length, cut into batches; then
    /// shuffle the batches of all sets together. The last batch of a set may be smaller.
    pub fn new(sets: &[Vec<u32>], epoch: u64, settings: PlanSettings) -> Self {
        let counts = shares(&sets.iter().map(Vec::len).collect::<Vec<_>>(), settings.temperature);
        let batch_size = settings.batch_size.max(1);
        let mut batches = Vec::new();
        for (set, (lengths, &count)) in sets.iter().zip(&counts).enumerate() {
            let rows = draw(lengths.len(), count, epoch, set as u64, settings.seed);
            for window in rows.chunks(batch_size * WINDOW_BATCHES) {
                let mut window = window.to_vec();
                // Stable: rows of equal length stay shuffled.
                window.sort_by_key(|&row| lengths[row]);
                batches.extend(window.chunks(batch_size).map(|rows| Batch { set, rows: rows.to_vec() }));
            }
        }
        Random::new(&[settings.seed, epoch, u64::MAX]).shuffle(&mut batches);
        Self { batches }
    }

    /// The batches in order.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Number of batches that every epoch has.
    pub fn len_for(sizes: &[usize], settings: PlanSettings) -> usize {
        shares(sizes, settings.temperature).iter().map(|count| count.div_ceil(settings.batch_size.max(1))).sum()
    }
}

/// Rows an epoch takes from each set; they sum to about the number of all rows, and no set with rows gets none.
fn shares(sizes: &[usize], temperature: f64) -> Vec<usize> {
    if (temperature - 1.0).abs() < f64::EPSILON {
        return sizes.to_vec();
    }
    let total: usize = sizes.iter().sum();
    let weights: Vec<f64> = sizes.iter().map(|&n| if n == 0 { 0.0 } else { (n as f64).powf(temperature) }).collect();
    let sum: f64 = weights.iter().sum();
    sizes
        .iter()
        .zip(&weights)
        .map(|(&n, weight)| if n == 0 { 0 } else { ((total as f64 * weight / sum).round() as usize).max(1) })
        .collect()
}

/// Rows `epoch * count ..` of the endless sequence that goes through shuffled copies of the set.
fn draw(size: usize, count: usize, epoch: u64, set: u64, seed: u64) -> Vec<usize> {
    let mut rows = Vec::with_capacity(count);
    if size == 0 {
        return rows;
    }
    let mut position = epoch as usize * count;
    while rows.len() < count {
        let pass = (position / size) as u64;
        let mut order: Vec<usize> = (0..size).collect();
        Random::new(&[seed, set, pass]).shuffle(&mut order);
        let from = position % size;
        let take = (size - from).min(count - rows.len());
        rows.extend_from_slice(&order[from..from + take]);
        position += take;
    }
    rows
}

#[cfg(test)]
mod tests;
