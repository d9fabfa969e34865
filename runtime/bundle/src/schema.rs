//! Which tensors a bundle holds: derived from its metadata, for the reader to demand and for the writer to follow.

use std::fmt::Write as _;

use crate::error::Result;
use crate::header::Shape;
use crate::metadata::{Architecture, Head, TokenizerConfig, Weights};
use crate::packing::{F_TILE, I8_GROUP, I8_TILE, INT4_GROUP, padded_inputs, padded_outputs};
use crate::precision::{Precision, Rows, Storage};

/// Element types that occur in bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// 8-bit signed integers.
    I8,
    /// Bytes.
    U8,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// 32-bit signed integers.
    I32,
    /// 32-bit unsigned integers.
    U32,
    /// 64-bit unsigned integers.
    U64,
}

impl Element {
    const ALL: [Element; 7] =
        [Element::I8, Element::U8, Element::F16, Element::F32, Element::I32, Element::U32, Element::U64];

    /// Its name in a safetensors header.
    pub fn safetensors_name(self) -> &'static str {
        match self {
            Element::I8 => "I8",
            Element::U8 => "U8",
            Element::F16 => "F16",
            Element::F32 => "F32",
            Element::I32 => "I32",
            Element::U32 => "U32",
            Element::U64 => "U64",
        }
    }

    pub(crate) fn from_safetensors(name: &str) -> Option<Element> {
        Element::ALL.into_iter().find(|e| e.safetensors_name() == name)
    }

    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            Element::I8 | Element::U8 => 1,
            Element::F16 => 2,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::U64 => 8,
        }
    }
}

/// A linear of the encoder. Its tensors are called `{prefix}.weight`, `.bias` and, for int8, `.scales` and `.sums`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinearName {
    /// Query, key and value of layer i in one: 3H outputs, H inputs.
    Qkv(usize),
    /// H outputs, H inputs.
    AttentionOutput(usize),
    /// I outputs, H inputs.
    FfnUp(usize),
    /// H outputs, I inputs.
    FfnDown(usize),
    /// H outputs, H inputs.
    Pooler,
}

impl LinearName {
    /// What its tensors' names begin with, such as `layer.0.qkv`.
    pub fn prefix(self) -> String {
        match self {
            LinearName::Qkv(i) => format!("layer.{i}.qkv"),
            LinearName::AttentionOutput(i) => format!("layer.{i}.attention_output"),
            LinearName::FfnUp(i) => format!("layer.{i}.ffn_up"),
            LinearName::FfnDown(i) => format!("layer.{i}.ffn_down"),
            LinearName::Pooler => "pooler".into(),
        }
    }

    /// All linears in file order.
    pub fn all(a: &Architecture) -> impl Iterator<Item = LinearName> {
        let layer =
            |i| [LinearName::Qkv(i), LinearName::AttentionOutput(i), LinearName::FfnUp(i), LinearName::FfnDown(i)];
        (0..a.layers).flat_map(layer).chain([LinearName::Pooler])
    }

    /// Its place among [`LinearName::all`].
    pub(crate) fn ordinal(self, a: &Architecture) -> usize {
        match self {
            LinearName::Qkv(i) => 4 * i,
            LinearName::AttentionOutput(i) => 4 * i + 1,
            LinearName::FfnUp(i) => 4 * i + 2,
            LinearName::FfnDown(i) => 4 * i + 3,
            LinearName::Pooler => 4 * a.layers,
        }
    }

    /// The linear whose [`LinearName::prefix`] this is, if the architecture has it.
    pub fn parse(prefix: &str, a: &Architecture) -> Option<LinearName> {
        if prefix == "pooler" {
            return Some(LinearName::Pooler);
        }
        let (layer, part) = prefix.strip_prefix("layer.")?.split_once('.')?;
        let i = layer.parse().ok().filter(|&i: &usize| i < a.layers && i.to_string() == layer)?;
        match part {
            "qkv" => Some(LinearName::Qkv(i)),
            "attention_output" => Some(LinearName::AttentionOutput(i)),
            "ffn_up" => Some(LinearName::FfnUp(i)),
            "ffn_down" => Some(LinearName::FfnDown(i)),
            _ => None,
        }
    }

    /// Outputs and inputs, without padding.
    pub fn shape(self, a: &Architecture) -> (usize, usize) {
        match self {
            LinearName::Qkv(_) => (3 * a.hidden, a.hidden),
            LinearName::AttentionOutput(_) | LinearName::Pooler => (a.hidden, a.hidden),
            LinearName::FfnUp(_) => (a.intermediate, a.hidden),
            LinearName::FfnDown(_) => (a.hidden, a.intermediate),
        }
    }
}

/// A layer norm. Its tensors are called `{prefix}.weight` and `{prefix}.bias`, both f32 `[H]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormName {
    /// Of the embeddings.
    Embeddings,
    /// After layer i's attention.
    Attention(usize),
    /// After layer i's feed-forward part.
    Output(usize),
}

impl NormName {
    /// What its tensors' names begin with, such as `layer.0.attention_norm`.
    pub fn prefix(self) -> String {
        match self {
            NormName::Embeddings => "embeddings.norm".into(),
            NormName::Attention(i) => format!("layer.{i}.attention_norm"),
            NormName::Output(i) => format!("layer.{i}.output_norm"),
        }
    }
}

