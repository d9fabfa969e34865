//! `attar score`, `info` and `bench`, and bundles that are broken, with the built program.
#![allow(clippy::unwrap_used)]

mod common;
use common::{Home, POSITIONS, tiny_bundle};
use std::io::Write;

fn keys(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

const PAIR: &[&str] = &["score", "--question", "Is the lamp red?", "--passage", "The lamp is red."];

#[test]
fn one_pair_gives_the_documented_object() {
    let home = Home::new();
    let object = home.attar(&[PAIR, &["--json"]].concat()).ok().json();
    assert_eq!(keys(&object), ["id", "head", "label", "probabilities", "logits", "relevance", "tokens", "windows"]);
    assert_eq!(object["id"], 0);
    assert_eq!(object["head"], "relevance");
    assert_eq!(keys(&object["logits"]), ["not_relevant", "relevant"]);
    let p = |label: &str| object["probabilities"][label].as_f64().unwrap();
    assert!((p("relevant") + p("not_relevant") - 1.0).abs() < 1e-6);
    assert_eq!(object["relevance"], object["probabilities"]["relevant"]);
    assert_eq!(object["label"], if p("relevant") > 0.5 { "relevant" } else { "not_relevant" });
    // The temperature divides the logits' difference.
    let x = |label: &str| object["logits"][label].as_f64().unwrap();
    let expected = 1.0 / (1.0 + ((x("not_relevant") - x("relevant")) / 1.5).exp());
    assert!((p("relevant") - expected).abs() < 1e-6);
}

#[test]
fn another_head_has_no_relevance() {
    let home = Home::new();
    let object = home.attar(&[PAIR, &["--json", "--head", "nli"]].concat()).ok().json();
    assert_eq!(keys(&object["probabilities"]), ["entailment", "neutral", "contradiction"]);
    assert!(object.get("relevance").is_none());
}

#[test]
fn pairs_keep_order_ids_and_other_columns() {
    let home = Home::new();
    let rows: String = (0..600).map(|i| format!("the pump\tx{i}\t{i}\tthe lamp {i}\n")).collect();
    home.write("pairs.tsv", format!("text_b\tid\tlabel\ttext_a\n{rows}"));
    let objects = home.attar(&["score", "--pairs", "pairs.tsv", "--json"]).ok().json_lines();
    assert_eq!(objects.len(), 600);
    for (i, object) in objects.iter().enumerate() {
        assert_eq!(object["id"], format!("x{i}"));
        assert_eq!(object["input_label"], i.to_string());
    }
    let one = home.attar(&["score", "--question", "the lamp 7", "--passage", "the pump", "--json"]).ok().json();
    assert_eq!(one["logits"], objects[7]["logits"]);
    let threads = home.attar(&["score", "--pairs", "pairs.tsv", "--json", "--threads", "2"]).ok().json_lines();
    assert_eq!(threads, objects);
}

#[test]
fn the_table_has_a_header_and_standard_input_works() {
    let home = Home::new();
    let run = home.run_with_input(&["score", "--pairs", "-"], b"text_a\ttext_b\tsource\nthe lamp\tis red\tme\n").ok();
    let out = run.out();
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines[0], ["id", "head", "label", "p(not_relevant)", "p(relevant)", "source"]);
    assert_eq!((lines[1][0], lines[1][1], lines[1][5]), ("0", "relevance", "me"));
    assert_eq!(lines.len(), 2);
}

#[test]
fn long_pairs_are_read_in_windows_and_said_to_be() {
    let home = Home::new();
    let passage = "the lamp is red. ".repeat(POSITIONS);
    let run = home.attar(&["score", "--question", "the lamp", "--passage", &passage, "--json"]);
    assert_eq!(run.code(), Some(0));
    assert!(run.json()["windows"].as_u64().unwrap() > 1);
    assert!(run.err().contains("1 pairs are longer than the model's input"), "{}", run.err());
}

