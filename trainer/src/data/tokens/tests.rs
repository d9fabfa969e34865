#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::write_tokenizer;

fn tokenizer(max_len: usize) -> (tempfile::TempDir, PairTokenizer) {
    let folder = tempfile::tempdir().unwrap();
    write_tokenizer(folder.path());
    let tokenizer = PairTokenizer::from_folder(folder.path(), max_len).unwrap();
    (folder, tokenizer)
}

#[test]
fn a_pair_has_its_special_tokens_and_types() {
    let (_folder, tokenizer) = tokenizer(32);
    let tokens = tokenizer.pair("the cat", "sat", Truncation::LongerFirst).unwrap();
    assert_eq!((tokens.ids()[0], tokens.ids()[3], tokens.ids()[5]), (2, 3, 3));
    assert_eq!(tokens.types(), [0, 0, 0, 0, 1, 1]);
}

#[test]
fn special_tokens_in_a_text_are_ordinary_text() {
    let (_folder, tokenizer) = tokenizer(64);
    let tokens = tokenizer.pair("[SEP] cat", "[CLS]", Truncation::LongerFirst).unwrap();
    assert_eq!(tokens.ids().iter().filter(|&&id| id == 3).count(), 2);
    assert_eq!(tokens.ids().iter().filter(|&&id| id == 2).count(), 1);
}

#[test]
fn the_longer_text_is_cut_or_only_the_passage() {
    assert_eq!(kept(3, 4, 10, Truncation::LongerFirst), (3, 4));
    assert_eq!(kept(3, 20, 10, Truncation::LongerFirst), (3, 7));
    assert_eq!(kept(20, 3, 10, Truncation::LongerFirst), (7, 3));
    assert_eq!(kept(20, 20, 11, Truncation::LongerFirst), (6, 5));
    assert_eq!(kept(8, 20, 10, Truncation::SecondOnly), (8, 2));
    assert_eq!(kept(30, 20, 10, Truncation::SecondOnly), (9, 1));
    for a in 0..30 {
        for b in 0..30 {
            for way in [Truncation::LongerFirst, Truncation::SecondOnly] {
                let (x, y) = kept(a, b, 10, way);
                assert!(x <= a.max(1) && y <= b.max(1) && x + y <= 10.max(a + b), "{a} {b} {way:?}");
                assert!(a + b <= 10 || x + y == 10 || a == 0 || b == 0, "{a} {b} {way:?}: {x} {y}");
            }
        }
    }
}

#[test]
fn no_pair_is_longer_than_allowed() {
    let (_folder, tokenizer) = tokenizer(9);
    let text = "the cat sat on the mat";
    assert_eq!(tokenizer.pair(text, text, Truncation::LongerFirst).unwrap().len(), 9);
    assert_eq!(tokenizer.single(text).unwrap().len(), 8);
    assert_eq!(tokenizer.single(&text.repeat(3)).unwrap().len(), 9);
}

#[test]
fn a_folder_without_a_tokenizer_or_room_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(PairTokenizer::from_folder(folder.path(), 64).err().unwrap().to_string().contains("no such file"));
    write_tokenizer(folder.path());
    assert!(PairTokenizer::from_folder(folder.path(), 3).err().unwrap().to_string().contains("max_len = 3"));
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert!(PairTokenizer::from_folder(folder.path(), 64).is_err());
}
