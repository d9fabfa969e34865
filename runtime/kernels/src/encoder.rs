//! An encoder layer out of a kernel's operations, in blocks that keep the activations in cache. Knows no instruction set.

use std::ops::Range;

use crate::attention::{Attention, Buffers};
use crate::attention_i8::{BuffersI8, MAX_TOKENS};
use crate::error::{Error, ErrorKind, check_length};
use crate::gemm_f32::GemmFloat;
use crate::gemm_i8::{Activation, GemmI8, Quantise};
use crate::kernel::Kernel;
use crate::layer::EncoderLayer;
use crate::linear::{Linear, OUTPUT_ALIGN, padded_inputs_i8, padded_outputs};
use crate::rows::AddNorm;
use crate::scratch::{Arena, Scratch};

/// Whole sequences are gathered into blocks of up to this many tokens (a longer one is a block of its own). 128 x 1152 floats
/// of queries, keys and values are 0.6 MB: in a level 2 cache of 1 MB, and enough rows to stream the weights for.
const BLOCK_TOKENS: usize = 128;
/// Rows that go through the feed-forward part together: 64 x 1536 floats are 0.4 MB.
const FFN_ROWS: usize = 64;

/// Checks the batch's offsets against `hidden`'s length.
pub(crate) fn check_starts(starts: &[u32], length: usize, hidden: usize) -> Result<(), Error> {
    let tokens = check_rows(length, hidden)?;
    let shape = |detail: String| Err(Error::new(ErrorKind::Shape, detail));
    if starts.first() != Some(&0) {
        return shape("starts: expected the first offset to be 0".to_owned());
    }
    if let Some(i) = starts.windows(2).position(|pair| pair[0] >= pair[1]) {
        let (a, b) = (starts[i], starts[i + 1]);
        return shape(format!("starts[{}] is {b} after {a}: expected rising offsets (no empty sequence)", i + 1));
    }
    let last = starts[starts.len() - 1] as usize;
    if last != tokens {
        return shape(format!("starts: the last offset is {last}, expected the number of tokens, {tokens}"));
    }
    Ok(())
}

/// Number of rows of `size` values in `length`.
pub(crate) fn check_rows(length: usize, size: usize) -> Result<usize, Error> {
    if length.is_multiple_of(size) {
        return Ok(length / size);
    }
    Err(Error::new(ErrorKind::Shape, format!("input: {length} elements, expected a multiple of {size} (whole rows)")))
}

/// Blocks of consecutive sequences: ranges of sequence numbers.
fn blocks(starts: &[u32]) -> impl Iterator<Item = Range<usize>> {
    let sequences = starts.len() - 1;
    let mut first = 0;
    std::iter::from_fn(move || {
        if first == sequences {
            return None;
        }
        let mut end = first + 1;
        while end < sequences && (starts[end + 1] - starts[first]) as usize <= BLOCK_TOKENS {
            end += 1;
        }
        let block = first..end;
        first = end;
        Some(block)
    })
}

/// Tokens of the largest block, and of the longest sequence.
fn extents(starts: &[u32]) -> (usize, usize) {
    let block = blocks(starts).map(|b| (starts[b.end] - starts[b.start]) as usize).max();
    let sequence = starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max();
    (block.unwrap_or(0), sequence.unwrap_or(0))
}

/// Quantised rows: bytes and scales. Empty for float layers.
struct Quantised<'a> {
    bytes: &'a mut [u8],
    scales: &'a mut [f32],
}

impl<'a> Quantised<'a> {
    fn size(kernel: Kernel, layers: &[&Linear<'_>], rows: usize) -> usize {
        Arena::bytes_size(Self::byte_count(kernel, layers, rows)) + Arena::floats_size(rows)
    }

    fn byte_count(kernel: Kernel, layers: &[&Linear<'_>], rows: usize) -> usize {
        let inputs = layers.iter().filter(|l| matches!(l, Linear::I8(_))).map(|l| l.inputs()).max();
        rows * inputs.map_or(0, padded_inputs_i8) * kernel.ops().activation_bytes
    }

    fn take(arena: &mut Arena<'a>, kernel: Kernel, layers: &[&Linear<'_>], rows: usize) -> Self {
        Self { bytes: arena.bytes(Self::byte_count(kernel, layers, rows)), scales: arena.floats(rows) }
    }
}

/// Rows of f32 with a stride.
#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    rows: usize,
}

/// All of a linear layer's blocks of output channels.
fn all_blocks(linear: &Linear<'_>) -> Range<usize> {
    0..linear.outputs().div_ceil(OUTPUT_ALIGN)
}

