//! Scaled dot-product attention of one sequence on int8 queries, keys and values, with exact integer products.
//!
//! Queries and keys are quantised per token and head, values per channel and head over the sequence (all to +-127);
//! probabilities to 0..=255 of the row's largest, and divided by the sum of what they were rounded to. All of it depends on the
//! sequence alone. The weights' side of both products is packed as a linear layer's weights are: 16 keys (or 16 channels) x 4
//! channels (or 4 keys) in a line of 64 bytes.

use crate::attention::Attention;
use crate::gemm_i8::{
    Int8Tile, MAX_TILE_ROWS, ZERO_ROW, activation_row, activation_step, chunk, dispatch, tile_blocks,
};
use crate::math;
use crate::scratch::Arena;
use crate::simd::{LANES, Simd};

/// Longest sequence whose sums fit: 65,536 x 255 x 127 is below 2^31, 65,536 x 255 is 2^24 in f32.
pub(crate) const MAX_TOKENS: usize = 1 << 16;

/// log2 of the largest probability, 255.
const LOG2_255: f32 = 7.994_353_4;

/// Attention with int8 products, of a sequence of at most [`MAX_TOKENS`].
pub(crate) type AttentionI8<'a> = Attention<'a, BuffersI8<'a>>;

/// Working memory of one head, tp = tokens rounded up to 16, dp = head size rounded up to 16.
pub(crate) struct BuffersI8<'a> {
    /// `[tp/16][dp/4][16][4]`.
    keys: &'a mut [u8],
    /// `[tp]`: a key's scale, 128 x its sum, and 0, or minus infinity for the padding.
    key_scales: &'a mut [f32],
    key_sums: &'a mut [i32],
    key_bias: &'a mut [f32],
    /// `[dp/16][tp/4][16][4]`.
    values: &'a mut [u8],
    /// `[dp]`: a channel's scale, and 128 x its sum.
    value_scales: &'a mut [f32],
    value_sums: &'a mut [i32],
    /// `[rows, dp]`, the rows that stand together in turn.
    queries: &'a mut [u8],
    /// `[rows, tp]`: sums of products, the same as floats, and probabilities (the rows that stand together in turn).
    sums: &'a mut [i32],
    scores: &'a mut [f32],
    probabilities: &'a mut [u8],
    /// `[rows, dp]`.
    context: &'a mut [i32],
}

impl<'a> BuffersI8<'a> {
    fn sizes(tokens: usize, head_size: usize) -> (usize, usize) {
        (tokens.next_multiple_of(LANES), head_size.next_multiple_of(LANES))
    }

    /// Bytes for sequences of up to `tokens`, with activations of `activation_bytes`.
    pub(crate) fn size(tokens: usize, head_size: usize, activation_bytes: usize) -> usize {
        let (tp, dp) = Self::sizes(tokens, head_size);
        let rows = MAX_TILE_ROWS;
        2 * Arena::bytes_size(tp * dp)
            + 3 * Arena::floats_size(tp)
            + 2 * Arena::floats_size(dp)
            + Arena::bytes_size(rows * dp * activation_bytes)
            + 2 * Arena::floats_size(rows * tp)
            + Arena::bytes_size(rows * tp * activation_bytes)
            + Arena::floats_size(rows * dp)
    }

    pub(crate) fn take(arena: &mut Arena<'a>, tokens: usize, head_size: usize, activation_bytes: usize) -> Self {
        let (tp, dp) = Self::sizes(tokens, head_size);
        let rows = MAX_TILE_ROWS;
        Self {
            keys: arena.bytes(tp * dp),
            key_scales: arena.floats(tp),
            key_sums: arena.ints(tp),
            key_bias: arena.floats(tp),
            values: arena.bytes(tp * dp),
            value_scales: arena.floats(dp),
            value_sums: arena.ints(dp),
            queries: arena.bytes(rows * dp * activation_bytes),
            sums: arena.ints(rows * tp),
            scores: arena.floats(rows * tp),
            probabilities: arena.bytes(rows * tp * activation_bytes),
            context: arena.ints(rows * dp),
        }
    }

    pub(crate) fn reborrow(&mut self) -> BuffersI8<'_> {
        BuffersI8 {
            keys: self.keys,
            key_scales: self.key_scales,
            key_sums: self.key_sums,
            key_bias: self.key_bias,
            values: self.values,
            value_scales: self.value_scales,
            value_sums: self.value_sums,
            queries: self.queries,
            sums: self.sums,
            scores: self.scores,
            probabilities: self.probabilities,
            context: self.context,
        }
    }
}

