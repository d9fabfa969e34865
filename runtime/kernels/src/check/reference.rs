//! An encoder layer in f64, straight from the equations: what the scalar definition itself is held against.

use super::{EPS, OwnedLayer, Packed};

fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    // Maclaurin series; at |x| = 5 its largest term is 1e10, so 1e-6 are lost there, where 1 - erf is 2e-12.
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    (sum * std::f64::consts::FRAC_2_SQRT_PI).clamp(-1.0, 1.0)
}

pub(crate) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

/// `x W^T + b` on f64 rows.
pub(crate) fn linear(packed: &Packed, x: &[f64]) -> Vec<f64> {
    let rows = x.chunks(packed.inputs);
    rows.flat_map(|row| {
        packed.dense.chunks(packed.inputs).zip(&packed.bias).map(|(weights, &bias)| {
            f64::from(bias) + row.iter().zip(weights).map(|(&a, &w)| a * f64::from(w)).sum::<f64>()
        })
    })
    .collect()
}

fn norm(x: &mut [f64], weight: &[f32], bias: &[f32]) {
    for row in x.chunks_mut(weight.len()) {
        let n = row.len() as f64;
        let mean = row.iter().sum::<f64>() / n;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        for ((x, &w), &b) in row.iter_mut().zip(weight).zip(bias) {
            *x = (*x - mean) / (variance + f64::from(EPS)).sqrt() * f64::from(w) + f64::from(b);
        }
    }
}

/// One sequence through one layer.
pub(crate) fn layer(layer: &OwnedLayer, x: &[f64]) -> Vec<f64> {
    let hidden = layer.attention_output.outputs;
    let (tokens, size) = (x.len() / hidden, hidden / layer.heads);
    let qkv = linear(&layer.qkv, x);
    let mut context = vec![0.0; x.len()];
    for head in 0..layer.heads {
        let at = |token: usize, part: usize, i: usize| qkv[token * 3 * hidden + part * hidden + head * size + i];
        for q in 0..tokens {
            let score = |k: usize| (0..size).map(|i| at(q, 0, i) * at(k, 1, i)).sum::<f64>() / (size as f64).sqrt();
            let scores: Vec<f64> = (0..tokens).map(score).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for i in 0..size {
                let value = (0..tokens).map(|k| weights[k] * at(k, 2, i)).sum::<f64>();
                context[q * hidden + head * size + i] = value / sum;
            }
        }
    }
    let [a, b, c, d] = &layer.norms;
    let add = |x: &[f64], y: Vec<f64>| x.iter().zip(y).map(|(x, y)| x + y).collect::<Vec<f64>>();
    let mut x = add(x, linear(&layer.attention_output, &context));
    norm(&mut x, a, b);
    let up: Vec<f64> = linear(&layer.ffn_up, &x).into_iter().map(gelu).collect();
    let mut x = add(&x, linear(&layer.ffn_down, &up));
    norm(&mut x, c, d);
    x
}
