//! Stored vocabularies, settings and texts that are wrong or made to hurt.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use attar_tokenizer::{Config, ErrorKind, MAX_TOKEN_BYTES, MAX_TOKENS, Tables, Tokenizer, Vocabulary, build_tables};
use proptest::prelude::*;

fn tables() -> Tables {
    build_tables(&["[PAD]", "[UNK]", "é", "##b", ""].map(String::from), "##").unwrap()
}

fn config() -> Config {
    Config { pad: 0, unk: 1, cls: 1, sep: 1, ..Config::default() }
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Tables), expected: &str) {
    let mut tables = tables();
    change(&mut tables);
    let error = Vocabulary::new(&tables.bytes, &tables.offsets, &tables.table).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Vocabulary);
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn offsets_that_are_no_offsets_are_refused() {
    refused(|t| t.offsets.clear(), "tokenizer.offsets: 0 values");
    refused(|t| t.offsets.truncate(1), "tokenizer.offsets: 1 values");
    refused(|t| t.offsets[0] = 1, "from 1 to");
    refused(|t| *t.offsets.last_mut().unwrap() += 1, "expected 0 to");
    refused(|t| t.offsets[2] = 3, "token 1 is bytes 5 to 3");
    refused(|t| t.offsets[2] = u32::MAX, "token 1");
    refused(|t| t.offsets[3] -= 1, "character boundaries");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    refused(|t| t.bytes[1] = 0xff, "tokenizer.bytes: not UTF-8 at byte 1");
    refused(|t| t.bytes.truncate(3), "expected 0 to 3");
}

#[test]
fn tables_that_are_no_tables_are_refused() {
    refused(|t| t.table.clear(), "tokenizer.table: 0 entries");
    refused(|t| t.table.push(0), "expected a power of two");
    refused(|t| t.table[3] = 6, "tokenizer.table: entry 3 is id 5, expected less than 5");
    refused(|t| t.table[0] = u32::MAX, "entry 0");
}

#[test]
fn a_token_that_is_too_long_is_refused() {
    let long = "x".repeat(MAX_TOKEN_BYTES + 1);
    let error = Vocabulary::new(long.as_bytes(), &[0, long.len() as u32], &[0]).unwrap_err();
    assert!(error.to_string().contains("token 0"), "{error}");
    let error = build_tables(&[long], "##").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tokens);
    assert!(error.to_string().contains("token 0 has 257 bytes"), "{error}");
    assert!(build_tables(&["x".repeat(MAX_TOKEN_BYTES)], "##").is_ok());
}

#[test]
fn lists_that_are_no_vocabulary_are_refused() {
    let error = |tokens: &[String], continuation: &str| build_tables(tokens, continuation).unwrap_err().to_string();
    assert!(error(&[], "##").contains("0 tokens, expected 1 to"));
    assert!(error(&vec![String::new(); MAX_TOKENS + 1], "##").contains("1048576 tokens"));
    assert!(error(&["a".into(), "b".into(), "a".into()], "##").contains("tokens 0 and 2 are both \"a\""));
    assert!(error(&["a".into()], &"#".repeat(300)).contains("prefix of 300 bytes"));
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let tables = tables();
    let vocabulary = Vocabulary::new(&tables.bytes, &tables.offsets, &tables.table).unwrap();
    for (config, expected) in [
        (Config { unk: 5, ..config() }, "unk is id 5, expected less than 5"),
        (Config { sep: u32::MAX, ..config() }, "sep is id"),
        (Config { max_word_chars: 0, ..config() }, "max_word_chars is 0"),
        (Config { max_word_chars: u32::MAX, ..config() }, "max_word_chars is 4294967295"),
        (Config { continuation: "#".repeat(300), ..config() }, "prefix of 300 bytes"),
    ] {
        let error = Tokenizer::new(vocabulary, &config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn the_shape_of_other_arrays_is_refused() {
    let tables = tables();
    let shape = Vocabulary::new(&tables.bytes, &tables.offsets, &tables.table).unwrap().shape();
    let again = Vocabulary::from_checked(&tables.bytes, &tables.offsets, &tables.table, shape).unwrap();
    assert_eq!((again.token(2), again.token(4), again.token(5), again.id("##b")), (Some("é"), Some(""), None, Some(3)));
    assert!(Vocabulary::from_checked(&tables.bytes[1..], &tables.offsets, &tables.table, shape).is_err());
    assert!(Vocabulary::from_checked(&tables.bytes, &tables.offsets[1..], &tables.table, shape).is_err());
    assert!(Vocabulary::from_checked(&tables.bytes, &tables.offsets, &[], shape).is_err());
}

#[test]
fn unused_ids_and_a_full_table_are_no_trouble() {
    // Every slot is taken, so that a search without a limit would never end.
    let tables = Tables { table: vec![1; 1 << 16], ..tables() };
    let config = config();
    let vocabulary = Vocabulary::new(&tables.bytes, &tables.offsets, &tables.table).unwrap();
    let mut ids = Vec::new();
    Tokenizer::new(vocabulary, &config).unwrap().encode_into("some words", &mut ids);
    assert_eq!(ids, [1, 1]);
}

#[test]
fn many_colliding_tokens_still_find_each_other() {
    let tokens: Vec<String> = (0..50_000).map(|n| format!("token{n}")).collect();
    let tables = build_tables(&tokens, "##").unwrap();
    let vocabulary = Vocabulary::new(&tables.bytes, &tables.offsets, &tables.table).unwrap();
    assert!(tokens.iter().enumerate().all(|(id, token)| vocabulary.id(token) == Some(id as u32)));
    assert_eq!(vocabulary.id("token50000"), None);
    assert_eq!(vocabulary.id(""), None);
}

#[test]
fn long_and_nasty_texts_take_linear_time() {
    let pair = support::Pair::new(&support::vocabulary(), Config::default());
    let tokenizer = pair.ours();
    let mut ids = Vec::new();
    // Quadratic behaviour would take hours for these.
    for unit in ["a", "a\u{301}", "\u{301}", "\u{f73}", "é", "中", "aaaaaaaaa ", "[", "\u{200b}", "ไ", "aZ\u{7f}"] {
        let text = unit.repeat(2_000_000 / unit.len());
        let start = Instant::now();
        ids.clear();
        tokenizer.encode_into(&text, &mut ids);
        assert!(start.elapsed() < Duration::from_secs(60), "{unit:?} took {:?}", start.elapsed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_arrays_are_refused_or_work(
        text in "[a-c#é]{0,20}",
        offsets in proptest::collection::vec(0..24u32, 0..8),
        sorted in any::<bool>(),
        table in proptest::collection::vec(prop_oneof![0..9u32, any::<u32>()], 0..9),
        input in ".{0,40}",
    ) {
        let mut offsets = offsets;
        if sorted {
            offsets.push(0);
            offsets.push(text.len() as u32);
            offsets.retain(|&offset| offset as usize <= text.len());
            offsets.sort_unstable();
        }
        if let Ok(vocabulary) = Vocabulary::new(text.as_bytes(), &offsets, &table) {
            let config = Config { unk: 0, cls: 0, sep: 0, pad: 0, ..Config::default() };
            let tokenizer = Tokenizer::new(vocabulary, &config).unwrap();
            let (mut ids, mut spans) = (Vec::new(), Vec::new());
            tokenizer.encode_with_spans(&input, &mut ids, &mut spans);
            prop_assert!(ids.iter().all(|&id| (id as usize) < vocabulary.len()));
            prop_assert!(spans.iter().all(|span| input.get(span.clone()).is_some()));
        }
    }
}
