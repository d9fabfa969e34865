//! What in a bundle is stored in another way than the rest: format 2.

use serde::{Deserialize, Serialize};

use crate::error::{Result, fail};
use crate::metadata::{Architecture, Weights};
use crate::schema::{Element, LinearName};

/// How the rows of an embedding table are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// 4-bit integers with an f16 scale for each group of [`crate::packing::INT4_GROUP`] columns.
    Int4,
    /// 8-bit integers with an f32 scale a row.
    Int8,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

impl Rows {
    /// `"int4"`, `"int8"`, `"f16"` or `"f32"`, as it stands in the file.
    pub fn name(self) -> &'static str {
        match self {
            Rows::Int4 => "int4",
            Rows::Int8 => "int8",
            Rows::F16 => "f16",
            Rows::F32 => "f32",
        }
    }

    /// Tensors of a table: with its scales, where it has any.
    pub(crate) fn tensors(self) -> usize {
        match self {
            Rows::Int4 | Rows::Int8 => 2,
            Rows::F16 | Rows::F32 => 1,
        }
    }

    pub(crate) fn element(self) -> Element {
        match self {
            Rows::Int4 => Element::U8,
            Rows::Int8 => Element::I8,
            Rows::F16 => Element::F16,
            Rows::F32 => Element::F32,
        }
    }
}

impl From<Weights> for Rows {
    fn from(weights: Weights) -> Rows {
        match weights {
            Weights::Int8 => Rows::Int8,
            Weights::F16 => Rows::F16,
            Weights::F32 => Rows::F32,
        }
    }
}

/// `attar.precision`: what is stored in another way than `attar.weights` says. A bundle in which nothing is has format 1,
/// any other format 2, so that a reader that does not know of exceptions asks for an update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precision {
    /// Rows of the word embeddings; by default as `attar.weights`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_embeddings: Option<Rows>,
    /// Prefixes (`layer.5.ffn_down`) of linears that an int8 bundle keeps in f16, in file order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub f16_linears: Vec<String>,
}

impl Precision {
    /// Whether there is no exception.
    pub fn is_uniform(&self) -> bool {
        *self == Precision::default()
    }
}

/// How each tensor is stored: weights and exceptions, checked against the architecture.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) weights: Weights,
    pub(crate) word: Rows,
    pub(crate) position: Rows,
    /// [`LinearName::ordinal`]s of the linears in f16, rising.
    f16: Vec<usize>,
}

impl Storage {
    /// # Errors
    /// [`crate::ErrorKind::Metadata`], naming the linear that there is not, or that is out of order.
    pub(crate) fn new(a: &Architecture, weights: Weights, precision: &Precision) -> Result<Storage> {
        let mut f16 = Vec::with_capacity(precision.f16_linears.len().min(4 * a.layers + 1));
        for prefix in &precision.f16_linears {
            if weights != Weights::Int8 {
                fail!(
                    Metadata,
                    "attar.precision: linears in f16 are exceptions of int8 bundles, and this is {weights}"
                );
            }
            let Some(name) = LinearName::parse(prefix, a) else {
                fail!(Metadata, "attar.precision: no linear {:.40?} in {} layers", prefix, a.layers);
            };
            if f16.last().is_some_and(|&last| last >= name.ordinal(a)) {
                fail!(Metadata, "attar.precision: {prefix:?} stands twice or out of order");
            }
            f16.push(name.ordinal(a));
        }
        let word = precision.word_embeddings.unwrap_or(weights.into());
        Ok(Storage { weights, word, position: weights.into(), f16 })
    }

    /// How a linear is stored.
    pub(crate) fn linear(&self, ordinal: usize) -> Weights {
        match self.f16.binary_search(&ordinal) {
            Ok(_) => Weights::F16,
            Err(_) => self.weights,
        }
    }

    /// How many linears before this one are kept in f16.
    pub(crate) fn f16_before(&self, ordinal: usize) -> usize {
        self.f16.partition_point(|&other| other < ordinal)
    }
}
