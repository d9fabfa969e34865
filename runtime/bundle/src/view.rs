//! Typed slices of a bundle's bytes.

use bytemuck::Pod;
use half::f16;

use crate::error::{Result, fail};
use crate::layout::Layout;
use crate::metadata::Weights;
use crate::precision::Rows;
use crate::schema::{Element, LinearName, NormName};

/// A bundle's bytes as numbers. Nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    layout: &'a Layout,
    bytes: &'a [u8],
}

/// A layer norm, both `[H]`.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// Multiplied with the normalised value.
    pub weight: &'a [f32],
    /// Added to it.
    pub bias: &'a [f32],
}

/// Packed weights of a linear; `np` and `kp` as [`crate::packing`] pads them.
#[derive(Debug, Clone, Copy)]
pub enum LinearWeights<'a> {
    /// Symmetric int8 with a scale per output.
    Int8 {
        /// `[np/16, kp/4, 16, 4]`.
        weight: &'a [i8],
        /// `[np]`.
        scales: &'a [f32],
        /// `[np]`: 128 times the sum of each output's weights.
        sums: &'a [i32],
    },
    /// `[np/48, k, 48]`.
    F16(&'a [f16]),
    /// `[np/48, k, 48]`.
    F32(&'a [f32]),
}

/// A linear: `y = W x + b`.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// Outputs n, without padding.
    pub outputs: usize,
    /// Inputs k, without padding.
    pub inputs: usize,
    /// W.
    pub weights: LinearWeights<'a>,
    /// b, `[np]`.
    pub bias: &'a [f32],
}

/// Rows of an embedding.
#[derive(Debug, Clone, Copy)]
pub enum EmbeddingRows<'a> {
    /// int4 in groups, as [`crate::packing::pack_i4`] has them.
    Int4 {
        /// `[rows, groups, 16]`.
        data: &'a [u8],
        /// `[rows, groups]`.
        scales: &'a [f16],
    },
    /// Symmetric int8 with a scale per row.
    Int8 {
        /// `[rows, H]`.
        data: &'a [i8],
        /// `[rows]`.
        scales: &'a [f32],
    },
    /// `[rows, H]`.
    F16(&'a [f16]),
    /// `[rows, H]`.
    F32(&'a [f32]),
}

/// The three embeddings and their norm.
#[derive(Debug, Clone, Copy)]
pub struct Embedding<'a> {
    /// `[V, H]`.
    pub word: EmbeddingRows<'a>,
    /// `[positions, H]`.
    pub position: EmbeddingRows<'a>,
    /// `[2, H]`.
    pub token_type: &'a [f32],
    /// Applied to their sum.
    pub norm: Norm<'a>,
}

/// One fully connected layer of a head, row-major.
#[derive(Debug, Clone, Copy)]
pub struct HeadLayer<'a> {
    /// Width of its output.
    pub outputs: usize,
    /// Width of its input.
    pub inputs: usize,
    /// `[outputs, inputs]`.
    pub weight: &'a [f32],
    /// `[outputs]`.
    pub bias: &'a [f32],
}

/// A head's layers.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// `copies[c][l]` is layer l of copy c.
    pub copies: Vec<Vec<HeadLayer<'a>>>,
}

/// The vocabulary's tables, as `attar-tokenizer` makes them.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    /// All tokens' UTF-8, one after another.
    pub bytes: &'a [u8],
    /// `[V + 1]`: where each token begins and ends.
    pub offsets: &'a [u32],
    /// Open-addressing hash table, a power of two long.
    pub table: &'a [u32],
}

// The schema's order (see `schema::visit_tensors`) is what makes these indices right; `Layout::parse` has filled it in the
// same order and checked every element type and shape.
const TOKENIZER: usize = 0;
const WORD: usize = 3;

