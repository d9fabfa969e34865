//! A tiny random BERT: its bundles, and a forward pass that shares no code with the runtime.
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

use std::collections::HashMap;

use attar_bundle::{Architecture, Contents, Element, Encoder, Head, TokenizerConfig, Weights, packing};

/// One token a word, so that a text of n words is n tokens.
pub const WORDS: [&str; 24] = [
    "the",
    "rose",
    "garden",
    "water",
    "pump",
    "valve",
    "power",
    "light",
    "cable",
    "where",
    "what",
    "is",
    "how",
    "card",
    "slot",
    "underside",
    "red",
    "green",
    "blue",
    "hot",
    "cold",
    "open",
    "close",
    "!",
];
const SPECIAL: [&str; 4] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
const PIECES: [&str; 2] = ["##s", "##en"];

/// None of them a multiple of a tile.
pub const HIDDEN: usize = 24;
const HEADS: usize = 2;
const INTERMEDIATE: usize = 40;
pub const LAYERS: usize = 2;
pub const POSITIONS: usize = 20;
const EPS: f32 = 1e-12;

/// All weights as f32, row-major, by name.
pub struct Bert {
    pub tensors: HashMap<String, Vec<f32>>,
    pub heads: Vec<Head>,
    pub head_widths: Vec<Vec<usize>>,
    pub tokens: Vec<String>,
}

/// xorshift64*, so that no dependency can change what the golden files were made of.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Sum of twelve uniforms: normal enough.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn head(name: &str, labels: &[&str], copies: usize, layers: usize, temperature: f32) -> Head {
    let labels = labels.iter().map(|l| l.to_string()).collect();
    Head { name: name.into(), labels, copies, layers, temperature }
}

impl Bert {
    pub fn random(seed: u64) -> Bert {
        let tokens: Vec<String> = SPECIAL.iter().chain(&WORDS).chain(&PIECES).map(|t| t.to_string()).collect();
        let heads = vec![
            head("relevance", &["not_relevant", "relevant"], 1, 1, 1.5),
            head("nli", &["entailment", "neutral", "contradiction"], 2, 2, 0.75),
        ];
        let head_widths = vec![vec![], vec![7]];
        let mut random = Random(seed);
        let mut tensors = HashMap::new();
        let mut add = |name: String, count: usize, mean: f64, deviation: f64| {
            let values = (0..count).map(|_| (mean + deviation * random.normal()) as f32).collect();
            tensors.insert(name, values);
        };
        let h = HIDDEN;
        add("embeddings.word".into(), tokens.len() * h, 0.0, 0.5);
        add("embeddings.position".into(), POSITIONS * h, 0.0, 0.2);
        add("embeddings.type".into(), 2 * h, 0.0, 0.2);
        let linear = |name: String, n: usize, k: usize, add: &mut dyn FnMut(String, usize, f64, f64)| {
            add(format!("{name}.weight"), n * k, 0.0, 0.8 / (k as f64).sqrt());
            add(format!("{name}.bias"), n, 0.0, 0.1);
        };
        let norm = |name: String, add: &mut dyn FnMut(String, usize, f64, f64)| {
            add(format!("{name}.weight"), h, 1.0, 0.1);
            add(format!("{name}.bias"), h, 0.0, 0.1);
        };
        norm("embeddings.norm".into(), &mut add);
        for i in 0..LAYERS {
            linear(format!("layer.{i}.qkv"), 3 * h, h, &mut add);
            linear(format!("layer.{i}.attention_output"), h, h, &mut add);
            norm(format!("layer.{i}.attention_norm"), &mut add);
            linear(format!("layer.{i}.ffn_up"), INTERMEDIATE, h, &mut add);
            linear(format!("layer.{i}.ffn_down"), h, INTERMEDIATE, &mut add);
            norm(format!("layer.{i}.output_norm"), &mut add);
        }
        linear("pooler".into(), h, h, &mut add);
        for (head, widths) in heads.iter().zip(&head_widths) {
            for copy in 0..head.copies {
                let mut inputs = h;
                for layer in 0..head.layers {
                    let outputs = widths.get(layer).copied().unwrap_or(head.labels.len());
                    linear(format!("head.{}.{copy}.{layer}", head.name), outputs, inputs, &mut add);
                    inputs = outputs;
                }
            }
        }
        Bert { tensors, heads, head_widths, tokens }
    }

    pub fn get(&self, name: &str) -> &[f32] {
        &self.tensors[name]
    }

