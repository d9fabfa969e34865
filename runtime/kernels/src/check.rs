//! The check that every kernel must pass, and the tests that run it over all kernels of this CPU and over wrong ones.
#![allow(clippy::unwrap_used)]

pub(crate) mod chained;
#[cfg(target_os = "linux")]
pub(crate) mod guarded;
pub(crate) mod reference;
pub(crate) mod saturating;
// proptest does not build for WebAssembly.
#[cfg(not(target_family = "wasm"))]
mod properties;
mod tests;

use half::f16;

use crate::{
    Dense, Embeddings, EncoderLayer, INT4_GROUP, Kernel, Linear, LinearF16, LinearF32, LinearI8, Norm, Scratch, Table,
    padded_inputs_i8, padded_outputs,
};

/// A generator of the tests' numbers (xorshift64*, Vigna 2016): the same on every platform.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// In -1..1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn vector(&mut self, length: usize, scale: f32) -> Vec<f32> {
        (0..length).map(|_| self.unit() * scale).collect()
    }
}

/// How a test's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weights {
    I8,
    F16,
    F32,
}

/// A packed linear layer that owns its memory.
pub(crate) struct Packed {
    kind: Weights,
    outputs: usize,
    inputs: usize,
    i8: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    f16: Vec<f16>,
    f32: Vec<f32>,
    bias: Vec<f32>,
    /// The weights that the packed ones stand for, `[outputs, inputs]`.
    pub(crate) dense: Vec<f32>,
}

impl Packed {
    pub(crate) fn int8(values: &[i8], scales: &[f32], bias: &[f32], outputs: usize, inputs: usize) -> Self {
        let (np, kp) = (padded_outputs(outputs), padded_inputs_i8(inputs));
        let mut packed = vec![0; np * kp];
        let mut sums = vec![0; np];
        for n in 0..outputs {
            for k in 0..inputs {
                packed[((n / 16 * (kp / 4) + k / 4) * 16 + n % 16) * 4 + k % 4] = values[n * inputs + k];
                sums[n] += 128 * i32::from(values[n * inputs + k]);
            }
        }
        let dense = values.iter().enumerate().map(|(i, &v)| f32::from(v) * scales[i / inputs]).collect();
        let pad = |x: &[f32]| x.iter().copied().chain(std::iter::repeat(0.0)).take(np).collect::<Vec<_>>();
        let (scales, bias) = (pad(scales), pad(bias));
        Self { kind: Weights::I8, outputs, inputs, i8: packed, scales, sums, f16: vec![], f32: vec![], bias, dense }
    }

