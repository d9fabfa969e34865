#![allow(clippy::unwrap_used)]
use super::*;

fn open(text: &[u8]) -> Result<PairReader> {
    PairReader::new("x.tsv".to_owned(), Box::new(io::Cursor::new(text.to_vec())))
}

fn error(text: &[u8]) -> String {
    let read_all = || -> Result<()> {
        let mut reader = open(text)?;
        while reader.next_pair()?.is_some() {}
        Ok(())
    };
    read_all().unwrap_err().to_string()
}

#[test]
fn columns_are_found_by_name_and_others_pass_through() {
    let mut reader = open(b"\xef\xbb\xbflabel\ttext_b\tid\ttext_a\tsource\r\nyes\tB\t7\tA \"quoted\"\ts\r\n").unwrap();
    assert_eq!(reader.others().collect::<Vec<_>>(), ["label", "source"]);
    let pair = reader.next_pair().unwrap().unwrap();
    assert_eq!(
        pair,
        Pair {
            id: Some("7".into()),
            text_a: "A \"quoted\"".into(),
            text_b: "B".into(),
            others: vec!["yes".into(), "s".into()],
            line: 2
        }
    );
    assert!(reader.next_pair().unwrap().is_none());
}

#[test]
fn a_last_line_without_line_feed_and_blank_lines_at_the_end_are_fine() {
    for text in ["text_a\ttext_b\na\tb", "text_a\ttext_b\na\tb\n\n\n"] {
        let mut reader = open(text.as_bytes()).unwrap();
        assert_eq!(reader.next_pair().unwrap().unwrap().line, 2);
        assert!(reader.next_pair().unwrap().is_none());
    }
}

#[test]
fn a_header_without_the_columns_says_what_was_found() {
    assert_eq!(
        error(b"question\ttext_b\n"),
        "x.tsv:1: no column \"text_a\" in the header line; found [\"question\", \"text_b\"] (columns are separated by tabs)"
    );
    assert!(error(b"").contains("empty; expected a header line"));
    assert!(error(b"text_a\ttext_b\ttext_a\n").contains("two columns"));
}

#[test]
fn bad_rows_are_named_by_line() {
    let with = |row: &[u8]| error(&[b"text_a\ttext_b\na\tb\n", row].concat());
    assert_eq!(with(b"only\n"), "x.tsv:3: 1 columns, expected 2 as in the header");
    assert_eq!(with(b"a\t  \n"), "x.tsv:3: column text_b is empty");
    assert_eq!(with(b"\nc\td\n"), "x.tsv:3: an empty line between rows");
    assert_eq!(with(b"a\t\xff\n"), "x.tsv:3: not UTF-8 text at byte 2 of the line");
}

#[test]
fn an_endless_line_is_refused_without_reading_it_all() {
    let text = io::repeat(b'x');
    let reader = PairReader::new("x".to_owned(), Box::new(BufReader::new(text)));
    assert!(reader.err().unwrap().to_string().contains("a line of more than"));
}
