//! `attar_session`.

use std::ffi::c_char;
use std::sync::Mutex;

use crate::argument::{self, Out, Text, Versioned};
use crate::model::Model;
use crate::status::{Failure, Result, Status, lock, status};

/// More threads than this are a mistake.
const MAX_THREADS: u32 = 256;

/// `attar_session`.
pub struct Session(Mutex<attar::Session>);

/// `attar_session_options`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SessionOptions {
    /// `sizeof(attar_session_options)`.
    pub struct_size: usize,
    /// Threads of one call; 0 means 1.
    pub threads: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), begins with a usize, integers only.
unsafe impl Versioned for SessionOptions {
    const NAME: &'static str = "attar_session_options";
    const FIRST_SIZE: usize = size_of::<usize>() + 8;
    const DEFAULT: Self = Self { struct_size: size_of::<Self>(), threads: 0, reserved: 0 };
}

/// `attar_pair`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Pair {
    /// Premise or question.
    pub a: Text,
    /// Hypothesis or passage.
    pub b: Text,
}

/// `attar_scores`: the caller's buffers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Scores {
    /// `sizeof(attar_scores)`.
    pub struct_size: usize,
    /// `[pairs][labels]` or null.
    pub probabilities: *mut f32,
    /// Values in `probabilities`.
    pub probabilities_length: usize,
    /// `[pairs][labels]` or null.
    pub logits: *mut f32,
    /// Values in `logits`.
    pub logits_length: usize,
    /// `[pairs]` or null.
    pub windows: *mut u32,
    /// Values in `windows`.
    pub windows_length: usize,
}

// SAFETY: repr(C), begins with a usize, integers and raw pointers only.
unsafe impl Versioned for Scores {
    const NAME: &'static str = "attar_scores";
    const FIRST_SIZE: usize = 7 * size_of::<usize>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        probabilities: std::ptr::null_mut(),
        probabilities_length: 0,
        logits: std::ptr::null_mut(),
        logits_length: 0,
        windows: std::ptr::null_mut(),
        windows_length: 0,
    };
}

/// A caller's buffers, as far as it wants them.
pub(crate) struct Buffers<'a> {
    pub probabilities: Option<&'a mut [f32]>,
    pub logits: Option<&'a mut [f32]>,
    pub windows: Option<&'a mut [u32]>,
}

impl Session {
    pub(crate) fn new(model: &Model, threads: u32) -> Result<Self> {
        if threads > MAX_THREADS {
            return Err(Failure::argument(format!("threads is {threads}, expected at most {MAX_THREADS}")));
        }
        Ok(Self(Mutex::new(model.model.session().threads(threads.max(1) as usize))))
    }

    /// The session itself, once nobody else uses it.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut attar::Session) -> Result<T>) -> Result<T> {
        work(&mut lock(&self.0))
    }

    /// Scores pairs into buffers of exactly the right lengths.
    pub(crate) fn score(&self, head: &str, pairs: &[(&str, &str)], buffers: Buffers<'_>) -> Result<()> {
        let scores = self.with(|session| Ok(session.score(head, pairs)?))?;
        let Buffers { probabilities, logits, windows } = buffers;
        if let Some(buffer) = probabilities {
            flatten(buffer, scores.iter().map(|score| &score.probabilities[..]));
        }
        if let Some(buffer) = logits {
            flatten(buffer, scores.iter().map(|score| &score.logits[..]));
        }
        if let Some(buffer) = windows {
            for (value, score) in buffer.iter_mut().zip(&scores) {
                *value = u32::try_from(score.windows).unwrap_or(u32::MAX);
            }
        }
        Ok(())
    }

    /// The number of labels of a head.
    pub(crate) fn labels(&self, head: &str) -> Result<usize> {
        self.with(|session| {
            let heads = session.model().heads();
            let found = heads.iter().find(|known| known.name == head);
            found.map(|head| head.labels.len()).ok_or_else(|| {
                let names: Vec<&str> = heads.iter().map(|head| &head.name[..]).collect();
                Failure::new(Status::NotFound, format!("no head {head:?}; the model has {}", names.join(", ")))
            })
        })
    }

    /// The relevance of passages to a question.
    pub(crate) fn relevance(&self, question: &str, passages: &[&str]) -> Result<Vec<f32>> {
        self.with(|session| Ok(session.score_passages(question, passages)?))
    }
}

