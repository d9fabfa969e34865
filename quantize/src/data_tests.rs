#![allow(clippy::unwrap_used)]
use super::*;

fn rows(text: &str) -> Result<Vec<Row>> {
    parse(text.as_bytes(), None)
}

#[test]
fn columns_are_found_by_name() {
    let rows = rows("\u{feff}label\tid\ttext_b\ttext_a\r\n1\tx\tb b\ta\r\n\n0\ty\td\tc").unwrap();
    let row = |line, a: &str, b: &str, label: &str| Row { line, a: a.into(), b: b.into(), label: label.into() };
    assert_eq!(rows, [row(2, "a", "b b", "1"), row(4, "c", "d", "0")]);
}

#[test]
fn bad_tables_are_refused_with_the_line() {
    for (text, reason) in [
        ("", "empty"),
        ("text_a\ttext_b\n", "no column \"label\""),
        ("text_a\ttext_b\tlabel\n", "no rows"),
        ("text_a\ttext_b\tlabel\na\tb\n", "line 2: 2 columns"),
    ] {
        let error = rows(text).unwrap_err();
        assert!(error.to_string().contains(reason), "{text:?}: {error}");
    }
    assert_eq!(parse(&b"text_a\ttext_b\tlabel\n\xff\t\t\n"[..], None).unwrap_err().kind(), crate::ErrorKind::Io);
}

#[test]
fn labels_of_data_sets_are_understood() {
    let nli: Vec<String> = ["entailment", "neutral", "contradiction"].map(String::from).into();
    let relevance: Vec<String> = ["not_relevant", "relevant"].map(String::from).into();
    let rte: Vec<String> = ["entailment", "not_entailment"].map(String::from).into();
    assert_eq!(label_index("Neutral", &nli), Some(1));
    assert_eq!(label_index("2", &nli), Some(2));
    assert_eq!(label_index("not_entailment", &nli), None);
    assert_eq!(label_index("entailment", &relevance), Some(1));
    assert_eq!(label_index("not_entailment", &relevance), Some(0));
    assert_eq!(label_index("1", &relevance), Some(1));
    assert_eq!(label_index("3", &relevance), None);
    assert_eq!(label_index("contradiction", &rte), Some(1));
}
