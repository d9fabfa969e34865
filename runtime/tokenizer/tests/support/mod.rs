//! Ours and the `tokenizers` crate side by side over the same vocabulary.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::ops::Range;

use attar_tokenizer::{Config, Tables, Tokenizer, Vocabulary, build_tables};
use serde_json::{Value, json};

pub const VOCABULARY: &str = include_str!("../data/vocabulary.txt");
pub const SAMPLE: &str = include_str!("../data/sample.txt");

/// One vocabulary with one choice of settings, in both implementations.
pub struct Pair {
    pub tables: Tables,
    pub config: Config,
    pub reference: tokenizers::Tokenizer,
}

impl Pair {
    /// Over tokens that include `[PAD]`, `[UNK]`, `[CLS]` and `[SEP]`.
    pub fn new(tokens: &[String], mut config: Config) -> Self {
        let id = |token: &str| tokens.iter().position(|t| t == token).unwrap() as u32;
        (config.pad, config.unk, config.cls, config.sep) = (id("[PAD]"), id("[UNK]"), id("[CLS]"), id("[SEP]"));
        let vocab: serde_json::Map<String, Value> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
        let special = |token: &str| {
            json!({"id": id(token), "content": token, "special": true, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false})
        };
        let json = json!({
            "version": "1.0",
            "added_tokens": [special("[PAD]"), special("[UNK]"), special("[CLS]"), special("[SEP]")],
            "normalizer": {"type": "BertNormalizer", "clean_text": config.clean_text, "lowercase": config.lowercase,
                           "handle_chinese_chars": config.chinese_characters, "strip_accents": config.strip_accents},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": config.continuation,
                      "max_input_chars_per_word": config.max_word_chars, "vocab": vocab},
        });
        let mut reference = tokenizers::Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
        reference.set_encode_special_tokens(true);
        let tables = build_tables(tokens, &config.continuation).unwrap();
        Self { tables, config, reference }
    }

    pub fn ours(&self) -> Tokenizer<'_> {
        let Tables { bytes, offsets, table } = &self.tables;
        Tokenizer::new(Vocabulary::new(bytes, offsets, table).unwrap(), &self.config).unwrap()
    }

    /// The first difference in ids or spans, in words.
    pub fn difference(&self, text: &str) -> Option<String> {
        let tokenizer = self.ours();
        // The vectors hold something already, as a caller's may.
        let (mut ids, mut spans) = (vec![7], vec![1..2, 3..4]);
        tokenizer.encode_with_spans(text, &mut ids, &mut spans);
        let mut ids_alone = vec![7];
        tokenizer.encode_into(text, &mut ids_alone);
        let expected = self.reference.encode(text, false).unwrap();
        let expected_spans: Vec<Range<usize>> = expected.get_offsets().iter().map(|&(start, end)| start..end).collect();
        let describe = |what: &str, ours: String| {
            Some(format!(
                "{what} of {text:?} with {:?}\nours     {ours}\nexpected {:?}",
                self.config,
                expected.get_tokens()
            ))
        };
        if ids_alone != ids {
            return describe("ids with and without spans", format!("{ids:?} and {ids_alone:?}"));
        }
        if ids[1..] != *expected.get_ids() {
            let vocabulary = tokenizer.vocabulary();
            let tokens: Vec<_> = ids[1..].iter().map(|&id| vocabulary.token(id)).collect();
            return describe("tokens", format!("{tokens:?}"));
        }
        if spans[2..] != expected_spans {
            return describe("spans", format!("{:?}, expected {expected_spans:?}", &spans[2..]));
        }
        None
    }

    #[track_caller]
    pub fn assert_equal(&self, text: &str) {
        if let Some(difference) = self.difference(text) {
            panic!("{difference}");
        }
    }
}

pub fn vocabulary() -> Vec<String> {
    VOCABULARY.lines().map(str::to_owned).collect()
}

/// Every combination of the switches.
pub fn all_configs() -> impl Iterator<Item = Config> {
    (0..16).map(|bits| Config {
        lowercase: bits & 1 != 0,
        strip_accents: bits & 2 != 0,
        clean_text: bits & 4 != 0,
        chinese_characters: bits & 8 != 0,
        ..Config::default()
    })
}
