#![allow(clippy::unwrap_used)]
use super::*;
use crate::fixture::{bundle, contents};
use crate::{AtomicFile, Weights};

#[test]
fn the_official_safetensors_crate_lists_a_bundle() {
    for weights in [Weights::Int8, Weights::F16, Weights::F32] {
        let bytes = bundle(&contents(weights));
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("head.relevance.0.0.weight").unwrap().shape(), [2, 8]);
        let expected = if weights == Weights::Int8 { vec![3, 16, 16, 4] } else { vec![1, 8, 48] };
        assert_eq!(tensors.tensor("layer.1.qkv.weight").unwrap().shape(), expected);
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["attar.weights"], format!("\"{weights}\""));
    }
}

#[test]
fn tensors_out_of_order_are_refused() {
    let contents = contents(Weights::F32);
    let mut encoder = Encoder::new(Vec::new(), &contents).unwrap();
    let error = encoder.tensor("pooler.bias", &[0; 192]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("tokenizer.bytes"), "{error}");
    assert_eq!(encoder.finish().unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn contents_that_no_reader_accepts_are_refused() {
    let mut bad = contents(Weights::Int8);
    bad.heads[0].temperature = f32::NAN;
    assert_eq!(Encoder::new(Vec::new(), &bad).unwrap_err().kind(), ErrorKind::Metadata);
    let mut bad = contents(Weights::Int8);
    bad.head_widths[0].clear();
    assert_eq!(Encoder::new(Vec::new(), &bad).unwrap_err().kind(), ErrorKind::Metadata);
    let mut bad = contents(Weights::Int8);
    bad.provenance = "[]".into();
    assert_eq!(Encoder::new(Vec::new(), &bad).unwrap_err().kind(), ErrorKind::Metadata);
    let mut bad = contents(Weights::Int8);
    bad.provenance = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_HEADER_BYTES));
    assert_eq!(Encoder::new(Vec::new(), &bad).unwrap_err().kind(), ErrorKind::Header);
}

#[test]
fn a_file_appears_only_when_it_is_committed() {
    let folder = std::env::temp_dir().join(format!("attar-bundle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("student.attar");
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"half").unwrap();
    drop(file);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "the temporary file is removed");
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"whole").unwrap();
    assert!(!path.exists());
    file.commit().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    assert_eq!(AtomicFile::create(&folder.join("missing/x")).unwrap_err().kind(), ErrorKind::Io);
    std::fs::remove_dir_all(&folder).unwrap();
}
