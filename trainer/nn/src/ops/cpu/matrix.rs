//! Matrix products on slices.

/// A read-only matrix inside a slice.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` x `columns` with rows `stride` apart.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let this = Self { data, rows, columns, row_stride: stride, column_stride: 1 };
        assert!(
            this.span() <= data.len(),
            "matrix {rows} x {columns}, stride {stride}, beyond its {} elements",
            data.len()
        );
        this
    }

    /// The transpose, without a copy.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// How far apart neighbours of a column and of a row lie; one of them is 1.
    pub(crate) fn strides(&self) -> (usize, usize) {
        (self.row_stride, self.column_stride)
    }

    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.row_stride + column * self.column_stride]
    }

    /// `count` neighbours of a row that is contiguous.
    pub(crate) fn row(&self, row: usize, column: usize, count: usize) -> &'a [f32] {
        debug_assert_eq!(self.column_stride, 1, "a contiguous row");
        debug_assert!(column + count <= self.columns, "{count} of {} columns from {column} on", self.columns);
        &self.data[row * self.row_stride + column..][..count]
    }

    fn span(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1
    }
}

/// `dst = scale * a b`, or `dst += scale * a b`; dst has rows `stride` apart. One thread: callers share rows out themselves.
pub(crate) fn multiply(dst: &mut [f32], stride: usize, accumulate: bool, scale: f32, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(a.columns, b.rows, "inner dimensions of a product");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * stride + n <= dst.len() && n <= stride.max(n), "product of {m} x {n} beyond its destination");
    let first = if accumulate { 1.0 } else { 0.0 };
    // SAFETY: every element that the three strided accesses touch lies within its slice: `Matrix::new` and the assertion
    // above checked the last one of each, strides are not negative, and dst is borrowed mutably, so nothing overlaps it.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            first,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
