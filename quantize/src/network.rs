//! The student in memory, layer by layer, on the runtime's kernels: what calibration looks into and sensitivity changes one
//! linear of.

use attar_bundle::{LinearName, NormName, packing};
use attar_kernels::{EncoderLayer, Kernel, Linear, LinearF32, LinearI8, Norm, Scratch};
use attar_rounding::int8::Int8Rows;

use crate::error::{Error, ErrorKind, Result};
use crate::student::Student;
use crate::weights::FloatLinear;

/// An error of the kernels: a shape that is wrong here is a bug.
pub(crate) fn kernel(error: attar_kernels::Error) -> Error {
    Error::new(ErrorKind::Internal, error.to_string())
}

enum Stored {
    F32(Vec<f32>),
    Int8 { weight: Vec<i8>, scales: Vec<f32>, sums: Vec<i32> },
}

/// A packed linear.
pub(crate) struct Matrix {
    stored: Stored,
    bias: Vec<f32>,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

impl Matrix {
    pub(crate) fn float(linear: &FloatLinear) -> Matrix {
        let (n, k) = (linear.outputs, linear.inputs);
        Matrix::of(Stored::F32(packing::pack_float(&linear.weight, n, k)), &linear.bias, n, k)
    }

    pub(crate) fn int8(rows: &Int8Rows, bias: &[f32], outputs: usize, inputs: usize) -> Matrix {
        let mut scales = rows.scales.clone();
        scales.resize(packing::padded_outputs(outputs), 0.0);
        let stored = Stored::Int8 {
            weight: packing::pack_i8(&rows.values, outputs, inputs),
            scales,
            sums: packing::channel_sums(&rows.values, outputs, inputs),
        };
        Matrix::of(stored, bias, outputs, inputs)
    }

    fn of(stored: Stored, bias: &[f32], outputs: usize, inputs: usize) -> Matrix {
        let mut bias = bias.to_vec();
        bias.resize(packing::padded_outputs(outputs), 0.0);
        Matrix { stored, bias, outputs, inputs }
    }

    fn view(&self) -> Result<Linear<'_>> {
        let (n, k) = (self.outputs, self.inputs);
        let view = match &self.stored {
            Stored::F32(weight) => LinearF32::new(weight, &self.bias, n, k).map(Linear::F32),
            Stored::Int8 { weight, scales, sums } => {
                LinearI8::new(weight, scales, sums, &self.bias, n, k).map(Linear::I8)
            }
        };
        view.map_err(kernel)
    }

    /// `x W^T + b` of rows.
    pub(crate) fn apply(&self, input: &[f32], tanh: bool) -> Result<Vec<f32>> {
        let mut out = vec![0.0; input.len() / self.inputs * self.outputs];
        let (best, view, mut scratch) = (Kernel::best(), self.view()?, Scratch::new());
        let run = if tanh { Kernel::linear_tanh } else { Kernel::linear };
        run(&best, &view, input, &mut out, &mut scratch).map_err(kernel)?;
        Ok(out)
    }
}

/// One layer's linears (in [`LinearName::all`]'s order) and norms.
struct Layer {
    linears: [Matrix; 4],
    norms: [[Vec<f32>; 2]; 2],
}

/// Encoder, pooler and heads in f32; the embeddings stay in the student.
pub(crate) struct Network<'s> {
    student: &'s Student,
    layers: Vec<Layer>,
    pooler: Matrix,
}

/// Sequences one after the other, without padding.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) ids: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) types: Vec<u8>,
    /// `[sequences + 1]`.
    pub(crate) starts: Vec<u32>,
}

/// A linear in place of the network's own.
#[derive(Clone, Copy)]
pub(crate) struct Instead<'m>(pub(crate) LinearName, pub(crate) &'m Matrix);

impl<'s> Network<'s> {
    pub(crate) fn new(student: &'s Student) -> Result<Network<'s>> {
        let float = |name| Ok::<_, Error>(Matrix::float(&student.linear(name)?));
        let layer = |i| {
            Ok(Layer {
                linears: [
                    float(LinearName::Qkv(i))?,
                    float(LinearName::AttentionOutput(i))?,
                    float(LinearName::FfnUp(i))?,
                    float(LinearName::FfnDown(i))?,
                ],
                norms: [student.norm(NormName::Attention(i))?, student.norm(NormName::Output(i))?],
            })
        };
        let layers = (0..student.architecture.layers).map(layer).collect::<Result<_>>()?;
        Ok(Network { student, layers, pooler: float(LinearName::Pooler)? })
    }

    fn norm(&self, i: usize, which: usize) -> Result<Norm<'_>> {
        let [weight, bias] = &self.layers[i].norms[which];
        Norm::new(weight, bias).map_err(kernel)
    }

