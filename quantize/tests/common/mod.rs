//! A student folder in the making, for the tests of this crate: its own and those of its library.
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

pub const HIDDEN: usize = 24;
pub const INTERMEDIATE: usize = 40;
pub const LAYERS: usize = 2;
pub const WORDS: [&str; 8] = ["rose", "garden", "water", "red", "is", "the", "where", "##s"];

pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A folder in the making.
pub struct Source {
    pub folder: TempDir,
    pub config: Value,
    pub tokenizer: Value,
    pub manifest: Option<String>,
    pub tensors: Tensors,
    pub dtype: Dtype,
}

fn random(seed: &mut u64) -> f32 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 40) as f32 / (1u64 << 24) as f32 - 0.5
}

impl Source {
    /// A student folder with a one-layer relevance head of `copies` copies and a two-layer nli head.
    pub fn student(copies: usize) -> Source {
        let vocabulary: Vec<&str> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].into_iter().chain(WORDS).collect();
        let mut source = Source {
            folder: tempfile::tempdir().unwrap(),
            config: json!({
                "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
                "intermediate_size": INTERMEDIATE, "vocab_size": vocabulary.len() + 2, "max_position_embeddings": 32,
                "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
            }),
            tokenizer: json!({
                "added_tokens": [], "truncation": null, "padding": null,
                "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                               "strip_accents": null, "lowercase": true},
                "pre_tokenizer": {"type": "BertPreTokenizer"},
                "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                          "max_input_chars_per_word": 100,
                          "vocab": vocabulary.iter().enumerate().map(|(i, t)| (t.to_string(), json!(i))).collect::<Value>()},
            }),
            manifest: Some(format!(
                "format = 1\npooling = \"cls\"\n\
                 [[heads]]\nname = \"relevance\"\nlabels = [\"not_relevant\", \"relevant\"]\ncopies = {copies}\nlayers = 1\n\
                 temperature = 1.25\n\
                 [[heads]]\nname = \"nli\"\nlabels = [\"entailment\", \"neutral\", \"contradiction\"]\ncopies = 2\nlayers = 2\n\
                 temperature = 1.0\n\
                 [provenance]\nlicence = \"MIT\"\nteachers = [\"a\", \"b\"]\n"
            )),
            tensors: Tensors::new(),
            dtype: Dtype::F32,
        };
        let rows = vocabulary.len() + 2;
        source.add("embeddings.word_embeddings.weight", &[rows, HIDDEN], 0.0, 2.0);
        source.add("embeddings.position_embeddings.weight", &[32, HIDDEN], 0.0, 0.5);
        source.add("embeddings.token_type_embeddings.weight", &[2, HIDDEN], 0.0, 0.5);
        source.norm("embeddings.LayerNorm");
        for i in 0..LAYERS {
            for part in ["query", "key", "value"] {
                source.linear(&format!("encoder.layer.{i}.attention.self.{part}"), HIDDEN, HIDDEN);
            }
            source.linear(&format!("encoder.layer.{i}.attention.output.dense"), HIDDEN, HIDDEN);
            source.norm(&format!("encoder.layer.{i}.attention.output.LayerNorm"));
            source.linear(&format!("encoder.layer.{i}.intermediate.dense"), INTERMEDIATE, HIDDEN);
            source.linear(&format!("encoder.layer.{i}.output.dense"), HIDDEN, INTERMEDIATE);
            source.norm(&format!("encoder.layer.{i}.output.LayerNorm"));
        }
        source.linear("pooler.dense", HIDDEN, HIDDEN);
        for copy in 0..2 {
            source.linear(&format!("heads.nli.{copy}.0"), 5, HIDDEN);
            source.linear(&format!("heads.nli.{copy}.1"), 3, 5);
        }
        for copy in 0..copies {
            source.linear(&format!("heads.relevance.{copy}.0"), 2, HIDDEN);
        }
        source
    }

    /// The same encoder as a `BertForSequenceClassification` with these labels.
    pub fn classifier(labels: &[&str]) -> Source {
        let mut source = Source::student(1);
        source.manifest = None;
        let tensors = std::mem::take(&mut source.tensors);
        for (name, tensor) in tensors.into_iter().filter(|(name, _)| !name.starts_with("heads.")) {
            source.tensors.insert(format!("bert.{name}"), tensor);
        }
        source.linear("classifier", labels.len(), HIDDEN);
        source.config["architectures"] = json!(["BertForSequenceClassification"]);
        let map: serde_json::Map<String, Value> =
            labels.iter().enumerate().map(|(i, l)| (i.to_string(), json!(l))).collect();
        source.config["id2label"] = Value::Object(map);
        source
    }

    /// Values depend on the name only, so that two sources agree where their names do.
    pub fn add(&mut self, name: &str, shape: &[usize], mean: f32, width: f32) {
        let mut seed =
            name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let values = (0..shape.iter().product()).map(|_| mean + width * random(&mut seed)).collect();
        self.tensors.insert(name.into(), (shape.to_vec(), values));
    }

    pub fn linear(&mut self, name: &str, n: usize, k: usize) {
        self.add(&format!("{name}.weight"), &[n, k], 0.0, 3.0 / (k as f32).sqrt());
        self.add(&format!("{name}.bias"), &[n], 0.0, 0.3);
    }

    pub fn norm(&mut self, name: &str) {
        self.add(&format!("{name}.weight"), &[HIDDEN], 1.0, 0.2);
        self.add(&format!("{name}.bias"), &[HIDDEN], 0.0, 0.2);
    }

    pub fn write(&self) -> &Path {
        let folder = self.folder.path();
        std::fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        std::fs::write(folder.join("tokenizer.json"), self.tokenizer.to_string()).unwrap();
        if let Some(manifest) = &self.manifest {
            std::fs::write(folder.join("attar.toml"), manifest).unwrap();
        }
        let bytes: BTreeMap<&String, (&Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| {
                let bytes = values.iter().flat_map(|&x| match self.dtype {
                    Dtype::F16 => half::f16::from_f32(x).to_le_bytes().to_vec(),
                    Dtype::BF16 => half::bf16::from_f32(x).to_le_bytes().to_vec(),
                    _ => x.to_le_bytes().to_vec(),
                });
                (name, (shape, bytes.collect()))
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, (shape, data))| (name, TensorView::new(self.dtype, shape.to_vec(), data).unwrap()));
        let file = safetensors::serialize(views, None).unwrap();
        std::fs::write(folder.join("model.safetensors"), file).unwrap();
        folder
    }
}
