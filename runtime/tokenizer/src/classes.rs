//! What BERT's normaliser and pre-tokeniser need to know about a character, as the `tokenizers` crate (0.23) sees it.
//!
//! `runs.rs` is generated and checked by `classes/tests.rs` from the crates that `tokenizers` itself uses.

mod runs;

use runs::RUNS;

/// Control, format or private use, U+0000 or U+FFFD, but not tab, line feed, carriage return.
pub(crate) const DROPPED: u8 = 1;
/// White space (`char::is_whitespace`).
pub(crate) const SPACE: u8 = 1 << 1;
/// A "Chinese character" in BERT's sense: a CJK unified or compatibility ideograph.
pub(crate) const IDEOGRAPH: u8 = 1 << 2;
/// A non-spacing mark (Mn).
pub(crate) const MARK: u8 = 1 << 3;
/// Punctuation: any general category P, and the ASCII symbols.
pub(crate) const PUNCTUATION: u8 = 1 << 4;
/// NFD replaces it, or may move it (a combining class other than 0).
pub(crate) const DECOMPOSED: u8 = 1 << 5;

/// Scripts below this come from a table, the rest from a search in [`RUNS`]: it covers all alphabets of the basic plane and the
/// common punctuation, at 12 KiB.
const DIRECT: usize = 0x3040;

static FLAGS: [u8; DIRECT] = {
    let mut flags = [0; DIRECT];
    let (mut c, mut run) = (0, 0);
    while c < DIRECT {
        while run + 1 < RUNS.len() && (RUNS[run + 1] >> 8) as usize <= c {
            run += 1;
        }
        flags[c] = RUNS[run] as u8;
        c += 1;
    }
    flags
};

/// The flags of a character.
#[inline]
pub(crate) fn flags(c: char) -> u8 {
    let c = c as u32;
    match FLAGS.get(c as usize) {
        Some(&flags) => flags,
        // The first run begins at 0, so that there is always one at or before `c`.
        None => RUNS[RUNS.partition_point(|run| run >> 8 <= c) - 1] as u8,
    }
}

/// What a byte of UTF-8 is to the fast path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Ends a word: space, tab, line feed, carriage return.
    Space,
    /// ASCII punctuation: a word of its own.
    Punctuation,
    /// Any other printable ASCII character.
    Word,
    /// A control character, or a byte of a character outside ASCII: only the slow path knows.
    Other,
}

/// The class of each byte.
pub(crate) static BYTES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
            classes[byte] = Class::Space;
        } else if b.is_ascii_punctuation() {
            classes[byte] = Class::Punctuation;
        } else if b.is_ascii_alphanumeric() {
            classes[byte] = Class::Word;
        }
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests;
