//! f32 matrix tiles: linear layers with f32 or f16 weights, and both products of attention.

use std::ops::Range;

use half::f16;

use crate::gemm_i8::{Activation, chunk, even_blocks};
use crate::linear::OUTPUT_ALIGN;
use crate::simd::{Element, LANES, Simd};

/// Most rows of any f32 tile.
pub(crate) const MAX_TILE_ROWS: usize = 8;

/// `out[r][c] = sum over k of a[r][k] * w[k][c]`, summed in the order of k with fused multiply-adds, for R rows and N vectors.
///
/// # Safety
/// For R rows, each `a_stride` after the last, `k` values can be read from `a`; for `k` rows, each `w_stride` after the last,
/// N * 16 values from `w`; for R rows, each `out_stride` after the last, N * 16 values can be written to `out`, which
/// overlaps neither. The function is inlined where the token's CPU features are enabled.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "three matrices")]
unsafe fn tile<S: Simd, W: Element, const R: usize, const N: usize>(
    s: S,
    a: *const f32,
    a_stride: usize,
    w: *const W,
    w_stride: usize,
    k: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let mut acc = [[s.splat(0.0); N]; R];
    for i in 0..k {
        let mut row = [s.splat(0.0); N];
        for n in 0..N {
            // SAFETY: row i < k of `w` has N * 16 values.
            row[n] = W::load(s, unsafe { &*w.add(i * w_stride + n * LANES).cast() });
        }
        for r in 0..R {
            // SAFETY: row r < R of `a` has k values.
            let a = s.splat(unsafe { *a.add(r * a_stride + i) });
            for n in 0..N {
                acc[r][n] = s.mul_add(a, row[n], acc[r][n]);
            }
        }
    }
    for r in 0..R {
        for n in 0..N {
            // SAFETY: row r < R of `out` has N * 16 values, exclusively ours.
            s.store(acc[r][n], unsafe { &mut *out.add(r * out_stride + n * LANES).cast() });
        }
    }
}

/// A matrix product on raw slices: `out[rows, columns] = a[rows, k] w[k, columns]`, each with its row stride.
pub(crate) struct Product<'a, W> {
    pub a: &'a [f32],
    pub a_stride: usize,
    pub rows: usize,
    pub w: &'a [W],
    pub w_stride: usize,
    pub k: usize,
    /// A multiple of 16.
    pub columns: usize,
    pub out: &'a mut [f32],
    pub out_stride: usize,
}

/// # Safety
/// Inlined where the token's CPU features are enabled.
#[inline(always)]
pub(crate) unsafe fn product<S: Simd, W: Element>(s: S, call: Product<'_, W>) {
    let Product { a, a_stride, rows, w, w_stride, k, columns, out, out_stride } = call;
    if rows == 0 || k == 0 {
        return;
    }
    assert!(columns.is_multiple_of(LANES) && columns <= w_stride && columns <= out_stride && k <= a_stride);
    assert!(a.len() >= (rows - 1) * a_stride + k, "a is too short");
    assert!(w.len() >= (k - 1) * w_stride + columns, "w is too short");
    assert!(out.len() >= (rows - 1) * out_stride + columns, "out is too short");
    let mut column = 0;
    while column < columns {
        let vectors = ((columns - column) / LANES).min(S::TILE_VECTORS);
        for (row, count) in even_blocks(rows, S::TILE_ROWS) {
            // SAFETY: the asserts above cover rows row..row + count and columns column..column + vectors * 16 of all three.
            unsafe {
                let a = a.as_ptr().add(row * a_stride);
                let w = w.as_ptr().add(column);
                let out = out.as_mut_ptr().add(row * out_stride + column);
                dispatch(s, count, vectors, a, a_stride, w, w_stride, k, out, out_stride);
            }
        }
        column += vectors * LANES;
    }
}

