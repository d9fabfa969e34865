//! Reads `tokenizer.json`: a WordPiece model with BERT's normaliser and pre-tokeniser, and nothing else.

use std::path::Path;

use attar_bundle::TokenizerConfig;
use serde_json::Value;

use crate::error::{Error, Result, fail};

/// Tokens by id, and how text is split into them.
#[derive(Debug, Clone)]
pub(crate) struct Vocabulary {
    pub(crate) tokens: Vec<String>,
    pub(crate) config: TokenizerConfig,
}

pub(crate) fn read(folder: &Path) -> Result<Vocabulary> {
    let path = folder.join("tokenizer.json");
    if !path.exists() {
        fail!(
            Source,
            "{}: missing; make it with AutoTokenizer.from_pretrained({:?}).save_pretrained(...)",
            path.display(),
            folder.display()
        );
    }
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    parse(&text).map_err(|e| Error::new(e.kind(), format!("{}: {e}", path.display())))
}

/// The value at `keys`, or null.
fn at<'a>(value: &'a Value, keys: &[&str]) -> &'a Value {
    keys.iter().fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

fn expect_type(file: &Value, part: &str, expected: &str) -> Result<()> {
    match at(file, &[part, "type"]).as_str() {
        Some(found) if found == expected => Ok(()),
        found => fail!(
            Source,
            "\"{part}\" is {}, expected {expected:?}: only BERT's own tokenisation can run on the device",
            found.map_or("none".into(), |found| format!("{found:?}"))
        ),
    }
}

fn flag(file: &Value, keys: &[&str], default: bool) -> Result<bool> {
    match at(file, keys) {
        Value::Null => Ok(default),
        Value::Bool(value) => Ok(*value),
        other => fail!(Source, "{:?} is {other}, expected true or false", keys.join(".")),
    }
}

pub(crate) fn parse(text: &str) -> Result<Vocabulary> {
    let file: Value = match serde_json::from_str(text) {
        Ok(file) => file,
        Err(e) => fail!(Source, "{e}"),
    };
    expect_type(&file, "model", "WordPiece")?;
    expect_type(&file, "normalizer", "BertNormalizer")?;
    expect_type(&file, "pre_tokenizer", "BertPreTokenizer")?;
    if !flag(&file, &["normalizer", "clean_text"], true)? {
        fail!(Source, "\"normalizer.clean_text\" is false: only BERT's own tokenisation can run on the device");
    }
    let lowercase = flag(&file, &["normalizer", "lowercase"], true)?;
    let tokens = tokens(&file)?;
    check_added(&file, &tokens)?;
    check_template(&file)?;
    let id = |token: &str| match tokens.iter().position(|t| t == token) {
        Some(id) => Ok(id as u32),
        None => fail!(Source, "the vocabulary has no {token:?}"),
    };
    let text = |key: &str, default: &'static str| at(&file, &["model", key]).as_str().unwrap_or(default).to_string();
    let config = TokenizerConfig {
        kind: "wordpiece".into(),
        lowercase,
        strip_accents: flag(&file, &["normalizer", "strip_accents"], lowercase)?,
        chinese_characters: flag(&file, &["normalizer", "handle_chinese_chars"], true)?,
        max_word_chars: at(&file, &["model", "max_input_chars_per_word"]).as_u64().unwrap_or(100) as usize,
        unk: id(&text("unk_token", "[UNK]"))?,
        cls: id("[CLS]")?,
        sep: id("[SEP]")?,
        pad: id("[PAD]")?,
        continuation: text("continuing_subword_prefix", "##"),
    };
    Ok(Vocabulary { tokens, config })
}

fn tokens(file: &Value) -> Result<Vec<String>> {
    let Some(vocab) = at(file, &["model", "vocab"]).as_object() else {
        fail!(Source, "\"model.vocab\" is no object");
    };
    // An id may be at most so large that a file cannot make us allocate out of proportion; BERT's have no gaps at all.
    let limit = 2 * vocab.len() as u64 + 1024;
    let mut tokens: Vec<String> = Vec::new();
    for (token, id) in vocab {
        let Some(id) = id.as_u64().filter(|&id| id < limit) else {
            fail!(Source, "token {token:?} has id {id}, expected 0 to {limit} for {} tokens", vocab.len());
        };
        let id = id as usize;
        if tokens.len() <= id {
            tokens.resize(id + 1, String::new());
        }
        if !tokens[id].is_empty() {
            fail!(Source, "tokens {:?} and {token:?} both have id {id}", tokens[id]);
        }
        tokens[id] = token.clone();
    }
    Ok(tokens)
}

/// Added tokens are matched before BERT's own rules. Special ones ([CLS], ...) are ordinary text on the device, where no text
/// can smuggle one in; any other would be tokenised in another way than the student was trained with.
fn check_added(file: &Value, tokens: &[String]) -> Result<()> {
    for added in at(file, &["added_tokens"]).as_array().unwrap_or(&Vec::new()) {
        let content = at(added, &["content"]).as_str().unwrap_or_default();
        let id = at(added, &["id"]).as_u64().unwrap_or(u64::MAX) as usize;
        if at(added, &["special"]).as_bool() != Some(true) {
            fail!(
                Source,
                "added token {content:?} is not a special token: only BERT's own tokenisation can run on the device"
            );
        }
        if tokens.get(id).map(String::as_str) != Some(content) && tokens.iter().any(|t| t == content) {
            fail!(Source, "added token {content:?} has id {id}, but another one in the vocabulary");
        }
    }
    Ok(())
}

/// A pair must be `[CLS] a [SEP] b [SEP]` with types 0 and 1.
fn check_template(file: &Value) -> Result<()> {
    let kind = at(file, &["post_processor", "type"]).as_str();
    let bert = "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1";
    let found = match kind {
        None => return Ok(()),
        Some("BertProcessing") => {
            let name = |key: &str| at(file, &["post_processor", key]).get(0).and_then(Value::as_str).unwrap_or("?");
            format!("{}:0 A:0 {}:0 B:1 {}:1", name("cls"), name("sep"), name("sep"))
        }
        Some("TemplateProcessing") => {
            let pieces = at(file, &["post_processor", "pair"]).as_array().map(Vec::as_slice).unwrap_or_default();
            let piece = |piece: &Value| {
                let inner = ["SpecialToken", "Sequence"].iter().find_map(|key| piece.get(key)).unwrap_or(&Value::Null);
                format!("{}:{}", at(inner, &["id"]).as_str().unwrap_or("?"), at(inner, &["type_id"]))
            };
            pieces.iter().map(piece).collect::<Vec<_>>().join(" ")
        }
        Some(other) => format!("a {other}"),
    };
    if found != bert {
        fail!(Source, "\"post_processor\" makes pairs {found:?}, expected {bert:?}");
    }
    Ok(())
}

#[cfg(test)]
#[path = "vocabulary_tests.rs"]
mod tests;
