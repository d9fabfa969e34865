#![allow(clippy::unwrap_used)]
use super::*;
use crate::fixture::{Aligned, bundle, contents, raw, with_header};
use crate::{EmbeddingRows, ErrorKind, LinearWeights, NormName, Rows};

fn kind(bytes: &[u8]) -> ErrorKind {
    let error = Layout::parse(bytes).unwrap_err();
    assert!(error.to_string().len() > 20, "an error says what is wrong: {error}");
    error.kind()
}

fn float_after(bytes: &[u8], name: &str) -> usize {
    Layout::parse(bytes).unwrap().tensors().iter().find(|t| t.name == name).unwrap().range.start
}

#[test]
fn a_bundle_of_each_kind_opens_and_verifies() {
    for weights in [Weights::Int8, Weights::F16, Weights::F32] {
        let contents = contents(weights);
        let bytes = Aligned::new(&bundle(&contents));
        let layout = Layout::parse(&bytes).unwrap();
        layout.verify(&bytes).unwrap();
        assert_eq!(layout.architecture(), &contents.architecture);
        assert_eq!(layout.heads(), contents.heads);
        assert_eq!(layout.head_widths(), contents.head_widths);
        assert_eq!(layout.tokenizer(), &contents.tokenizer);
        assert_eq!(layout.provenance(), contents.provenance);
        assert_eq!(layout.weights(), weights);
        assert_eq!(layout.file_len(), bytes.len());
        // 6 + 16 + 2 rows of 8, then its norm; per layer 8x24+24, 8x8+8, 8x20+20, 20x8+8 and two norms; pooler; the heads.
        let heads = 2 * (5 * 9 + 3 * 6) + 2 * 9;
        assert_eq!(layout.parameters(), 24 * 8 + 16 + 2 * (9 * 24 + 9 * 8 + 9 * 20 + 21 * 8 + 32) + 72 + heads);
    }
}

#[test]
fn views_are_the_tensors_of_that_name() {
    for weights in [Weights::Int8, Weights::F16, Weights::F32] {
        let bytes = Aligned::new(&bundle(&contents(weights)));
        let layout = Layout::parse(&bytes).unwrap();
        let view = layout.view(&bytes).unwrap();
        let place = |name: &str| {
            let tensor = layout.tensors().iter().find(|t| t.name == name).unwrap();
            bytes[tensor.range.clone()].as_ptr()
        };
        let mut names = vec![LinearName::Pooler];
        for i in 0..2 {
            let layer =
                [LinearName::Qkv(i), LinearName::AttentionOutput(i), LinearName::FfnUp(i), LinearName::FfnDown(i)];
            names.extend(layer);
        }
        for name in names {
            let (linear, prefix) = (view.linear(name), name.prefix());
            let weight = match linear.weights {
                LinearWeights::Int8 { weight, scales, sums } => {
                    assert_eq!(scales.as_ptr().cast(), place(&format!("{prefix}.scales")));
                    assert_eq!(sums.as_ptr().cast(), place(&format!("{prefix}.sums")));
                    weight.as_ptr().cast()
                }
                LinearWeights::F16(weight) => weight.as_ptr().cast(),
                LinearWeights::F32(weight) => weight.as_ptr().cast(),
            };
            assert_eq!(weight, place(&format!("{prefix}.weight")));
            assert_eq!(linear.bias.as_ptr().cast(), place(&format!("{prefix}.bias")));
        }
        for name in [NormName::Embeddings, NormName::Attention(0), NormName::Output(1)] {
            assert_eq!(view.norm(name).weight.as_ptr().cast(), place(&format!("{}.weight", name.prefix())));
            assert_eq!(view.norm(name).bias.as_ptr().cast(), place(&format!("{}.bias", name.prefix())));
        }
        let embedding = view.embedding();
        assert_eq!(embedding.token_type.as_ptr().cast(), place("embeddings.type"));
        if let EmbeddingRows::Int8 { data, scales } = embedding.position {
            assert_eq!(data.as_ptr().cast(), place("embeddings.position"));
            assert_eq!(scales.as_ptr().cast(), place("embeddings.position.scales"));
        }
        assert_eq!(view.vocabulary().table.as_ptr().cast(), place("tokenizer.table"));
        let nli = view.head(0);
        assert_eq!((nli.copies.len(), nli.copies[1].len()), (2, 2));
        assert_eq!(nli.copies[1][1].weight.as_ptr().cast(), place("head.nli.1.1.weight"));
        assert_eq!((nli.copies[1][1].outputs, nli.copies[1][1].inputs), (3, 5));
        assert_eq!(view.head(1).copies[0][0].bias.as_ptr().cast(), place("head.relevance.0.0.bias"));
    }
}