/// `out = softmax(q k^T / sqrt(d)) v` for the heads of `range`, d = H / heads.
///
/// # Safety
/// Inlined where the token's CPU features are enabled. `out` has `queries` rows, `out_stride` apart; the columns of the range's
/// heads may be written and are not otherwise in use.
#[inline(always)]
pub(crate) unsafe fn attention<T: Int8Tile>(t: T, call: AttentionI8<'_>) {
    let AttentionI8 {
        query,
        query_stride,
        queries,
        qkv,
        stride,
        tokens,
        hidden,
        heads,
        range,
        out,
        out_stride,
        buffers,
    } = call;
    assert!(range.end <= heads && hidden.is_multiple_of(heads) && tokens <= MAX_TOKENS);
    let s = t.simd();
    let size = hidden / heads;
    let (tp, dp) = (tokens.next_multiple_of(LANES), size.next_multiple_of(LANES));
    let b = buffers;
    let (query_bytes, probability_bytes) = (dp * T::READS.bytes(), tp * T::READS.bytes());
    let (keys, values) = (&mut b.keys[..tp * dp], &mut b.values[..tp * dp]);
    let (key_scales, key_sums) = (&mut b.key_scales[..tp], &mut b.key_sums[..tp]);
    let (value_scales, value_sums) = (&mut b.value_scales[..dp], &mut b.value_sums[..dp]);
    let (sums, scores) = (&mut b.sums[..MAX_TILE_ROWS * tp], &mut b.scores[..MAX_TILE_ROWS * tp]);
    let context = &mut b.context[..MAX_TILE_ROWS * dp];
    let quantised = &mut b.queries[..MAX_TILE_ROWS * query_bytes];
    let probabilities = &mut b.probabilities[..MAX_TILE_ROWS * probability_bytes];
    let key_bias = &mut b.key_bias[..tp];
    key_bias[..tokens].fill(0.0);
    key_bias[tokens..].fill(f32::NEG_INFINITY);
    // Scores are powers of two and not of e: the factor between them, and 1 / sqrt(d).
    let base = std::f32::consts::LOG2_E / (size as f32).sqrt();
    for head in range {
        let column = head * size;
        pack_keys(s, &qkv[hidden + column..], stride, tokens, size, keys, key_scales, key_sums);
        pack_values(s, &qkv[2 * hidden + column..], stride, tokens, size, values, value_scales, value_sums);
        for (row, rows) in tile_blocks::<T>(queries) {
            let mut factors = [0.0; MAX_TILE_ROWS];
            for r in 0..rows {
                let from = &query[(row + r) * query_stride + column..][..size];
                let (range, place) = activation_row::<T>(r, query_bytes);
                factors[r] = base * quantise_query(t, from, &mut quantised[range], place);
            }
            let mut panel = 0;
            while panel < tp / LANES {
                let panels = (tp / LANES - panel).min(T::PANELS);
                let w = keys[panel * LANES * dp..(panel + panels) * LANES * dp].as_ptr().cast::<i8>();
                let to = sums[panel * LANES..].as_mut_ptr();
                // SAFETY: `quantised` has MAX_TILE_ROWS rows of dp activations, those that stand with the last of `rows` included,
                // `w` has `panels` panels of 16 * dp bytes, `sums` has as many rows of tp, of which 16 * panels from `panel` on; dp
                // is a multiple of 16.
                unsafe {
                    dispatch(t, rows, panels, quantised.as_ptr(), query_bytes, w, LANES * dp, dp / 4, to, tp, w, None);
                }
                panel += panels;
            }
            // Step by step over all rows, so that the rows' reductions, chains of dependent steps, run side by side.
            let mut vectors = [s.splat(0.0); MAX_TILE_ROWS];
            for r in 0..rows {
                let of_row = r * tp..(r + 1) * tp;
                let (sums, scores) = (&sums[of_row.clone()], &mut scores[of_row]);
                vectors[r] = dequantise::<T>(s, sums, key_sums, key_scales, key_bias, scores);
            }
            let mut largest = [0.0; MAX_TILE_ROWS];
            for r in 0..rows {
                largest[r] = s.reduce_max(vectors[r]);
            }
            for r in 0..rows {
                let scores = &scores[r * tp..(r + 1) * tp];
                let (range, place) = activation_row::<T>(r, probability_bytes);
                vectors[r] = softmax(t, scores, factors[r], largest[r], &mut probabilities[range], place);
            }
            for r in 0..rows {
                factors[r] = 1.0 / s.reduce_add(vectors[r]);
            }
            let mut panel = 0;
            while panel < dp / LANES {
                let panels = (dp / LANES - panel).min(T::PANELS);
                let w = values[panel * LANES * tp..(panel + panels) * LANES * tp].as_ptr().cast::<i8>();
                let to = context[panel * LANES..].as_mut_ptr();
                // SAFETY: as above, with tp inputs and dp outputs; tp is a multiple of 16.
                unsafe {
                    dispatch(
                        t,
                        rows,
                        panels,
                        probabilities.as_ptr(),
                        probability_bytes,
                        w,
                        LANES * tp,
                        tp / 4,
                        to,
                        dp,
                        w,
                        None,
                    );
                }
                panel += panels;
            }
            for r in 0..rows {
                // SAFETY: the caller's contract: row + r < queries, and columns of a head of the range.
                let to = unsafe { std::slice::from_raw_parts_mut(out.add((row + r) * out_stride + column), size) };
                let factor = s.splat(factors[r]);
                for (i, to) in to.chunks_mut(LANES).enumerate() {
                    let mut acc = s.load_i32(chunk(context, r * dp + i * LANES));
                    if T::READS.shifts_probabilities() {
                        acc = s.add_i32(acc, s.load_i32(chunk(value_sums, i * LANES)));
                    }
                    let scale = s.mul(s.load(chunk(value_scales, i * LANES)), factor);
                    s.store_part(s.mul(s.to_f32(acc), scale), to);
                }
            }
        }
    }
}