/// One linear layer; `out` has rows of `out_stride` >= the padded number of outputs.
fn linear(
    kernel: Kernel,
    linear: &Linear<'_>,
    input: Rows<'_>,
    quantised: &mut Quantised<'_>,
    blocks: Range<usize>,
    (output, output_stride): (&mut [f32], usize),
    activation: Activation,
) {
    let ops = kernel.ops();
    let Rows { values, stride: input_stride, rows } = input;
    macro_rules! float {
        ($operation:ident, $layer:expr) => {{
            let call = GemmFloat {
                weight: $layer.weight,
                bias: $layer.bias,
                inputs: $layer.inputs,
                input: values,
                input_stride,
                rows,
                blocks,
                output,
                output_stride,
                activation,
            };
            // SAFETY: `kernel` exists, so the CPU has the features.
            unsafe { (ops.$operation)(call) }
        }};
    }
    match linear {
        Linear::F32(layer) => float!(gemm_f32, layer),
        Linear::F16(layer) => float!(gemm_f16, layer),
        Linear::I8(layer) => {
            let bytes = &mut quantised.bytes[..rows * padded_inputs_i8(layer.inputs) * ops.activation_bytes];
            let scales = &mut quantised.scales[..rows];
            let call = Quantise {
                input: values,
                input_stride,
                rows,
                columns: layer.inputs,
                output: &mut *bytes,
                scales: &mut *scales,
            };
            // SAFETY: `kernel` exists, so the CPU has the features.
            unsafe { (ops.quantise)(call) };
            let call = GemmI8 {
                linear: *layer,
                input: bytes,
                input_scales: scales,
                rows,
                blocks,
                output,
                output_stride,
                activation,
            };
            // SAFETY: `kernel` exists, so the CPU has the features.
            unsafe { (ops.gemm_i8)(call) };
        }
    }
}

/// Everything after attention, in place: `hidden` `[rows, H]` holds the layer's input, `context` the attention's output.
fn dense_part(kernel: Kernel, layer: &EncoderLayer<'_>, hidden: &mut [f32], context: &[f32], mut buffers: Dense<'_>) {
    let size = layer.hidden_size();
    let (update_stride, up_stride) = (padded_outputs(size), padded_outputs(layer.ffn_up.outputs()));
    for (hidden, context) in hidden.chunks_mut(FFN_ROWS * size).zip(context.chunks(FFN_ROWS * size)) {
        let rows = hidden.len() / size;
        let update = &mut buffers.update[..rows * update_stride];
        let mut run = |l: &Linear<'_>, input: Rows<'_>, out: (&mut [f32], usize), activation| {
            linear(kernel, l, input, &mut buffers.quantised, all_blocks(l), out, activation);
        };
        let input = Rows { values: context, stride: size, rows };
        run(&layer.attention_output, input, (&mut *update, update_stride), Activation::None);
        add_norm(kernel, AddNorm { hidden, update, update_stride, norm: layer.attention_norm, eps: layer.eps });
        let input = Rows { values: hidden, stride: size, rows };
        run(&layer.ffn_up, input, (&mut *buffers.up, up_stride), Activation::Gelu);
        let input = Rows { values: buffers.up, stride: up_stride, rows };
        run(&layer.ffn_down, input, (&mut *update, update_stride), Activation::None);
        add_norm(kernel, AddNorm { hidden, update, update_stride, norm: layer.output_norm, eps: layer.eps });
    }
}

/// Whether attention of a sequence of so many tokens runs on int8: in int8 layers, but for sequences whose sums would not fit.
fn int8_attention(layer: &EncoderLayer<'_>, tokens: usize) -> bool {
    matches!(layer.qkv, Linear::I8(_)) && tokens <= MAX_TOKENS
}

/// Working memory of attention, for either kind.
struct AttentionBuffers<'a> {
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

    fn size(kernel: Kernel, layer: &EncoderLayer<'_>, longest: usize) -> usize {
        let (float, tokens) = Self::sizes(layer, longest);
        let int8 = BuffersI8::size(tokens, layer.hidden_size() / layer.heads, kernel.ops().activation_bytes);
        Arena::floats_size(float) + int8
    }

    fn take(arena: &mut Arena<'a>, kernel: Kernel, layer: &EncoderLayer<'_>, longest: usize) -> Self {
        let (float, tokens) = Self::sizes(layer, longest);
        let head = layer.hidden_size() / layer.heads;
        let int8 = BuffersI8::take(arena, tokens, head, kernel.ops().activation_bytes);
        Self { int8, float: arena.floats(float) }
    }
}

