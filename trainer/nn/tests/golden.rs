//! The pretrained encoders against values that PyTorch and transformers gave (`golden/make.py`).
//!
//! The encoders are looked for in `ATTAR_PRETRAINED`, else in `artifacts/pretrained` of the repository.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use attar_nn::{Batch, Encoder, Layers, Mode};
use candle_core::{Device, Tensor};

/// Of f32 against f32 in another order of sums, on values of size 1.
const TOLERANCE: f32 = 2e-5;

#[derive(serde::Deserialize)]
struct Golden {
    ids: Vec<Vec<u32>>,
    types: Vec<Vec<u32>>,
    last_token: Vec<Vec<f32>>,
    pooled: Vec<Vec<f32>>,
    embedding: Vec<Vec<f32>>,
}

fn assert_close(what: &str, got: &Tensor, expected: &[f32]) {
    let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (i, e) in expected.iter().enumerate() {
        assert!((got[i] - e).abs() < TOLERANCE, "{what}[{i}] is {}, expected {e}", got[i]);
    }
}

fn check(name: &str) {
    let root = std::env::var_os("ATTAR_PRETRAINED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../artifacts/pretrained"), PathBuf::from);
    let folder = root.join(name);
    if !folder.join("model.safetensors").exists() {
        eprintln!("skipped: {} holds no model.safetensors", folder.display());
        return;
    }
    let all: std::collections::HashMap<String, Golden> =
        serde_json::from_str(include_str!("golden/encoders.json")).unwrap();
    let golden = &all[name];
    let encoder = Encoder::load(&folder, &Layers::All, &Device::Cpu).unwrap();
    let rows: Vec<_> = golden.ids.iter().cloned().zip(golden.types.iter().cloned()).collect();
    let batch = Batch::new(&rows, encoder.config().pad_id, &Device::Cpu).unwrap();
    let hidden = encoder.forward(&batch, Mode::Eval).unwrap();
    let pooled = encoder.pool(&batch, Mode::Eval).unwrap();
    let embedding = encoder.embed(&batch).unwrap();
    for (row, &length) in batch.lengths.iter().enumerate() {
        let last = hidden.get(row).unwrap().get(length - 1).unwrap();
        assert_close(&format!("{name}: last token of row {row}"), &last, &golden.last_token[row]);
        assert_close(&format!("{name}: pooled row {row}"), &pooled.get(row).unwrap(), &golden.pooled[row]);
        assert_close(&format!("{name}: embedding of row {row}"), &embedding.get(row).unwrap(), &golden.embedding[row]);
    }
}

#[test]
fn minilm_gives_what_transformers_gives() {
    check("all-MiniLM-L6-v2");
}

#[test]
fn mpnet_gives_what_transformers_gives() {
    check("all-mpnet-base-v2");
}