/// Calls the tile of `rows` rows and `vectors` vectors.
///
/// # Safety
/// As [`tile`]; `rows` is 1 to `S::TILE_ROWS`, `vectors` 1 to `S::TILE_VECTORS`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the tile's own arguments")]
unsafe fn dispatch<S: Simd, W: Element>(
    s: S,
    rows: usize,
    vectors: usize,
    a: *const f32,
    a_stride: usize,
    w: *const W,
    w_stride: usize,
    k: usize,
    out: *mut f32,
    out_stride: usize,
) {
    macro_rules! arms {
        ($n:literal: $($r:literal)*) => {
            match rows {
                // SAFETY: the caller's contract, for these numbers of rows and vectors.
                $($r if $r <= S::TILE_ROWS => unsafe {
                    tile::<S, W, $r, $n>(s, a, a_stride, w, w_stride, k, out, out_stride)
                },)*
                _ => unreachable!("a tile has 1 to TILE_ROWS rows"),
            }
        };
    }
    match vectors {
        3 if S::TILE_VECTORS >= 3 => arms!(3: 8 7 6 5 4 3 2 1),
        2 if S::TILE_VECTORS >= 2 => arms!(2: 8 7 6 5 4 3 2 1),
        _ => arms!(1: 8 7 6 5 4 3 2 1),
    }
}

/// A call of a linear layer with f32 or f16 weights.
pub(crate) struct GemmFloat<'a, W> {
    /// `[np/48, k, 48]`.
    pub weight: &'a [W],
    pub bias: &'a [f32],
    /// Inputs, k.
    pub inputs: usize,
    /// `rows` rows of k values, `input_stride` apart.
    pub input: &'a [f32],
    pub input_stride: usize,
    pub rows: usize,
    /// Which blocks of 48 output channels to compute; others are left alone.
    pub blocks: Range<usize>,
    /// `rows` rows, `output_stride` apart.
    pub output: &'a mut [f32],
    pub output_stride: usize,
    pub activation: Activation,
}

/// `output = activation(sum + bias)`.
///
/// # Safety
/// Inlined where the token's CPU features are enabled.
#[inline(always)]
pub(crate) unsafe fn gemm<S: Simd, W: Element>(s: S, call: GemmFloat<'_, W>) {
    let GemmFloat { weight, bias, inputs, input, input_stride, rows, blocks, output, output_stride, activation } = call;
    if rows == 0 {
        return;
    }
    assert!(inputs <= input_stride && input.len() >= (rows - 1) * input_stride + inputs, "input is too short");
    assert!(S::TILE_ROWS <= MAX_TILE_ROWS && OUTPUT_ALIGN.is_multiple_of(S::TILE_VECTORS * LANES));
    let mut sums = [[0.0_f32; OUTPUT_ALIGN]; MAX_TILE_ROWS];
    for block in blocks {
        let first = block * OUTPUT_ALIGN;
        let weight = &weight[first * inputs..(first + OUTPUT_ALIGN) * inputs];
        let bias = &bias[first..first + OUTPUT_ALIGN];
        for (row, count) in even_blocks(rows, S::TILE_ROWS) {
            for column in (0..OUTPUT_ALIGN).step_by(S::TILE_VECTORS * LANES) {
                // SAFETY: `input` has rows up to row + count (asserted), `weight` has `inputs` rows of 48 with
                // `TILE_VECTORS` * 16 values from `column` on, `sums` has MAX_TILE_ROWS rows of 48.
                unsafe {
                    let a = input.as_ptr().add(row * input_stride);
                    let w = weight.as_ptr().add(column);
                    let out = sums.as_flattened_mut().as_mut_ptr().add(column);
                    let n = S::TILE_VECTORS;
                    dispatch(s, count, n, a, input_stride, w, OUTPUT_ALIGN, inputs, out, OUTPUT_ALIGN);
                }
            }
            let outputs = output[row * output_stride..].chunks_mut(output_stride);
            for (output, sums) in outputs.zip(&sums[..count]) {
                let output = &mut output[first..first + OUTPUT_ALIGN];
                for column in (0..OUTPUT_ALIGN).step_by(LANES) {
                    let y = s.add(s.load(chunk(sums, column)), s.load(chunk(bias, column)));
                    s.store_part(activation.apply(s, y), &mut output[column..]);
                }
            }
        }
    }
}

/// The two weight types of [`gemm`], named for the table of operations.
pub(crate) type GemmF32<'a> = GemmFloat<'a, f32>;
/// See [`GemmF32`].
pub(crate) type GemmF16<'a> = GemmFloat<'a, f16>;