/// Attention of one sequence: `out` has one row of H for each query.
fn attend(
    kernel: Kernel,
    layer: &EncoderLayer<'_>,
    query: Rows<'_>,
    qkv: &[f32],
    out: &mut [f32],
    buffers: &mut AttentionBuffers<'_>,
) {
    let (hidden, heads, stride) = (layer.hidden_size(), layer.heads, query.stride);
    let tokens = qkv.len() / stride;
    assert!(out.len() >= query.rows * hidden, "one row for each query");
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
                range: 0..heads,
                out: out.as_mut_ptr(),
                out_stride: hidden,
                buffers: $buffers,
            };
            // SAFETY: `kernel` exists, so the CPU has the features; `out` is ours and has a row of H for each query.
            unsafe { (kernel.ops().$operation)(call) }
        }};
    }
    if int8_attention(layer, tokens) {
        call!(attention_i8, buffers.int8.reborrow())
    } else {
        call!(attention, &mut *buffers.float)
    }
}

fn add_norm(kernel: Kernel, call: AddNorm<'_>) {
    // SAFETY: `kernel` exists, so the CPU has the features.
    unsafe { (kernel.ops().add_norm)(call) }
}

/// Buffers of [`dense_part`].
struct Dense<'a> {
    update: &'a mut [f32],
    up: &'a mut [f32],
    quantised: Quantised<'a>,
}

impl<'a> Dense<'a> {
    fn sizes(layer: &EncoderLayer<'_>, rows: usize) -> (usize, usize) {
        (rows * padded_outputs(layer.hidden_size()), rows * padded_outputs(layer.ffn_up.outputs()))
    }

    fn layers<'l>(layer: &'l EncoderLayer<'_>) -> [&'l Linear<'l>; 3] {
        [&layer.attention_output, &layer.ffn_up, &layer.ffn_down]
    }

    fn size(kernel: Kernel, layer: &EncoderLayer<'_>, rows: usize) -> usize {
        let rows = rows.min(FFN_ROWS);
        let (update, up) = Self::sizes(layer, rows);
        let quantised = Quantised::size(kernel, &Self::layers(layer), rows);
        Arena::floats_size(update) + Arena::floats_size(up) + quantised
    }

    fn take(arena: &mut Arena<'a>, kernel: Kernel, layer: &EncoderLayer<'_>, rows: usize) -> Self {
        let rows = rows.min(FFN_ROWS);
        let (update, up) = Self::sizes(layer, rows);
        let quantised = Quantised::take(arena, kernel, &Self::layers(layer), rows);
        Self { update: arena.floats(update), up: arena.floats(up), quantised }
    }
}

/// See [`Kernel::encoder_layer`]. Arguments are checked.
pub(crate) fn layer(
    kernel: Kernel,
    layer: &EncoderLayer<'_>,
    hidden: &mut [f32],
    starts: &[u32],
    scratch: &mut Scratch,
) {
    let size = layer.hidden_size();
    let stride = padded_outputs(3 * size);
    let (block_tokens, longest) = extents(starts);
    let mut arena = scratch.arena(
        Arena::floats_size(block_tokens * stride)
            + Arena::floats_size(block_tokens * size)
            + AttentionBuffers::size(kernel, layer, longest)
            + Quantised::size(kernel, &[&layer.qkv], block_tokens)
            + Dense::size(kernel, layer, block_tokens),
    );
    let qkv = arena.floats(block_tokens * stride);
    let context = arena.floats(block_tokens * size);
    let mut buffers = AttentionBuffers::take(&mut arena, kernel, layer, longest);
    let mut quantised = Quantised::take(&mut arena, kernel, &[&layer.qkv], block_tokens);
    let mut dense = Dense::take(&mut arena, kernel, layer, block_tokens);
    for block in blocks(starts) {
        let first = starts[block.start] as usize;
        let tokens = starts[block.end] as usize - first;
        let hidden = &mut hidden[first * size..(first + tokens) * size];
        let input = Rows { values: hidden, stride: size, rows: tokens };
        let out = (&mut *qkv, stride);
        linear(kernel, &layer.qkv, input, &mut quantised, all_blocks(&layer.qkv), out, Activation::None);
        for sequence in block {
            let (start, end) = (starts[sequence] as usize - first, starts[sequence + 1] as usize - first);
            let qkv = &qkv[start * stride..end * stride];
            let out = &mut context[start * size..end * size];
            attend(kernel, layer, Rows { values: qkv, stride, rows: end - start }, qkv, out, &mut buffers);
        }
        let dense = Dense { update: &mut *dense.update, up: &mut *dense.up, quantised: dense.quantised.reborrow() };
        dense_part(kernel, layer, hidden, &context[..tokens * size], dense);
    }
}

