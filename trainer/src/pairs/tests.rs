#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::*;
use crate::data::{LabelMap, RowFilter, read_rows};

fn pieces(text: &str) -> Vec<&str> {
    split_sentences(text).into_iter().map(|range| &text[range]).collect()
}

#[test]
fn sentences_end_where_readers_say() {
    assert_eq!(pieces("It rains. Does it? Yes!  Good."), ["It rains.", "Does it?", "Yes!", "Good."]);
    assert_eq!(
        pieces("Dr. J. Smith paid 3.5 dollars, e.g. to Mr. Li. Then he left"),
        ["Dr. J. Smith paid 3.5 dollars, e.g. to Mr. Li.", "Then he left"]
    );
    assert_eq!(
        pieces("He said \"No.\" She left (at 5 p.m. sharp). 1990 came."),
        ["He said \"No.\"", "She left (at 5 p.m. sharp).", "1990 came."]
    );
    assert_eq!(pieces("  "), Vec::<&str>::new());
    assert_eq!(pieces("Ünïcode… ok. Äh!"), ["Ünïcode… ok.", "Äh!"]);
}

#[test]
fn chunks_hold_one_to_four_sentences_and_all_of_the_text() {
    let text: String = (0..50).map(|i| format!("Sentence number {i}. ")).collect();
    let chunks = super::sentences::chunks(&text);
    assert_eq!(chunks.iter().map(|c| split_sentences(&text[c.clone()]).len()).sum::<usize>(), 50);
    assert!(chunks.iter().all(|c| (1..=4).contains(&split_sentences(&text[c.clone()]).len())));
    assert_eq!(chunks, super::sentences::chunks(&text));
}

#[test]
fn bm25_finds_rare_words_first() {
    let index = Bm25::new(["the cat sat on the mat", "a dog ran", "the dog and the cat", "a zebra ran"]).unwrap();
    assert_eq!(index.search("Where did the zebras run?", 1).unwrap(), [3]);
    assert_eq!(index.search("cat mat", 10).unwrap(), [0, 2]);
    assert_eq!(index.search("\"; DROP OR NEAR(*", 10).unwrap(), Vec::<usize>::new());
    assert_eq!(index.search("???", 10).unwrap(), Vec::<usize>::new());
    assert_eq!(index.search("the", 10).unwrap().len(), 2);
}

const PARAGRAPHS: &str = concat!(
    r#"{"title": "A", "context": "Müller lives in Berlin. He has a dog. The dog barks at night.", "qas": [{"id": "1", "question": "Where does Müller live?", "answers": [{"answer_start": 16, "text": "Berlin"}]}]}"#,
    "\n",
    r#"{"title": "B", "context": "Paris lies on the Seine. The tower is high. Cats live there.", "qas": [{"id": "2", "question": "Where does Paris lie?", "answers": [{"answer_start": 18, "text": "Seine"}]}]}"#,
    "\n"
);

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn config(sources: Vec<PairSource>) -> PairsConfig {
    PairsConfig {
        name: "p".into(),
        sources,
        given: 1,
        bm25: 1,
        random: 1,
        limit: None,
        reword: None,
        overlap: false,
        exclude: Vec::new(),
    }
}

fn squad(path: PathBuf, cut: Cut) -> PairSource {
    PairSource { path, kind: SourceKind::Squad, cut, columns: None, limit: None }
}

fn built(config: &PairsConfig) -> Vec<BuiltPair> {
    build_from(config, 7, Path::to_owned, Path::to_owned, |_, _| Ok(())).unwrap()
}

#[test]
fn squad_gives_positives_siblings_and_negatives_without_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = built(&config(vec![squad(write(folder.path(), "s.jsonl", PARAGRAPHS), Cut::Sentences)]));
    let of_first: Vec<&BuiltPair> = pairs.iter().filter(|p| p.id.starts_with("1-")).collect();
    assert_eq!(of_first[0].passage, "Müller lives in Berlin.");
    assert_eq!((of_first[0].kind, of_first[0].relevant), (PairKind::Positive, Some(true)));
    assert_eq!((of_first[1].kind, of_first[1].relevant), (PairKind::Given, Some(false)));
    assert!(of_first[1].passage.contains("dog"));
    let kinds: HashSet<&str> = of_first.iter().map(|p| p.kind.name()).collect();
    assert!(kinds.contains("random"), "{kinds:?}");
    assert!(of_first[1..].iter().all(|p| !p.passage.contains("Berlin") && p.relevant == Some(false)));
    let passages: HashSet<&str> = of_first.iter().map(|p| p.passage.as_str()).collect();
    assert_eq!(passages.len(), of_first.len());
}

