#![allow(clippy::unwrap_used)]
use super::*;
use crate::source::Format;

/// Looks scores up by a piece of the text.
struct Fake {
    scores: Vec<(&'static str, f32)>,
    calls: usize,
}

impl Fake {
    fn new(scores: &[(&'static str, f32)]) -> Self {
        Self { scores: scores.to_vec(), calls: 0 }
    }
}

impl Reranker for Fake {
    fn relevance(
        &mut self,
        _: &str,
        texts: &[&str],
    ) -> std::result::Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>> {
        self.calls += 1;
        let score = |text: &&str| self.scores.iter().find(|(part, _)| text.contains(part)).map_or(0.1, |s| s.1);
        Ok(texts.iter().map(score).collect())
    }
}

fn library(documents: &[(&str, &str)]) -> Library {
    let mut library = Library::in_memory().unwrap();
    for (name, text) in documents {
        library.add_text(name, Format::of(std::path::Path::new(name)), text).unwrap();
    }
    library
}

#[test]
fn the_best_sentence_is_cited_with_its_own_line() {
    let library =
        library(&[("a.md", "# Pump\n\nThe pump hums.\nIt stops at 80 degrees.\n"), ("b.txt", "A pump in the garden.")]);
    let mut answerer = Answerer::new(Fake::new(&[("The pump hums.\n", 0.9), ("stops", 0.8), ("garden", 0.2)]));
    let reply = answerer.answer(&library, "When does the pump stop?").unwrap();
    assert_eq!(reply.answers.len(), 1);
    let answer = &reply.answers[0];
    assert_eq!((answer.text.as_str(), answer.source.as_str(), answer.line), ("It stops at 80 degrees.", "a.md", 4));
    assert_eq!(answer.headings, ["Pump"]);
    assert_eq!(reply.considered.len(), 1);
    assert!((reply.no_answer_probability - (1.0 - answer.score)).abs() < 1e-6);
    assert_eq!(answerer.reranker.calls, 3, "one call for passages, one for sentences, one for pairs");
}

#[test]
fn two_sentences_are_shown_where_they_say_clearly_more() {
    let library = library(&[("a.txt", "The lamp blinks. It means no card. Other text.")]);
    let mut answerer = Answerer::new(Fake::new(&[
        ("blinks. It means no card. Other", 0.6),
        ("blinks. It means", 0.9),
        ("blinks", 0.7),
    ]));
    let reply = answerer.answer(&library, "What does a blinking lamp mean?").unwrap();
    assert_eq!(reply.answers[0].text, "The lamp blinks. It means no card.");
}

#[test]
fn below_the_threshold_there_is_no_answer_but_what_was_considered() {
    let library = library(&[("a.txt", "The lamp blinks.")]);
    let mut answerer = Answerer::new(Fake::new(&[]));
    let reply = answerer.answer(&library, "lamp").unwrap();
    assert!(reply.answers.is_empty());
    assert_eq!(reply.considered.len(), 1);
    assert!((reply.no_answer_probability - 0.9).abs() < 1e-6);
    let nothing = answerer.answer(&library, "zebra").unwrap();
    assert!(nothing.answers.is_empty() && nothing.considered.is_empty());
    assert_eq!(nothing.no_answer_probability, 1.0);
}

#[test]
fn a_rare_word_of_the_question_decides_between_texts_that_the_model_confuses() {
    let codes = "- E15: water in the base.\n- E24: the water does not drain.\n- E09: the heater is defective.";
    let library = library(&[("dishwasher.md", codes), ("oven.md", "E09: the heater of the oven is defective.")]);
    let mut answerer = Answerer::new(Fake::new(&[
        ("E15: water in the base.\nE24", 0.6),
        ("E15", 0.8),
        ("E24", 0.6),
        ("oven", 0.85),
        ("E09", 0.85),
    ]));
    let reply = answerer.answer(&library, "What does error E24 of the dishwasher mean?").unwrap();
    assert_eq!(reply.answers[0].text, "E24: the water does not drain.");
}

#[test]
fn a_score_is_the_mean_in_log_odds() {
    assert!((mean_odds(0.9, 0.9) - 0.9).abs() < 1e-6);
    assert!((mean_odds(0.9, 0.1) - 0.5).abs() < 1e-6);
    assert!(mean_odds(1.0, 1.0) <= 1.0 && mean_odds(0.0, 0.0) >= 0.0);
}

#[test]
fn the_same_answer_is_given_once() {
    let library = library(&[
        ("a.txt", "The lamp blinks."),
        ("b.txt", "The lamp blinks."),
        ("c.txt", "The lamp, blinks! Indeed."),
    ]);
    let mut answerer = Answerer::new(Fake::new(&[("lamp", 0.9)]));
    let reply = answerer.answer(&library, "lamp").unwrap();
    assert_eq!(reply.answers.len(), 1);
}

#[test]
fn a_model_that_fails_or_gives_nonsense_is_an_error() {
    struct Broken(Option<Vec<f32>>);
    impl Reranker for Broken {
        fn relevance(
            &mut self,
            _: &str,
            _: &[&str],
        ) -> std::result::Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>> {
            self.0.clone().ok_or_else(|| "out of order".into())
        }
    }
    let library = library(&[("a.txt", "The lamp blinks.")]);
    for (broken, part) in
        [(None, "out of order"), (Some(vec![]), "0 scores for 1"), (Some(vec![f32::NAN]), "no probability")]
    {
        let error = Answerer::new(Broken(broken)).answer(&library, "lamp").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Model);
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn an_empty_question_is_an_error() {
    let error = Answerer::new(Fake::new(&[])).answer(&library(&[]), " ? ").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Question);
}
