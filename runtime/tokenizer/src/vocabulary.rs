use crate::error::{Error, ErrorKind, Result};
use crate::table::{ID_MASK, MAX_PROBES, MAX_TOKEN_BYTES, MAX_TOKENS, TAG_SHIFT, hash_finish};

/// A stored vocabulary, borrowed: three slices that were found to be sound.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary<'a> {
    bytes: &'a [u8],
    offsets: &'a [u32],
    table: &'a [u32],
    /// Bytes of the longest token.
    longest: u32,
}

/// What [`Vocabulary::new`] found out about arrays, so that the same arrays can be used again without another check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    bytes: usize,
    tokens: usize,
    slots: usize,
    longest: u32,
}

fn fail<T>(message: String) -> Result<T> {
    Err(Error::new(ErrorKind::Vocabulary, message))
}

impl<'a> Vocabulary<'a> {
    /// Checks the arrays of a stored vocabulary and borrows them; one pass, no allocation, about 50 us for BERT's 30 522 tokens.
    ///
    /// Whether the table finds every token is not checked (a checksum is the bundle's affair): a wrong table gives wrong ids, which
    /// are still below [`len`](Self::len).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Vocabulary`], with the array and index, if the offsets do not ascend from 0 to the end of `bytes` on character
    /// boundaries, a token is longer than [`MAX_TOKEN_BYTES`], `bytes` is not UTF-8, the table's length is not a power of two, or an
    /// entry holds an id that does not exist.
    pub fn new(bytes: &'a [u8], offsets: &'a [u32], table: &'a [u32]) -> Result<Self> {
        let tokens = offsets.len().saturating_sub(1);
        if tokens == 0 || tokens > MAX_TOKENS {
            return fail(format!("tokenizer.offsets: {} values, expected 2 to {}", offsets.len(), MAX_TOKENS + 1));
        }
        if !table.len().is_power_of_two() {
            return fail(format!("tokenizer.table: {} entries, expected a power of two", table.len()));
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return fail(format!("tokenizer.bytes: not UTF-8 at byte {}", error.valid_up_to())),
        };
        if offsets[0] != 0 || offsets[tokens] as usize != bytes.len() {
            let (first, last) = (offsets[0], offsets[tokens]);
            return fail(format!(
                "tokenizer.offsets: from {first} to {last}, expected 0 to {} (the length of tokenizer.bytes)",
                bytes.len()
            ));
        }
        let mut longest = 0;
        for (id, pair) in offsets.windows(2).enumerate() {
            let length = pair[1].wrapping_sub(pair[0]);
            if length as usize > MAX_TOKEN_BYTES || !text.is_char_boundary(pair[1] as usize) {
                let (start, end) = (pair[0], pair[1]);
                return fail(format!(
                    "tokenizer.offsets: token {id} is bytes {start} to {end}, expected ascending character boundaries at most \
                     {MAX_TOKEN_BYTES} bytes apart"
                ));
            }
            longest = longest.max(length);
        }
        // A maximum first: it is a loop the compiler vectorises, and the common case needs nothing more.
        let largest = table.iter().fold(0, |largest, &entry| largest.max(entry & ID_MASK));
        if largest as usize > tokens {
            let slot = table.iter().position(|&entry| (entry & ID_MASK) as usize > tokens).unwrap_or_default();
            return fail(format!("tokenizer.table: entry {slot} is id {}, expected less than {tokens}", largest - 1));
        }
        Ok(Self { bytes, offsets, table, longest })
    }

    /// Borrows arrays that [`new`](Self::new) has checked before, at no cost; `shape` is the [`shape`](Self::shape) that it had then.
    ///
    /// Safe with other arrays of the same lengths, but then the ids mean nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Vocabulary`] if the lengths are others than `shape` says.
    pub fn from_checked(bytes: &'a [u8], offsets: &'a [u32], table: &'a [u32], shape: Shape) -> Result<Self> {
        let vocabulary = Self { bytes, offsets, table, longest: shape.longest };
        match vocabulary.shape() == shape {
            true => Ok(vocabulary),
            false => {
                fail(format!("vocabulary: {:?}, expected {shape:?} as it was when it was checked", vocabulary.shape()))
            }
        }
    }

    /// What a later [`from_checked`](Self::from_checked) of the same arrays needs.
    pub fn shape(&self) -> Shape {
        Shape { bytes: self.bytes.len(), tokens: self.len(), slots: self.table.len(), longest: self.longest }
    }

    /// The number of tokens: ids are below it.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no token; never so in a vocabulary that was checked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of a token as it is stored (`"##ing"`), empty for an id that is not used, `None` for one that does not exist.
    pub fn token(&self, id: u32) -> Option<&'a str> {
        self.token_bytes(id).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The id of a token, given as it is stored.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.lookup(crate::table::hash_bytes(token.as_bytes()), b"", token.as_bytes())
    }

    /// Bytes of the longest token.
    pub(crate) fn longest(&self) -> usize {
        self.longest as usize
    }

    #[inline(always)]
    fn token_bytes(&self, id: u32) -> Option<&'a [u8]> {
        let id = id as usize;
        let (start, end) = (*self.offsets.get(id)?, *self.offsets.get(id + 1)?);
        self.bytes.get(start as usize..end as usize)
    }

    /// The id of the token `prefix + piece`, whose hash state is `state`.
    #[inline(always)]
    pub(crate) fn lookup(&self, state: u32, prefix: &[u8], piece: &[u8]) -> Option<u32> {
        let hash = hash_finish(state);
        let mask = self.table.len().wrapping_sub(1);
        let mut slot = hash as usize & mask;
        for _ in 0..MAX_PROBES {
            let entry = *self.table.get(slot)?;
            if entry >> TAG_SHIFT == hash >> TAG_SHIFT {
                let id = (entry & ID_MASK).wrapping_sub(1);
                if let Some(token) = self.token_bytes(id)
                    && token.len() == prefix.len() + piece.len()
                    && token.ends_with(piece)
                    && token.starts_with(prefix)
                {
                    return Some(id);
                }
            }
            if entry == 0 {
                return None;
            }
            slot = (slot + 1) & mask;
        }
        None
    }
}
