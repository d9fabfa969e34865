//! Longest-match-first WordPiece over one normalised word.

use std::ops::Range;

use crate::table::{HASH_START, MAX_TOKEN_BYTES, hash_step};
use crate::vocabulary::Vocabulary;

/// Where tokens go: ids alone, or ids and the spans of text that they stand for.
pub(crate) trait Output {
    /// Whether spans are wanted at all.
    const SPANS: bool;
    /// Appends a token.
    fn push(&mut self, id: u32, span: impl FnOnce() -> Range<usize>);
    /// The number of tokens so far.
    fn len(&self) -> usize;
    /// Takes back all tokens after the first `len`.
    fn truncate(&mut self, len: usize);
}

/// Ids alone.
pub(crate) struct Ids<'v>(pub &'v mut Vec<u32>);

impl Output for Ids<'_> {
    const SPANS: bool = false;

    #[inline(always)]
    fn push(&mut self, id: u32, _: impl FnOnce() -> Range<usize>) {
        self.0.push(id);
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

/// Ids and the byte range of each token in the text.
pub(crate) struct IdsAndSpans<'v> {
    pub ids: &'v mut Vec<u32>,
    pub spans: &'v mut Vec<Range<usize>>,
    /// How many more spans than ids the caller's vectors held.
    pub shift: isize,
}

impl Output for IdsAndSpans<'_> {
    const SPANS: bool = true;

    fn push(&mut self, id: u32, span: impl FnOnce() -> Range<usize>) {
        self.ids.push(id);
        self.spans.push(span());
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn truncate(&mut self, len: usize) {
        self.ids.truncate(len);
        self.spans.truncate(len.saturating_add_signed(self.shift));
    }
}

/// Splits words into pieces.
pub(crate) struct WordPiece<'a> {
    vocabulary: Vocabulary<'a>,
    continuation: &'a [u8],
    continuation_state: u32,
    unk: u32,
    /// Hash states of the prefixes of what is left of the word.
    states: [u32; MAX_TOKEN_BYTES],
}

impl<'a> WordPiece<'a> {
    pub fn new(vocabulary: Vocabulary<'a>, continuation: &'a [u8], continuation_state: u32, unk: u32) -> Self {
        Self { vocabulary, continuation, continuation_state, unk, states: [0; MAX_TOKEN_BYTES] }
    }

    /// Appends the pieces of `word` (UTF-8, not empty), or the unknown token if some part of it is no piece.
    ///
    /// `span(range of the word)` gives the range of the text. At most `longest token` lookups per piece, whatever the word.
    #[inline(always)]
    pub fn split<O: Output>(&mut self, word: &[u8], span: impl Fn(Range<usize>) -> Range<usize>, out: &mut O) {
        let before = out.len();
        let (mut start, mut state, mut prefix) = (0, HASH_START, &b""[..]);
        while start < word.len() {
            let rest = &word[start..];
            let limit = self.vocabulary.longest().saturating_sub(prefix.len()).min(rest.len()).min(MAX_TOKEN_BYTES);
            for (slot, &byte) in self.states.iter_mut().zip(&rest[..limit]) {
                state = hash_step(state, byte);
                *slot = state;
            }
            let found = (1..=limit).rev().find_map(|n| {
                // A piece cannot end inside a character.
                if rest.get(n).is_some_and(|byte| byte & 0xc0 == 0x80) {
                    return None;
                }
                Some((n, self.vocabulary.lookup(self.states[n - 1], prefix, &rest[..n])?))
            });
            let Some((n, id)) = found else {
                out.truncate(before);
                self.unknown(word.len(), span, out);
                return;
            };
            out.push(id, || span(start..start + n));
            start += n;
            (state, prefix) = (self.continuation_state, self.continuation);
        }
    }

    /// Appends the unknown token for a word of `len` bytes.
    #[cold]
    pub fn unknown<O: Output>(&self, len: usize, span: impl Fn(Range<usize>) -> Range<usize>, out: &mut O) {
        out.push(self.unk, || span(0..len));
    }
}
