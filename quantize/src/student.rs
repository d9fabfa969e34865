//! A student before it becomes a bundle: its tensors by name, checked against its configuration.

use std::path::Path;

use attar_bundle::{Architecture, Contents, Head, LinearName, NormName, TokenizerConfig};
use serde_json::{Map, Value, json};

use crate::config::{BertConfig, StudentConfig};
use crate::error::{Result, fail};
use crate::pack::Recipe;
use crate::tensors::Tensors;
use crate::vocabulary;

/// One fully connected layer of a head.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeadLayer {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// An opened source folder. Every tensor that will be asked for exists and has the shape that `config.json` implies.
#[derive(Debug)]
pub struct Student {
    pub(crate) architecture: Architecture,
    pub(crate) heads: Vec<Head>,
    /// By head, copy and layer.
    pub(crate) head_layers: Vec<Vec<Vec<HeadLayer>>>,
    pub(crate) head_widths: Vec<Vec<usize>>,
    pub(crate) tokenizer: TokenizerConfig,
    pub(crate) tables: attar_tokenizer::Tables,
    pub(crate) provenance: Map<String, Value>,
    pub(crate) tensors: Tensors,
    /// `"bert."` in a Hugging Face classifier, nothing in a student folder.
    prefix: &'static str,
    /// `"LayerNorm.weight"`, or `"LayerNorm.gamma"` in checkpoints that were converted from TensorFlow.
    norm_names: [&'static str; 2],
    pub(crate) ignored_tensors: Vec<String>,
    pub(crate) unused_rows: usize,
    /// Ids of the tokens that pruning kept, rising; all where it did not run.
    pub(crate) kept: Option<Vec<u32>>,
    /// By layer: what the values are divided by, and the columns of `attention_output` multiplied ([`crate::smooth`]).
    pub(crate) migrated: Vec<Option<Vec<f32>>>,
}

impl Student {
    /// Opens a student folder (it has an `attar.toml`), or a Hugging Face folder with a `BertForSequenceClassification`, whose
    /// weights are `model.safetensors` or `model.onnx`; or an ONNX file with `config.json` and `tokenizer.json` beside it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`], [`crate::ErrorKind::Source`] or [`crate::ErrorKind::Tensor`], naming file and tensor.
    pub fn open(source: &Path) -> Result<Student> {
        let given = source.extension().is_some_and(|e| e == "onnx") && !source.is_dir();
        let folder = if given { source.parent().unwrap_or(Path::new("")) } else { source };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let place = folder.display();
        if !folder.is_dir() {
            fail!(Source, "{place}: not a folder; expected one with config.json, tokenizer.json and model.safetensors");
        }
        let config = BertConfig::read(folder)?;
        let weights = folder.join("model.safetensors");
        let onnx = if given { source.to_path_buf() } else { folder.join("model.onnx") };
        let onnx = (given || !weights.exists() && onnx.exists()).then_some(onnx);
        if onnx.is_none() && !weights.exists() {
            if folder.join("model.safetensors.index.json").exists() {
                fail!(Source, "{place}: the weights are sharded; save them as one model.safetensors");
            }
            if folder.join("pytorch_model.bin").exists() {
                fail!(
                    Source,
                    "{place}: only pytorch_model.bin, a pickle, which can run code when it is read; convert it with \
                     model.save_pretrained(folder, safe_serialization=True)"
                );
            }
            fail!(Source, "{place}: no model.safetensors");
        }
        let tensors = match onnx {
            Some(path) => Tensors::of_onnx(&path)?,
            None => Tensors::open(&weights)?,
        };
        let manifest = folder.join("attar.toml");
        let student = if manifest.exists() {
            from_student_folder(folder, &config, tensors, StudentConfig::read(&manifest)?)?
        } else {
            from_classifier(folder, &config, tensors)?
        };
        student.checked()
    }

