//! Sets of shard numbers, as they are given and shown: `0-2,5`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Some shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(BTreeSet<usize>);

/// More shards than any data set has: a set is a list in memory.
const MAX_SHARD: usize = 10_000_000;

impl ShardSet {
    /// The shards 0 to `count` - 1.
    pub fn all(count: usize) -> Self {
        (0..count).collect()
    }

    /// Every `workers`th shard of `count`, from `worker` on: together all workers have each shard once.
    pub fn of_worker(worker: usize, workers: usize, count: usize) -> Self {
        (worker..count).step_by(workers.max(1)).collect()
    }

    /// Whether a shard is one of them.
    pub fn contains(&self, shard: usize) -> bool {
        self.0.contains(&shard)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The greatest.
    pub fn last(&self) -> Option<usize> {
        self.0.last().copied()
    }

    /// The numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}

impl FromIterator<usize> for ShardSet {
    fn from_iter<I: IntoIterator<Item = usize>>(shards: I) -> Self {
        Self(shards.into_iter().collect())
    }
}

impl fmt::Display for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for &shard in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == shard => *last = shard,
                _ => runs.push((shard, shard)),
            }
        }
        let texts: Vec<String> =
            runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
        f.write_str(&texts.join(","))
    }
}

impl FromStr for ShardSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?}, expected shard numbers such as 3, 3-7 or 0-2,5");
        let mut shards = BTreeSet::new();
        for run in text.split(',') {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, last): (usize, usize) =
                (first.trim().parse().map_err(|_| bad())?, last.trim().parse().map_err(|_| bad())?);
            if first > last || last > MAX_SHARD {
                return Err(bad());
            }
            shards.extend(first..=last);
        }
        Ok(Self(shards))
    }
}
