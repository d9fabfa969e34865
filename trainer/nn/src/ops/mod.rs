//! Differentiable operators.
//!
//! Each operator has a composite of plain candle operators ([`composite`]) that is its definition and runs on every device,
//! and fast implementations: for f32 on the CPU, and for f32 and bfloat16 activations on a GPU. The functions here choose.

pub mod composite;
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod layer;
pub(crate) mod table;

#[cfg(feature = "cuda")]
use candle_core::DType;
use candle_core::Tensor;

pub use layer::{LayerSpec, LayerTensors, encoder_layer};

use crate::Result;
use crate::precision::Precision;
use crate::random::combine;

/// Inverted dropout whose mask is a pure function of (key, element index): nothing is stored for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// The probability that an element becomes 0; the others are multiplied by `1 / (1 - p)`.
    pub probability: f64,
    /// What the mask is a function of.
    pub key: u64,
}

impl Dropout {
    /// The mask's value for an element: 0 or `1 / (1 - p)`.
    pub fn factor(&self, index: usize) -> f32 {
        if mask_bits(self.key, index) < self.threshold() { 0.0 } else { self.scale() }
    }

    /// What kept elements are multiplied by.
    pub(crate) fn scale(&self) -> f32 {
        (1.0 / (1.0 - self.probability)) as f32
    }

    /// Elements whose 32 random bits lie below this become 0.
    pub(crate) fn threshold(&self) -> u32 {
        (self.probability * f64::from(u32::MAX)) as u32
    }
}

/// 32 random bits for an element. 32-bit arithmetic only, so that a loop over indices vectorises: "lowbias32" (Wellons
/// 2018, bias 0.17) over the index, keyed before and after.
#[inline(always)]
pub(crate) fn mask_bits(key: u64, index: usize) -> u32 {
    let mut x = (index as u32).wrapping_add(key as u32);
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x ^= (key >> 32) as u32;
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Gives each operator of one pass its own dropout key.
#[derive(Debug)]
pub(crate) struct DropoutKeys {
    seed: Option<u64>,
    next: std::cell::Cell<u64>,
}

impl DropoutKeys {
    pub(crate) fn new(mode: crate::Mode, stream: u64) -> Self {
        let seed = match mode {
            crate::Mode::Eval => None,
            crate::Mode::Train { seed } => Some(combine(seed, stream)),
        };
        Self { seed, next: std::cell::Cell::new(0) }
    }

    /// The next operator's dropout, or `None` where nothing is dropped.
    pub(crate) fn next(&self, probability: f64) -> Option<Dropout> {
        let operator = self.next.get();
        self.next.set(operator + 1);
        let seed = self.seed?;
        (probability > 0.0).then(|| Dropout { probability, key: combine(seed, operator) })
    }
}

/// What multi-head attention needs beside its operands.
#[derive(Debug, Clone)]
pub struct AttentionSpec {
    /// The number of heads.
    pub heads: usize,
    /// The number of valid keys of each sequence.
    pub lengths: Vec<usize>,
    /// Dropout of the attention probabilities.
    pub dropout: Option<Dropout>,
}

/// What is added to attention scores: a row of a table for each pair of query and key (MPNet's relative positions).
#[derive(Debug, Clone)]
pub struct ScoreBias {
    /// `[heads, sq, s]`, with a graph to the table where that is trained.
    values: Tensor,
    /// `[buckets, heads]`
    table: Tensor,
    /// The table's row of each query and key, `[sq * s]`.
    buckets: Vec<u32>,
}

impl ScoreBias {
    /// The bias of `queries` queries over as many keys as `buckets` has for each: table `[buckets, heads]`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] for buckets beyond the table, or another number of them than rows of keys.
    pub fn new(table: &Tensor, buckets: Vec<u32>, queries: usize) -> Result<Self> {
        let heads = table.dim(1)?;
        let keys = buckets.len() / queries.max(1);
        let rows = table::rows(table, &buckets)?;
        let values = rows.reshape((queries, keys, heads))?.permute((2, 0, 1))?.contiguous()?;
        Ok(Self { values, table: table.clone(), buckets })
    }

    /// The part of the first query.
    fn first_query(&self) -> Result<Self> {
        let values = self.values.narrow(1, 0, 1)?.contiguous()?;
        let keys = values.dim(2)?;
        Ok(Self { values, table: self.table.clone(), buckets: self.buckets[..keys].to_vec() })
    }
}

/// `x wᵀ + b`: x `[.., k]`, w `[n, k]`, b `[n]`, result `[.., n]`.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for shapes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    projections(x, &[(weight, bias)])
}

