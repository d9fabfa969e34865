//! The roundings of int8 and int4 students: what the quantizer stores, and what quantisation-aware training simulates.
//!
//! - [`int8`]: weights, symmetric with a scale a row, by the range that [`Range`] chooses; and activations, as the runtime
//!   rounds each token's row at run time.
//! - [`int4`]: rows of embeddings in groups of 32 columns, each with an f16 scale.
//!
//! Nothing here knows a bundle, a trainer or a file.
//!
//! ```
//! use attar_rounding::{Range, int8};
//!
//! let rows = int8::quantise_rows(&[0.5, -1.27, 0.0, 0.25], 2, Range::MinMax);
//! assert_eq!(rows.values, [50, -127, 0, 127]);
//! assert_eq!(rows.dequantise(2)[1], -1.27);
//! ```
#![forbid(unsafe_code)]

pub mod int4;
pub mod int8;

/// `x` clipped to `least..=most` (integers within 2^22) and rounded, ties to even. By the addition that pushes the fraction out of
/// a float: `f32::round_ties_even` is a call into libm where the compiler may not assume SSE4.1, and five times as slow.
fn round_clipped(x: f32, least: f32, most: f32) -> f32 {
    const PUSH: f32 = 12_582_912.0;
    (x.clamp(least, most) + PUSH) - PUSH
}

/// How the range of a row of weights is chosen: which |w| becomes the largest integer. Weights beyond it are clipped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// The largest |w|: nothing is clipped.
    MinMax,
    /// The |w| below which this share of the row lies, 0 to 1.
    Percentile(f32),
    /// Of [`CLIPS`] times the largest |w|, the one with the least squared error of the row.
    Mse,
}

/// Ranges that [`Range::Mse`] tries, as shares of the largest |w|. Clipping more than a third never was best for a row of 384
/// weights near a normal distribution, of which the largest is at about three standard deviations.
pub const CLIPS: [f32; 13] = [1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85, 0.825, 0.8, 0.775, 0.75, 0.7, 0.65];
