//! Views of an encoder layer and of the embedding tables.

use half::f16;

use crate::error::{Error, ErrorKind, check_length};
use crate::linear::{Linear, Norm};

/// Largest hidden size.
pub const MAX_HIDDEN: usize = 1 << 14;

/// One BERT encoder layer:
///
/// `a = norm(x + output(attention(qkv(x))))`, `y = norm(a + down(gelu(up(a))))`
///
/// with the exact (erf) GELU, layer norm after the residual, and attention scores scaled by `1 / sqrt(H / heads)`
/// (Devlin et al. 2019, section 3; Vaswani et al. 2017, section 3.2).
#[derive(Debug, Clone, Copy)]
pub struct EncoderLayer<'a> {
    pub(crate) qkv: Linear<'a>,
    pub(crate) attention_output: Linear<'a>,
    pub(crate) attention_norm: Norm<'a>,
    pub(crate) ffn_up: Linear<'a>,
    pub(crate) ffn_down: Linear<'a>,
    pub(crate) output_norm: Norm<'a>,
    pub(crate) heads: usize,
    pub(crate) eps: f32,
}

impl<'a> EncoderLayer<'a> {
    /// Checks that the parts fit together: with H = `attention_output.outputs()` and I = `ffn_up.outputs()`, `qkv` is 3H x H
    /// (query, then key, then value), `attention_output` H x H, `ffn_up` I x H, `ffn_down` H x I, both norms are of H, and
    /// `heads` divides H.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`], or [`ErrorKind::Value`] for a `layer_norm_eps` that is negative or not finite.
    #[allow(clippy::too_many_arguments, reason = "the parts of a layer, each of its own type and name")]
    pub fn new(
        qkv: Linear<'a>,
        attention_output: Linear<'a>,
        attention_norm: Norm<'a>,
        ffn_up: Linear<'a>,
        ffn_down: Linear<'a>,
        output_norm: Norm<'a>,
        heads: usize,
        layer_norm_eps: f32,
    ) -> Result<Self, Error> {
        let hidden = attention_output.outputs();
        if hidden > MAX_HIDDEN {
            return Err(Error::new(ErrorKind::Shape, format!("hidden size {hidden}: expected at most {MAX_HIDDEN}")));
        }
        if heads == 0 || !hidden.is_multiple_of(heads) {
            return Err(Error::new(ErrorKind::Shape, format!("{heads} heads do not divide the hidden size {hidden}")));
        }
        if !(layer_norm_eps.is_finite() && layer_norm_eps >= 0.0) {
            return Err(Error::new(ErrorKind::Value, format!("layer norm epsilon {layer_norm_eps}: expected >= 0")));
        }
        attention_output.check("attention_output", hidden, hidden)?;
        qkv.check("qkv", 3 * hidden, hidden)?;
        ffn_up.check("ffn_up", ffn_up.outputs(), hidden)?;
        ffn_down.check("ffn_down", hidden, ffn_up.outputs())?;
        check_length("attention_norm", attention_norm.weight.len(), hidden, "one per hidden unit")?;
        check_length("output_norm", output_norm.weight.len(), hidden, "one per hidden unit")?;
        Ok(Self { qkv, attention_output, attention_norm, ffn_up, ffn_down, output_norm, heads, eps: layer_norm_eps })
    }

    /// The hidden size H.
    pub fn hidden_size(&self) -> usize {
        self.attention_output.outputs()
    }
}

/// Columns of an int4 row that share a scale.
pub const INT4_GROUP: usize = 32;

/// Rows of an embedding table, `[rows, H]`, row-major.
#[derive(Debug, Clone, Copy)]
pub enum Table<'a> {
    /// int8 with one scale a row.
    I8 {
        /// `[rows, H]`.
        values: &'a [i8],
        /// `[rows]`.
        scales: &'a [f32],
    },
    /// int4 in groups of [`INT4_GROUP`] columns: with G = H / 32 rounded up, byte i of a group holds column i in its low nibble
    /// and column i + 16 in its high one, each plus 8; the value is `(nibble - 8) * scale`. Columns beyond H are not read.
    I4 {
        /// `[rows, G, 16]`.
        values: &'a [u8],
        /// `[rows, G]`.
        scales: &'a [f16],
    },
    /// f16.
    F16(&'a [f16]),
    /// f32.
    F32(&'a [f32]),
}

impl Table<'_> {
    fn rows(&self, what: &str, hidden: usize) -> Result<usize, Error> {
        if let Self::I4 { values, scales } = self {
            let groups = hidden.div_ceil(INT4_GROUP);
            if scales.is_empty() || !scales.len().is_multiple_of(groups) {
                let detail =
                    format!("{what} scales: {}, expected a multiple of {groups}, the groups of a row", scales.len());
                return Err(Error::new(ErrorKind::Shape, detail));
            }
            check_length(what, values.len(), scales.len() * INT4_GROUP / 2, "16 bytes a group")?;
            return Ok(scales.len() / groups);
        }
        let length = match self {
            Self::I4 { .. } => 0,
            Self::I8 { values, .. } => values.len(),
            Self::F16(values) => values.len(),
            Self::F32(values) => values.len(),
        };
        if length == 0 || !length.is_multiple_of(hidden) {
            let detail = format!("{what}: {length} elements, expected a multiple of the hidden size {hidden}");
            return Err(Error::new(ErrorKind::Shape, detail));
        }
        if let Self::I8 { scales, .. } = self {
            check_length(&format!("{what} scales"), scales.len(), length / hidden, "one per row")?;
        }
        Ok(length / hidden)
    }
}

/// The embedding tables and the layer norm over their sum.
#[derive(Debug, Clone, Copy)]
pub struct Embeddings<'a> {
    pub(crate) word: Table<'a>,
    pub(crate) position: Table<'a>,
    pub(crate) types: &'a [f32],
    pub(crate) norm: Norm<'a>,
    pub(crate) eps: f32,
    pub(crate) vocabulary: usize,
    pub(crate) positions: usize,
    pub(crate) type_count: usize,
}

impl<'a> Embeddings<'a> {
    /// Checks that every table's rows have the norm's length H; the numbers of rows follow from the lengths.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`], or [`ErrorKind::Value`] for a `layer_norm_eps` that is negative or not finite.
    pub fn new(
        word: Table<'a>,
        position: Table<'a>,
        types: &'a [f32],
        norm: Norm<'a>,
        layer_norm_eps: f32,
    ) -> Result<Self, Error> {
        let hidden = norm.weight.len();
        if hidden > MAX_HIDDEN {
            return Err(Error::new(ErrorKind::Shape, format!("hidden size {hidden}: expected at most {MAX_HIDDEN}")));
        }
        if !(layer_norm_eps.is_finite() && layer_norm_eps >= 0.0) {
            return Err(Error::new(ErrorKind::Value, format!("layer norm epsilon {layer_norm_eps}: expected >= 0")));
        }
        let vocabulary = word.rows("word embeddings", hidden)?;
        let positions = position.rows("position embeddings", hidden)?;
        let type_count = Table::F32(types).rows("type embeddings", hidden)?;
        Ok(Self { word, position, types, norm, eps: layer_norm_eps, vocabulary, positions, type_count })
    }

    /// The hidden size H.
    pub fn hidden_size(&self) -> usize {
        self.norm.weight.len()
    }

    /// Number of word rows: ids are below it.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Number of position rows: positions are below it.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Number of type rows: types are below it.
    pub fn types(&self) -> usize {
        self.type_count
    }
}
