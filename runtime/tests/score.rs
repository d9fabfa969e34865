//! The runtime against a forward pass that shares no code with it, and against itself.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use attar::{ErrorKind, Model, Score, Session, Weights};
use common::{Bert, POSITIONS, WORDS, pairs};

/// f32 sums of some 40 terms in another order; measured 2e-6.
const MAX_F32_LOGIT_ERROR: f64 = 1e-4;
/// f16 weights have 11 bits; measured 1.5e-3 on these random weights.
const MAX_F16_LOGIT_ERROR: f64 = 1e-2;
/// 8-bit weights and activations; random weights of 24 units are the worst case, a trained student of 384 loses ten times less.
const MAX_INT8_LOGIT_ERROR: f64 = 0.2;

fn model(weights: Weights) -> Model {
    Model::from_bytes(Bert::random(1).bundle(weights)).unwrap()
}

fn same(a: &[Score], b: &[Score]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        let bits = |s: &Score| s.logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(a), bits(b));
        assert_eq!((a.tokens, a.windows), (b.tokens, b.windows));
    }
}

#[test]
fn logits_are_the_reference_s_with_every_kernel_and_number_format() {
    let bert = Bert::random(1);
    let pairs = pairs();
    for (weights, bound) in [
        (Weights::F32, MAX_F32_LOGIT_ERROR),
        (Weights::F16, MAX_F16_LOGIT_ERROR),
        (Weights::Int8, MAX_INT8_LOGIT_ERROR),
    ] {
        for kernel in Model::kernels() {
            let model = model(weights).with_kernel(kernel).unwrap();
            assert_eq!(model.kernel(), kernel);
            for head in ["relevance", "nli"] {
                let scores = model.session().score(head, &pairs).unwrap();
                let mut worst = 0f64;
                for (score, (a, b)) in scores.iter().zip(&pairs) {
                    let expected = bert.logits(head, a, b);
                    for (x, y) in score.logits.iter().zip(expected) {
                        worst = worst.max((f64::from(*x) - y).abs());
                    }
                    assert_eq!(score.tokens, a.split(' ').count() + b.split(' ').count() + 3);
                    assert!((score.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                }
                println!("{weights} {kernel} {head}: {worst:.2e}");
                assert!(worst <= bound, "{weights} {kernel} {head}: off by {worst}, at most {bound}");
            }
        }
    }
}

#[test]
fn a_temperature_changes_probabilities_and_not_logits() {
    let model = model(Weights::F32);
    let relevance = &model.heads()[0];
    assert_eq!((relevance.name.as_str(), relevance.temperature), ("relevance", 1.5));
    let score = model.session().score("relevance", &[("where is", "the slot")]).unwrap().remove(0);
    let expected = 1.0 / (1.0 + ((score.logits[0] - score.logits[1]) / 1.5).exp());
    assert!((score.probabilities[1] - expected).abs() < 1e-6);
}

#[test]
fn scores_do_not_depend_on_the_batch() {
    for weights in [Weights::F32, Weights::F16, Weights::Int8] {
        let model = model(weights);
        let pairs = pairs();
        let together = model.session().score("nli", &pairs).unwrap();
        let mut session = model.session();
        let alone: Vec<Score> =
            pairs.iter().flat_map(|pair| session.score("nli", std::slice::from_ref(pair)).unwrap()).collect();
        same(&together, &alone);
        let mut reversed: Vec<_> = pairs.clone();
        reversed.reverse();
        let mut backwards = session.score("nli", &reversed).unwrap();
        backwards.reverse();
        same(&together, &backwards);
    }
}

#[test]
fn scores_do_not_depend_on_the_number_of_threads() {
    let model = model(Weights::Int8);
    let pairs: Vec<_> = (0..20).flat_map(|_| pairs()).collect();
    let one = model.session().score("nli", &pairs).unwrap();
    for threads in [0, 2, 3, 8, 1000] {
        same(&one, &model.session().threads(threads).score("nli", &pairs).unwrap());
    }
}

#[test]
fn a_model_is_shared_and_a_session_is_sent() {
    fn check<T: Send + Sync>(_: &T) {}
    fn sent<T: Send>(_: &T) {}
    let model = model(Weights::Int8);
    check(&model);
    sent(&model.session());
    let expected = model.session().score("relevance", &pairs()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut session: Session = model.session();
            let expected = &expected;
            scope.spawn(move || same(expected, &session.score("relevance", &pairs()).unwrap()));
        }
    });
}

