//! Matrix products whose operands are rounded to bfloat16: twice the multiplications of f32 on a CPU that has AVX512-BF16.
//!
//! Products and sums are f32. Operands are f32 in memory and are rounded while they are packed, so that nothing around a
//! product changes. Packed, 16 rows of the left operand (or columns of the right one) lie side by side in a *line* of 16
//! pairs, a pair being two neighbours of the inner dimension: what `vdpbf16ps` multiplies and adds in one lane.

use super::Buffer;
use super::matrix::{self, Matrix};

/// `dst = a b`, or `dst += a b`, with a and b rounded to bfloat16 (to nearest, ties to even); dst has rows `stride` apart. One
/// thread, as [`matrix::multiply`].
pub(crate) fn multiply(dst: &mut [f32], stride: usize, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(native) = x86::Native::detect() {
        return native.multiply(dst, stride, accumulate, a, b);
    }
    reference(dst, stride, accumulate, a, b);
}

/// The definition, and what other CPUs run: rounded copies, multiplied in f32.
pub(crate) fn reference(dst: &mut [f32], stride: usize, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
    let (a_rounded, b_rounded) = (rounded(a), rounded(b));
    let a = Matrix::new(&a_rounded, a.rows(), a.columns(), a.columns());
    let b = Matrix::new(&b_rounded, b.rows(), b.columns(), b.columns());
    matrix::multiply(dst, stride, accumulate, 1.0, a, b);
}

