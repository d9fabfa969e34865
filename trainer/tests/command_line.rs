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
    for file in
        ["student/attar.toml", "student/model.safetensors", "run.json", "evaluation.json", "report.md", "report.html"]
    {
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

    let (twice, student) = (folder.path().join("twice"), student.to_str().unwrap());
    let mean = attar_train(&["mean", student, student, "-o", twice.to_str().unwrap()]);
    assert!(text(&mean.stderr).contains("twice: the mean of 2 students"), "{}", text(&mean.stderr));
    let evaluated = attar_train(&["evaluate", twice.to_str().unwrap(), dev, "--json"]);
    let evaluated: serde_json::Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    assert_eq!(evaluated[0]["scores"]["accuracy"].as_f64(), Some(accuracy));

    let report = attar_train(&["report", output.to_str().unwrap()]);
    assert!(text(&report.stdout).contains("| nli | nli | 60 |"), "{}", text(&report.stdout));
}

#[test]
fn a_comparison_runs_once_and_reports_one_page() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("optimisers.toml");
    let tiny = root().join("examples/tiny");
    let toml = format!(
        r#"
name = "optimisers"
data = {tiny:?}
encoders = {tiny:?}
[base]
student.encoder = "tokenizer"
student.fresh = {{ layers = 1, hidden = 16, attention_heads = 2, intermediate = 32 }}
student.max_len = 48
student.heads = [{{ name = "nli" }}]
stage2.training = {{ max_steps = 8, evaluations = 2 }}
[patches.made-up]
stage2.sets = [{{ head = "nli", path = "nli_train.tsv" }}]
evaluate = [{{ name = "dev", head = "nli", path = "nli_dev.tsv", limit = 40 }}]
[patches.Adam]
stage2.training.optimizer = "adam"
[patches.SGD]
stage2.training = {{ optimizer = "sgd", learning_rate = 0.1 }}
[[experiments]]
name = "optimizer"
title = "Adam against SGD"
columns = ["made-up"]
rows = ["Adam", "SGD"]
seeds = [1, 2]
references = [{{ name = "others", figures = {{ "made-up/SGD" = 31.6 }} }}]
"#
    );
    std::fs::write(&file, toml).unwrap();
    let output = folder.path().join("out");
    let compare = ["compare", file.to_str().unwrap(), "-o", output.to_str().unwrap()];
    let first = attar_train(&compare);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let report = text(&first.stdout);
    for part in ["# Comparison optimisers", "| Adam |", "| 31.6 |", "made-up: SGD against Adam: "] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    let again = attar_train(&compare);
    assert_eq!(text(&again.stderr).matches("done before").count(), 4, "{}", text(&again.stderr));
    let page = std::fs::read_to_string(output.join("report.html")).unwrap();
    assert!(page.contains("<svg class=\"chart\"") && page.contains("Adam against SGD"));

    let runs: Vec<String> = ["adam/seed-1", "adam/seed-2", "sgd/seed-1"]
        .map(|r| output.join("runs/made-up").join(r))
        .map(|p| p.display().to_string())
        .into();
    let both = folder.path().join("both");
    let mut arguments = vec!["report", "-o", both.to_str().unwrap()];
    arguments.extend(runs.iter().map(String::as_str));
    let together = attar_train(&arguments);
    let report = text(&together.stdout);
    assert!(report.contains("# 3 runs") && report.contains(" ± ") && both.join("report.html").exists(), "{report}");

    let unknown = attar_train(&["compare", file.to_str().unwrap(), "--only", "adam", "-o", output.to_str().unwrap()]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("expected one of optimizer"), "{}", text(&unknown.stderr));
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
    let reworded = at("reworded.tsv");
    let reword = ["--reword", &teacher, "--copies", "2", "-o", &reworded];
    let made = attar_train(&[&arguments[..5], &reword].concat());
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(std::fs::read_to_string(&reworded).unwrap().contains("\treworded\n"));
    let refused = attar_train(&[&arguments[..5], &["--reword", &teacher, "--share", "2", "-o", &reworded]].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("share = 2"), "{}", text(&refused.stderr));
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
fn labels_come_from_several_jobs_and_travel_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = attar_train(&["run", "examples/train-tiny.toml", "-o", &at("tiny"), "--quiet"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let (teacher, pairs) = (at("tiny/student"), at("pairs.tsv"));
    // Without a header row: two shards of 2048 rows and a rest.
    let rows: String = (0..5000).map(|i| format!("the cat sat on mat {i}\tthe dog ran {}\n", i % 71)).collect();
    std::fs::write(&pairs, rows).unwrap();
    let label = |arguments: &[&str]| {
        let base =
            ["label", "--teacher", &teacher, "--kind", "classifier", "--head", "nli", "--data", &pairs, "--json"];
        attar_train(&[&base, arguments].concat())
    };
    let json = |output: &Output| -> serde_json::Value {
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let columns = ["--columns", "text_a,text_b"];
    let unstated = label(&["-o", &at("one")]);
    assert!(text(&unstated.stderr).contains("pairs.tsv:1:") && text(&unstated.stderr).contains("no header row"));
    let one = json(&label(&[&columns[..], &["-o", &at("one")]].concat()));
    assert_eq!(
        (one["rows"].as_u64(), one["shards"].as_u64(), one["missing"].to_string()),
        (Some(5000), Some(3), "[]".into())
    );

    let first = json(&label(&[&columns[..], &["-o", &at("jobs"), "--worker", "0/2"]].concat()));
    assert_eq!(first["missing"].to_string(), "[1]");
    let second = label(&[&columns[..], &["-o", &at("jobs"), "--shards", "1", "--part-size", "20KiB"]].concat());
    assert_eq!(json(&second)["missing"].to_string(), "[]");
    assert!(label(&[&columns[..], &["-o", &at("jobs"), "--shards", "3"]].concat()).status.code() == Some(2));

    let joined = attar_train(&["parts", "join", &at("jobs.parts/jobs.parts.toml"), "-o", &at("joined")]);
    assert!(joined.status.success(), "{}", text(&joined.stderr));
    for shard in 0..3 {
        let read = |folder: &str| std::fs::read(at(&format!("{folder}/shard-{shard:05}.parquet"))).unwrap();
        assert!(read("one") == read("jobs") && read("one") == read("joined/jobs"), "shard {shard}");
    }
    std::fs::write(at("jobs.parts/jobs.part-00000"), "short").unwrap();
    let damaged = attar_train(&["parts", "join", &at("jobs.parts/jobs.parts.toml"), "-o", &at("joined")]);
    assert_eq!(damaged.status.code(), Some(2));
    assert!(text(&damaged.stderr).contains("jobs.part-00000: damaged part"), "{}", text(&damaged.stderr));
}

#[test]
fn a_wrong_file_is_found_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("dev.tsv"), "text_a\ttext_b\tlabel\na\tb\tneutral\na\tb\tperhaps\n").unwrap();
    let tokenizer = "examples/tiny/tokenizer";
    let toml = format!(
        "name = \"t\"\n[student]\nencoder = {tokenizer:?}\nfresh = {{ layers = 1, hidden = 16, attention_heads = 2, \
         intermediate = 32 }}\nheads = [{{ name = \"nli\" }}]\n[stage2]\nsets = [{{ head = \"nli\", path = \
         \"examples/tiny/nli_train.tsv\" }}]\n[[evaluate]]\nname = \"dev\"\nhead = \"nli\"\npath = {:?}\n",
        at("dev.tsv")
    );
    std::fs::write(at("t.toml"), toml).unwrap();
    let run = attar_train(&["run", &at("t.toml"), "--data", ".", "--encoders", ".", "-o", &at("run")]);
    let log = text(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{log}");
    assert!(log.contains("dev.tsv:3: label \"perhaps\", expected one of") && !log.contains("stage2: "), "{log}");
}

#[test]
fn fetching_says_what_it_knows_and_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let list = attar_train(&["fetch", "--list"]);
    assert!(text(&list.stdout).contains("mnli\tdata\tnyu-mll/glue/mnli"), "{}", text(&list.stdout));
    let data = folder.path().to_str().unwrap();
    let offline = attar_train(&["fetch", "snli", "--endpoint", "http://127.0.0.1:9", "--data", data]);
    let message = text(&offline.stderr);
    assert_eq!(offline.status.code(), Some(2), "{message}");
    assert!(
        message.contains("stanfordnlp/snli") && message.contains("HF_ENDPOINT") && message.contains("by hand"),
        "{message}"
    );
}

