//! The definition of each operator, out of plain candle operators: any device, any float type, differentiable by candle.

use candle_core::{D, DType, Device, Tensor};
use rayon::prelude::*;

use super::{AttentionSpec, Dropout, EmbeddingTables};
use crate::Result;

/// Rows of weights that one task rounds.
const ROWS: usize = 256;

/// See [`super::linear`].
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for shapes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    let rows: usize = shape.iter().rev().skip(1).product();
    let weight = weight.to_dtype(x.dtype())?;
    let y = x.reshape((rows, inputs))?.matmul(&weight.t()?)?.broadcast_add(&bias.to_dtype(x.dtype())?)?;
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    Ok(y.reshape(shape)?)
}

/// Whether norms, soft-max and GELU of it are computed in f32.
fn is_half(x: &Tensor) -> bool {
    matches!(x.dtype(), DType::F16 | DType::BF16)
}

/// See [`super::round_activations`].
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] where the device fails.
pub fn round_activations(x: &Tensor) -> Result<Tensor> {
    if is_half(x) {
        return Ok(round_activations(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())?);
    }
    let fixed = x.detach();
    // Rows of zeros stay zeros, whatever they are multiplied by.
    let most = fixed.abs()?.max_keepdim(D::Minus1)?.maximum(f64::from(attar_rounding::int8::ZERO_ROW))?;
    let rounded = fixed.broadcast_mul(&(most.recip()? * 127.0)?)?.clamp(-127.0, 127.0)?.round()?;
    let rounded = rounded.broadcast_mul(&(most / 127.0)?)?;
    Ok((x + (rounded - fixed)?.detach())?)
}

/// Rounded to bfloat16, in the type that it has; the gradient is rounded likewise.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] where the device fails.
pub fn round_bf16(x: &Tensor) -> Result<Tensor> {
    if is_half(x) {
        return Ok(x.clone());
    }
    Ok(x.to_dtype(DType::BF16)?.to_dtype(x.dtype())?)
}

/// Rows of weights `[n, k]` rounded to int8 and back, a scale a row, as an int8 bundle has them. No gradient.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] where the device fails or the weights are no matrix.
pub fn round_weights(w: &Tensor) -> Result<Tensor> {
    let (_, width) = w.dims2()?;
    let mut values = w.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    values.par_chunks_mut(ROWS * width.max(1)).for_each(|rows| attar_rounding::int8::round_weights(rows, width));
    Ok(Tensor::from_vec(values, w.shape(), &Device::Cpu)?.to_device(w.device())?.to_dtype(w.dtype())?)
}

/// `x Φ(x)`, Φ the normal distribution function (Hendrycks and Gimpel 2016), exact.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] where the device fails.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if is_half(x) {
        return Ok(gelu(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())?);
    }
    // Not `gelu_erf`: its backward in candle 0.11 rounds 1/√(2π) to six digits.
    let phi = ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)?;
    Ok(((x * phi)? * 0.5)?)
}

/// See [`super::layer_norm`].
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for shapes that do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if is_half(x) {
        return Ok(layer_norm(&x.to_dtype(DType::F32)?, weight, bias, eps)?.to_dtype(x.dtype())?);
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    Ok(normed.broadcast_mul(weight)?.broadcast_add(bias)?)
}

/// Soft-max over the last dimension; the maximum is subtracted first, so that no exponential overflows.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] where the device fails.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    // Detached: the maximum shifts numerator and denominator alike and has no gradient.
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    Ok(e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?)
}

/// See [`super::attention`]; q `[b, sq, h]`, k and v `[b, s, h]`.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for shapes that do not fit.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, bias: Option<&Tensor>, spec: &AttentionSpec) -> Result<Tensor> {
    let (rows, queries, hidden) = q.dims3()?;
    let keys = k.dim(1)?;
    spec.check(k, 1, hidden, keys)?;
    let depth = hidden / spec.heads;
    let split = |t: &Tensor, n: usize| t.reshape((rows, n, spec.heads, depth))?.transpose(1, 2)?.contiguous();
    let scores = split(q, queries)?.matmul(&split(k, keys)?.transpose(2, 3)?.contiguous()?)?;
    let scores = if is_half(&scores) { scores.to_dtype(DType::F32)? } else { scores };
    let mut scores = (scores * (1.0 / (depth as f64).sqrt()))?;
    if let Some(bias) = bias {
        scores = scores.broadcast_add(&bias.unsqueeze(0)?)?;
    }
    if spec.lengths.iter().any(|&n| n < keys) {
        let mask: Vec<f32> =
            spec.lengths.iter().flat_map(|&n| (0..keys).map(move |key| if key < n { 0.0 } else { -1e30 })).collect();
        let mask = Tensor::from_vec(mask, (rows, 1, 1, keys), q.device())?.to_dtype(scores.dtype())?;
        scores = scores.broadcast_add(&mask)?;
    }
    let weights = dropout(&softmax(&scores)?, spec.dropout)?;
    let context = weights.to_dtype(v.dtype())?.matmul(&split(v, keys)?)?;
    Ok(context.transpose(1, 2)?.contiguous()?.reshape((rows, queries, hidden))?)
}

/// See [`super::dropout`].
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] where the device fails.
pub fn dropout(x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    let Some(dropout) = dropout else { return Ok(x.clone()) };
    #[cfg(feature = "cuda")]
    if super::cuda::holds(x) {
        // The same masks, without making them on the host.
        return Ok(x.contiguous()?.apply_op1(super::cuda::DropoutOp(dropout))?);
    }
    let mask: Vec<f32> = (0..x.elem_count()).map(|i| dropout.factor(i)).collect();
    let mask = Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
    Ok((x * mask)?)
}

/// See [`super::projections`].
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for shapes that do not fit.
pub fn projections(x: &Tensor, layers: &[(&Tensor, &Tensor)]) -> Result<Tensor> {
    let parts = layers.iter().map(|(w, b)| linear(x, w, b)).collect::<Result<Vec<_>>>()?;
    match parts.as_slice() {
        [one] => Ok(one.clone()),
        several => Ok(Tensor::cat(several, D::Minus1)?),
    }
}

/// See [`super::embeddings`].
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for an id beyond its table.
pub fn embeddings(tables: &EmbeddingTables<'_>, ids: &Tensor, types: &Tensor) -> Result<Tensor> {
    let (rows, seq) = ids.dims2()?;
    let rows_of = |table: &Tensor, ids: &Tensor| {
        super::table::rows(table, &ids.flatten_all()?.to_vec1()?)?.reshape((rows, seq, table.dim(1)?))
    };
    // Positions of padding do not matter: nothing looks at them.
    let positions = tables.position.narrow(0, tables.first_position, seq)?;
    let sum = rows_of(tables.word, ids)?.broadcast_add(&positions)?;
    match tables.types {
        Some(table) => Ok((sum + rows_of(table, types)?)?),
        None => Ok(sum),
    }
}