    /// The model as a bundle; what is not f32 there is rounded here.
    pub fn bundle(&self, weights: Weights) -> Vec<u8> {
        let tables = attar_tokenizer::build_tables(&self.tokens, "##").unwrap();
        let contents = Contents {
            architecture: Architecture {
                kind: "bert".into(),
                layers: LAYERS,
                hidden: HIDDEN,
                heads: HEADS,
                intermediate: INTERMEDIATE,
                vocabulary: self.tokens.len(),
                positions: POSITIONS,
                types: 2,
                layer_norm_eps: EPS,
            },
            weights,
            precision: attar_bundle::Precision::default(),
            heads: self.heads.clone(),
            head_widths: self.head_widths.clone(),
            tokenizer: TokenizerConfig {
                kind: "wordpiece".into(),
                lowercase: true,
                strip_accents: true,
                chinese_characters: true,
                max_word_chars: 100,
                unk: 1,
                cls: 2,
                sep: 3,
                pad: 0,
                continuation: "##".into(),
            },
            vocabulary_bytes: tables.bytes.len(),
            vocabulary_table: tables.table.len(),
            provenance: r#"{"student":"tiny and random"}"#.into(),
            quantization: None,
        };
        let mut encoder = Encoder::new(Vec::new(), &contents).unwrap();
        while let Some(spec) = encoder.next_tensor().cloned() {
            let name = spec.name.as_str();
            let bytes: Vec<u8> = match name {
                "tokenizer.bytes" => tables.bytes.clone(),
                "tokenizer.offsets" => tables.offsets.iter().flat_map(|x| x.to_le_bytes()).collect(),
                "tokenizer.table" => tables.table.iter().flat_map(|x| x.to_le_bytes()).collect(),
                _ => self.tensor(name, spec.element, &spec.shape),
            };
            encoder.tensor(name, &bytes).unwrap();
        }
        encoder.finish().unwrap().0
    }

    fn tensor(&self, name: &str, element: Element, shape: &[usize]) -> Vec<u8> {
        let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        if let Some(source) = name.strip_suffix(".scales").or(name.strip_suffix(".sums")) {
            let linear = self.tensors.contains_key(&format!("{source}.weight"));
            let source = if linear { format!("{source}.weight") } else { source.to_string() };
            let width = if linear { self.inputs(&source) } else { HIDDEN };
            let (values, mut scales) = int8(self.get(&source), width);
            if name.ends_with(".sums") {
                let sums = packing::channel_sums(&values, values.len() / width, width);
                return sums.iter().flat_map(|x| x.to_le_bytes()).collect();
            }
            scales.resize(shape[0], 0.0);
            return floats(&scales);
        }
        let values = self.get(name);
        let packed = shape.len() > 2;
        let k = if packed { self.inputs(name) } else { HIDDEN };
        let n = values.len() / k.max(1);
        match element {
            Element::I8 => {
                let rows = int8(values, k).0;
                let rows = if packed { packing::pack_i8(&rows, n, k) } else { rows };
                rows.iter().map(|&x| x as u8).collect()
            }
            Element::F16 => {
                let halves: Vec<half::f16> = values.iter().map(|&x| half::f16::from_f32(x)).collect();
                let halves = if packed { packing::pack_float(&halves, n, k) } else { halves };
                halves.iter().flat_map(|x| x.to_le_bytes()).collect()
            }
            _ if packed => floats(&packing::pack_float(values, n, k)),
            _ => {
                let mut values = values.to_vec();
                values.resize(shape.iter().product(), 0.0);
                floats(&values)
            }
        }
    }

    /// Inputs of the linear whose weight is called `name`.
    fn inputs(&self, name: &str) -> usize {
        self.get(name).len() / self.get(&name.replace(".weight", ".bias")).len()
    }

    pub fn ids(&self, text: &str) -> Vec<usize> {
        let id = |word: &str| self.tokens.iter().position(|t| t == word).unwrap_or(1);
        text.split_whitespace().map(id).collect()
    }

