//! A batch of token sequences.

use candle_core::{Device, Tensor};

use crate::{Error, Result};

/// Token sequences of one batch, padded on the right to the longest.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Token ids, u32 `[batch, seq]`, on the CPU: the tables' rows are chosen from there.
    pub ids: Tensor,
    /// Token types (0 for the first segment, 1 for the second), u32 `[batch, seq]`, on the CPU.
    pub types: Tensor,
    /// The number of tokens of each sequence, without padding; each is at least 1.
    pub lengths: Vec<usize>,
}

impl Batch {
    /// Pads `(ids, types)` pairs to the longest with `pad_id` and type 0; for a GPU further, to a multiple of 8 tokens, which its
    /// matrix units are fastest with.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for no sequences, an empty sequence, or ids and types of different lengths.
    pub fn new(sequences: &[(Vec<u32>, Vec<u32>)], pad_id: u32, device: &Device) -> Result<Self> {
        let lengths: Vec<usize> = sequences.iter().map(|(ids, _)| ids.len()).collect();
        let Some(longest) = lengths.iter().copied().max() else {
            return Err(Error::argument("batch: no sequences, expected at least one"));
        };
        let longest = if device.is_cuda() { longest.next_multiple_of(8) } else { longest };
        let mut ids = Vec::with_capacity(sequences.len() * longest);
        let mut types = Vec::with_capacity(sequences.len() * longest);
        for (row, (row_ids, row_types)) in sequences.iter().enumerate() {
            if row_ids.is_empty() || row_ids.len() != row_types.len() {
                return Err(Error::argument(format!(
                    "batch: sequence {row} has {} ids and {} types, expected as many of each and at least one",
                    row_ids.len(),
                    row_types.len()
                )));
            }
            let padding = longest - row_ids.len();
            ids.extend(row_ids.iter().copied().chain(std::iter::repeat_n(pad_id, padding)));
            types.extend(row_types.iter().copied().chain(std::iter::repeat_n(0, padding)));
        }
        let shape = (sequences.len(), longest);
        let tensor = |numbers| Tensor::from_vec(numbers, shape, &Device::Cpu);
        Ok(Self { ids: tensor(ids)?, types: tensor(types)?, lengths })
    }

    /// The number of sequences.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// The padded length in tokens.
    pub fn padded_length(&self) -> usize {
        self.ids.dims().get(1).copied().unwrap_or(0)
    }

    /// Checks that shapes and lengths agree, since the fields are public.
    pub(crate) fn check(&self) -> Result<(usize, usize)> {
        let (rows, seq) = self.ids.dims2()?;
        let bad = self.lengths.iter().find(|&&n| n == 0 || n > seq);
        if self.types.dims() != self.ids.dims() || self.lengths.len() != rows || bad.is_some() || rows == 0 {
            return Err(Error::argument(format!(
                "batch: ids {:?}, types {:?}, {} lengths{}; expected the same shapes, one length a row, each within 1..={seq}",
                self.ids.dims(),
                self.types.dims(),
                self.lengths.len(),
                bad.map(|n| format!(" with a length of {n}")).unwrap_or_default()
            )));
        }
        Ok((rows, seq))
    }
}
