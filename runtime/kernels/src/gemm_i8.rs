//! int8 linear layers: per-token quantisation of the activations, exact integer tiles, and the float epilogue.

use std::ops::Range;

use crate::linear::{LinearI8, OUTPUT_ALIGN, padded_inputs_i8};
use crate::math;
use crate::simd::{LANES, Simd};

/// Row stride, in i32, of the buffer that a tile writes.
pub(crate) const TILE_STRIDE: usize = OUTPUT_ALIGN;
/// Most rows of any tile.
pub(crate) const MAX_TILE_ROWS: usize = 8;
/// Rows whose largest magnitude is below this are taken as zero: 127 divided by it must stay finite.
const ZERO_ROW: f32 = 1e-30;

/// What follows a linear layer's bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Gelu,
    Tanh,
}

impl Activation {
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        match self {
            Self::None => x,
            Self::Gelu => math::gelu(s, x),
            Self::Tanh => math::tanh(s, x),
        }
    }
}

/// The integer part of an instruction set.
pub(crate) trait Int8Tile: Copy {
    type Simd: Simd;

    /// Most rows of a tile, at most [`MAX_TILE_ROWS`].
    const ROWS: usize;
    /// Panels of 16 output channels that a tile computes, 1 or 3.
    const PANELS: usize;
    /// Bytes that an activation is stored in.
    const BYTES: usize;
    /// Whether activations are stored as `i8 + 128`, so that 128 x the weights' sums must be subtracted.
    const SUBTRACT_SUMS: bool;

    fn simd(self) -> Self::Simd;

    /// Stores 16 activations (integers of -127..=127) as the tile reads them, in 16 * `BYTES` bytes.
    fn store_activations(self, x: <Self::Simd as Simd>::I, to: &mut [u8]);

    /// `out[r][p * 16 + n] = sum over k of a[r][k] * w[p][n][k]` for r < R, p < `PANELS`, n < 16; exact.
    ///
    /// `groups` counts groups of four inputs and is a multiple of 16; rows of `out` are [`TILE_STRIDE`] apart.
    ///
    /// # Safety
    /// For R rows, each `a_stride` bytes after the last, 4 * `groups` * `BYTES` bytes can be read from `a`; for `PANELS` panels,
    /// each `w_stride` bytes after the last, 64 * `groups` bytes from `w`; R rows of [`TILE_STRIDE`] can be written to `out`.
    /// The function is inlined where the token's CPU features are enabled.
    unsafe fn tile<const R: usize>(
        self,
        a: *const u8,
        a_stride: usize,
        w: *const i8,
        w_stride: usize,
        groups: usize,
        out: *mut i32,
    );
}

/// Rows of activations to quantise.
pub(crate) struct Quantise<'a> {
    /// `rows` rows of `columns` values, `input_stride` apart.
    pub input: &'a [f32],
    pub input_stride: usize,
    pub rows: usize,
    pub columns: usize,
    /// `rows` rows of `padded_inputs_i8(columns)` activations, each of the kernel's `BYTES`.
    pub output: &'a mut [u8],
    /// One scale a row.
    pub scales: &'a mut [f32],
}

/// Symmetric quantisation of each row: scale = max|x| / 127, q = round-half-even(x / scale), clamped to +-127.
#[inline(always)]
pub(crate) fn quantise<T: Int8Tile>(t: T, call: Quantise<'_>) {
    let Quantise { input, input_stride, rows, columns, output, scales } = call;
    let s = t.simd();
    let row_bytes = padded_inputs_i8(columns) * T::BYTES;
    let zero = s.splat(0.0);
    let inputs = input.chunks(input_stride);
    for ((input, output), scale) in inputs.zip(output.chunks_exact_mut(row_bytes)).zip(&mut scales[..rows]) {
        let input = &input[..columns];
        let (chunks, tail) = input.as_chunks::<LANES>();
        let mut largest = s.abs(s.load_part(tail));
        largest = s.max(largest, zero);
        for chunk in chunks {
            largest = s.max(s.abs(s.load(chunk)), largest);
        }
        let largest = s.reduce_max(largest);
        let factor = if largest < ZERO_ROW {
            *scale = 0.0;
            0.0
        } else {
            *scale = largest / 127.0;
            127.0 / largest
        };
        let factor = s.splat(factor);
        let (done, rest) = output.split_at_mut(chunks.len() * LANES * T::BYTES);
        for (chunk, to) in chunks.iter().zip(done.chunks_exact_mut(LANES * T::BYTES)) {
            t.store_activations(to_integers(s, s.load(chunk), factor), to);
        }
        let mut rest = rest.chunks_exact_mut(LANES * T::BYTES);
        if let (false, Some(to)) = (tail.is_empty(), rest.next()) {
            t.store_activations(to_integers(s, s.load_part(tail), factor), to);
        }
        for to in rest {
            t.store_activations(s.round(zero), to);
        }
    }
}

