//! A small generator whose sequence belongs to this crate.
//!
//! Shuffles decide which batch is seen at which step, and a resumed run must see the same ones after any upgrade of a
//! dependency; hence SplitMix64 (Steele, Lea and Flood 2014) here and not a general crate whose algorithms may change.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose sequence is a function of all the numbers in `seed`.
    pub fn new(seed: &[u64]) -> Self {
        let mut random = Self { state: 0x9e37_79b9_7f4a_7c15 };
        for &part in seed {
            random.state ^= part;
            random.state = random.next_u64();
        }
        random
    }

    /// The next 64 uniformly distributed bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // Multiply-shift; its bias is below bound / 2^64.
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Permutes a slice (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
