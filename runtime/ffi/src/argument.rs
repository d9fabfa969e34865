//! Checking what comes in from C.

use std::ffi::{CStr, c_char};

use crate::status::{Failure, Result, Status};

/// `attar_text`: borrowed UTF-8.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Text {
    /// The first byte; may be null if `length` is 0.
    pub data: *const c_char,
    /// Bytes.
    pub length: usize,
}

impl Text {
    /// Text that ends where nothing begins.
    pub const EMPTY: Self = Self { data: std::ptr::null(), length: 0 };

    /// Hands out text of a handle.
    #[cfg(feature = "library")]
    pub(crate) fn lend(text: &str) -> Self {
        Self { data: text.as_ptr().cast(), length: text.len() }
    }

    /// Borrows text of the caller; `name` is what errors call it.
    ///
    /// # Safety
    ///
    /// `data` is null or points to `length` bytes that stay as they are for `'a`.
    pub(crate) unsafe fn borrow<'a>(self, name: impl std::fmt::Display) -> Result<&'a str> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { slice(self.data.cast::<u8>(), self.length, &name) }?;
        std::str::from_utf8(bytes)
            .map_err(|error| Failure::new(Status::Utf8, format!("{name}: not UTF-8 at byte {}", error.valid_up_to())))
    }
}

fn check<T>(pointer: *const T, name: &dyn std::fmt::Display) -> Result<()> {
    if pointer.is_null() {
        return Err(Failure::argument(format!("{name} is NULL")));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(format!("{name} is not aligned to {} bytes", align_of::<T>())));
    }
    Ok(())
}

fn check_slice<T>(pointer: *const T, length: usize, name: &dyn std::fmt::Display) -> Result<()> {
    // More than this many bytes are no array; `length` was something else, such as -1.
    if length.checked_mul(size_of::<T>().max(1)).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Failure::argument(format!("{name}: a length of {length} is out of range")));
    }
    check(pointer, name)
}

/// Borrows an array; null if it is empty is fine.
///
/// # Safety
///
/// `pointer` is null or points to `length` values that stay as they are for `'a`.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, length: usize, name: &dyn std::fmt::Display) -> Result<&'a [T]> {
    if length == 0 {
        return Ok(&[]);
    }
    check_slice(pointer, length, name)?;
    // SAFETY: not null, aligned, of a possible size; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Borrows an output buffer that must hold `expected` values.
///
/// # Safety
///
/// `pointer` is null or points to `length` values that nobody else uses during `'a`.
pub(crate) unsafe fn output<'a, T>(pointer: *mut T, length: usize, expected: usize, name: &str) -> Result<&'a mut [T]> {
    if length != expected {
        return Err(Failure::new(Status::Buffer, format!("{name} holds {length} values, expected {expected}")));
    }
    if length == 0 {
        return Ok(&mut []);
    }
    check_slice(pointer, length, &name)?;
    // SAFETY: not null, aligned, of a possible size; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

/// Borrows a NUL-terminated string.
///
/// # Safety
///
/// `pointer` is null or points to a NUL-terminated string that stays as it is for `'a`.
pub(crate) unsafe fn string<'a>(pointer: *const c_char, name: impl std::fmt::Display) -> Result<&'a str> {
    check(pointer, &name)?;
    // SAFETY: not null; the rest is the caller's promise.
    let string = unsafe { CStr::from_ptr(pointer) };
    string
        .to_str()
        .map_err(|error| Failure::new(Status::Utf8, format!("{name}: not UTF-8 at byte {}", error.valid_up_to())))
}

/// Borrows what a handle points to.
///
/// # Safety
///
/// `handle` is null or was made by [`Out::set`] and is not destroyed during `'a`.
pub(crate) unsafe fn handle<'a, T>(handle: *const T, name: &str) -> Result<&'a T> {
    check(handle, &name)?;
    // SAFETY: not null and aligned; the rest is the caller's promise.
    Ok(unsafe { &*handle })
}

/// Where a new handle goes; null until there is one.
pub(crate) struct Out<'a, T>(&'a mut *mut T);

impl<'a, T> Out<'a, T> {
    /// Takes an `out` parameter and sets it to null.
    ///
    /// # Safety
    ///
    /// `out` is null or points to a pointer that nobody else uses during `'a`.
    pub unsafe fn new(out: *mut *mut T) -> Result<Self> {
        check(out, &"out")?;
        // SAFETY: not null and aligned; written before it is read, so that it need not be initialised.
        unsafe { out.write(std::ptr::null_mut()) };
        // SAFETY: as above, and initialised now.
        Ok(Self(unsafe { &mut *out }))
    }

