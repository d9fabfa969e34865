//! Working memory that grows to the largest call and is then reused.

use std::marker::PhantomData;

use crate::team::Team;

/// One cache line; the arena's unit, so that every buffer in it begins on a 64-byte boundary.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; 16]);

/// Working memory of a caller, and the threads that help it: one arena, allocated on the first calls and reused by later ones.
///
/// Nothing is kept in it between calls. One `Scratch` serves any kernel, layer and batch, one call at a time.
#[derive(Debug, Default)]
pub struct Scratch {
    lines: Vec<Line>,
    team: Team,
}

impl Scratch {
    /// An empty arena, and no helping thread.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty arena, and up to `threads` - 1 helping threads (fewer where the system refuses them), which sleep between calls.
    ///
    /// Results do not depend on their number.
    pub fn with_threads(threads: usize) -> Self {
        Self { lines: Vec::new(), team: Team::new(threads) }
    }

    /// Threads that a call may use, the caller's included.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// An allocator over the whole arena, which first grows to the bytes that `size` asks for so many threads (rounded up to
    /// lines); and the team.
    pub(crate) fn arena(&mut self, size: impl Fn(usize) -> usize) -> (Arena<'_>, &mut Team) {
        let lines = size(self.team.threads()).div_ceil(size_of::<Line>());
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0.0; 16]));
        }
        (Arena { rest: &mut self.lines }, &mut self.team)
    }
}

/// Hands out disjoint pieces of a [`Scratch`]. Their contents are whatever an earlier call left.
pub(crate) struct Arena<'a> {
    rest: &'a mut [Line],
}

/// Equal parts of an arena, one for each thread of a team.
pub(crate) struct Spaces<'a> {
    at: *mut Line,
    /// Lines of each part, and parts.
    each: usize,
    count: usize,
    lifetime: PhantomData<&'a mut [Line]>,
}

// SAFETY: parts are disjoint, and `take`'s callers promise that nobody has the same one at the same time.
unsafe impl Sync for Spaces<'_> {}

impl Spaces<'_> {
    /// The part of that number.
    ///
    /// # Safety
    /// What was taken before from the part of that number is no longer in use.
    pub(crate) unsafe fn take(&self, number: usize) -> Arena<'_> {
        assert!(number < self.count, "a space for each thread");
        // SAFETY: parts lie within the arena, which is exclusively ours for the lifetime; the caller's contract.
        Arena { rest: unsafe { std::slice::from_raw_parts_mut(self.at.add(number * self.each), self.each) } }
    }
}

impl<'a> Arena<'a> {
    /// Bytes that `count` floats take.
    pub(crate) const fn floats_size(count: usize) -> usize {
        count.div_ceil(16) * size_of::<Line>()
    }

    /// Bytes that `count` bytes take.
    pub(crate) const fn bytes_size(count: usize) -> usize {
        count.div_ceil(64) * size_of::<Line>()
    }

    /// The same memory again, for a while.
    pub(crate) fn reborrow(&mut self) -> Arena<'_> {
        Arena { rest: &mut *self.rest }
    }

    /// `count` parts of `bytes` each.
    ///
    /// # Panics
    /// When the arena was made too small: a bug of the caller.
    pub(crate) fn cut(mut self, count: usize, bytes: usize) -> Spaces<'a> {
        let each = bytes.div_ceil(size_of::<Line>());
        let lines = self.lines(count * each);
        Spaces { at: lines.as_mut_ptr(), each, count, lifetime: PhantomData }
    }

    fn lines(&mut self, count: usize) -> &'a mut [Line] {
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut(count);
        self.rest = rest;
        taken
    }

    /// `count` floats.
    ///
    /// # Panics
    /// When the arena was made too small: a bug of the caller.
    pub(crate) fn floats(&mut self, count: usize) -> &'a mut [f32] {
        let lines = self.lines(count.div_ceil(16));
        // SAFETY: `Line` is `repr(C)` and holds exactly 16 f32 without padding; `lines` is exclusively ours for 'a and
        // `count` is at most 16 times its length.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), count) }
    }

    /// `count` integers.
    ///
    /// # Panics
    /// When the arena was made too small: a bug of the caller.
    pub(crate) fn ints(&mut self, count: usize) -> &'a mut [i32] {
        let lines = self.lines(count.div_ceil(16));
        // SAFETY: as above; i32 has f32's size and alignment, and any bytes are valid values of both.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<i32>(), count) }
    }

    /// `count` bytes.
    ///
    /// # Panics
    /// When the arena was made too small: a bug of the caller.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a mut [u8] {
        let lines = self.lines(count.div_ceil(64));
        // SAFETY: as above, with 64 initialised bytes a line; any bytes are valid f32, so writing through u8 is fine.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<u8>(), count) }
    }
}
