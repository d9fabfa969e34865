//! Bundles of format 1 must open for ever and give the logits that they gave when they were made.
//!
//! A later format adds files; these are never made again. `ATTAR_WRITE_GOLDEN=1` makes missing ones.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::PathBuf;

use attar::{Model, Weights};
use common::{Bert, pairs};

/// Kernels may add in another order.
const MAX_F32_CHANGE: f32 = 1e-4;
/// How activations are rounded may change from version to version, within what int8 costs anyway: attention is computed in int8
/// since, GELU is the coarse one. Measured against the logits of the first version: 8.5e-3; against the equations in
/// f64, both versions differ by more (`score.rs`).
const MAX_INT8_CHANGE: f32 = 0.02;

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect()
}

fn check(name: &str, weights: Weights, bound: f32) {
    let (bundle, logits) = (path(&format!("{name}.attar")), path(&format!("{name}.tsv")));
    if std::env::var_os("ATTAR_WRITE_GOLDEN").is_some() && !bundle.exists() {
        std::fs::write(&bundle, Bert::random(2020).bundle(weights)).unwrap();
        let model = Model::open(&bundle).unwrap().with_kernel("scalar").unwrap();
        let mut text = String::from("head\ttext_a\ttext_b\tlogits\n");
        for head in ["relevance", "nli"] {
            for ((a, b), score) in pairs().iter().zip(model.session().score(head, &pairs()).unwrap()) {
                text += &format!("{head}\t{a}\t{b}\t{:?}\n", score.logits);
            }
        }
        std::fs::write(&logits, text).unwrap();
    }
    let model = Model::open(&bundle).unwrap();
    model.verify().unwrap();
    let table = std::fs::read_to_string(&logits).unwrap();
    assert!(table.lines().count() > 40);
    let mut worst = 0.0_f32;
    for kernel in Model::kernels() {
        let mut session = model.with_kernel(kernel).unwrap().session();
        for line in table.lines().skip(1) {
            let cells: Vec<&str> = line.split('\t').collect();
            let expected = cells[3].trim_matches(['[', ']']).split(", ").map(|x| x.parse::<f32>().unwrap());
            let score = session.score(cells[0], &[(cells[1], cells[2])]).unwrap().remove(0);
            for (x, y) in score.logits.iter().zip(expected) {
                assert!((x - y).abs() <= bound, "{kernel}: {line}: {x}");
                worst = worst.max((x - y).abs());
            }
        }
    }
    println!("{name}: largest change of a logit {worst:.1e}");
}

#[test]
fn the_int8_bundle_of_format_1_still_gives_its_logits() {
    check("v1-int8", Weights::Int8, MAX_INT8_CHANGE);
}

#[test]
fn the_f32_bundle_of_format_1_still_gives_its_logits() {
    check("v1-f32", Weights::F32, MAX_F32_CHANGE);
}
