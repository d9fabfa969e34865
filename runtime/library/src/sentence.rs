//! Sentence boundaries by rules: punctuation, what follows it, and a list of abbreviations.

use std::ops::Range;

/// Abbreviations after which a sentence goes on, whatever follows.
const NEVER_LAST: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "cf", "fig", "figs", "eq", "sec", "ch", "approx", "ca",
    "resp", "incl", "excl", "p", "pp", "vol", "ed", "eds", "dept", "gen", "col", "capt", "lt", "sgt", "rev", "hon",
    "jan", "feb", "aug", "sept", "oct", "nov", "dec", "z.b", "bzw", "tel", "ext",
];

/// Abbreviations that may end a sentence: they do where the next word begins one.
const MAYBE_LAST: [&str; 15] =
    ["etc", "a.m", "p.m", "inc", "ltd", "co", "corp", "jr", "sr", "min", "max", "u.s", "u.k", "al", "est"];

/// Words that begin sentences far more often than they follow an abbreviation or an initial.
const STARTERS: &[&str] = &[
    "The", "It", "This", "That", "These", "Those", "There", "In", "If", "A", "An", "To", "For", "You", "When", "We",
    "He", "She", "They", "But", "And", "On", "At", "Use", "Do", "Then", "After", "Before", "Its", "Your", "As", "So",
    "Some", "Most",
];

/// The byte ranges of the sentences of `text`, in order, without surrounding white space. `\n` always ends one.
pub(crate) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    for piece in text.split_inclusive('\n') {
        split_piece(text, start..start + piece.len(), &mut out);
        start += piece.len();
    }
    out
}

fn split_piece(text: &str, range: Range<usize>, out: &mut Vec<Range<usize>>) {
    let mut start = range.start;
    // Marks before this belong to a run that was looked at.
    let mut next = range.start;
    for (at, c) in text[range.clone()].char_indices() {
        let at = range.start + at;
        if at < next || !is_mark(c) {
            continue;
        }
        let (end, ends) = run(&text[..range.end], start, at, c);
        if ends {
            push_trimmed(text, start..end, out);
            start = end;
        }
        next = end;
    }
    push_trimmed(text, start..range.end, out);
}

