//! int8 linear layers: per-token quantisation of the activations, exact integer tiles, and the float epilogue.

use std::ops::Range;

use crate::chains::{self, ChainTable, Chains};
use crate::linear::{LinearI8, OUTPUT_ALIGN, padded_inputs_i8};
use crate::math;
use crate::simd::{LANES, Simd};

/// Row stride, in i32, of the buffer that a tile writes.
pub(crate) const TILE_STRIDE: usize = OUTPUT_ALIGN;
/// Most rows of any int8 tile.
pub(crate) const MAX_TILE_ROWS: usize = 12;
/// Most panels of any int8 tile.
const MAX_PANELS: usize = OUTPUT_ALIGN / LANES;
/// Most rows of activations that stand together.
pub(crate) const MOST_TOGETHER: usize = 4;
/// Rows whose largest magnitude is below this are taken as zero: 127 divided by it must stay finite.
pub(crate) const ZERO_ROW: f32 = 1e-30;

/// What follows a linear layer's bias. After an int8 layer GELU is the coarse one ([`math::gelu_coarse`]).
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

/// How a tile reads its left operand: attention's probabilities are 0..=255, all other activations -127..=127.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86-64's tiles read what is not signed bytes"))]
pub(crate) enum Activations {
    /// Signed bytes: probabilities are stored less 128.
    Signed,
    /// Unsigned bytes: activations are stored plus 128.
    Unsigned,
    /// 16 bits, which hold both as they are; in an order of the instruction set's own, which it stores itself.
    Words,
}

impl Activations {
    /// Bytes that an activation is stored in.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Signed | Self::Unsigned => 1,
            Self::Words => 2,
        }
    }

    /// Whether activations are stored plus 128, so that 128 x the weights' sums must be subtracted.
    pub(crate) const fn subtracts_sums(self) -> bool {
        matches!(self, Self::Unsigned)
    }

    /// Whether probabilities are stored less 128, so that 128 x the values' sums must be added.
    pub(crate) const fn shifts_probabilities(self) -> bool {
        matches!(self, Self::Signed)
    }
}

/// The integer part of an instruction set.
pub(crate) trait Int8Tile: Copy {
    type Simd: Simd;

    /// Most rows of a tile, at most [`MAX_TILE_ROWS`].
    const ROWS: usize;
    /// Most panels of 16 output channels that a tile computes, 1 or 3.
    const PANELS: usize;
    /// What the tile reads activations as.
    const READS: Activations;
    /// Rows of activations that stand together, eight bytes of each in turn: 1, or for activations of a byte a divisor of `ROWS` and of
    /// [`MOST_TOGETHER`].
    const TOGETHER: usize = 1;
    /// Whether the tile adds up products in 16 bits where [`chains`] proves that they fit: of signed bytes, two rows together, one panel.
    const CHAINS: bool = false;

    /// [`chains::weight_squares`], faster.
    #[inline(always)]
    fn weight_squares(self, panel: &[i8], to: &mut [u16]) {
        chains::weight_squares(panel, to);
    }

    /// [`chains::row_squares`], faster.
    #[inline(always)]
    fn row_squares(self, rows: &[u8], to: &mut [u16]) {
        chains::row_squares(rows, to);
    }

    fn simd(self) -> Self::Simd;

    /// Stores 16 activations (integers of -127..=127) of a row as the tile reads them; `to` has [`activation_step`] bytes, the row is
    /// number `place` of those that stand together.
    #[inline(always)]
    fn store_activations(self, x: <Self::Simd as Simd>::I, to: &mut [u8], place: usize) {
        debug_assert!(place == 0);
        let to = to.first_chunk_mut().expect("16 activations of a byte");
        self.simd().store_i8(x, if Self::READS.subtracts_sums() { 0x80 } else { 0 }, to);
    }

    /// Stores 16 probabilities (integers of 0..=255) as [`Int8Tile::store_activations`] does.
    #[inline(always)]
    fn store_probabilities(self, x: <Self::Simd as Simd>::I, to: &mut [u8], place: usize) {
        debug_assert!(place == 0);
        let to = to.first_chunk_mut().expect("16 probabilities of a byte");
        self.simd().store_i8(x, if Self::READS.shifts_probabilities() { 0x80 } else { 0 }, to);
    }

