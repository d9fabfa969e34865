#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use super::*;

fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn labels(head: &str) -> LabelMap {
    let names: Vec<String> = crate::data::head_labels(head).unwrap().iter().map(|&l| l.to_owned()).collect();
    LabelMap::new(head, &names, &BTreeMap::new()).unwrap()
}

fn read(name: &str, content: impl AsRef<[u8]>, head: &str) -> Result<Vec<Row>> {
    let (_folder, path) = file(name, content);
    read_rows(&path, Some(&labels(head)), &RowFilter::new())
}

fn error(name: &str, content: impl AsRef<[u8]>, head: &str) -> String {
    read(name, content, head).unwrap_err().to_string()
}

#[test]
fn a_tsv_with_our_columns_is_read() {
    let rows = read("a.tsv", "id\ttext_a\ttext_b\tlabel\tsource\nx1\tA b\tC\tneutral\tm\n", "nli").unwrap();
    let expected = Row { id: "x1".into(), text_a: "A b".into(), text_b: "C".into(), label: Some(1) };
    assert_eq!(rows, [expected]);
}

#[test]
fn glue_columns_are_known() {
    let qnli = "index\tquestion\tsentence\tlabel\n7\twho\tme\tnot_entailment\n";
    assert_eq!(read("a.tsv", qnli, "relevance").unwrap()[0].label, Some(0));
    let mnli =
        "index\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label\n1\t()\tp\th\tneutral\tcontradiction\n";
    let row = &read("a.txt", mnli, "nli").unwrap()[0];
    assert_eq!((row.text_a.as_str(), row.label), ("p", Some(2)));
    let snli = r#"{"pairID": "3", "sentence1": "p", "sentence2": "h", "gold_label": "-"}"#;
    assert_eq!(read("a.jsonl", snli, "nli").unwrap()[0].label, None);
}

#[test]
fn jsonl_and_compressed_files_are_read() {
    let json = "{\"premise\": \"p\", \"hypothesis\": \"h\", \"label\": \"entailment\"}\n\n";
    let compressed = zstd::encode_all(json.as_bytes(), 1).unwrap();
    let rows = read("a.jsonl.zst", compressed, "nli").unwrap();
    assert_eq!((rows[0].id.as_str(), rows[0].label), ("1", Some(0)));
}

#[test]
fn an_empty_label_is_no_label() {
    assert_eq!(read("a.tsv", "text_a\ttext_b\tlabel\na\tb\t\n", "nli").unwrap()[0].label, None);
    let null = r#"{"text_a": "a", "text_b": "b", "label": null}"#;
    assert_eq!(read("a.jsonl", null, "nli").unwrap()[0].label, None);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_do_no_harm() {
    let rows = read("a.tsv", "\u{feff}text_a\ttext_b\tlabel\r\na\tb\tneutral\r\n", "nli").unwrap();
    assert_eq!((rows[0].text_a.as_str(), rows[0].label), ("a", Some(1)));
}

#[test]
fn a_missing_column_is_named_with_those_that_are_there() {
    let message = error("a.tsv", "id\ttext_a\tanswer\tlabel\n", "nli");
    assert!(
        message.contains("a.tsv:1: no column text_b or") && message.contains("id, text_a, answer, label"),
        "{message}"
    );
}

#[test]
fn an_unknown_label_is_named_with_line_and_expected_words() {
    let message = error("a.tsv", "text_a\ttext_b\tlabel\na\tb\tneutral\na\tb\tmaybe\n", "nli");
    assert!(message.contains("a.tsv:3: label \"maybe\"") && message.contains("contradiction"), "{message}");
}

#[test]
fn numbers_are_not_guessed_but_can_be_mapped() {
    assert!(error("a.tsv", "text_a\ttext_b\tlabel\na\tb\t0\n", "rte").contains("label \"0\""));
    let names = ["entailment".to_owned(), "not_entailment".to_owned()];
    let extra = BTreeMap::from([("0".to_owned(), "entailment".to_owned())]);
    assert_eq!(LabelMap::new("rte", &names, &extra).unwrap().class("0"), Ok(Some(0)));
    let wrong = BTreeMap::from([("0".to_owned(), "maybe".to_owned())]);
    assert!(LabelMap::new("rte", &names, &wrong).unwrap_err().to_string().contains("no label \"maybe\""));
}

#[test]
fn a_short_row_is_an_error() {
    let message = error("a.tsv", "text_a\ttext_b\tlabel\nonly one\n", "nli");
    assert!(message.contains("a.tsv:2: 1 fields, expected at least 3"), "{message}");
}

#[test]
fn an_empty_text_is_an_error() {
    assert!(error("a.tsv", "text_a\ttext_b\tlabel\n \tb\tneutral\n", "nli").contains(":2: the first text is empty"));
}

#[test]
fn an_empty_file_is_an_error() {
    assert!(error("a.tsv", "", "nli").contains(":1: empty file"));
}

#[test]
fn bad_json_is_an_error_with_its_line() {
    let good = r#"{"text_a": "a", "text_b": "b", "label": "neutral"}"#;
    assert!(error("a.jsonl", format!("{good}\n{{"), "nli").contains(":2: not a JSON object"));
    assert!(error("a.jsonl", "[1]", "nli").contains(":1: not a JSON object"));
    assert!(
        error("a.jsonl", r#"{"text_a": "a", "label": "neutral"}"#, "nli").contains("no text or number under text_b")
    );
}

#[test]
fn invalid_utf8_is_an_error_with_its_line() {
    assert!(error("a.tsv", b"text_a\ttext_b\tlabel\n\xff\tb\tneutral\n", "nli").contains(":2: invalid UTF-8"));
}

#[test]
fn an_unknown_ending_is_an_error() {
    assert!(error("a.csv", "text_a,text_b\n", "nli").contains("cannot tell the format"));
}

#[test]
fn a_missing_file_is_an_io_error() {
    let error = read_rows(Path::new("no/such.tsv"), None, &RowFilter::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("no/such.tsv"));
}

#[test]
fn a_file_that_is_not_zstandard_is_an_error() {
    assert!(error("a.tsv.zst", "text_a\ttext_b\tlabel\n", "nli").contains("cannot read"));
}

#[test]
fn rows_can_be_filtered_by_a_column() {
    let (_folder, path) = file("a.tsv", "text_a\ttext_b\tsplit\na\tb\ttrain\nc\td\tdev\n");
    let filter = RowFilter::from([("split".to_owned(), "train".to_owned())]);
    assert_eq!(read_rows(&path, None, &filter).unwrap().len(), 1);
    let filter = RowFilter::from([("part".to_owned(), "train".to_owned())]);
    assert!(read_rows(&path, None, &filter).unwrap_err().to_string().contains("no column part"));
}

#[test]
fn long_files_are_read_whole() {
    let mut content = b"text_a\ttext_b\tlabel\n".to_vec();
    for i in 0..5000 {
        writeln!(content, "a{i}\tb\tneutral").unwrap();
    }
    assert_eq!(read("a.tsv", content, "nli").unwrap().len(), 5000);
}
