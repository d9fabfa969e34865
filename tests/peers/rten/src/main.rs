//! Runs a BERT pair classifier (ONNX, inputs `input_ids`, `attention_mask` and `token_type_ids`) by RTen, CALLS times on one pair of TOKENS
//! tokens and one thread: `repeat-rten MODEL.onnx TOKENS CALLS`.
//!
//! Weights are packed when the model is loaded, so that a call costs what a program pays that keeps its model open.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use rten::{ModelOptions, NodeId, RunOptions, ThreadPool, ValueOrView};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};

/// `[1, tokens]`.
fn input(value: impl Fn(usize) -> i32, tokens: usize) -> ValueOrView<'static> {
    NdTensor::from_data([1, tokens], (0..tokens).map(value).collect::<Vec<i32>>()).into()
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, tokens, calls] = &arguments[..] else {
        eprintln!("usage: repeat-rten MODEL.onnx TOKENS CALLS");
        return Ok(ExitCode::from(2));
    };
    let (tokens, calls): (usize, usize) = (tokens.parse()?, calls.parse()?);
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(path)?;
    let options = RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(1))));
    let node = |name: &str| -> Result<NodeId, Box<dyn Error>> { Ok(model.node_id(name)?) };
    let output = model.node_id("logits")?;
    let mut sum = 0.0;
    for call in 0..calls {
        let inputs = vec![
            (node("input_ids")?, input(|i| 1000 + (i * 37 + call) as i32 % 20_000, tokens)),
            (node("attention_mask")?, input(|_| 1, tokens)),
            (node("token_type_ids")?, input(|i| i32::from(i > tokens / 3), tokens)),
        ];
        let [logits] = model.run_n(inputs, [output], Some(options.clone()))?;
        sum += Tensor::<f32>::try_from(logits)?.iter().sum::<f32>();
    }
    println!("{tokens} tokens, {calls} calls, RTen: sum of logits {sum:.4}");
    Ok(ExitCode::SUCCESS)
}
