//! Attention of one sequence, in int8 or in f32 as its layer's weights are.

use std::ops::Range;

use super::check_rows;
use super::linear::Rows;
use crate::attention::{Attention, Buffers};
use crate::attention_i8::{BuffersI8, MAX_TOKENS};
use crate::error::{Error, check_length};
use crate::kernel::Kernel;
use crate::layer::EncoderLayer;
use crate::linear::{Linear, padded_outputs};
use crate::scratch::{Arena, Scratch};

/// Whether attention of a sequence of so many tokens runs on int8: in int8 layers, but for sequences whose sums would not fit.
fn int8_attention(layer: &EncoderLayer<'_>, tokens: usize) -> bool {
    matches!(layer.qkv, Linear::I8(_)) && tokens <= MAX_TOKENS
}

/// Working memory of attention, for either kind.
pub(super) struct AttentionBuffers<'a> {
    int8: BuffersI8<'a>,
    float: &'a mut [f32],
}

impl<'a> AttentionBuffers<'a> {
    /// Floats, and tokens of the int8 buffers.
    fn sizes(layer: &EncoderLayer<'_>, longest: usize) -> (usize, usize) {
        let float = Buffers::of(longest, layer.hidden_size() / layer.heads).size();
        match layer.qkv {
            Linear::I8(_) => (if longest <= MAX_TOKENS { 0 } else { float }, longest.min(MAX_TOKENS)),
            _ => (float, 0),
        }
    }

    pub(super) fn size(kernel: Kernel, layer: &EncoderLayer<'_>, longest: usize) -> usize {
        let (float, tokens) = Self::sizes(layer, longest);
        let int8 = BuffersI8::size(tokens, layer.hidden_size() / layer.heads, kernel.ops().activation_bytes);
        Arena::floats_size(float) + int8
    }

    pub(super) fn take(arena: &mut Arena<'a>, kernel: Kernel, layer: &EncoderLayer<'_>, longest: usize) -> Self {
        let (float, tokens) = Self::sizes(layer, longest);
        let head = layer.hidden_size() / layer.heads;
        let int8 = BuffersI8::take(arena, tokens, head, kernel.ops().activation_bytes);
        Self { int8, float: arena.floats(float) }
    }
}

/// See [`Kernel::attention`].
pub(crate) fn attention(
    kernel: Kernel,
    layer: &EncoderLayer<'_>,
    qkv: &[f32],
    out: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let (hidden, stride) = (layer.hidden_size(), padded_outputs(3 * layer.hidden_size()));
    let tokens = check_rows(qkv.len(), stride)?;
    check_length("out", out.len(), tokens * hidden, "rows times hidden size")?;
    if tokens == 0 {
        return Ok(());
    }
    let (mut arena, _) = scratch.arena(|_| AttentionBuffers::size(kernel, layer, tokens));
    let mut buffers = AttentionBuffers::take(&mut arena, kernel, layer, tokens);
    let query = Rows { values: qkv, stride, rows: tokens };
    // SAFETY: `out` has a row for each token, and is ours alone.
    unsafe { attend(kernel, layer, query, qkv, 0..layer.heads, out.as_mut_ptr(), &mut buffers) };
    Ok(())
}

/// Attention of one sequence for the heads of `range`: one row of H for each query.
///
/// # Safety
/// `out` has as many rows of H as there are queries; nothing else uses the columns of the range's heads in them.
pub(super) unsafe fn attend(
    kernel: Kernel,
    layer: &EncoderLayer<'_>,
    query: Rows<'_>,
    qkv: &[f32],
    range: Range<usize>,
    out: *mut f32,
    buffers: &mut AttentionBuffers<'_>,
) {
    let (hidden, heads, stride) = (layer.hidden_size(), layer.heads, query.stride);
    let tokens = qkv.len() / stride;
    macro_rules! call {
        ($operation:ident, $buffers:expr) => {{
            let call = Attention {
                query: query.values,
                query_stride: stride,
                queries: query.rows,
                qkv,
                stride,
                tokens,
                hidden,
                heads,
                range,
                out,
                out_stride: hidden,
                buffers: $buffers,
            };
            // SAFETY: `kernel` exists, so the CPU has the features; the rest is the caller's contract.
            unsafe { (kernel.ops().$operation)(call) }
        }};
    }
    if int8_attention(layer, tokens) {
        call!(attention_i8, buffers.int8.reborrow())
    } else {
        call!(attention, &mut *buffers.float)
    }
}
