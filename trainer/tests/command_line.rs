//! `attar-train` as a user calls it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn attar_train(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_attar-train")).args(arguments).current_dir(root()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_tiny_example_trains_evaluates_and_is_not_done_twice() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("tiny");
    let run = ["run", "examples/train-tiny.toml", "-o", output.to_str().unwrap(), "--json"];
    let first = attar_train(&run);
    let log = text(&first.stderr);
    assert!(first.status.success(), "{log}");
    assert!(log.contains("# seed 17, device cpu") && log.contains("stage2: done in"), "{log}");
    let scores: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    let accuracy = scores[0]["scores"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.6, "accuracy {accuracy} on made-up rows; {log}");
    for file in ["student/attar.toml", "student/model.safetensors", "run.json", "evaluation.json", "report.md"] {
        assert!(output.join(file).exists(), "no {file}");
    }
    assert!(!output.join("training/stage2/checkpoint").exists(), "checkpoints are left over");

    let second = attar_train(&run);
    assert!(text(&second.stderr).contains("stage2: done before"));
    let again: serde_json::Value = serde_json::from_slice(&second.stdout).unwrap();
    assert_eq!(again[0]["scores"], scores[0]["scores"]);

    let student = output.join("student");
    let dev = "nli=examples/tiny/nli_dev.tsv";
    let evaluated = attar_train(&["evaluate", student.to_str().unwrap(), dev, "--json", "--quiet"]);
    assert!(evaluated.stderr.is_empty(), "{}", text(&evaluated.stderr));
    let evaluated: serde_json::Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    assert_eq!(evaluated[0]["scores"]["accuracy"].as_f64(), Some(accuracy));

    let report = attar_train(&["report", output.to_str().unwrap()]);
    assert!(text(&report.stdout).contains("| nli | nli | 60 |"), "{}", text(&report.stdout));
}

#[test]
fn pairs_labels_and_distillation_work_command_by_command() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let base = at("base");
    let made = attar_train(&["run", "examples/train-tiny.toml", "-o", &base, "--quiet"]);
    assert!(made.status.success() && made.stderr.is_empty(), "{}", text(&made.stderr));
    let teacher = format!("{base}/student");

    let pairs = at("pairs.tsv");
    let arguments = ["pairs", "--squad", "examples/tiny/paragraphs.jsonl", "--cut", "sentences", "-o", &pairs];
    assert!(attar_train(&arguments).status.success());
    let labels = at("labels");
    let label = ["label", "--teacher", &teacher, "--kind", "classifier", "--data", &pairs, "-o", &labels, "--json"];
    let labelled = attar_train(&label);
    assert!(labelled.status.success(), "{}", text(&labelled.stderr));
    let key: serde_json::Value = serde_json::from_slice(&labelled.stdout).unwrap();
    assert_eq!(key["head"], "relevance");
    let refused =
        attar_train(&["label", "--teacher", &teacher, "--kind", "sentence-encoder", "--data", &pairs, "-o", &labels]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("teacher_hash"), "{}", text(&refused.stderr));

    let train = format!("relevance={pairs}");
    let student = at("distilled");
    let distill = [
        "distill",
        "--encoder",
        &teacher,
        "--layers",
        "1",
        "--teacher",
        &teacher,
        "--train",
        &train,
        "--epochs",
        "1",
        "-o",
        &student,
    ];
    let distilled = attar_train(&distill);
    assert!(distilled.status.success(), "{}", text(&distilled.stderr));
    assert!(Path::new(&student).join("student/attar.toml").exists());

    let nli = "nli=examples/tiny/nli_train.tsv";
    let tuned = attar_train(&["teacher", "--encoder", &teacher, "--train", nli, "--epochs", "1", "-o", &at("tuned")]);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
}

#[test]
fn what_is_wrong_ends_with_code_2_and_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    let toml = std::fs::read_to_string(root().join("examples/train-tiny.toml")).unwrap();
    std::fs::write(&file, toml.replace("epochs = 20", "epoch = 20")).unwrap();
    let path = file.to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["run", "no-such.toml"], "no-such.toml: cannot read"),
        (&["run", path], "unknown key `epoch`, did you mean `epochs`?"),
        (&["report", "no-such-run"], "run.json"),
        (&["evaluate", "no-such-model", "nli=examples/tiny/nli_dev.tsv"], "no-such-model"),
        (&["pairs", "-o", "/tmp/x.tsv"], "give --squad FILE or --pairs FILE"),
        (&["evaluate", "m", "nli=f", "--device", "tpu"], "device \"tpu\""),
    ];
    for (arguments, reason) in cases {
        let output = attar_train(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(reason), "{arguments:?}: {message}");
    }
}
