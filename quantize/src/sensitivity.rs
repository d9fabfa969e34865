//! Which linear's rounding moves the logits: one at a time in int8, all others in f32.

use attar_bundle::{LinearName, Weights};
use attar_rounding::int8;
use serde::Serialize;

use crate::calibrate::{Calibration, embed};
use crate::error::{Result, fail};
use crate::network::{Instead, Matrix, Network};
use crate::pack::Recipe;
use crate::student::Student;

/// How far the logits move when one part alone is rounded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sensitivity {
    /// A linear's name (`layer.0.qkv`), or `embeddings`.
    pub part: String,
    /// Root mean square of the logits' differences, all heads, on the calibration pairs.
    #[serde(serialize_with = "crate::pack::six_digits")]
    pub logit_rmse: f64,
}

/// Measures every linear and the embeddings, most sensitive first.
pub(crate) fn measure(
    student: &Student,
    network: &Network<'_>,
    calibration: &Calibration,
    recipe: &Recipe,
) -> Result<Vec<Sensitivity>> {
    let layers = student.architecture.layers;
    let starts = &calibration.batch.starts;
    // From layer `first` on, with one linear replaced; the layers before it give what they gave.
    let logits = |first: usize, mut hidden: Vec<f32>, instead: &[Instead<'_>]| -> Result<Vec<f32>> {
        for i in first..layers {
            network.layer(i, &mut hidden, starts, instead)?;
        }
        network.logits(&hidden, starts, instead)
    };
    let embedded = embed(student, &calibration.batch, &Recipe { weights: Weights::Int8, ..recipe.clone() })?;
    let mut found = vec![Sensitivity {
        part: "embeddings".into(),
        logit_rmse: rmse(&logits(0, embedded, &[])?, &calibration.logits),
    }];
    for name in LinearName::all(&student.architecture) {
        let linear = student.linear(name)?;
        let rows = match recipe.scales.get(&name.prefix()) {
            Some(scales) => int8::quantise_rows_by(&linear.weight, linear.inputs, scales.clone()),
            None => int8::quantise_rows(&linear.weight, linear.inputs, recipe.range),
        };
        let matrix = Matrix::int8(&rows, &linear.bias, linear.outputs, linear.inputs);
        let first = match name {
            LinearName::Qkv(i) | LinearName::AttentionOutput(i) | LinearName::FfnUp(i) | LinearName::FfnDown(i) => i,
            LinearName::Pooler => layers,
        };
        let moved = logits(first, calibration.hidden[first].clone(), &[Instead(name, &matrix)])?;
        found.push(Sensitivity { part: name.prefix(), logit_rmse: rmse(&moved, &calibration.logits) });
    }
    found.sort_by(|a, b| b.logit_rmse.total_cmp(&a.logit_rmse));
    Ok(found)
}

fn rmse(a: &[f32], b: &[f32]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    (squares / a.len().max(1) as f64).sqrt()
}

/// The linears of these names, in file order.
///
/// # Errors
/// [`crate::ErrorKind::Usage`] for a name that no linear has.
pub(crate) fn named(student: &Student, names: &[String]) -> Result<Vec<LinearName>> {
    let a = &student.architecture;
    if let Some(unknown) = names.iter().find(|name| LinearName::parse(name, a).is_none()) {
        let known: Vec<String> = LinearName::all(a).map(LinearName::prefix).collect();
        fail!(Usage, "no linear is called {unknown:?}; there are {}", known.join(", "));
    }
    Ok(LinearName::all(a).filter(|name| names.contains(&name.prefix())).collect())
}

/// The `count` most sensitive linears, in file order.
pub(crate) fn worst(student: &Student, measured: &[Sensitivity], count: usize) -> Vec<LinearName> {
    let linears = measured.iter().filter_map(|s| LinearName::parse(&s.part, &student.architecture)).take(count);
    let chosen: Vec<LinearName> = linears.collect();
    LinearName::all(&student.architecture).filter(|name| chosen.contains(name)).collect()
}
