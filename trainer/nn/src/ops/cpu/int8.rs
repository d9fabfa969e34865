//! Linears in int8, without gradients: what a teacher answers in.
//!
//! Weights are packed anew at each call: a batch of a thousand tokens multiplies each of them a thousand times.

use attar_kernels::{Kernel, LinearI8, Scratch, padded_inputs_i8, padded_outputs};
use attar_rounding::{Range, int8};
use rayon::prelude::*;

use super::Buffer;

/// Output channels, and neighbouring inputs of one, that lie side by side in the kernels' layout `[np/16, kp/4, 16, 4]`.
const PANEL: usize = 16;
const GROUP: usize = 4;

/// The weights of a linear, rounded and packed for the runtime's kernels.
pub(crate) struct Packed {
    weight: Vec<i8>,
    scales: Vec<f32>,
    /// 128 times the sum of each channel's weights.
    sums: Vec<i32>,
    /// Zeros: the caller adds its bias.
    bias: Vec<f32>,
    outputs: usize,
    inputs: usize,
}

impl Packed {
    /// Rounds `[outputs, inputs]` by the largest weight of each row.
    pub(crate) fn new(weight: &[f32], inputs: usize) -> Self {
        let outputs = weight.len() / inputs;
        let (np, kp) = (padded_outputs(outputs), padded_inputs_i8(inputs));
        let mut packed = vec![0i8; np * kp];
        let (mut scales, mut sums) = (vec![0.0; np], vec![0; np]);
        packed
            .par_chunks_mut(PANEL * kp)
            .zip(scales.par_chunks_mut(PANEL).zip(sums.par_chunks_mut(PANEL)))
            .zip(weight.par_chunks(PANEL * inputs))
            .for_each(|((panel, (scales, sums)), weight)| {
                let mut row = Vec::with_capacity(inputs);
                for (channel, weight) in weight.chunks_exact(inputs).enumerate() {
                    row.clear();
                    scales[channel] = int8::scale(weight, Range::MinMax);
                    int8::quantise_row(weight, scales[channel], &mut row);
                    sums[channel] = 128 * row.iter().map(|&q| i32::from(q)).sum::<i32>();
                    for (group, values) in row.chunks(GROUP).enumerate() {
                        let at = (group * PANEL + channel) * GROUP;
                        panel[at..at + values.len()].copy_from_slice(values);
                    }
                }
            });
        Self { weight: packed, scales, sums, bias: vec![0.0; np], outputs, inputs }
    }

    /// `x Wᵀ` of rows, rounded by the largest element of each, into rows `stride` apart.
    pub(crate) fn multiply(&self, x: &[f32], y: &mut [f32], stride: usize) {
        let layer = LinearI8::new(&self.weight, &self.scales, &self.sums, &self.bias, self.outputs, self.inputs);
        let layer = layer.expect("packed to these lengths, of finite scales").into();
        let mut scratch = Scratch::new();
        let mut run = |out: &mut [f32]| {
            Kernel::best().linear(&layer, x, out, &mut scratch).expect("as many rows of results as of inputs");
        };
        let rows = x.len() / self.inputs;
        if stride == self.outputs {
            return run(&mut y[..rows * stride]);
        }
        let mut own = Buffer::stale(rows * self.outputs);
        run(&mut own);
        for (y, own) in y.chunks_mut(stride).zip(own.chunks_exact(self.outputs)) {
            y[..self.outputs].copy_from_slice(own);
        }
    }
}
