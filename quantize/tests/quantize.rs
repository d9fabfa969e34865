//! From folders to bundles to scores, and what is refused.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use attar::{Model, Score, Weights};
use attar_quantize::{CheckOptions, ErrorKind, Options, Report, quantize};
use common::{HIDDEN, Source, WORDS};
use safetensors::Dtype;
use serde_json::{Value, json};

/// What only these tests do with a source.
trait Bundles {
    fn bundle(&self, weights: Weights) -> PathBuf;
    fn refused(&self) -> attar_quantize::Error;
}

impl Bundles for Source {
    fn bundle(&self, weights: Weights) -> PathBuf {
        let output = self.folder.path().join(format!("{weights}.attar"));
        run(&Options::new(self.write(), &output, weights)).unwrap();
        output
    }

    fn refused(&self) -> attar_quantize::Error {
        let output = self.folder.path().join("refused.attar");
        let error = run(&Options::new(self.write(), &output, Weights::Int8)).unwrap_err();
        assert!(!output.exists(), "{error}");
        let left: Vec<_> = std::fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");
        error
    }
}

fn run(options: &Options) -> attar_quantize::Result<Report> {
    quantize(options, &mut |_, _| {})
}

fn score(bundle: &Path, head: &str) -> Vec<Score> {
    let pairs = [("where is the rose", "the rose is red"), ("the garden", "waters"), ("red", "is the garden red")];
    let model = Model::open(bundle).unwrap();
    model.verify().unwrap();
    model.session().score(head, &pairs).unwrap()
}

fn close(a: &[Score], b: &[Score], bound: f32) {
    for (a, b) in a.iter().zip(b) {
        for (x, y) in a.logits.iter().zip(&b.logits) {
            assert!((x - y).abs() <= bound, "{:?} and {:?}", a.logits, b.logits);
        }
    }
}

