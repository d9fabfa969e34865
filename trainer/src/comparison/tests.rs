#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::progress::{Reporter, Stop};
use crate::run::RunOptions;
use crate::testing::{RELEVANCE, write_encoder};

const MINIMAL: &str = r#"
name = "c"
[base]
student = { encoder = "encoder", layers = 1, max_len = 32, heads = [{ name = "relevance" }] }
evaluate = [{ name = "dev", head = "relevance", path = "dev.tsv" }]
evaluate_teachers = true
validation = { fraction = 0.25 }
data_seed = 1
stage2.training = { epochs = 1, evaluations = 1 }
[[base.teachers]]
name = "a"
kind = "classifier"
encoder = "encoder"
fine_tune = true
pooler = "identity"
head_layers = 2
seed = 1
training = { max_steps = 2, evaluations = 1 }
[[base.teachers]]
name = "b"
kind = "classifier"
encoder = "encoder"
fine_tune = true
seed = 2
training = { max_steps = 2, evaluations = 1 }
[patches."All rows"]
stage2.sets = [{ head = "relevance", path = "train.tsv" }]
[patches.alone]
[patches."both teachers"]
scheme = "m-o-m"
stage2.teachers = ["a", "b"]
[[experiments]]
name = "schemes"
title = "Schemes <b>"
columns = ["All rows"]
rows = ["alone", "both teachers"]
seeds = [1, 2]
references = [{ name = "paper", figures = { "All rows/alone" = 12.5 } }]
[[experiments]]
name = "parts"
title = "Parts"
columns = ["All rows"]
rows = ["both teachers"]
seeds = [1]
parts = true
"#;

fn error(text: &str) -> String {
    Comparison::parse(text).unwrap_err().to_string()
}

fn world() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(&folder.path().join("encoder"), 1, &[RELEVANCE]);
    for (name, rows) in [("train.tsv", 48), ("dev.tsv", 12)] {
        let mut text = "text_a\ttext_b\tlabel\n".to_owned();
        for i in 0..rows {
            let (word, label) = if i % 2 == 0 { ("red", 1) } else { ("blue", 0) };
            text += &format!("what is the sky {}\tthe {word} cat sat {i}\t{label}\n", i / 4);
        }
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn options(output: &Path) -> RunOptions {
    RunOptions {
        output: output.to_owned(),
        shared: None,
        precision: Default::default(),
        device: "cpu".into(),
        threads: 0,
        checkpoint_every: Duration::from_secs(60),
        reporter: Reporter::new(true),
        stop: Stop::default(),
    }
}

#[test]
fn patches_are_merged_column_first() {
    let comparison = Comparison::parse(MINIMAL).unwrap();
    let variants = comparison.variants();
    assert_eq!(variants.len(), 4, "the second experiment shares its run with the first");
    let config = comparison.config(&variants[3]).unwrap();
    assert_eq!((config.seed, config.data_seed(), config.name.as_str()), (2, 1, "All rows both teachers"));
    assert_eq!(config.stage2.sets[0].teachers, ["a", "b"]);
    assert_eq!((config.stage2.training.epochs, config.teachers[0].sets.len()), (1, 1));
    assert_eq!(variants[3].folder(), Path::new("runs/all-rows/both-teachers/seed-2"));
}

#[test]
fn a_comparison_shares_what_is_the_same_and_does_nothing_twice() {
    let folder = world();
    let mut comparison = Comparison::parse(MINIMAL).unwrap();
    comparison.data = folder.path().to_owned();
    comparison.encoders = folder.path().to_owned();
    let output = folder.path().join("out");
    execute(&comparison, &options(&output), None).unwrap();
    let count = |name: &str| std::fs::read_dir(output.join("shared").join(name)).unwrap().count();
    assert_eq!((count("models"), count("labels"), count("scores")), (2, 2, 2), "teachers are shared by the seeds");
    let own = output.join("runs/all-rows/both-teachers/seed-2");
    assert!(own.join("training/teacher-a/history.jsonl").exists());
    let record = std::fs::read_to_string(own.join("evaluation.json")).unwrap();
    assert!(record.contains("teacher a") && record.contains("weights fitted on validation"), "{record}");
    let model = attar_nn::Student::load(
        &std::fs::read_dir(output.join("shared/models")).unwrap().flatten().map(|e| e.path()).min().unwrap(),
        &candle_core::Device::Cpu,
    );
    assert_eq!(model.unwrap().head("relevance").unwrap().layers, 2);

    let weights = own.join("student-0/model.safetensors");
    let written = || std::fs::metadata(&weights).unwrap().modified().unwrap();
    let before = (written(), std::fs::metadata(own.join("evaluation.json")).unwrap().modified().unwrap());
    execute(&comparison, &options(&output), Some("parts")).unwrap();
    execute(&comparison, &options(&output), None).unwrap();
    let after = (written(), std::fs::metadata(own.join("evaluation.json")).unwrap().modified().unwrap());
    assert_eq!(before, after);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    assert!(error(&MINIMAL.replace("rows = [\"alone\",", "rows = [\"alne\",")).contains("no patch \"alne\""));
    let message = error(&MINIMAL.replace("[patches.alone]", "[patches.alone]\nstage2.training.epoch = 3"));
    assert!(
        message.contains("run of All rows, alone, seed 1") && message.contains("did you mean `epochs`"),
        "{message}"
    );
    assert!(error(&MINIMAL.replace("seeds = [1, 2]", "seeds = []")).contains("no seeds"));
    assert!(error(&MINIMAL.replace("data_seed = 1", "seed = 1")).contains("[base] has \"seed\""));
    assert!(error(&MINIMAL.replace("[patches.alone]", "[patches.alone]\n[patches.Alone]")).contains("same folder"));
    assert!(error(&MINIMAL.replace("name = \"parts\"", "name = \"schemes\"")).contains("there twice"));
    let folder = world();
    let comparison = Comparison::parse(MINIMAL).unwrap();
    let message = execute(&comparison, &options(folder.path()), Some("x")).unwrap_err().to_string();
    assert!(message.contains("expected one of schemes, parts"), "{message}");
}

#[test]
fn the_example_files_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for (name, fewest) in [("reproduce-small.toml", 20), ("reproduce-full.toml", 90), ("evidence.toml", 36)] {
        let comparison = Comparison::read(&folder.join(name)).unwrap();
        assert!(comparison.variants().len() >= fewest, "{name}");
        // A figure that stands beside nothing is a slip of the pen.
        for experiment in &comparison.experiments {
            for key in experiment.references.iter().flat_map(|r| r.figures.keys()) {
                let (column, row) = key.split_once('/').unwrap();
                let known = experiment.parts || experiment.rows.iter().any(|r| r == row);
                assert!(known && experiment.columns.iter().any(|c| c == column), "{name}, {}: {key}", experiment.name);
            }
        }
    }
}
