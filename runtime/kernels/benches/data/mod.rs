//! Random packed weights, for the benchmarks and the example that times whole encoders.
#![allow(clippy::unwrap_used)]

use attar_kernels::{EncoderLayer, Linear, LinearF16, LinearF32, LinearI8, Norm, padded_inputs_i8, padded_outputs};
use half::f16;

/// A linear congruential generator (Knuth's MMIX constants).
pub struct Random(pub u64);

impl Random {
    /// In -1..1.
    pub fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn vector(&mut self, length: usize, scale: f32) -> Vec<f32> {
        (0..length).map(|_| self.unit() * scale).collect()
    }
}

/// Packed weights of one linear layer; both its sizes are multiples of the padding.
pub struct Weights {
    outputs: usize,
    inputs: usize,
    i8: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    f16: Vec<f16>,
    f32: Vec<f32>,
    bias: Vec<f32>,
}

impl Weights {
    pub fn new(random: &mut Random, outputs: usize, inputs: usize) -> Self {
        assert!(padded_outputs(outputs) == outputs && padded_inputs_i8(inputs) == inputs);
        let i8: Vec<i8> = (0..outputs * inputs).map(|_| (random.unit() * 127.0) as i8).collect();
        let mut sums = vec![0; outputs];
        for (i, &w) in i8.iter().enumerate() {
            let (panel, lane) = (i / (16 * inputs), i / 4 % 16);
            sums[panel * 16 + lane] += 128 * i32::from(w);
        }
        let range = 1.7 / (inputs as f32).sqrt();
        let f32 = random.vector(outputs * inputs, range);
        Self {
            outputs,
            inputs,
            i8,
            scales: vec![range / 127.0; outputs],
            sums,
            f16: f32.iter().map(|&x| f16::from_f32(x)).collect(),
            f32,
            bias: random.vector(outputs, 0.1),
        }
    }

    /// `int8`, `f16` or `f32`.
    pub fn view(&self, kind: &str) -> Linear<'_> {
        let Self { outputs, inputs, .. } = *self;
        match kind {
            "int8" => LinearI8::new(&self.i8, &self.scales, &self.sums, &self.bias, outputs, inputs).unwrap().into(),
            "f16" => LinearF16::new(&self.f16, &self.bias, outputs, inputs).unwrap().into(),
            _ => LinearF32::new(&self.f32, &self.bias, outputs, inputs).unwrap().into(),
        }
    }
}

/// The linear layers of an encoder layer, and its norms.
pub struct Layer {
    linears: [Weights; 4],
    ones: Vec<f32>,
    zeros: Vec<f32>,
    heads: usize,
}

impl Layer {
    pub fn new(random: &mut Random, hidden: usize, heads: usize, ffn: usize) -> Self {
        let linears = [(3 * hidden, hidden), (hidden, hidden), (ffn, hidden), (hidden, ffn)]
            .map(|(outputs, inputs)| Weights::new(random, outputs, inputs));
        Self { linears, ones: vec![1.0; hidden], zeros: vec![0.0; hidden], heads }
    }

    /// `int8`, `f16` or `f32`.
    pub fn view(&self, kind: &str) -> EncoderLayer<'_> {
        let [qkv, output, up, down] = [0, 1, 2, 3].map(|i| self.linears[i].view(kind));
        let norm = Norm::new(&self.ones, &self.zeros).unwrap();
        EncoderLayer::new(qkv, output, norm, up, down, norm, self.heads, 1e-12).unwrap()
    }
}
