//! Tensor names as `transformers` has them.

use crate::EncoderKind;

/// The names of one layer's modules.
pub(super) struct LayerNames {
    pub(super) query: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) attention_output: String,
    pub(super) attention_norm: String,
    pub(super) up: String,
    pub(super) down: String,
    pub(super) output_norm: String,
}

pub(super) fn layer(kind: EncoderKind, i: usize) -> LayerNames {
    let [query, key, value, attention_output, attention_norm] = match kind {
        EncoderKind::Bert => ["self.query", "self.key", "self.value", "output.dense", "output.LayerNorm"],
        EncoderKind::MpNet => ["attn.q", "attn.k", "attn.v", "attn.o", "LayerNorm"],
    }
    .map(|name| format!("encoder.layer.{i}.attention.{name}"));
    LayerNames {
        query,
        key,
        value,
        attention_output,
        attention_norm,
        up: format!("encoder.layer.{i}.intermediate.dense"),
        down: format!("encoder.layer.{i}.output.dense"),
        output_norm: format!("encoder.layer.{i}.output.LayerNorm"),
    }
}
