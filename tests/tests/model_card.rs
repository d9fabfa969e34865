//! Model cards say what their bundles do: sizes to the byte, accuracies on a sample of each set where the data is at hand.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use attar::Model;
use attar_tests::repository;
use attar_trainer::data::{LabelMap, read_rows};

/// Rows of a set that are scored.
const SAMPLE: usize = 300;

/// A card's row, its file and its head.
const SETS: &[(&str, &str, &str)] = &[
    ("MNLI matched dev", "mnli/dev_matched.tsv", "nli"),
    ("MNLI mismatched dev", "mnli/dev_mismatched.tsv", "nli"),
    ("SNLI dev", "snli/dev.tsv", "nli"),
    ("SNLI test", "snli/test.tsv", "nli"),
    ("QNLI dev", "qnli/dev_v2.tsv", "relevance"),
    ("RTE dev", "rte/dev.tsv", "rte"),
];

/// Cards with the bundles beside them.
fn cards() -> Vec<(String, Model)> {
    let mut cards = Vec::new();
    for entry in std::fs::read_dir(repository().join("runtime/models")).unwrap() {
        let bundle = entry.unwrap().path();
        if bundle.extension().is_some_and(|e| e == "attar") {
            let card = bundle.with_extension("md");
            let text = std::fs::read_to_string(&card).unwrap_or_else(|e| panic!("{}: {e}", card.display()));
            cards.push((text, Model::open(&bundle).unwrap()));
        }
    }
    assert!(!cards.is_empty(), "no bundle in runtime/models");
    cards
}

/// The cells of the first table row that begins with this.
fn row<'a>(card: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let line = card.lines().find(|line| {
        line.strip_prefix("| ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with([' ', ',']))
    })?;
    Some(line.trim_matches('|').split('|').map(str::trim).collect())
}

fn number(cell: &str) -> f64 {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("{cell:?} is not a number"))
}

/// The folder of dev sets, if there is one.
fn data() -> Option<PathBuf> {
    let given = std::env::var_os("ATTAR_DATA").map(PathBuf::from);
    given.or_else(|| Some(repository().join("artifacts/data"))).filter(|folder| folder.is_dir())
}

#[test]
fn sizes_are_the_bundle_s() {
    for (card, model) in cards() {
        let info = model.info();
        for (name, part) in [
            ("embeddings", "embeddings"),
            ("encoder", "encoder"),
            ("vocabulary", "vocabulary"),
            ("pooler", "pooler"),
            ("header", "overhead"),
            ("heads", "heads"),
        ] {
            let cells = row(&card, name).unwrap_or_else(|| panic!("the card has no row {name:?}"));
            let bytes = info.parts.iter().find(|p| p.name == part).unwrap().bytes;
            assert_eq!(number(cells[1]), bytes as f64, "{name}");
        }
        assert_eq!(number(row(&card, "all").unwrap()[1]), info.file_bytes as f64, "all");
    }
}

#[test]
fn accuracies_are_the_bundle_s() {
    let Some(data) = data() else {
        println!("skipped: no dev sets; give their folder in ATTAR_DATA");
        return;
    };
    for (card, model) in cards() {
        for &(name, file, head) in SETS {
            let path = data.join(file);
            if !path.exists() {
                println!("skipped: {name}: there is no {}", path.display());
                continue;
            }
            let cells = row(&card, name).unwrap_or_else(|| panic!("the card has no row {name:?}"));
            let stated = number(cells[2]) / 100.0;
            let (right, scored, rows) = sampled(&model, head, &path);
            assert_eq!(number(cells[1]), rows as f64, "{name}: rows");
            let got = right as f64 / scored as f64;
            // Four standard deviations of a sample without replacement, and the rounding of the card.
            let share = scored as f64 / rows as f64;
            let deviation = (stated * (1.0 - stated) / scored as f64 * (1.0 - share)).sqrt();
            println!("{name}: {:.2} % of {scored} rows, {:.2} % in the card", 100.0 * got, 100.0 * stated);
            assert!(
                (got - stated).abs() <= 4.0 * deviation + 5.1e-5,
                "{name}: {got} of a sample, {stated} in the card"
            );
        }
    }
}

/// The numbers of a text, and how many decimals each has.
fn numbers(text: &str) -> Vec<(f64, usize)> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.').filter(|word| word.contains(char::is_numeric));
    words.map(|word| (word.parse().unwrap(), word.split_once('.').map_or(0, |(_, decimals)| decimals.len()))).collect()
}

#[test]
fn the_readme_and_attar_small_s_card_repeat_the_cards() {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    let readme = read("README.md");
    let cards = [read("runtime/models/attar-base.md"), read("runtime/models/attar-small.md")];
    let stated = |card: &str, name: &str, column: usize| numbers(row(card, name).unwrap()[column])[0].0;
    for (line, names) in [
        (
            "MNLI matched / mismatched, SNLI test, QNLI dev",
            &["MNLI matched dev", "MNLI mismatched dev", "SNLI test", "QNLI dev"][..],
        ),
        ("RTE dev", &["RTE dev"]),
        ("WikiQA dev, TREC-QA test", &["WikiQA dev", "TREC-QA test"]),
        ("TREC DL 2019 over BM25's first 100", &["TREC DL 2019 over BM25's first 100"]),
    ] {
        let cells = row(&readme, line).unwrap_or_else(|| panic!("README.md has no row {line:?}"));
        for (card, cell) in cards.iter().zip(&cells[1..3]) {
            let repeated = numbers(cell);
            assert_eq!(repeated.len(), names.len(), "README.md: {line}: {cell}");
            for ((number, decimals), name) in repeated.into_iter().zip(names) {
                let stated = stated(card, name, 2);
                let bound = 0.500_01 * 10f64.powi(-(decimals as i32));
                assert!((number - stated).abs() <= bound, "README.md: {name}: {number}, {stated} in the card");
            }
        }
        for name in names {
            let (own, repeated) = (stated(&cards[0], name, 2), stated(&cards[1], name, 3));
            assert_eq!(own, repeated, "attar-small.md: attar-base's column: {name}");
        }
    }
}

/// Right answers and scored rows of an even sample, and the rows of the whole set.
fn sampled(model: &Model, head: &str, path: &Path) -> (usize, usize, usize) {
    let labels = &model.heads().iter().find(|h| h.name == head).unwrap().labels;
    let rows =
        read_rows(path, Some(&LabelMap::new(head, labels, &Default::default()).unwrap()), &Default::default()).unwrap();
    let step = rows.len().div_ceil(SAMPLE);
    let sample: Vec<_> = rows.iter().step_by(step).collect();
    let pairs: Vec<(&str, &str)> = sample.iter().map(|r| (r.text_a.as_str(), r.text_b.as_str())).collect();
    let scores = model.session().score(head, &pairs).unwrap();
    let right = scores.iter().zip(&sample).filter(|(score, row)| row.label == Some(score.best() as u32)).count();
    (right, sample.len(), rows.len())
}
