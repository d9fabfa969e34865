/// The most that [`Config::max_word_chars`] may be (BERT has 100): bounds the work for one word.
pub const MAX_WORD_CHARS: u32 = 1024;

/// How a text becomes words, and the ids of the special tokens.
///
/// The default is uncased BERT with its usual ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Lower-case every character (`char::to_lowercase`, without context).
    pub lowercase: bool,
    /// Decompose (NFD) and drop non-spacing marks. Where a tokenizer.json says `null`, this is `lowercase`.
    pub strip_accents: bool,
    /// Drop control characters and U+FFFD, and make every kind of white space a space.
    pub clean_text: bool,
    /// Make every CJK ideograph a word of its own.
    pub chinese_characters: bool,
    /// A word of more characters than this, after normalisation, is `unk`. At most [`MAX_WORD_CHARS`].
    pub max_word_chars: u32,
    /// Id of the unknown token.
    pub unk: u32,
    /// Id of the token that begins a sequence.
    pub cls: u32,
    /// Id of the token that ends each text of a sequence.
    pub sep: u32,
    /// Id of the padding token.
    pub pad: u32,
    /// What a piece that continues a word begins with, `"##"` in BERT. At most [`crate::MAX_TOKEN_BYTES`] bytes.
    pub continuation: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lowercase: true,
            strip_accents: true,
            clean_text: true,
            chinese_characters: true,
            max_word_chars: 100,
            unk: 100,
            cls: 101,
            sep: 102,
            pad: 0,
            continuation: "##".to_owned(),
        }
    }
}