    /// Name of a tensor of the encoder in the source.
    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// Names of a linear's weight tensors, which are stacked, and of its biases.
    pub(crate) fn linear_names(&self, linear: LinearName) -> Vec<String> {
        let layer = |i: usize, rest: &str| self.name(&format!("encoder.layer.{i}.{rest}"));
        match linear {
            LinearName::Qkv(i) => {
                ["query", "key", "value"].iter().map(|part| layer(i, &format!("attention.self.{part}"))).collect()
            }
            LinearName::AttentionOutput(i) => vec![layer(i, "attention.output.dense")],
            LinearName::FfnUp(i) => vec![layer(i, "intermediate.dense")],
            LinearName::FfnDown(i) => vec![layer(i, "output.dense")],
            LinearName::Pooler => vec![self.name("pooler.dense")],
        }
    }

    /// Names of a norm's weight and bias.
    pub(crate) fn norm_names(&self, norm: NormName) -> [String; 2] {
        let place = match norm {
            NormName::Embeddings => "embeddings".to_string(),
            NormName::Attention(i) => format!("encoder.layer.{i}.attention.output"),
            NormName::Output(i) => format!("encoder.layer.{i}.output"),
        };
        self.norm_names.map(|name| self.name(&format!("{place}.{name}")))
    }

    pub(crate) fn norms(&self) -> Vec<NormName> {
        let layer = |i| [NormName::Attention(i), NormName::Output(i)];
        [NormName::Embeddings].into_iter().chain((0..self.architecture.layers).flat_map(layer)).collect()
    }

    /// Holds every tensor against the configuration, folds heads, and trims embedding rows that no token has.
    fn checked(mut self) -> Result<Student> {
        self.architecture.validate()?;
        let a = self.architecture.clone();
        self.migrated = vec![None; a.layers];
        let place = self.tensors.path().display().to_string();
        let mut expected = Vec::new();
        for (name, rows, why) in [
            ("word_embeddings", a.vocabulary, "vocab_size"),
            ("position_embeddings", a.positions, "max_position_embeddings"),
            ("token_type_embeddings", a.types, "type_vocab_size"),
        ] {
            let why = format!("{why} x hidden_size of config.json");
            expected.push((self.name(&format!("embeddings.{name}.weight")), vec![rows, a.hidden], why));
        }
        for norm in self.norms() {
            for name in self.norm_names(norm) {
                expected.push((name, vec![a.hidden], "hidden_size of config.json".into()));
            }
        }
        for linear in LinearName::all(&a) {
            let names = self.linear_names(linear);
            let (n, k) = linear.shape(&a);
            let n = n / names.len();
            for name in names {
                let why = "hidden_size and intermediate_size of config.json";
                expected.push((format!("{name}.weight"), vec![n, k], why.into()));
                expected.push((format!("{name}.bias"), vec![n], why.into()));
            }
        }
        for (name, shape, why) in &expected {
            self.tensors.expect(name, shape, why)?;
        }
        let known = |name: &str| {
            expected.iter().any(|(n, ..)| n == name) || name.starts_with("heads.") || name.starts_with("classifier.")
        };
        let unknown: Vec<String> = self.tensors.names().into_iter().filter(|name| !known(name)).collect();
        let encoder = self.name("encoder.layer.");
        if let Some(name) = unknown.iter().find(|name| name.starts_with(&encoder)) {
            let layers = a.layers;
            fail!(
                Tensor,
                "{place}: tensor {name:?} is no part of the {layers} BERT layers (num_hidden_layers) of config.json"
            );
        }
        // A buffer that old checkpoints carry along.
        self.ignored_tensors = unknown.into_iter().filter(|name| !name.ends_with("embeddings.position_ids")).collect();
        for h in 0..self.heads.len() {
            self.fold(h);
        }
        let tokens = self.tables.offsets.len() - 1;
        if tokens > a.vocabulary {
            fail!(Source, "tokenizer.json has {tokens} tokens, but config.json's vocab_size is {}", a.vocabulary);
        }
        self.unused_rows = a.vocabulary - tokens;
        self.architecture.vocabulary = tokens;
        Ok(self)
    }

    /// Averages the copies of a one-layer head: their outputs' average is one linear.
    fn fold(&mut self, head: usize) {
        let copies = self.head_layers[head].len();
        if self.heads[head].layers != 1 || copies == 1 {
            return;
        }
        let mean = |part: &dyn Fn(&HeadLayer) -> &Vec<f32>| -> Vec<f32> {
            let length = part(&self.head_layers[head][0][0]).len();
            let sum = |i: usize| self.head_layers[head].iter().map(|copy| f64::from(part(&copy[0])[i])).sum::<f64>();
            (0..length).map(|i| (sum(i) / copies as f64) as f32).collect()
        };
        let folded = HeadLayer { weight: mean(&|layer| &layer.weight), bias: mean(&|layer| &layer.bias) };
        self.head_layers[head] = vec![vec![folded]];
        self.heads[head].copies = 1;
    }

