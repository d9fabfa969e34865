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
        message.contains("a.tsv:1: no two text columns; known are text_a and text_b")
            && message.contains("the file has id, text_a, answer, label"),
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
    assert!(message.contains("a.tsv:2: 1 fields, expected 3 (text_a, text_b, label)"), "{message}");
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
    let missing = error("a.jsonl", r#"{"text_a": "a", "label": "neutral"}"#, "nli");
    // A JSON object's keys come sorted or as written, by a feature of serde_json that another crate may switch on.
    let names = missing.contains("has label, text_a") || missing.contains("has text_a, label");
    assert!(missing.contains(":1: no two text columns") && names, "{missing}");
    let later = error("a.jsonl", format!("{good}\n{{\"text_a\": \"a\", \"label\": \"neutral\"}}"), "nli");
    assert!(later.contains(":2: no text or number under text_b"), "{later}");
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
    assert!(read_rows(&path, None, &filter).unwrap_err().to_string().contains("no column part for `where`"));
}

#[test]
fn long_files_are_read_whole() {
    let mut content = b"text_a\ttext_b\tlabel\n".to_vec();
    for i in 0..5000 {
        writeln!(content, "a{i}\tb\tneutral").unwrap();
    }
    assert_eq!(read("a.tsv", content, "nli").unwrap().len(), 5000);
}

fn hub(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub").join(name)
}

fn read_hub(name: &str, head: &str) -> Result<ReadRows> {
    read_all(&hub(name), &labels(head))
}

fn read_all(path: &Path, labels: &LabelMap) -> Result<ReadRows> {
    super::read(path, ReadOptions { labels: Some(labels), ..ReadOptions::default() })
}

fn classes(read: &ReadRows) -> Vec<Option<u32>> {
    read.rows.iter().map(|row| row.label).collect()
}

#[test]
fn parquet_as_the_hub_has_it_is_read() {
    let read = read_hub("mnli.parquet", "nli").unwrap();
    assert_eq!((classes(&read), read.unlabelled), (vec![Some(0), Some(1), Some(2), None], 1));
    let expected = Row {
        id: "2".into(),
        text_a: "A man plays a guitar.".into(),
        text_b: "Nobody makes \"music\".".into(),
        label: Some(2),
    };
    assert_eq!(read.rows[2], expected);
    assert_eq!(classes(&read_hub("qnli.parquet", "rte").unwrap()), [Some(0), Some(1)]);
}

#[test]
fn class_names_of_the_file_decide_what_its_numbers_mean() {
    // QNLI's 0 is entailment, hence relevant; a plain 0 would mean the opposite.
    assert_eq!(classes(&read_hub("qnli.parquet", "relevance").unwrap()), [Some(1), Some(0)]);
    assert_eq!(classes(&read_hub("mnli-without-names.parquet", "nli").unwrap())[..3], [Some(0), Some(1), Some(2)]);
    let message = read_hub("qnli-without-names.parquet", "relevance").unwrap_err().to_string();
    assert!(message.contains("qnli-without-names.parquet:1: label 0") && message.contains("QNLI"), "{message}");
    let names = ["not_relevant".to_owned(), "relevant".to_owned()];
    let stated = BTreeMap::from([("0".into(), "relevant".into()), ("1".into(), "not_relevant".into())]);
    let map = LabelMap::new("relevance", &names, &stated).unwrap();
    assert_eq!(classes(&read_all(&hub("qnli-without-names.parquet"), &map).unwrap()), [Some(1), Some(0)]);
    let message = read_hub("mnli.parquet", "rte").unwrap_err().to_string();
    assert!(message.contains("mnli.parquet:2: label \"neutral\""), "{message}");
}

#[test]
fn shards_are_read_in_the_order_of_their_names() {
    let read = read_hub("rte-*.parquet", "rte").unwrap();
    let ids: Vec<&str> = read.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(classes(&read), [Some(0), Some(1), Some(0), Some(1), Some(0), Some(1)]);
    let message = read_hub("none-*.parquet", "rte").unwrap_err().to_string();
    assert!(message.contains("none-*.parquet: no file matches"), "{message}");
}

#[test]
fn nulls_and_nested_columns_of_parquet_do_no_harm() {
    let read = read_hub("nulls.parquet", "relevance").unwrap();
    assert_eq!((classes(&read), read.unlabelled), (vec![Some(1), None], 1));
    let filter = RowFilter::from([("label".to_owned(), "1".to_owned())]);
    assert_eq!(read_rows(&hub("nulls.parquet"), None, &filter).unwrap().len(), 1);
}