#[test]
fn as_many_given_negatives_as_asked_for_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "text_a\ttext_b\tlabel\nq\tyes\t1\nq\tno\t0\nq\tnever\t0\nq\tnot at all\t0\n";
    let path = write(folder.path(), "l.tsv", rows);
    let mut config = config(vec![PairSource { kind: SourceKind::Pairs, ..squad(path, Cut::Whole) }]);
    (config.bm25, config.random) = (0, 0);
    let mut given = |count| {
        config.given = count;
        let pairs = built(&config);
        assert_eq!((pairs[0].passage.as_str(), pairs[0].relevant), ("yes", Some(true)));
        assert!(pairs[1..].iter().all(|p| p.kind == PairKind::Given && p.relevant == Some(false)));
        let ids: HashSet<&String> = pairs.iter().map(|p| &p.id).collect();
        assert_eq!(ids.len(), pairs.len());
        pairs[1..].iter().map(|p| p.passage.clone()).collect::<Vec<_>>()
    };
    let (none, one, two, all) = (given(0), given(1), given(2), given(9));
    assert!(none.is_empty());
    assert_eq!((&one[..], one.len()), (&two[..1], 1));
    assert_eq!((&two[..], two.len()), (&all[..2], 2));
    assert_eq!(all.iter().map(String::as_str).collect::<HashSet<_>>(), HashSet::from(["no", "never", "not at all"]));
}

#[test]
fn pairs_are_the_same_every_time_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(vec![squad(write(folder.path(), "s.jsonl", PARAGRAPHS), Cut::Chunks)]);
    let pairs = built(&config);
    assert_eq!(pairs, built(&config));
    let path = folder.path().join("out/pairs.tsv");
    write_pairs(&path, &pairs).unwrap();
    assert_eq!(read_rows(&path, None, &RowFilter::new()).unwrap().len(), pairs.len());
    let first = std::fs::read(&path).unwrap();
    write_pairs(&path, &built(&config)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), first);
}

#[test]
fn hard_negatives_of_unlabelled_pairs_are_left_to_the_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "text_a\ttext_b\nwho sells fish\tThe market sells fish.\nwho sells bread\tThe baker sells bread.\n";
    let source = |path| PairSource { path, kind: SourceKind::Pairs, cut: Cut::Whole, columns: None, limit: None };
    let mut config = config(vec![source(write(folder.path(), "p.tsv", rows))]);
    config.random = 0;
    let pairs = built(&config);
    let hard: Vec<&BuiltPair> = pairs.iter().filter(|p| p.kind == PairKind::Bm25).collect();
    assert_eq!(hard.len(), 2);
    assert!(hard.iter().all(|p| p.relevant.is_none()));
    let labelled = "text_a\ttext_b\tlabel\nq\tp one\tentailment\nq\tp two\tnot_entailment\n";
    config.sources = vec![source(write(folder.path(), "l.tsv", labelled))];
    config.bm25 = 0;
    let relevant: Vec<Option<bool>> = built(&config).iter().map(|p| p.relevant).collect();
    assert_eq!(relevant, [Some(true), Some(false)]);
}

#[test]
fn excluded_questions_and_passages_do_not_occur() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(vec![squad(write(folder.path(), "s.jsonl", PARAGRAPHS), Cut::Sentences)]);
    let dev = "text_a\ttext_b\nwhere does paris lie\tHe has a dog!\n";
    config.exclude = vec![write(folder.path(), "dev.tsv", dev)];
    let pairs = built(&config);
    assert!(!pairs.is_empty());
    assert!(pairs.iter().all(|p| p.question != "Where does Paris lie?" && p.passage != "He has a dog."));
}