#[test]
fn what_is_wrong_ends_with_code_2_and_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    let toml = std::fs::read_to_string(root().join("examples/train-tiny.toml")).unwrap();
    std::fs::write(&file, toml.replace("epochs = 20", "epoch = 20")).unwrap();
    let path = file.to_str().unwrap();
    let nli = "nli=examples/tiny/nli_dev.tsv";
    // A run file that only lacks what its encoders or data are.
    let base = |extra: &str| {
        format!(
            "name = \"t\"\n{extra}\n[student]\nencoder = \"tokenizer\"\nfresh = {{ layers = 1, hidden = 16, attention_heads = 2, \
             intermediate = 32 }}\nheads = [{{ name = \"nli\" }}]\n[stage2]\nsets = [{{ head = \"nli\", path = \"nli.tsv\" }}]\n"
        )
    };
    let (no_data, no_teacher) = (folder.path().join("data.toml"), folder.path().join("teacher.toml"));
    std::fs::write(&no_data, base("")).unwrap();
    let teacher = "[[teachers]]\nname = \"a\"\nkind = \"classifier\"\nencoder = \"nowhere\"\n";
    let taught = base("scheme = \"1-o-1\"").replace("\"nli.tsv\"", "\"nli_train.tsv\", teachers = [\"a\"]");
    std::fs::write(&no_teacher, taught + teacher).unwrap();
    let run = |file: &'static str, output: &'static str| -> Vec<String> {
        let file = folder.path().join(file).display().to_string();
        let output = folder.path().join(output).display().to_string();
        let given = ["run", &file, "--data", "examples/tiny", "--encoders", "examples/tiny", "-o", &output];
        given.map(str::to_owned).to_vec()
    };
    for (arguments, reason) in [
        (run("data.toml", "1"), "relative paths are below `data` (--data), which is examples/tiny"),
        (run("teacher.toml", "2"), "encoder of teacher \"a\": no file examples/tiny/nowhere/config.json"),
    ] {
        let output = attar_train(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    let cases: [(&[&str], &str); 10] = [
        (&["run", "no-such.toml"], "no-such.toml: cannot read"),
        (&["run", path], "unknown key `epoch`, did you mean `epochs`?"),
        (&["report", "no-such-run"], "run.json"),
        (&["mean", "m", "-o", "x"], "values required"),
        (&["evaluate", "no-such-model", nli], "attar.toml: no such file; expected the folder of a trained student"),
        (&["label", "--teacher", "m", "--kind", "classifier", "--data", "examples/tiny", "-o", "x"], "m/attar.toml"),
        (&["evaluate", "m", nli, "--checkpoint-minutes", "inf"], "minutes from 0 to 525600"),
        (&["evaluate", "m", nli, "--precison", "bf16"], "--precision"),
        (&["pairs", "-o", "/tmp/x.tsv"], "give --squad FILE or --pairs FILE"),
        (&["evaluate", "m", "nli=f", "--device", "tpu"], "device \"tpu\""),
    ];
    for (arguments, reason) in cases {
        let output = attar_train(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(reason), "{arguments:?}: {message}");
        assert!(message.matches("os error 2").count() < 2, "said twice: {message}");
    }
}
