//! Which tokens of a pair the encoder sees together.
//!
//! The encoder has a limit, `positions`, and a pair takes three of them for `[CLS] a [SEP] b [SEP]`. A pair that fits is one
//! window. A longer one is covered by overlapping windows of its longer text, each beside the whole shorter text; when the
//! shorter text alone takes more than half of the room, both are cut, each into windows of half the room, and every window of
//! one meets every window of the other. Neighbours share a quarter of their tokens, so that no sentence shorter than that is
//! seen only in pieces. No token is left out.

use std::ops::Range;

/// Special tokens of a pair: `[CLS]`, `[SEP]`, `[SEP]`.
pub(crate) const SPECIAL_TOKENS: usize = 3;

/// Most windows of one pair. With MiniLM's 512 positions that is over a million tokens beside a question of 20.
pub(crate) const MAX_WINDOWS: usize = 4096;

/// Token ranges of a window: of text a, and of text b.
pub(crate) type Window = (Range<usize>, Range<usize>);

/// `length` tokens as ranges of at most `size`, neighbours overlapping by a quarter, the last one flush with the end.
fn cover(length: usize, size: usize) -> Vec<Range<usize>> {
    if length <= size {
        return vec![0..length; 1];
    }
    let stride = size - size / 4;
    let last = length - size;
    (0..last.div_ceil(stride) + 1).map(|i| (i * stride).min(last)).map(|start| start..start + size).collect()
}

/// The windows of a pair of `a` and `b` tokens in an encoder of `positions`, or their number where it is above
/// [`MAX_WINDOWS`].
///
/// `a` and `b` are at least 1 and `positions` at least 5.
pub(crate) fn windows(a: usize, b: usize, positions: usize) -> Result<Vec<Window>, usize> {
    let room = positions - SPECIAL_TOKENS;
    if a.saturating_add(b) <= room {
        return Ok(vec![(0..a, 0..b); 1]);
    }
    let half = room / 2;
    let (size_a, size_b) = match (a <= half, b <= half) {
        (true, _) => (a, room - a),
        (false, true) => (room - b, b),
        (false, false) => (half, room - half),
    };
    let count = |length: usize, size: usize| match length.saturating_sub(size) {
        0 => 1,
        rest => rest.div_ceil(size - size / 4) + 1,
    };
    let total = count(a, size_a).saturating_mul(count(b, size_b));
    if total > MAX_WINDOWS {
        return Err(total);
    }
    let of_b = cover(b, size_b);
    let pairs = cover(a, size_a).into_iter().flat_map(|wa| of_b.iter().map(move |wb| (wa.clone(), wb.clone())));
    Ok(pairs.collect())
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
