//! Times MiniLM-L6's encoder (6 layers, 384 hidden, 12 heads, 1536 intermediate) on every kernel of this CPU, one thread or more.
//!
//! `cargo run --release -p attar-kernels --example layer_speed -- [--threads N] [int8|f16|f32] [KERNEL...]`
//!
//! Weights are random; before timing, each kernel's result must equal that of `scalar` bit for bit. Prints the median and the
//! smallest of the runs in milliseconds, and the multiply-accumulates a second of the linears and the attention.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use attar_kernels::{
    EncoderLayer, Kernel, Linear, LinearF16, LinearF32, LinearI8, Norm, Scratch, padded_inputs_i8, padded_outputs,
};
use half::f16;

const HIDDEN: usize = 384;
const HEADS: usize = 12;
const FFN: usize = 1536;
const LAYERS: usize = 6;

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn vector(&mut self, length: usize, scale: f32) -> Vec<f32> {
        (0..length).map(|_| self.unit() * scale).collect()
    }
}

/// Packed weights of one linear layer; both its sizes are multiples of the padding.
struct Weights {
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
    fn new(random: &mut Random, outputs: usize, inputs: usize) -> Self {
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

    fn view(&self, kind: &str) -> Linear<'_> {
        let Self { outputs, inputs, .. } = *self;
        match kind {
            "int8" => LinearI8::new(&self.i8, &self.scales, &self.sums, &self.bias, outputs, inputs).unwrap().into(),
            "f16" => LinearF16::new(&self.f16, &self.bias, outputs, inputs).unwrap().into(),
            _ => LinearF32::new(&self.f32, &self.bias, outputs, inputs).unwrap().into(),
        }
    }
}

fn encode(kernel: Kernel, layers: &[EncoderLayer<'_>], hidden: &mut [f32], starts: &[u32], scratch: &mut Scratch) {
    for layer in layers {
        kernel.encoder_layer(layer, hidden, starts, scratch).unwrap();
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let threads = match arguments.next_if(|a| a == "--threads") {
        Some(_) => arguments.next().and_then(|n| n.parse().ok()).expect("--threads NUMBER"),
        None => 1,
    };
    let kind = arguments.next_if(|a| ["int8", "f16", "f32"].contains(&a.as_str())).unwrap_or("int8".to_owned());
    let names: Vec<String> = arguments.collect();
    let mut kernels = Kernel::available();
    kernels.retain(|k| names.is_empty() || names.iter().any(|n| n == k.name()));
    let mut random = Random(1);
    let weights: Vec<[Weights; 4]> = (0..LAYERS)
        .map(|_| {
            [(3 * HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (FFN, HIDDEN), (HIDDEN, FFN)]
                .map(|(outputs, inputs)| Weights::new(&mut random, outputs, inputs))
        })
        .collect();
    let (ones, zeros) = (vec![1.0; HIDDEN], vec![0.0; HIDDEN]);
    let norm = Norm::new(&ones, &zeros).unwrap();
    let layers: Vec<EncoderLayer<'_>> = weights
        .iter()
        .map(|w| {
            let [qkv, output, up, down] = [0, 1, 2, 3].map(|i| w[i].view(&kind));
            EncoderLayer::new(qkv, output, norm, up, down, norm, HEADS, 1e-12).unwrap()
        })
        .collect();
    let mut scratch = Scratch::with_threads(threads);
    let scalar = Kernel::by_name("scalar").unwrap();
    println!(
        "{kind}: {LAYERS} x {HIDDEN}, {HEADS} heads, {FFN}; {threads} thread(s); median (smallest) ms, GMAC/s of the smallest"
    );
    for (batch, tokens) in [(1, 16), (1, 32), (1, 64), (1, 128), (1, 256), (1, 512), (16, 128)] {
        let starts: Vec<u32> = (0..=batch).map(|i| (i * tokens) as u32).collect();
        let input = random.vector(batch * tokens * HIDDEN, 1.0);
        // A sequence's result does not depend on its batch, so the first one stands for all in the check.
        let mut expected = input[..tokens * HIDDEN].to_vec();
        encode(scalar, &layers, &mut expected, &starts[..2], &mut scratch);
        print!("{batch:>3} x {tokens:<4}");
        for &kernel in &kernels {
            let mut hidden = input.clone();
            encode(kernel, &layers, &mut hidden, &starts, &mut scratch);
            assert!(hidden[..tokens * HIDDEN] == expected, "{} differs from scalar", kernel.name());
            let mut times = Vec::new();
            let all = Instant::now();
            while times.len() < 3 || (all.elapsed().as_secs_f64() < 0.5 && times.len() < 200) {
                hidden.copy_from_slice(&input);
                let start = Instant::now();
                encode(kernel, &layers, &mut hidden, &starts, &mut scratch);
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            let linears = LAYERS * batch * tokens * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * FFN);
            let attention = LAYERS * batch * 2 * tokens * tokens * HIDDEN;
            let rate = (linears + attention) as f64 / times[0] / 1e6;
            let (name, median) = (kernel.name(), times[times.len() / 2]);
            print!("  {name} {median:.2} ({:.2}, {rate:.0})", times[0]);
        }
        println!();
    }
}