/// One linear of each layer and the pooler in f16, the word embeddings in int4: every view is the tensor of that name.
#[test]
fn exceptions_of_precision_have_their_own_tensors() {
    for f16 in [&["layer.0.ffn_up", "layer.1.qkv"][..], &["layer.0.qkv", "layer.1.ffn_down", "pooler"], &[]] {
        for word in [Rows::Int4, Rows::Int8, Rows::F16, Rows::F32] {
            let mut contents = contents(Weights::Int8);
            contents.precision.word_embeddings = Some(word);
            contents.precision.f16_linears = f16.iter().map(|s| s.to_string()).collect();
            let bytes = Aligned::new(&bundle(&contents));
            let layout = Layout::parse(&bytes).unwrap();
            layout.verify(&bytes).unwrap();
            assert_eq!(layout.precision(), &contents.precision);
            let view = layout.view(&bytes).unwrap();
            let place = |name: &str| {
                let tensor = layout.tensors().iter().find(|t| t.name == name).unwrap();
                bytes[tensor.range.clone()].as_ptr()
            };
            for name in LinearName::all(layout.architecture()) {
                let (linear, prefix) = (view.linear(name), name.prefix());
                assert_eq!(LinearName::parse(&prefix, layout.architecture()), Some(name));
                let weight: *const u8 = match linear.weights {
                    LinearWeights::Int8 { weight, .. } => weight.as_ptr().cast(),
                    LinearWeights::F16(weight) => weight.as_ptr().cast(),
                    LinearWeights::F32(_) => unreachable!("no f32 in an int8 bundle"),
                };
                assert_eq!(f16.contains(&prefix.as_str()), matches!(linear.weights, LinearWeights::F16(_)));
                assert_eq!(weight, place(&format!("{prefix}.weight")));
                assert_eq!(linear.bias.as_ptr().cast(), place(&format!("{prefix}.bias")));
            }
            for name in [NormName::Embeddings, NormName::Attention(0), NormName::Output(0), NormName::Output(1)] {
                assert_eq!(view.norm(name).weight.as_ptr().cast(), place(&format!("{}.weight", name.prefix())));
            }
            assert_eq!(view.embedding().token_type.as_ptr().cast(), place("embeddings.type"));
            if let EmbeddingRows::Int4 { data, scales } = view.embedding().word {
                assert_eq!((data.as_ptr(), data.len(), scales.len()), (place("embeddings.word"), 6 * 16, 6));
                assert_eq!(scales.as_ptr().cast(), place("embeddings.word.scales"));
            }
            assert_eq!(view.head(1).copies[0][0].bias.as_ptr().cast(), place("head.relevance.0.0.bias"));
        }
    }
}

