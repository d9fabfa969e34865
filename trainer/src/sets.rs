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