/// Several linear layers of the same input, side by side: x `[.., k]`, result `[.., n₀ + n₁ + ..]`.
///
/// # Errors
/// As [`linear`].
pub fn projections(x: &Tensor, layers: &[(&Tensor, &Tensor)]) -> Result<Tensor> {
    match fast_linear(x, layers, false)? {
        Some(y) => Ok(y),
        None => composite::projections(x, layers),
    }
}

/// Rows rounded to int8 and back, as an int8 runtime rounds the input of a linear: `scale = max|x| / 127`, ties to even. The
/// gradient is that of the identity (straight-through: Bengio et al. 2013).
///
/// # Errors
/// As [`linear`].
pub fn round_activations(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::fits(&[x]) && x.elem_count() > 0 {
        return Ok(x.contiguous()?.apply_op1(cuda::rounding::RoundActivations)?);
    }
    composite::round_activations(x)
}

/// Rows of f32 weights `[n, k]` rounded to int8 and back, a scale a row, as an int8 bundle has them. No gradient.
///
/// # Errors
/// As [`linear`].
pub(crate) fn round_weights(w: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::fits(&[w]) && w.dtype() == DType::F32 && w.elem_count() > 0 {
        let rounded = w.detach().copy()?;
        rounded.inplace_op1(&cuda::rounding::RoundWeights)?;
        return Ok(rounded);
    }
    composite::round_weights(w)
}

/// `GELU(x wᵀ + b)` with the exact GELU.
///
/// # Errors
/// As [`linear`].
pub fn linear_gelu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    match fast_linear(x, &[(weight, bias)], true)? {
        Some(y) => Ok(y),
        None => composite::gelu(&composite::linear(x, weight, bias)?),
    }
}

fn fast_linear(x: &Tensor, layers: &[(&Tensor, &Tensor)], gelu: bool) -> Result<Option<Tensor>> {
    let inputs = x.dims().last().copied().unwrap_or(0);
    let shaped = layers.iter().all(|(w, b)| matches!(*w.dims(), [n, k] if n > 0 && k == inputs && b.dims() == [n]));
    #[cfg(feature = "cuda")]
    if let ([(first, _), ..], true) = (layers, shaped && x.elem_count() > 0 && cuda::fits(&[x])) {
        let alike = layers.len() <= cuda::linear::PARTS && layers.iter().all(|(w, _)| w.dims() == first.dims());
        if alike && layers.iter().all(|(w, b)| cuda::are_parameters(&[w, b])) {
            let keep = tracked(&[x]) || layers.iter().any(|(w, b)| tracked(&[w, b]));
            let layers = layers.iter().map(|&(w, b)| (w.clone(), b.clone())).collect();
            return Ok(Some(x.contiguous()?.apply_op2(first, cuda::linear::Linear::new(layers, gelu, keep))?));
        }
    }
    let usable = layers.iter().all(|(w, b)| cpu::are_parameters(&[w, b]));
    let (Some((first, _)), true) = (layers.first(), shaped && usable && cpu::fits(&[x]) && x.elem_count() > 0) else {
        return Ok(None);
    };
    let keep = tracked(&[x]) || layers.iter().any(|(w, b)| tracked(&[w, b]));
    let weights = layers.iter().map(|&(w, b)| (w.clone(), b.clone())).collect();
    let op = cpu::linear::Linear::new(weights, Precision::F32, gelu, keep);
    Ok(Some(x.contiguous()?.apply_op2(first, op)?))
}

fn tracked(tensors: &[&Tensor]) -> bool {
    tensors.iter().any(|t| t.track_op())
}

/// Layer norm over the last dimension, x `[.., h]`, weight and bias `[h]` (Ba et al. 2016; biased variance).
///
/// # Errors
/// As [`linear`].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(op) = cuda_norm(x, weight, bias, eps, None) {
        return Ok(x.contiguous()?.apply_op2(weight, op)?);
    }
    if !fast_norm(x, weight, bias) {
        return composite::layer_norm(x, weight, bias, eps);
    }
    let op = cpu::norm::LayerNorm::new(weight, bias, eps, None, tracked(&[x, weight, bias]));
    Ok(x.contiguous()?.apply_op2(weight, op)?)
}

/// `LayerNorm(dropout(x) + residual)`, x and residual `[.., h]`.
///
/// # Errors
/// As [`linear`].
pub fn residual_layer_norm(
    x: &Tensor,
    residual: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if residual.dims() == x.dims()
        && residual.dtype() == x.dtype()
        && let Some(op) = cuda_norm(x, weight, bias, eps, dropout)
    {
        return Ok(x.contiguous()?.apply_op3(&residual.contiguous()?, weight, op)?);
    }
    if !(fast_norm(x, weight, bias) && cpu::fits(&[residual]) && residual.dims() == x.dims()) {
        return composite::layer_norm(&(composite::dropout(x, dropout)? + residual)?, weight, bias, eps);
    }
    let op = cpu::norm::LayerNorm::new(weight, bias, eps, dropout, tracked(&[x, residual, weight, bias]));
    Ok(x.contiguous()?.apply_op3(&residual.contiguous()?, weight, op)?)
}

