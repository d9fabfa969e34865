//! `attar_library`.

use std::ffi::c_char;
use std::sync::Mutex;

use attar_library::{AnswerOptions, Answerer, Format, ReadOptions, Reranker};

use crate::argument::{self, Out, Text};
use crate::results::{AskOptions, Report, Results};
use crate::session::Session;
use crate::status::{Failure, Result, Status, lock, status};

/// `attar_library`.
pub struct Library(Mutex<attar_library::Library>);

/// The library's judge, borrowed: the session is still the caller's afterwards.
struct Judge<'a>(&'a mut attar::Session);

impl Reranker for Judge<'_> {
    fn relevance(
        &mut self,
        question: &str,
        texts: &[&str],
    ) -> std::result::Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.relevance(question, texts)
    }
}

impl Library {
    pub(crate) fn open(path: &str) -> Result<Self> {
        let mut library = attar_library::Library::open_or_create(path)?;
        // A new file has no tables before the first write, without which it cannot be counted or searched: an empty write makes them.
        if library.len().is_err() {
            library.index::<&str>(&[], &ReadOptions::default())?;
        }
        Ok(Self(Mutex::new(library)))
    }

    pub(crate) fn in_memory() -> Result<Self> {
        Ok(Self(Mutex::new(attar_library::Library::in_memory()?)))
    }

    pub(crate) fn update(&self, paths: &[&str]) -> Result<Report> {
        Ok(Report::new(lock(&self.0).index(paths, &ReadOptions::default())?))
    }

    pub(crate) fn add_text(&self, source: &str, format: i32, text: &str) -> Result<()> {
        let format = match format {
            0 => Format::Text,
            1 => Format::Markdown,
            2 => Format::Html,
            other => return Err(Failure::argument(format!("format is {other}, expected 0 to 2"))),
        };
        if source.is_empty() {
            return Err(Failure::argument("source is empty, expected the name of the document"));
        }
        Ok(lock(&self.0).add_text(source, format, text)?)
    }

    /// Documents and passages.
    pub(crate) fn size(&self) -> Result<(usize, usize)> {
        Ok(lock(&self.0).len()?)
    }

    pub(crate) fn ask(&self, session: &Session, question: &str, options: &AskOptions) -> Result<Results> {
        argument::unused(options.reserved, "attar_ask_options")?;
        if options.threshold.is_nan() {
            return Err(Failure::argument("attar_ask_options: threshold is not a number"));
        }
        let mut settings = AnswerOptions::default();
        if options.top > 0 {
            settings.top = options.top as usize;
        }
        if options.candidates > 0 {
            settings.candidates = options.candidates as usize;
        }
        if options.threshold != 0.0 {
            settings.threshold = options.threshold;
        }
        // The library is locked before the session, here and nowhere else, so that two calls cannot wait for each other.
        let library = lock(&self.0);
        session.with(|session| {
            if !session.model().heads().iter().any(|head| head.name == "relevance") {
                return Err(Failure::new(
                    Status::NotFound,
                    "the model has no head \"relevance\", which answering needs",
                ));
            }
            Ok(Results::new(Answerer::with_options(Judge(session), settings).answer(&library, question)?))
        })
    }
}

/// Opens or makes a library file; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_library_open(path: *const c_char, out: *mut *mut Library) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let out = unsafe { Out::new(out) }?;
        // SAFETY: as above.
        let path = unsafe { argument::string(path, "path") }?;
        out.set(Library::open(path)?);
        Ok(())
    })
}

/// An empty library; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_library_in_memory(out: *mut *mut Library) -> i32 {
    status(|| {
        // SAFETY: the caller's promise.
        unsafe { Out::new(out) }?.set(Library::in_memory()?);
        Ok(())
    })
}

/// Ends a library; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_library_destroy(library: *mut *mut Library) {
    // SAFETY: the caller's promise.
    unsafe { argument::destroy(library) }
}

/// Brings a library up to date; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_library_update(
    library: *mut Library,
    paths: *const *const c_char,
    count: usize,
    report: *mut *mut Report,
) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let out = if report.is_null() { None } else { Some(unsafe { Out::new(report) }?) };
        // SAFETY: as above.
        let library = unsafe { argument::handle(library, "library") }?;
        // SAFETY: as above.
        let paths = unsafe { argument::slice(paths, count, &"paths") }?;
        let mut names = Vec::with_capacity(paths.len());
        for (i, &path) in paths.iter().enumerate() {
            // SAFETY: as above.
            names.push(unsafe { argument::string(path, format_args!("paths[{i}]")) }?);
        }
        let report = library.update(&names)?;
        if let Some(out) = out {
            out.set(report);
        }
        Ok(())
    })
}

/// Adds or replaces a document; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_library_add_text(library: *mut Library, source: Text, format: i32, text: Text) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let library = unsafe { argument::handle(library, "library") }?;
        // SAFETY: as above.
        let (source, text) = unsafe { (source.borrow("source")?, text.borrow("text")?) };
        library.add_text(source, format, text)
    })
}

/// The number of documents and passages; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_library_size(
    library: *const Library,
    documents: *mut usize,
    passages: *mut usize,
) -> i32 {
    status(|| {
        // SAFETY: the caller's promise.
        let size = unsafe { argument::handle(library, "library") }?.size()?;
        for (pointer, value) in [(documents, size.0), (passages, size.1)] {
            if !pointer.is_null() {
                // SAFETY: the caller's promise.
                unsafe { argument::output(pointer, 1, 1, "a number's pointer") }?[0] = value;
            }
        }
        Ok(())
    })
}

/// Answers a question; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_library_ask(
    library: *mut Library,
    session: *mut Session,
    question: Text,
    options: *const AskOptions,
    out: *mut *mut Results,
) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let out = unsafe { Out::new(out) }?;
        // SAFETY: as above.
        let (library, session) =
            unsafe { (argument::handle(library, "library")?, argument::handle(session, "session")?) };
        // SAFETY: as above.
        let question = unsafe { question.borrow("question") }?;
        // SAFETY: as above.
        let options = unsafe { argument::read_or_default(options) }?;
        out.set(library.ask(session, question, &options)?);
        Ok(())
    })
}
