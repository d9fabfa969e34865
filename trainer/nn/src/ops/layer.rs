//! A whole encoder layer: one fused operator, or the operators one after the other.

use candle_core::{DType, Tensor};

use super::{AttentionSpec, Dropout, ScoreBias, composite, cpu};
use crate::precision::Precision;
use crate::{Error, Result};

/// A layer's parameters: weight `[out, in]` and bias `[out]`, or a norm's `[h]` and `[h]`.
#[derive(Debug, Clone)]
pub struct LayerTensors {
    /// Queries.
    pub query: (Tensor, Tensor),
    /// Keys.
    pub key: (Tensor, Tensor),
    /// Values.
    pub value: (Tensor, Tensor),
    /// After attention.
    pub attention_output: (Tensor, Tensor),
    /// After the residual around attention.
    pub attention_norm: (Tensor, Tensor),
    /// Into the feed-forward network, before GELU.
    pub up: (Tensor, Tensor),
    /// Out of it.
    pub down: (Tensor, Tensor),
    /// After the residual around it.
    pub output_norm: (Tensor, Tensor),
}

impl LayerTensors {
    fn linears(&self) -> [&(Tensor, Tensor); 6] {
        [&self.query, &self.key, &self.value, &self.attention_output, &self.up, &self.down]
    }

    fn norms(&self) -> [&(Tensor, Tensor); 2] {
        [&self.attention_norm, &self.output_norm]
    }

    /// Whether all shapes are those of a layer of this width.
    fn fit(&self, hidden: usize) -> bool {
        let Ok(inner) = self.up.0.dim(0) else { return false };
        let square =
            |(w, b): &(Tensor, Tensor), out: usize, inputs: usize| w.dims() == [out, inputs] && b.dims() == [out];
        [&self.query, &self.key, &self.value, &self.attention_output].iter().all(|l| square(l, hidden, hidden))
            && square(&self.up, inner, hidden)
            && square(&self.down, hidden, inner)
            && self.norms().iter().all(|(w, b)| w.dims() == [hidden] && b.dims() == [hidden])
    }
}

/// What a layer needs beside its operands.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// Heads, lengths, and dropout of the attention probabilities.
    pub attention: AttentionSpec,
    /// Dropout after the attention's output layer.
    pub attention_dropout: Option<Dropout>,
    /// Dropout after the feed-forward network.
    pub output_dropout: Option<Dropout>,
    /// Added to the variance in both norms.
    pub layer_norm_eps: f64,
    /// Compute only the first token's row: the result is `[b, 1, h]`.
    pub first_only: bool,
    /// Round the input of each linear as an int8 runtime does; gradients pass as if it had not been rounded.
    pub round_activations: bool,
    /// What the linears multiply, of f32 operands.
    pub precision: Precision,
}

/// A post-norm transformer encoder layer (Vaswani et al. 2017, as BERT has it): x `[b, s, h]`, result `[b, s, h]`, or
/// `[b, 1, h]` where only the first token is wanted; `bias` `[heads, s, s]` is added to the attention scores. With
/// `projections` also queries, keys and values, each `[b, s, h]`.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for shapes that do not fit, [`crate::ErrorKind::Argument`] for lengths or heads that do not.
pub fn encoder_layer(
    x: &Tensor,
    tensors: &LayerTensors,
    bias: Option<&ScoreBias>,
    spec: &LayerSpec,
    projections: bool,
) -> Result<(Tensor, Option<[Tensor; 3]>)> {
    let (_, seq, hidden) = x.dims3()?;
    spec.attention.check(x, 1, hidden, seq)?;
    let keep =
        x.track_op() || tensors.linears().into_iter().chain(tensors.norms()).any(|(w, b)| w.track_op() || b.track_op());
    let usable = tensors.linears().into_iter().chain(tensors.norms()).all(|(w, b)| cpu::are_parameters(&[w, b]));
    // The operator's operands are x and the query's weight.
    let attention = super::fast_attention(&[x, &tensors.query.0], bias, (spec.attention.heads, seq, seq));
    if keep && spec.precision == Precision::Int8 {
        return Err(Error::argument("encoder layer: int8 products have no gradients; train in f32 or bf16"));
    }
    if projections || !(usable && attention && tensors.fit(hidden)) {
        return composed(x, tensors, bias, spec, projections);
    }
    let op = cpu::layer::Layer::new(tensors, bias, spec, [seq, hidden], keep)?;
    Ok((x.contiguous()?.apply_op2(&tensors.query.0, op)?, None))
}

/// The definition of the fused operator.
pub(super) fn composed(
    x: &Tensor,
    t: &LayerTensors,
    bias: Option<&ScoreBias>,
    spec: &LayerSpec,
    projections: bool,
) -> Result<(Tensor, Option<[Tensor; 3]>)> {
    let hidden = x.dims3()?.2;
    let mut captured = None;
    let input = |x: &Tensor| match spec.precision {
        Precision::Int8 => super::round_activations(x),
        _ if spec.round_activations => super::round_activations(x),
        Precision::Bf16 => composite::round_bf16(x),
        Precision::F32 => Ok(x.clone()),
    };
    let weights = |(w, b): &(Tensor, Tensor)| -> Result<(Tensor, Tensor)> {
        let w = match spec.precision {
            // A linear casts its weights to the type of its input, and the cast's backward pass brings the gradient back to f32.
            Precision::Bf16 if x.dtype() == DType::BF16 => w.clone(),
            Precision::F32 => w.clone(),
            Precision::Bf16 => composite::round_bf16(w)?,
            Precision::Int8 => super::round_weights(w)?,
        };
        Ok((w, b.clone()))
    };
    let own = x;
    let x = &input(x)?;
    let (q, k, v) = (weights(&t.query)?, weights(&t.key)?, weights(&t.value)?);
    let [q, k, v] = [&q, &k, &v].map(|(w, b)| (w, b));
    let (own, context) = if spec.first_only && !projections {
        let first = x.narrow(1, 0, 1)?.contiguous()?;
        let own = own.narrow(1, 0, 1)?.contiguous()?;
        let bias = bias.map(ScoreBias::first_query).transpose()?;
        let queries = super::linear(&first, q.0, q.1)?;
        let kv = super::projections(x, &[k, v])?;
        let context = super::attention(&queries, &kv, bias.as_ref(), &spec.attention)?;
        (own, context)
    } else {
        let qkv = super::projections(x, &[q, k, v])?;
        if projections {
            let part = |i: usize| qkv.narrow(2, i * hidden, hidden);
            captured = Some([part(0)?, part(1)?, part(2)?]);
        }
        let context = super::self_attention(&qkv, bias, &spec.attention)?;
        if spec.first_only {
            (own.narrow(1, 0, 1)?.contiguous()?, context.narrow(1, 0, 1)?.contiguous()?)
        } else {
            (own.clone(), context)
        }
    };
    let eps = spec.layer_norm_eps;
    let (w, b) = weights(&t.attention_output)?;
    let out = super::linear(&input(&context)?, &w, &b)?;
    let (weight, bias) = &t.attention_norm;
    let middle = super::residual_layer_norm(&out, &own, weight, bias, eps, spec.attention_dropout)?;
    let (w, b) = weights(&t.up)?;
    let up = super::linear_gelu(&input(&middle)?, &w, &b)?;
    let (w, b) = weights(&t.down)?;
    let down = super::linear(&input(&up)?, &w, &b)?;
    let (weight, bias) = &t.output_norm;
    Ok((super::residual_layer_norm(&down, &middle, weight, bias, eps, spec.output_dropout)?, captured))
}