/// One query, number `place` of those that stand together, to int8 with zeros behind it; its scale.
#[inline(always)]
fn quantise_query<T: Int8Tile>(t: T, from: &[f32], to: &mut [u8], place: usize) -> f32 {
    let s = t.simd();
    let mut largest = s.splat(ZERO_ROW);
    for from in from.chunks(LANES) {
        largest = s.max(s.abs(s.load_part(from)), largest);
    }
    let largest = s.reduce_max(largest);
    let factor = s.splat(127.0 / largest);
    for (from, to) in from.chunks(LANES).zip(to.chunks_exact_mut(activation_step::<T>())) {
        t.store_activations(s.round(s.mul(s.load_part(from), factor)), to, place);
    }
    largest / 127.0
}

/// Keys to int8 panels of 16 tokens, zero in the padding.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "one matrix to one matrix with its scales and sums")]
fn pack_keys<S: Simd>(
    s: S,
    from: &[f32],
    stride: usize,
    tokens: usize,
    size: usize,
    keys: &mut [u8],
    scales: &mut [f32],
    sums: &mut [i32],
) {
    let dp = size.next_multiple_of(LANES);
    let (scales, _) = scales.as_chunks_mut::<LANES>();
    let (sums, _) = sums.as_chunks_mut::<LANES>();
    for (panel, (scales, sums)) in scales.iter_mut().zip(sums).enumerate() {
        let token = panel * LANES;
        let rows = (tokens - token).min(LANES);
        // Two passes over the panel's floats, which are in the first cache: the scales first, then the integers.
        let mut largest = [[0.0; LANES]; LANES];
        for row in 0..rows {
            let from = &from[(token + row) * stride..][..size];
            let mut most = s.splat(0.0);
            for from in from.chunks(LANES) {
                most = s.max(s.abs(s.load_part(from)), most);
            }
            s.store(most, &mut largest[row]);
        }
        s.transpose(&mut largest);
        let mut most = s.splat(ZERO_ROW);
        for lane in &largest {
            most = s.max(s.load(lane), most);
        }
        s.store(s.div(most, s.splat(127.0)), scales);
        let factor = s.div(s.splat(127.0), most);
        let mut sum = s.round(s.splat(0.0));
        let to = &mut keys[token * dp..(token + LANES) * dp];
        for (column, to) in (0..size).step_by(LANES).zip(to.chunks_exact_mut(LANES * LANES)) {
            let width = (size - column).min(LANES);
            let mut block = [[0.0; LANES]; LANES];
            for row in 0..rows {
                let at = (token + row) * stride + column;
                s.store(s.load_part(&from[at..at + width]), &mut block[row]);
            }
            s.transpose(&mut block);
            let (groups, _) = to.as_chunks_mut::<{ 4 * LANES }>();
            for (four, to) in block.as_chunks::<4>().0.iter().zip(groups) {
                let mut integers = [sum; 4];
                for i in 0..4 {
                    integers[i] = s.round(s.mul(s.load(&four[i]), factor));
                    sum = s.add_i32(sum, integers[i]);
                }
                s.store_i8x4(integers, to);
            }
        }
        store_128_times(s, sum, sums);
    }
}

