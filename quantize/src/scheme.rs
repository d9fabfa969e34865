//! The number formats: from f32 to int8, int4 and f16. The roundings themselves are [`attar_rounding`]'s.

use half::f16;

use attar_rounding::{Range, int4};

use crate::error::{Result, fail};

pub use attar_rounding::int8::{Int8Rows, quantise_rows};

/// Rounds to half precision, ties to even.
///
/// # Errors
/// [`crate::ErrorKind::Overflow`], naming `tensor`, if a weight is beyond 65504, the largest half-precision number.
pub fn to_f16(weights: &[f32], tensor: &str) -> Result<Vec<f16>> {
    let halves: Vec<f16> = weights.iter().map(|&w| f16::from_f32(w)).collect();
    if let Some(at) = halves.iter().position(|h| !h.is_finite()) {
        let beyond = halves.iter().filter(|h| !h.is_finite()).count();
        fail!(
            Overflow,
            "tensor {tensor:?} holds {} at index {at}: f16 ends at 65504 ({beyond} weights are beyond it); use --weights f32 \
             or int8",
            weights[at]
        );
    }
    Ok(halves)
}

/// Rounds rows of `width` weights to int4 in groups of 32 columns.
///
/// # Errors
/// [`crate::ErrorKind::Overflow`], naming `tensor`, if a group's scale is beyond the largest half-precision number.
pub fn to_int4(weights: &[f32], width: usize, range: Range, tensor: &str) -> Result<int4::Int4Rows> {
    let rows = int4::quantise_rows(weights, width, range);
    if let Some(at) = rows.scales.iter().position(|scale| !scale.is_finite()) {
        let row = at / width.div_ceil(int4::GROUP);
        fail!(Overflow, "tensor {tensor:?}: row {row} holds weights too large for an int4 scale in f16; use int8");
    }
    Ok(rows)
}

#[cfg(test)]
#[path = "scheme_tests.rs"]
mod tests;