    /// `out[r][p * 16 + n] = sum over k of a[r][k] * w[p][n][k]` for r < R, p < P, n < 16; exact.
    ///
    /// `groups` counts groups of four inputs and is a positive multiple of 4; rows of `out` are `out_stride` apart. `prefetch` is
    /// where 64 * `groups` bytes of weights begin that will be needed next; it is only a hint and may be any address. `chains` is what is
    /// known of the blocks of inputs, for tiles that [`Int8Tile::CHAINS`].
    ///
    /// # Safety
    /// P is 1 to `PANELS`, R 1 to `ROWS`. For R rows, rounded up to a multiple of `TOGETHER`, `a_stride` = 4 * `groups` * `READS.bytes()` bytes each can
    /// be read from `a`; for P panels, each `w_stride` bytes after the last, 64 * `groups` bytes from `w`; for R rows, each
    /// `out_stride` after the last, 16 * P sums can be written to `out`. `chains`, if any, has one sum of squares and one limit for each
    /// [`chains::BLOCK`] groups, of which `groups` is a multiple.
    /// The function is inlined where the token's CPU features are enabled.
    #[allow(clippy::too_many_arguments, reason = "three matrices")]
    unsafe fn tile<const R: usize, const P: usize>(
        self,
        a: *const u8,
        a_stride: usize,
        w: *const i8,
        w_stride: usize,
        groups: usize,
        out: *mut i32,
        out_stride: usize,
        prefetch: *const i8,
        chains: Option<Chains<'_>>,
    );
}

/// Bytes from 16 activations of a row to the next 16.
pub(crate) const fn activation_step<T: Int8Tile>() -> usize {
    LANES * T::READS.bytes() * T::TOGETHER
}

/// The bytes of the rows of activations that `row` stands with, of `row_bytes` each, and which of them it is.
#[inline(always)]
pub(crate) fn activation_row<T: Int8Tile>(row: usize, row_bytes: usize) -> (Range<usize>, usize) {
    let first = row / T::TOGETHER * T::TOGETHER;
    (first * row_bytes..(first + T::TOGETHER) * row_bytes, row - first)
}

/// Cuts `rows` into blocks of at most [`Int8Tile::ROWS`], of nearly equal size, that begin where rows stand together: (first row,
/// count).
#[inline(always)]
pub(crate) fn tile_blocks<T: Int8Tile>(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    const {
        assert!(T::ROWS <= MAX_TILE_ROWS && MAX_TILE_ROWS.is_multiple_of(T::TOGETHER));
        assert!(T::ROWS.is_multiple_of(T::TOGETHER) && MOST_TOGETHER.is_multiple_of(T::TOGETHER));
        assert!(T::TOGETHER == 1 || T::READS.bytes() == 1);
    }
    even_blocks(rows.div_ceil(T::TOGETHER), T::ROWS / T::TOGETHER)
        .map(move |(first, count)| (first * T::TOGETHER, (count * T::TOGETHER).min(rows - first * T::TOGETHER)))
}

/// Rows of activations to quantise.
pub(crate) struct Quantise<'a> {
    /// `rows` rows of `columns` values, `input_stride` apart.
    pub input: &'a [f32],
    pub input_stride: usize,
    pub rows: usize,
    pub columns: usize,
    /// `rows` rows, rounded up to a multiple of the kernel's `TOGETHER` (one of [`MOST_TOGETHER`] always is enough), of
    /// `padded_inputs_i8(columns)` activations, each of the kernel's `READS.bytes()`.
    pub output: &'a mut [u8],
    /// One scale a row.
    pub scales: &'a mut [f32],
}

