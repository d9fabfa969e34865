//! Every kernel of this CPU on MiniLM's shapes, one thread: `cargo bench -p attar-kernels`, `-- --test` runs each once.
//!
//! Ids are `operation/kernel/shape`. Weights are random. Before it is timed, a kernel's result must equal that of `scalar` bit for
//! bit. Throughput is in multiply-accumulates.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark; criterion's macros make undocumented functions")]

use std::time::Duration;

use attar_kernels::{Kernel, Scratch, padded_outputs};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

mod data;

use data::{Layer, Random, Weights};

const HIDDEN: usize = 384;
const HEADS: usize = 12;
const FFN: usize = 1536;

/// Times `run`, which computes a result from the same input each time, on every kernel.
fn every_kernel(
    group: &mut BenchmarkGroup<'_, WallTime>,
    shape: &str,
    products: usize,
    length: usize,
    mut run: impl FnMut(Kernel, &mut [f32], &mut Scratch),
) {
    let mut scratch = Scratch::new();
    let mut expected = vec![0.0; length];
    run(Kernel::by_name("scalar").unwrap(), &mut expected, &mut scratch);
    group.throughput(Throughput::Elements(products as u64));
    for kernel in Kernel::available() {
        let mut out = vec![0.0; length];
        run(kernel, &mut out, &mut scratch);
        let equal = out.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(equal, "{} of {shape} differs from scalar", kernel.name());
        group
            .bench_function(BenchmarkId::new(kernel.name(), shape), |b| b.iter(|| run(kernel, &mut out, &mut scratch)));
    }
}

/// Rows x inputs x outputs.
fn linear(criterion: &mut Criterion) {
    for kind in ["int8", "f16", "f32"] {
        let mut group = criterion.benchmark_group(format!("linear-{kind}"));
        let mut random = Random(1);
        for (inputs, outputs) in [(HIDDEN, 3 * HIDDEN), (HIDDEN, FFN), (FFN, HIDDEN)] {
            let weights = Weights::new(&mut random, outputs, inputs);
            let layer = weights.view(kind);
            for rows in [1, 16, 64] {
                let input = random.vector(rows * inputs, 1.0);
                let shape = format!("{rows}x{inputs}x{outputs}");
                every_kernel(&mut group, &shape, rows * inputs * outputs, rows * outputs, |kernel, out, scratch| {
                    kernel.linear(&layer, &input, out, scratch).unwrap();
                });
            }
        }
        group.finish();
    }
}

/// Tokens x heads x head size; both products count.
fn attention(criterion: &mut Criterion) {
    let mut random = Random(2);
    let layer = Layer::new(&mut random, HIDDEN, HEADS, FFN);
    for kind in ["int8", "f32"] {
        let mut group = criterion.benchmark_group(format!("attention-{kind}"));
        for tokens in [16, 64, 128, 512] {
            let qkv = random.vector(tokens * padded_outputs(3 * HIDDEN), 1.0);
            let (shape, products) = (format!("{tokens}x{HEADS}x{}", HIDDEN / HEADS), 2 * tokens * tokens * HIDDEN);
            every_kernel(&mut group, &shape, products, tokens * HIDDEN, |kernel, out, scratch| {
                kernel.attention(&layer.view(kind), &qkv, out, scratch).unwrap();
            });
        }
        group.finish();
    }
}

/// Tokens x hidden x intermediate, of one sequence; copying the input (a thousandth of the time) is timed too.
fn layer(criterion: &mut Criterion) {
    let mut random = Random(3);
    let layer = Layer::new(&mut random, HIDDEN, HEADS, FFN);
    for kind in ["int8", "f16", "f32"] {
        let mut group = criterion.benchmark_group(format!("layer-{kind}"));
        for tokens in [16, 64, 128] {
            let input = random.vector(tokens * HIDDEN, 1.0);
            let linears = tokens * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * FFN);
            let (shape, products) = (format!("{tokens}x{HIDDEN}x{FFN}"), linears + 2 * tokens * tokens * HIDDEN);
            every_kernel(&mut group, &shape, products, input.len(), |kernel, out, scratch| {
                out.copy_from_slice(&input);
                kernel.encoder_layer(&layer.view(kind), out, &[0, tokens as u32], scratch).unwrap();
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = kernels;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = linear, attention, layer
}
criterion_main!(kernels);