    pub(crate) fn float(weights: &[f32], bias: &[f32], outputs: usize, inputs: usize, kind: Weights) -> Self {
        let np = padded_outputs(outputs);
        let mut packed = vec![0.0; np * inputs];
        for n in 0..outputs {
            for k in 0..inputs {
                packed[(n / 48 * inputs + k) * 48 + n % 48] = weights[n * inputs + k];
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(np, 0.0);
        let half: Vec<f16> = packed.iter().map(|&x| f16::from_f32(x)).collect();
        let dense = match kind {
            Weights::F16 => weights.iter().map(|&x| f16::from_f32(x).to_f32()).collect(),
            _ => weights.to_vec(),
        };
        Self { kind, outputs, inputs, i8: vec![], scales: vec![], sums: vec![], f16: half, f32: packed, bias, dense }
    }

    pub(crate) fn random(random: &mut Random, outputs: usize, inputs: usize, kind: Weights) -> Self {
        let bias = random.vector(outputs, 0.5);
        let range = 2.0 / (inputs as f32).sqrt();
        if kind == Weights::I8 {
            // Every second block of 32 inputs has small weights: sums of eight products of theirs may be kept in 16 bits.
            let most = |i: usize| if (i % inputs / 32).is_multiple_of(2) { 127.0 } else { 30.0 };
            let values: Vec<i8> = (0..outputs * inputs).map(|i| (random.unit() * most(i)) as i8).collect();
            let scales: Vec<f32> = (0..outputs).map(|_| range / 127.0 * (1.0 + 0.5 * random.unit())).collect();
            return Self::int8(&values, &scales, &bias, outputs, inputs);
        }
        let weights = random.vector(outputs * inputs, range);
        Self::float(&weights, &bias, outputs, inputs, kind)
    }

    pub(crate) fn view(&self) -> Linear<'_> {
        let Self { outputs, inputs, .. } = *self;
        match self.kind {
            Weights::I8 => {
                LinearI8::new(&self.i8, &self.scales, &self.sums, &self.bias, outputs, inputs).unwrap().into()
            }
            Weights::F16 => LinearF16::new(&self.f16, &self.bias, outputs, inputs).unwrap().into(),
            Weights::F32 => LinearF32::new(&self.f32, &self.bias, outputs, inputs).unwrap().into(),
        }
    }
}

/// An encoder layer that owns its memory.
pub(crate) struct OwnedLayer {
    pub(crate) qkv: Packed,
    pub(crate) attention_output: Packed,
    pub(crate) ffn_up: Packed,
    pub(crate) ffn_down: Packed,
    /// Attention norm's weight and bias, output norm's weight and bias.
    pub(crate) norms: [Vec<f32>; 4],
    pub(crate) heads: usize,
}

pub(crate) const EPS: f32 = 1e-12;

impl OwnedLayer {
    pub(crate) fn random(random: &mut Random, hidden: usize, heads: usize, ffn: usize, kind: Weights) -> Self {
        let mut norm = |around: f32| random.vector(hidden, 0.3).iter().map(|x| x + around).collect::<Vec<_>>();
        let norms = [norm(1.0), norm(0.0), norm(1.0), norm(0.0)];
        Self {
            qkv: Packed::random(random, 3 * hidden, hidden, kind),
            attention_output: Packed::random(random, hidden, hidden, kind),
            ffn_up: Packed::random(random, ffn, hidden, kind),
            ffn_down: Packed::random(random, hidden, ffn, kind),
            norms,
            heads,
        }
    }

    pub(crate) fn view(&self) -> EncoderLayer<'_> {
        let [a, b, c, d] = &self.norms;
        EncoderLayer::new(
            self.qkv.view(),
            self.attention_output.view(),
            Norm::new(a, b).unwrap(),
            self.ffn_up.view(),
            self.ffn_down.view(),
            Norm::new(c, d).unwrap(),
            self.heads,
            EPS,
        )
        .unwrap()
    }
}

/// Offsets of sequences of these lengths.
pub(crate) fn starts_of(lengths: &[usize]) -> Vec<u32> {
    let mut starts = vec![0];
    for &length in lengths {
        starts.push(starts[starts.len() - 1] + length as u32);
    }
    starts
}

/// The kernel's results are those of the definition: exact where they are integers, bit-equal where they are floats, and
/// a sequence's depend neither on its batch nor on the number of threads.
pub(crate) fn check(kernel: Kernel) -> Result<(), String> {
    check_integers(kernel)?;
    check_linears(kernel)?;
    check_layers(kernel)?;
    check_rows(kernel)
}

fn equal_bits(what: &str, got: &[f32], expected: &[f32]) -> Result<(), String> {
    assert_eq!(got.len(), expected.len());
    match got.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits()) {
        None => Ok(()),
        Some(i) => Err(format!("{what}: element {i} is {:e}, expected {:e}", got[i], expected[i])),
    }
}