#[test]
fn a_long_passage_is_as_relevant_as_its_most_relevant_window() {
    let model = model(Weights::F32);
    let mut session = model.session();
    let words: Vec<&str> = (0..40).map(|i| WORDS[(i * 7) % WORDS.len()]).collect();
    let (question, passage) = ("where is the slot", words.join(" "));
    let score = session.score("relevance", &[(question, passage.as_str())]).unwrap().remove(0);
    // 20 positions, 3 special tokens and a question of 4: 13 tokens a window, overlapping by 3.
    let windows: Vec<String> = [0, 10, 20, 27].iter().map(|&start| words[start..start + 13].join(" ")).collect();
    assert_eq!((score.windows, score.tokens), (4, 4 * POSITIONS));
    let each = session.score_passages(question, &windows).unwrap();
    assert_eq!(score.probabilities[1], each.iter().copied().fold(0.0, f32::max));
    assert_eq!(session.score_passages(question, &[passage]).unwrap(), [score.probabilities[1]]);
    assert_eq!(session.score_passages(question, &windows[..1]).unwrap(), each[..1]);
}

#[test]
fn long_pairs_are_read_whole_in_both_texts() {
    let model = model(Weights::F32);
    let long = WORDS.join(" ");
    let score = model.session().score("nli", &[(long.as_str(), long.as_str())]).unwrap().remove(0);
    assert!(score.windows > 4);
    let swapped = model.session().score("nli", &[(long.as_str(), "rose")]).unwrap().remove(0);
    assert!(swapped.windows == 2);
}

#[test]
fn no_pairs_are_no_scores() {
    let model = model(Weights::F32);
    assert!(model.session().score("nli", &[] as &[(&str, &str)]).unwrap().is_empty());
    assert!(model.session().score_passages("rose", &[] as &[&str]).unwrap().is_empty());
}

#[test]
fn an_empty_text_is_an_error_that_says_which() {
    let mut session = model(Weights::F32).session();
    for (a, b, what) in [("", "rose", "first text is empty"), ("rose", " \n\t\u{200b}", "second text has no visible")] {
        let error = session.score("nli", &[("rose", "rose"), (a, b)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(error.to_string().contains("pair 1") && error.to_string().contains(what), "{error}");
    }
    let error = session.score_passages("", &["rose"]).unwrap_err();
    assert!(error.to_string().contains("question"), "{error}");
}

#[test]
fn an_absurd_text_is_an_error() {
    let text = "rose ".repeat(100_000);
    let error = model(Weights::F32).session().score("nli", &[(&text, &text)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().contains("windows"), "{error}");
}

#[test]
fn unknown_names_list_what_there_is() {
    let model = model(Weights::F32);
    let error = model.session().score("rte", &[("rose", "rose")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Head);
    assert!(error.to_string().contains("relevance, nli"), "{error}");
    let error = model.with_kernel("abacus").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Kernel);
    assert!(error.to_string().contains("scalar"), "{error}");
}

/// Runs in a process of its own, where the environment names a kernel.
#[test]
#[ignore = "run by the_environment_forces_a_kernel"]
fn prints_its_kernel() {
    match Model::from_bytes(Bert::random(1).bundle(Weights::F32)) {
        Ok(model) => println!("kernel={}.", model.kernel()),
        Err(error) => println!("error={:?} {error}", error.kind()),
    }
}

#[test]
fn the_environment_forces_a_kernel() {
    let run = |kernel: &str| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["prints_its_kernel", "--exact", "--ignored", "--nocapture"]).env(attar::KERNEL_VARIABLE, kernel);
        String::from_utf8(child.output().unwrap().stdout).unwrap()
    };
    assert!(run("scalar").contains("kernel=scalar."));
    let unknown = run("abacus");
    assert!(unknown.contains("error=Kernel ATTAR_KERNEL") && unknown.contains("scalar"), "{unknown}");
}

#[test]
fn info_tells_what_is_in_the_bundle() {
    let bytes = Bert::random(1).bundle(Weights::Int8);
    let info = Model::from_bytes(bytes.clone()).unwrap().info();
    assert_eq!(info.file_bytes, bytes.len() as u64);
    assert_eq!(info.parts.iter().map(|p| p.bytes).sum::<u64>(), info.file_bytes);
    assert!(info.parts.iter().all(|p| p.bytes > 0), "{:?}", info.parts);
    assert_eq!((info.max_tokens, info.weights), (POSITIONS, Weights::Int8));
    assert_eq!(info.provenance, r#"{"student":"tiny and random"}"#);
    assert_eq!(info.parameters, Bert::random(1).tensors.values().map(|t| t.len() as u64).sum::<u64>());
    assert_eq!(model(Weights::Int8).count_tokens("Roses! water"), 4);
}
