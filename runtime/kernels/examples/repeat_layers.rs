//! MiniLM-L6's six int8 layers on one sequence of TOKENS tokens, CALLS times on one thread: `repeat_layers ANY TOKENS CALLS`.
//!
//! For counting executed instructions without the rest of the runtime (`tests/peers/instructions.sh --program`); the last layer
//! computes the first row only, as the runtime has it. Weights are random: what they are does not change the count. The first
//! argument is there for that script and is not read.

use std::hint::black_box;
use std::process::ExitCode;

use attar_kernels::{Error, Kernel, Scratch};

#[path = "../benches/data/mod.rs"]
mod data;

use data::{Layer, Random};

const HIDDEN: usize = 384;
const HEADS: usize = 12;
const FFN: usize = 1536;
const LAYERS: usize = 6;

/// The first row after all layers.
fn encode(
    kernel: Kernel,
    layers: &[Layer],
    input: &[f32],
    hidden: &mut [f32],
    scratch: &mut Scratch,
) -> Result<Vec<f32>, Error> {
    let starts = [0, (input.len() / HIDDEN) as u32];
    hidden.copy_from_slice(input);
    for layer in &layers[..LAYERS - 1] {
        kernel.encoder_layer(&layer.view("int8"), hidden, &starts, scratch)?;
    }
    let mut out = vec![0.0; HIDDEN];
    kernel.encoder_layer_cls(&layers[LAYERS - 1].view("int8"), hidden, &starts, &mut out, scratch)?;
    Ok(out)
}

fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (&[tokens, calls], 3) = (&numbers[..], arguments.len()) else {
        eprintln!("usage: repeat_layers ANY TOKENS CALLS");
        return Ok(ExitCode::from(2));
    };
    let mut random = Random(1);
    let layers: Vec<Layer> = (0..LAYERS).map(|_| Layer::new(&mut random, HIDDEN, HEADS, FFN)).collect();
    let input = random.vector(tokens * HIDDEN, 1.0);
    let (kernel, mut hidden, mut scratch) = (Kernel::best(), vec![0.0; input.len()], Scratch::new());
    let first = encode(kernel, &layers, &input, &mut hidden, &mut scratch)?;
    for _ in 0..calls {
        let again = encode(kernel, &layers, &input, &mut hidden, &mut scratch)?;
        assert_eq!(black_box(again), first, "the same input gives the same output");
    }
    println!("{tokens} tokens, {calls} calls, {}: six layers only", kernel.name());
    Ok(ExitCode::SUCCESS)
}
