//! What a damaged or hostile bundle can do: give an error. Never a panic, never an access out of bounds.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use attar::{ErrorKind, Model, Weights};
use attar_bundle::Layout;
use common::Bert;

/// Opens `bytes` and, if that succeeds, scores with it: any result will do.
fn use_it(bytes: Vec<u8>) -> Result<Model, attar::Error> {
    let model = Model::from_bytes(bytes)?;
    for head in ["relevance", "nli"] {
        let _ = model.session().score(head, &[("where is the rose", "the roses water"), ("!", "red")]);
    }
    Ok(model)
}

#[test]
fn every_byte_of_the_header_matters() {
    let bytes = Bert::random(2).bundle(Weights::Int8);
    let header = Layout::parse(&bytes).unwrap().header_len();
    for at in 0..header {
        for change in [0x01, 0x80, 0xff] {
            let mut bad = bytes.clone();
            bad[at] ^= change;
            assert!(use_it(bad).is_err(), "byte {at} changed by {change:#x}");
        }
    }
}

#[test]
fn a_changed_byte_of_data_is_an_error_or_a_wrong_number_that_verify_finds() {
    for weights in [Weights::Int8, Weights::F16, Weights::F32] {
        let bytes = Bert::random(2).bundle(weights);
        let layout = Layout::parse(&bytes).unwrap();
        for tensor in layout.tensors() {
            let range = tensor.range.clone();
            // The ends of every tensor, where sizes and offsets are, and some places between.
            let places =
                range.clone().take(8).chain(range.clone().step_by(61)).chain(range.end.saturating_sub(8)..range.end);
            for at in places.filter(|at| range.contains(at)) {
                for change in [0x40, 0xff] {
                    let mut bad = bytes.clone();
                    bad[at] ^= change;
                    if let Ok(model) = use_it(bad) {
                        let error = model.verify().unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::Checksum, "byte {at} of {:?}", tensor.name);
                    }
                }
            }
        }
    }
}

/// A kernel may swallow a NaN (a clamped polynomial does); what may not happen is a score that is not a number.
#[test]
fn weights_that_are_no_numbers_never_give_a_score_that_is_none() {
    let bytes = Bert::random(2).bundle(Weights::F32);
    let layout = Layout::parse(&bytes).unwrap();
    for name in
        ["embeddings.word", "layer.0.qkv.weight", "layer.0.ffn_up.weight", "layer.1.ffn_down.weight", "pooler.weight"]
    {
        let tensor = layout.tensors().iter().find(|t| t.name == name).unwrap();
        for value in [f32::NAN, f32::INFINITY, f32::MAX] {
            let mut bad = bytes.clone();
            for at in tensor.range.clone().step_by(4) {
                bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            let model = Model::from_bytes(bad).unwrap();
            match model.session().score("nli", &[("rose", "red")]) {
                Ok(scores) => assert!(scores[0].probabilities.iter().all(|p| p.is_finite()), "{name} {value}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Bundle, "{name} {value}: {error}"),
            }
            assert_eq!(model.verify().unwrap_err().kind(), ErrorKind::Checksum);
        }
    }
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = Bert::random(2).bundle(Weights::Int8);
    for len in (0..bytes.len()).step_by(37).chain([0, 1, 7, 8, 9, 63, 64, bytes.len() - 1]) {
        let error = Model::from_bytes(bytes[..len].to_vec()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Bundle, "{len} bytes: {error}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.attar");
    for path in [missing.as_path(), folder.path()] {
        let error = Model::open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    let empty = folder.path().join("empty.attar");
    std::fs::write(&empty, b"").unwrap();
    let error = Model::open(&empty).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bundle);
    assert!(error.to_string().contains("empty.attar"), "{error}");
}

#[test]
fn another_version_says_so() {
    let bytes = Bert::random(2).bundle(Weights::Int8);
    let at = bytes.windows(20).position(|w| w.starts_with(b"\"attar.format\":\"1\"")).unwrap();
    let mut newer = bytes.clone();
    newer[at + 16] = b'3';
    let error = Model::from_bytes(newer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Version);
    assert!(error.to_string().contains("format 3"), "{error}");
}

#[test]
fn a_file_is_mapped_and_bytes_are_used_where_they_are_unless_misaligned() {
    let bytes = Bert::random(2).bundle(Weights::Int8);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let mapped = Model::open(file.path()).unwrap();
    mapped.verify().unwrap();
    assert!(!mapped.info().copied);
    let expected = mapped.session().score("nli", &[("rose", "red")]).unwrap();

    struct Shifted(Vec<u8>, usize);
    impl AsRef<[u8]> for Shifted {
        fn as_ref(&self) -> &[u8] {
            &self.0[self.1..]
        }
    }
    for shift in [0, 1, 4, 8] {
        let mut buffer = vec![0; bytes.len() + 72];
        let start = buffer.as_ptr().align_offset(64) + shift;
        buffer.truncate(start + bytes.len());
        buffer[start..].copy_from_slice(&bytes);
        let model = Model::from_bytes(Shifted(buffer, start)).unwrap();
        assert_eq!(model.info().copied, shift % 4 != 0, "shifted by {shift}");
        assert_eq!(model.session().score("nli", &[("rose", "red")]).unwrap(), expected);
    }
}
