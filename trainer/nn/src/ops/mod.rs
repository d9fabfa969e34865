//! Differentiable operators.
//!
//! Each operator has a composite of plain candle operators ([`composite`]) that is its definition and runs on every device,
//! and a fast implementation for f32 on the CPU; the functions here choose.

pub mod composite;

use candle_core::Tensor;

use crate::Result;
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

/// `x wᵀ + b`: x `[.., k]`, w `[n, k]`, b `[n]`, result `[.., n]`.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for shapes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    composite::linear(x, weight, bias)
}

/// `GELU(x wᵀ + b)` with the exact GELU.
///
/// # Errors
/// As [`linear`].
pub fn linear_gelu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    composite::gelu(&composite::linear(x, weight, bias)?)
}

/// Layer norm over the last dimension, x `[.., h]`, weight and bias `[h]` (Ba et al. 2016; biased variance).
///
/// # Errors
/// As [`linear`].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    composite::layer_norm(x, weight, bias, eps)
}

/// Scaled dot-product attention of q `[b, sq, h]` over k and v `[b, s, h]`; the scores are divided by √(h / heads), `bias`
/// `[heads, sq, s]` is added to them, and keys at or beyond a sequence's length get no weight.
///
/// # Errors
/// As [`linear`].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, bias: Option<&Tensor>, spec: &AttentionSpec) -> Result<Tensor> {
    composite::attention(q, k, v, bias, spec)
}

/// Inverted dropout; `None` is the identity.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] where the device fails.
pub fn dropout(x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    composite::dropout(x, dropout)
}

/// Rows of a table: table `[v, h]`, ids u32 `[b, s]`, result `[b, s, h]`.
///
/// # Errors
/// [`crate::ErrorKind::Tensor`] for an id beyond the table.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    composite::embedding(table, ids)
}
