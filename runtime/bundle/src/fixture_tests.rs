//! A tiny bundle for the tests of this crate.
#![allow(clippy::unwrap_used)]

use crate::{Architecture, Contents, Element, Encoder, Head, TokenizerConfig, Weights};

pub(crate) fn contents(weights: Weights) -> Contents {
    Contents {
        architecture: Architecture {
            kind: "bert".into(),
            layers: 2,
            hidden: 8,
            heads: 2,
            intermediate: 20,
            vocabulary: 6,
            positions: 16,
            types: 2,
            layer_norm_eps: 1e-12,
        },
        weights,
        precision: crate::Precision::default(),
        heads: vec![
            Head {
                name: "nli".into(),
                labels: ["entailment", "neutral", "contradiction"].map(String::from).into(),
                copies: 2,
                layers: 2,
                temperature: 1.25,
            },
            Head {
                name: "relevance".into(),
                labels: ["not_relevant", "relevant"].map(String::from).into(),
                copies: 1,
                layers: 1,
                temperature: 1.0,
            },
        ],
        head_widths: vec![vec![5], vec![]],
        tokenizer: TokenizerConfig {
            kind: "wordpiece".into(),
            lowercase: true,
            strip_accents: true,
            chinese_characters: true,
            max_word_chars: 100,
            unk: 1,
            cls: 2,
            sep: 3,
            pad: 0,
            continuation: "##".into(),
        },
        vocabulary_bytes: 21,
        vocabulary_table: 16,
        provenance: r#"{"student":"a \"tiny\" one"}"#.into(),
        quantization: None,
    }
}

/// A bundle whose every tensor holds small numbers that differ.
pub(crate) fn bundle(contents: &Contents) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), contents).unwrap();
    let mut seed = 1u32;
    while let Some(spec) = encoder.next_tensor().cloned() {
        let elements: usize = spec.shape.iter().product();
        let bytes: Vec<u8> = (0..elements)
            .flat_map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let small = f64::from(seed >> 16) / 65536.0;
                match spec.element {
                    Element::F32 => (small as f32).to_le_bytes().to_vec(),
                    Element::F16 => half::f16::from_f64(small).to_le_bytes().to_vec(),
                    Element::I8 | Element::U8 => vec![(seed >> 24) as u8],
                    Element::I32 | Element::U32 => (seed >> 20).to_le_bytes().to_vec(),
                    Element::U64 => u64::from(seed).to_le_bytes().to_vec(),
                }
            })
            .collect();
        encoder.tensor(&spec.name, &bytes).unwrap();
    }
    encoder.finish().unwrap().0
}

/// `bundle` at an address that is a multiple of 64.
pub(crate) struct Aligned {
    buffer: Vec<u8>,
    offset: usize,
    len: usize,
}

impl Aligned {
    pub(crate) fn new(bytes: &[u8]) -> Aligned {
        let mut buffer = vec![0; bytes.len() + 64];
        let offset = buffer.as_ptr().align_offset(64);
        buffer[offset..offset + bytes.len()].copy_from_slice(bytes);
        Aligned { buffer, offset, len: bytes.len() }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer[self.offset..self.offset + self.len]
    }
}

/// A file made of a header and data, for literal tests: the header is padded so that data begins on a boundary.
pub(crate) fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (8 + header.len()).next_multiple_of(64) - 8;
    let mut bytes = (length as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(8 + length, b' ');
    bytes.extend_from_slice(data);
    bytes
}

/// `bundle` with `from` replaced by `to` in its header, the checksum of the header made right again.
pub(crate) fn with_header(bundle: &[u8], from: &str, to: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(bundle[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bundle[8..8 + length]).unwrap().trim_end();
    assert!(header.contains(from), "{from:?} is not in the header");
    let mut bytes = raw(&header.replacen(from, to, 1), &bundle[8 + length..]);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let layout = crate::Layout::parse(bundle).unwrap();
    let sums_from_end = layout.file_len() - layout.tensors().last().unwrap().range.start;
    let at = bytes.len() - sums_from_end;
    let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..8 + length]);
    bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
    bytes
}
