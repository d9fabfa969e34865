#![allow(clippy::unwrap_used)]

use std::path::Path;

use attar_nn::Precision;
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
    Teacher::load("t", kind, folder, 32, &Device::Cpu, Precision::F32).unwrap()
}

#[test]
fn labels_of_another_precision_are_of_another_teacher() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let hash = |precision| {
        let teacher = Teacher::load("t", TeacherKind::SentenceEncoder, folder.path(), 32, &Device::Cpu, precision);
        teacher.unwrap().hash().to_owned()
    };
    assert_eq!(hash(Precision::F32), hash(Precision::F32));
    assert_ne!(hash(Precision::F32), hash(Precision::Bf16));
    assert_ne!(hash(Precision::Int8), hash(Precision::Bf16));
}

fn label(teacher: &Teacher, store: &LabelStore, rows: &[Row], stop: &Stop) -> crate::Result<()> {
    let shards = ShardSet::all(store.shards().len());
    teacher.label(store, rows, &shards, &mut Reporter::new(true).begin("t", "rows", 1, 0), stop)
}

#[test]
fn labels_are_computed_once_and_a_lost_shard_again_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let rows = rows(store::SHARD_ROWS + 10);
    let teacher = teacher(folder.path(), TeacherKind::SentenceEncoder);
    let key = teacher.key("relevance", &labels(), &rows).unwrap();
    let at = folder.path().join("labels");
    let store = LabelStore::open(&at, key.clone()).unwrap();
    label(&teacher, &store, &rows, &Stop::default()).unwrap();
    let first = store.read().unwrap();
    assert_eq!((first.len(), first[0].len(), store.shards().len()), (rows.len(), 1, 2));
    // A text is as near to itself as can be, whatever the weights.
    assert!((first[0][0] - 1.0).abs() < 1e-5 && first[1][0] < 0.9999, "{:?}", &first[..2]);
    assert_eq!(LabelStore::key_of(&at).unwrap(), key);

    let shard = store.shard_path(1);
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::remove_file(&shard).unwrap();
    label(&teacher, &LabelStore::open(&at, key.clone()).unwrap(), &rows, &Stop::default()).unwrap();
    assert_eq!(std::fs::read(&shard).unwrap(), bytes);
    assert_eq!(store.read().unwrap(), first);
    let names: Vec<String> =
        std::fs::read_dir(&at).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 2, "temporary files are left over: {names:?}");
}

#[test]
fn an_incomplete_folder_lists_its_missing_shards_and_a_merge_needs_the_files_only() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let rows = rows(4 * store::SHARD_ROWS);
    let teacher = teacher(folder.path(), TeacherKind::SentenceEncoder);
    let key = teacher.key("relevance", &labels(), &rows).unwrap();
    let stores: Vec<LabelStore> =
        ["a", "b"].iter().map(|n| LabelStore::open(&folder.path().join(n), key.clone()).unwrap()).collect();
    for (worker, store) in stores.iter().enumerate() {
        let shards = ShardSet::of_worker(worker, 2, 4);
        teacher
            .label(store, &rows, &shards, &mut Reporter::new(true).begin("t", "rows", 1, 0), &Stop::default())
            .unwrap();
    }
    let message = stores[0].read().unwrap_err().to_string();
    assert!(message.contains("2 of 4 shards are missing: 1,3;") && message.contains("--shards 1,3"), "{message}");
    for shard in [1, 3] {
        std::fs::copy(stores[1].shard_path(shard), stores[0].shard_path(shard)).unwrap();
    }
    assert_eq!(stores[0].read().unwrap().len(), rows.len());

    std::fs::copy(stores[0].shard_path(2), stores[0].shard_path(3)).unwrap();
    let message = stores[0].read().unwrap_err().to_string();
    assert!(message.contains("shard-00003.parquet: holds shard 2, expected 3"), "{message}");
}

/// Where the first answer stands in a shard of [`rows`]: the cosine of a text with itself, which is 1 or next to it.
fn store_value(bytes: &[u8]) -> usize {
    let near_one = |w: &[u8]| (f32::from_le_bytes(w.try_into().unwrap()) - 1.0).abs() < 1e-5;
    bytes.windows(4).position(near_one).unwrap()
}

#[test]
fn a_damaged_shard_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let rows = rows(9);
    let teacher = teacher(folder.path(), TeacherKind::SentenceEncoder);
    let key = teacher.key("relevance", &labels(), &rows).unwrap();
    let store = LabelStore::open(&folder.path().join("labels"), key.clone()).unwrap();
    label(&teacher, &store, &rows, &Stop::default()).unwrap();
    let shard = store.shard_path(0);
    let whole = std::fs::read(&shard).unwrap();
    for cut in [0, 5, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&shard, &whole[..cut]).unwrap();
        let message = store.read().unwrap_err().to_string();
        assert!(message.contains("shard-00000.parquet") && message.contains("remove the file"), "{message}");
    }
    assert!(LabelStore::open(&folder.path().join("labels"), key).is_err());
    // The last bytes of the answers lie well before the footer.
    let mut flipped = whole.clone();
    let value = store_value(&whole);
    flipped[value] ^= 1;
    std::fs::write(&shard, &flipped).unwrap();
    assert!(store.read().unwrap_err().to_string().contains("damaged shard"));
    let values = vec![vec![f32::NAN]; 9];
    assert!(store.write(0, &rows, &values).unwrap_err().to_string().contains("not finite"));
    assert!(store.write(0, &rows[..8], &values[..8]).unwrap_err().to_string().contains("another shape"));
}

#[test]
fn labels_of_an_earlier_version_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let key = teacher(folder.path(), TeacherKind::SentenceEncoder).key("relevance", &labels(), &rows(5)).unwrap();
    std::fs::write(folder.path().join("labels.json"), "{}").unwrap();
    let message = LabelStore::open(folder.path(), key).err().unwrap().to_string();
    assert!(message.contains("earlier version") && message.contains("label again"), "{message}");
}

#[test]
fn sets_of_shards_are_read_and_shown() {
    let set: ShardSet = "5,0-2".parse().unwrap();
    assert_eq!((set.to_string().as_str(), set.len(), set.last()), ("0-2,5", 4, Some(5)));
    for bad in ["", "a", "3-1", "1-", "-1", "0-99999999999"] {
        assert!(bad.parse::<ShardSet>().unwrap_err().contains("expected shard numbers"), "{bad}");
    }
    let workers: Vec<usize> = (0..3).flat_map(|w| ShardSet::of_worker(w, 3, 10).iter().collect::<Vec<_>>()).collect();
    assert_eq!(workers.iter().collect::<std::collections::BTreeSet<_>>().len(), 10);
    assert_eq!(workers.len(), 10);
}

#[test]
fn labels_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder(folder.path(), 1, &[]);
    let teacher_a = teacher(folder.path(), TeacherKind::SentenceEncoder);
    let store = folder.path().join("labels");
    let begun = LabelStore::open(&store, teacher_a.key("relevance", &labels(), &rows(5)).unwrap()).unwrap();
    label(&teacher_a, &begun, &rows(5), &Stop::default()).unwrap();
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