/// Symmetric quantisation of each row: scale = max|x| / 127, q = round-half-even(x / scale), within +-127.
#[inline(always)]
pub(crate) fn quantise<T: Int8Tile>(t: T, call: Quantise<'_>) {
    let Quantise { input, input_stride, rows, columns, output, scales } = call;
    let s = t.simd();
    let row_bytes = padded_inputs_i8(columns) * T::READS.bytes();
    let zero = s.splat(0.0);
    let step = activation_step::<T>();
    for (row, (input, scale)) in input.chunks(input_stride).zip(&mut scales[..rows]).enumerate() {
        let (range, place) = activation_row::<T>(row, row_bytes);
        let (input, output) = (&input[..columns], &mut output[range]);
        let (chunks, tail) = input.as_chunks::<LANES>();
        // Four at a time: one would wait for its own last step.
        let mut most = [s.max(s.abs(s.load_part(tail)), zero); 4];
        let (fours, rest) = chunks.as_chunks::<4>();
        for four in fours {
            for i in 0..4 {
                most[i] = s.max(s.abs(s.load(&four[i])), most[i]);
            }
        }
        for chunk in rest {
            most[0] = s.max(s.abs(s.load(chunk)), most[0]);
        }
        let largest = s.reduce_max(s.max(s.max(most[0], most[1]), s.max(most[2], most[3])));
        let factor = if largest < ZERO_ROW {
            *scale = 0.0;
            0.0
        } else {
            *scale = largest / 127.0;
            127.0 / largest
        };
        let factor = s.splat(factor);
        let (done, rest) = output.split_at_mut(chunks.len() * step);
        for (chunk, to) in chunks.iter().zip(done.chunks_exact_mut(step)) {
            t.store_activations(to_integers(s, s.load(chunk), factor), to, place);
        }
        let mut rest = rest.chunks_exact_mut(step);
        if let (false, Some(to)) = (tail.is_empty(), rest.next()) {
            t.store_activations(to_integers(s, s.load_part(tail), factor), to, place);
        }
        for to in rest {
            t.store_activations(s.round(zero), to, place);
        }
    }
}

/// `x * factor`, rounded: within 127.0001 of 0, since factor is 127 over the row's largest. A function and not a closure: see
/// `x86/avx2.rs`.
#[inline(always)]
fn to_integers<S: Simd>(s: S, x: S::F, factor: S::F) -> S::I {
    s.round(s.mul(x, factor))
}

/// A call of an int8 linear layer on quantised activations.
pub(crate) struct GemmI8<'a> {
    pub linear: LinearI8<'a>,
    /// `rows` quantised rows, as [`quantise`] writes them, with those that stand with the last.
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
    let kp = padded_inputs_i8(linear.inputs);
    let row_bytes = kp * T::READS.bytes();
    let input = &input[..rows.next_multiple_of(T::TOGETHER) * row_bytes];
    let input_scales = &input_scales[..rows];
    assert!(blocks.end * OUTPUT_ALIGN <= linear.scales.len().min(output_stride), "output block out of range");
    assert!(OUTPUT_ALIGN.is_multiple_of(T::PANELS * LANES));
    const {
        let fits = T::TOGETHER == 2 && T::ROWS == 2 && T::PANELS == 1 && matches!(T::READS, Activations::Signed);
        assert!(!T::CHAINS || fits, "a table of chains is of pairs of rows and single panels");
    }
    let mut known = match T::CHAINS {
        true => ChainTable::new(input, kp, |rows, to| t.row_squares(rows, to)),
        false => None,
    };
    let mut sums = [[0_i32; TILE_STRIDE]; MAX_TILE_ROWS];
    let (tiles, width) = (OUTPUT_ALIGN / (T::PANELS * LANES), T::PANELS * LANES);
    for tile in blocks.start * tiles..blocks.end * tiles {
        let first = tile * width;
        let weight = &linear.weight[first * kp..(first + width) * kp];
        if let Some(known) = &mut known {
            t.weight_squares(weight, known.weights_mut());
        }
        let channels: [Channels<'_>; MAX_PANELS] =
            std::array::from_fn(|panel| Channels::of(&linear, first + panel.min(T::PANELS - 1) * LANES));
        for (index, (row, count)) in tile_blocks::<T>(rows).enumerate() {
            let chains = known.as_ref().map(|known| known.pair(row / 2));
            // The first tiles of these channels fetch a panel each of the next channels' weights; the last have nothing left.
            let prefetch = weight.as_ptr().wrapping_add((T::PANELS + index.min(T::PANELS - 1)) * LANES * kp);
            let end = (row + count).next_multiple_of(T::TOGETHER);
            let a = input[row * row_bytes..end * row_bytes].as_ptr();
            let (w, out) = (weight.as_ptr(), sums.as_flattened_mut().as_mut_ptr());
            // SAFETY: `a` has `count` rows of `row_bytes` and those that stand with them, `weight` has PANELS panels of 16 * kp bytes, `sums` has
            // MAX_TILE_ROWS >= count rows; kp is a multiple of 64, so kp / 4 is one of 16; `chains` are of these rows and this panel;
            // features are the caller's promise.
            unsafe {
                dispatch(t, count, T::PANELS, a, row_bytes, w, LANES * kp, kp / 4, out, TILE_STRIDE, prefetch, chains);
            }
            for panel in 0..T::PANELS {
                let channel = first + panel * LANES;
                let scales = &input_scales[row..row + count];
                let output = PanelOutput { rows: &mut output[row * output_stride + channel..], stride: output_stride };
                finish_panel(t, channels[panel], (&sums, panel * LANES), scales, output, activation);
            }
        }
    }
}