    /// Logits of a pair of texts whose words are tokens, in f64, one formula after another.
    pub fn logits(&self, head: &str, a: &str, b: &str) -> Vec<f64> {
        let (a, b) = (self.ids(a), self.ids(b));
        let ids: Vec<usize> = [vec![2], a.clone(), vec![3], b.clone(), vec![3]].concat();
        let types: Vec<usize> = (0..ids.len()).map(|i| usize::from(i >= a.len() + 2)).collect();
        let row = |name: &str, i: usize| self.get(name)[i * HIDDEN..(i + 1) * HIDDEN].iter().map(|&x| f64::from(x));
        let embed = |i: usize| -> Vec<f64> {
            let (word, position) = (row("embeddings.word", ids[i]), row("embeddings.position", i));
            word.zip(position).zip(row("embeddings.type", types[i])).map(|((w, p), t)| w + p + t).collect()
        };
        let mut x: Vec<Vec<f64>> = (0..ids.len()).map(|i| self.norm("embeddings.norm", &embed(i))).collect();
        for layer in 0..LAYERS {
            let name = |part: &str| format!("layer.{layer}.{part}");
            let qkv: Vec<Vec<f64>> = x.iter().map(|row| self.linear(&name("qkv"), row)).collect();
            let d = HIDDEN / HEADS;
            let mut context = vec![vec![0.0; HIDDEN]; x.len()];
            for head in 0..HEADS {
                let part = |row: &[f64], which: usize| -> Vec<f64> {
                    row[which * HIDDEN + head * d..which * HIDDEN + (head + 1) * d].to_vec()
                };
                for i in 0..x.len() {
                    let q = part(&qkv[i], 0);
                    let dot = |k: Vec<f64>| q.iter().zip(k).map(|(a, b)| a * b).sum::<f64>() / (d as f64).sqrt();
                    let e: Vec<f64> = qkv.iter().map(|row| dot(part(row, 1)).exp()).collect();
                    let sum: f64 = e.iter().sum();
                    for (j, row) in qkv.iter().enumerate() {
                        for (c, v) in part(row, 2).into_iter().enumerate() {
                            context[i][head * d + c] += e[j] / sum * v;
                        }
                    }
                }
            }
            x = (0..x.len())
                .map(|i| {
                    let add = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f64>>();
                    let attended = self.linear(&name("attention_output"), &context[i]);
                    let middle = self.norm(&name("attention_norm"), &add(&attended, &x[i]));
                    let up: Vec<f64> = self.linear(&name("ffn_up"), &middle).into_iter().map(gelu).collect();
                    self.norm(&name("output_norm"), &add(&self.linear(&name("ffn_down"), &up), &middle))
                })
                .collect();
        }
        let pooled: Vec<f64> = self.linear("pooler", &x[0]).into_iter().map(f64::tanh).collect();
        let head = self.heads.iter().find(|h| h.name == head).unwrap();
        let mut mean = vec![0.0; head.labels.len()];
        for copy in 0..head.copies {
            let mut y = pooled.clone();
            for layer in 0..head.layers {
                if layer > 0 {
                    y.iter_mut().for_each(|y| *y = y.tanh());
                }
                y = self.linear(&format!("head.{}.{copy}.{layer}", head.name), &y);
            }
            mean.iter_mut().zip(y).for_each(|(mean, y)| *mean += y / head.copies as f64);
        }
        mean
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (weight, bias) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let row = |row: &[f32]| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>();
        weight.chunks(x.len()).zip(bias).map(|(w, &b)| row(w) + f64::from(b)).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let (weight, bias) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let scale = 1.0 / (variance + f64::from(EPS)).sqrt();
        x.iter().zip(weight).zip(bias).map(|((x, &w), &b)| (x - mean) * scale * f64::from(w) + f64::from(b)).collect()
    }
}

fn int8(weights: &[f32], width: usize) -> (Vec<i8>, Vec<f32>) {
    let mut values = Vec::new();
    let mut scales = Vec::new();
    for row in weights.chunks(width) {
        let scale = row.iter().fold(0f32, |m, w| m.max(w.abs())) / 127.0;
        scales.push(scale);
        values.extend(row.iter().map(|w| (w / scale).round_ties_even() as i8));
    }
    (values, scales)
}

/// `x / 2 (1 + erf(x / sqrt 2))`, erf by its Maclaurin series: exact to f64 in the range that occurs here.
fn gelu(x: f64) -> f64 {
    let z = x / std::f64::consts::SQRT_2;
    assert!(z.abs() < 5.0, "the series is for small numbers");
    let (mut term, mut sum) = (z, z);
    for n in 1..200 {
        term *= -z * z / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    x / 2.0 * (1.0 + sum * 2.0 / std::f64::consts::PI.sqrt())
}

/// Pairs of many lengths, up to the encoder's 17 tokens of text.
pub fn pairs() -> Vec<(String, String)> {
    let mut random = Random(99);
    let mut text = |words: usize| {
        let words: Vec<&str> = (0..words).map(|_| WORDS[(random.uniform() * WORDS.len() as f64) as usize]).collect();
        words.join(" ")
    };
    (1..=8).flat_map(|a| [1, 4, 9].map(|b| (a, b))).map(|(a, b)| (text(a), text(b))).collect()
}
