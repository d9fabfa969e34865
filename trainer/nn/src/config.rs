//! The shape of an encoder, from and to Hugging Face's config.json.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// The families of encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderKind {
    /// BERT (Devlin et al. 2019): absolute positions, token types.
    Bert,
    /// MPNet (Song et al. 2020): absolute positions from `pad_id + 1`, a relative position bias, no token types.
    MpNet,
}

/// The shape of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// The family.
    pub kind: EncoderKind,
    /// The width H of a hidden state; a multiple of `heads`.
    pub hidden: usize,
    /// The number of layers.
    pub layers: usize,
    /// The number of attention heads.
    pub heads: usize,
    /// The inner width of the feed-forward network.
    pub intermediate: usize,
    /// The number of token ids.
    pub vocabulary: usize,
    /// The number of rows of the position table; MPNet can use `pad_id + 1` fewer tokens than that.
    pub positions: usize,
    /// The number of token types; 0 for MPNet.
    pub types: usize,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// The id of the padding token.
    pub pad_id: u32,
    /// The number of buckets of MPNet's relative position bias; 0 for BERT.
    pub relative_buckets: usize,
    /// Dropout probability after embeddings, attention and feed-forward, and before a head.
    pub hidden_dropout: f64,
    /// Dropout probability of attention weights.
    pub attention_dropout: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
}

/// The distance beyond which MPNet's relative position buckets stay the same (fixed in its published code).
pub(crate) const MPNET_MAX_DISTANCE: usize = 128;

impl EncoderConfig {
    /// A BERT of this shape, with 512 positions, two types and BERT's dropout of 0.1.
    pub fn bert(layers: usize, hidden: usize, heads: usize, intermediate: usize, vocabulary: usize) -> Self {
        Self {
            kind: EncoderKind::Bert,
            hidden,
            layers,
            heads,
            intermediate,
            vocabulary,
            positions: 512,
            types: 2,
            layer_norm_eps: 1e-12,
            pad_id: 0,
            relative_buckets: 0,
            hidden_dropout: 0.1,
            attention_dropout: 0.1,
            initializer_range: 0.02,
        }
    }

    /// The longest sequence in tokens.
    pub fn max_tokens(&self) -> usize {
        match self.kind {
            EncoderKind::Bert => self.positions,
            EncoderKind::MpNet => self.positions.saturating_sub(self.first_position()),
        }
    }

    /// The row of the position table that the first token uses.
    pub(crate) fn first_position(&self) -> usize {
        match self.kind {
            EncoderKind::Bert => 0,
            EncoderKind::MpNet => self.pad_id as usize + 1,
        }
    }