impl<'a> View<'a> {
    pub(crate) fn new(layout: &'a Layout, bytes: &'a [u8]) -> Result<View<'a>> {
        if bytes.len() != layout.file_len() {
            fail!(Size, "{} bytes, but the layout was parsed from {}", bytes.len(), layout.file_len());
        }
        if bytes.as_ptr().align_offset(4) != 0 {
            fail!(Alignment, "the bundle's bytes must begin on a 4-byte boundary of memory, better 64");
        }
        Ok(View { layout, bytes })
    }

    fn slice<T: Pod>(&self, index: usize, element: Element) -> &'a [T] {
        let tensor = self.layout.schema_tensor(index);
        debug_assert_eq!(tensor.element, element, "{}", tensor.name);
        bytemuck::try_cast_slice(&self.bytes[tensor.range.clone()])
            .expect("the layout has this element type, on a 64-byte boundary of bytes whose beginning is aligned")
    }

    fn quantised(&self) -> usize {
        usize::from(self.layout.weights() == Weights::Int8)
    }

    /// Tensors that a linear has.
    fn linear_len(&self) -> usize {
        2 + 2 * self.quantised()
    }

    fn norms_start(&self) -> usize {
        let storage = self.layout.storage();
        WORD + storage.word.tensors() + storage.position.tensors() + 1
    }

    /// Where a layer would begin if no linear were kept in f16: such a one has no scales and no sums.
    fn layer_start(&self, layer: usize) -> usize {
        self.norms_start() + 2 + layer * (4 * self.linear_len() + 4)
    }

    /// How many tensors fewer there are before linear number `ordinal`.
    fn missing(&self, ordinal: usize) -> usize {
        2 * self.layout.storage().f16_before(ordinal)
    }

    fn rows(&self, index: usize, kind: Rows) -> EmbeddingRows<'a> {
        match kind {
            Rows::Int4 => EmbeddingRows::Int4 {
                data: self.slice(index, Element::U8),
                scales: self.slice(index + 1, Element::F16),
            },
            Rows::Int8 => EmbeddingRows::Int8 {
                data: self.slice(index, Element::I8),
                scales: self.slice(index + 1, Element::F32),
            },
            Rows::F16 => EmbeddingRows::F16(self.slice(index, Element::F16)),
            Rows::F32 => EmbeddingRows::F32(self.slice(index, Element::F32)),
        }
    }

    /// The vocabulary's tables.
    pub fn vocabulary(&self) -> Vocabulary<'a> {
        Vocabulary {
            bytes: self.slice(TOKENIZER, Element::U8),
            offsets: self.slice(TOKENIZER + 1, Element::U32),
            table: self.slice(TOKENIZER + 2, Element::U32),
        }
    }

    /// The embeddings.
    pub fn embedding(&self) -> Embedding<'a> {
        let storage = self.layout.storage();
        let position = WORD + storage.word.tensors();
        Embedding {
            word: self.rows(WORD, storage.word),
            position: self.rows(position, storage.position),
            token_type: self.slice(position + storage.position.tensors(), Element::F32),
            norm: self.norm(NormName::Embeddings),
        }
    }

    /// A layer norm.
    ///
    /// # Panics
    /// If the bundle has no such layer.
    pub fn norm(&self, name: NormName) -> Norm<'a> {
        let index = match name {
            NormName::Embeddings => self.norms_start(),
            NormName::Attention(i) => self.layer(i) + 2 * self.linear_len() - self.missing(4 * i + 2),
            NormName::Output(i) => self.layer(i) + 4 * self.linear_len() + 2 - self.missing(4 * i + 4),
        };
        Norm { weight: self.slice(index, Element::F32), bias: self.slice(index + 1, Element::F32) }
    }

    fn layer(&self, layer: usize) -> usize {
        assert!(layer < self.layout.architecture().layers, "layer {layer} of {}", self.layout.architecture().layers);
        self.layer_start(layer)
    }

    /// A linear.
    ///
    /// # Panics
    /// If the bundle has no such layer.
    pub fn linear(&self, name: LinearName) -> Linear<'a> {
        let architecture = self.layout.architecture();
        let step = self.linear_len();
        let index = match name {
            LinearName::Qkv(i) => self.layer(i),
            LinearName::AttentionOutput(i) => self.layer(i) + step,
            LinearName::FfnUp(i) => self.layer(i) + 2 * step + 2,
            LinearName::FfnDown(i) => self.layer(i) + 3 * step + 2,
            LinearName::Pooler => self.layer_start(architecture.layers),
        };
        let ordinal = name.ordinal(architecture);
        let index = index - self.missing(ordinal);
        let kind = self.layout.storage().linear(ordinal);
        let last = if kind == Weights::Int8 { index + 3 } else { index + 1 };
        let (outputs, inputs) = name.shape(architecture);
        let weights = match kind {
            Weights::Int8 => LinearWeights::Int8 {
                weight: self.slice(index, Element::I8),
                scales: self.slice(index + 1, Element::F32),
                sums: self.slice(index + 2, Element::I32),
            },
            Weights::F16 => LinearWeights::F16(self.slice(index, Element::F16)),
            Weights::F32 => LinearWeights::F32(self.slice(index, Element::F32)),
        };
        Linear { outputs, inputs, weights, bias: self.slice(last, Element::F32) }
    }

    /// Head number `head` of [`Layout::heads`].
    ///
    /// # Panics
    /// If there are not so many.
    pub fn head(&self, head: usize) -> Head<'a> {
        let heads = self.layout.heads();
        let before: usize = heads[..head].iter().map(|h| 2 * h.copies * h.layers).sum();
        let layers = self.layout.architecture().layers;
        let mut index = self.layer_start(layers) + self.linear_len() - self.missing(4 * layers + 1) + before;
        let copies = (0..heads[head].copies)
            .map(|_| {
                let mut inputs = self.layout.architecture().hidden;
                let layers = (0..heads[head].layers).map(|layer| {
                    let widths = &self.layout.head_widths()[head];
                    let outputs = widths.get(layer).copied().unwrap_or(heads[head].labels.len());
                    let weight = self.slice(index, Element::F32);
                    let bias = self.slice(index + 1, Element::F32);
                    index += 2;
                    HeadLayer { outputs, inputs: std::mem::replace(&mut inputs, outputs), weight, bias }
                });
                layers.collect()
            })
            .collect();
        Head { copies }
    }
}
