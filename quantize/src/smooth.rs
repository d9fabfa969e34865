//! Moves outliers of activations into weights, where that changes nothing but the rounding (Xiao et al. 2023, "SmoothQuant").
//!
//! SmoothQuant divides the channels of a linear's input by scales s and multiplies the weights' columns by them. It costs
//! nothing where the division can be folded into what comes before. In BERT that is one place a layer: the context that
//! `attention_output` reads is a weighted mean over tokens of the values, channel by channel, so the values' weights and
//! biases take the division exactly. The layer norms cannot: BERT normalises after the residual, so their output is not only
//! the next linear's input but also the residual, and the next layer norm is not invariant to a scale a channel. Between
//! `ffn_up` and `ffn_down` stands GELU.

use attar_bundle::LinearName;
use attar_rounding::{Range, int8};
use serde::Serialize;

use crate::calibrate::{Calibration, output_errors};
use crate::error::Result;
use crate::network::Matrix;
use crate::student::Student;
use crate::weights::FloatLinear;

/// Strengths that are tried, SmoothQuant's alpha: 0 levels the weights, 1 the activations.
const STRENGTHS: [f32; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// No channel is scaled by more than this either way: a channel that calibration text hardly uses must not explode on other text.
const MOST: f32 = 16.0;

/// What migration did to one linear.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Migration {
    /// The linear whose input was scaled.
    pub linear: String,
    /// The strength that was best, `None` where leaving it alone was.
    pub strength: Option<f32>,
    /// Root mean square error of the linear's int8 outputs before.
    #[serde(serialize_with = "crate::pack::six_digits")]
    pub error_before: f64,
    /// The same after.
    #[serde(serialize_with = "crate::pack::six_digits")]
    pub error_after: f64,
}

/// Chooses each layer's scales by the error of `attention_output`'s int8 outputs on calibration rows, and tells the student.
/// The rows of `calibration` change with it.
pub(crate) fn migrate(student: &mut Student, calibration: &mut Calibration) -> Result<Vec<Migration>> {
    let mut report = Vec::new();
    for i in 0..student.architecture.layers {
        let name = LinearName::AttentionOutput(i);
        let linear = student.linear(name)?;
        let inputs = calibration.inputs(student, name).to_vec();
        let exact = Matrix::float(&linear).apply(&inputs, false)?;
        let count = exact.len().max(1) as f64;
        let error = |linear: &FloatLinear, inputs: &[f32]| -> Result<f64> {
            let scales = int8::quantise_rows(&linear.weight, linear.inputs, Range::MinMax).scales;
            Ok((output_errors(linear, inputs, &exact, &scales)?.iter().sum::<f64>() / count).sqrt())
        };
        let before = error(&linear, &inputs)?;
        let mut best: (f64, Option<(f32, Vec<f32>)>) = (before, None);
        for strength in STRENGTHS {
            let scales = scales(&linear, &inputs, strength);
            let error = error(&scaled(&linear, &scales), &divided(&inputs, &scales))?;
            if error < best.0 {
                best = (error, Some((strength, scales)));
            }
        }
        let (after, chosen) = best;
        report.push(Migration {
            linear: name.prefix(),
            strength: chosen.as_ref().map(|(strength, _)| *strength),
            error_before: before,
            error_after: after,
        });
        if let Some((_, scales)) = chosen {
            calibration.samples[4 * i + 1] = divided(&inputs, &scales);
            student.migrated[i] = Some(scales);
        }
    }
    Ok(report)
}

/// `s_j = max|x_j|^a / max|w_j|^(1 - a)`, divided by its geometric mean, which changes no rounding.
fn scales(linear: &FloatLinear, inputs: &[f32], strength: f32) -> Vec<f32> {
    let largest = |rows: &[f32]| {
        let mut most = vec![0f32; linear.inputs];
        for row in rows.chunks_exact(linear.inputs) {
            most.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(x.abs()));
        }
        most
    };
    let (x, w) = (largest(inputs), largest(&linear.weight));
    let logs = x.iter().zip(&w).map(|(x, w)| {
        let log = strength * x.max(1e-5).ln() - (1.0 - strength) * w.max(1e-5).ln();
        if *x > 0.0 && *w > 0.0 { log } else { f32::NAN }
    });
    let logs: Vec<f32> = logs.collect();
    let known: Vec<f32> = logs.iter().copied().filter(|log| log.is_finite()).collect();
    let mean = known.iter().sum::<f32>() / known.len().max(1) as f32;
    let bounded = |log: f32| if log.is_finite() { (log - mean).exp().clamp(1.0 / MOST, MOST) } else { 1.0 };
    logs.into_iter().map(bounded).collect()
}

fn scaled(linear: &FloatLinear, scales: &[f32]) -> FloatLinear {
    let weight = linear.weight.iter().zip(scales.iter().cycle()).map(|(w, s)| w * s).collect();
    FloatLinear { weight, bias: linear.bias.clone(), ..*linear }
}

fn divided(rows: &[f32], scales: &[f32]) -> Vec<f32> {
    rows.iter().zip(scales.iter().cycle()).map(|(x, s)| x / s).collect()
}