/// Where a panel's outputs go: rows `stride` apart, the first 16 of each.
pub(crate) struct PanelOutput<'a> {
    pub rows: &'a mut [f32],
    pub stride: usize,
}

/// What the epilogue needs of 16 output channels.
#[derive(Clone, Copy)]
pub(crate) struct Channels<'a> {
    sums: &'a [i32; LANES],
    scales: &'a [f32; LANES],
    bias: &'a [f32; LANES],
}

impl<'a> Channels<'a> {
    /// The 16 from `channel` on.
    #[inline(always)]
    pub(crate) fn of(linear: &LinearI8<'a>, channel: usize) -> Self {
        Self {
            sums: chunk(linear.sums, channel),
            scales: chunk(linear.scales, channel),
            bias: chunk(linear.bias, channel),
        }
    }
}

/// The sums of 16 channels to outputs: one row for each input scale. They stand in the sums' rows from the given column on.
#[inline(always)]
pub(crate) fn finish_panel<T: Int8Tile>(
    t: T,
    channels: Channels<'_>,
    sums: (&[[i32; TILE_STRIDE]], usize),
    input_scales: &[f32],
    output: PanelOutput<'_>,
    activation: Activation,
) {
    match activation {
        Activation::None => epilogue::<T, NONE>(t, sums, input_scales, channels, output),
        Activation::Gelu => epilogue::<T, GELU>(t, sums, input_scales, channels, output),
        Activation::Tanh => epilogue::<T, TANH>(t, sums, input_scales, channels, output),
    }
}

const NONE: u8 = 0;
const GELU: u8 = 1;
const TANH: u8 = 2;

/// Sums of 16 channels to outputs, row after row, the channels' numbers in registers. ACTIVATION is a constant so that the
/// loop has no branch.
#[inline(always)]
fn epilogue<T: Int8Tile, const ACTIVATION: u8>(
    t: T,
    (sums, at): (&[[i32; TILE_STRIDE]], usize),
    input_scales: &[f32],
    channels: Channels<'_>,
    output: PanelOutput<'_>,
) {
    let s = t.simd();
    let (channel_sums, channel_scales, bias) =
        (s.load_i32(channels.sums), s.load(channels.scales), s.load(channels.bias));
    for (r, (&input_scale, sums)) in input_scales.iter().zip(sums).enumerate() {
        let mut acc = s.load_i32(chunk(sums, at));
        if T::READS.subtracts_sums() {
            acc = s.sub_i32(acc, channel_sums);
        }
        let scale = s.mul(s.splat(input_scale), channel_scales);
        let y = s.mul_add(s.to_f32(acc), scale, bias);
        let y = match ACTIVATION {
            GELU => math::gelu_coarse(s, y),
            TANH => math::tanh(s, y),
            _ => y,
        };
        s.store(y, output.rows[r * output.stride..].first_chunk_mut().expect("rows hold whole panels"));
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

/// Calls the tile of `rows` rows and `panels` panels.
///
/// # Safety
/// As [`Int8Tile::tile`] with R = `rows` and P = `panels`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the tile's own arguments")]
pub(crate) unsafe fn dispatch<T: Int8Tile>(
    t: T,
    rows: usize,
    panels: usize,
    a: *const u8,
    a_stride: usize,
    w: *const i8,
    w_stride: usize,
    groups: usize,
    out: *mut i32,
    out_stride: usize,
    prefetch: *const i8,
    chains: Option<Chains<'_>>,
) {
    macro_rules! arms {
        ($p:literal: $($r:literal)*) => {
            match rows {
                // SAFETY: the caller's contract, for these numbers of rows and panels.
                $($r if $r <= T::ROWS => unsafe {
                    t.tile::<$r, $p>(a, a_stride, w, w_stride, groups, out, out_stride, prefetch, chains)
                },)*
                _ => unreachable!("a tile has 1 to ROWS rows"),
            }
        };
    }
    match panels {
        3 if T::PANELS >= 3 => arms!(3: 12 11 10 9 8 7 6 5 4 3 2 1),
        2 if T::PANELS >= 2 => arms!(2: 12 11 10 9 8 7 6 5 4 3 2 1),
        _ => arms!(1: 12 11 10 9 8 7 6 5 4 3 2 1),
    }
}
