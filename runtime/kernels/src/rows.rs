//! Row-wise float operations: residual and layer norm, embeddings, small dense layers.

use half::f16;

use crate::layer::{Embeddings, INT4_GROUP, Table};
use crate::linear::{Dense, Norm};
use crate::math;
use crate::simd::{Element, LANES, Simd};

/// Sum of the lanes of four vectors.
#[inline(always)]
fn sum_of<S: Simd>(s: S, x: [S::F; 4]) -> f32 {
    s.reduce_add(s.add(s.add(x[0], x[1]), s.add(x[2], x[3])))
}

/// `x = (x - mean) / sqrt(variance + eps) * weight + bias` over one row, in place (Ba et al. 2016; biased variance).
#[inline(always)]
fn layer_norm<S: Simd>(s: S, x: &mut [f32], norm: Norm<'_>, eps: f32) {
    let count = x.len() as f32;
    let (chunks, tail) = x.as_chunks_mut::<LANES>();
    // Four sums side by side: one would wait for its own last step.
    let mut sums = [s.splat(0.0); 4];
    let (fours, rest) = chunks.as_chunks::<4>();
    for four in fours {
        for i in 0..4 {
            sums[i] = s.add(sums[i], s.load(&four[i]));
        }
    }
    for (i, chunk) in rest.iter().enumerate() {
        sums[i] = s.add(sums[i], s.load(chunk));
    }
    sums[3] = s.add(sums[3], s.load_part(tail));
    let mean = s.splat(sum_of(s, sums) / count);
    let mut squares = [s.splat(0.0); 4];
    let (fours, rest) = chunks.as_chunks_mut::<4>();
    for four in fours {
        for i in 0..4 {
            let d = s.sub(s.load(&four[i]), mean);
            squares[i] = s.mul_add(d, d, squares[i]);
            s.store(d, &mut four[i]);
        }
    }
    for (i, chunk) in rest.iter_mut().enumerate() {
        let d = s.sub(s.load(chunk), mean);
        squares[i] = s.mul_add(d, d, squares[i]);
        s.store(d, chunk);
    }
    // Stored and loaded again, so that the lanes beyond the row are zero and not -mean.
    s.store_part(s.sub(s.load_part(tail), mean), tail);
    let d = s.load_part(tail);
    squares[3] = s.mul_add(d, d, squares[3]);
    let variance = sum_of(s, squares) / count;
    let factor = s.splat(1.0 / (variance + eps).sqrt());
    let (weights, weight_tail) = norm.weight.as_chunks::<LANES>();
    let (biases, bias_tail) = norm.bias.as_chunks::<LANES>();
    for ((chunk, weight), bias) in chunks.iter_mut().zip(weights).zip(biases) {
        let y = s.mul_add(s.mul(s.load(chunk), factor), s.load(weight), s.load(bias));
        s.store(y, chunk);
    }
    let y = s.mul_add(s.mul(d, factor), s.load_part(weight_tail), s.load_part(bias_tail));
    s.store_part(y, tail);
}

/// `hidden = norm(hidden + update)` by rows.
pub(crate) struct AddNorm<'a> {
    /// `[rows, H]`.
    pub hidden: &'a mut [f32],
    /// `rows` rows, `update_stride` apart.
    pub update: &'a [f32],
    pub update_stride: usize,
    pub norm: Norm<'a>,
    pub eps: f32,
}

/// See [`AddNorm`].
#[inline(always)]
pub(crate) fn add_norm<S: Simd>(s: S, call: AddNorm<'_>) {
    let AddNorm { hidden, update, update_stride, norm, eps } = call;
    let size = norm.weight.len();
    for (row, update) in hidden.chunks_exact_mut(size).zip(update.chunks(update_stride)) {
        let (chunks, tail) = row.as_chunks_mut::<LANES>();
        let (updates, _) = update[..size].as_chunks::<LANES>();
        for (chunk, update) in chunks.iter_mut().zip(updates) {
            s.store(s.add(s.load(chunk), s.load(update)), chunk);
        }
        let update = &update[size - tail.len()..size];
        s.store_part(s.add(s.load_part(tail), s.load_part(update)), tail);
        layer_norm(s, row, norm, eps);
    }
}

/// Rows of ids, all in range.
pub(crate) struct Embed<'a> {
    pub embeddings: &'a Embeddings<'a>,
    pub ids: &'a [u32],
    pub positions: &'a [u32],
    pub types: &'a [u8],
    /// `[ids, H]`.
    pub out: &'a mut [f32],
}

