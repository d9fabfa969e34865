//! `attar_model`.

use std::ffi::{CString, c_char, c_void};

use crate::argument::{self, Out, Versioned};
use crate::status::{Failure, Result, Status, status, value};

/// `attar_model`: a student, and its names in C's form.
pub struct Model {
    pub(crate) model: attar::Model,
    heads: Vec<Head>,
}

struct Head {
    name: CString,
    labels: Vec<CString>,
}

/// `attar_model_options`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ModelOptions {
    /// `sizeof(attar_model_options)`.
    pub struct_size: usize,
    /// Whether checksums are checked too.
    pub verify: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), begins with a usize, integers only.
unsafe impl Versioned for ModelOptions {
    const NAME: &'static str = "attar_model_options";
    const FIRST_SIZE: usize = size_of::<usize>() + 8;
    const DEFAULT: Self = Self { struct_size: size_of::<Self>(), verify: 0, reserved: 0 };
}

impl Model {
    /// Wraps an opened model, after its checksums were found right if that is asked for.
    pub(crate) fn new(model: attar::Model, verify: bool) -> Result<Self> {
        if verify {
            model.verify()?;
        }
        // Names come from a bundle that was checked; a NUL in one would only cut it short.
        let string = |text: &str| CString::new(text.replace('\0', " ")).unwrap_or_default();
        let heads = model
            .heads()
            .iter()
            .map(|head| Head {
                name: string(&head.name),
                labels: head.labels.iter().map(|label| string(label)).collect(),
            })
            .collect();
        Ok(Self { model, heads })
    }

    /// The model that is compiled in.
    pub(crate) fn compiled_in(verify: bool) -> Result<Self> {
        #[cfg(any(feature = "default-bundle", feature = "small-bundle"))]
        if let Some(bundle) = attar_models::default() {
            return Self::new(attar::Model::from_static(bundle.bytes)?, verify);
        }
        let _ = verify;
        Err(Failure::new(
            Status::Unavailable,
            "this build has no bundle in it (features \"default-bundle\" and \"small-bundle\")",
        ))
    }

    fn head(&self, head: usize) -> Result<&Head> {
        self.heads
            .get(head)
            .ok_or_else(|| Failure::argument(format!("head {head}: the model has {} heads", self.heads.len())))
    }
}

/// # Safety
///
/// As [`argument::read`].
unsafe fn verify(options: *const ModelOptions) -> Result<bool> {
    // SAFETY: the caller's promise.
    let options = unsafe { argument::read_or_default(options) }?;
    argument::unused(options.reserved, ModelOptions::NAME)?;
    match options.verify {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Failure::argument(format!("attar_model_options: verify is {other}, expected 0 or 1"))),
    }
}

/// Maps a bundle; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers, and the file is not truncated while the model is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_model_open(
    path: *const c_char,
    options: *const ModelOptions,
    out: *mut *mut Model,
) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let out = unsafe { Out::new(out) }?;
        // SAFETY: as above.
        let path = unsafe { argument::string(path, "path") }?;
        // SAFETY: as above.
        let verify = unsafe { verify(options) }?;
        out.set(Model::new(attar::Model::open(path)?, verify)?);
        Ok(())
    })
}

/// Memory of the caller's, given back when the last user is gone.
struct Lent {
    data: *const u8,
    length: usize,
    release: Option<(extern "C" fn(*mut c_void), *mut c_void)>,
}

// SAFETY: the bytes are only read, and `attar.h` says that `release` may be called from any thread.
unsafe impl Send for Lent {}
// SAFETY: shared access only reads bytes that do not change.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `attar_model_from_memory` checked pointer and length; the caller promised that the bytes stay until `release`.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((release, context)) = self.release.take() {
            release(context);
        }
    }
}

/// What `release` waits for: until the model is there, the memory is still the caller's.
struct Pending(std::sync::Arc<Slot>);

/// The memory behind [`Pending`], and whether it has changed hands.
struct Slot {
    lent: Lent,
    taken: std::sync::atomic::AtomicBool,
}

impl AsRef<[u8]> for Pending {
    fn as_ref(&self) -> &[u8] {
        self.0.lent.as_ref()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !*self.taken.get_mut() {
            self.lent.release = None;
        }
    }
}

/// Opens a bundle in memory; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers; the bytes stay valid and unchanged until `release` is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_model_from_memory(
    data: *const c_void,
    length: usize,
    release: Option<extern "C" fn(*mut c_void)>,
    context: *mut c_void,
    options: *const ModelOptions,
    out: *mut *mut Model,
) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let out = unsafe { Out::new(out) }?;
        // SAFETY: as above.
        let verify = unsafe { verify(options) }?;
        let data = data.cast::<u8>();
        // SAFETY: as above.
        let bytes = unsafe { argument::slice(data, length, &"data") }?;
        if bytes.is_empty() {
            return Err(Failure::new(Status::Model, "data: 0 bytes are no bundle"));
        }
        let release = release.map(|release| (release, context));
        let slot = std::sync::Arc::new(Slot { lent: Lent { data, length, release }, taken: false.into() });
        let model = attar::Model::from_bytes(Pending(slot.clone()))?;
        let model = Model::new(model, verify)?;
        slot.taken.store(true, std::sync::atomic::Ordering::Release);
        out.set(model);
        Ok(())
    })
}

/// Opens the bundle that is compiled in; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_model_default(options: *const ModelOptions, out: *mut *mut Model) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let out = unsafe { Out::new(out) }?;
        // SAFETY: as above.
        let verify = unsafe { verify(options) }?;
        out.set(Model::compiled_in(verify)?);
        Ok(())
    })
}

/// Ends a model; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_model_destroy(model: *mut *mut Model) {
    // SAFETY: the caller's promise.
    unsafe { argument::destroy(model) }
}

/// The number of heads; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_model_head_count(model: *const Model) -> usize {
    // SAFETY: the caller's promise.
    value(0, || Ok(unsafe { argument::handle(model, "model") }?.heads.len()))
}

/// The name of a head; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_model_head(model: *const Model, head: usize) -> *const c_char {
    // SAFETY: the caller's promise.
    value(std::ptr::null(), || Ok(unsafe { argument::handle(model, "model") }?.head(head)?.name.as_ptr()))
}

/// The number of labels of a head; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_model_label_count(model: *const Model, head: usize) -> usize {
    // SAFETY: the caller's promise.
    value(0, || Ok(unsafe { argument::handle(model, "model") }?.head(head)?.labels.len()))
}

/// The name of a label; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_model_label(model: *const Model, head: usize, label: usize) -> *const c_char {
    value(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        let head = unsafe { argument::handle(model, "model") }?.head(head)?;
        let missing = || Failure::argument(format!("label {label}: the head has {} labels", head.labels.len()));
        Ok(head.labels.get(label).ok_or_else(missing)?.as_ptr())
    })
}