    /// Reads a config.json.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] for an unreadable file, [`crate::ErrorKind::Format`] for malformed JSON, a missing key, or a value
    /// that this crate does not compute (another activation, relative key positions, another model type).
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?;
        let value: Value =
            serde_json::from_str(&text).map_err(|e| Error::format(path, format!("not valid JSON: {e}")))?;
        Self::from_json(&value).map_err(|e| Error::format(path, e))
    }

    /// Reads the value of a config.json.
    ///
    /// # Errors
    /// As [`EncoderConfig::load`].
    pub fn from_json(value: &Value) -> Result<Self> {
        let Some(map) = value.as_object() else {
            return Err(Error::new(crate::ErrorKind::Format, "expected a JSON object"));
        };
        let kind = match map.get("model_type").and_then(Value::as_str) {
            Some("bert") => EncoderKind::Bert,
            Some("mpnet") => EncoderKind::MpNet,
            other => return Err(invalid(format!("model_type: {other:?}, expected \"bert\" or \"mpnet\""))),
        };
        expect(map, "hidden_act", "gelu")?;
        if kind == EncoderKind::Bert {
            expect(map, "position_embedding_type", "absolute")?;
        }
        for key in ["is_decoder", "add_cross_attention"] {
            if map.get(key).and_then(Value::as_bool) == Some(true) {
                return Err(invalid(format!("{key}: true, expected false: only encoders are supported")));
            }
        }
        let (pad, buckets, types) = match kind {
            EncoderKind::Bert => (0, 0, count(map, "type_vocab_size", Some(2))?),
            EncoderKind::MpNet => (1, count(map, "relative_attention_num_buckets", Some(32))?, 0),
        };
        let config = Self {
            kind,
            hidden: count(map, "hidden_size", None)?,
            layers: count(map, "num_hidden_layers", None)?,
            heads: count(map, "num_attention_heads", None)?,
            intermediate: count(map, "intermediate_size", None)?,
            vocabulary: count(map, "vocab_size", None)?,
            positions: count(map, "max_position_embeddings", None)?,
            types,
            layer_norm_eps: real(map, "layer_norm_eps", 1e-12)?,
            pad_id: count(map, "pad_token_id", Some(pad))? as u32,
            relative_buckets: buckets,
            hidden_dropout: real(map, "hidden_dropout_prob", 0.1)?,
            attention_dropout: real(map, "attention_probs_dropout_prob", 0.1)?,
            initializer_range: real(map, "initializer_range", 0.02)?,
        };
        config.check()?;
        Ok(config)
    }

    /// The config.json that `transformers` opens.
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "layer_norm_eps": self.layer_norm_eps,
            "pad_token_id": self.pad_id,
            "hidden_act": "gelu",
            "hidden_dropout_prob": self.hidden_dropout,
            "attention_probs_dropout_prob": self.attention_dropout,
            "initializer_range": self.initializer_range,
        });
        match self.kind {
            EncoderKind::Bert => {
                value["model_type"] = json!("bert");
                value["architectures"] = json!(["BertModel"]);
                value["type_vocab_size"] = json!(self.types);
                value["position_embedding_type"] = json!("absolute");
            }
            EncoderKind::MpNet => {
                value["model_type"] = json!("mpnet");
                value["architectures"] = json!(["MPNetModel"]);
                value["relative_attention_num_buckets"] = json!(self.relative_buckets);
                value["bos_token_id"] = json!(0);
                value["eos_token_id"] = json!(2);
            }
        }
        value
    }

    /// Checks that the numbers fit one another.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Format`] naming the key.
    pub fn check(&self) -> Result<()> {
        /// Beyond this a size is a broken file, not a model: it keeps products far from overflow.
        const LARGEST: usize = 1 << 24;
        for (key, value) in [
            ("hidden_size", self.hidden),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("intermediate_size", self.intermediate),
            ("vocab_size", self.vocabulary),
            ("max_position_embeddings", self.positions),
        ] {
            if value == 0 || value > LARGEST {
                return Err(invalid(format!("{key}: {value}, expected 1 to {LARGEST}")));
            }
        }
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(invalid(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                self.hidden, self.heads
            )));
        }
        if self.pad_id as usize >= self.vocabulary {
            return Err(invalid(format!(
                "pad_token_id: {}, expected less than vocab_size {}",
                self.pad_id, self.vocabulary
            )));
        }
        if self.max_tokens() == 0 || self.types > LARGEST || self.relative_buckets > LARGEST {
            return Err(invalid(
                "max_position_embeddings, type_vocab_size or relative_attention_num_buckets out of range",
            ));
        }
        if self.kind == EncoderKind::MpNet && self.relative_buckets < 4 {
            return Err(invalid(format!(
                "relative_attention_num_buckets: {}, expected at least 4",
                self.relative_buckets
            )));
        }
        for (key, p) in
            [("hidden_dropout_prob", self.hidden_dropout), ("attention_probs_dropout_prob", self.attention_dropout)]
        {
            if !(0.0..1.0).contains(&p) {
                return Err(invalid(format!("{key}: {p}, expected a probability below 1")));
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0 && self.initializer_range >= 0.0) {
            return Err(invalid("layer_norm_eps must lie in (0, 1) and initializer_range must not be negative"));
        }
        Ok(())
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(crate::ErrorKind::Format, message)
}

fn expect(map: &Map<String, Value>, key: &str, only: &str) -> Result<()> {
    match map.get(key) {
        None => Ok(()),
        Some(Value::String(s)) if s == only => Ok(()),
        Some(other) => Err(invalid(format!("{key}: {other}, expected \"{only}\", the only one supported"))),
    }
}

fn count(map: &Map<String, Value>, key: &str, default: Option<usize>) -> Result<usize> {
    match (map.get(key), default) {
        (None | Some(Value::Null), Some(default)) => Ok(default),
        (None | Some(Value::Null), None) => Err(invalid(format!("{key} is missing"))),
        (Some(value), _) => value
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .map(|n| n as usize)
            .ok_or_else(|| invalid(format!("{key}: {value}, expected a whole number that is not negative"))),
    }
}

fn real(map: &Map<String, Value>, key: &str, default: f64) -> Result<f64> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_f64().ok_or_else(|| invalid(format!("{key}: {value}, expected a number"))),
    }
}

#[cfg(test)]
mod tests;
