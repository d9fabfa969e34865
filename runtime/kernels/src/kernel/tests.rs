#![allow(clippy::unwrap_used)]

use super::*;
use crate::check::{OwnedLayer, Packed, Random, Weights};
use crate::{LinearF32, LinearI8, Norm, Table};

#[test]
fn every_compiled_kernel_is_found_by_name_or_says_what_is_missing() {
    for name in Kernel::compiled() {
        match Kernel::by_name(name) {
            Ok(kernel) => assert_eq!(kernel.name(), name),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnsupportedKernel);
                assert!(error.to_string().contains("scalar"), "{error}");
            }
        }
    }
    assert!(Kernel::available().contains(&Kernel::best()));
    assert_eq!(Kernel::available()[0].name(), "scalar");
}

#[test]
fn an_unknown_name_is_rejected() {
    let error = Kernel::by_name("mmx").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownKernel);
    assert!(error.to_string().contains("\"mmx\""), "{error}");
}

#[test]
fn offsets_that_do_not_fit_are_rejected() {
    let layer = OwnedLayer::random(&mut Random::new(1), 4, 2, 8, Weights::F32);
    let (kernel, mut scratch) = (Kernel::best(), Scratch::new());
    for (starts, length, message) in [
        (&[][..], 8, "first offset"),
        (&[1, 2], 8, "first offset"),
        (&[0, 1], 8, "last offset is 1, expected the number of tokens, 2"),
        (&[0, 1, 1, 2], 8, "starts[2] is 1 after 1"),
        (&[0, 3, 2], 8, "starts[2] is 2 after 3"),
        (&[0, 2], 9, "multiple of 4"),
        (&[0], 4, "last offset is 0"),
    ] {
        let mut hidden = vec![1.0; length];
        let error = kernel.encoder_layer(&layer.view(), &mut hidden, starts, &mut scratch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shape);
        assert!(error.to_string().contains(message), "{starts:?}: {error}");
        assert_eq!(hidden, vec![1.0; length]);
    }
    let error = kernel.encoder_layer_cls(&layer.view(), &[0.0; 8], &[0, 2], &mut [0.0; 5], &mut scratch).unwrap_err();
    assert!(error.to_string().contains("out: 5 elements, expected 4"), "{error}");
    kernel.encoder_layer(&layer.view(), &mut [], &[0], &mut scratch).unwrap();
}

#[test]
fn ids_outside_their_tables_are_rejected() {
    let norm = Norm::new(&[1.0; 4], &[0.0; 4]).unwrap();
    let table = [0.5; 12];
    let embeddings = Embeddings::new(Table::F32(&table), Table::F32(&table[..8]), &table[..8], norm, 1e-12).unwrap();
    let kernel = Kernel::best();
    let mut out = [0.0; 8];
    kernel.embed(&embeddings, &[0, 2], &[0, 1], &[0, 1], &mut out).unwrap();
    for (ids, positions, types, message) in [
        ([0, 3], [0, 1], [0, 1], "ids[1] is 3, expected below 3"),
        ([u32::MAX, 0], [0, 1], [0, 1], "ids[0]"),
        ([0, 1], [2, 1], [0, 1], "positions[0] is 2, expected below 2"),
        ([0, 1], [0, 1], [0, 2], "types[1] is 2, expected below 2"),
    ] {
        let error = kernel.embed(&embeddings, &ids, &positions, &types, &mut out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdOutOfRange);
        assert!(error.to_string().contains(message), "{error}");
    }
    let error = kernel.embed(&embeddings, &[0], &[0, 1], &[0], &mut out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
}

#[test]
fn layers_of_wrong_lengths_are_rejected() {
    let (weight, ones, sums) = ([0_i8; 48 * 64], [0.0_f32; 48], [0_i32; 48]);
    LinearI8::new(&weight, &ones, &sums, &ones, 48, 64).unwrap();
    let kind = |result: Result<LinearI8<'_>, Error>| result.unwrap_err().kind();
    assert_eq!(kind(LinearI8::new(&weight[1..], &ones, &sums, &ones, 48, 64)), ErrorKind::Shape);
    assert_eq!(kind(LinearI8::new(&weight, &ones[1..], &sums, &ones, 48, 64)), ErrorKind::Shape);
    assert_eq!(kind(LinearI8::new(&weight, &ones, &sums[1..], &ones, 48, 64)), ErrorKind::Shape);
    assert_eq!(kind(LinearI8::new(&weight, &ones, &sums, &ones[1..], 48, 64)), ErrorKind::Shape);
    assert_eq!(kind(LinearI8::new(&weight, &ones, &sums, &ones, 0, 64)), ErrorKind::Shape);
    assert_eq!(kind(LinearI8::new(&weight, &ones, &sums, &ones, 48, usize::MAX)), ErrorKind::Shape);
    let mut bad = ones;
    bad[47] = 1.0;
    assert_eq!(kind(LinearI8::new(&weight, &bad, &sums, &ones, 47, 64)), ErrorKind::Value);
    bad[0] = f32::NAN;
    assert_eq!(kind(LinearI8::new(&weight, &ones, &sums, &bad, 48, 64)), ErrorKind::Value);
    assert_eq!(LinearF32::new(&[0.0; 47], &ones, 48, 1).unwrap_err().kind(), ErrorKind::Shape);
    assert_eq!(Norm::new(&[1.0], &[]).unwrap_err().kind(), ErrorKind::Shape);
    assert_eq!(Norm::new(&[], &[]).unwrap_err().kind(), ErrorKind::Shape);
    assert_eq!(Dense::new(&[1.0], &[1.0], 1, 2).unwrap_err().kind(), ErrorKind::Shape);
}

#[test]
fn parts_that_do_not_fit_each_other_are_rejected() {
    let mut random = Random::new(2);
    let square = Packed::random(&mut random, 4, 4, Weights::F32);
    let qkv = Packed::random(&mut random, 12, 4, Weights::I8);
    let up = Packed::random(&mut random, 8, 4, Weights::F16);
    let down = Packed::random(&mut random, 4, 8, Weights::F32);
    let (norm, short) = (Norm::new(&[1.0; 4], &[0.0; 4]).unwrap(), Norm::new(&[1.0; 3], &[0.0; 3]).unwrap());
    let build =
        |qkv, down, norm, heads, eps| EncoderLayer::new(qkv, square.view(), norm, up.view(), down, norm, heads, eps);
    build(qkv.view(), down.view(), norm, 2, 1e-12).unwrap();
    for (result, message) in [
        (build(square.view(), down.view(), norm, 2, 1e-12), "qkv: 4 outputs of 4 inputs, expected 12 of 4"),
        (build(qkv.view(), up.view(), norm, 2, 1e-12), "ffn_down"),
        (build(qkv.view(), down.view(), short, 2, 1e-12), "attention_norm"),
        (build(qkv.view(), down.view(), norm, 3, 1e-12), "3 heads"),
        (build(qkv.view(), down.view(), norm, 0, 1e-12), "0 heads"),
        (build(qkv.view(), down.view(), norm, 2, f32::NAN), "epsilon"),
    ] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}
