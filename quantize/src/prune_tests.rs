#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::common::Source;

const PIECES: [&str; 24] = [
    "a", "b", "c", "é", "##a", "##b", "##c", "ab", "abc", "##ab", "##bc", "##bé", "bé", "rose", "##s", "1", "12",
    "##2", ".", "中", "##abc", "cab", "ca", "##éa",
];

/// A student whose vocabulary is made of a few letters: most words of them are spelled, some are not ("##é" is no piece).
fn student() -> (Source, Student) {
    let mut source = Source::student(1);
    let vocabulary: serde_json::Map<String, serde_json::Value> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        .into_iter()
        .chain(PIECES)
        .enumerate()
        .map(|(id, piece)| (piece.to_string(), id.into()))
        .collect();
    source.tokenizer["normalizer"]["strip_accents"] = false.into();
    source.config["vocab_size"] = vocabulary.len().into();
    let rows = vocabulary.len();
    source.tokenizer["model"]["vocab"] = serde_json::Value::Object(vocabulary);
    source.add("embeddings.word_embeddings.weight", &[rows, crate::common::HIDDEN], 0.0, 2.0);
    let student = Student::open(source.write()).unwrap();
    (source, student)
}

fn ids(student: &Student, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    with_tokenizer(student, |tokenizer| tokenizer.encode_into(text, &mut ids)).unwrap();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_corpus_keeps_its_pieces_and_other_text_falls_back(
        corpus in prop::collection::vec("[abcé 12.x中]{0,12}", 1..6),
        other in "[abcé 12.xyz中\\PC]{0,30}",
    ) {
        prop_assume!(corpus.iter().any(|text| !text.trim().is_empty()));
        let (source, full) = student();
        let (_other_source, mut pruned) = student();
        let path = source.folder.path().join("corpus.txt");
        std::fs::write(&path, corpus.join("\n")).unwrap();
        let report = prune(&mut pruned, &[&path]).unwrap();
        prop_assert_eq!(report.pieces, pruned.architecture.vocabulary);
        let kept = pruned.kept.clone().unwrap();
        for text in &corpus {
            let mapped: Vec<u32> = ids(&pruned, text).into_iter().map(|id| kept[id as usize]).collect();
            prop_assert_eq!(mapped, ids(&full, text), "{}", text);
        }
        // Anything else: no panic, ids in range, and unknown only where it was unknown or a long piece is gone.
        for id in ids(&pruned, &other) {
            prop_assert!((id as usize) < kept.len());
        }
        // Words of letters that are pieces by themselves stay spelled.
        let spelled: String = other.chars().map(|c| if "abc ".contains(c) { c } else { ' ' }).collect();
        prop_assert!(!ids(&pruned, &spelled).contains(&pruned.tokenizer.unk), "{}", spelled);
        // The rows that are left are the tokens' own.
        let (all, rows) = (full.word_rows().unwrap(), pruned.word_rows().unwrap());
        let width = crate::common::HIDDEN;
        for (row, &id) in rows.chunks(width).zip(&kept) {
            prop_assert_eq!(row, &all[id as usize * width..(id as usize + 1) * width]);
        }
    }
}

#[test]
fn a_corpus_without_text_is_refused() {
    let (source, mut student) = student();
    let path = source.folder.path().join("corpus.txt");
    std::fs::write(&path, " \n\n").unwrap();
    assert_eq!(prune(&mut student, &[&path]).unwrap_err().kind(), crate::ErrorKind::Data);
    std::fs::write(&path, [b'a', 0xff]).unwrap();
    assert!(prune(&mut student, &[&path]).unwrap_err().to_string().contains("line 1 is not UTF-8"));
}
