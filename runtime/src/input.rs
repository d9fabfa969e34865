//! From texts to sequences of token ids.

use std::ops::Range;

use attar_bundle::TokenizerConfig;
use attar_tokenizer::Tokenizer;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::Batch;
use crate::windows::{MAX_WINDOWS, SPECIAL_TOKENS, windows};

/// `[CLS] a [SEP] b [SEP]`, a and b being ranges of [`Sequences::tokens`].
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    a: Range<usize>,
    b: Range<usize>,
}

impl Sequence {
    /// Length in tokens, special ones included.
    pub(crate) fn len(&self) -> usize {
        self.a.len() + self.b.len() + SPECIAL_TOKENS
    }
}

/// All sequences of a call.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    tokens: Vec<u32>,
    pub(crate) sequences: Vec<Sequence>,
    /// For every pair, which sequences are its windows.
    pub(crate) pairs: Vec<Range<usize>>,
}

impl Sequences {
    /// Forgets everything, but keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.sequences.clear();
        self.pairs.clear();
    }

    /// Tokenises a text; its tokens are a range of `self.tokens`.
    pub(crate) fn text(
        &mut self,
        tokenizer: &Tokenizer<'_>,
        text: &str,
        place: impl FnOnce() -> String,
    ) -> Result<Range<usize>> {
        let start = self.tokens.len();
        tokenizer.encode_into(text, &mut self.tokens);
        if self.tokens.len() == start {
            let what = if text.is_empty() { "is empty" } else { "has no visible character" };
            return Err(Error::new(ErrorKind::Input, format!("{} {what}: there is nothing to score", place())));
        }
        Ok(start..self.tokens.len())
    }

    /// Adds a pair of texts that [`Sequences::text`] has returned.
    pub(crate) fn pair(&mut self, a: Range<usize>, b: Range<usize>, positions: usize) -> Result<()> {
        let first = self.sequences.len();
        if a.len() + b.len() + SPECIAL_TOKENS <= positions {
            self.sequences.push(Sequence { a, b });
            self.pairs.push(first..first + 1);
            return Ok(());
        }
        let windows = windows(a.len(), b.len(), positions).map_err(|count| {
            let pair = self.pairs.len();
            Error::new(
                ErrorKind::Input,
                format!(
                    "pair {pair}: texts of {} and {} tokens need {count} windows of {positions}, at most {MAX_WINDOWS} are \
                     read; cut the texts into passages",
                    a.len(),
                    b.len()
                ),
            )
        })?;
        let shift = |range: Range<usize>, by: usize| range.start + by..range.end + by;
        self.sequences
            .extend(windows.into_iter().map(|(wa, wb)| Sequence { a: shift(wa, a.start), b: shift(wb, b.start) }));
        self.pairs.push(first..self.sequences.len());
        Ok(())
    }

    /// Consecutive sequences from `start` on that have about `tokens` tokens together, at least one.
    pub(crate) fn block(&self, start: usize, tokens: usize) -> Range<usize> {
        let (mut end, mut size) = (start, 0);
        for sequence in &self.sequences[start..] {
            size += sequence.len();
            if end > start && size > tokens {
                break;
            }
            end += 1;
        }
        start..end
    }

    /// Writes the sequences `block` into `batch`.
    pub(crate) fn fill(&self, block: Range<usize>, config: &TokenizerConfig, batch: &mut Batch) {
        batch.ids.clear();
        batch.positions.clear();
        batch.types.clear();
        batch.starts.clear();
        batch.starts.push(0);
        for sequence in &self.sequences[block] {
            batch.ids.push(config.cls);
            batch.ids.extend_from_slice(&self.tokens[sequence.a.clone()]);
            batch.ids.push(config.sep);
            batch.ids.extend_from_slice(&self.tokens[sequence.b.clone()]);
            batch.ids.push(config.sep);
            batch.types.resize(batch.types.len() + sequence.a.len() + 2, 0);
            batch.types.resize(batch.types.len() + sequence.b.len() + 1, 1);
            // At most `positions` of them, which fits 32 bits; a block is a few hundred tokens, or one sequence.
            batch.positions.extend(0..sequence.len() as u32);
            batch.starts.push(batch.ids.len() as u32);
        }
    }
}
