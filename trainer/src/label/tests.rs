#![allow(clippy::unwrap_used)]

use std::path::Path;

use candle_core::Device;

use super::*;
use crate::config::{Calibration, TeacherKind};
use crate::data::Row;
use crate::error::ErrorKind;
use crate::progress::{Reporter, Stop};
use crate::testing::{RELEVANCE, write_encoder};

fn rows(count: usize) -> Vec<Row> {
    (0..count)
        .map(|i| Row {
            id: i.to_string(),
            text_a: format!("what is {}", i % 7),
            text_b: if i % 5 == 0 { format!("what is {}", i % 7) } else { format!("the dog ran {i}") },
            label: None,
        })
        .collect()
}

fn labels() -> Vec<String> {
    RELEVANCE.1.iter().map(|&l| l.to_owned()).collect()
}

fn teacher(folder: &Path, kind: TeacherKind) -> Teacher {
    Teacher::load("t", kind, folder, 32, &Device::Cpu).unwrap()
}

fn label(teacher: &Teacher, store: &LabelStore, rows: &[Row], stop: &Stop) -> crate::Result<()> {
    teacher.label(store, rows, &mut Reporter::new(true).begin("t", "rows", 1, 0), stop)
}

#[test]
fn labels_are_computed_once_and_a_lost_shard_again() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let rows = rows(store::SHARD_ROWS + 10);
    let teacher = teacher(folder.path(), TeacherKind::SentenceEncoder);
    let key = teacher.key("relevance", &labels(), &rows).unwrap();
    let store = LabelStore::open(&folder.path().join("labels"), key.clone()).unwrap();
    assert!(store.read().unwrap_err().to_string().contains("missing or damaged shard"));
    label(&teacher, &store, &rows, &Stop::default()).unwrap();
    let first = store.read().unwrap();
    assert_eq!((first.len(), first[0].len(), store.shards().len()), (rows.len(), 1, 2));
    // A text is as near to itself as can be, whatever the weights.
    assert!((first[0][0] - 1.0).abs() < 1e-5 && first[1][0] < 0.9999, "{:?}", &first[..2]);

    let shard = folder.path().join("labels/shard-00001.safetensors");
    std::fs::remove_file(&shard).unwrap();
    label(&teacher, &LabelStore::open(&folder.path().join("labels"), key).unwrap(), &rows, &Stop::default()).unwrap();
    let again = store.read().unwrap();
    assert!(first.iter().flatten().zip(again.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-5));
    std::fs::write(&shard, b"short").unwrap();
    assert!(store.read().unwrap_err().to_string().contains("shard-00001"));
}

#[test]
fn labels_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let teacher_a = teacher(folder.path(), TeacherKind::SentenceEncoder);
    let store = folder.path().join("labels");
    LabelStore::open(&store, teacher_a.key("relevance", &labels(), &rows(5)).unwrap()).unwrap();
    let other_rows = teacher_a.key("relevance", &labels(), &rows(6)).unwrap();
    let error = LabelStore::open(&store, other_rows).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.to_string().contains("dataset_hash"), "{error}");
    write_encoder(folder.path(), 2, &[]);
    let other_weights = teacher(folder.path(), TeacherKind::SentenceEncoder).key("relevance", &labels(), &rows(5));
    let error = LabelStore::open(&store, other_weights.unwrap()).err().unwrap();
    assert!(error.to_string().contains("teacher_hash"), "{error}");
}

#[test]
fn an_interrupted_labelling_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let rows = rows(20);
    let teacher = teacher(folder.path(), TeacherKind::SentenceEncoder);
    let key = teacher.key("relevance", &labels(), &rows).unwrap();
    let store = LabelStore::open(&folder.path().join("labels"), key).unwrap();
    let stop = Stop::default();
    stop.request();
    assert_eq!(label(&teacher, &store, &rows, &stop).unwrap_err().kind(), ErrorKind::Interrupted);
    label(&teacher, &store, &rows, &Stop::default()).unwrap();
    assert_eq!(store.read().unwrap().len(), 20);
}

#[test]
fn a_classifier_gives_the_logits_of_its_head() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[("nli", &["entailment", "neutral", "contradiction"])]);
    let teacher = teacher(folder.path(), TeacherKind::Classifier);
    let names = ["entailment", "neutral", "contradiction"].map(str::to_owned);
    let key = teacher.key("nli", &names, &rows(9)).unwrap();
    let store = LabelStore::open(&folder.path().join("labels"), key).unwrap();
    label(&teacher, &store, &rows(9), &Stop::default()).unwrap();
    assert!(store.read().unwrap().iter().all(|row| row.len() == 3));
    assert!(teacher.key("rte", &names, &rows(9)).unwrap_err().to_string().contains("rte"));
    assert!(teacher.key("nli", &labels(), &rows(9)).unwrap_err().to_string().contains("has the labels"));
    assert!(teacher.score(&rows(1)).is_err());
}

#[test]
fn a_sentence_encoder_answers_for_relevance_only() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let error = teacher(folder.path(), TeacherKind::SentenceEncoder).key("nli", &labels(), &rows(1)).unwrap_err();
    assert!(error.to_string().contains("\"relevance\" only"), "{error}");
}

#[test]
fn a_calibration_is_recovered_from_labelled_cosines() {
    // Labels drawn at the probability of scale 8, offset 0.4, by their expected counts.
    let (mut cosines, mut relevant) = (Vec::new(), Vec::new());
    for step in 0..=50 {
        let cosine = step as f32 / 50.0;
        let p = 1.0 / (1.0 + (-8.0 * (cosine - 0.4)).exp());
        let positives = (p * 200.0).round() as usize;
        cosines.extend(std::iter::repeat_n(cosine, 200));
        relevant.extend((0..200).map(|i| i < positives));
    }
    let fitted = fit_calibration(&cosines, &relevant).unwrap();
    assert!((fitted.scale - 8.0).abs() < 0.2 && (fitted.offset - 0.4).abs() < 0.01, "{fitted:?}");
}

#[test]
fn a_calibration_needs_both_labels_in_the_right_order() {
    assert_eq!(fit_calibration(&[0.1, 0.9], &[true, true]), None);
    assert_eq!(fit_calibration(&[0.1, 0.2, 0.8, 0.9], &[true, true, false, false]), None);
    let separable = fit_calibration(&[0.1, 0.2, 0.8, 0.9], &[false, false, true, true]).unwrap();
    assert!(separable.scale.is_finite() && (0.3..0.7).contains(&separable.offset), "{separable:?}");
}

#[test]
fn the_margin_is_the_difference_of_the_logits() {
    let calibration = Calibration { scale: 10.0, offset: 0.45 };
    let logits = calibration.logits(0.65);
    assert!((logits[1] - logits[0] - 2.0).abs() < 1e-5 && (logits[0] + logits[1]).abs() < 1e-6);
}