#[test]
fn parquet_that_cannot_be_read_says_why() {
    let message = read_hub("mnli-brotli.parquet", "nli").unwrap_err().to_string();
    assert!(message.contains("Snappy or Zstandard"), "{message}");
    let message = error("a.parquet", "PAR1 this is none PAR1", "nli");
    assert!(message.contains("a.parquet: not a whole Parquet file"), "{message}");
    let whole = std::fs::read(hub("mnli.parquet")).unwrap();
    for cut in [0, 3, 100, whole.len() - 1] {
        assert!(read("a.parquet", &whole[..cut], "nli").is_err(), "{cut}");
    }
    let columns =
        Columns::Named(BTreeMap::from([("text_a".into(), "first".into()), ("text_b".into(), "label".into())]));
    let options = ReadOptions { columns: Some(&columns), ..ReadOptions::default() };
    let message = super::read(&hub("mnli.parquet"), options).unwrap_err().to_string();
    assert!(
        message.contains("no column \"first\" (columns.text_a); the file has premise, hypothesis, label, idx"),
        "{message}"
    );
    let columns =
        Columns::Named(BTreeMap::from([("text_a".into(), "premise".into()), ("text_b".into(), "label".into())]));
    let options = ReadOptions { columns: Some(&columns), ..ReadOptions::default() };
    let message = super::read(&hub("mnli.parquet"), options).unwrap_err().to_string();
    assert!(message.contains("mnli.parquet:1: column \"label\" holds Integer(0), expected a text"), "{message}");
}

/// Lines as GLUE's MNLI zip has them, with 12 columns.
const GLUE_MNLI: &str = "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t\
    sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n\
    0\t1\t1e\tfiction\t()\t()\t(ROOT)\t(ROOT)\tA \"quoted\" text.\t\"Another.\tneutral\tneutral\n\
    1\t1\t1n\tfiction\t()\t()\t(ROOT)\t(ROOT)\tPremise.\tHypothesis.\tneutral\t-\n";

fn archive(members: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    file("MNLI.zip", zip.finish().unwrap().into_inner())
}

#[test]
fn glue_zips_are_read_without_unpacking() {
    let (_folder, zip) = archive(&[("MNLI/train.tsv", GLUE_MNLI.as_bytes()), ("__MACOSX/MNLI/._train.tsv", b"")]);
    let read = read_all(&zip.join("MNLI/train.tsv"), &labels("nli")).unwrap();
    assert_eq!((classes(&read), read.unlabelled), (vec![Some(1), None], 1));
    // Quotation marks are text, as GLUE means them.
    assert_eq!((read.rows[0].text_a.as_str(), read.rows[0].text_b.as_str()), ("A \"quoted\" text.", "\"Another."));
    let message = read_all(&zip.join("MNLI/dev.tsv"), &labels("nli")).unwrap_err().to_string();
    assert!(message.contains("no member \"MNLI/dev.tsv\"; it has MNLI/train.tsv"), "{message}");
    let (_plain, unpacked) = file("train.tsv", GLUE_MNLI);
    let hash = crate::hash::hash_file(&unpacked).unwrap();
    assert_eq!(crate::hash::hash_file(&zip.join("MNLI/train.tsv")).unwrap(), hash);
}

#[test]
fn snli_rows_with_fewer_annotators_are_whole() {
    let text = "gold_label\tsentence1\tsentence2\tpairID\tlabel1\tlabel2\nneutral\tA.\tB.\t7r1n\tneutral\n";
    let rows = read("snli_1.0_train.txt", text, "nli").unwrap();
    assert_eq!((rows[0].id.as_str(), rows[0].label), ("7r1n", Some(1)));
    let shifted = "gold_label\tsentence1\tsentence2\tpairID\nneutral\tA.\twith a tab\tB.\t7r1n\n";
    let message = error("a.tsv", shifted, "nli");
    assert!(message.contains("a.tsv:2: 5 fields, expected 4"), "{message}");
}

#[test]
fn wikiqa_and_boolq_columns_are_known() {
    let wikiqa = "QuestionID\tQuestion\tDocumentID\tDocumentTitle\tSentenceID\tSentence\tLabel\n\
        Q1\thow?\tD1\tT\tD1-0\tso\t1\n";
    let rows = read("a.tsv", wikiqa, "relevance").unwrap();
    assert_eq!((rows[0].id.as_str(), rows[0].text_b.as_str(), rows[0].label), ("D1-0", "so", Some(1)));
    let boolq = r#"{"question": "is it", "answer": true, "passage": "It is.", "label": 1}"#;
    assert_eq!(read("a.jsonl", boolq, "relevance").unwrap()[0].text_b, "It is.");
}

#[test]
fn fever_in_its_nli_form_has_the_evidence_first() {
    let row = r#"{"cid": "1", "fid": "f", "query": "The claim.", "context": "The evidence.", "label": "REFUTES", "verifiable": "VERIFIABLE"}"#;
    let rows = read("train_fitems.jsonl", row, "nli").unwrap();
    assert_eq!((rows[0].text_a.as_str(), rows[0].label), ("The evidence.", Some(2)));
    // Without FEVER's own columns the same two names are a question and a passage: no guess.
    let other = r#"{"query": "who?", "context": "Me.", "label": "1"}"#;
    assert!(error("a.jsonl", other, "relevance").contains("no two text columns"));
}