fn flatten<'a>(buffer: &mut [f32], rows: impl Iterator<Item = &'a [f32]>) {
    for (value, from) in buffer.iter_mut().zip(rows.flatten()) {
        *value = *from;
    }
}

/// Begins a session; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_session_create(
    model: *const Model,
    options: *const SessionOptions,
    out: *mut *mut Session,
) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let out = unsafe { Out::new(out) }?;
        // SAFETY: as above.
        let model = unsafe { argument::handle(model, "model") }?;
        // SAFETY: as above.
        let options = unsafe { argument::read_or_default(options) }?;
        argument::unused(options.reserved, SessionOptions::NAME)?;
        out.set(Session::new(model, options.threads)?);
        Ok(())
    })
}

/// Ends a session; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_session_destroy(session: *mut *mut Session) {
    // SAFETY: the caller's promise.
    unsafe { argument::destroy(session) }
}

/// Scores pairs; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_session_score(
    session: *mut Session,
    head: *const c_char,
    pairs: *const Pair,
    count: usize,
    scores: *const Scores,
) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let session = unsafe { argument::handle(session, "session") }?;
        // SAFETY: as above.
        let head = unsafe { argument::string(head, "head") }?;
        // SAFETY: as above.
        let pairs = unsafe { argument::slice(pairs, count, &"pairs") }?;
        // SAFETY: as above.
        let scores = unsafe { argument::read(scores) }?;
        let values = pairs.len().saturating_mul(session.labels(head)?);
        let buffers = Buffers {
            // SAFETY: as above.
            probabilities: unsafe {
                wanted(scores.probabilities, scores.probabilities_length, values, "scores.probabilities")
            }?,
            // SAFETY: as above.
            logits: unsafe { wanted(scores.logits, scores.logits_length, values, "scores.logits") }?,
            // SAFETY: as above.
            windows: unsafe { wanted(scores.windows, scores.windows_length, pairs.len(), "scores.windows") }?,
        };
        let mut texts = Vec::with_capacity(pairs.len());
        for (i, pair) in pairs.iter().enumerate() {
            // SAFETY: as above.
            let (a, b) =
                unsafe { (pair.a.borrow(format_args!("pairs[{i}].a"))?, pair.b.borrow(format_args!("pairs[{i}].b"))?) };
            texts.push((a, b));
        }
        session.score(head, &texts, buffers)
    })
}

/// # Safety
///
/// As [`argument::output`].
unsafe fn wanted<'a, T>(pointer: *mut T, length: usize, expected: usize, name: &str) -> Result<Option<&'a mut [T]>> {
    if pointer.is_null() && length == 0 {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { argument::output(pointer, length, expected, name) }.map(Some)
}

/// Scores passages; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_session_relevance(
    session: *mut Session,
    question: Text,
    passages: *const Text,
    count: usize,
    relevance: *mut f32,
    length: usize,
) -> i32 {
    status(|| {
        // SAFETY: the caller's promises, here and below.
        let session = unsafe { argument::handle(session, "session") }?;
        // SAFETY: as above.
        let question = unsafe { question.borrow("question") }?;
        // SAFETY: as above.
        let passages = unsafe { argument::slice(passages, count, &"passages") }?;
        // SAFETY: as above.
        let relevance = unsafe { argument::output(relevance, length, count, "relevance") }?;
        let mut texts = Vec::with_capacity(passages.len());
        for (i, passage) in passages.iter().enumerate() {
            // SAFETY: as above.
            texts.push(unsafe { passage.borrow(format_args!("passages[{i}]")) }?);
        }
        for (value, result) in relevance.iter_mut().zip(session.relevance(question, &texts)?) {
            *value = result;
        }
        Ok(())
    })
}
