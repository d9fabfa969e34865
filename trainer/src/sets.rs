//! Tokenised rows with the answers that a student is to learn.

use attar_nn::Batch;
use candle_core::Device;

use crate::data::Tokens;
use crate::error::Result;

/// Rows of one head to train on.
#[derive(Clone, Debug, Default)]
pub struct TrainingSet {
    /// For logs: where the rows come from.
    pub name: String,
    /// The head they belong to.
    pub head: String,
    /// Token ids of each row.
    pub tokens: Vec<Tokens>,
    /// Gold class of each row, where there is one.
    pub gold: Vec<Option<u32>>,
    /// Logits that each copy of the head learns, `[row][copy][class]`; empty for no soft labels.
    pub soft: Vec<Vec<Option<Vec<f32>>>>,
}

impl TrainingSet {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Adds another set's rows of the same head; either may be without soft labels.
    pub fn append(&mut self, mut other: Self) {
        if !(self.soft.is_empty() && other.soft.is_empty()) {
            // Not a soft label for any of the rows that have none.
            self.soft.resize(self.tokens.len(), Vec::new());
            other.soft.resize(other.tokens.len(), Vec::new());
        }
        self.tokens.extend(other.tokens);
        self.gold.extend(other.gold);
        self.soft.extend(other.soft);
    }

    /// The target of a row for a copy of the head.
    pub fn target(&self, row: usize, copy: usize) -> Option<&[f32]> {
        self.soft.get(row)?.get(copy)?.as_deref()
    }

    /// Token counts, for planning batches.
    pub fn lengths(&self) -> Vec<u32> {
        self.tokens.iter().map(|t| t.len() as u32).collect()
    }
}

/// Pads rows into a batch.
///
/// # Errors
/// When the device is out of memory, or there is no row.
pub fn batch_of<'a>(tokens: impl IntoIterator<Item = &'a Tokens>, pad: u32, device: &Device) -> Result<Batch> {
    let rows: Vec<(Vec<u32>, Vec<u32>)> = tokens.into_iter().map(|t| (t.ids().to_vec(), t.types())).collect();
    Ok(Batch::new(&rows, pad, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(gold: &[u32], soft: Vec<Vec<Option<Vec<f32>>>>) -> TrainingSet {
        let tokens = gold.iter().map(|&g| Tokens::new(vec![g], 1)).collect();
        TrainingSet { tokens, gold: gold.iter().map(|&g| Some(g)).collect(), soft, ..Default::default() }
    }

    #[test]
    fn sets_with_and_without_soft_labels_join_row_by_row() {
        let target = || vec![Some(vec![0.5, -0.5])];
        for (first, second, expected) in [
            (vec![], vec![target()], [None, None, Some([0.5, -0.5])]),
            (vec![target(), target()], vec![], [Some([0.5, -0.5]), Some([0.5, -0.5]), None]),
            (vec![], vec![], [None; 3]),
        ] {
            let mut joined = set(&[0, 1], first);
            joined.append(set(&[2], second));
            assert_eq!((joined.len(), joined.gold.len()), (3, 3));
            for (row, expected) in expected.iter().enumerate() {
                assert_eq!(joined.target(row, 0), expected.as_ref().map(|e| &e[..]), "row {row}");
            }
        }
    }
}
