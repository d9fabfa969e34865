//! What the end-to-end tests share: a tiny student made on the spot, and where optional data lies.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use attar_nn::{Encoder, EncoderConfig, HeadSpec, Student};
use candle_core::Device;
use serde_json::json;

/// Words of the tiny student's vocabulary; other words fall apart into letters.
pub const WORDS: &[&str] = &[
    "the", "a", "is", "of", "in", "to", "and", "on", "what", "where", "who", "how", "card", "light", "water", "red",
    "blue", "boot", "power", "garden", "bread", "oven", "key", "door", "time", "open", "close", "pressure", "pump",
    "fault",
];

/// The root of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the tests crate lies one folder below the root").to_owned()
}

/// A tokenizer.json with lower-cased WordPiece over [`WORDS`], letters, digits and some punctuation.
pub fn tokenizer_json() -> serde_json::Value {
    let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let letters = || ('a'..='z').chain('0'..='9').map(|c| c.to_string());
    let tokens: Vec<String> = specials
        .iter()
        .map(|s| s.to_string())
        .chain(letters())
        .chain(letters().map(|c| format!("##{c}")))
        .chain(["ing", "ed", "er"].iter().map(|s| format!("##{s}")))
        .chain([".", ",", "?", "-", "!"].iter().map(|s| s.to_string()))
        .chain(WORDS.iter().filter(|w| w.len() > 1).map(|w| w.to_string()))
        .collect();
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let added: Vec<_> = specials
        .iter()
        .enumerate()
        .map(|(id, s)| {
            json!({"id": id, "content": s, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

/// A random student: 2 layers of 48, three heads, one of each kind that export knows (one copy; copies that fold into
/// one; copies with two layers, which do not). Written to `folder`, and returned.
pub fn tiny_student(folder: &Path, seed: u64) -> Student {
    let tokenizer = tokenizer_json();
    let vocabulary = tokenizer["model"]["vocab"].as_object().map_or(0, |v| v.len());
    let config = EncoderConfig { initializer_range: 0.2, ..EncoderConfig::bert(2, 48, 4, 96, vocabulary) };
    let encoder = Encoder::new(&config, seed, &Device::Cpu).expect("the configuration is valid");
    let mut student = Student::new(encoder);
    let heads = [
        HeadSpec::new("nli", &["entailment", "neutral", "contradiction"]),
        HeadSpec { copies: 3, ..HeadSpec::new("relevance", &["not_relevant", "relevant"]) },
        HeadSpec { copies: 2, layers: 2, temperature: 1.5, ..HeadSpec::new("rte", &["entailment", "not_entailment"]) },
    ];
    for (i, head) in heads.into_iter().enumerate() {
        student.add_head(head, seed + 1 + i as u64).expect("the heads are valid and their names differ");
    }
    std::fs::create_dir_all(folder).expect("a test may write to its temporary folder");
    let path = folder.join("made-tokenizer.json");
    std::fs::write(&path, tokenizer.to_string()).expect("a test may write to its temporary folder");
    student.save(folder, &path, &toml::Table::new()).expect("a test may write to its temporary folder");
    student
}