#[test]
fn a_student_folder_becomes_bundles_that_agree() {
    let source = Source::student(1);
    let f32s = source.bundle(Weights::F32);
    for head in ["relevance", "nli"] {
        let expected = score(&f32s, head);
        close(&score(&source.bundle(Weights::F16), head), &expected, 0.02);
        close(&score(&source.bundle(Weights::Int8), head), &expected, 0.3);
    }
    let info = Model::open(&f32s).unwrap().info();
    assert_eq!(info.provenance, r#"{"licence":"MIT","teachers":["a","b"]}"#);
    assert_eq!(info.architecture.vocabulary, 4 + WORDS.len(), "rows that no token has are left out");
    assert_eq!(info.heads[0].temperature, 1.25);
}

#[test]
fn copies_of_a_one_layer_head_are_folded_into_their_average() {
    let three = Source::student(3);
    let bundle = three.bundle(Weights::F32);
    assert_eq!(Model::open(&bundle).unwrap().heads()[0].copies, 1);
    assert_eq!(
        Model::open(&bundle).unwrap().heads()[1].copies,
        2,
        "a head with two layers is not linear and keeps them"
    );
    let folded = score(&bundle, "relevance");
    let mut mean = vec![[0f32; 2]; folded.len()];
    for copy in 0..3 {
        let mut one = Source::student(1);
        for part in ["weight", "bias"] {
            let tensor = three.tensors[&format!("heads.relevance.{copy}.0.{part}")].clone();
            one.tensors.insert(format!("heads.relevance.0.0.{part}"), tensor);
        }
        for (mean, score) in mean.iter_mut().zip(score(&one.bundle(Weights::F32), "relevance")) {
            mean.iter_mut().zip(score.logits).for_each(|(m, x)| *m += x / 3.0);
        }
    }
    for (mean, folded) in mean.iter().zip(folded) {
        mean.iter().zip(folded.logits).for_each(|(m, x)| assert!((m - x).abs() < 1e-5));
    }
}

#[test]
fn a_hugging_face_classifier_gives_the_student_s_logits() {
    let mut classifier = Source::classifier(&["not_relevant", "relevant"]);
    let student = Source::student(1);
    for (name, tensor) in &student.tensors {
        match name.strip_prefix("heads.relevance.0.0.") {
            Some(part) => drop(classifier.tensors.insert(format!("classifier.{part}"), tensor.clone())),
            None if name.starts_with("heads.") => {}
            None => drop(classifier.tensors.insert(format!("bert.{name}"), tensor.clone())),
        }
    }
    let expected = score(&student.bundle(Weights::F32), "relevance");
    close(&score(&classifier.bundle(Weights::F32), "relevance"), &expected, 0.0);
    classifier.dtype = Dtype::BF16;
    close(&score(&classifier.bundle(Weights::F32), "relevance"), &expected, 0.1);
}

#[test]
fn a_cross_encoder_with_one_output_becomes_relevance() {
    let scores = score(&Source::classifier(&["LABEL_0"]).bundle(Weights::F32), "relevance");
    for score in scores {
        assert_eq!(score.logits[0], 0.0);
        assert!((score.probabilities[1] - 1.0 / (1.0 + (-score.logits[1]).exp())).abs() < 1e-6);
    }
}

#[test]
fn what_contradicts_is_refused_with_the_tensor_s_name() {
    type Change = fn(&mut Source);
    let cases: [(Change, ErrorKind, &str); 16] = [
        (|s| drop(s.tensors.remove("pooler.dense.bias")), ErrorKind::Tensor, "\"pooler.dense.bias\" is missing"),
        (|s| s.linear("pooler.dense", HIDDEN, 3), ErrorKind::Tensor, "\"pooler.dense.weight\" is [24, 3]"),
        (|s| s.config["hidden_size"] = json!(48), ErrorKind::Tensor, "heads.relevance.0.0.weight"),
        (|s| s.config["num_hidden_layers"] = json!(1), ErrorKind::Tensor, "encoder.layer.1."),
        (|s| s.config["num_hidden_layers"] = json!(3), ErrorKind::Tensor, "encoder.layer.2."),
        (|s| s.config["num_attention_heads"] = json!(5), ErrorKind::Source, "multiple of \"heads\" 5"),
        (|s| s.config["hidden_act"] = json!("gelu_new"), ErrorKind::Source, "gelu_new"),
        (|s| s.config["model_type"] = json!("roberta"), ErrorKind::Source, "roberta"),
        (|s| s.config["vocab_size"] = json!(4), ErrorKind::Tensor, "word_embeddings"),
        (
            |s| s.tensors.get_mut("pooler.dense.weight").unwrap().1[7] = f32::NAN,
            ErrorKind::Tensor,
            "\"pooler.dense.weight\" holds NaN at index 7",
        ),
        (
            |s| s.tensors.get_mut("heads.nli.1.1.bias").unwrap().1[0] = f32::INFINITY,
            ErrorKind::Tensor,
            "heads.nli.1.1.bias",
        ),
        (|s| s.linear("heads.rte.0.0", 2, HIDDEN), ErrorKind::Tensor, "heads.rte.0.0"),
        (|s| s.linear("heads.nli.1.0", 6, HIDDEN), ErrorKind::Tensor, "\"heads.nli.1.0.weight\" is [6, 24]"),
        (|s| s.manifest = Some("format = 1".into()), ErrorKind::Source, "attar.toml"),
        (|s| s.manifest = None, ErrorKind::Source, "BertForSequenceClassification"),
        (|s| s.tokenizer["model"]["type"] = json!("BPE"), ErrorKind::Source, "tokenizer.json: \"model\" is \"BPE\""),
    ];
    for (i, (change, kind, text)) in cases.into_iter().enumerate() {
        let mut source = Source::student(1);
        change(&mut source);
        let error = source.refused();
        assert!(error.to_string().contains(text), "case {i}: {error}");
        assert_eq!(error.kind(), kind, "case {i}: {error}");
    }
}

#[test]
fn pickles_shards_and_truncated_files_are_refused() {
    let source = Source::student(1);
    let folder = source.write();
    let weights = folder.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let refused = || run(&Options::new(folder, folder.join("x.attar"), Weights::Int8)).unwrap_err();
    for len in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&weights, &bytes[..len]).unwrap();
        assert_eq!(refused().kind(), ErrorKind::Source, "{len} bytes");
    }
    std::fs::remove_file(&weights).unwrap();
    assert!(refused().to_string().contains("no model.safetensors"));
    std::fs::write(folder.join("pytorch_model.bin"), b"").unwrap();
    assert!(refused().to_string().contains("safe_serialization=True"));
    std::fs::write(folder.join("model.safetensors.index.json"), b"{}").unwrap();
    assert!(refused().to_string().contains("sharded"));
    assert_eq!(
        run(&Options::new(folder.join("missing"), folder.join("x"), Weights::F32)).unwrap_err().kind(),
        ErrorKind::Source
    );
}

#[test]
fn a_weight_too_large_for_f16_is_refused() {
    let mut source = Source::student(1);
    source.tensors.get_mut("encoder.layer.1.output.dense.weight").unwrap().1[3] = 1e5;
    let error = run(&Options::new(source.write(), source.folder.path().join("x"), Weights::F16)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overflow);
    assert!(error.to_string().contains("encoder.layer.1.output.dense.weight"), "{error}");
}

