//! The values of `__metadata__`: architecture, heads, tokenizer.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, fail};

// Caps. They are far above any student, and low enough that no product of two of them overflows 64 bits.
const MAX_LAYERS: usize = 256;
const MAX_WIDTH: usize = 1 << 16;
const MAX_VOCABULARY: usize = 1 << 24;
const MAX_POSITIONS: usize = 1 << 20;
const MAX_HEADS: usize = 256;
const MAX_LABELS: usize = 1 << 12;
const MAX_NAME_BYTES: usize = 256;
/// `[CLS] a [SEP] b [SEP]` with one token for each text.
const MIN_POSITIONS: usize = 5;

/// The encoder's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Always `"bert"` in format 1.
    pub kind: String,
    /// Encoder layers.
    pub layers: usize,
    /// Width of the hidden state, H.
    pub hidden: usize,
    /// Attention heads; divides `hidden`.
    pub heads: usize,
    /// Width inside the feed-forward part, I.
    pub intermediate: usize,
    /// Rows of the word embeddings, V.
    pub vocabulary: usize,
    /// Rows of the position embeddings: the longest input in tokens, special tokens included.
    pub positions: usize,
    /// Rows of the type embeddings: 2.
    pub types: usize,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f32,
}

/// How the weights of the linears and of the word and position embeddings are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// 8-bit integers with a scale per output channel or embedding row.
    Int8,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

impl Weights {
    /// `"int8"`, `"f16"` or `"f32"`, as it stands in the file.
    pub fn name(self) -> &'static str {
        match self {
            Weights::Int8 => "int8",
            Weights::F16 => "f16",
            Weights::F32 => "f32",
        }
    }
}

impl std::fmt::Display for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A classifier over the pooled `[CLS]` vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// `"nli"`, `"rte"`, `"relevance"` or another name.
    pub name: String,
    /// Class names, in the order of the logits.
    pub labels: Vec<String>,
    /// Parallel copies (one per teacher) whose logits are averaged.
    pub copies: usize,
    /// Fully connected layers, tanh between them.
    pub layers: usize,
    /// Logits are divided by it before the soft-max.
    pub temperature: f32,
}

/// How text becomes tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerConfig {
    /// Always `"wordpiece"` in format 1.
    pub kind: String,
    /// Text is lowercased first.
    pub lowercase: bool,
    /// Combining marks are removed after canonical decomposition.
    pub strip_accents: bool,
    /// Spaces are put around CJK ideographs.
    pub chinese_characters: bool,
    /// Longer words become the unknown token.
    pub max_word_chars: usize,
    /// Id of the unknown token.
    pub unk: u32,
    /// Id of the token that begins an input.
    pub cls: u32,
    /// Id of the token that ends a text.
    pub sep: u32,
    /// Id of the padding token; never used, since nothing is padded.
    pub pad: u32,
    /// What a piece that continues a word begins with in the vocabulary: `"##"`.
    pub continuation: String,
}

fn range(what: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if value < least || value > most {
        fail!(Metadata, "attar.architecture: \"{what}\" is {value}, expected {least} to {most}");
    }
    Ok(())
}

impl Architecture {
    /// Checks every number against the format's limits and against each other.
    ///
    /// # Errors
    /// [`ErrorKind::Metadata`], naming the key.
    pub fn validate(&self) -> Result<()> {
        if self.kind != "bert" {
            fail!(Metadata, "attar.architecture: \"kind\" is {:?}, expected \"bert\"", self.kind);
        }
        range("layers", self.layers, 1, MAX_LAYERS)?;
        range("hidden", self.hidden, 1, MAX_WIDTH)?;
        range("heads", self.heads, 1, self.hidden)?;
        range("intermediate", self.intermediate, 1, MAX_WIDTH)?;
        range("vocabulary", self.vocabulary, 4, MAX_VOCABULARY)?;
        range("positions", self.positions, MIN_POSITIONS, MAX_POSITIONS)?;
        range("types", self.types, 2, 2)?;
        if !self.hidden.is_multiple_of(self.heads) {
            fail!(
                Metadata,
                "attar.architecture: \"hidden\" {} is not a multiple of \"heads\" {}",
                self.hidden,
                self.heads
            );
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            fail!(
                Metadata,
                "attar.architecture: \"layer_norm_eps\" is {}, expected a number between 0 and 1",
                self.layer_norm_eps
            );
        }
        Ok(())
    }
}

