//! When a sum of eight products of int8 fits 16 bits, so that an instruction set without a dot product may keep it there.
//!
//! Two products always do: 2 x 127 x 128 is 32,512. Eight do in nearly every block of a trained model, and the Cauchy-Schwarz inequality
//! proves it before they are computed: no sum of `a[i] * w[i]` is larger than the square root of `sum of a[i]^2` times `sum of w[i]^2`.
//!
//! A tile's lane holds one channel and one of the four inputs of a group, so over a [`BLOCK`] of groups it adds that many products. The
//! norm of a block is the largest sum of squares among its lanes; the table below has one for each block of a panel of weights, and for
//! each block of two rows the largest norm of weights that may meet them.

/// Groups of four inputs whose products a lane adds up.
pub(crate) const BLOCK: usize = 8;
/// Inputs of a block.
pub(crate) const BLOCK_INPUTS: usize = 4 * BLOCK;

/// The square of the largest sum that 16 bits hold.
const LARGEST: u32 = 32_767 * 32_767;

/// Fewest rows for which it pays to compute the norms of the weights.
pub(crate) const WORTH_ROWS: usize = 8;
/// Most blocks of inputs of a panel, and most limits of all rows, that a table holds. Larger layers do without.
const MOST_BLOCKS: usize = 256;
const MOST_LIMITS: usize = 4096;

/// The norms of a panel of 16 channels, `[blocks][BLOCK][16][4]` weights: one for each block, `u16::MAX` where it is that or more.
pub(crate) fn of_weights(panel: &[i8], norms: &mut [u16]) {
    for (block, norm) in panel.chunks_exact(16 * BLOCK_INPUTS).zip(norms) {
        let lane = |lane: usize| square_sum((0..BLOCK).map(|group| block[64 * group + lane]));
        *norm = (0..64).map(lane).max().unwrap_or(0);
    }
}

/// The norms of two rows that stand together, eight bytes of each in turn.
pub(crate) fn of_rows(rows: &[u8], norms: &mut [u16]) {
    for (block, norm) in rows.chunks_exact(2 * BLOCK_INPUTS).zip(norms) {
        let at = |row: usize, group: usize, input: usize| block[16 * (group / 2) + 8 * row + 4 * (group % 2) + input];
        let lane = |lane: usize| square_sum((0..BLOCK).map(|group| at(lane / 4, group, lane % 4).cast_signed()));
        *norm = (0..8).map(lane).max().unwrap_or(0);
    }
}

fn square_sum(values: impl Iterator<Item = i8>) -> u16 {
    values.fold(0, |sum: u16, x| sum.saturating_add(u16::from(x.unsigned_abs()).pow(2)))
}

/// The largest norm of weights whose products with rows of this norm are sure to fit. A norm of `u16::MAX` says "or more" and is never
/// within a limit; beside rows of such a norm only weights of zero are.
pub(crate) fn limit(rows: u16) -> u16 {
    match rows {
        0 => u16::MAX - 1,
        u16::MAX => 0,
        rows => u16::try_from(LARGEST / u32::from(rows)).unwrap_or(u16::MAX).min(u16::MAX - 1),
    }
}

/// What is known of the blocks that a tile multiplies: products of a block fit 16 bits where the weights' norm is at most the limit.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "only NEON's tile reads them"))]
pub(crate) struct Norms<'a> {
    pub weights: &'a [u16],
    pub limits: &'a [u16],
}

/// The limits of all rows of a product and the norms of the panel that it is at.
pub(crate) struct Table {
    limits: [u16; MOST_LIMITS],
    weights: [u16; MOST_BLOCKS],
    blocks: usize,
}

impl Table {
    /// Of rows of `inputs` (a multiple of [`BLOCK_INPUTS`]) activations, in pairs that stand together, of which `of_rows` computes the
    /// norms. None where it would not pay, or the table is too small.
    #[inline(always)]
    pub(crate) fn new(rows: &[u8], inputs: usize, of_rows: impl Fn(&[u8], &mut [u16])) -> Option<Self> {
        let blocks = inputs / BLOCK_INPUTS;
        let pairs = rows.chunks_exact(2 * inputs);
        if pairs.len() * 2 < WORTH_ROWS || blocks > MOST_BLOCKS || pairs.len() * blocks > MOST_LIMITS {
            return None;
        }
        let mut table = Self { limits: [0; MOST_LIMITS], weights: [0; MOST_BLOCKS], blocks };
        for (pair, limits) in pairs.zip(table.limits.chunks_exact_mut(blocks)) {
            of_rows(pair, limits);
            for to in limits {
                *to = limit(*to);
            }
        }
        Some(table)
    }

    /// Where the norms of the next panel go, one for each block.
    pub(crate) fn weights(&mut self) -> &mut [u16] {
        &mut self.weights[..self.blocks]
    }

    /// What is known of the blocks of each two rows in turn and the panel.
    #[inline(always)]
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Norms<'_>> {
        let weights = &self.weights[..self.blocks];
        self.limits.chunks_exact(self.blocks).map(move |limits| Norms { weights, limits })
    }
}

#[cfg(test)]
mod tests;
