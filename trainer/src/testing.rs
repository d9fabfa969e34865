//! What several test modules need: a tokenizer, small encoders, small sets.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use attar_nn::{Encoder, EncoderConfig, HeadSpec, Student};
use candle_core::Device;

use crate::data::{PairTokenizer, Truncation};
use crate::sets::TrainingSet;

/// The words that the test tokenizer knows whole, besides single letters and digits.
const WORDS: &[&str] =
    &["the", "cat", "dog", "sat", "ran", "red", "blue", "what", "is", "where", "who", "a", "on", "mat", "sky", "."];

/// Writes a BERT `tokenizer.json` over `WORDS` and the letters; returns the size of its vocabulary.
pub(crate) fn write_tokenizer(folder: &Path) -> usize {
    let mut words: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned).to_vec();
    words.extend(WORDS.iter().filter(|w| w.len() > 1 || !w.chars().all(char::is_alphanumeric)).map(|&w| w.to_owned()));
    for letter in ('a'..='z').chain('0'..='9') {
        words.push(letter.to_string());
        words.push(format!("##{letter}"));
    }
    words.extend(["[", "]"].map(str::to_owned));
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        words.iter().enumerate().map(|(id, word)| (word.clone(), id.into())).collect();
    let special: Vec<serde_json::Value> = words[..5]
        .iter()
        .enumerate()
        .map(|(id, word)| {
            serde_json::json!({"id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary}
    });
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("tokenizer.json"), json.to_string()).unwrap();
    words.len()
}

/// Writes a small encoder folder with the given heads.
pub(crate) fn write_encoder(folder: &Path, seed: u64, heads: &[(&str, &[&str])]) {
    let vocabulary = write_tokenizer(folder);
    let student = small_student(vocabulary, seed, heads);
    student.save(folder, &folder.join("tokenizer.json"), &toml::Table::new()).unwrap();
}

/// A student of two layers of 16.
pub(crate) fn small_student(vocabulary: usize, seed: u64, heads: &[(&str, &[&str])]) -> Student {
    let config = EncoderConfig::bert(2, 16, 2, 32, vocabulary);
    let mut student = Student::new(Encoder::new(&config, seed, &Device::Cpu).unwrap());
    for (name, labels) in heads {
        student.add_head(HeadSpec::new(name, labels), seed).unwrap();
    }
    student
}

/// Rows whose second text alone says the class: `red` is 1, `blue` is 0.
pub(crate) fn colour_set(tokenizer: &PairTokenizer, rows: usize) -> TrainingSet {
    let mut set = TrainingSet { name: "colours".into(), head: "relevance".into(), ..TrainingSet::default() };
    for row in 0..rows {
        let (word, class) = if row % 2 == 0 { ("red", 1) } else { ("blue", 0) };
        let filler = "the cat sat on the mat ".repeat(row % 3);
        let pair = tokenizer.pair("what is the sky", &format!("{filler}{word} {row}"), Truncation::SecondOnly);
        set.tokens.push(pair.unwrap());
        set.gold.push(Some(class));
    }
    set
}

pub(crate) const RELEVANCE: (&str, &[&str]) = ("relevance", &["not_relevant", "relevant"]);