/// What a bundle is to hold: its metadata, and the sizes that metadata alone does not fix.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The encoder's shape.
    pub architecture: Architecture,
    /// How weights are stored.
    pub weights: Weights,
    /// Which of them are stored in another way.
    pub precision: Precision,
    /// The heads.
    pub heads: Vec<Head>,
    /// For every head the widths of its layers but the last (which is as wide as it has labels).
    pub head_widths: Vec<Vec<usize>>,
    /// How text becomes tokens.
    pub tokenizer: TokenizerConfig,
    /// Length of `tokenizer.bytes`.
    pub vocabulary_bytes: usize,
    /// Length of `tokenizer.table`.
    pub vocabulary_table: usize,
    /// JSON text of an object: where the student comes from.
    pub provenance: String,
    /// JSON text of an object: what quantising lost, `attar.quantization`.
    pub quantization: Option<String>,
}

/// One tensor that a bundle must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its elements.
    pub element: Element,
    /// Its shape, padding included.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element.bytes()
    }
}

/// Calls `visit(name, element, shape)` for every tensor but padding and checksums, in the order in which the writer writes
/// them. Lazy, so that a header that claims thousands of heads fails at the first one that is missing.
pub(crate) fn visit_tensors(
    a: &Architecture,
    storage: &Storage,
    heads: &[Head],
    sizes: &Sizes,
    visit: &mut dyn FnMut(&str, Element, Shape) -> Result<()>,
) -> Result<()> {
    let mut name = String::with_capacity(64);
    let mut visit = |prefix: &str, suffix: &str, element: Element, shape: &[usize]| {
        name.clear();
        name.push_str(prefix);
        name.push_str(suffix);
        visit(&name, element, Shape::new(shape))
    };
    visit("tokenizer", ".bytes", Element::U8, &[sizes.vocabulary_bytes])?;
    visit("tokenizer", ".offsets", Element::U32, &[a.vocabulary + 1])?;
    visit("tokenizer", ".table", Element::U32, &[sizes.vocabulary_table])?;
    let tables =
        [("embeddings.word", a.vocabulary, storage.word), ("embeddings.position", a.positions, storage.position)];
    for (prefix, rows, kind) in tables {
        let groups = a.hidden.div_ceil(INT4_GROUP);
        match kind {
            Rows::Int4 => {
                visit(prefix, "", kind.element(), &[rows, groups, INT4_GROUP / 2])?;
                visit(prefix, ".scales", Element::F16, &[rows, groups])?;
            }
            Rows::Int8 => {
                visit(prefix, "", kind.element(), &[rows, a.hidden])?;
                visit(prefix, ".scales", Element::F32, &[rows])?;
            }
            Rows::F16 | Rows::F32 => visit(prefix, "", kind.element(), &[rows, a.hidden])?,
        }
    }
    visit("embeddings.type", "", Element::F32, &[a.types, a.hidden])?;
    // What puts prefix and suffix of a name together.
    type Visit<'v> = dyn FnMut(&str, &str, Element, &[usize]) -> Result<()> + 'v;
    let norm = |norm: NormName, visit: &mut Visit<'_>| {
        let prefix = norm.prefix();
        visit(&prefix, ".weight", Element::F32, &[a.hidden])?;
        visit(&prefix, ".bias", Element::F32, &[a.hidden])
    };
    let linear = |linear: LinearName, visit: &mut Visit<'_>| {
        let prefix = linear.prefix();
        let (n, k) = linear.shape(a);
        let weights = storage.linear(linear.ordinal(a));
        visit(&prefix, ".weight", Rows::from(weights).element(), packed_shape(weights, n, k).dims())?;
        let n = padded_outputs(n);
        if weights == Weights::Int8 {
            visit(&prefix, ".scales", Element::F32, &[n])?;
            visit(&prefix, ".sums", Element::I32, &[n])?;
        }
        visit(&prefix, ".bias", Element::F32, &[n])
    };
    norm(NormName::Embeddings, &mut visit)?;
    for i in 0..a.layers {
        linear(LinearName::Qkv(i), &mut visit)?;
        linear(LinearName::AttentionOutput(i), &mut visit)?;
        norm(NormName::Attention(i), &mut visit)?;
        linear(LinearName::FfnUp(i), &mut visit)?;
        linear(LinearName::FfnDown(i), &mut visit)?;
        norm(NormName::Output(i), &mut visit)?;
    }
    linear(LinearName::Pooler, &mut visit)?;
    let mut prefix = String::new();
    for (h, head) in heads.iter().enumerate() {
        for copy in 0..head.copies {
            let mut inputs = a.hidden;
            for layer in 0..head.layers {
                let outputs = sizes.width(h, layer, head);
                prefix.clear();
                // Writing to a String cannot fail.
                let _ = write!(prefix, "head.{}.{copy}.{layer}", head.name);
                visit(&prefix, ".weight", Element::F32, &[outputs, inputs])?;
                visit(&prefix, ".bias", Element::F32, &[outputs])?;
                inputs = outputs;
            }
        }
    }
    Ok(())
}

/// Sizes that are known from tensors only, not from metadata.
pub(crate) struct Sizes {
    pub(crate) vocabulary_bytes: usize,
    pub(crate) vocabulary_table: usize,
    pub(crate) head_widths: Vec<Vec<usize>>,
}

impl Sizes {
    fn width(&self, h: usize, layer: usize, head: &Head) -> usize {
        if layer + 1 == head.layers { head.labels.len() } else { self.head_widths[h].get(layer).copied().unwrap_or(0) }
    }
}

/// Shape of the packed weights of a linear of `n` outputs and `k` inputs.
pub(crate) fn packed_shape(weights: Weights, n: usize, k: usize) -> Shape {
    let np = padded_outputs(n);
    match weights {
        Weights::Int8 => Shape::new(&[np / I8_TILE, padded_inputs(k) / I8_GROUP, I8_TILE, I8_GROUP]),
        Weights::F16 | Weights::F32 => Shape::new(&[np / F_TILE, k, F_TILE]),
    }
}