impl Quantised<'_> {
    fn reborrow(&mut self) -> Quantised<'_> {
        Quantised { bytes: &mut *self.bytes, scales: &mut *self.scales }
    }
}

/// See [`Kernel::encoder_layer_cls`]. Arguments are checked.
pub(crate) fn layer_cls(
    kernel: Kernel,
    layer: &EncoderLayer<'_>,
    hidden: &[f32],
    starts: &[u32],
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let size = layer.hidden_size();
    let stride = padded_outputs(3 * size);
    let sequences = starts.len() - 1;
    let (block_tokens, longest) = extents(starts);
    let rows = block_tokens.max(sequences);
    let mut arena = scratch.arena(
        Arena::floats_size(block_tokens * stride)
            + Arena::floats_size(sequences * stride)
            + Arena::floats_size(sequences * size)
            + AttentionBuffers::size(kernel, layer, longest)
            + Quantised::size(kernel, &[&layer.qkv], rows)
            + Dense::size(kernel, layer, sequences),
    );
    let qkv = arena.floats(block_tokens * stride);
    let query = arena.floats(sequences * stride);
    let context = arena.floats(sequences * size);
    let mut buffers = AttentionBuffers::take(&mut arena, kernel, layer, longest);
    let mut quantised = Quantised::take(&mut arena, kernel, &[&layer.qkv], rows);
    let dense = Dense::take(&mut arena, kernel, layer, sequences);

    for (out, &start) in out.chunks_exact_mut(size).zip(starts) {
        out.copy_from_slice(&hidden[start as usize * size..(start as usize + 1) * size]);
    }
    // Queries of the first rows only; keys and values of all. A block of 48 channels may hold both, and is computed twice.
    let input = Rows { values: out, stride: size, rows: sequences };
    let to = (&mut *query, stride);
    linear(kernel, &layer.qkv, input, &mut quantised, 0..size.div_ceil(OUTPUT_ALIGN), to, Activation::None);
    let keys_and_values = size / OUTPUT_ALIGN..all_blocks(&layer.qkv).end;
    for block in blocks(starts) {
        let first = starts[block.start] as usize;
        let tokens = starts[block.end] as usize - first;
        let input = Rows { values: &hidden[first * size..(first + tokens) * size], stride: size, rows: tokens };
        let to = (&mut *qkv, stride);
        linear(kernel, &layer.qkv, input, &mut quantised, keys_and_values.clone(), to, Activation::None);
        for sequence in block {
            let (start, end) = (starts[sequence] as usize - first, starts[sequence + 1] as usize - first);
            let query = Rows { values: &query[sequence * stride..(sequence + 1) * stride], stride, rows: 1 };
            let out = &mut context[sequence * size..(sequence + 1) * size];
            attend(kernel, layer, query, &qkv[start * stride..end * stride], out, &mut buffers);
        }
    }
    dense_part(kernel, layer, out, context, dense);
}

/// See [`Kernel::linear`].
pub(crate) fn linear_rows(
    kernel: Kernel,
    layer: &Linear<'_>,
    input: &[f32],
    out: &mut [f32],
    activation: Activation,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let (inputs, outputs) = (layer.inputs(), layer.outputs());
    let rows = check_rows(input.len(), inputs)?;
    check_length("out", out.len(), rows * outputs, "rows times outputs")?;
    let stride = padded_outputs(outputs);
    let at_once = rows.min(FFN_ROWS);
    let mut arena = scratch.arena(Arena::floats_size(at_once * stride) + Quantised::size(kernel, &[layer], at_once));
    let padded = arena.floats(at_once * stride);
    let mut quantised = Quantised::take(&mut arena, kernel, &[layer], at_once);
    for (input, out) in input.chunks(FFN_ROWS * inputs).zip(out.chunks_mut(FFN_ROWS * outputs)) {
        let input = Rows { values: input, stride: inputs, rows: input.len() / inputs };
        linear(kernel, layer, input, &mut quantised, all_blocks(layer), (&mut *padded, stride), activation);
        for (out, padded) in out.chunks_exact_mut(outputs).zip(padded.chunks_exact(stride)) {
            out.copy_from_slice(&padded[..outputs]);
        }
    }
    Ok(())
}
