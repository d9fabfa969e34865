//! `attar_results` and `attar_report`: what libraries give back.

use crate::argument::{self, Text, Versioned};
use crate::status::{Failure, Result, status, value};

/// `attar_ask_options`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AskOptions {
    /// `sizeof(attar_ask_options)`.
    pub struct_size: usize,
    /// Answers at most; 0 for the default.
    pub top: u32,
    /// Candidates of the full-text search; 0 for the default.
    pub candidates: u32,
    /// The least relevance of an answer; 0 for the default.
    pub threshold: f32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), begins with a usize, numbers only.
unsafe impl Versioned for AskOptions {
    const NAME: &'static str = "attar_ask_options";
    const FIRST_SIZE: usize = size_of::<usize>() + 16;
    const DEFAULT: Self = Self { struct_size: size_of::<Self>(), top: 0, candidates: 0, threshold: 0.0, reserved: 0 };
}

/// `attar_counts`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Counts {
    /// `sizeof(attar_counts)`.
    pub struct_size: usize,
    /// Documents that are new.
    pub added: usize,
    /// Documents that changed.
    pub updated: usize,
    /// Documents that are as before.
    pub unchanged: usize,
    /// Documents that are gone.
    pub removed: usize,
    /// Files that were not read.
    pub skipped: usize,
}

// SAFETY: repr(C), begins with a usize, integers only.
unsafe impl Versioned for Counts {
    const NAME: &'static str = "attar_counts";
    const FIRST_SIZE: usize = 6 * size_of::<usize>();
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>(), added: 0, updated: 0, unchanged: 0, removed: 0, skipped: 0 };
}

/// `attar_report`.
pub struct Report(attar_library::IndexReport);

impl Report {
    pub(crate) fn new(report: attar_library::IndexReport) -> Self {
        Self(report)
    }

    pub(crate) fn counts(&self) -> Counts {
        let report = &self.0;
        Counts {
            added: report.added,
            updated: report.updated,
            unchanged: report.unchanged,
            removed: report.removed,
            skipped: report.skipped.len(),
            ..Counts::DEFAULT
        }
    }

    /// The path of a skipped file, and why.
    pub(crate) fn skipped(&self, index: usize) -> Result<(&str, &str)> {
        let skipped = &self.0.skipped;
        let missing = || Failure::argument(format!("skipped file {index}: there are {}", skipped.len()));
        skipped.get(index).map(|skipped| (&skipped.source[..], &skipped.reason[..])).ok_or_else(missing)
    }
}

/// `attar_answer`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Answer {
    /// `sizeof(attar_answer)`.
    pub struct_size: usize,
    /// The answer.
    pub text: Text,
    /// The passage around it.
    pub passage: Text,
    /// The document.
    pub source: Text,
    /// Its line, from 1.
    pub line: u64,
    /// Its relevance.
    pub score: f32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), begins with a usize, numbers and raw pointers only.
unsafe impl Versioned for Answer {
    const NAME: &'static str = "attar_answer";
    /// The same arithmetic as C's: seven words, and 16 bytes that begin on a multiple of u64's alignment.
    const FIRST_SIZE: usize = (7 * size_of::<usize>()).next_multiple_of(align_of::<u64>()) + 16;
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        text: Text::EMPTY,
        passage: Text::EMPTY,
        source: Text::EMPTY,
        line: 0,
        score: 0.0,
        reserved: 0,
    };
}

/// `attar_results`.
pub struct Results(attar_library::Reply);

impl Results {
    pub(crate) fn new(reply: attar_library::Reply) -> Self {
        Self(reply)
    }

    pub(crate) fn answers(&self) -> &[attar_library::Answer] {
        &self.0.answers
    }

    pub(crate) fn no_answer_probability(&self) -> f32 {
        self.0.no_answer_probability
    }

    pub(crate) fn answer(&self, index: usize) -> Result<&attar_library::Answer> {
        let answers = self.answers();
        answers.get(index).ok_or_else(|| Failure::argument(format!("answer {index}: there are {}", answers.len())))
    }
}

/// What an update did; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_report_counts(report: *const Report, counts: *mut Counts) -> i32 {
    status(|| {
        // SAFETY: the caller's promises.
        unsafe { argument::write(counts, argument::handle(report, "report")?.counts()) }
    })
}

/// A skipped file; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_report_skipped(
    report: *const Report,
    index: usize,
    path: *mut Text,
    reason: *mut Text,
) -> i32 {
    status(|| {
        // SAFETY: the caller's promise.
        let skipped = unsafe { argument::handle(report, "report") }?.skipped(index)?;
        for (pointer, text) in [(path, skipped.0), (reason, skipped.1)] {
            if !pointer.is_null() {
                // SAFETY: the caller's promise.
                unsafe { argument::output(pointer, 1, 1, "a text's pointer") }?[0] = Text::lend(text);
            }
        }
        Ok(())
    })
}

/// Ends a report; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_report_destroy(report: *mut *mut Report) {
    // SAFETY: the caller's promise.
    unsafe { argument::destroy(report) }
}

/// The number of answers; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_results_count(results: *const Results) -> usize {
    // SAFETY: the caller's promise.
    value(0, || Ok(unsafe { argument::handle(results, "results") }?.answers().len()))
}

/// How likely it is that there is no answer; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_results_no_answer_probability(results: *const Results) -> f32 {
    // SAFETY: the caller's promise.
    value(-1.0, || Ok(unsafe { argument::handle(results, "results") }?.no_answer_probability()))
}

/// An answer; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_results_answer(results: *const Results, index: usize, answer: *mut Answer) -> i32 {
    status(|| {
        // SAFETY: the caller's promise.
        let found = unsafe { argument::handle(results, "results") }?.answer(index)?;
        let value = Answer {
            text: Text::lend(&found.text),
            passage: Text::lend(&found.passage),
            source: Text::lend(&found.source),
            line: u64::from(found.line),
            score: found.score,
            ..Answer::DEFAULT
        };
        // SAFETY: the caller's promise.
        unsafe { argument::write(answer, value) }
    })
}

/// Ends results; see `attar.h`.
///
/// # Safety
///
/// As `attar.h` says of handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attar_results_destroy(results: *mut *mut Results) {
    // SAFETY: the caller's promise.
    unsafe { argument::destroy(results) }
}
