//! The bundles that ship: whole, and good enough on the example documents. `model_card.rs` holds them against their cards.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use attar::Model;
use attar_library::{Answerer, Library, ReadOptions};
use attar_tests::repository;

/// Questions of `examples/docs/questions.tsv`: (question, source or nothing).
fn questions() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository().join("examples/docs/questions.tsv")).unwrap();
    let rows: Vec<(String, String)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let (question, source) = line.split_once('\t').unwrap();
            (question.to_owned(), source.to_owned())
        })
        .collect();
    assert!(rows.len() >= 40, "{}", rows.len());
    rows
}

/// The bundles that are compiled in, by name.
fn bundles() -> impl Iterator<Item = (&'static str, Model)> {
    attar_models::BUNDLES.iter().map(|bundle| (bundle.name, Model::from_static(bundle.bytes).unwrap()))
}

#[test]
fn they_are_whole_and_have_the_heads_that_the_command_line_offers() {
    for (name, model) in bundles() {
        model.verify().unwrap();
        let heads: Vec<&str> = model.heads().iter().map(|h| h.name.as_str()).collect();
        assert_eq!(heads, ["nli", "rte", "relevance"], "{name}");
    }
}

#[test]
fn they_answer_the_example_questions_and_decline_the_others() {
    let mut library = Library::in_memory().unwrap();
    library.index(&[repository().join("examples/docs")], &ReadOptions::default()).unwrap();
    for (name, model) in bundles() {
        let mut answerer = Answerer::new(model.session());
        let (mut answerable, mut found, mut first, mut unanswerable, mut declined) = (0, 0, 0, 0, 0);
        for (question, source) in questions() {
            let reply = answerer.answer(&library, &question).unwrap();
            let cites = |path: &str| Path::new(path).file_name().is_some_and(|name| *name == *source);
            if source.is_empty() {
                unanswerable += 1;
                declined += usize::from(reply.answers.is_empty());
            } else {
                answerable += 1;
                first += usize::from(reply.answers.first().is_some_and(|a| cites(&a.source)));
                found += usize::from(reply.answers.iter().any(|a| cites(&a.source)));
            }
        }
        println!(
            "{name}: answerable {answerable}: first {first}, among the answers {found}; unanswerable {unanswerable}: declined {declined}"
        );
        assert!(found * 100 >= answerable * 80, "{name}: {found} of {answerable} answers cite the right file");
        assert!(declined * 100 >= unanswerable * 50, "{name}: {declined} of {unanswerable} unanswerable declined");
    }
}
