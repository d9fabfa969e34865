//! From a text to words: BERT's normalisation and pre-tokenisation in one pass.

use std::ops::Range;

use unicode_normalization_alignments::UnicodeNormalization;

use crate::classes::{self, Class};
use crate::config::{Config, MAX_WORD_CHARS};
use crate::error::{Error, ErrorKind, Result};
use crate::table::{MAX_TOKEN_BYTES, hash_bytes};
use crate::vocabulary::Vocabulary;
use crate::wordpiece::{Ids, IdsAndSpans, Output, WordPiece};

/// Turns texts into ids. Cheap to make and to copy: it borrows the vocabulary and its settings.
#[derive(Clone, Copy, Debug)]
pub struct Tokenizer<'a> {
    vocabulary: Vocabulary<'a>,
    config: &'a Config,
    continuation_state: u32,
}

impl<'a> Tokenizer<'a> {
    /// A tokenizer over a vocabulary; allocates nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if a special id is not in the vocabulary, `max_word_chars` is 0 or above [`MAX_WORD_CHARS`], or the
    /// continuation prefix is longer than a token may be.
    pub fn new(vocabulary: Vocabulary<'a>, config: &'a Config) -> Result<Self> {
        let fail = |message| Err(Error::new(ErrorKind::Config, message));
        for (name, id) in [("unk", config.unk), ("cls", config.cls), ("sep", config.sep), ("pad", config.pad)] {
            if id as usize >= vocabulary.len() {
                return fail(format!(
                    "tokenizer: {name} is id {id}, expected less than {} (the vocabulary)",
                    vocabulary.len()
                ));
            }
        }
        if !(1..=MAX_WORD_CHARS).contains(&config.max_word_chars) {
            return fail(format!(
                "tokenizer: max_word_chars is {}, expected 1 to {MAX_WORD_CHARS}",
                config.max_word_chars
            ));
        }
        if config.continuation.len() > MAX_TOKEN_BYTES {
            let length = config.continuation.len();
            return fail(format!(
                "tokenizer: a continuation prefix of {length} bytes, expected at most {MAX_TOKEN_BYTES}"
            ));
        }
        Ok(Self { vocabulary, config, continuation_state: hash_bytes(config.continuation.as_bytes()) })
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> Vocabulary<'a> {
        self.vocabulary
    }

    /// The settings.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// Appends the ids of `text` to `ids`, without special tokens and without any limit of length.
    ///
    /// Linear in the text's length, whatever the text.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        self.encode(text, &mut Ids(ids));
    }

    /// Appends the ids of `text` to `ids`, and to `spans` for each id the range of bytes of `text` that the token stands for.
    ///
    /// The ranges are those that the `tokenizers` crate gives: in text order, on character boundaries; characters that
    /// normalisation drops belong to no token or to the one around them.
    pub fn encode_with_spans(&self, text: &str, ids: &mut Vec<u32>, spans: &mut Vec<Range<usize>>) {
        let shift = spans.len() as isize - ids.len() as isize;
        self.encode(text, &mut IdsAndSpans { ids, spans, shift });
    }

    fn encode<O: Output>(&self, text: &str, out: &mut O) {
        let bytes = text.as_bytes();
        let continuation = self.config.continuation.as_bytes();
        let mut words = Words {
            config: self.config,
            pieces: WordPiece::new(self.vocabulary, continuation, self.continuation_state, self.config.unk),
            word: Vec::new(),
            origins: Vec::new(),
            chars: 0,
            whole: 0..0,
            pending: Vec::new(),
        };
        let class = |i: usize| bytes.get(i).map(|&byte| classes::BYTES[usize::from(byte)]);
        let mut at = 0;
        while let Some(first) = class(at) {
            match first {
                Class::Space => at += 1,
                Class::Punctuation => {
                    words.ascii(&bytes[at..at + 1], at, out);
                    at += 1;
                }
                Class::Word | Class::Other => {
                    let start = at;
                    while class(at) == Some(Class::Word) {
                        at += 1;
                    }
                    if class(at) != Some(Class::Other) {
                        words.ascii(&bytes[start..at], start, out);
                        continue;
                    }
                    // ASCII spaces and punctuation end a word whatever follows, so that the slow path can end there too: they are no
                    // part of any decomposition, and combining marks are never moved across them.
                    while matches!(class(at), Some(Class::Word | Class::Other)) {
                        at += 1;
                    }
                    words.unicode(&text[start..at], start, out);
                }
            }
        }
    }
}

/// A character after some step of the normalisation, and the bytes of the text that it comes from.
type Origin = (usize, usize);

