//! Memory that threads of one phase use in different places.

use std::marker::PhantomData;
use std::ops::Range;

/// f32 values that tasks of one phase read and write in different places.
#[derive(Clone, Copy)]
pub(crate) struct SharedRows<'a> {
    at: *mut f32,
    length: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: every access is through `unsafe` functions whose callers promise that no two overlap.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    pub(crate) fn new(values: &'a mut [f32]) -> Self {
        Self { at: values.as_mut_ptr(), length: values.len(), lifetime: PhantomData }
    }

    /// Values that are only read: nobody may write to them through this.
    pub(crate) fn read_only(values: &'a [f32]) -> Self {
        Self { at: values.as_ptr().cast_mut(), length: values.len(), lifetime: PhantomData }
    }

    fn check(&self, range: &Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.length, "{range:?} of {}", self.length);
    }

    /// # Safety
    /// Nothing writes these values while the slice is in use.
    pub(crate) unsafe fn read(&self, range: Range<usize>) -> &'a [f32] {
        self.check(&range);
        // SAFETY: within the values, which live for 'a; the caller's contract.
        unsafe { std::slice::from_raw_parts(self.at.add(range.start), range.len()) }
    }

    /// # Safety
    /// Nothing else reads or writes these values while the slice is in use, and they are not [`SharedRows::read_only`].
    pub(crate) unsafe fn write(&self, range: Range<usize>) -> &'a mut [f32] {
        self.check(&range);
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(range.start), range.len()) }
    }

    /// Where the range begins; for writing parts of it.
    pub(crate) fn pointer(&self, range: Range<usize>) -> *mut f32 {
        self.check(&range);
        self.at.wrapping_add(range.start)
    }
}