/// `row = (first ? 0 : row) + table[index]`.
#[inline(always)]
fn add_row<S: Simd>(s: S, table: &Table<'_>, index: usize, row: &mut [f32], first: bool) {
    #[inline(always)]
    fn add<S: Simd, E: Element + Default>(s: S, from: &[E], scale: Option<f32>, row: &mut [f32], first: bool) {
        for (to, from) in row.chunks_mut(LANES).zip(from.chunks(LANES)) {
            let x = match from.first_chunk() {
                Some(from) => E::load(s, from),
                None => {
                    let mut lanes = [E::default(); LANES];
                    lanes[..from.len()].copy_from_slice(from);
                    E::load(s, &lanes)
                }
            };
            let x = match scale {
                Some(scale) => s.mul(x, s.splat(scale)),
                None => x,
            };
            let x = if first { x } else { s.add(s.load_part(to), x) };
            s.store_part(x, to);
        }
    }
    let at = index * row.len()..(index + 1) * row.len();
    match table {
        Table::I4 { values, scales } => {
            let groups = row.len().div_ceil(INT4_GROUP);
            let values = &values[index * groups * INT4_GROUP / 2..(index + 1) * groups * INT4_GROUP / 2];
            let (values, _) = values.as_chunks::<LANES>();
            add_int4(s, values, &scales[index * groups..(index + 1) * groups], row, first);
        }
        Table::I8 { values, scales } => add(s, &values[at], Some(scales[index]), row, first),
        Table::F16(values) => add(s, &values[at], None, row, first),
        Table::F32(values) => add(s, &values[at], None, row, first),
    }
}

/// As [`add_row`], of an int4 row: 16 bytes are two vectors, low nibbles and high ones. The loop over bytes has a fixed length
/// and no branch, so that it becomes a few byte operations on every instruction set.
#[inline(always)]
fn add_int4<S: Simd>(s: S, values: &[[u8; LANES]], scales: &[f16], row: &mut [f32], first: bool) {
    for ((to, bytes), scale) in row.chunks_mut(INT4_GROUP).zip(values).zip(scales) {
        let scale = s.splat(scale.to_f32_const());
        let mut halves = [[0_i8; LANES]; 2];
        for i in 0..LANES {
            halves[0][i] = (bytes[i] & 15) as i8 - 8;
            halves[1][i] = (bytes[i] >> 4) as i8 - 8;
        }
        for (half, to) in to.chunks_mut(LANES).enumerate() {
            let x = s.mul(s.load_i8(&halves[half]), scale);
            let x = if first { x } else { s.add(s.load_part(to), x) };
            s.store_part(x, to);
        }
    }
}

impl Element for i8 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        s.load_i8(from)
    }
}

/// `out = norm((word[id] + type[type]) + position[position])`, the order of Hugging Face's `BertEmbeddings`.
#[inline(always)]
pub(crate) fn embed<S: Simd>(s: S, call: Embed<'_>) {
    let Embed { embeddings: e, ids, positions, types, out } = call;
    let types_table = Table::F32(e.types);
    let rows = out.chunks_exact_mut(e.hidden_size());
    for (((row, &id), &position), &kind) in rows.zip(ids).zip(positions).zip(types) {
        add_row(s, &e.word, id as usize, row, true);
        add_row(s, &types_table, usize::from(kind), row, false);
        add_row(s, &e.position, position as usize, row, false);
        layer_norm(s, row, e.norm, e.eps);
    }
}

/// Rows through a [`Dense`] layer.
pub(crate) struct Head<'a> {
    pub dense: Dense<'a>,
    /// `[rows, inputs]`.
    pub input: &'a [f32],
    /// `[rows, outputs]`.
    pub out: &'a mut [f32],
    pub tanh: bool,
}

/// `out = input W^T + b`, with tanh when asked; each dot product over 16 lanes, then their tree.
#[inline(always)]
pub(crate) fn head<S: Simd>(s: S, call: Head<'_>) {
    let Head { dense, input, out, tanh } = call;
    for (input, out) in input.chunks_exact(dense.inputs).zip(out.chunks_exact_mut(dense.outputs)) {
        for ((out, weight), bias) in out.iter_mut().zip(dense.weight.chunks_exact(dense.inputs)).zip(dense.bias) {
            let mut sum = s.splat(0.0);
            for (x, w) in input.chunks(LANES).zip(weight.chunks(LANES)) {
                sum = s.mul_add(s.load_part(x), s.load_part(w), sum);
            }
            *out = s.reduce_add(sum) + bias;
        }
        if tanh {
            for out in out.chunks_mut(LANES) {
                s.store_part(math::tanh(s, s.load_part(out)), out);
            }
        }
    }
}