    /// Gives the handle away.
    pub fn set(self, value: T) {
        *self.0 = Box::into_raw(Box::new(value));
    }
}

/// Ends a handle and sets it to null. Panics of its destructor end here.
///
/// # Safety
///
/// `handle` is null or points to null or to a handle made by [`Out::set`] that nobody uses any more.
pub(crate) unsafe fn destroy<T>(handle: *mut *mut T) {
    crate::status::value((), || {
        if handle.is_null() {
            return Ok(());
        }
        check(handle, &"the handle's address")?;
        // SAFETY: not null and aligned; the rest is the caller's promise.
        let pointer = unsafe { std::mem::replace(&mut *handle, std::ptr::null_mut()) };
        if !pointer.is_null() {
            check(pointer, &"the handle")?;
            // SAFETY: `Out::set` made it from a box, and this is the only time that it is taken back.
            drop(unsafe { Box::from_raw(pointer) });
        }
        Ok(())
    });
}

/// A structure that begins with `struct_size` and may grow.
///
/// # Safety
///
/// `repr(C)`, the first member is a `usize`, and every bit pattern is a valid value.
pub(crate) unsafe trait Versioned: Copy {
    /// Its name in C.
    const NAME: &'static str;
    /// Its size in the first version that had it: no program has a smaller one. When a member is added, this stays.
    const FIRST_SIZE: usize;
    /// What members have that a program does not know.
    const DEFAULT: Self;
}

/// No structure grows to this size; a `struct_size` beyond it was never set.
const MAX_STRUCT_SIZE: usize = 4096;

/// # Safety
///
/// `pointer` points to a `usize`.
unsafe fn struct_size<T: Versioned>(pointer: *const T) -> Result<usize> {
    check(pointer, &T::NAME)?;
    // SAFETY: not null, aligned at least as a usize, which is the first member.
    let size = unsafe { pointer.cast::<usize>().read() };
    if !(T::FIRST_SIZE..=MAX_STRUCT_SIZE).contains(&size) {
        return Err(Failure::argument(format!(
            "{}: struct_size is {size}, expected sizeof({}), which is {} here",
            T::NAME,
            T::NAME,
            size_of::<T>()
        )));
    }
    Ok(size)
}

/// Reads a structure of the caller's version.
///
/// # Safety
///
/// `pointer` is null or points to as many bytes as its first member says.
pub(crate) unsafe fn read<T: Versioned>(pointer: *const T) -> Result<T> {
    // SAFETY: the caller's promise.
    let size = unsafe { struct_size(pointer) }?;
    let mut value = T::DEFAULT;
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes lie in both, and every bit pattern is valid.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast(), known) };
    if size > known {
        // SAFETY: the caller promises `size` bytes.
        let unknown = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>().add(known), size - known) };
        if unknown.iter().any(|&byte| byte != 0) {
            let message =
                format!("{}: a member is set that version {} does not know", T::NAME, env!("CARGO_PKG_VERSION"));
            return Err(Failure::new(Status::Unavailable, message));
        }
    }
    Ok(value)
}

/// As [`read`], with null for the defaults.
///
/// # Safety
///
/// As [`read`].
pub(crate) unsafe fn read_or_default<T: Versioned>(pointer: *const T) -> Result<T> {
    if pointer.is_null() {
        return Ok(T::DEFAULT);
    }
    // SAFETY: the caller's promise.
    unsafe { read(pointer) }
}

/// Writes as much of a structure as the caller knows, and leaves its `struct_size` as it is.
///
/// # Safety
///
/// `pointer` is null or points to as many writable bytes as its first member says.
#[cfg(feature = "library")]
pub(crate) unsafe fn write<T: Versioned>(pointer: *mut T, value: T) -> Result<()> {
    // SAFETY: the caller's promise.
    let size = unsafe { struct_size(pointer) }?;
    let known = size.min(size_of::<T>());
    let first = size_of::<usize>();
    // SAFETY: bytes `first..known` lie in both.
    unsafe {
        let from = (&raw const value).cast::<u8>().add(first);
        std::ptr::copy_nonoverlapping(from, pointer.cast::<u8>().add(first), known - first);
    }
    Ok(())
}

/// A reserved member must be 0, so that it can mean something one day.
pub(crate) fn unused(reserved: u32, name: &str) -> Result<()> {
    match reserved {
        0 => Ok(()),
        other => Err(Failure::argument(format!("{name}: reserved is {other}, expected 0"))),
    }
}
