#![allow(clippy::unwrap_used)]

use super::*;

fn neighbours() -> Neighbours {
    Neighbours::of(&[("dog", &["puppy"]), ("cat", &["kitten"]), ("sees", &["watches"]), ("doctor", &["nurse"])])
}

fn config(copies: usize, share: f64) -> RewordConfig {
    RewordConfig { encoder: PathBuf::new(), copies, share, neighbours: 1 }
}

fn question(text: &str) -> Question {
    let (id, text) = ("1".to_owned(), text.to_owned());
    Question { id, text, positives: Vec::new(), negatives: Vec::new(), answers: Vec::new() }
}

#[test]
fn words_are_replaced_with_their_case_and_what_stands_around_them() {
    let mut choice = Random::new(&[1]);
    let got = replace("\"Dog,  CAT\" and (dog)!", &neighbours(), 1.0, &mut choice).unwrap();
    assert_eq!(got, "\"Puppy, KITTEN\" and (puppy)!");
    assert_eq!(replace("nothing known", &neighbours(), 1.0, &mut choice), None);
    assert_eq!(replace("", &neighbours(), 1.0, &mut choice), None);
}

#[test]
fn at_least_one_word_changes() {
    for seed in 0..50 {
        let got = replace("the dog sees the cat", &neighbours(), 1e-9, &mut Random::new(&[seed])).unwrap();
        let changed = got.split(' ').zip("the dog sees the cat".split(' ')).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 1, "{got}");
    }
}

#[test]
fn two_words_change_places() {
    let neighbours = Neighbours::of(&[("doctor", &["nurse"]), ("lawyer", &["judge"])]);
    let got = exchange("Doctor Who saw the lawyer.", &neighbours, &mut Random::new(&[3])).unwrap();
    assert_eq!(got, "Lawyer Who saw the doctor.");
    assert_eq!(exchange("the doctor, the Doctor", &neighbours, &mut Random::new(&[3])), None);
}

#[test]
fn copies_differ_from_each_other_and_from_what_is_there() {
    let asked = question("The doctor sees a dog and a cat.");
    let given = ["A dog sees a cat."];
    let got = reword(&asked, &given, &neighbours(), &config(16, 0.5), 7);
    assert_eq!(got, reword(&asked, &given, &neighbours(), &config(16, 0.5), 7));
    let distinct: BTreeSet<&String> = got.iter().collect();
    assert_eq!(distinct.len(), got.len());
    assert!(!got.iter().any(|text| text == given[0]));
    assert!(got.iter().any(|text| text.contains("and a")), "some come from the first text: {got:?}");
    assert!(got.len() > 4, "{got:?}");
}

#[test]
fn settings_outside_their_range_are_errors() {
    assert!(config(1, 1.0).check().is_ok());
    for wrong in [config(0, 0.5), config(1, 0.0), config(1, f64::NAN), config(1, 1.5)] {
        assert_eq!(wrong.check().unwrap_err().kind(), crate::error::ErrorKind::Config);
    }
}

#[test]
fn function_words_are_sorted() {
    assert!(FUNCTION_WORDS.is_sorted());
}