#[test]
fn limits_are_subsets() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(vec![squad(write(folder.path(), "s.jsonl", PARAGRAPHS), Cut::Sentences)]);
    config.limit = Some(1);
    let questions: HashSet<String> = built(&config).into_iter().map(|p| p.question).collect();
    assert_eq!(questions.len(), 1);
}

#[test]
fn lines_of_another_form_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let run = |text: &str| {
        let config = config(vec![squad(write(folder.path(), "s.jsonl", text), Cut::Sentences)]);
        build_from(&config, 7, Path::to_owned, Path::to_owned, |_, _| Ok(())).unwrap_err().to_string()
    };
    assert!(run("{\"context\": \"x\"}\n").contains("s.jsonl:1:"));
    assert!(
        run(&PARAGRAPHS.replace("\"answer_start\": 18", "\"answer_start\": 999"))
            .contains("s.jsonl:2: answer_start 999")
    );
}

#[test]
fn reworded_passages_are_left_to_the_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = folder.path().join("encoder");
    crate::testing::write_encoder(&encoder, 1, &[crate::testing::RELEVANCE]);
    let rows = "text_a\ttext_b\nwhere is the cat\tThe red cat sat.\nwhere is the cat\tThe blue dog ran.\nno known word\tnone\n";
    let source = write(folder.path(), "p.tsv", rows);
    let mut config =
        config(vec![PairSource { path: source, kind: SourceKind::Pairs, cut: Cut::Whole, columns: None, limit: None }]);
    (config.bm25, config.random) = (0, 0);
    config.reword = Some(RewordConfig { encoder, copies: 3, share: 0.5, neighbours: 4 });
    let pairs = built(&config);
    assert_eq!(pairs, built(&config));
    let (positives, reworded): (Vec<_>, Vec<_>) = pairs.iter().partition(|p| p.kind == PairKind::Positive);
    assert_eq!(positives.len(), 2, "one of each question");
    assert!(reworded.len() > 3 && reworded.len() <= 6, "of both passages: {reworded:?}");
    assert!(reworded.iter().all(|p| p.kind == PairKind::Reworded && p.relevant.is_none()));
    assert!(
        reworded.iter().all(|p| p.question == "where is the cat" && !positives.iter().any(|q| q.passage == p.passage))
    );
}

#[test]
fn pairs_of_shared_words_have_labels_and_read_back_as_entailment() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "text_a\ttext_b\tlabel\nThe dog was biting the man in the park.\tThe man was bitten.\tneutral\n";
    let columns =
        toml::from_str("columns = { label = \"-\" }").map(|t: HashMap<String, Columns>| t["columns"].clone()).unwrap();
    let source = PairSource { columns: Some(columns), ..squad(write(folder.path(), "p.tsv", rows), Cut::Whole) };
    let mut config = config(vec![PairSource { kind: SourceKind::Pairs, ..source }]);
    (config.bm25, config.random, config.overlap) = (0, 0, true);
    let pairs = built(&config);
    assert_eq!(pairs, built(&config));
    let overlap: Vec<&BuiltPair> = pairs.iter().filter(|p| p.kind != PairKind::Positive).collect();
    assert!(overlap.iter().all(|p| p.question == "The dog was biting the man in the park."));
    assert!(
        overlap.iter().any(|p| p.passage == "The dog was biting the man." && p.relevant == Some(true)),
        "{overlap:?}"
    );
    assert!(overlap.iter().any(|p| p.relevant == Some(false)), "{overlap:?}");

    let path = folder.path().join("pairs.tsv");
    write_pairs(&path, &pairs).unwrap();
    let words = [("0", "neutral"), ("1", "entailment")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    let head = crate::config::HeadConfig::named("nli").labels().unwrap();
    let map = LabelMap::new("nli", &head, &words).unwrap();
    for (kind, label) in [("inversion", "neutral"), ("subsequence", "entailment")] {
        let rows = read_rows(&path, Some(&map), &[("kind".to_owned(), kind.to_owned())].into()).unwrap();
        let labels: Vec<&str> = rows.iter().map(|r| head[r.label.unwrap() as usize].as_str()).collect();
        assert_eq!(labels, [label], "{kind}");
    }
}