#[cfg(feature = "cuda")]
fn cuda_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    dropout: Option<Dropout>,
) -> Option<cuda::norm::LayerNorm> {
    let width = x.dims().last().copied().unwrap_or(0);
    let shaped = weight.dims() == [width] && bias.dims() == [width] && x.elem_count() > 0;
    let usable = shaped && cuda::fits(&[x]) && cuda::are_parameters(&[weight, bias]);
    (usable && cuda::norm::LayerNorm::holds(width)).then(|| cuda::norm::LayerNorm {
        weight: weight.clone(),
        bias: bias.clone(),
        eps: eps as f32,
        dropout,
    })
}

fn fast_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> bool {
    let width = x.dims().last().copied().unwrap_or(0);
    let shaped = weight.dims() == [width] && bias.dims() == [width] && x.elem_count() > 0;
    shaped && cpu::fits(&[x]) && cpu::are_parameters(&[weight, bias])
}

/// Multi-head self-attention over packed queries, keys and values `[b, s, 3h]`, result `[b, s, h]`; the scores are divided
/// by √(h / heads), `bias` `[heads, s, s]` is added to them, and keys at or beyond a sequence's length get no weight.
/// What comes out for a query beyond the length is not defined.
///
/// # Errors
/// As [`linear`]; [`crate::ErrorKind::Argument`] for lengths or heads that do not fit.
pub fn self_attention(qkv: &Tensor, bias: Option<&ScoreBias>, spec: &AttentionSpec) -> Result<Tensor> {
    let (_, seq, width) = qkv.dims3()?;
    let hidden = width / 3;
    spec.check(qkv, 3, hidden, seq)?;
    #[cfg(feature = "cuda")]
    if let Some((op, bias)) = cuda_attention(&[qkv], bias, spec, hidden, [seq, seq])? {
        return Ok(qkv.contiguous()?.apply_op2(&bias, cuda::attention::SelfAttention(op))?);
    }
    if !fast_attention(&[qkv], bias, (spec.heads, seq, seq)) {
        let part = |i: usize| qkv.narrow(2, i * hidden, hidden)?.contiguous();
        return composite::attention(&part(0)?, &part(1)?, &part(2)?, bias.map(|b| &b.values), spec);
    }
    let op = attention_op(bias, spec, hidden, seq, seq, tracked(&[qkv]))?;
    Ok(qkv.contiguous()?.apply_op1(op)?)
}

/// As [`self_attention`], of queries `[b, sq, h]` over packed keys and values `[b, s, 2h]`; bias `[heads, sq, s]`.
///
/// # Errors
/// As [`self_attention`].
pub fn attention(q: &Tensor, kv: &Tensor, bias: Option<&ScoreBias>, spec: &AttentionSpec) -> Result<Tensor> {
    let (_, queries, hidden) = q.dims3()?;
    let (_, keys, _) = kv.dims3()?;
    spec.check(q, 1, hidden, usize::MAX)?;
    spec.check(kv, 2, hidden, keys)?;
    #[cfg(feature = "cuda")]
    if let Some((op, bias)) = cuda_attention(&[q, kv], bias, spec, hidden, [queries, keys])? {
        let op = cuda::attention::CrossAttention(op);
        return Ok(q.contiguous()?.apply_op3(&kv.contiguous()?, &bias, op)?);
    }
    // With as many queries as keys the fast operator would take them for the same tokens and leave out padding.
    if queries == keys && keys > 1 || !fast_attention(&[q, kv], bias, (spec.heads, queries, keys)) {
        let part = |i: usize| kv.narrow(2, i * hidden, hidden)?.contiguous();
        return composite::attention(q, &part(0)?, &part(1)?, bias.map(|b| &b.values), spec);
    }
    let op = attention_op(bias, spec, hidden, queries, keys, tracked(&[q, kv]))?;
    Ok(q.contiguous()?.apply_op2(&kv.contiguous()?, op)?)
}

