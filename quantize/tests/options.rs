//! int4, ranges, calibration, sensitivity, f16 exceptions and pruning, from folders to bundles to scores.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::PathBuf;

use attar::{Model, Weights};
use attar_bundle::{Contents, Layout, Precision};
use attar_quantize::{CalibrationOptions, CheckOptions, ErrorKind, KeepF16, Options, Range, Report, Rows, quantize};
use common::Source;
use serde_json::Value;

fn run(options: &Options) -> attar_quantize::Result<Report> {
    quantize(options, &mut |_, _| {})
}

fn options(source: &Source, name: &str) -> Options {
    Options::new(source.write(), source.folder.path().join(name), Weights::Int8)
}

/// The logits of both heads.
fn logits(options: &Options) -> Vec<f32> {
    run(options).unwrap();
    let model = Model::open(&options.output).unwrap();
    model.verify().unwrap();
    let pairs = [("where is the rose", "the rose is red"), ("the garden", "waters"), ("red", "is the garden red")];
    let mut session = model.session();
    let scores = ["relevance", "nli"].map(|head| session.score(head, &pairs).unwrap());
    scores.into_iter().flatten().flat_map(|score| score.logits).collect()
}

fn largest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

fn pairs(source: &Source) -> PathBuf {
    let path = source.folder.path().join("pairs.tsv");
    let words = ["rose", "garden", "water", "red", "is the", "where", "the", "roses"];
    let mut text = String::from("text_a\ttext_b\tlabel\n");
    for i in 0..40usize {
        let word = |j: usize| words[(i * j + i / 7 + j) % words.len()];
        let label = ["entailment", "neutral", "contradiction"][i % 3];
        text += &format!("{} {}\t{} {}\t{label}\n", word(1), word(2), word(3), word(5));
    }
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn int4_embeddings_are_smaller_and_near() {
    let source = Source::student(1);
    let exact = logits(&Options { weights: Weights::F32, ..options(&source, "f32.attar") });
    for (ranges, weights) in [(Range::MinMax, Weights::Int8), (Range::Mse, Weights::Int8), (Range::Mse, Weights::F32)] {
        let int4 = Options { embeddings: Some(Rows::Int4), ranges, weights, ..options(&source, "int4.attar") };
        let difference = largest(&logits(&int4), &exact);
        assert!(difference > 0.0 && difference < 0.6, "{ranges:?}: {difference}");
        let bytes = std::fs::read(&int4.output).unwrap();
        let layout = Layout::parse(&bytes).unwrap();
        assert_eq!(layout.precision(), &Precision { word_embeddings: Some(Rows::Int4), f16_linears: vec![] });
        assert!(String::from_utf8_lossy(&bytes).contains(r#""attar.format":"2""#), "older readers ask for an update");
    }
}

#[test]
fn the_report_is_in_the_bundle() {
    let source = Source::student(1);
    let check = CheckOptions { data: pairs(&source), head: None, max_drop: 100.0, rows: None, threads: 1 };
    let options = Options { check: Some(check), embeddings: Some(Rows::Int4), ..options(&source, "x.attar") };
    let report = run(&options).unwrap();
    let kept: Value =
        serde_json::from_str(&Model::open(&options.output).unwrap().info().quantization.unwrap()).unwrap();
    assert_eq!(kept["embeddings"], "int4");
    assert_eq!(kept["check"]["rows"], 40);
    assert_eq!(kept["check"]["agreement"].as_f64().unwrap(), report.check.unwrap().agreement);
    for part in ["vocabulary", "embeddings", "encoder", "pooler", "heads"] {
        assert_eq!(kept["bytes_by_part"][part], report.parts[part], "{part}");
    }
    // Two tables, and four linears a layer and the pooler.
    assert_eq!(kept["tensors"].as_array().unwrap().len(), 2 + 4 * common::LAYERS + 1);
    assert_eq!(kept["tensors"][0]["tensor"], "embeddings.word");
    assert!(
        kept["tensors"][0]["relative_rms"].as_f64().unwrap() > kept["tensors"][1]["relative_rms"].as_f64().unwrap()
    );
}

#[test]
fn calibration_ranges_and_sensitivity() {
    let source = Source::student(1);
    let calibration =
        CalibrationOptions { migrate: true, sensitivity: true, ..CalibrationOptions::new(pairs(&source)) };
    let exact = logits(&Options { weights: Weights::F32, ..options(&source, "f32.attar") });
    let options = Options {
        calibration: Some(calibration),
        ranges: Range::Mse,
        keep_f16: KeepF16::Worst(2),
        ..options(&source, "calibrated.attar")
    };
    let difference = largest(&logits(&options), &exact);
    assert!(difference > 0.0 && difference < 0.3, "{difference}");
    let report = run(&options).unwrap();
    let found = report.calibration.unwrap();
    assert_eq!((found.pairs, found.sensitivity.len()), (40, 4 * common::LAYERS + 2));
    assert!(found.sensitivity.windows(2).all(|w| w[0].logit_rmse >= w[1].logit_rmse));
    let worst: Vec<&str> =
        found.sensitivity.iter().map(|s| s.part.as_str()).filter(|part| *part != "embeddings").take(2).collect();
    assert_eq!(report.f16_linears.len(), 2);
    assert!(report.f16_linears.iter().all(|linear| worst.contains(&linear.as_str())), "{worst:?}");
    let named = KeepF16::Named(vec!["pooler".into(), "layer.1.ffn_up".into()]);
    let report = run(&Options { keep_f16: named, ..options.clone() }).unwrap();
    assert_eq!(report.f16_linears, ["layer.1.ffn_up", "pooler"], "in file order");
    // Every linear in f16: only the rounding of embeddings is left of int8.
    let all = Options { keep_f16: KeepF16::Worst(100), ..options.clone() };
    assert!(largest(&logits(&all), &exact) < difference);
    assert_eq!(run(&all).unwrap().f16_linears.len(), 4 * common::LAYERS + 1);
}

#[test]
fn f16_is_kept_as_far_as_the_check_needs() {
    let source = Source::student(1);
    let data = pairs(&source);
    let check = |max_drop| Some(CheckOptions { data: data.clone(), head: None, max_drop, rows: None, threads: 1 });
    let auto = Options {
        calibration: Some(CalibrationOptions::new(&data)),
        keep_f16: KeepF16::Auto,
        check: check(100.0),
        ..options(&source, "auto.attar")
    };
    assert_eq!(run(&auto).unwrap().f16_linears.len(), 0, "nothing is needed");
    let error = run(&Options { check: check(-101.0), ..auto }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Accuracy, "even with every linear in f16");
}

#[test]
fn options_that_contradict_are_refused() {
    let source = Source::student(1);
    let data = pairs(&source);
    let calibration = Some(CalibrationOptions::new(&data));
    for options in [
        Options { keep_f16: KeepF16::Worst(1), ..options(&source, "x") },
        Options { keep_f16: KeepF16::Auto, calibration: calibration.clone(), ..options(&source, "x") },
        Options { weights: Weights::F16, calibration: calibration.clone(), ..options(&source, "x") },
        Options { keep_f16: KeepF16::Named(vec!["layer.2.qkv".into()]), ..options(&source, "x") },
    ] {
        assert_eq!(run(&options).unwrap_err().kind(), ErrorKind::Usage);
    }
    let empty = source.folder.path().join("empty.txt");
    std::fs::write(&empty, "one line only\n").unwrap();
    let options = Options { calibration: Some(CalibrationOptions::new(empty)), ..options(&source, "x") };
    assert_eq!(run(&options).unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn a_pruned_bundle_scores_the_corpus_alike() {
    let source = Source::student(1);
    let corpus = source.folder.path().join("corpus.jsonl");
    std::fs::write(
        &corpus,
        "{\"a\": [\"where is the rose\", \"the rose is red\"]}\n\n{\"b\": \"the garden waters red\"}\n",
    )
    .unwrap();
    let whole = options(&source, "whole.attar");
    let pruned = Options { prune: vec![corpus], ..options(&source, "pruned.attar") };
    assert_eq!(logits(&pruned), logits(&whole), "all words of the pairs are in the corpus");
    let report = run(&pruned).unwrap().pruning.unwrap();
    // Nothing is left out but [PAD]'s like: every word occurs but none of one character.
    assert_eq!((report.pieces_before, report.pieces), (12, 12));
    let one = source.folder.path().join("one.txt");
    std::fs::write(&one, "rose\n").unwrap();
    let pruned = Options { prune: vec![one], ..pruned };
    let report = run(&pruned).unwrap().pruning.unwrap();
    assert_eq!(report.pieces, 5 + 1, "four specials, \"rose\", and \"##s\", a single character");
    assert_eq!(Model::open(&pruned.output).unwrap().info().architecture.vocabulary, 6);
}

#[test]
fn a_check_sees_what_pruning_costs() {
    let source = Source::student(1);
    let one = source.folder.path().join("one.txt");
    std::fs::write(&one, "rose\n").unwrap();
    let check = CheckOptions { data: pairs(&source), head: None, max_drop: 100.0, rows: None, threads: 1 };
    let whole = Options { check: Some(check), weights: Weights::F32, ..options(&source, "whole.attar") };
    let kept = run(&whole).unwrap().check.unwrap();
    assert_eq!((kept.agreement, kept.logit_rmse), (100.0, 0.0));
    let pruned = run(&Options { prune: vec![one], ..whole }).unwrap().check.unwrap();
    assert!(pruned.logit_rmse > 0.0, "{pruned:?}");
}

#[test]
fn an_output_replaces_nothing_that_is_read_and_no_device() {
    let source = Source::student(1);
    let weights = options(&source, "x.attar").source.join("model.safetensors");
    let before = std::fs::read(&weights).unwrap();
    let over = |output: PathBuf| {
        let options = Options { output: output.clone(), ..options(&source, "x.attar") };
        (run(&options).unwrap_err().to_string(), attar_quantize::export_onnx(&options.source, &output).unwrap_err())
    };
    let (bundle, onnx) = over(weights.clone());
    assert!(bundle.contains("read from this file") && onnx.to_string().contains("read from this file"), "{bundle}");
    assert_eq!(std::fs::read(&weights).unwrap(), before);
    let folder = source.folder.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let (bundle, onnx) = over(folder);
    assert!(bundle.contains("not a regular file") && onnx.to_string().contains("not a regular file"), "{bundle}");
}

/// Written here, read back: every tensor equal, whatever the numbers of layers, widths and words.
#[test]
fn what_is_written_is_read_back() {
    for (weights, embeddings) in
        [(Weights::Int8, Rows::Int4), (Weights::Int8, Rows::F16), (Weights::F16, Rows::Int8), (Weights::F32, Rows::F32)]
    {
        let source = Source::student(2);
        let options = Options { weights, embeddings: Some(embeddings), ..options(&source, "x.attar") };
        run(&options).unwrap();
        let bytes = std::fs::read(&options.output).unwrap();
        let layout = Layout::parse(&bytes).unwrap();
        let contents = Contents {
            architecture: layout.architecture().clone(),
            weights: layout.weights(),
            precision: layout.precision().clone(),
            heads: layout.heads().to_vec(),
            head_widths: layout.head_widths().to_vec(),
            tokenizer: layout.tokenizer().clone(),
            vocabulary_bytes: layout.model_tensors().next().unwrap().range.len(),
            vocabulary_table: layout.model_tensors().nth(2).unwrap().range.len() / 4,
            provenance: layout.provenance().into(),
            quantization: layout.quantization().map(str::to_string),
        };
        let mut encoder = attar_bundle::Encoder::new(Vec::new(), &contents).unwrap();
        for tensor in layout.model_tensors() {
            encoder.tensor(&tensor.name, &bytes[tensor.range.clone()]).unwrap();
        }
        assert_eq!(encoder.finish().unwrap().0, bytes);
    }
}
