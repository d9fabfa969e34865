//! Times MiniLM-L6's encoder (6 layers, 384 hidden, 12 heads, 1536 intermediate) on every kernel of this CPU, one thread or more.
//!
//! `cargo run --release -p attar-kernels --example layer_speed -- [--threads N] [int8|f16|f32] [KERNEL...]`
//!
//! Weights are random; before timing, each kernel's result must equal that of `scalar` bit for bit. Prints the median and the
//! smallest of the runs in milliseconds, and the multiply-accumulates a second of the linears and the attention.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use attar_kernels::{EncoderLayer, Kernel, Scratch};

#[path = "../benches/data/mod.rs"]
mod data;

use data::{Layer, Random};

const HIDDEN: usize = 384;
const HEADS: usize = 12;
const FFN: usize = 1536;
const LAYERS: usize = 6;

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
    let owned: Vec<Layer> = (0..LAYERS).map(|_| Layer::new(&mut random, HIDDEN, HEADS, FFN)).collect();
    let layers: Vec<EncoderLayer<'_>> = owned.iter().map(|layer| layer.view(&kind)).collect();
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
