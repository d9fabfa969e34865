//! BERT WordPiece over a vocabulary that is used straight from a memory map.
//!
//! The ids are exactly those of the Hugging Face `tokenizers` crate (0.23) with `BertNormalizer`, `BertPreTokenizer` and `WordPiece`,
//! and `set_encode_special_tokens(true)`: a `[SEP]` in a text is ordinary text. Opening a vocabulary checks it in one pass and
//! allocates nothing; a hostile vocabulary gives errors or wrong ids, never a panic or an endless loop.
//!
//! The stored form, made by [`build_tables`], is three arrays:
//!
//! - `bytes`: the UTF-8 text of all tokens, one after the other;
//! - `offsets`, `[tokens + 1]` u32: token `i` is `bytes[offsets[i]..offsets[i + 1]]`; an empty token is an unused id;
//! - `table`, `[a power of two]` u32: an open-addressing hash table with linear probing, at most half full. An entry is 0 (free) or
//!   `tag << 20 | id + 1` with a tag of 12 bits. The hash is FNV-1a (32 bits) over the bytes of the token, then a mixing step; slot =
//!   low bits, tag = high 12 bits. FNV-1a extends byte by byte, so the hashes of all prefixes of a word cost one pass, and a
//!   continuation piece starts from the hash state after `##`: no string is ever built.
//!
//! ```
//! use attar_tokenizer::{Config, Tokenizer, Vocabulary, build_tables};
//!
//! let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rose", "##s", "!"].map(String::from);
//! let tables = build_tables(&tokens, "##")?;
//! let vocabulary = Vocabulary::new(&tables.bytes, &tables.offsets, &tables.table)?;
//! let config = Config { pad: 0, unk: 1, cls: 2, sep: 3, ..Config::default() };
//! let tokenizer = Tokenizer::new(vocabulary, &config)?;
//!
//! let mut ids = Vec::new();
//! tokenizer.encode_into("Roses!", &mut ids);
//! assert_eq!(ids, [4, 5, 6]);
//! # Ok::<(), attar_tokenizer::Error>(())
//! ```
#![forbid(unsafe_code)]

mod classes;
mod config;
mod encode;
mod error;
mod table;
mod vocabulary;
mod wordpiece;

pub use config::{Config, MAX_WORD_CHARS};
pub use encode::Tokenizer;
pub use error::{Error, ErrorKind, Result};
pub use table::{MAX_TOKEN_BYTES, MAX_TOKENS, Tables, build_tables};
pub use vocabulary::{Shape, Vocabulary};