/// A rounded copy, row by row.
fn rounded(matrix: Matrix<'_>) -> Buffer {
    let mut out = Buffer::stale(matrix.rows() * matrix.columns());
    if matrix.columns() > 0 {
        for (row, out) in out.chunks_exact_mut(matrix.columns()).enumerate() {
            for (column, out) in out.iter_mut().enumerate() {
                *out = half::bf16::from_f32(matrix.at(row, column)).to_f32();
            }
        }
    }
    out
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::cell::RefCell;

    use super::super::matrix::Matrix;

    /// Rows (or columns) of a panel, and pairs of a line.
    const PANEL: usize = 16;
    /// Rows of a tile. With three panels of columns that is 24 sums in registers, enough to hide the latency.
    const TILE_ROWS: usize = 8;
    /// Panels of columns of a tile.
    const TILE_PANELS: usize = 3;
    /// Inner elements packed at a time: 256 packed rows are 256 KiB, which fits the second-level cache beside three panels.
    const INNER: usize = 512;

    /// 16 pairs of bfloat16 at one place of the inner dimension.
    #[derive(Clone, Copy)]
    #[repr(C, align(64))]
    struct Line([u32; PANEL]);

    thread_local! {
        static PACKED: RefCell<[Vec<Line>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    }

    /// A CPU with AVX512-BF16.
    #[derive(Clone, Copy)]
    pub(super) struct Native(());

    impl Native {
        pub(super) fn detect() -> Option<Self> {
            use std::arch::is_x86_feature_detected as has;
            let all = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512bf16");
            all.then_some(Self(()))
        }

        pub(super) fn multiply(self, dst: &mut [f32], stride: usize, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
            assert_eq!(a.columns(), b.rows(), "inner dimensions of a product");
            let (m, n, k) = (a.rows(), b.columns(), a.columns());
            if m == 0 || n == 0 {
                return;
            }
            assert!(
                (m - 1) * stride + n <= dst.len() && n <= stride.max(n),
                "product of {m} x {n} beyond its destination"
            );
            if k == 0 && !accumulate {
                dst.chunks_mut(stride.max(n)).take(m).for_each(|row| row[..n].fill(0.0));
            }
            PACKED.with_borrow_mut(|[left, right]| {
                for first in (0..k).step_by(INNER) {
                    let inner = INNER.min(k - first);
                    let pairs = inner.div_ceil(2);
                    let accumulate = accumulate || first > 0;
                    self.pack(a.t(), 0..m, first..first + inner, left);
                    for column in (0..n).step_by(TILE_PANELS * PANEL) {
                        let columns = (TILE_PANELS * PANEL).min(n - column);
                        self.pack(b, column..column + columns, first..first + inner, right);
                        for row in (0..m).step_by(TILE_ROWS) {
                            let (panel, half) = (row / PANEL, row % PANEL);
                            let tile = Tile {
                                left: &left[panel * pairs..][..pairs],
                                half,
                                right,
                                rows: TILE_ROWS.min(m - row),
                                columns,
                                stride,
                                accumulate,
                            };
                            let dst = &mut dst[row * stride + column..];
                            // SAFETY: `self` exists, so the CPU has the features.
                            unsafe {
                                match columns.div_ceil(PANEL) {
                                    1 => tile.run::<1>(dst),
                                    2 => tile.run::<2>(dst),
                                    _ => tile.run::<TILE_PANELS>(dst),
                                }
                            }
                        }
                    }
                }
            });
        }

        /// Packs columns `outer` and rows `inner` of a matrix into panels of 16 columns, a line for each pair of rows; what is
        /// beyond is zero.
        fn pack(
            self,
            matrix: Matrix<'_>,
            outer: std::ops::Range<usize>,
            inner: std::ops::Range<usize>,
            out: &mut Vec<Line>,
        ) {
            let pairs = inner.len().div_ceil(2);
            let panels = outer.len().div_ceil(PANEL);
            out.resize(out.len().max(panels * pairs), Line([0; PANEL]));
            let lines = out[..panels * pairs].chunks_exact_mut(pairs);
            for (first, lines) in outer.clone().step_by(PANEL).zip(lines) {
                let count = PANEL.min(outer.end - first);
                // SAFETY: `self` exists, so the CPU has the features.
                unsafe {
                    match matrix.strides() {
                        (_, 1) => interleave(matrix, first, count, inner.clone(), lines),
                        (1, _) => transpose(matrix, first, count, inner.clone(), lines),
                        strides => unreachable!("a matrix of strides {strides:?}: one of them is 1"),
                    }
                }
            }
        }
    }

    /// The lowest `count` lanes.
    fn lanes(count: usize) -> __mmask16 {
        ((1u32 << count.min(16)) - 1) as __mmask16
    }

    /// Rows of the matrix are contiguous: two of them make the low and high halves of a line's pairs.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn interleave(matrix: Matrix<'_>, column: usize, count: usize, rows: std::ops::Range<usize>, lines: &mut [Line]) {
        let mask = lanes(count);
        let load = |row: usize| {
            if row >= rows.end {
                return _mm512_setzero_si512();
            }
            let values = matrix.row(row, column, count);
            // SAFETY: the mask has as many lanes as `values` has elements.
            let values = unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) };
            // SAFETY: both are 16 elements of 16 bits.
            let rounded = unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) };
            _mm512_cvtepu16_epi32(rounded)
        };
        for (pair, line) in lines.iter_mut().enumerate() {
            let row = rows.start + 2 * pair;
            let both = _mm512_or_si512(load(row), _mm512_slli_epi32::<16>(load(row + 1)));
            // SAFETY: a line is 64 aligned bytes.
            unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), both) };
        }
    }

    /// Columns of the matrix are contiguous: 16 columns of 32 rows are 16 x 16 pairs, which are transposed.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn transpose(matrix: Matrix<'_>, column: usize, count: usize, rows: std::ops::Range<usize>, lines: &mut [Line]) {
        for (block, lines) in lines.chunks_mut(PANEL).enumerate() {
            let row = rows.start + 2 * PANEL * block;
            let here = (rows.end - row).min(2 * PANEL);
            let mut r = [_mm512_setzero_si512(); PANEL];
            for (i, r) in r.iter_mut().enumerate().take(count) {
                let values = matrix.t().row(column + i, row, here);
                let (low, high) = values.split_at(here.min(PANEL));
                // SAFETY: each mask has as many lanes as its slice has elements.
                let (low, high) = unsafe {
                    (
                        _mm512_maskz_loadu_ps(lanes(low.len()), low.as_ptr()),
                        _mm512_maskz_loadu_ps(lanes(high.len()), high.as_ptr()),
                    )
                };
                // SAFETY: both are 512 bits.
                *r = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
            }
            let mut t = [_mm512_setzero_si512(); PANEL];
            for i in 0..PANEL / 2 {
                t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
            }
            // Of four rows each, u[4g + c] has the columns c, 4 + c, 8 + c and 12 + c in its four lanes of 128 bits.
            for g in 0..4 {
                let [a, b, c, d] = [t[4 * g], t[4 * g + 1], t[4 * g + 2], t[4 * g + 3]];
                r[4 * g] = _mm512_unpacklo_epi64(a, c);
                r[4 * g + 1] = _mm512_unpackhi_epi64(a, c);
                r[4 * g + 2] = _mm512_unpacklo_epi64(b, d);
                r[4 * g + 3] = _mm512_unpackhi_epi64(b, d);
            }
            for c in 0..4 {
                let [a, b, d, e] = [r[c], r[4 + c], r[8 + c], r[12 + c]];
                let even = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(d, e)];
                let odd = [_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(d, e)];
                t[c] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
                t[4 + c] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
                t[8 + c] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
                t[12 + c] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
            }
            for (line, t) in lines.iter_mut().zip(t) {
                // SAFETY: a line is 64 aligned bytes.
                unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), t) };
            }
        }
    }

    /// 16 pairs as what the product takes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pairs_of(lanes: __m512i) -> __m512bh {
        // SAFETY: both are 512 bits without a rule for them.
        unsafe { std::mem::transmute::<__m512i, __m512bh>(lanes) }
    }

    /// Up to 8 rows by up to 48 columns of a product.
    struct Tile<'a> {
        /// A panel of 16 rows, of which those from `half` on are used.
        left: &'a [Line],
        half: usize,
        /// Panels of columns, one after the other.
        right: &'a [Line],
        rows: usize,
        columns: usize,
        stride: usize,
        accumulate: bool,
    }

    impl Tile<'_> {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        fn run<const PANELS: usize>(&self, dst: &mut [f32]) {
            let pairs = self.left.len();
            assert!(self.half + TILE_ROWS <= PANEL && self.right.len() >= PANELS * pairs);
            let mut sums = [[_mm512_setzero_ps(); PANELS]; TILE_ROWS];
            let (left, right) = (self.left.as_ptr(), self.right.as_ptr());
            for pair in 0..pairs {
                let mut columns = [_mm512_setzero_si512(); PANELS];
                for (p, columns) in columns.iter_mut().enumerate() {
                    // SAFETY: within `right`, whose length was checked above; lines are aligned.
                    *columns = unsafe { _mm512_load_si512(right.add(p * pairs + pair).cast()) };
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: `pair` is below the number of lines, and half + r below 16.
                    let row = unsafe { *left.add(pair).cast::<u32>().add(self.half + r) };
                    let row = pairs_of(_mm512_set1_epi32(row as i32));
                    for (sum, columns) in sums.iter_mut().zip(columns) {
                        *sum = _mm512_dpbf16_ps(*sum, row, pairs_of(columns));
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate().take(self.rows) {
                for (p, &sum) in sums.iter().enumerate() {
                    let count = (self.columns - p * PANEL).min(PANEL);
                    let (mask, out) = (lanes(count), &mut dst[r * self.stride + p * PANEL..][..count]);
                    let mut sum = sum;
                    // SAFETY: the mask has as many lanes as `out` has elements.
                    unsafe {
                        if self.accumulate {
                            sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, out.as_ptr()));
                        }
                        _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, sum);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
