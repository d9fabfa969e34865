//! The stored form of a vocabulary: its hash, and building it.

use crate::error::{Error, ErrorKind, Result};

/// The most tokens a vocabulary can have: 20 bits of a table entry hold the id + 1.
pub const MAX_TOKENS: usize = (1 << TAG_SHIFT) - 1;

/// The longest token, in bytes with its continuation prefix. BERT's longest has 18, multilingual BERT's fewer than 60.
pub const MAX_TOKEN_BYTES: usize = 256;

/// How far a lookup probes before it gives up. `build_tables` grows the table until every token is within this distance, so that a
/// hostile table that is full cannot make a lookup walk through all of it.
pub(crate) const MAX_PROBES: usize = 128;

pub(crate) const TAG_SHIFT: u32 = 20;
pub(crate) const ID_MASK: u32 = (1 << TAG_SHIFT) - 1;

/// FNV-1a's offset basis: the hash state of the empty string.
pub(crate) const HASH_START: u32 = 0x811c_9dc5;

/// FNV-1a: the hash state after one more byte.
#[inline(always)]
pub(crate) fn hash_step(state: u32, byte: u8) -> u32 {
    (state ^ u32::from(byte)).wrapping_mul(0x0100_0193)
}

/// The hash state after a string.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u32 {
    bytes.iter().fold(HASH_START, |state, &byte| hash_step(state, byte))
}

/// Spreads a state over all 32 bits (FNV-1a's high bits depend little on the last bytes): the finaliser of MurmurHash3.
#[inline(always)]
pub(crate) fn hash_finish(mut state: u32) -> u32 {
    state ^= state >> 16;
    state = state.wrapping_mul(0x85eb_ca6b);
    state ^= state >> 13;
    state = state.wrapping_mul(0xc2b2_ae35);
    state ^ (state >> 16)
}

/// The three arrays of a stored vocabulary; see the crate's documentation for the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The text of all tokens, one after the other.
    pub bytes: Vec<u8>,
    /// `[tokens + 1]`: where each token begins in `bytes`, and the end of the last.
    pub offsets: Vec<u32>,
    /// `[a power of two]`: the hash table.
    pub table: Vec<u32>,
}

/// Builds the stored form of a vocabulary; `tokens[id]` is the text of a token, and an empty string an id that is not used.
///
/// Tokens that continue a word are stored as they are, with their `continuation` prefix.
///
/// # Errors
///
/// [`ErrorKind::Tokens`] for an empty list, more than [`MAX_TOKENS`], a token or continuation longer than [`MAX_TOKEN_BYTES`], two
/// equal tokens, or tokens made to collide.
pub fn build_tables(tokens: &[String], continuation: &str) -> Result<Tables> {
    let fail = |message: String| Err(Error::new(ErrorKind::Tokens, message));
    if tokens.is_empty() || tokens.len() > MAX_TOKENS {
        return fail(format!("vocabulary: {} tokens, expected 1 to {MAX_TOKENS}", tokens.len()));
    }
    if continuation.len() > MAX_TOKEN_BYTES {
        return fail(format!(
            "vocabulary: a continuation prefix of {} bytes, expected at most {MAX_TOKEN_BYTES}",
            continuation.len()
        ));
    }
    let mut bytes = Vec::with_capacity(tokens.iter().map(String::len).sum());
    let mut offsets = Vec::with_capacity(tokens.len() + 1);
    offsets.push(0);
    for (id, token) in tokens.iter().enumerate() {
        if token.len() > MAX_TOKEN_BYTES {
            return fail(format!(
                "vocabulary: token {id} has {} bytes, expected at most {MAX_TOKEN_BYTES}",
                token.len()
            ));
        }
        bytes.extend_from_slice(token.as_bytes());
        // At most MAX_TOKENS * MAX_TOKEN_BYTES = 2^28.
        offsets.push(bytes.len() as u32);
    }
    let mut slots = (2 * tokens.len()).next_power_of_two();
    // Random tokens need at most one doubling; only tokens chosen to collide could need more.
    for _ in 0..4 {
        if let Some(table) = fill(tokens, slots)? {
            return Ok(Tables { bytes, offsets, table });
        }
        slots *= 2;
    }
    fail(format!("vocabulary: more than {MAX_PROBES} tokens share one hash; this is not an ordinary vocabulary"))
}

/// A table of `slots` entries, or `None` if some token would be more than `MAX_PROBES` away from its slot.
fn fill(tokens: &[String], slots: usize) -> Result<Option<Vec<u32>>> {
    let mut table = vec![0u32; slots];
    for (id, token) in tokens.iter().enumerate().filter(|(_, token)| !token.is_empty()) {
        let hash = hash_finish(hash_bytes(token.as_bytes()));
        let entry = (hash >> TAG_SHIFT) << TAG_SHIFT | (id as u32 + 1);
        let mut placed = false;
        for probe in 0..MAX_PROBES.min(slots) {
            let slot = &mut table[(hash as usize + probe) & (slots - 1)];
            if *slot == 0 {
                *slot = entry;
                placed = true;
                break;
            }
            let other = ((*slot & ID_MASK) - 1) as usize;
            if tokens[other] == *token {
                return Err(Error::new(
                    ErrorKind::Tokens,
                    format!("vocabulary: tokens {other} and {id} are both {token:?}"),
                ));
            }
        }
        if !placed {
            return Ok(None);
        }
    }
    Ok(Some(table))
}
