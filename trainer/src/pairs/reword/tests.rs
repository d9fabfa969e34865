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

/// An encoder folder in whose word embeddings "cat" lies next to "dog" and "red" next to "blue".
fn encoder(folder: &Path) {
    let vocabulary = crate::testing::write_tokenizer(folder);
    let student = crate::testing::small_student(vocabulary, 1, &[]);
    let ids = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    let table = &student.parameters().get("embeddings.word_embeddings.weight").unwrap().var;
    let mut rows = table.to_vec2::<f32>().unwrap();
    for (near, word) in [("cat", "dog"), ("red", "blue")] {
        let [near, word] = [near, word].map(|w| ids.token_to_id(w).unwrap() as usize);
        // Of another length: direction is what counts.
        rows[near] = rows[word].iter().map(|x| 3.0 * x).collect();
    }
    table.set(&candle_core::Tensor::new(rows, &Device::Cpu).unwrap()).unwrap();
    student.save(folder, &folder.join("tokenizer.json"), &toml::Table::new()).unwrap();
}

#[test]
fn the_nearest_words_are_those_of_the_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    encoder(folder.path());
    let near = Neighbours::in_encoder(folder.path(), ["The Cat, blue.", "unknowable"], 1, || Ok(())).unwrap();
    assert_eq!(near.get("CAT").unwrap(), ["dog"]);
    assert_eq!(near.get("blue").unwrap(), ["red"]);
    assert_eq!(near.get("the"), None, "a function word");
    assert_eq!(near.get("red"), None, "in no text");
    assert_eq!(near.get("unknowable"), None, "not whole in the vocabulary");
    let many = Neighbours::in_encoder(folder.path(), ["cat"], 1000, || Ok(())).unwrap();
    let all = many.get("cat").unwrap();
    assert!(all.len() > 5 && !all.iter().any(|word| word == "cat"), "{all:?}");
    let missing = folder.path().join("missing");
    let refused = |folder: &Path, text| Neighbours::in_encoder(folder, [text], 1, || Ok(())).unwrap_err();
    assert_eq!(refused(&missing, "cat").kind(), crate::error::ErrorKind::Io);
    assert!(refused(folder.path(), "Niemand weiss").to_string().contains("none of the texts' words"));
    let file = folder.path().join("tokenizer.json");
    let pieces = std::fs::read_to_string(&file).unwrap().replace("\"dog\"", "\"\u{2581}dog\"");
    std::fs::write(&file, pieces).unwrap();
    assert!(refused(folder.path(), "cat").to_string().contains("WordPiece"));
}