/// Pairs labelled as the f32 bundle labels them, so that its accuracy is 100 %.
fn labelled(source: &Source) -> PathBuf {
    let model = Model::open(source.bundle(Weights::F32)).unwrap();
    let mut text = String::from("id\ttext_a\ttext_b\tlabel\n");
    let mut session = model.session();
    for i in 0..60usize {
        let word = |j: usize| WORDS[(i * j + i / 7 + j) % 7];
        let pair = (format!("{} {}", word(1), word(2)), format!("{} {} {}", word(3), word(5), word(4)));
        let best = session.score("nli", std::slice::from_ref(&pair)).unwrap()[0].best();
        text += &format!("{i}\t{}\t{}\t{}\n", pair.0, pair.1, ["entailment", "neutral", "contradiction"][best]);
    }
    let path = source.folder.path().join("dev.tsv");
    std::fs::write(&path, &text).unwrap();
    let compressed = zstd::encode_all(text.as_bytes(), 0).unwrap();
    std::fs::write(source.folder.path().join("dev.tsv.zst"), compressed).unwrap();
    path
}

#[test]
fn the_check_measures_and_is_kept_in_the_bundle() {
    let source = Source::student(1);
    let mut check = CheckOptions { data: labelled(&source), head: None, max_drop: 100.0, rows: None, threads: 2 };
    let output = source.folder.path().join("checked.attar");
    let mut options = Options::new(source.write(), &output, Weights::Int8);
    for file in ["dev.tsv", "dev.tsv.zst"] {
        check.data = source.folder.path().join(file);
        options.check = Some(check.clone());
        let report = run(&options).unwrap().check.unwrap();
        assert_eq!((report.head.as_str(), report.rows, report.f32_accuracy), ("nli", 60, 100.0));
        assert!(report.logit_rmse > 0.0 && report.logit_rmse < 0.2, "{report:?}");
        assert_eq!(report.agreement, report.accuracy, "the labels are the f32 bundle's");
        let kept: Value = serde_json::from_str(&Model::open(&output).unwrap().info().quantization.unwrap()).unwrap();
        assert_eq!(kept["check"]["rows"], 60);
        assert_eq!(kept["weights"], "int8");
    }
    check.rows = Some(7);
    options.check = Some(check.clone());
    assert_eq!(run(&options).unwrap().check.unwrap().rows, 7);
    check.head = Some("relevance".into());
    options.check = Some(check.clone());
    assert_eq!(run(&options).unwrap_err().kind(), ErrorKind::Data, "contradiction is no label of relevance");
    check.head = Some("rte".into());
    options.check = Some(check);
    assert!(run(&options).unwrap_err().to_string().contains("relevance"), "the heads are listed");
}

#[test]
fn a_bundle_that_loses_too_much_is_not_written() {
    let source = Source::student(1);
    let check = CheckOptions { data: labelled(&source), head: None, max_drop: -1.0, rows: None, threads: 1 };
    let output = source.folder.path().join("lossy.attar");
    std::fs::write(&output, b"the old one").unwrap();
    let options = Options { check: Some(check), ..Options::new(source.write(), &output, Weights::F16) };
    let error = run(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Accuracy);
    assert_eq!(std::fs::read(&output).unwrap(), b"the old one");
}

#[test]
fn the_command_line_exits_with_0_1_and_2() {
    let source = Source::student(1);
    let data = labelled(&source);
    let output = source.folder.path().join("cli.attar");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attar-quantize"));
        command.arg(source.folder.path()).args(["-o", output.to_str().unwrap()]).args(arguments).output().unwrap()
    };
    let done = run(&["--json", "--check", data.to_str().unwrap(), "--max-drop", "100"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["bytes"], std::fs::metadata(&output).unwrap().len());
    assert_eq!(report["check"]["rows"], 60);
    let plain = String::from_utf8(run(&["--weights", "f16"]).stdout).unwrap();
    assert!(plain.contains("of f16") && plain.contains("encoder"), "{plain}");
    let lossy = run(&["--check", data.to_str().unwrap(), "--max-drop=-1"]);
    assert_eq!(lossy.status.code(), Some(1), "{lossy:?}");
    assert!(lossy.stdout.is_empty() && String::from_utf8(lossy.stderr).unwrap().contains("nothing was written"));
    assert_eq!(run(&["--check", "missing.tsv"]).status.code(), Some(2));
    assert_eq!(run(&["--weights", "int3"]).status.code(), Some(2));
}