impl AttentionSpec {
    fn check(&self, x: &Tensor, parts: usize, hidden: usize, seq: usize) -> Result<()> {
        let fits = x.dims()[0] == self.lengths.len() && x.dims()[2] == parts * hidden && x.elem_count() > 0;
        let heads = self.heads > 0 && hidden.is_multiple_of(self.heads);
        if fits && heads && self.lengths.iter().all(|&n| n > 0 && n <= seq) {
            return Ok(());
        }
        Err(crate::Error::argument(format!(
            "attention: operand {:?} with {} heads and lengths {:?}, expected {parts} x {hidden} wide, {hidden} a multiple of the heads, and one \
             length within 1..={seq} a row",
            x.dims(),
            self.heads,
            self.lengths
        )))
    }
}

/// The fused operator and its bias, which is one zero where there is none.
#[cfg(feature = "cuda")]
fn cuda_attention(
    operands: &[&Tensor],
    bias: Option<&ScoreBias>,
    spec: &AttentionSpec,
    hidden: usize,
    [queries, keys]: [usize; 2],
) -> Result<Option<(cuda::attention::Attention, Tensor)>> {
    let shaped = bias.is_none_or(|b| b.values.dims() == [spec.heads, queries, keys] && b.values.dtype() == DType::F32);
    if !(shaped && cuda::fits(operands) && cuda::attention::Attention::holds(keys)) {
        return Ok(None);
    }
    let keep = tracked(operands) || bias.is_some_and(|b| b.values.track_op());
    let op = cuda::attention::Attention::new(spec.clone(), hidden, [queries, keys], bias.is_some(), keep);
    let bias = match bias {
        Some(bias) => bias.values.contiguous()?,
        None => Tensor::zeros(1, DType::F32, operands[0].device())?,
    };
    Ok(Some((op, bias)))
}

fn fast_attention(operands: &[&Tensor], bias: Option<&ScoreBias>, bias_shape: (usize, usize, usize)) -> bool {
    let (heads, queries, keys) = bias_shape;
    let usable = bias.is_none_or(|b| {
        // The operator's backward pass runs only where one of its operands is in the graph.
        let reached = !b.table.track_op() || tracked(operands);
        cpu::are_parameters(&[&b.table]) && reached && b.values.dims() == [heads, queries, keys]
    });
    cpu::fits(operands) && usable
}

fn attention_op(
    bias: Option<&ScoreBias>,
    spec: &AttentionSpec,
    hidden: usize,
    queries: usize,
    keys: usize,
    keep: bool,
) -> Result<cpu::attention::Attention> {
    let bias = bias.map(cpu::attention::Bias::new).transpose()?;
    Ok(cpu::attention::Attention::new(spec.clone(), bias, [hidden, queries, keys], keep))
}

/// Inverted dropout; `None` is the identity.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] where the device fails.
pub fn dropout(x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    match dropout {
        #[cfg(feature = "cuda")]
        Some(dropout) if cuda::fits(&[x]) => Ok(x.contiguous()?.apply_op1(cuda::DropoutOp(dropout))?),
        Some(dropout) if cpu::fits(&[x]) => Ok(x.contiguous()?.apply_op1(cpu::DropoutOp(dropout))?),
        other => composite::dropout(x, other),
    }
}

/// An encoder's input: `word[ids] + position[first_position + i] + types[type]`.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingTables<'a> {
    /// `[vocabulary, h]`
    pub word: &'a Tensor,
    /// `[positions, h]`
    pub position: &'a Tensor,
    /// `[types, h]`
    pub types: Option<&'a Tensor>,
    /// The row of the position table that a sequence's first token uses.
    pub first_position: usize,
}

/// The sum of word, position and type embeddings: ids and types u32 `[b, s]` on the CPU, result `[b, s, h]`.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for an id beyond its table.
pub fn embeddings(tables: &EmbeddingTables<'_>, ids: &Tensor, types: &Tensor) -> Result<Tensor> {
    let all: Vec<&Tensor> = [tables.word, tables.position].into_iter().chain(tables.types).collect();
    let (_, seq) = ids.dims2()?;
    let width = tables.word.dims2()?.1;
    let shaped = all.iter().all(|t| matches!(*t.dims(), [_, w] if w == width)) && ids.dims() == types.dims();
    if !(shaped && seq > 0 && cpu::are_parameters(&all)) {
        return composite::embeddings(tables, ids, types);
    }
    let host = |t: &Tensor| t.flatten_all()?.to_vec1::<u32>();
    let op = cpu::embedding::Embeddings {
        ids: host(ids)?,
        types: tables.types.map(|t| Ok::<_, candle_core::Error>((t.clone(), host(types)?))).transpose()?,
        word: tables.word.clone(),
        position: tables.position.clone(),
        first_position: tables.first_position,
        seq,
    };
    Ok(tables.word.apply_op2(tables.position, op)?)
}

#[cfg(test)]
mod tests;