fn push_trimmed(text: &str, range: Range<usize>, out: &mut Vec<Range<usize>>) {
    let piece = &text[range.clone()];
    let start = range.start + (piece.len() - piece.trim_start().len());
    let end = start + piece.trim().len();
    if start < end {
        out.push(start..end);
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？')
}

/// The end of the run of marks, quotes and brackets that begins with the mark `c` at `at`, and whether it ends the sentence that
/// begins at `start`. A run is read once, however long it is.
fn run(text: &str, start: usize, at: usize, c: char) -> (usize, bool) {
    let mut end = at + c.len_utf8();
    let closes = |c: char| matches!(c, '.' | '!' | '?' | '…' | '"' | '\'' | ')' | ']' | '»' | '”' | '’' | '」' | '』');
    for next in text[end..].chars().take_while(|&c| closes(c)) {
        end += next.len_utf8();
    }
    if matches!(c, '。' | '！' | '？') {
        return (end, true);
    }
    let rest = &text[end..];
    if !rest.starts_with(char::is_whitespace) {
        return (end, false);
    }
    let begins = |c: &char| !matches!(c, '"' | '\'' | '(' | '[' | '“' | '‘' | '«' | '¿' | '¡');
    let next = rest.split_whitespace().next();
    let Some((next, first)) = next.and_then(|next| Some((next, next.chars().find(begins)?))) else {
        return (end, false);
    };
    // One mark of the run is enough; a full stop behind an abbreviation is none.
    let mut marks = text[at..end].char_indices().filter(|&(_, c)| is_mark(c));
    let ends = !first.is_lowercase()
        && marks.any(|(offset, mark)| mark != '.' || !continues(&text[start..at + offset], next, first));
    (end, ends)
}

/// Whether a full stop after `before` belongs to an abbreviation, an initial or a number of an enumeration.
fn continues(before: &str, next: &str, first: char) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '“')).next();
    let Some(word) = word.filter(|word| !word.is_empty()) else {
        return false;
    };
    let whole = word.len() == before.trim_start().len();
    if whole && (word.bytes().all(|b| b.is_ascii_digit()) || word.chars().count() == 1) {
        // "1. Press ..." and "a. Press ..."
        return true;
    }
    let starts = STARTERS.contains(&next.trim_matches(|c: char| !c.is_alphanumeric()));
    let lower = word.to_lowercase();
    if NEVER_LAST.contains(&lower.as_str()) {
        return true;
    }
    if matches!(lower.as_str(), "no" | "nr" | "nos") {
        return first.is_ascii_digit();
    }
    let mut chars = word.chars();
    let initial = chars.next().is_some_and(char::is_uppercase) && chars.next().is_none();
    (initial || MAYBE_LAST.contains(&lower.as_str())) && !starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|r| &text[r]).collect()
    }

    #[test]
    fn plain_sentences() {
        assert_eq!(
            split("One is here. Two is there!  Is three? Yes."),
            ["One is here.", "Two is there!", "Is three?", "Yes."]
        );
        assert_eq!(split("  no end  "), ["no end"]);
        assert_eq!(split(" \n "), Vec::<&str>::new());
    }

    #[test]
    fn decimals_urls_and_versions_do_not_split() {
        for text in [
            "Pins give 3.3 V at most.",
            "See https://example.org/a.html?b=c.D for more.",
            "Version 1.2.3 runs on config.txt files.",
            "The file is /boot/firmware/config.txt and no other.",
        ] {
            assert_eq!(split(text), [text]);
        }
    }

    #[test]
    fn abbreviations_and_initials_do_not_split() {
        for text in [
            "Dr. Smith came at 5 p.m. on Monday.",
            "Use a card, e.g. SanDisk, or better.",
            "Read fig. 3 and No. 7 of J. R. Miller.",
            "Wait approx. 20 minutes... then go on.",
        ] {
            assert_eq!(split(text), [text]);
        }
        assert_eq!(split("We close at 6 p.m. The bar stays open."), ["We close at 6 p.m.", "The bar stays open."]);
        assert_eq!(split("The answer is no. It is final."), ["The answer is no.", "It is final."]);
    }

    #[test]
    fn quotes_brackets_lists_and_lines() {
        assert_eq!(
            split("He said \"Stop.\" Then he left. (Really.) Well."),
            ["He said \"Stop.\"", "Then he left.", "(Really.)", "Well."]
        );
        assert_eq!(split("1. Press it. 2 beeps follow."), ["1. Press it.", "2 beeps follow."]);
        assert_eq!(split("first line\nsecond. Third"), ["first line", "second.", "Third"]);
        assert_eq!(split("一つ。二つ。"), ["一つ。", "二つ。"]);
    }

    #[test]
    fn long_runs_of_marks_are_read_once() {
        for mark in [".", "!", ".)", "…\"", "a. ", ". ", "1.5,", "a.b!"] {
            let text = format!("{} done here.", mark.repeat(300_000));
            let started = std::time::Instant::now();
            assert!(sentences(&text).iter().all(|range| range.end <= text.len()));
            assert!(started.elapsed().as_secs() < 5, "{mark}: {:?}", started.elapsed());
        }
        assert_eq!(
            split("Wait etc.) The end. Or p.m.? Yes... It is."),
            ["Wait etc.)", "The end.", "Or p.m.?", "Yes...", "It is."]
        );
    }

    #[test]
    fn ranges_are_ordered_and_cover_every_word() {
        let text = "A. B! ?? ... \u{2026} x. é. \n\n 1. 2. Ω。";
        let ranges = sentences(text);
        assert!(ranges.windows(2).all(|w| w[0].end <= w[1].start));
        let kept: String = ranges.iter().flat_map(|r| text[r.clone()].chars()).filter(|c| !c.is_whitespace()).collect();
        let all: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        assert_eq!(kept, all);
    }
}
