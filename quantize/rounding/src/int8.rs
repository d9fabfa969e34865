//! Symmetric int8: `x = q * scale` with q of -127..=127.

use crate::{CLIPS, Range, round_clipped};

/// Rows of activations whose largest magnitude is below this are taken as zero, as the runtime has it: 127 divided by it must
/// stay finite.
pub const ZERO_ROW: f32 = 1e-30;

/// Rows of int8 with a scale each: `w = q * scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Rows {
    /// As many as there were weights.
    pub values: Vec<i8>,
    /// One a row.
    pub scales: Vec<f32>,
}

impl Int8Rows {
    /// The weights that these rows stand for.
    pub fn dequantise(&self, width: usize) -> Vec<f32> {
        let rows = self.values.chunks_exact(width).zip(&self.scales);
        rows.flat_map(|(row, &scale)| row.iter().map(move |&q| f32::from(q) * scale)).collect()
    }
}

/// `round(w / scale)`, ties to even, clipped to +-127.
fn quantise(w: f32, scale: f32) -> f32 {
    round_clipped(w / scale, -127.0, 127.0)
}

fn largest(row: &[f32]) -> f32 {
    row.iter().fold(0f32, |most, w| most.max(w.abs()))
}

/// The scale of a row; 0 for a row of zeros, or of numbers too small for a normal f32 scale.
pub fn scale(row: &[f32], range: Range) -> f32 {
    let most = largest(row);
    let normal = |scale: f32| if scale.is_normal() { scale } else { 0.0 };
    match range {
        Range::MinMax => normal(most / 127.0),
        Range::Percentile(share) => {
            let mut sizes: Vec<f32> = row.iter().map(|w| w.abs()).collect();
            let at = ((sizes.len().saturating_sub(1)) as f32 * share.clamp(0.0, 1.0)).round() as usize;
            let bound = if sizes.is_empty() { 0.0 } else { *sizes.select_nth_unstable_by(at, f32::total_cmp).1 };
            // A row that is nearly all zeros must not become one of zeros.
            normal(if bound > 0.0 { bound } else { most } / 127.0)
        }
        Range::Mse => {
            let error = |scale: f32| -> f32 { row.iter().map(|&w| (w - quantise(w, scale) * scale).powi(2)).sum() };
            let scales = CLIPS.iter().map(|clip| normal(clip * most / 127.0));
            let best = scales.filter(|&s| s > 0.0).map(|s| (error(s), s)).min_by(|a, b| a.0.total_cmp(&b.0));
            best.map_or(0.0, |(_, scale)| scale)
        }
    }
}

/// Quantises one row by a given scale; scale 0 gives zeros.
pub fn quantise_row(row: &[f32], scale: f32, out: &mut Vec<i8>) {
    if scale == 0.0 {
        out.resize(out.len() + row.len(), 0);
    } else {
        out.extend(row.iter().map(|&w| quantise(w, scale) as i8));
    }
}

/// Quantises rows of `width` weights: `q = round(w / scale)`, ties to even. With [`Range::MinMax`] the error of a weight is
/// within half a scale, with the others that of one that is not clipped.
///
/// # Panics
/// If `weights` are not whole rows.
pub fn quantise_rows(weights: &[f32], width: usize, range: Range) -> Int8Rows {
    let scales = check_rows(weights, width).map(|row| scale(row, range)).collect();
    quantise_rows_by(weights, width, scales)
}

/// As [`quantise_rows`], by scales that were chosen elsewhere.
///
/// # Panics
/// If `weights` are not whole rows, or not as many as there are scales.
pub fn quantise_rows_by(weights: &[f32], width: usize, scales: Vec<f32>) -> Int8Rows {
    let rows = check_rows(weights, width);
    assert_eq!(rows.len(), scales.len(), "one scale a row");
    let mut values = Vec::with_capacity(weights.len());
    rows.zip(&scales).for_each(|(row, &scale)| quantise_row(row, scale, &mut values));
    Int8Rows { values, scales }
}

/// Replaces rows of weights by what [`quantise_rows`] stores, min-max ranges: the rounding of a linear's weights.
///
/// # Panics
/// If `weights` are not whole rows.
pub fn round_weights(weights: &mut [f32], width: usize) {
    let _ = check_rows(weights, width);
    for row in weights.chunks_exact_mut(width) {
        let scale = scale(row, Range::MinMax);
        row.iter_mut().for_each(|w| *w = if scale == 0.0 { 0.0 } else { quantise(*w, scale) * scale });
    }
}

/// Replaces rows of activations by what the runtime makes of them at the input of an int8 linear: `scale = max|x| / 127`,
/// `q = round(x * (127 / max|x|))`, ties to even.
///
/// # Panics
/// If `activations` are not whole rows.
pub fn round_activations(activations: &mut [f32], width: usize) {
    let _ = check_rows(activations, width);
    for row in activations.chunks_exact_mut(width) {
        let most = largest(row);
        if most < ZERO_ROW {
            row.fill(0.0);
            continue;
        }
        let (scale, factor) = (most / 127.0, 127.0 / most);
        row.iter_mut().for_each(|x| *x = round_clipped(*x * factor, -127.0, 127.0) * scale);
    }
}

fn check_rows(values: &[f32], width: usize) -> std::slice::ChunksExact<'_, f32> {
    assert!(width > 0 && values.len().is_multiple_of(width), "{} values in rows of {width}", values.len());
    values.chunks_exact(width)
}

#[cfg(test)]
#[path = "int8_tests.rs"]
mod tests;