/// A name that can be part of a tensor's name and be printed: letters, digits, `_`, `-`.
fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
        fail!(
            Metadata,
            "attar.heads: {what} {:?} must be 1 to {MAX_NAME_BYTES} letters, digits, \"_\" or \"-\"",
            name.chars().take(40).collect::<String>()
        );
    }
    Ok(())
}

/// Checks the heads' names, labels, numbers of copies and layers, and temperatures.
///
/// # Errors
/// [`ErrorKind::Metadata`], naming the head.
pub(crate) fn validate_heads(heads: &[Head]) -> Result<()> {
    if heads.is_empty() || heads.len() > MAX_HEADS {
        fail!(Metadata, "attar.heads: {} heads, expected 1 to {MAX_HEADS}", heads.len());
    }
    for (i, head) in heads.iter().enumerate() {
        check_name("the head's name", &head.name)?;
        if heads[..i].iter().any(|other| other.name == head.name) {
            fail!(Metadata, "attar.heads: two heads are called {:?}", head.name);
        }
        if head.labels.len() < 2 || head.labels.len() > MAX_LABELS {
            fail!(
                Metadata,
                "attar.heads: head {:?} has {} labels, expected 2 to {MAX_LABELS}",
                head.name,
                head.labels.len()
            );
        }
        let mut sorted: Vec<&str> = head.labels.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) || sorted[0].is_empty() {
            fail!(Metadata, "attar.heads: head {:?} has an empty label or the same label twice", head.name);
        }
        if let Some(long) = sorted.iter().find(|l| l.len() > MAX_NAME_BYTES) {
            fail!(
                Metadata,
                "attar.heads: head {:?} has a label of {} bytes, at most {MAX_NAME_BYTES}",
                head.name,
                long.len()
            );
        }
        if head.copies == 0 || head.copies > MAX_HEADS || head.layers == 0 || head.layers > MAX_LAYERS {
            fail!(
                Metadata,
                "attar.heads: head {:?} has {} copies of {} layers, expected 1 to {MAX_HEADS} copies of 1 to {MAX_LAYERS} layers",
                head.name,
                head.copies,
                head.layers
            );
        }
        if !(head.temperature.is_finite() && head.temperature > 0.0) {
            fail!(
                Metadata,
                "attar.heads: head {:?} has temperature {}, expected a number above 0",
                head.name,
                head.temperature
            );
        }
    }
    Ok(())
}

impl TokenizerConfig {
    /// Checks the special ids against the vocabulary's size, and the continuation prefix.
    ///
    /// # Errors
    /// [`ErrorKind::Metadata`], naming the key.
    pub(crate) fn validate(&self, vocabulary: usize) -> Result<()> {
        if self.kind != "wordpiece" {
            fail!(Metadata, "attar.tokenizer: \"kind\" is {:?}, expected \"wordpiece\"", self.kind);
        }
        for (name, id) in [("unk", self.unk), ("cls", self.cls), ("sep", self.sep), ("pad", self.pad)] {
            if id as usize >= vocabulary {
                fail!(Metadata, "attar.tokenizer: \"{name}\" is {id}, but the vocabulary has {vocabulary} tokens");
            }
        }
        if self.continuation.is_empty() || self.continuation.len() > 16 {
            fail!(Metadata, "attar.tokenizer: \"continuation\" must be 1 to 16 bytes long");
        }
        if self.max_word_chars == 0 || self.max_word_chars > 1 << 16 {
            fail!(Metadata, "attar.tokenizer: \"max_word_chars\" is {}, expected 1 to 65536", self.max_word_chars);
        }
        Ok(())
    }
}

/// Reads the JSON text of metadata key `key`.
pub(crate) fn parse_json<'a, T: Deserialize<'a>>(key: &str, text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::new(ErrorKind::Metadata, format!("{key}: {e}")))
}

/// Refuses text that is not one JSON object; what is in it is nobody's business here.
pub(crate) fn check_object(key: &str, text: &str) -> Result<()> {
    if !text.trim_start().starts_with('{') {
        fail!(Metadata, "{key}: expected a JSON object");
    }
    parse_json::<serde::de::IgnoredAny>(key, text).map(|_| ())
}