/// An older reader knows format 1 only and says so; a bundle without exceptions stays in format 1.
#[test]
fn only_exceptions_make_format_2() {
    let uniform = bundle(&contents(Weights::Int8));
    assert!(String::from_utf8_lossy(&uniform).contains(r#""attar.format":"1""#));
    let mut mixed = contents(Weights::Int8);
    mixed.precision.word_embeddings = Some(Rows::Int4);
    assert!(String::from_utf8_lossy(&bundle(&mixed)).contains(r#""attar.format":"2""#));
}

#[test]
fn exceptions_that_do_not_fit_are_rejected() {
    for (weights, linears) in [
        (Weights::F32, vec!["pooler"]),
        (Weights::Int8, vec!["layer.2.qkv"]),
        (Weights::Int8, vec!["layer.01.qkv"]),
        (Weights::Int8, vec!["pooler", "layer.0.qkv"]),
        (Weights::Int8, vec!["pooler", "pooler"]),
    ] {
        let mut contents = contents(weights);
        contents.precision.f16_linears = linears.iter().map(|s| s.to_string()).collect();
        assert_eq!(crate::Encoder::new(Vec::new(), &contents).unwrap_err().kind(), ErrorKind::Metadata);
    }
    let mut int4 = contents(Weights::Int8);
    int4.precision.word_embeddings = Some(Rows::Int4);
    let bytes = bundle(&int4);
    let changed = with_header(&bytes, r#"{\"word_embeddings\":\"int4\"}"#, r#"{\"word_embeddings\":\"int3\"}"#);
    assert_eq!(kind(&changed), ErrorKind::Metadata);
    let changed = with_header(&bytes, r#"\"word_embeddings\":\"int4\""#, r#"\"word_embeddings\":\"int8\""#);
    assert_eq!(kind(&changed), ErrorKind::Tensor);
}

#[test]
fn an_int4_scale_that_is_no_number_is_rejected() {
    let mut contents = contents(Weights::Int8);
    contents.precision.word_embeddings = Some(Rows::Int4);
    let mut bytes = bundle(&contents);
    let at = float_after(&bytes, "embeddings.word.scales");
    bytes[at + 2..at + 4].copy_from_slice(&half::f16::INFINITY.to_le_bytes());
    let error = Layout::parse(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Value);
    assert!(error.to_string().contains("embeddings.word.scales\" holds inf at index 1"), "{error}");
}

#[test]
fn too_short_for_a_header_length_is_rejected() {
    assert_eq!(kind(b"1234567"), ErrorKind::Size);
}

#[test]
fn header_longer_than_the_cap_is_rejected() {
    assert_eq!(kind(&[0xff; 64]), ErrorKind::Header);
}

#[test]
fn header_longer_than_the_file_is_rejected() {
    assert_eq!(kind(&[100, 0, 0, 0, 0, 0, 0, 0, b'{']), ErrorKind::Size);
}

#[test]
fn header_that_is_no_json_is_rejected() {
    assert_eq!(kind(&raw("not json", &[])), ErrorKind::Header);
    assert_eq!(kind(&raw(&"[".repeat(100_000), &[])), ErrorKind::Header);
}

#[test]
fn header_that_is_no_text_is_rejected() {
    let mut bytes = raw("{}", &[]);
    bytes[9] = 0xff;
    assert_eq!(kind(&bytes), ErrorKind::Header);
}

#[test]
fn plain_safetensors_is_rejected() {
    assert_eq!(kind(&raw("{}", &[])), ErrorKind::Header);
    assert_eq!(kind(&raw(r#"{"__metadata__":{"format":"pt"}}"#, &[])), ErrorKind::Metadata);
}

#[test]
fn repeated_metadata_is_rejected() {
    assert_eq!(kind(&raw(r#"{"__metadata__":{},"__metadata__":{}}"#, &[])), ErrorKind::Header);
    assert_eq!(kind(&raw(r#"{"__metadata__":{"a":"1","a":"2"}}"#, &[])), ErrorKind::Header);
}

#[test]
fn other_version_is_rejected() {
    assert_eq!(kind(&raw(r#"{"__metadata__":{"attar.format":"3"}}"#, &[])), ErrorKind::Version);
}

#[test]
fn data_off_the_boundary_is_rejected() {
    let mut bytes = 20u64.to_le_bytes().to_vec();
    bytes.extend_from_slice(br#"{"__metadata__":{}} "#);
    assert_eq!(kind(&bytes), ErrorKind::Placement);
}

#[test]
fn hole_overlap_and_misplacement_are_rejected() {
    let file = |a: (usize, usize), b: (usize, usize), len: usize| {
        let entry = |(from, to): (usize, usize)| {
            format!(r#"{{"dtype":"U8","shape":[{}],"data_offsets":[{from},{to}]}}"#, to.wrapping_sub(from))
        };
        raw(&format!(r#"{{"__metadata__":{{}},"a":{},"b":{}}}"#, entry(a), entry(b)), &vec![0; len])
    };
    assert_eq!(kind(&file((0, 64), (128, 192), 192)), ErrorKind::Placement, "hole");
    assert_eq!(kind(&file((0, 64), (0, 64), 64)), ErrorKind::Placement, "overlap");
    assert_eq!(kind(&file((0, 3), (3, 9), 9)), ErrorKind::Placement, "not on a boundary");
    assert_eq!(kind(&file((64, 0), (64, 128), 128)), ErrorKind::Placement, "backwards");
    assert_eq!(kind(&file((0, usize::MAX), (0, 1), 64)), ErrorKind::Placement, "overflow");
}

#[test]
fn size_that_contradicts_the_shape_is_rejected() {
    for shape in ["[65]", "[4294967296,4294967296,4294967296]", "[1,1,1,1,64]"] {
        let header = format!(r#"{{"__metadata__":{{}},"a":{{"dtype":"U8","shape":{shape},"data_offsets":[0,64]}}}}"#);
        let kind = kind(&raw(&header, &[0; 64]));
        assert!(matches!(kind, ErrorKind::Tensor | ErrorKind::Header), "{shape}: {kind:?}");
    }
}

#[test]
fn claims_of_gigabytes_cost_nothing() {
    let size = 1u64 << 40;
    let header = format!(r#"{{"__metadata__":{{}},"a":{{"dtype":"U8","shape":[{size}],"data_offsets":[0,{size}]}}}}"#);
    assert_eq!(kind(&raw(&header, &[0; 64])), ErrorKind::Size);
}

#[test]
fn foreign_element_type_is_rejected() {
    let header = r#"{"__metadata__":{},"a":{"dtype":"BF16","shape":[32],"data_offsets":[0,64]}}"#;
    assert_eq!(kind(&raw(header, &[0; 64])), ErrorKind::Tensor);
}

#[test]
fn padding_must_be_padding() {
    let header = r#"{"__metadata__":{},"pad.1":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#;
    assert_eq!(kind(&raw(header, &[0; 8])), ErrorKind::Placement);
}

#[test]
fn truncated_and_extended_files_are_rejected() {
    let bytes = bundle(&contents(Weights::Int8));
    for len in [bytes.len() - 1, bytes.len() - 64, bytes.len() / 2, 100, 8] {
        assert_eq!(kind(&bytes[..len]), ErrorKind::Size, "{len} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(kind(&longer), ErrorKind::Size);
}

#[test]
fn metadata_out_of_range_is_rejected() {
    let bytes = bundle(&contents(Weights::Int8));
    for (from, to) in [
        (r#"\"hidden\":8"#, r#"\"hidden\":0"#),
        (r#"\"hidden\":8"#, r#"\"hidden\":18446744073709551615"#),
        (r#"\"hidden\":8"#, r#"\"hidden\":-8"#),
        (r#"\"heads\":2"#, r#"\"heads\":3"#),
        (r#"\"layers\":2,\"pos"#, r#"\"layers\":1000000,\"pos"#),
        (r#"\"kind\":\"bert"#, r#"\"kind\":\"mpnet"#),
        (r#"\"unk\":1"#, r#"\"unk\":6"#),
        (r#"\"temperature\":1.25"#, r#"\"temperature\":0"#),
        (r#"\"temperature\":1.25"#, r#"\"temperature\":1e999"#),
        (r#"\"temperature\":1.25"#, r#"\"temperature\":null"#),
        (r#"\"neutral\""#, r#"\"entailment\""#),
        (r#"\"name\":\"relevance"#, r#"\"name\":\"nli"#),
        (r#"\"name\":\"relevance"#, r#"\"name\":\"a/b"#),
        (r#"\"copies\":2"#, r#"\"copies\":0"#),
        (r#"\"int8\""#, r#"\"int4\""#),
        (r#"attar.provenance"#, r#"attar.provenience"#),
        (r#"{\"student\":"#, r#"[\"student\":"#),
        (r#"\"positions\":16"#, r#"\"positions\":16,\"new\":1"#),
        (r###"\"##\""###, r#"\"\""#),
        (r#"\"max_word_chars\":100"#, r#"\"max_word_chars\":0"#),
    ] {
        assert_eq!(kind(&with_header(&bytes, from, to)), ErrorKind::Metadata, "{from} -> {to}");
    }
}

#[test]
fn missing_unexpected_and_misshapen_tensors_are_rejected() {
    let bytes = bundle(&contents(Weights::Int8));
    for (from, to) in [
        ("\"layer.1.ffn_up.bias\"", "\"layer.1.ffn_up.bais\""),
        (r#""layer.0.qkv.sums":{"data_offsets""#, r#""layer.0.qkv.sums":{"dtype":"U32","data_offsets""#),
        (r#"\"layers\":2,\"pos"#, r#"\"layers\":1,\"pos"#),
        (r#"\"layers\":2,\"pos"#, r#"\"layers\":3,\"pos"#),
        (r#"\"copies\":2"#, r#"\"copies\":200"#),
        (r#"\"intermediate\":20"#, r#"\"intermediate\":60"#),
        ("\"attar.checksums\"", "\"attar.checksum\""),
        (r#""shape":[16]"#, r#""shape":[4,4]"#),
    ] {
        let kind = kind(&with_header(&bytes, from, to));
        assert!(matches!(kind, ErrorKind::Tensor | ErrorKind::Header), "{from} -> {to}: {kind:?}");
    }
}

#[test]
fn scales_and_biases_that_are_no_numbers_are_rejected() {
    let bytes = bundle(&contents(Weights::Int8));
    for name in
        ["layer.0.qkv.scales", "pooler.bias", "embeddings.word.scales", "embeddings.norm.weight", "head.nli.0.1.weight"]
    {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut bad = bytes.clone();
            let at = float_after(&bytes, name) + 4;
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let error = Layout::parse(&bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Value);
            assert!(error.to_string().contains(name) && error.to_string().contains("index 1"), "{error}");
        }
    }
    let mut bad = bytes.clone();
    let at = float_after(&bytes, "layer.0.qkv.scales");
    bad[at..at + 4].copy_from_slice(&(-1f32).to_le_bytes());
    assert_eq!(kind(&bad), ErrorKind::Value);
}

#[test]
fn verify_names_the_damaged_tensor() {
    let bytes = bundle(&contents(Weights::F16));
    let layout = Layout::parse(&bytes).unwrap();
    for tensor in layout.tensors() {
        let mut bad = bytes.clone();
        bad[tensor.range.start] ^= 1;
        let error = layout.verify(&bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Checksum);
        if tensor.name != "attar.checksums" {
            assert!(error.to_string().contains(&format!("{:?}", tensor.name)), "{error}");
        }
    }
    assert_eq!(layout.verify(&bytes[1..]).unwrap_err().kind(), ErrorKind::Size);
}

#[test]
fn a_changed_header_is_seen_at_open() {
    let bytes = bundle(&contents(Weights::F32));
    let layout = Layout::parse(&bytes).unwrap();
    for at in 0..layout.header_len() {
        for bit in [1, 16, 128] {
            let mut bad = bytes.clone();
            bad[at] ^= bit;
            assert!(Layout::parse(&bad).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn views_of_other_bytes_are_refused() {
    let bytes = Aligned::new(&bundle(&contents(Weights::F32)));
    let layout = Layout::parse(&bytes).unwrap();
    assert_eq!(layout.view(&bytes[..64]).unwrap_err().kind(), ErrorKind::Size);
    let mut shifted = vec![0; bytes.len() + 65];
    let offset = shifted.as_ptr().align_offset(64) + 1;
    shifted[offset..offset + bytes.len()].copy_from_slice(&bytes);
    let shifted = &shifted[offset..offset + bytes.len()];
    assert_eq!(Layout::parse(shifted).unwrap().view(shifted).unwrap_err().kind(), ErrorKind::Alignment);
}