#[test]
fn a_file_without_a_header_row_needs_its_columns_stated() {
    let plain = "who plays?\tA man plays.\nwho sleeps?\tThe cat sleeps.\n";
    let (_folder, path) = file("pairs.tsv", plain);
    let message = read_rows(&path, None, &RowFilter::new()).unwrap_err().to_string();
    assert!(message.contains("columns = [\"text_a\", \"text_b\"]") && message.contains("no header row"), "{message}");
    let columns = Columns::Listed(vec!["question".into(), "passage".into()]);
    let options = ReadOptions { columns: Some(&columns), ..ReadOptions::default() };
    let read = super::read(&path, options).unwrap();
    assert_eq!((read.rows.len(), read.rows[0].id.as_str(), read.rows[1].text_b.as_str()), (2, "1", "The cat sleeps."));
    let (_folder, headed) = file("pairs.tsv", format!("question\tpassage\n{plain}"));
    let message = super::read(&headed, options).unwrap_err().to_string();
    assert!(message.contains(":1: a header row (question, passage)"), "{message}");
    let (_folder, three) = file("pairs.tsv", "who?\tme\tmore\n");
    assert!(super::read(&three, options).unwrap_err().to_string().contains(":1: 3 fields, expected 2"));
}

#[test]
fn a_stated_label_column_of_a_headerless_file_is_checked_row_by_row() {
    let (_folder, path) = file("WikiQA-train.txt", "how?\tso\t0\nhow?\tthus\t1\nhow?\t1\tthus\n");
    let columns = Columns::Listed(["question", "sentence", "label"].map(str::to_owned).to_vec());
    let map = labels("relevance");
    let options = ReadOptions { labels: Some(&map), columns: Some(&columns), ..ReadOptions::default() };
    let message = super::read(&path, options).unwrap_err().to_string();
    assert!(message.contains(":3: label \"thus\""), "{message}");
}

#[test]
fn columns_can_be_named() {
    let (_folder, path) = file("a.jsonl", r#"{"anchor": "a", "positive": "b"}"#);
    let columns =
        Columns::Named(BTreeMap::from([("text_a".into(), "anchor".into()), ("text_b".into(), "positive".into())]));
    let options = ReadOptions { columns: Some(&columns), ..ReadOptions::default() };
    assert_eq!(super::read(&path, options).unwrap().rows[0].text_b, "b");
    let half = Columns::Named(BTreeMap::from([("text_a".into(), "anchor".into())]));
    let options = ReadOptions { columns: Some(&half), ..ReadOptions::default() };
    assert!(super::read(&path, options).unwrap_err().to_string().contains("only one of text_a and text_b"));
    let wrong = Columns::Named(BTreeMap::from([("text_c".into(), "anchor".into())]));
    let options = ReadOptions { columns: Some(&wrong), ..ReadOptions::default() };
    assert!(super::read(&path, options).unwrap_err().to_string().contains("columns.text_c, expected text_a"));
}

#[test]
fn labels_of_another_task_can_be_left_unread() {
    let (_folder, path) = file("a.tsv", "text_a\ttext_b\tlabel\nx\ty\tcontradiction\n");
    let map = labels("relevance");
    let unread = Columns::Named(BTreeMap::from([("label".into(), "-".into())]));
    let options = |columns| ReadOptions { labels: Some(&map), label_optional: true, columns, ..ReadOptions::default() };
    assert_eq!(super::read(&path, options(Some(&unread))).unwrap().rows[0].label, None);
    assert!(super::read(&path, options(None)).unwrap_err().to_string().contains("label \"contradiction\""));
}

#[test]
fn a_file_with_a_header_only_is_an_error() {
    assert!(error("a.tsv", "text_a\ttext_b\tlabel\n", "nli").contains(":1: no rows"));
    assert!(error("a.jsonl", "\n", "nli").contains(":1: no rows"));
}

#[test]
fn a_few_empty_texts_are_counted_and_many_are_an_error() {
    let mut content = "text_a\ttext_b\tlabel\n".to_owned();
    for i in 0..1999 {
        content += &format!("a{i}\tb\tneutral\n");
    }
    content += "a\t\tneutral\n";
    let (_folder, path) = file("a.tsv", &content);
    let read = read_all(&path, &labels("nli")).unwrap();
    assert_eq!((read.rows.len(), read.empty), (1999, 1));
    content += "\tb\tneutral\n\tb\tneutral\n";
    assert!(error("a.tsv", content, "nli").contains(":2001: the second text is empty, as is one in 3 of 2002 rows"));
}

#[test]
fn a_folder_is_no_file_and_the_error_says_what_to_give() {
    let folder = tempfile::tempdir().unwrap();
    let message = read_all(folder.path(), &labels("nli")).unwrap_err().to_string();
    assert!(message.contains("a folder, expected a file, or a pattern such as"), "{message}");
}
