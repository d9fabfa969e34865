//! Recycled memory for intermediate results.
//!
//! A training step needs the same few hundred megabytes again and again. Given back to the system in between, they cost a
//! quarter of the step in pages that the kernel zeroes; kept here, they cost nothing.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, OnceLock};

/// Elements that the pool holds back at most (512 MiB); what is freed beyond that goes to the system.
const POOL_LIMIT: usize = 1 << 27;

/// Smaller buffers are left to the allocator.
const SMALLEST: usize = 4096;

#[derive(Default)]
struct Pool {
    free: HashMap<usize, Vec<Vec<f32>>>,
    held: usize,
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
        let class = class(len);
        let recycled = match pool().lock() {
            Ok(mut pool) if len >= SMALLEST => {
                let found = pool.free.get_mut(&class).and_then(Vec::pop);
                pool.held -= found.as_ref().map_or(0, Vec::len);
                found
            }
            _ => None,
        };
        Self { data: recycled.unwrap_or_else(|| vec![0.0; class]), len }
    }

    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut this = Self::stale(len);
        this.fill(0.0);
        this
    }

    /// The elements as a vector of their own, which is not recycled.
    pub(crate) fn into_vec(mut self) -> Vec<f32> {
        let mut data = std::mem::take(&mut self.data);
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
        if let Ok(mut pool) = pool().lock()
            && pool.held + size <= POOL_LIMIT
        {
            pool.held += size;
            pool.free.entry(size).or_default().push(std::mem::take(&mut self.data));
        }
    }
}