    /// One layer over all tokens, in place.
    pub(crate) fn layer(&self, i: usize, hidden: &mut [f32], starts: &[u32], instead: &[Instead<'_>]) -> Result<()> {
        let own = &self.layers[i].linears;
        let a = &self.student.architecture;
        let layer = EncoderLayer::new(
            pick(LinearName::Qkv(i), &own[0], instead)?,
            pick(LinearName::AttentionOutput(i), &own[1], instead)?,
            self.norm(i, 0)?,
            pick(LinearName::FfnUp(i), &own[2], instead)?,
            pick(LinearName::FfnDown(i), &own[3], instead)?,
            self.norm(i, 1)?,
            a.heads,
            a.layer_norm_eps,
        );
        Kernel::best().encoder_layer(&layer.map_err(kernel)?, hidden, starts, &mut Scratch::new()).map_err(kernel)
    }

    /// All heads' logits (not divided by their temperatures), head after head, from the last layer's output.
    pub(crate) fn logits(&self, hidden: &[f32], starts: &[u32], instead: &[Instead<'_>]) -> Result<Vec<f32>> {
        let pooler = instead.iter().find(|other| other.0 == LinearName::Pooler).map_or(&self.pooler, |other| other.1);
        let pooled = pooler.apply(&first_rows(hidden, starts, self.student.architecture.hidden), true)?;
        let mut logits = Vec::new();
        for copies in &self.student.head_layers {
            let outputs = copies[0].last().map_or(0, |layer| layer.bias.len());
            for row in pooled.chunks_exact(self.student.architecture.hidden) {
                let mut mean = vec![0f64; outputs];
                for copy in copies {
                    let mut x: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
                    for (l, layer) in copy.iter().enumerate() {
                        let product = |w: &[f32]| w.iter().zip(&x).map(|(&w, x)| f64::from(w) * x).sum::<f64>();
                        let rows = layer.weight.chunks_exact(x.len()).zip(&layer.bias);
                        let y = rows.map(|(w, &b)| product(w) + f64::from(b));
                        let y: Vec<f64> = if l + 1 < copy.len() { y.map(f64::tanh).collect() } else { y.collect() };
                        x = y;
                    }
                    mean.iter_mut().zip(x).for_each(|(mean, x)| *mean += x / copies.len() as f64);
                }
                logits.extend(mean.into_iter().map(|x| x as f32));
            }
        }
        Ok(logits)
    }

    /// The inputs of a layer's four linears for an input `[tokens, H]`: hidden, context, the first norm's output, and what
    /// GELU gives. The composite of what [`Network::layer`] does in one operator.
    pub(crate) fn inputs(&self, i: usize, hidden: &[f32], starts: &[u32]) -> Result<[Vec<f32>; 4]> {
        let (a, layer) = (&self.student.architecture, &self.layers[i]);
        let qkv = layer.linears[0].apply(hidden, false)?;
        let context = attention(&qkv, starts, a.hidden, a.heads);
        let mut middle = layer.linears[1].apply(&context, false)?;
        middle.iter_mut().zip(hidden).for_each(|(m, h)| *m += h);
        layer_norm(&mut middle, &layer.norms[0], a.layer_norm_eps);
        let mut up = layer.linears[2].apply(&middle, false)?;
        up.iter_mut().for_each(|x| *x = gelu(*x));
        Ok([hidden.to_vec(), context, middle, up])
    }
}

/// The linear that stands in for `name`, or the network's own.
fn pick<'m>(name: LinearName, own: &'m Matrix, instead: &[Instead<'m>]) -> Result<Linear<'m>> {
    instead.iter().find(|other| other.0 == name).map_or(own, |other| other.1).view()
}

/// The first row of each sequence.
pub(crate) fn first_rows(rows: &[f32], starts: &[u32], width: usize) -> Vec<f32> {
    let firsts = starts[..starts.len() - 1].iter().map(|&s| s as usize);
    firsts.flat_map(|s| rows[s * width..(s + 1) * width].iter().copied()).collect()
}

fn attention(qkv: &[f32], starts: &[u32], hidden: usize, heads: usize) -> Vec<f32> {
    let (size, stride) = (hidden / heads, 3 * hidden);
    let mut context = vec![0f32; qkv.len() / 3];
    let factor = 1.0 / (size as f32).sqrt();
    for bounds in starts.windows(2) {
        let (start, end) = (bounds[0] as usize, bounds[1] as usize);
        for head in 0..heads {
            let part = |token: usize, which: usize| {
                let at = token * stride + which * hidden + head * size;
                &qkv[at..at + size]
            };
            for q in start..end {
                let query = part(q, 0);
                let dot = |k: usize| query.iter().zip(part(k, 1)).map(|(a, b)| a * b).sum::<f32>() * factor;
                let mut scores: Vec<f32> = (start..end).map(dot).collect();
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                scores.iter_mut().for_each(|s| *s = (*s - most).exp());
                let sum: f32 = scores.iter().sum();
                let out = &mut context[q * hidden + head * size..q * hidden + (head + 1) * size];
                for (k, score) in (start..end).zip(&scores) {
                    out.iter_mut().zip(part(k, 2)).for_each(|(out, v)| *out += score / sum * v);
                }
            }
        }
    }
    context
}

fn layer_norm(rows: &mut [f32], [weight, bias]: &[Vec<f32>; 2], eps: f32) {
    for row in rows.chunks_exact_mut(weight.len()) {
        let count = row.len() as f32;
        let mean = row.iter().sum::<f32>() / count;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count;
        let factor = 1.0 / (variance + eps).sqrt();
        row.iter_mut().zip(weight).zip(bias).for_each(|((x, w), b)| *x = (*x - mean) * factor * w + b);
    }
}

/// `x / 2 (1 + erf(x / sqrt 2))`, erf by Abramowitz and Stegun 7.1.26: within 1.5e-7.
fn gelu(x: f32) -> f32 {
    let z = x.abs() / std::f32::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let polynomial = series.iter().fold(0f32, |sum, c| (sum + c) * t);
    let erf = 1.0 - polynomial * (-z * z).exp();
    x / 2.0 * (1.0 + erf.copysign(x))
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