/// Integer activations with one of magnitude 127 in each row are quantised to themselves at scale 1, and with channel scales
/// of 1 and no bias the output is the sum itself: exact in f32 below 2^24, which 1,024 products of 127 * 128 stay under.
fn check_integers(kernel: Kernel) -> Result<(), String> {
    /// Of a channel or row, and an input.
    type Pattern = (&'static str, fn(&mut Random, usize, usize) -> i8);
    const PATTERNS: [Pattern; 7] = [
        ("random", |r, _, _| (r.below(255) as i32 - 127) as i8),
        // Blocks of 32 inputs with small values, of which eight products fit 16 bits, beside blocks with large ones.
        ("blocks", |r, _, i| (r.unit() * [30.0, 127.0, 60.0, 90.0, 3.0][i / 32 % 5]) as i8),
        ("127", |_, _, _| 127),
        ("-127", |_, _, _| -127),
        ("alternating", |_, _, i| if i.is_multiple_of(2) { 127 } else { -127 }),
        ("sparse", |r, _, i| if i == 0 { -127 } else { i8::from(r.below(9) == 0) }),
        // No quantizer writes -128, but a file may hold it.
        ("-128", |_, _, _| -128),
    ];
    // Eight products sum to 32,760 and to 32,768, on either side of what 16 bits hold. And to 33,120, where the same rows with the panel before, or the
    // same panel with the rows before, have small ones.
    const CLOSE: [[Pattern; 2]; 3] = [
        [("65", |_, _, _| 65), ("63", |_, _, _| 63)],
        [("64", |_, _, _| 64), ("64", |_, _, _| 64)],
        [("3 and 46", |_, n, _| [3, 46][n / 16 % 2]), ("3 and 90", |_, n, _| [3, 90][n / 2 % 2])],
    ];
    const SHAPES: [(usize, usize); 8] =
        [(1, 1), (3, 5), (16, 4), (48, 64), (49, 65), (96, 128), (100, 300), (50, 1024)];
    let mut random = Random::new(1);
    let mut scratch = Scratch::new();
    for (outputs, inputs) in SHAPES {
        let all = PATTERNS.iter().flat_map(|&w| PATTERNS[..6].iter().map(move |&a| [w, a]));
        for [(weight_name, weight), (name, activation)] in all.chain(CLOSE) {
            let values: Vec<i8> = (0..outputs * inputs).map(|i| weight(&mut random, i / inputs, i % inputs)).collect();
            let ones = vec![1.0; outputs];
            let packed = Packed::int8(&values, &ones, &vec![0.0; outputs], outputs, inputs);
            for rows in [1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 16, 19] {
                let mut input: Vec<f32> =
                    (0..rows * inputs).map(|i| f32::from(activation(&mut random, i / inputs, i % inputs))).collect();
                for row in input.chunks_mut(inputs) {
                    row[inputs / 2] = if row[inputs / 2] < 0.0 { -127.0 } else { 127.0 };
                }
                input[(rows - 1) * inputs..].fill(if rows % 2 == 0 { 0.0 } else { 127.0 });
                let mut expected = Vec::with_capacity(rows * outputs);
                for row in input.chunks(inputs) {
                    for weights in values.chunks(inputs) {
                        let sum: i64 = row.iter().zip(weights).map(|(&a, &w)| a as i64 * i64::from(w)).sum();
                        expected.push(sum as f32);
                    }
                }
                let mut got = vec![f32::NAN; rows * outputs];
                kernel.linear(&packed.view(), &input, &mut got, &mut scratch).map_err(|e| e.to_string())?;
                if let Some(i) = got.iter().zip(&expected).position(|(a, b)| a != b) {
                    return Err(format!(
                        "int8 {outputs} x {inputs}, weights {weight_name}, activations {name}, {rows} rows: \
                         sum {i} is {}, expected {}",
                        got[i], expected[i]
                    ));
                }
            }
        }
    }
    Ok(())
}

fn definition() -> Kernel {
    Kernel::by_name("scalar").unwrap()
}

fn check_linears(kernel: Kernel) -> Result<(), String> {
    let mut random = Random::new(2);
    let mut scratch = Scratch::new();
    for kind in [Weights::I8, Weights::F16, Weights::F32] {
        for (outputs, inputs) in [(1, 1), (3, 17), (48, 64), (49, 33), (97, 70)] {
            let packed = Packed::random(&mut random, outputs, inputs, kind);
            for rows in [1, 2, 4, 5, 6, 7, 8, 11, 65] {
                // Magnitudes from 1e-6 to 1e6, and a row of zeros.
                let mut input = random.vector(rows * inputs, 1.0);
                for (i, row) in input.chunks_mut(inputs).enumerate() {
                    let factor = [1.0, 1e-6, 1e6, 0.0, 30.0][i % 5];
                    row.iter_mut().for_each(|x| *x *= factor);
                }
                let what = format!("{kind:?} {outputs} x {inputs}, {rows} rows");
                let (mut got, mut expected) = (vec![f32::NAN; rows * outputs], vec![f32::NAN; rows * outputs]);
                kernel.linear(&packed.view(), &input, &mut got, &mut scratch).unwrap();
                definition().linear(&packed.view(), &input, &mut expected, &mut scratch).unwrap();
                equal_bits(&what, &got, &expected)?;
                kernel.linear_tanh(&packed.view(), &input, &mut got, &mut scratch).unwrap();
                definition().linear_tanh(&packed.view(), &input, &mut expected, &mut scratch).unwrap();
                equal_bits(&format!("tanh of {what}"), &got, &expected)?;
            }
        }
    }
    Ok(())
}

/// Hidden, heads, intermediate: aligned, MiniLM's head size, sizes that divide nothing, and the smallest.
pub(crate) const LAYERS: [(usize, usize, usize); 5] =
    [(64, 2, 128), (96, 3, 192), (52, 2, 100), (60, 5, 33), (1, 1, 1)];
const BATCHES: [&[usize]; 6] = [&[1], &[7], &[1, 1, 1], &[33, 2, 16, 17], &[140], &[60, 60, 60, 3]];

fn check_layers(kernel: Kernel) -> Result<(), String> {
    let mut random = Random::new(3);
    let mut scratch = Scratch::new();
    let mut teams = [2, 3].map(Scratch::with_threads);
    for kind in [Weights::I8, Weights::F16, Weights::F32] {
        for (hidden, heads, ffn) in LAYERS {
            let layer = OwnedLayer::random(&mut random, hidden, heads, ffn, kind);
            for lengths in BATCHES {
                let what = format!("{kind:?} layer of {hidden}, {heads} heads, {ffn}, sequences {lengths:?}");
                let starts = starts_of(lengths);
                let input = random.vector(lengths.iter().sum::<usize>() * hidden, 2.0);
                let (mut got, mut expected) = (input.clone(), input.clone());
                kernel.encoder_layer(&layer.view(), &mut got, &starts, &mut scratch).unwrap();
                definition().encoder_layer(&layer.view(), &mut expected, &starts, &mut scratch).unwrap();
                equal_bits(&what, &got, &expected)?;

                let first_rows: Vec<f32> = starts[..lengths.len()]
                    .iter()
                    .flat_map(|&s| got[s as usize * hidden..(s as usize + 1) * hidden].to_vec())
                    .collect();
                let mut cls = vec![f32::NAN; lengths.len() * hidden];
                kernel.encoder_layer_cls(&layer.view(), &input, &starts, &mut cls, &mut scratch).unwrap();
                equal_bits(&format!("first rows of {what}"), &cls, &first_rows)?;

                // Fewer tokens than two tasks' are not shared out. Other weights take the same way through the threads.
                let shared = kind == Weights::I8 && input.len() > 60 * hidden;
                for threads in teams.iter_mut().filter(|_| shared) {
                    let mut together = input.clone();
                    kernel.encoder_layer(&layer.view(), &mut together, &starts, threads).unwrap();
                    equal_bits(&format!("{} threads, {what}", threads.threads()), &together, &got)?;
                    cls.fill(f32::NAN);
                    kernel.encoder_layer_cls(&layer.view(), &input, &starts, &mut cls, threads).unwrap();
                    equal_bits(&format!("{} threads, first rows of {what}", threads.threads()), &cls, &first_rows)?;
                }

                for pair in starts.windows(2) {
                    let rows = pair[0] as usize * hidden..pair[1] as usize * hidden;
                    let mut alone = input[rows.clone()].to_vec();
                    let starts = [0, pair[1] - pair[0]];
                    kernel.encoder_layer(&layer.view(), &mut alone, &starts, &mut scratch).unwrap();
                    equal_bits(&format!("a sequence alone, {what}"), &alone, &got[rows])?;
                }
            }
        }
    }
    Ok(())
}

fn check_rows(kernel: Kernel) -> Result<(), String> {
    let mut random = Random::new(4);
    for hidden in [1, 15, 16, 64, 77] {
        let (words, positions) = (23, 9);
        let values: Vec<i8> = (0..words * hidden).map(|_| (random.unit() * 127.0) as i8).collect();
        let scales = random.vector(words, 0.01);
        let floats = random.vector(words * hidden, 1.0);
        let halves: Vec<f16> = random.vector(positions * hidden, 1.0).iter().map(|&x| f16::from_f32(x)).collect();
        let types = random.vector(2 * hidden, 1.0);
        let (weight, bias) = (random.vector(hidden, 1.0), random.vector(hidden, 1.0));
        let norm = Norm::new(&weight, &bias).unwrap();
        let groups = words * hidden.div_ceil(INT4_GROUP);
        let nibbles: Vec<u8> = (0..groups * INT4_GROUP / 2).map(|_| random.below(256) as u8).collect();
        let group_scales: Vec<f16> = random.vector(groups, 0.1).iter().map(|&x| f16::from_f32(x)).collect();
        let tables = [
            Table::I4 { values: &nibbles, scales: &group_scales },
            Table::I8 { values: &values, scales: &scales },
            Table::F32(&floats),
        ];
        for word in tables {
            let embeddings = Embeddings::new(word, Table::F16(&halves), &types, norm, EPS).unwrap();
            let ids: Vec<u32> = (0..13).map(|_| random.below(words) as u32).collect();
            let places: Vec<u32> = (0..13).map(|_| random.below(positions) as u32).collect();
            let kinds: Vec<u8> = (0..13).map(|_| random.below(2) as u8).collect();
            let (mut got, mut expected) = (vec![f32::NAN; 13 * hidden], vec![f32::NAN; 13 * hidden]);
            kernel.embed(&embeddings, &ids, &places, &kinds, &mut got).unwrap();
            definition().embed(&embeddings, &ids, &places, &kinds, &mut expected).unwrap();
            equal_bits(&format!("embeddings of {hidden}"), &got, &expected)?;
            if let Table::I4 { .. } = word {
                // The definition itself, against the words of the format: the same values as f32 rows.
                let per_row = hidden.div_ceil(INT4_GROUP);
                let value = |row: usize, column: usize| {
                    let group = row * per_row + column / INT4_GROUP;
                    let byte = nibbles[group * 16 + column % 16];
                    let nibble = if column % INT4_GROUP < 16 { byte & 15 } else { byte >> 4 };
                    (f32::from(nibble) - 8.0) * group_scales[group].to_f32()
                };
                let dense: Vec<f32> = (0..words * hidden).map(|i| value(i / hidden, i % hidden)).collect();
                let plain = Embeddings::new(Table::F32(&dense), Table::F16(&halves), &types, norm, EPS).unwrap();
                kernel.embed(&plain, &ids, &places, &kinds, &mut got).unwrap();
                equal_bits(&format!("int4 embeddings of {hidden}"), &got, &expected)?;
            }
        }
        let (weights, biases) = (random.vector(3 * hidden, 1.0), random.vector(3, 1.0));
        let dense = Dense::new(&weights, &biases, 3, hidden).unwrap();
        let input = random.vector(5 * hidden, 1.0);
        let (mut got, mut expected) = ([f32::NAN; 15], [f32::NAN; 15]);
        kernel.head(&dense, &input, &mut got).unwrap();
        definition().head(&dense, &input, &mut expected).unwrap();
        equal_bits(&format!("head of {hidden}"), &got, &expected)?;
        kernel.head_tanh(&dense, &input, &mut got).unwrap();
        definition().head_tanh(&dense, &input, &mut expected).unwrap();
        equal_bits(&format!("head with tanh of {hidden}"), &got, &expected)?;
    }
    Ok(())
}
