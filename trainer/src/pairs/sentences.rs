//! Cutting a paragraph into sentences and runs of sentences.

use std::ops::Range;

use crate::random::Random;

// Words after which a full stop does not end a sentence, lower case.
const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "st", "prof", "sr", "jr", "vs", "no", "vol", "fig", "gen", "col", "capt", "lt", "sgt",
    "rev", "hon", "gov", "sen", "rep", "e.g", "i.e", "approx", "inc", "ltd", "co", "corp", "ca", "c", "al", "ed", "pp",
    "op",
];

/// The byte ranges of a text's sentences; they cover all of it but the white space between them.
///
/// A sentence ends at `.`, `!` or `?` and closing quotes or brackets after it, when white space and then something other
/// than a lower-case letter follows, and the word before is no known abbreviation and no single letter (an initial).
pub fn split_sentences(text: &str) -> Vec<Range<usize>> {
    let mut sentences = Vec::new();
    let mut start = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if start.is_none() {
            if c.is_whitespace() {
                continue;
            }
            start = Some(at);
        }
        if !matches!(c, '.' | '!' | '?') {
            continue;
        }
        let mut end = at + c.len_utf8();
        while let Some(&(next, d)) = chars.peek() {
            if !matches!(d, '.' | '!' | '?' | '"' | '\'' | ')' | ']' | '\u{201d}' | '\u{2019}') {
                break;
            }
            end = next + d.len_utf8();
            chars.next();
        }
        let rest = &text[end..];
        let gap = rest.starts_with(char::is_whitespace);
        let upper = rest.trim_start().chars().next().is_some_and(|d| !d.is_lowercase());
        if gap && upper && !(c == '.' && abbreviated(&text[start.unwrap_or(0)..at])) {
            sentences.extend(start.take().map(|from| from..end));
        }
    }
    if let Some(from) = start {
        let end = from + text[from..].trim_end().len();
        sentences.push(from..end);
    }
    sentences
}

fn abbreviated(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or("");
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    initial || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// The byte ranges of runs of 1 to 4 consecutive sentences that cover the text; a function of the text alone.
pub(super) fn chunks(text: &str) -> Vec<Range<usize>> {
    let sentences = split_sentences(text);
    let mut random = Random::new(&[crate::hash::hash_text(text)]);
    let mut chunks = Vec::new();
    let mut rest = sentences.as_slice();
    while !rest.is_empty() {
        let (run, after) = rest.split_at((1 + random.below(4)).min(rest.len()));
        chunks.push(run[0].start..run[run.len() - 1].end);
        rest = after;
    }
    chunks
}
