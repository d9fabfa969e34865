//! The number formats: from f32 to int8 and f16.

use half::f16;

use crate::error::{Result, fail};

/// Rows of int8 with a scale each: `w = q * scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Rows {
    /// As many as there were weights.
    pub values: Vec<i8>,
    /// One per row.
    pub scales: Vec<f32>,
}

/// Quantises rows of `width` weights symmetrically: `scale = max|w| / 127`, `q = round(w / scale)`, ties to even, so that
/// every `q` is within -127 and 127 and the error of a weight within half a scale. A row of zeros (or of numbers too small for
/// a normal f32 scale) gets scale 0.
///
/// # Panics
/// If `weights` are not whole rows.
pub fn quantise_rows(weights: &[f32], width: usize) -> Int8Rows {
    assert!(width > 0 && weights.len().is_multiple_of(width), "{} weights in rows of {width}", weights.len());
    let mut values = Vec::with_capacity(weights.len());
    let mut scales = Vec::with_capacity(weights.len() / width);
    for row in weights.chunks_exact(width) {
        let scale = row.iter().fold(0f32, |most, w| most.max(w.abs())) / 127.0;
        if !scale.is_normal() {
            scales.push(0.0);
            values.resize(values.len() + width, 0);
            continue;
        }
        scales.push(scale);
        values.extend(row.iter().map(|w| (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
    }
    Int8Rows { values, scales }
}

/// Rounds to half precision, ties to even.
///
/// # Errors
/// [`crate::ErrorKind::Overflow`], naming `tensor`, if a weight is beyond 65504, the largest half-precision number.
pub fn to_f16(weights: &[f32], tensor: &str) -> Result<Vec<f16>> {
    let halves: Vec<f16> = weights.iter().map(|&w| f16::from_f32(w)).collect();
    if let Some(at) = halves.iter().position(|h| !h.is_finite()) {
        fail!(
            Overflow,
            "tensor {tensor:?} holds {} at index {at}: f16 ends at 65504; use --weights f32 or int8",
            weights[at]
        );
    }
    Ok(halves)
}

#[cfg(test)]
#[path = "scheme_tests.rs"]
mod tests;
