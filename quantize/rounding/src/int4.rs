//! int4 in groups: `x = q * scale` with q of -8..=7 and an f16 scale for each group of 32 columns of a row.

use half::f16;

use crate::{Range, round_clipped};

/// Columns that share a scale. 4.5 bits a weight.
pub const GROUP: usize = 32;

/// Rows in groups; a row of `width` columns has `width` / 32 groups, rounded up.
#[derive(Debug, Clone, PartialEq)]
pub struct Int4Rows {
    /// As many as there were weights, each -8..=7.
    pub values: Vec<i8>,
    /// One a group. A negative scale is one whose largest weight is positive: it becomes -8, which has no counterpart.
    pub scales: Vec<f16>,
}

impl Int4Rows {
    /// The weights that these rows stand for.
    pub fn dequantise(&self, width: usize) -> Vec<f32> {
        let groups = self.values.chunks_exact(width).flat_map(|row| row.chunks(GROUP)).zip(&self.scales);
        groups.flat_map(|(group, scale)| group.iter().map(move |&q| f32::from(q) * scale.to_f32())).collect()
    }
}

fn quantise(w: f32, scale: f32, least: f32) -> f32 {
    round_clipped(w / scale, least, 7.0)
}

/// Scale of a group; 0 where it is all zeros, or nearly.
fn scale(group: &[f32], range: Range) -> f16 {
    let extreme = group.iter().fold(0f32, |most, &w| if w.abs() > most.abs() { w } else { most });
    let most = extreme.abs();
    // Rounded up, so that the largest weight stays within range.
    let up = |scale: f32| {
        let rounded = f16::from_f32(scale);
        if rounded.to_f32() < scale { f16::from_bits(rounded.to_bits() + 1) } else { rounded }
    };
    match range {
        Range::MinMax | Range::Percentile(_) => up(most / 7.0),
        Range::Mse => {
            // -8 for the extreme, whichever sign it has; then shares of that, each refined by one least-squares step.
            let error =
                |scale: f32| -> f32 { group.iter().map(|&w| (w - quantise(w, scale, -8.0) * scale).powi(2)).sum() };
            let refined = |scale: f32| {
                let (mut above, mut below) = (0f32, 0f32);
                for &w in group {
                    let q = quantise(w, scale, -8.0);
                    above += w * q;
                    below += q * q;
                }
                if below > 0.0 { above / below } else { scale }
            };
            let tries = (0..10).map(|i| extreme / (-8.9 + 0.3 * i as f32));
            // The symmetric scale too: never worse than it.
            let both = tries.flat_map(|scale| [scale, refined(scale)]).map(f16::from_f32).chain([up(most / 7.0)]);
            let fits = both.filter(|s| s.is_finite() && s.to_f32() != 0.0).map(|s| (error(s.to_f32()), s));
            let best = fits.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, scale)| scale);
            best.unwrap_or(if most > 1.0 { f16::INFINITY } else { f16::ZERO })
        }
    }
}

/// Quantises rows of `width` weights in groups. With [`Range::MinMax`] (or a percentile: 32 weights have none) the range is
/// symmetric and the error of a weight within half a scale; [`Range::Mse`] searches the scale of least squared error.
///
/// A weight of more than 7 * 65504 has no f16 scale: the group's scale is infinite then, which the caller must refuse.
///
/// # Panics
/// If `weights` are not whole rows.
pub fn quantise_rows(weights: &[f32], width: usize, range: Range) -> Int4Rows {
    assert!(width > 0 && weights.len().is_multiple_of(width), "{} weights in rows of {width}", weights.len());
    let least = if range == Range::Mse { -8.0 } else { -7.0 };
    let mut values = Vec::with_capacity(weights.len());
    let mut scales = Vec::with_capacity(weights.len() / width * width.div_ceil(GROUP));
    for group in weights.chunks_exact(width).flat_map(|row| row.chunks(GROUP)) {
        let scale = scale(group, range);
        scales.push(scale);
        let step = scale.to_f32();
        let value = |w: f32| if step == 0.0 { 0 } else { quantise(w, step, least) as i8 };
        values.extend(group.iter().map(|&w| value(w)));
    }
    Int4Rows { values, scales }
}

/// Replaces rows of embeddings by what [`quantise_rows`] stores with [`Range::MinMax`].
///
/// # Panics
/// If `weights` are not whole rows.
pub fn round_rows(weights: &mut [f32], width: usize) {
    let rounded = quantise_rows(weights, width, Range::MinMax).dequantise(width);
    weights.copy_from_slice(&rounded);
}

#[cfg(test)]
#[path = "int4_tests.rs"]
mod tests;
