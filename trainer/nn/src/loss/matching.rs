//! Losses on a network's insides: self-attention relations and hidden states.

use candle_core::{D, DType, Tensor};

use super::{log_softmax, mean};
use crate::{Error, Result};

/// The distance of a student's self-attention relations from a teacher's (MiniLMv2, Wang et al. 2021, equations 5 to 7), a
/// scalar in nats; the teacher gets no gradient.
///
/// Student `[b, s, h]` and teacher `[b, s, h']` are both queries, both keys or both values of one layer; their widths may
/// differ. Each is cut into `heads` relation heads of `d = h / heads`, the relation of a head is
/// `softmax(A Aᵀ / √d)` over a sequence's own tokens, and the loss is `KL(teacher ‖ student)`, the mean over relation heads, a
/// sequence's tokens and sequences. What lies beyond a sequence's length has no influence, even where it is not a number.
///
/// # Errors
/// [`crate::ErrorKind::Argument`] for shapes that do not fit, lengths out of range, or a width that is not a multiple of
/// `heads`.
pub fn attention_relations(student: &Tensor, teacher: &Tensor, heads: usize, lengths: &[usize]) -> Result<Tensor> {
    let (rows, seq) = same_tokens("attention relations", student, teacher, lengths)?;
    let student = &wide(student)?;
    let log_q = log_relations(student, heads, lengths)?;
    let log_p = log_relations(&teacher.detach().to_dtype(student.dtype())?, heads, lengths)?;
    // [b, heads, s]: one divergence for each query.
    let divergence = (log_p.exp()? * (log_p - log_q)?)?.sum(D::Minus1)?;
    let of_token = token_weights(lengths, seq, student)?.reshape((rows, 1, seq))?;
    let of_row = divergence.broadcast_mul(&of_token)?.sum(D::Minus1)?.mean(1)?;
    mean(&of_row, None)
}

/// The distance of a student's hidden states from a teacher's (TinyBERT, Jiao et al. 2020, equation 8), a scalar; the teacher
/// gets no gradient.
///
/// Student `[b, s, h]`, teacher `[b, s, h']`, projection `[h', h]`, which may be left out where the widths are equal: the
/// mean square of `P student - teacher` over the width, a sequence's tokens and sequences. What lies beyond a sequence's
/// length has no influence.
///
/// # Errors
/// [`crate::ErrorKind::Argument`] for shapes that do not fit or lengths out of range.
pub fn hidden_states(
    student: &Tensor,
    teacher: &Tensor,
    projection: Option<&Tensor>,
    lengths: &[usize],
) -> Result<Tensor> {
    let (rows, seq) = same_tokens("hidden states", student, teacher, lengths)?;
    let (from, to) = (student.dim(D::Minus1)?, teacher.dim(D::Minus1)?);
    let fits = projection.map_or(from == to, |p| p.dims() == [to, from]);
    if !fits {
        return Err(Error::argument(format!(
            "hidden states: a student {from} wide, a teacher {to} wide and a projection {:?}, expected a projection [{to}, {from}]",
            projection.map(|p| p.dims().to_vec())
        )));
    }
    let student = without_padding(&wide(student)?, lengths)?;
    let teacher = without_padding(&teacher.detach().to_dtype(student.dtype())?, lengths)?;
    let projected = match projection {
        Some(projection) => student.reshape((rows * seq, from))?.matmul(&projection.t()?)?.reshape((rows, seq, to))?,
        None => student,
    };
    let of_token = (projected - teacher)?.sqr()?.mean(D::Minus1)?;
    let weights = token_weights(lengths, seq, &of_token)?;
    mean(&(of_token * weights)?.sum(D::Minus1)?, None)
}

/// Checks that both are states of the same tokens; returns rows and padded length.
fn same_tokens(what: &str, student: &Tensor, teacher: &Tensor, lengths: &[usize]) -> Result<(usize, usize)> {
    let (rows, seq) = match (student.dims(), teacher.dims()) {
        (&[b, s, h], &[tb, ts, th]) if (b, s) == (tb, ts) && b * s * h * th > 0 => (b, s),
        (student, teacher) => {
            return Err(Error::argument(format!(
                "{what}: student {student:?} and teacher {teacher:?}, expected [batch, seq, width] of the same tokens"
            )));
        }
    };
    if lengths.len() != rows || lengths.iter().any(|&n| n == 0 || n > seq) {
        return Err(Error::argument(format!(
            "{what}: lengths {lengths:?}, expected {rows} of them, each within 1..={seq}"
        )));
    }
    Ok((rows, seq))
}

/// Half-precision states as f32: their products and differences need it.
fn wide(states: &Tensor) -> Result<Tensor> {
    Ok(if states.dtype() == DType::F64 { states.clone() } else { states.to_dtype(DType::F32)? })
}

/// `1 / length` for a sequence's own tokens and 0 beyond them, `[b, s]`.
fn token_weights(lengths: &[usize], seq: usize, like: &Tensor) -> Result<Tensor> {
    let weights: Vec<f64> =
        lengths.iter().flat_map(|&n| (0..seq).map(move |i| if i < n { 1.0 / n as f64 } else { 0.0 })).collect();
    Ok(Tensor::from_vec(weights, (lengths.len(), seq), like.device())?.to_dtype(like.dtype())?)
}

/// States `[b, s, h]` with zeros beyond each length: what an encoder leaves there is not defined.
fn without_padding(states: &Tensor, lengths: &[usize]) -> Result<Tensor> {
    let (_, seq, _) = states.dims3()?;
    if lengths.iter().all(|&n| n == seq) {
        return Ok(states.clone());
    }
    let inside: Vec<u8> = lengths.iter().flat_map(|&n| (0..seq).map(move |i| u8::from(i < n))).collect();
    let inside = Tensor::from_vec(inside, (lengths.len(), seq, 1), states.device())?.broadcast_as(states.shape())?;
    Ok(inside.contiguous()?.where_cond(&states.contiguous()?, &states.zeros_like()?)?)
}

/// Log relations `[b, heads, s, s]` of queries, keys or values `[b, s, h]`.
fn log_relations(states: &Tensor, heads: usize, lengths: &[usize]) -> Result<Tensor> {
    let (rows, seq, width) = states.dims3()?;
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(Error::argument(format!(
            "attention relations: a width of {width} and {heads} relation heads, expected a divisor of the width"
        )));
    }
    let size = width / heads;
    let parts = without_padding(states, lengths)?.reshape((rows, seq, heads, size))?.transpose(1, 2)?.contiguous()?;
    let scores = (parts.matmul(&parts.transpose(2, 3)?.contiguous()?)? / (size as f64).sqrt())?;
    // Finite, so that a difference of two of them is a number; its exponential is 0 all the same.
    let far = if states.dtype() == DType::F32 { -1e30 } else { -1e300 };
    let bias: Vec<f64> = lengths.iter().flat_map(|&n| (0..seq).map(move |i| if i < n { 0.0 } else { far })).collect();
    let bias = Tensor::from_vec(bias, (rows, 1, 1, seq), states.device())?.to_dtype(states.dtype())?;
    log_softmax(&scores.broadcast_add(&bias)?)
}

#[cfg(test)]
mod tests;
