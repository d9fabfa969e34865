//! Ids and spans are exactly those of the `tokenizers` crate: on the committed sample, and on random Unicode.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::LazyLock;

use attar_tokenizer::Config;
use proptest::prelude::*;
use support::{Pair, SAMPLE, all_configs, vocabulary};

static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    let tokens = vocabulary();
    let mut pairs: Vec<Pair> = all_configs().map(|config| Pair::new(&tokens, config)).collect();
    pairs.push(Pair::new(&tokens, Config { max_word_chars: 3, ..Config::default() }));
    // A prefix that ordinary words begin with, and none at all.
    pairs.push(Pair::new(&tokens, Config { continuation: "a".into(), ..Config::default() }));
    pairs.push(Pair::new(&tokens, Config { continuation: String::new(), ..Config::default() }));
    pairs
});

#[test]
fn the_sample_gives_the_same_ids_and_spans_under_every_setting() {
    for pair in &*PAIRS {
        pair.assert_equal(SAMPLE);
        SAMPLE.lines().for_each(|line| pair.assert_equal(line));
    }
}

#[test]
fn every_character_alone_and_inside_a_word_is_the_same() {
    for pair in [&PAIRS[15], &PAIRS[8], &PAIRS[0]] {
        // One text for many characters, each in its own word: the reference is slow to begin with.
        let mut text = String::new();
        for (n, c) in ('\0'..=char::MAX).enumerate() {
            // Every character of the lower planes, every 16th beyond.
            if c as u32 >= 0x3_0000 && n % 16 != 0 {
                continue;
            }
            text.extend([c, ' ', 'a', c, 'b', ' ']);
            if text.len() > 4096 {
                pair.assert_equal(&text);
                text.clear();
            }
        }
        pair.assert_equal(&text);
    }
}

#[test]
fn short_and_empty_texts_are_the_same() {
    for pair in &*PAIRS {
        for text in [
            "",
            " ",
            "\0",
            "\u{301}",
            "a\u{301}",
            "\u{200b}",
            "\u{fffd}\u{fffd}",
            "a\u{fffd}",
            "\u{4e00}",
            "\n\n",
            "[UNK]",
            "é",
        ] {
            pair.assert_equal(text);
        }
    }
}

/// Characters that the normaliser treats in one way or another, mixed with any others.
fn any_character() -> impl Strategy<Value = char> {
    prop_oneof![
        6 => proptest::char::range('a', 'z'),
        3 => proptest::char::range(' ', '~'),
        3 => Just(' '),
        1 => proptest::char::range('\0', '\u{a0}'),
        3 => proptest::char::range('\u{a0}', '\u{24f}'),
        4 => proptest::char::range('\u{300}', '\u{36f}'),
        2 => proptest::char::range('\u{370}', '\u{1fff}'),
        2 => proptest::char::range('\u{2000}', '\u{206f}'),
        2 => proptest::char::range('\u{2070}', '\u{33ff}'),
        2 => proptest::char::range('\u{4e00}', '\u{4e40}'),
        1 => proptest::char::range('\u{ac00}', '\u{d7ff}'),
        1 => proptest::char::range('\u{f900}', '\u{ffff}'),
        1 => proptest::char::range('\u{1d150}', '\u{1d1ff}'),
        1 => proptest::char::range('\u{1f300}', '\u{1faff}'),
        1 => proptest::char::range('\u{2f800}', '\u{2fa1f}'),
        2 => proptest::char::any(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_is_the_same(
        text in proptest::collection::vec(any_character(), 0..60).prop_map(String::from_iter),
        setting in 0..19usize,
    ) {
        let difference = PAIRS[setting].difference(&text);
        prop_assert!(difference.is_none(), "{}", difference.unwrap());
    }

    #[test]
    fn random_text_from_the_vocabulary_is_the_same(
        pieces in proptest::collection::vec((0..10_000usize, 0..3u8), 0..40),
        setting in 0..19usize,
    ) {
        let tokens = vocabulary();
        let mut text = String::new();
        for (piece, separator) in pieces {
            text += tokens[piece % tokens.len()].trim_start_matches("##");
            text += if separator == 0 { " " } else { "" };
        }
        let difference = PAIRS[setting].difference(&text);
        prop_assert!(difference.is_none(), "{}", difference.unwrap());
    }
}
