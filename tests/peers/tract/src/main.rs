//! MiniLM-L6's linear layers alone, in f32 by tract's own operators, CALLS times on one thread: `repeat-tract-linears ANY TOKENS CALLS`.
//!
//! A lower bound for tract running the encoder in f32 (no attention, norms, GELU or embeddings), for counting executed
//! instructions: `tests/peers/instructions.sh --program`. The first argument is there for that script and is not read.

use std::hint::black_box;
use std::process::ExitCode;

use tract_core::internal::*;
use tract_core::ops::einsum::EinSum;

const LAYERS: usize = 6;
const HIDDEN: usize = 384;
const FFN: usize = 1536;
/// Largest difference from the sum in f64 that a sum of 384 products of about 1 x 0.05 may have in f32.
const MAX_ERROR: f64 = 1e-4;

/// Numbers of -1..1 by a linear congruential generator (Knuth's MMIX constants), `[rows, columns]`.
fn random(state: &mut u64, rows: usize, columns: usize, scale: f32) -> TractResult<Tensor> {
    let values: Vec<f32> = (0..rows * columns)
        .map(|_| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((*state >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        })
        .collect();
    Tensor::from_shape(&[rows, columns], &values)
}

fn main() -> TractResult<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_, tokens, calls] = &arguments[..] else {
        eprintln!("usage: repeat-tract-linears ANY TOKENS CALLS");
        return Ok(ExitCode::from(2));
    };
    let (tokens, calls): (usize, usize) = (tokens.parse()?, calls.parse()?);
    let mut state = 1;
    let input = random(&mut state, tokens, HIDDEN, 1.0)?;
    let mut model = TypedModel::default();
    let mut x = model.add_source("x", f32::fact([tokens, HIDDEN]))?;
    let mut outputs = tvec!();
    let mut first = None;
    for layer in 0..LAYERS {
        let mut linear = |x, name: &str, inputs: usize, outputs| -> TractResult<OutletId> {
            let weight = random(&mut state, inputs, outputs, 1.7 / (inputs as f32).sqrt())?;
            first.get_or_insert_with(|| weight.clone());
            let weight = model.add_const(format!("{layer}.{name}.weight"), weight)?;
            let product = EinSum::new("mk,kn->mn".parse()?, f32::datum_type());
            Ok(model.wire_node(format!("{layer}.{name}"), product, &[x, weight])?[0])
        };
        // An output of its own, so that nothing of it is optimised away.
        outputs.push(linear(x, "qkv", HIDDEN, 3 * HIDDEN)?);
        let context = linear(x, "attention_output", HIDDEN, HIDDEN)?;
        let up = linear(context, "ffn_up", HIDDEN, FFN)?;
        x = linear(up, "ffn_down", FFN, HIDDEN)?;
    }
    outputs.push(x);
    model.select_output_outlets(&outputs)?;
    let plan = model.into_optimized()?.into_runnable()?;
    let mut session = plan.spawn()?;
    let found = session.run(tvec!(input.clone().into_tvalue()))?;

    let weight = first.context("six layers have a first")?;
    let left = input.try_as_plain_ram()?.as_slice::<f32>()?;
    let right = weight.try_as_plain_ram()?.as_slice::<f32>()?;
    let found = found[0].try_as_plain_ram()?.as_slice::<f32>()?;
    let last = tokens - 1;
    for n in [0, 1, 500, 3 * HIDDEN - 1] {
        let products = (0..HIDDEN).map(|k| f64::from(left[last * HIDDEN + k]) * f64::from(right[k * 3 * HIDDEN + n]));
        let (sum, found) = (products.sum::<f64>(), f64::from(found[last * 3 * HIDDEN + n]));
        ensure!((sum - found).abs() < MAX_ERROR, "output {n} is {found}, expected {sum}");
    }
    for _ in 0..calls {
        black_box(session.run(tvec!(input.clone().into_tvalue()))?);
    }
    println!("{tokens} tokens, {calls} calls, tract-core f32: linears only");
    Ok(ExitCode::SUCCESS)
}