/// The word being collected, and what it takes to do so.
struct Words<'a> {
    config: &'a Config,
    pieces: WordPiece<'a>,
    word: Vec<u8>,
    /// Where each byte of `word` comes from; kept only when spans are wanted.
    origins: Vec<Origin>,
    /// Characters of the word, also those that are not kept because it is too long.
    chars: usize,
    /// Bytes of the text from the word's first character to its last.
    whole: Range<usize>,
    /// Characters waiting for the end of a run that NFD may reorder.
    pending: Vec<(char, Origin)>,
}

impl Words<'_> {
    /// A word of ASCII letters and digits, or one ASCII punctuation character, at byte `at` of the text.
    #[inline(always)]
    fn ascii<O: Output>(&mut self, word: &[u8], at: usize, out: &mut O) {
        let span = |range: Range<usize>| at + range.start..at + range.end;
        if word.len() > self.config.max_word_chars as usize {
            self.pieces.unknown(word.len(), span, out);
        } else if self.config.lowercase && word.iter().any(u8::is_ascii_uppercase) {
            self.word.clear();
            self.word.extend(word.iter().map(u8::to_ascii_lowercase));
            self.pieces.split(&self.word, span, out);
            self.word.clear();
        } else {
            self.pieces.split(word, span, out);
        }
    }

    /// Any stretch of text between ASCII spaces and punctuation, at byte `base` of the text.
    fn unicode<O: Output>(&mut self, text: &str, base: usize, out: &mut O) {
        for (at, mut c) in text.char_indices() {
            let origin = (base + at, base + at + c.len_utf8());
            let flags = classes::flags(c);
            if self.config.clean_text {
                if flags & classes::DROPPED != 0 {
                    continue;
                }
                if flags & classes::SPACE != 0 {
                    c = ' ';
                }
            }
            if self.config.chinese_characters && flags & classes::IDEOGRAPH != 0 {
                self.decompose(' ', origin, out);
                self.decompose(c, origin, out);
                self.decompose(' ', origin, out);
            } else {
                self.decompose(c, origin, out);
            }
        }
        self.flush_pending(out);
        self.flush_word(out);
    }

    /// NFD and the dropping of marks, if the settings say so; then [`lowercase`](Self::lowercase).
    fn decompose<O: Output>(&mut self, c: char, origin: Origin, out: &mut O) {
        if !self.config.strip_accents {
            return self.lowercase(c, origin, out);
        }
        let flags = classes::flags(c);
        if flags & classes::DECOMPOSED != 0 {
            self.pending.push((c, origin));
            return;
        }
        // A starter that stays as it is: nothing before it can move behind it.
        self.flush_pending(out);
        if flags & classes::MARK == 0 {
            self.lowercase(c, origin, out);
        }
    }

    fn flush_pending<O: Output>(&mut self, out: &mut O) {
        if self.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        // Origins as `tokenizers` assigns them: by position, not by where a reordered mark came from.
        let mut taken = 0;
        for (c, added) in pending.iter().map(|&(c, _)| c).nfd() {
            if added <= 0 {
                taken += 1;
            }
            let (_, origin) = pending[taken.clamp(1, pending.len()) - 1];
            if classes::flags(c) & classes::MARK == 0 {
                self.lowercase(c, origin, out);
            }
        }
        self.pending = pending;
        self.pending.clear();
    }

    fn lowercase<O: Output>(&mut self, c: char, origin: Origin, out: &mut O) {
        if self.config.lowercase {
            for c in c.to_lowercase() {
                self.collect(c, origin, out);
            }
        } else {
            self.collect(c, origin, out);
        }
    }

    /// Takes a normalised character: part of a word, the end of one, or punctuation, which is a word of its own.
    fn collect<O: Output>(&mut self, c: char, origin: Origin, out: &mut O) {
        let flags = classes::flags(c);
        if flags & classes::SPACE != 0 {
            self.flush_word(out);
        } else if flags & classes::PUNCTUATION != 0 {
            self.flush_word(out);
            self.append::<O>(c, origin);
            self.flush_word(out);
        } else {
            self.append::<O>(c, origin);
        }
    }

    fn append<O: Output>(&mut self, c: char, origin: Origin) {
        if self.chars == 0 {
            self.whole.start = origin.0;
        }
        self.whole.end = origin.1;
        self.chars += 1;
        if self.chars > self.config.max_word_chars as usize {
            return;
        }
        let mut buffer = [0; 4];
        self.word.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        if O::SPANS {
            self.origins.resize(self.word.len(), origin);
        }
    }

    fn flush_word<O: Output>(&mut self, out: &mut O) {
        if self.chars == 0 {
            return;
        }
        let (origins, whole) = (&self.origins, &self.whole);
        if self.chars > self.config.max_word_chars as usize {
            self.pieces.unknown(self.word.len(), |_| whole.clone(), out);
        } else {
            self.pieces.split(&self.word, |range| origins[range.start].0..origins[range.end - 1].1, out);
        }
        self.word.clear();
        self.origins.clear();
        self.chars = 0;
    }
}