    /// What the bundle will hold.
    pub(crate) fn contents(&self, recipe: &Recipe, quantization: &Value) -> Contents {
        Contents {
            architecture: self.architecture.clone(),
            weights: recipe.weights,
            precision: recipe.precision(),
            heads: self.heads.clone(),
            head_widths: self.head_widths.clone(),
            tokenizer: self.tokenizer.clone(),
            vocabulary_bytes: self.tables.bytes.len(),
            vocabulary_table: self.tables.table.len(),
            provenance: Value::Object(self.provenance.clone()).to_string(),
            quantization: Some(quantization.to_string()),
        }
    }
}

fn open(
    folder: &Path,
    config: &BertConfig,
    tensors: Tensors,
    heads: Vec<Head>,
    provenance: Map<String, Value>,
) -> Result<Student> {
    let vocabulary = vocabulary::read(folder)?;
    let tables = match attar_tokenizer::build_tables(&vocabulary.tokens, &vocabulary.config.continuation) {
        Ok(tables) => tables,
        Err(e) => fail!(Source, "{}: {e}", folder.join("tokenizer.json").display()),
    };
    Ok(Student {
        architecture: config.architecture(),
        head_layers: Vec::new(),
        head_widths: vec![Vec::new(); heads.len()],
        heads,
        tokenizer: vocabulary.config,
        tables,
        provenance,
        tensors,
        prefix: "",
        norm_names: ["LayerNorm.weight", "LayerNorm.bias"],
        ignored_tensors: Vec::new(),
        unused_rows: 0,
        kept: None,
        migrated: Vec::new(),
    })
}

fn from_student_folder(
    folder: &Path,
    config: &BertConfig,
    tensors: Tensors,
    manifest: StudentConfig,
) -> Result<Student> {
    let provenance = manifest.provenance();
    let mut student = open(folder, config, tensors, manifest.heads, provenance)?;
    let t = &student.tensors;
    let mut claimed = Vec::new();
    for (h, head) in student.heads.iter().enumerate() {
        if head.copies == 0 || head.layers == 0 || head.labels.is_empty() {
            fail!(Source, "attar.toml: head {:?} needs at least one copy, one layer and two labels", head.name);
        }
        let mut copies = Vec::new();
        for copy in 0..head.copies {
            let mut inputs = config.architecture().hidden;
            let mut layers = Vec::new();
            for layer in 0..head.layers {
                let name = format!("heads.{}.{copy}.{layer}", head.name);
                let weight = format!("{name}.weight");
                let last = layer + 1 == head.layers;
                let outputs = match (last, copy, t.shape(&weight)) {
                    (true, ..) => head.labels.len(),
                    (false, 0, Some(&[outputs, _])) if outputs > 0 => outputs,
                    (false, 0, found) => fail!(Tensor, "tensor {weight:?} is {found:?}, expected [outputs, {inputs}]"),
                    _ => student.head_widths[h][layer],
                };
                if !last && copy == 0 {
                    student.head_widths[h].push(outputs);
                }
                let why = format!("head {:?} of attar.toml", head.name);
                let bias = format!("{name}.bias");
                t.expect(&weight, &[outputs, inputs], &why)?;
                t.expect(&bias, &[outputs], &why)?;
                layers.push(HeadLayer { weight: t.read(&weight)?, bias: t.read(&bias)? });
                claimed.extend([weight, bias]);
                inputs = outputs;
            }
            copies.push(layers);
        }
        student.head_layers.push(copies);
    }
    if let Some(extra) = t.names().into_iter().find(|n| n.starts_with("heads.") && !claimed.contains(n)) {
        fail!(Tensor, "{}: tensor {extra:?} belongs to no head of attar.toml", t.path().display());
    }
    Ok(student)
}

fn from_classifier(folder: &Path, config: &BertConfig, tensors: Tensors) -> Result<Student> {
    let place = folder.display();
    let architectures = config.architectures.clone().unwrap_or_default();
    if !architectures.iter().any(|a| a == "BertForSequenceClassification") {
        fail!(
            Source,
            "{place}: neither a student folder (no attar.toml) nor a BertForSequenceClassification (config.json says {})",
            if architectures.is_empty() { "nothing".into() } else { architectures.join(", ") }
        );
    }
    if config.problem_type.as_deref() == Some("multi_label_classification") {
        fail!(Source, "{place}: a multi-label classifier; heads of the runtime choose one label");
    }
    let hidden = config.architecture().hidden;
    let Some(&[rows, _]) = tensors.shape("classifier.weight") else {
        fail!(Tensor, "{}: tensor \"classifier.weight\" is missing or not a matrix", tensors.path().display());
    };
    let why = "num_labels x hidden_size of config.json";
    tensors.expect("classifier.weight", &[rows, hidden], why)?;
    tensors.expect("classifier.bias", &[rows], why)?;
    let (weight, bias) = (tensors.read("classifier.weight")?, tensors.read("classifier.bias")?);
    let labels = match &config.id2label {
        Some(map) if map.keys().copied().eq(0..rows) => map.values().map(|l| l.to_lowercase()).collect(),
        Some(map) if rows != 1 => {
            fail!(Source, "{place}: config.json's id2label has {} labels, classifier.weight {rows} rows", map.len())
        }
        _ => (0..rows).map(|i| format!("label_{i}")).collect(),
    };
    let (head, layer) = classifier_head(labels, weight, bias, hidden);
    let mut provenance = Map::new();
    let name = config.name_or_path.as_deref().filter(|name| !name.is_empty());
    provenance.insert("source".into(), json!(name.unwrap_or("a Hugging Face BertForSequenceClassification")));
    // Some exporters leave the wrapper's name out.
    let prefix = if tensors.shape("embeddings.word_embeddings.weight").is_some() { "" } else { "bert." };
    let has = |name: &str| tensors.shape(&format!("{prefix}{name}")).is_some();
    let gamma = !has("embeddings.LayerNorm.weight") && has("embeddings.LayerNorm.gamma");
    let mut student = open(folder, config, tensors, vec![head], provenance)?;
    student.head_layers = vec![vec![vec![layer]]];
    student.prefix = prefix;
    if gamma {
        student.norm_names = ["LayerNorm.gamma", "LayerNorm.beta"];
    }
    Ok(student)
}

/// Names a classifier's head after its labels, and puts known labels into this project's order. A single output is a
/// relevance score x: it becomes logits `[0, x]`, so that its probability is `sigmoid(x)`.
fn classifier_head(labels: Vec<String>, weight: Vec<f32>, bias: Vec<f32>, hidden: usize) -> (Head, HeadLayer) {
    const KNOWN: [(&str, &[&str]); 3] = [
        ("nli", &["entailment", "neutral", "contradiction"]),
        ("rte", &["entailment", "not_entailment"]),
        ("relevance", &["not_relevant", "relevant"]),
    ];
    let head =
        |name: &str, labels: Vec<String>| Head { name: name.into(), labels, copies: 1, layers: 1, temperature: 1.0 };
    if labels.len() == 1 {
        let weight = [vec![0.0; hidden], weight].concat();
        let labels = KNOWN[2].1.iter().map(|l| l.to_string()).collect();
        return (head("relevance", labels), HeadLayer { weight, bias: vec![0.0, bias[0]] });
    }
    for (name, order) in KNOWN {
        let places: Option<Vec<usize>> = order.iter().map(|l| labels.iter().position(|found| found == l)).collect();
        if let Some(places) = places.filter(|_| labels.len() == order.len()) {
            let rows = places.iter().flat_map(|&p| weight[p * hidden..(p + 1) * hidden].iter().copied());
            let layer = HeadLayer { weight: rows.collect(), bias: places.iter().map(|&p| bias[p]).collect() };
            return (head(name, order.iter().map(|l| l.to_string()).collect()), layer);
        }
    }
    (head("classifier", labels), HeadLayer { weight, bias })
}

#[cfg(test)]
#[path = "student_tests.rs"]
mod tests;
