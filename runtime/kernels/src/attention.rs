//! Scaled dot-product attention of one sequence, all heads.

use std::ops::Range;

use crate::gemm_f32::{MAX_TILE_ROWS, Product, product};
use crate::math;
use crate::simd::{LANES, Simd};

/// Queries against the keys and values of one sequence, with working memory B.
pub(crate) struct Attention<'a, B> {
    /// `queries` rows, `query_stride` apart, of H values.
    pub query: &'a [f32],
    pub query_stride: usize,
    pub queries: usize,
    /// `tokens` rows, `stride` apart: queries (unused), then keys in columns H..2H, then values in 2H..3H.
    pub qkv: &'a [f32],
    pub stride: usize,
    pub tokens: usize,
    pub hidden: usize,
    pub heads: usize,
    /// The heads to compute.
    pub range: Range<usize>,
    /// `queries` rows, `out_stride` apart, of H values, of which the columns of the range's heads are written. A pointer,
    /// because threads write columns of the same rows.
    pub out: *mut f32,
    pub out_stride: usize,
    pub buffers: B,
}

/// Attention in f32; its working memory is [`Buffers::size`] floats.
pub(crate) type AttentionF32<'a> = Attention<'a, &'a mut [f32]>;

/// Sizes of the working buffers, in floats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffers {
    keys: usize,
    values: usize,
    scores: usize,
    context: usize,
}

impl Buffers {
    pub(crate) fn of(tokens: usize, head_size: usize) -> Self {
        let (tokens_padded, head_padded) = (tokens.next_multiple_of(LANES), head_size.next_multiple_of(LANES));
        Self {
            keys: head_padded * tokens_padded,
            values: tokens * head_padded,
            scores: MAX_TILE_ROWS * tokens_padded,
            context: MAX_TILE_ROWS * head_padded,
        }
    }

    pub(crate) fn size(self) -> usize {
        self.keys + self.values + self.scores + self.context
    }
}

/// `out = softmax(q k^T / sqrt(d)) v` for the heads of `range`, d = H / heads.
///
/// A sequence's result depends on its own tokens only: sums run over its keys in order, soft-max's over lanes by position.
///
/// # Safety
/// Inlined where the token's CPU features are enabled. `out` has `queries` rows, `out_stride` apart; the columns of the range's
/// heads may be written and are not otherwise in use.
#[inline(always)]
pub(crate) unsafe fn attention<S: Simd>(s: S, call: AttentionF32<'_>) {
    let Attention { query, query_stride, queries, qkv, stride, tokens, hidden, heads, range, out, out_stride, buffers } =
        call;
    assert!(range.end <= heads && hidden.is_multiple_of(heads));
    let size = hidden / heads;
    let (tokens_padded, size_padded) = (tokens.next_multiple_of(LANES), size.next_multiple_of(LANES));
    let sizes = Buffers::of(tokens, size);
    let (keys, rest) = buffers.split_at_mut(sizes.keys);
    let (values, rest) = rest.split_at_mut(sizes.values);
    let (scores, context) = rest.split_at_mut(sizes.scores);
    let scale = 1.0 / (size as f32).sqrt();
    for head in range {
        let column = head * size;
        pack_keys(s, &qkv[hidden + column..], stride, tokens, size, keys);
        for (to, from) in values.chunks_exact_mut(size_padded).zip(qkv[2 * hidden + column..].chunks(stride)) {
            for (to, from) in to.chunks_exact_mut(LANES).zip(from[..size].chunks(LANES)) {
                s.store_part(s.load_part(from), to);
            }
        }
        let mut row = 0;
        while row < queries {
            let rows = (queries - row).min(S::TILE_ROWS);
            // SAFETY: this function is inlined where the features are enabled.
            unsafe {
                product(
                    s,
                    Product {
                        a: &query[row * query_stride + column..],
                        a_stride: query_stride,
                        rows,
                        w: &*keys,
                        w_stride: tokens_padded,
                        k: size,
                        columns: tokens_padded,
                        out: &mut *scores,
                        out_stride: tokens_padded,
                    },
                );
            }
            let mut factors = [0.0; MAX_TILE_ROWS];
            for (scores, factor) in scores.chunks_exact_mut(tokens_padded).zip(&mut factors[..rows]) {
                *factor = 1.0 / softmax_numerators(s, scores, tokens, scale);
            }
            // SAFETY: as above.
            unsafe {
                product(
                    s,
                    Product {
                        a: &*scores,
                        a_stride: tokens_padded,
                        rows,
                        w: &*values,
                        w_stride: size_padded,
                        k: tokens,
                        columns: size_padded,
                        out: &mut *context,
                        out_stride: size_padded,
                    },
                );
            }
            for (r, (from, &factor)) in context.chunks_exact(size_padded).zip(&factors[..rows]).enumerate() {
                // SAFETY: the caller's contract: row + r < queries, and columns of a head of the range.
                let to = unsafe { std::slice::from_raw_parts_mut(out.add((row + r) * out_stride + column), size) };
                for (to, from) in to.chunks_mut(LANES).zip(from.chunks_exact(LANES)) {
                    s.store_part(s.mul(s.load_part(from), s.splat(factor)), to);
                }
            }
            row += rows;
        }
    }
}

/// Keys `[tokens, d]` to `[d, tokens padded to 16]`, zero in the padding.
#[inline(always)]
fn pack_keys<S: Simd>(s: S, from: &[f32], stride: usize, tokens: usize, size: usize, keys: &mut [f32]) {
    let tokens_padded = tokens.next_multiple_of(LANES);
    for token in (0..tokens).step_by(LANES) {
        for column in (0..size).step_by(LANES) {
            let width = (size - column).min(LANES);
            let mut block = [[0.0; LANES]; LANES];
            for (row, block) in block[..(tokens - token).min(LANES)].iter_mut().enumerate() {
                let at = (token + row) * stride + column;
                s.store(s.load_part(&from[at..at + width]), block);
            }
            s.transpose(&mut block);
            for (i, block) in block.iter().enumerate() {
                let at = (column + i) * tokens_padded + token;
                keys[at..at + LANES].copy_from_slice(block);
            }
        }
    }
}

/// Replaces scores by `e^(scale (x - max))` and returns the sum over the first `tokens`.
#[inline(always)]
fn softmax_numerators<S: Simd>(s: S, scores: &mut [f32], tokens: usize, scale: f32) -> f32 {
    scores[tokens..].fill(f32::NEG_INFINITY);
    let (chunks, _) = scores.as_chunks_mut::<LANES>();
    let mut largest = s.splat(f32::NEG_INFINITY);
    for chunk in chunks.iter() {
        largest = s.max(s.load(chunk), largest);
    }
    let largest = s.splat(s.reduce_max(largest));
    let scale = s.splat(scale);
    let mut sum = s.splat(0.0);
    for chunk in chunks.iter_mut() {
        // The padding gives e^-86, which a sum of at least 1 does not see.
        let e = math::exp(s, s.mul(s.sub(s.load(chunk), largest), scale));
        sum = s.add(sum, e);
        s.store(e, chunk);
    }
    s.reduce_add(sum)
}
