//! What a bundle holds, for people and tools.

use attar_bundle::{Architecture, Head, Precision, Weights};
use attar_kernels::Kernel;

use crate::network::Network;

/// A head and its labels.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HeadInfo {
    /// What [`crate::Session::score`] is asked for.
    pub name: String,
    /// Class names, in the order of a score's logits and probabilities.
    pub labels: Vec<String>,
    /// Logits are divided by it before the soft-max.
    pub temperature: f32,
    /// Parallel copies whose logits are averaged.
    pub copies: usize,
    /// Fully connected layers, tanh between them.
    pub layers: usize,
}

impl From<&Head> for HeadInfo {
    fn from(head: &Head) -> Self {
        HeadInfo {
            name: head.name.clone(),
            labels: head.labels.clone(),
            temperature: head.temperature,
            copies: head.copies,
            layers: head.layers,
        }
    }
}

/// Bytes that a part of the model takes in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// `vocabulary`, `embeddings`, `encoder`, `pooler`, `heads`, `overhead` (header, padding, checksums).
    pub name: &'static str,
    /// Bytes.
    pub bytes: u64,
}

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Info {
    /// The encoder's shape.
    pub architecture: Architecture,
    /// How weights are stored.
    pub weights: Weights,
    /// Which of them are stored in another way.
    pub precision: Precision,
    /// The heads.
    pub heads: Vec<HeadInfo>,
    /// JSON text of an object: teachers, data, licence, commit, as far as the bundle's maker told.
    pub provenance: String,
    /// JSON text of an object: what quantising lost, if that was measured.
    pub quantization: Option<String>,
    /// Number of parameters.
    pub parameters: u64,
    /// Tokens of the longest input that is read at once, special ones included. Longer pairs are read in windows.
    pub max_tokens: usize,
    /// Length of the bundle in bytes.
    pub file_bytes: u64,
    /// The same by part.
    pub parts: Vec<Part>,
    /// Name of the kernel that computes this model.
    pub kernel: &'static str,
    /// Processor features that this kernel uses.
    pub isa: &'static str,
    /// Whether the bytes were copied, because they did not begin on a 4-byte boundary.
    pub copied: bool,
}

impl Info {
    pub(crate) fn new(network: &Network, kernel: &Kernel, heads: &[HeadInfo]) -> Info {
        let layout = network.layout();
        let bytes_of = |prefix: &str| {
            let sizes = layout.model_tensors().filter(|t| t.name.starts_with(prefix)).map(|t| t.range.len() as u64);
            sizes.sum::<u64>()
        };
        let mut parts: Vec<Part> = [
            ("vocabulary", "tokenizer."),
            ("embeddings", "embeddings."),
            ("encoder", "layer."),
            ("pooler", "pooler."),
            ("heads", "head."),
        ]
        .into_iter()
        .map(|(name, prefix)| Part { name, bytes: bytes_of(prefix) })
        .collect();
        let file_bytes = layout.file_len() as u64;
        let overhead = file_bytes - parts.iter().map(|part| part.bytes).sum::<u64>();
        parts.push(Part { name: "overhead", bytes: overhead });
        Info {
            architecture: layout.architecture().clone(),
            weights: layout.weights(),
            precision: layout.precision().clone(),
            heads: heads.to_vec(),
            provenance: layout.provenance().into(),
            quantization: layout.quantization().map(str::to_string),
            parameters: layout.parameters(),
            max_tokens: layout.architecture().positions,
            file_bytes,
            parts,
            kernel: kernel.name(),
            isa: kernel.isa(),
            copied: network.memory().is_copy(),
        }
    }
}
