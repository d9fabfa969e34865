//! Reads `config.json` and `attar.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use attar_bundle::Architecture;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result, fail};

/// The keys of a Hugging Face BERT `config.json` that matter here, with BERT's defaults.
#[derive(Debug, Deserialize)]
pub(crate) struct BertConfig {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "eps")]
    layer_norm_eps: f32,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    pub(crate) architectures: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) id2label: Option<BTreeMap<usize, String>>,
    #[serde(default)]
    pub(crate) problem_type: Option<String>,
    #[serde(default, rename = "_name_or_path")]
    pub(crate) name_or_path: Option<String>,
}

fn two() -> usize {
    2
}
fn eps() -> f32 {
    1e-12
}
fn gelu() -> String {
    "gelu".into()
}
fn absolute() -> String {
    "absolute".into()
}

impl BertConfig {
    pub(crate) fn read(folder: &Path) -> Result<BertConfig> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        let config: BertConfig = match serde_json::from_str(&text) {
            Ok(config) => config,
            Err(e) => fail!(Source, "{}: {e}", path.display()),
        };
        let only = |key: &str, found: &str, expected: &str| -> Result<()> {
            if found != expected {
                fail!(
                    Source,
                    "{}: \"{key}\" is {found:?}, expected {expected:?}: the runtime computes BERT only",
                    path.display()
                );
            }
            Ok(())
        };
        only("model_type", &config.model_type, "bert")?;
        only("hidden_act", &config.hidden_act, "gelu")?;
        only("position_embedding_type", &config.position_embedding_type, "absolute")?;
        only("is_decoder", &config.is_decoder.to_string(), "false")?;
        Ok(config)
    }

    pub(crate) fn architecture(&self) -> Architecture {
        Architecture {
            kind: "bert".into(),
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            intermediate: self.intermediate_size,
            vocabulary: self.vocab_size,
            positions: self.max_position_embeddings,
            types: self.type_vocab_size,
            layer_norm_eps: self.layer_norm_eps,
        }
    }
}

/// `attar.toml` of a student folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StudentConfig {
    format: u32,
    pooling: String,
    pub(crate) heads: Vec<attar_bundle::Head>,
    #[serde(default)]
    pub(crate) provenance: BTreeMap<String, Text>,
}

/// A string or an array of strings.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    One(String),
    Many(Vec<String>),
}

impl StudentConfig {
    pub(crate) fn read(path: &Path) -> Result<StudentConfig> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        Self::parse(&text).map_err(|e| Error::new(e.kind(), format!("{}: {e}", path.display())))
    }

    pub(crate) fn parse(text: &str) -> Result<StudentConfig> {
        let config: StudentConfig = match toml::from_str(text) {
            Ok(config) => config,
            Err(e) => fail!(Source, "{}", e.to_string().trim_end()),
        };
        if config.format != 1 {
            fail!(Source, "\"format\" is {}, this version reads 1", config.format);
        }
        if config.pooling != "cls" {
            fail!(
                Source,
                "\"pooling\" is {:?}, expected \"cls\": the runtime computes BERT's own pooler",
                config.pooling
            );
        }
        Ok(config)
    }

    pub(crate) fn provenance(&self) -> Map<String, Value> {
        let value = |text: &Text| match text {
            Text::One(text) => Value::from(text.as_str()),
            Text::Many(texts) => Value::from(texts.clone()),
        };
        self.provenance.iter().map(|(key, text)| (key.clone(), value(text))).collect()
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