/// Values to int8 panels of 16 channels, zero in the padding.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "one matrix to one matrix with its scales and sums")]
fn pack_values<S: Simd>(
    s: S,
    from: &[f32],
    stride: usize,
    tokens: usize,
    size: usize,
    values: &mut [u8],
    scales: &mut [f32],
    sums: &mut [i32],
) {
    let tp = tokens.next_multiple_of(LANES);
    let (scales, _) = scales.as_chunks_mut::<LANES>();
    let (sums, _) = sums.as_chunks_mut::<LANES>();
    let panels = values.chunks_exact_mut(LANES * tp);
    for (panel, ((to, scales), sums)) in panels.zip(scales).zip(sums).enumerate() {
        let column = panel * LANES;
        let width = (size - column).min(LANES);
        let mut most = s.splat(ZERO_ROW);
        for token in 0..tokens {
            most = s.max(s.abs(s.load_part(&from[token * stride + column..][..width])), most);
        }
        s.store(s.div(most, s.splat(127.0)), scales);
        let factor = s.div(s.splat(127.0), most);
        let zero = s.round(s.splat(0.0));
        let mut sum = zero;
        let (groups, _) = to.as_chunks_mut::<{ 4 * LANES }>();
        for (group, to) in groups.iter_mut().enumerate() {
            let mut integers = [zero; 4];
            for i in 0..4 {
                let token = 4 * group + i;
                if token < tokens {
                    let x = s.load_part(&from[token * stride + column..][..width]);
                    integers[i] = s.round(s.mul(x, factor));
                    sum = s.add_i32(sum, integers[i]);
                }
            }
            s.store_i8x4(integers, to);
        }
        store_128_times(s, sum, sums);
    }
}

/// 128 x the sums, by doubling.
#[inline(always)]
fn store_128_times<S: Simd>(s: S, mut x: S::I, to: &mut [i32; LANES]) {
    for _ in 0..7 {
        x = s.add_i32(x, x);
    }
    s.store_i32(x, to);
}

/// Scores of one query in units of its scale; the largest of each lane.
#[inline(always)]
fn dequantise<T: Int8Tile>(
    s: T::Simd,
    sums: &[i32],
    key_sums: &[i32],
    scales: &[f32],
    bias: &[f32],
    scores: &mut [f32],
) -> <T::Simd as Simd>::F {
    let mut largest = s.splat(f32::NEG_INFINITY);
    let (sums, _) = sums.as_chunks::<LANES>();
    let (key_sums, _) = key_sums.as_chunks::<LANES>();
    let (scales, _) = scales.as_chunks::<LANES>();
    let (bias, _) = bias.as_chunks::<LANES>();
    let (scores, _) = scores.as_chunks_mut::<LANES>();
    for ((((sum, key_sum), scale), bias), score) in sums.iter().zip(key_sums).zip(scales).zip(bias).zip(scores) {
        let mut acc = s.load_i32(sum);
        if T::READS.subtracts_sums() {
            acc = s.sub_i32(acc, s.load_i32(key_sum));
        }
        let y = s.mul_add(s.to_f32(acc), s.load(scale), s.load(bias));
        largest = s.max(y, largest);
        s.store(y, score);
    }
    largest
}

/// `round(255 x 2^(factor (score - largest)))` of row number `place` of those that stand together; each lane's sum of what was rounded.
#[inline(always)]
fn softmax<T: Int8Tile>(
    t: T,
    scores: &[f32],
    factor: f32,
    largest: f32,
    to: &mut [u8],
    place: usize,
) -> <T::Simd as Simd>::F {
    let s = t.simd();
    let offset = s.splat(LOG2_255 - largest * factor);
    let factor = s.splat(factor);
    let mut sum = s.round(s.splat(0.0));
    let (scores, _) = scores.as_chunks::<LANES>();
    for (score, to) in scores.iter().zip(to.chunks_exact_mut(activation_step::<T>())) {
        let p = s.round(math::exp2_coarse(s, s.mul_add(s.load(score), factor, offset)));
        sum = s.add_i32(sum, p);
        t.store_probabilities(p, to, place);
    }
    s.to_f32(sum)
}
