//! Texts to token ids, once, before training begins.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tokenizers::Tokenizer;

use super::read::Row;
use crate::error::{Error, ErrorKind, Result};

/// Which text of an overlong pair loses tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// The longer one, token by token, the second on a tie.
    LongerFirst,
    /// The second only (the passage), as long as the first leaves room; then the first.
    SecondOnly,
}

/// A tokenised pair with its special tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    ids: Box<[u32]>,
    first_len: u32,
}

impl Tokens {
    /// A sequence whose first segment has this many tokens.
    #[cfg(test)]
    pub(crate) fn new(ids: Vec<u32>, first_len: u32) -> Self {
        Self { ids: ids.into(), first_len }
    }

    /// All ids, `[CLS] a [SEP] b [SEP]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Token types: 0 for the first segment with its `[SEP]`, 1 after it.
    pub fn types(&self) -> Vec<u32> {
        (0..self.ids.len()).map(|i| u32::from(i >= self.first_len as usize)).collect()
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token; never the case for a tokenised pair.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// The tokenizer of an encoder folder, with pairs put together as its encoder was trained.
pub struct PairTokenizer {
    path: PathBuf,
    inner: Tokenizer,
    start: u32,
    separators: Vec<u32>,
    end: u32,
    typed: bool,
    max_len: usize,
}

fn read_tokenizer(path: &Path) -> Result<Tokenizer> {
    if !path.is_file() {
        return Err(Error::new(
            ErrorKind::Io,
            format!("{}: no such file; expected a Hugging Face encoder or student folder", path.display()),
        ));
    }
    Tokenizer::from_file(path).map_err(|e| Error::new(ErrorKind::Model, format!("{}: {e}", path.display())))
}

/// The tokens of a `tokenizer.json` and their ids, with or without added ones.
///
/// # Errors
/// When the file is missing or no tokenizer.
pub(crate) fn vocabulary(path: &Path, added: bool) -> Result<HashMap<String, u32>> {
    Ok(read_tokenizer(path)?.get_vocab(added))
}

impl PairTokenizer {
    /// Reads `tokenizer.json` of a folder. `max_len` is the greatest number of tokens of a pair.
    ///
    /// # Errors
    /// When the file is missing or unreadable, has none of the known special tokens (`[CLS]`, `[SEP]`, or `<s>`,
    /// `</s>`), or `max_len` has no room for one token of each text.
    pub fn from_folder(folder: &Path, max_len: usize) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let mut inner = read_tokenizer(&path)?;
        inner.with_truncation(None).map_err(|e| Error::new(ErrorKind::Model, format!("{}: {e}", path.display())))?;
        inner.with_padding(None);
        // "[SEP]" in a user's text is text, not a separator.
        inner.set_encode_special_tokens(true);
        let id = |token: &str| inner.token_to_id(token);
        let (start, separators, end, typed) = if let (Some(cls), Some(sep)) = (id("[CLS]"), id("[SEP]")) {
            (cls, vec![sep], sep, true)
        } else if let (Some(start), Some(end)) = (id("<s>"), id("</s>")) {
            (start, vec![end, end], end, false)
        } else {
            return Err(Error::new(
                ErrorKind::Model,
                format!("{}: neither [CLS] and [SEP] nor <s> and </s> in the vocabulary", path.display()),
            ));
        };
        if max_len < separators.len() + 4 {
            return Err(Error::config(format!(
                "max_len = {max_len} leaves no room for a pair; expected at least {}",
                separators.len() + 4
            )));
        }
        Ok(Self { path, inner, start, separators, end, typed, max_len })
    }

    /// Whether the file is the given folder's own; its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tokenises a pair.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn pair(&self, text_a: &str, text_b: &str, truncation: Truncation) -> Result<Tokens> {
        let (a, b) = (self.plain(text_a)?, self.plain(text_b)?);
        let room = self.max_len - 2 - self.separators.len();
        let (keep_a, keep_b) = kept(a.len(), b.len(), room, truncation);
        let mut ids = Vec::with_capacity(keep_a + keep_b + 2 + self.separators.len());
        ids.push(self.start);
        ids.extend_from_slice(&a[..keep_a]);
        ids.extend_from_slice(&self.separators);
        let first_len = if self.typed { ids.len() } else { usize::MAX };
        ids.extend_from_slice(&b[..keep_b]);
        ids.push(self.end);
        Ok(Tokens { first_len: first_len.min(u32::MAX as usize) as u32, ids: ids.into() })
    }

    /// Tokenises a single text (`[CLS] a [SEP]`), as sentence encoders take it.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn single(&self, text: &str) -> Result<Tokens> {
        let plain = self.plain(text)?;
        let mut ids = Vec::with_capacity(plain.len() + 2);
        ids.push(self.start);
        ids.extend_from_slice(&plain[..plain.len().min(self.max_len - 2)]);
        ids.push(self.end);
        Ok(Tokens { first_len: u32::MAX, ids: ids.into() })
    }

    /// Tokenises all rows in parallel, in order.
    ///
    /// # Errors
    /// When the tokenizer fails on one.
    pub fn rows(&self, rows: &[Row], truncation: Truncation) -> Result<Vec<Tokens>> {
        rows.par_iter().map(|row| self.pair(&row.text_a, &row.text_b, truncation)).collect()
    }

    fn plain(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| Error::new(ErrorKind::Model, format!("{}: {e}", self.path.display())))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// How many tokens of each text stay when both together have `room`.
fn kept(a: usize, b: usize, room: usize, truncation: Truncation) -> (usize, usize) {
    if a + b <= room {
        return (a, b);
    }
    match truncation {
        Truncation::LongerFirst => {
            let half = room / 2;
            if a <= half {
                (a, room - a)
            } else if b <= half {
                (room - b, b)
            } else {
                // Both are longer than half: trimming the longer one, the second on a tie, ends at equal lengths with
                // the odd token on the first.
                (room - half, half)
            }
        }
        Truncation::SecondOnly => {
            // One token of the second stays, so that a question as long as the room cannot hide the passage.
            let a = a.min(room - 1);
            (a, room - a)
        }
    }
}

#[cfg(test)]
mod tests;