#[test]
fn bad_pairs_name_file_and_line() {
    let home = Home::new();
    home.write("columns.tsv", "question\tanswer\na\tb\n");
    home.write("empty.tsv", "");
    let long: String = (0..300).map(|_| "a\tb\n").collect();
    home.write("row.tsv", format!("text_a\ttext_b\n{long}only one\n"));
    home.write("blank.tsv", "text_a\ttext_b\na\tb\nc\t \n");
    home.write("control.tsv", "text_a\ttext_b\na\tb\nc\t\u{200b}\n");
    let score = |file: &str| home.attar(&["score", "--json", "--pairs", file]);
    score("missing.tsv").fails_with("missing.tsv: no such file");
    score("columns.tsv").fails_with("columns.tsv:1: no column \"text_a\" in the header line; found [\"question\"");
    score("empty.tsv").fails_with("empty.tsv: empty; expected a header line");
    score(".").fails_with(".");
    for (file, part, rows) in [
        ("row.tsv", "row.tsv:302: 1 columns, expected 2", 300),
        ("blank.tsv", "blank.tsv:3: column text_b is empty", 1),
        ("control.tsv", "control.tsv:3: ", 0),
    ] {
        let run = score(file);
        assert_eq!(run.code(), Some(2));
        assert!(run.err().contains(part), "{}", run.err());
        assert_eq!(run.json_lines().len(), rows, "{file}");
    }
    home.attar(&[PAIR, &["--head", "span"]].concat()).fails_with("no head \"span\"; it has nli, relevance");
    home.attar(&["score", "--question", "", "--passage", "x"]).fails_with("--question is empty");
    home.attar(&["score", "--question", "x"]).fails_with("--passage");
    home.attar(&["score"]).fails_with("--question");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    let rows: String = (0..3000).map(|i| format!("the lamp {i}\tthe pump is red\n")).collect();
    home.write("pairs.tsv", format!("text_a\ttext_b\n{rows}"));
    let mut child = home.command(&["score", "--pairs", "pairs.tsv", "--json"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn damaged_bundles_are_refused_by_name() {
    let home = Home::new();
    let good = tiny_bundle();
    let refused = |bytes: &[u8]| {
        home.write("bad.attar", bytes);
        let run = home.attar(&[PAIR, &["--model", "bad.attar"]].concat());
        run.fails_with("bad.attar: ");
        run.err()
    };
    for length in [0, 7, 8, 100, good.len() / 2, good.len() - 1] {
        refused(&good[..length]);
    }
    refused(&[&good[..], b"x"].concat());
    for at in [0, 9, 200, good.len() / 3, good.len() / 2, good.len() - 9] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        refused(&bytes);
    }
    let header = String::from_utf8_lossy(&good).into_owned();
    let at = header.find("\"attar.format\":\"1\"").unwrap() + "\"attar.format\":\"".len();
    let mut newer = good.clone();
    newer[at] = b'9';
    refused(&newer);
}

#[test]
fn the_model_option_beats_the_environment_and_kernels_agree() {
    let home = Home::new();
    let missing = home.command(PAIR).env("ATTAR_MODEL", "missing.attar").output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    let chosen =
        home.command(PAIR).args(["--model", "tiny.attar"]).env("ATTAR_MODEL", "missing.attar").output().unwrap();
    assert_eq!(chosen.status.code(), Some(0));
    let logits =
        |kernel: &str| home.attar(&[PAIR, &["--json", "--kernel", kernel]].concat()).ok().json()["logits"].clone();
    let info = home.attar(&["info", "--json"]).ok().json();
    let close = |a: &serde_json::Value, b: &serde_json::Value| {
        ["relevant", "not_relevant"].iter().all(|l| (a[l].as_f64().unwrap() - b[l].as_f64().unwrap()).abs() < 1e-3)
    };
    for kernel in info["kernels"].as_array().unwrap() {
        assert!(close(&logits(kernel.as_str().unwrap()), &logits("scalar")), "{kernel}");
    }
    let forced = home.command(PAIR).env("ATTAR_KERNEL", "abacus").output().unwrap();
    assert_eq!(forced.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&forced.stderr).contains("abacus"));
}

#[test]
fn info_tells_what_a_bundle_holds() {
    let home = Home::with_documents();
    let info = home.attar(&["info", "tiny.attar", "--json"]).ok().json();
    assert_eq!(info["model"], "tiny.attar");
    assert_eq!(info["weights"], "f32");
    assert_eq!(info["architecture"]["hidden"], 48);
    assert_eq!(info["heads"][1]["labels"], serde_json::json!(["not_relevant", "relevant"]));
    assert_eq!(info["heads"][1]["temperature"], 1.5);
    assert_eq!(info["checksums"], "verified");
    assert_eq!(info["provenance"]["student"], "tiny");
    assert_eq!(info["file_bytes"], tiny_bundle().len());
    let parts = info["bytes_by_part"].as_object().unwrap().values();
    assert_eq!(parts.map(|bytes| bytes.as_u64().unwrap()).sum::<u64>(), tiny_bundle().len() as u64);
    let text = home.attar(&["info"]).ok().out();
    for part in
        ["BERT, 1 layers of 48", "relevance: not_relevant, relevant", "teachers    none", "checksums     verified"]
    {
        assert!(text.contains(part), "expected {part:?} in: {text}");
    }
    home.attar(&["index", "docs", "-o", "notes.attarlib"]).ok();
    let library = home.attar(&["info", "notes.attarlib"]).ok().out();
    assert_eq!(library, "notes.attarlib: a library of 3 documents, 3 passages\n");
    home.attar(&["info", "docs/lamp.md"]).fails_with("docs/lamp.md");
    home.attar(&["info", "nothing.attar"]).fails_with("nothing.attar");
}

#[test]
fn bench_reports_what_is_documented() {
    let home = Home::new();
    let args = ["bench", "--lengths", "5,16,64", "--batch", "1,3", "--seconds", "0", "--threads", "2", "--json"];
    let report = home.attar(&args).ok().json();
    assert_eq!(keys(&report), ["model", "kernel", "threads", "cold_open_ms", "peak_rss_bytes", "results"]);
    assert_eq!(report["threads"], 2);
    let results = report["results"].as_array().unwrap();
    let shapes: Vec<_> =
        results.iter().map(|r| (r["batch"].as_u64().unwrap(), r["tokens"].as_u64().unwrap())).collect();
    assert_eq!(shapes, [(1, 5), (1, 16), (1, 64), (3, 5), (3, 16), (3, 64)]);
    for result in results {
        assert_eq!(keys(result), ["batch", "tokens", "median_ms", "p95_ms", "min_ms", "n"]);
        assert!(result["n"].as_u64().unwrap() >= 10);
    }
    assert!(home.attar(&["bench", "--lengths", "8", "--seconds", "0"]).ok().out().contains("median ms"));
    home.attar(&["bench", "--lengths", "65"]).fails_with("at most 64 tokens");
    home.attar(&["bench", "--lengths", "4"]).fails_with("at least 5 tokens");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        let _ = writeln!(std::io::stdout(), "skipped: no /dev/full");
        return;
    };
    let home = Home::new();
    let output = home.command(PAIR).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
