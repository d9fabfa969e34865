//! When a sum of eight products of int8 fits 16 bits, so that an instruction set without a dot product may keep it there.
//!
//! Two products always do: 2 x 127 x 128 is 32,512. Eight do in nearly every block of a trained model, and the Cauchy-Schwarz inequality
//! proves it before they are computed: no sum of products is larger than the square root of (the sum of one side's squares times the sum of the
//! other's), and neither is a sum of some of them.
//!
//! A tile's lane holds one channel and one of the four inputs of a group, so over a [`BLOCK`] of groups it adds that many products. Here
//! are the largest sum of squares among the lanes of each block, of a panel's weights and of two rows' activations, and for each block of the rows
//! the largest that the weights' may be ([`limit`]).

/// Groups of four inputs whose products a lane adds up.
pub(crate) const BLOCK: usize = 8;
/// Inputs of a block.
pub(crate) const BLOCK_INPUTS: usize = 4 * BLOCK;

/// The square of the largest sum that 16 bits hold.
const LARGEST: u32 = 32_767 * 32_767;

/// Fewest rows for which it pays to look at the weights.
const WORTH_ROWS: usize = 8;
/// Most blocks of inputs that a table is made for: 8,192 inputs. Larger layers do without.
const MOST_BLOCKS: usize = 256;
/// Most limits of a table: the 64 rows that the encoder multiplies at once, of 4,096 inputs.
const MOST_LIMITS: usize = 32 * 128;

/// The largest sum of squares of each block of a panel of 16 channels, `[blocks][BLOCK][16][4]`; `u16::MAX` where it is that or more.
pub(crate) fn weight_squares(panel: &[i8], to: &mut [u16]) {
    for (block, to) in panel.chunks_exact(16 * BLOCK_INPUTS).zip(to) {
        let lane = |lane: usize| square_sum((0..BLOCK).map(|group| block[64 * group + lane]));
        *to = (0..64).map(lane).max().unwrap_or(0);
    }
}

/// The same of two rows that stand together, eight bytes of each in turn.
pub(crate) fn row_squares(rows: &[u8], to: &mut [u16]) {
    for (block, to) in rows.chunks_exact(2 * BLOCK_INPUTS).zip(to) {
        let at = |row: usize, group: usize, input: usize| block[16 * (group / 2) + 8 * row + 4 * (group % 2) + input];
        let lane = |lane: usize| square_sum((0..BLOCK).map(|group| at(lane / 4, group, lane % 4).cast_signed()));
        *to = (0..8).map(lane).max().unwrap_or(0);
    }
}

fn square_sum(values: impl Iterator<Item = i8>) -> u16 {
    values.fold(0, |sum: u16, x| sum.saturating_add(u16::from(x.unsigned_abs()).pow(2)))
}

/// The largest sum of squares of weights whose products are sure to fit beside activations with this one. `u16::MAX` says "or more": as a sum of weights it is within
/// no limit, and beside such activations only weights of zero are.
fn limit(activations: u16) -> u16 {
    match activations {
        0 => u16::MAX - 1,
        u16::MAX => 0,
        squares => u16::try_from(LARGEST / u32::from(squares)).unwrap_or(u16::MAX).min(u16::MAX - 1),
    }
}

/// What is known of the blocks that a tile multiplies: a lane's products of a block fit 16 bits where the weights' sum of squares is at most the
/// limit.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "only NEON's tile reads them"))]
pub(crate) struct Chains<'a> {
    pub weights: &'a [u16],
    pub limits: &'a [u16],
}

/// The limits of all rows of a product, and the sums of squares of the panel that it is at.
pub(crate) struct ChainTable {
    limits: [u16; MOST_LIMITS],
    weights: [u16; MOST_BLOCKS],
    blocks: usize,
}

impl ChainTable {
    /// Of rows of `inputs` (a multiple of [`BLOCK_INPUTS`]) activations, in pairs that stand together; the function given does what [`row_squares`] does.
    /// None where it would not pay, or the table is too small.
    #[inline(always)]
    pub(crate) fn new(rows: &[u8], inputs: usize, row_squares: impl Fn(&[u8], &mut [u16])) -> Option<Self> {
        let blocks = inputs / BLOCK_INPUTS;
        let pairs = rows.chunks_exact(2 * inputs);
        if pairs.len() * 2 < WORTH_ROWS || blocks > MOST_BLOCKS || pairs.len() * blocks > MOST_LIMITS {
            return None;
        }
        let mut table = Self { limits: [0; MOST_LIMITS], weights: [0; MOST_BLOCKS], blocks };
        for (pair, limits) in pairs.zip(table.limits.chunks_exact_mut(blocks)) {
            row_squares(pair, limits);
            for to in limits {
                *to = limit(*to);
            }
        }
        Some(table)
    }

    /// Where the sums of squares of the next panel go, one for each block.
    #[inline(always)]
    pub(crate) fn weights_mut(&mut self) -> &mut [u16] {
        &mut self.weights[..self.blocks]
    }

    /// What is known of the blocks of a pair of rows and the panel.
    #[inline(always)]
    pub(crate) fn pair(&self, pair: usize) -> Chains<'_> {
        Chains { weights: &self.weights[..self.blocks], limits: &self.limits[pair * self.blocks..][..self.blocks] }
    }
}

#[cfg(test)]
mod tests;