/// `x * factor`, clamped to +-127 and rounded. A function and not a closure: see `x86/avx2.rs`.
#[inline(always)]
fn to_integers<S: Simd>(s: S, x: S::F, factor: S::F) -> S::I {
    s.round(s.min(s.max(s.mul(x, factor), s.splat(-127.0)), s.splat(127.0)))
}

/// A call of an int8 linear layer on quantised activations.
pub(crate) struct GemmI8<'a> {
    pub linear: LinearI8<'a>,
    /// `rows` quantised rows, as [`quantise`] writes them.
    pub input: &'a [u8],
    pub input_scales: &'a [f32],
    pub rows: usize,
    /// Which blocks of 48 output channels to compute; others are left alone.
    pub blocks: Range<usize>,
    /// `rows` rows, `output_stride` apart.
    pub output: &'a mut [f32],
    pub output_stride: usize,
    pub activation: Activation,
}

/// `output = activation(acc * (input_scale * scale) + bias)` with the exact integer sum `acc`.
///
/// # Safety
/// Inlined where the token's CPU features are enabled.
#[inline(always)]
pub(crate) unsafe fn gemm<T: Int8Tile>(t: T, call: GemmI8<'_>) {
    let GemmI8 { linear, input, input_scales, rows, blocks, output, output_stride, activation } = call;
    let s = t.simd();
    let kp = padded_inputs_i8(linear.inputs);
    let row_bytes = kp * T::BYTES;
    let input = &input[..rows * row_bytes];
    let input_scales = &input_scales[..rows];
    assert!(blocks.end * OUTPUT_ALIGN <= linear.scales.len().min(output_stride), "output block out of range");
    assert!(T::ROWS <= MAX_TILE_ROWS && OUTPUT_ALIGN.is_multiple_of(T::PANELS * LANES));
    let mut sums = [[0_i32; TILE_STRIDE]; MAX_TILE_ROWS];
    let (tiles, width) = (OUTPUT_ALIGN / (T::PANELS * LANES), T::PANELS * LANES);
    for tile in blocks.start * tiles..blocks.end * tiles {
        let first = tile * width;
        let weight = &linear.weight[first * kp..(first + width) * kp];
        for (row, count) in even_blocks(rows, T::ROWS) {
            let a = input[row * row_bytes..(row + count) * row_bytes].as_ptr();
            let (w, out) = (weight.as_ptr(), sums.as_flattened_mut().as_mut_ptr());
            // SAFETY: `a` has `count` rows of `row_bytes`, `weight` has PANELS panels of 16 * kp bytes, `sums` has
            // MAX_TILE_ROWS >= count rows; kp is a multiple of 64, so kp / 4 is one of 16; features are the caller's promise.
            unsafe { dispatch(t, count, a, row_bytes, w, LANES * kp, kp / 4, out) };
            let outputs = output[row * output_stride..].chunks_mut(output_stride);
            for ((output, sums), &input_scale) in outputs.zip(&sums[..count]).zip(&input_scales[row..]) {
                let input_scale = s.splat(input_scale);
                let output = &mut output[first..first + width];
                for panel in 0..T::PANELS {
                    let channel = first + panel * LANES;
                    let mut acc = s.load_i32(chunk(sums, panel * LANES));
                    if T::SUBTRACT_SUMS {
                        acc = s.sub_i32(acc, s.load_i32(chunk(linear.sums, channel)));
                    }
                    let scale = s.mul(input_scale, s.load(chunk(linear.scales, channel)));
                    let y = s.mul_add(s.to_f32(acc), scale, s.load(chunk(linear.bias, channel)));
                    s.store_part(activation.apply(s, y), &mut output[panel * LANES..]);
                }
            }
        }
    }
}

/// 16 elements from `at` on.
#[inline(always)]
pub(crate) fn chunk<E>(from: &[E], at: usize) -> &[E; LANES] {
    from[at..].first_chunk().expect("panels are whole vectors")
}

/// Cuts `rows` into as few blocks of at most `most` rows as possible, of nearly equal size: (first row, count).
#[inline(always)]
pub(crate) fn even_blocks(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let blocks = rows.div_ceil(most).max(1);
    let (base, extra) = (rows / blocks, rows % blocks);
    (0..blocks).map(move |i| (i * base + i.min(extra), base + usize::from(i < extra))).filter(|&(_, count)| count > 0)
}

/// Calls the tile of `rows` rows.
///
/// # Safety
/// As [`Int8Tile::tile`] with R = `rows`; `rows` is 1 to `T::ROWS`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the tile's own arguments")]
unsafe fn dispatch<T: Int8Tile>(
    t: T,
    rows: usize,
    a: *const u8,
    a_stride: usize,
    w: *const i8,
    w_stride: usize,
    groups: usize,
    out: *mut i32,
) {
    macro_rules! arms {
        ($($n:literal)*) => {
            match rows {
                // SAFETY: the caller's contract, for this number of rows.
                $($n if $n <= T::ROWS => unsafe { t.tile::<$n>(a, a_stride, w, w_stride, groups, out) },)*
                _ => unreachable!("a tile has 1 to ROWS rows"),
            }
        };
    }
    arms!(8 7 6 5 4 3 2 1);
}
