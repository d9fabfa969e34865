//! What became of a call: status codes, the last error's text, and the wall that panics do not pass.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// The status codes of `attar.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// `ATTAR_OK`.
    Ok = 0,
    /// `ATTAR_ERROR_ARGUMENT`.
    Argument = 1,
    /// `ATTAR_ERROR_UTF8`.
    Utf8 = 2,
    /// `ATTAR_ERROR_NOT_FOUND`.
    NotFound = 3,
    /// `ATTAR_ERROR_IO`.
    Io = 4,
    /// `ATTAR_ERROR_MODEL`.
    Model = 5,
    /// `ATTAR_ERROR_VERSION`.
    Version = 6,
    /// `ATTAR_ERROR_INPUT`.
    Input = 7,
    /// `ATTAR_ERROR_BUFFER`.
    Buffer = 8,
    /// `ATTAR_ERROR_LIBRARY`.
    Library = 9,
    /// `ATTAR_ERROR_BUSY`.
    Busy = 10,
    /// `ATTAR_ERROR_UNAVAILABLE`.
    Unavailable = 11,
    /// `ATTAR_ERROR_INTERNAL`.
    Internal = 12,
    /// `ATTAR_ERROR_PANIC`.
    Panic = 13,
}

/// All of them with their names in C, in the order of their numbers.
const NAMES: [(Status, &CStr); 14] = [
    (Status::Ok, c"ATTAR_OK"),
    (Status::Argument, c"ATTAR_ERROR_ARGUMENT"),
    (Status::Utf8, c"ATTAR_ERROR_UTF8"),
    (Status::NotFound, c"ATTAR_ERROR_NOT_FOUND"),
    (Status::Io, c"ATTAR_ERROR_IO"),
    (Status::Model, c"ATTAR_ERROR_MODEL"),
    (Status::Version, c"ATTAR_ERROR_VERSION"),
    (Status::Input, c"ATTAR_ERROR_INPUT"),
    (Status::Buffer, c"ATTAR_ERROR_BUFFER"),
    (Status::Library, c"ATTAR_ERROR_LIBRARY"),
    (Status::Busy, c"ATTAR_ERROR_BUSY"),
    (Status::Unavailable, c"ATTAR_ERROR_UNAVAILABLE"),
    (Status::Internal, c"ATTAR_ERROR_INTERNAL"),
    (Status::Panic, c"ATTAR_ERROR_PANIC"),
];

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub status: Status,
    pub message: String,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(Status::Argument, message)
    }
}

impl From<attar::Error> for Failure {
    fn from(error: attar::Error) -> Self {
        use attar::ErrorKind as Kind;
        let missing = || {
            let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
            source.is_some_and(|source| source.kind() == std::io::ErrorKind::NotFound)
        };
        let status = match error.kind() {
            Kind::Io if missing() => Status::NotFound,
            Kind::Io => Status::Io,
            Kind::Bundle | Kind::Checksum => Status::Model,
            Kind::Version => Status::Version,
            Kind::Kernel => Status::Unavailable,
            Kind::Head => Status::NotFound,
            Kind::Input => Status::Input,
            _ => Status::Internal,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(feature = "library")]
impl From<attar_library::Error> for Failure {
    fn from(error: attar_library::Error) -> Self {
        use attar_library::ErrorKind as Kind;
        let status = match error.kind() {
            Kind::NotFound => Status::NotFound,
            Kind::Io => Status::Io,
            Kind::NotText | Kind::TooLarge | Kind::NoDocuments | Kind::Question => Status::Input,
            Kind::NotALibrary | Kind::Corrupt => Status::Library,
            Kind::NewerVersion => Status::Version,
            Kind::Busy => Status::Busy,
            _ => Status::Internal,
        };
        Self::new(status, error.to_string())
    }
}

thread_local! {
    /// The text of the last failure on this thread.
    static LAST_ERROR: RefCell<CString> = RefCell::default();
    /// Whether this thread is inside [`call`], and the panic that happened there.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps panics of our calls off the program's standard error, and remembers where they happened. Others go where they went before.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if INSIDE.try_with(Cell::get).unwrap_or(false) {
                let message = info.payload_as_str().unwrap_or("no message");
                let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
                let text = format!("panic{}: {message}", place.unwrap_or_default());
                let _ = PANIC.try_with(|panic| panic.replace(text));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs the body of a call: whatever happens in it becomes a result.
pub(crate) fn call<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    quiet_panics();
    let outer = INSIDE.try_with(|inside| inside.replace(true)).unwrap_or(false);
    // A panic can leave nothing half-done behind: handles are changed only as a whole or behind a mutex, whose contents are plain
    // scratch memory and a database connection with transactions.
    let result = catch_unwind(AssertUnwindSafe(body));
    let _ = INSIDE.try_with(|inside| inside.set(outer));
    result.unwrap_or_else(|payload| {
        // A payload whose own destructor panics would get past us: it is leaked.
        std::mem::forget(payload);
        Err(Failure::new(Status::Panic, PANIC.try_with(RefCell::take).unwrap_or_default()))
    })
}

/// A call that returns a status.
pub(crate) fn status(body: impl FnOnce() -> Result<()>) -> i32 {
    match call(body) {
        Ok(()) => Status::Ok as i32,
        Err(failure) => remember(&failure) as i32,
    }
}

/// A call that returns a value, or `otherwise` when it fails.
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> Result<T>) -> T {
    call(body).unwrap_or_else(|failure| {
        remember(&failure);
        otherwise
    })
}

fn remember(failure: &Failure) -> Status {
    // One line without NUL, which C could not see behind.
    let text = failure.message.replace(['\0', '\n', '\r'], " ");
    let text = CString::new(text).unwrap_or_default();
    let _ = LAST_ERROR.try_with(|last| last.replace(text));
    failure.status
}

/// Locks a mutex; a panic of an earlier holder was reported then and is no reason to fail now.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text of the last failure on this thread; see `attar.h`.
#[unsafe(no_mangle)]
pub extern "C" fn attar_last_error() -> *const c_char {
    // While a thread ends its error is gone already.
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// The name of a status; see `attar.h`.
#[unsafe(no_mangle)]
pub extern "C" fn attar_status_name(status: i32) -> *const c_char {
    NAMES.iter().find(|(known, _)| *known as i32 == status).map_or(c"unknown status", |(_, name)| name).as_ptr()
}
