//! Writes a bundle's encoder as a Hugging Face folder of f32 weights, for a further training.
//!
//!     cargo run --release -p attar-quantize --example encoder_of_bundle -- BUNDLE --tokenizer PRETRAINED/tokenizer.json -o FOLDER
//!
//! The weights are the bundle's own, an int8 value times its channel's scale; what the rounding took away stays away. Heads and
//! their temperatures are left out: a training makes its own. The bundle has the vocabulary in tables only, so that
//! tokenizer.json is a copy of the pretrained encoder's. Word embeddings in int4 are refused.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use attar_bundle::{AtomicFile, EmbeddingRows, Layout, LinearName, LinearWeights, NormName, View, packing};
use clap::Parser;
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

#[derive(Parser)]
#[command(about = "Write a bundle's encoder as a Hugging Face folder of f32 weights")]
struct Arguments {
    /// Bundle to read; its checksums are verified
    bundle: PathBuf,
    /// tokenizer.json of the encoder that the bundle descends from
    #[arg(long)]
    tokenizer: PathBuf,
    /// Folder to write
    #[arg(short, long)]
    output: PathBuf,
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn floats(halves: &[f16]) -> Vec<f32> {
    halves.iter().map(|h| h.to_f32()).collect()
}

/// Row-major int8 `[scales, width]`, each row times its scale.
fn scaled(values: &[i8], scales: &[f32], width: usize) -> Vec<f32> {
    values.chunks_exact(width).zip(scales).flat_map(|(row, s)| row.iter().map(move |&v| f32::from(v) * s)).collect()
}

fn rows(rows: EmbeddingRows<'_>, width: usize) -> Result<Vec<f32>> {
    Ok(match rows {
        EmbeddingRows::Int4 { .. } => bail!("its word embeddings are int4, which has lost too much to train on"),
        EmbeddingRows::Int8 { data, scales } => scaled(data, scales, width),
        EmbeddingRows::F16(values) => floats(values),
        EmbeddingRows::F32(values) => values.to_vec(),
    })
}

/// Puts a linear under its names in Hugging Face's BertModel, which has several for a stacked one.
fn linear(tensors: &mut Tensors, view: &View<'_>, name: LinearName, there: &[String]) {
    let linear = view.linear(name);
    let (n, k) = (linear.outputs, linear.inputs);
    let weight = match linear.weights {
        LinearWeights::Int8 { weight, scales, .. } => scaled(&packing::unpack_i8(weight, n, k), scales, k),
        LinearWeights::F16(weight) => floats(&packing::unpack_float(weight, n, k)),
        LinearWeights::F32(weight) => packing::unpack_float(weight, n, k),
    };
    let n = n / there.len();
    for ((name, weight), bias) in there.iter().zip(weight.chunks_exact(n * k)).zip(linear.bias.chunks(n)) {
        tensors.insert(format!("{name}.weight"), (vec![n, k], weight.to_vec()));
        tensors.insert(format!("{name}.bias"), (vec![n], bias.to_vec()));
    }
}

fn norm(tensors: &mut Tensors, view: &View<'_>, name: NormName, there: &str) {
    let norm = view.norm(name);
    tensors.insert(format!("{there}.LayerNorm.weight"), (vec![norm.weight.len()], norm.weight.to_vec()));
    tensors.insert(format!("{there}.LayerNorm.bias"), (vec![norm.bias.len()], norm.bias.to_vec()));
}

fn main() -> ExitCode {
    match write(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("encoder_of_bundle: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn write(arguments: &Arguments) -> Result<()> {
    let place = arguments.bundle.display().to_string();
    let bytes = fs::read(&arguments.bundle).with_context(|| place.clone())?;
    // A view wants an aligned beginning, which a vector of bytes does not promise.
    let mut aligned = vec![0u64; bytes.len().div_ceil(8)];
    let bytes_aligned = &mut bytemuck::cast_slice_mut(&mut aligned)[..bytes.len()];
    bytes_aligned.copy_from_slice(&bytes);
    let layout = Layout::parse(bytes_aligned).with_context(|| place.clone())?;
    layout.verify(bytes_aligned).with_context(|| place.clone())?;
    let view = layout.view(bytes_aligned).with_context(|| place.clone())?;
    let a = layout.architecture();
    let tokenizer = &arguments.tokenizer;
    ensure!(
        tokenizer.is_file(),
        "{}: no such file, expected the pretrained encoder's tokenizer.json",
        tokenizer.display()
    );

    let mut tensors = Tensors::new();
    let embedding = view.embedding();
    for (name, values) in [
        ("word", rows(embedding.word, a.hidden).with_context(|| place.clone())?),
        ("position", rows(embedding.position, a.hidden).with_context(|| place.clone())?),
        ("token_type", embedding.token_type.to_vec()),
    ] {
        let shape = vec![values.len() / a.hidden, a.hidden];
        tensors.insert(format!("embeddings.{name}_embeddings.weight"), (shape, values));
    }
    norm(&mut tensors, &view, NormName::Embeddings, "embeddings");
    for i in 0..a.layers {
        let at = |rest: &str| format!("encoder.layer.{i}.{rest}");
        let qkv = ["query", "key", "value"].map(|part| at(&format!("attention.self.{part}")));
        linear(&mut tensors, &view, LinearName::Qkv(i), &qkv);
        linear(&mut tensors, &view, LinearName::AttentionOutput(i), &[at("attention.output.dense")]);
        norm(&mut tensors, &view, NormName::Attention(i), &at("attention.output"));
        linear(&mut tensors, &view, LinearName::FfnUp(i), &[at("intermediate.dense")]);
        linear(&mut tensors, &view, LinearName::FfnDown(i), &[at("output.dense")]);
        norm(&mut tensors, &view, NormName::Output(i), &at("output"));
    }
    linear(&mut tensors, &view, LinearName::Pooler, &["pooler.dense".to_owned()]);

    // The shortest number that is the same f32: 1e-12, where a bundle has 9.99...e-13.
    let layer_norm_eps: f64 = a.layer_norm_eps.to_string().parse()?;
    let config = json!({
        "architectures": ["BertModel"],
        "model_type": "bert",
        "attention_probs_dropout_prob": 0.1,
        "hidden_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_size": a.hidden,
        "initializer_range": 0.02,
        "intermediate_size": a.intermediate,
        "layer_norm_eps": layer_norm_eps,
        "max_position_embeddings": a.positions,
        "num_attention_heads": a.heads,
        "num_hidden_layers": a.layers,
        "pad_token_id": layout.tokenizer().pad,
        "position_embedding_type": "absolute",
        "type_vocab_size": a.types,
        "vocab_size": a.vocabulary,
    });
    let views: Vec<(&String, TensorView<'_>)> = (tensors.iter())
        .map(|(name, (shape, values))| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values))?))
        })
        .collect::<Result<_>>()?;
    let model = safetensors::serialize(views, None)?;
    fs::create_dir_all(&arguments.output).with_context(|| arguments.output.display().to_string())?;
    for (name, contents) in [
        ("tokenizer.json", fs::read(tokenizer).with_context(|| tokenizer.display().to_string())?),
        ("config.json", serde_json::to_vec_pretty(&config)?),
        ("model.safetensors", model),
    ] {
        let mut file = AtomicFile::create(&arguments.output.join(name))?;
        file.write_all(&contents)?;
        file.commit()?;
    }
    Ok(())
}
