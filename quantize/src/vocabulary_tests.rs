#![allow(clippy::unwrap_used)]
use super::*;

const GOOD: &str = r###"{
  "truncation": null, "padding": null,
  "added_tokens": [{"id": 0, "content": "[PAD]", "special": true}],
  "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "rose": 4, "##s": 5}}
}"###;

#[test]
fn berts_tokenizer_is_read() {
    let vocabulary = parse(GOOD).unwrap();
    assert_eq!(vocabulary.tokens[4..], ["rose", "##s"]);
    let c = vocabulary.config;
    assert_eq!((c.pad, c.unk, c.cls, c.sep), (0, 1, 2, 3));
    assert!(c.lowercase && c.strip_accents, "strip_accents null follows lowercase");
}

#[test]
fn anything_else_is_refused_with_the_reason() {
    for (from, to, reason) in [
        ("\"WordPiece\"", "\"BPE\"", "BPE"),
        ("\"BertNormalizer\"", "\"NFC\"", "NFC"),
        ("\"BertPreTokenizer\"", "\"Whitespace\"", "Whitespace"),
        ("\"clean_text\": true", "\"clean_text\": false", "clean_text"),
        ("\"clean_text\": true", "\"clean_text\": 1", "clean_text"),
        ("\"special\": true", "\"special\": false", "[PAD]"),
        ("\"[CLS]\": 2, ", "", "[CLS]"),
        ("\"rose\": 4", "\"rose\": 3", "both have id 3"),
        ("\"rose\": 4", "\"rose\": 4000000000", "4000000000"),
        ("\"rose\": 4", "\"rose\": -4", "-4"),
        ("\"BertProcessing\"", "\"RobertaProcessing\"", "RobertaProcessing"),
        ("\"sep\": [\"[SEP]\"", "\"sep\": [\"</s>\"", "</s>"),
        ("\"model\"", "\"modle\"", "model"),
        ("}", "", "EOF"),
    ] {
        assert!(GOOD.contains(from));
        let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Source);
        if reason != "EOF" {
            assert!(error.to_string().contains(reason), "{from} -> {to}: {error}");
        }
    }
}
