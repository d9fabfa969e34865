//! Recycled memory for intermediate results.
//!
//! A training step needs the same few hundred megabytes again and again. Given back to the system in between, they cost a
//! quarter of the step in pages that the kernel zeroes; kept here, they cost nothing.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, OnceLock};

/// Smaller buffers are left to the allocator.
const SMALLEST: usize = 4096;

/// Elements that may be in use and held together before buffers in use have set a higher mark (256 MiB).
const LEAST: usize = 1 << 26;

#[derive(Default)]
struct Pool {
    /// By size.
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    /// Elements in `free`.
    held: usize,
    /// Elements in use, and the most that ever were.
    used: usize,
    peak: usize,
}

impl Pool {
    /// A buffer of at least `size` elements and at most twice as many: batches of different lengths follow each other.
    fn take(&mut self, size: usize) -> Option<Vec<f32>> {
        let (&found, list) = self.free.range_mut(size..=2 * size).next()?;
        let data = list.pop();
        if list.is_empty() {
            self.free.remove(&found);
        }
        self.held -= found;
        data
    }

    /// Accounts for a buffer handed out. In use and held together stay within one and a half times the most that was ever
    /// in use: what lies there in sizes that are no longer asked for goes to the system, largest first.
    fn hand_out(&mut self, size: usize) {
        self.used += size;
        self.peak = self.peak.max(self.used);
        let limit = (self.peak + self.peak / 2).max(LEAST);
        while self.used + self.held > limit {
            let Some((&largest, _)) = self.free.last_key_value() else { break };
            if self.take(largest).is_none() {
                break;
            }
        }
    }
}

fn pool() -> &'static Mutex<Pool> {
    static POOL: OnceLock<Mutex<Pool>> = OnceLock::new();
    POOL.get_or_init(Mutex::default)
}

/// Sizes are rounded up by an eighth at most, so that batches of similar lengths share buffers.
fn class(count: usize) -> usize {
    if count < SMALLEST { count } else { count.next_multiple_of(count.next_power_of_two() / 16) }
}

/// A slice of f32 whose memory is recycled.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// As long as its class.
    data: Vec<f32>,
    len: usize,
}

impl Buffer {
    /// `len` elements of any value: to be overwritten.
    pub(crate) fn stale(len: usize) -> Self {
        let mut this = Self::taken(len);
        if cfg!(debug_assertions) {
            // Whoever reads what was not written shows up in the tests.
            this.fill(f32::NAN);
        }
        this
    }

    fn taken(len: usize) -> Self {
        let mut size = class(len);
        if size < SMALLEST {
            return Self { data: vec![0.0; size], len };
        }
        let mut recycled = None;
        if let Ok(mut pool) = pool().lock() {
            recycled = pool.take(size);
            size = recycled.as_ref().map_or(size, Vec::len);
            pool.hand_out(size);
        }
        Self { data: recycled.unwrap_or_else(|| vec![0.0; size]), len }
    }

    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut this = Self::taken(len);
        this.fill(0.0);
        this
    }

    /// The elements as a vector of their own, which is not recycled.
    pub(crate) fn into_vec(mut self) -> Vec<f32> {
        let mut data = std::mem::take(&mut self.data);
        if let (true, Ok(mut pool)) = (data.len() >= SMALLEST, pool().lock()) {
            pool.used = pool.used.saturating_sub(data.len());
        }
        data.truncate(self.len);
        data
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let size = self.data.len();
        if size < SMALLEST {
            return;
        }
        if let Ok(mut pool) = pool().lock() {
            pool.used = pool.used.saturating_sub(size);
            pool.held += size;
            pool.free.entry(size).or_default().push(std::mem::take(&mut self.data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_recycles_and_lets_go_of_what_is_not_asked_for() {
        let mut pool = Pool::default();
        let give_back = |pool: &mut Pool, data: Vec<f32>| {
            pool.used -= data.len();
            pool.held += data.len();
            pool.free.entry(data.len()).or_default().push(data);
        };
        let large = LEAST;
        pool.hand_out(large);
        give_back(&mut pool, vec![0.0; large]);
        assert!(pool.take(large / 2 - 1).is_none(), "more than twice what was asked for");
        let same = pool.take(large / 2);
        assert_eq!(same.as_ref().map(Vec::len), Some(large));
        pool.hand_out(large);
        give_back(&mut pool, same.unwrap_or_default());
        // Other sizes: the old one is kept while there is room, then goes.
        pool.hand_out(large / 3);
        assert_eq!(pool.held, large);
        pool.hand_out(large / 3);
        assert_eq!(pool.held, 0);
    }

    #[test]
    fn sizes_round_up_by_an_eighth_at_most() {
        for n in [1, 4095, 4096, 4097, 5000, 65_537, 3_145_728, 10_000_001] {
            assert!(class(n) >= n && class(n) - n <= n / 8, "{n}: {}", class(n));
            assert_eq!(class(class(n)), class(n));
        }
        let buffer = Buffer::zeros(5000);
        assert_eq!((buffer.len(), buffer.iter().any(|&x| x != 0.0)), (5000, false));
        assert_eq!(buffer.into_vec().len(), 5000);
    }
}
