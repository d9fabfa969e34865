//! Cuts a document's blocks into passages along its structure.

use std::ops::Range;

use crate::block::{BlockKind, Blocks};
use crate::lined::LinedText;
use crate::sentence::sentences;

/// A passage that has this many words ends at the next block.
pub(crate) const MIN_WORDS: usize = 40;
/// A passage has at most this many words, but for what [`TAIL_WORDS`] adds.
pub(crate) const MAX_WORDS: usize = 90;
/// A rest of a section shorter than this joins the passage before it.
pub(crate) const TAIL_WORDS: usize = 12;
/// Characters of a heading: every passage below it repeats them.
const HEADING_CHARACTERS: usize = 200;
/// Levels of headings, and the title.
pub(crate) const MAX_HEADINGS: usize = 7;

/// A piece of a document: what is searched, ranked and cited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The text; blocks (paragraphs, items, rows) are separated by `\n`.
    pub text: String,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
    /// The 1-based line on which it begins.
    pub line: u32,
    /// Its sentences in order; never empty.
    pub sentences: Vec<Sentence>,
}

/// A sentence (or list item, table row, line of code) inside a passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Where it lies in [`Passage::text`], in bytes.
    pub range: Range<usize>,
    /// The 1-based line on which it begins.
    pub line: u32,
}

impl Passage {
    /// The text from the beginning of one sentence to the end of another, empty if there are no such sentences.
    pub fn span(&self, first: usize, last: usize) -> &str {
        let start = self.sentences.get(first).map(|s| s.range.start);
        let end = self.sentences.get(last).map(|s| s.range.end);
        start.zip(end).and_then(|(start, end)| self.text.get(start..end)).unwrap_or_default()
    }
}

/// Cuts a document.
pub(crate) fn cut(document: &Blocks) -> Vec<Passage> {
    let mut cutter = Cutter { out: Vec::new(), open: Open::default(), headings: Vec::new(), section_start: 0 };
    let has_top = document.blocks.iter().any(|block| block.kind == BlockKind::Heading(1));
    if let Some(title) = document.title.as_ref().filter(|_| !has_top) {
        cutter.headings.push((0, short(title).to_owned()));
    }
    for block in &document.blocks {
        match block.kind {
            BlockKind::Heading(level) => {
                cutter.heading(level, block.text.text());
                // What is too long for a heading is a paragraph that was marked as one.
                if short(block.text.text()).len() < block.text.text().len() {
                    cutter.block(&block.text, &sentences(block.text.text()));
                }
            }
            BlockKind::Prose => cutter.block(&block.text, &sentences(block.text.text())),
            BlockKind::Row => {
                let whole = 0..block.text.text().len();
                cutter.block(&block.text, std::slice::from_ref(&whole));
            }
        }
    }
    cutter.end_section();
    cutter.out
}

struct Cutter {
    out: Vec<Passage>,
    open: Open,
    headings: Vec<(u8, String)>,
    /// Passages from here on belong to the section being read.
    section_start: usize,
}

/// The passage being filled.
#[derive(Default)]
struct Open {
    text: String,
    sentences: Vec<Sentence>,
    words: usize,
}

impl Cutter {
    fn heading(&mut self, level: u8, text: &str) {
        self.end_section();
        while self.headings.last().is_some_and(|&(above, _)| above >= level) {
            self.headings.pop();
        }
        self.headings.push((level, short(text).replace('\n', " ")));
    }

    fn block(&mut self, text: &LinedText, ranges: &[Range<usize>]) {
        let total: usize = ranges.iter().map(|range| size(&text.text()[range.clone()])).sum();
        // A block that fits a passage of its own isn't torn to fill the one before.
        if self.open.words >= MIN_WORDS
            || (self.open.words > TAIL_WORDS && self.open.words + total > MAX_WORDS && total <= MAX_WORDS)
        {
            self.flush();
        }
        let mut previous = None;
        for range in ranges {
            for piece in pieces(text.text(), range.clone()) {
                let words = size(&text.text()[piece.clone()]);
                if self.open.words > 0 && self.open.words + words > MAX_WORDS {
                    self.flush();
                    previous = None;
                }
                let gap = match previous {
                    _ if self.open.text.is_empty() => "",
                    None => "\n",
                    Some(end) if text.text()[end..piece.start].contains('\n') => "\n",
                    Some(end) => &text.text()[end..piece.start],
                };
                self.open.text.push_str(gap);
                let start = self.open.text.len();
                self.open.text.push_str(&text.text()[piece.clone()]);
                let sentence = Sentence { range: start..self.open.text.len(), line: text.line_at(piece.start) };
                self.open.sentences.push(sentence);
                self.open.words += words;
                previous = Some(piece.end);
            }
        }
    }

    fn flush(&mut self) {
        let open = std::mem::take(&mut self.open);
        if let Some(first) = open.sentences.first() {
            self.out.push(Passage {
                line: first.line,
                headings: self.headings.iter().map(|(_, text)| text.clone()).collect(),
                text: open.text,
                sentences: open.sentences,
            });
        }
    }

    /// Ends a section; a short rest joins the section's last passage.
    fn end_section(&mut self) {
        let of_section = self.out.len() > self.section_start;
        match self.out.last_mut().filter(|_| of_section && self.open.words < TAIL_WORDS) {
            Some(last) => last.join(std::mem::take(&mut self.open)),
            None => self.flush(),
        }
        self.section_start = self.out.len();
    }
}

impl Passage {
    fn join(&mut self, open: Open) {
        if open.sentences.is_empty() {
            return;
        }
        self.text.push('\n');
        let base = self.text.len();
        self.text.push_str(&open.text);
        self.sentences.extend(
            open.sentences
                .into_iter()
                .map(|s| Sentence { range: s.range.start + base..s.range.end + base, line: s.line }),
        );
    }
}

/// A heading without what makes it longer than [`HEADING_CHARACTERS`], cut between words where there are some.
pub(crate) fn short(heading: &str) -> &str {
    let Some((end, _)) = heading.char_indices().nth(HEADING_CHARACTERS) else { return heading };
    let cut = &heading[..end];
    cut.rsplit_once(char::is_whitespace).map_or(cut, |(words, _)| words.trim_end())
}

/// Size in words; scripts without spaces count eight characters as one.
fn size(text: &str) -> usize {
    text.split_whitespace().map(|word| 1 + word.chars().count() / 24).sum()
}

/// A sentence in pieces of at most [`MAX_WORDS`]: nothing keeps an author from writing without full stops.
fn pieces(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    if size(&text[range.clone()]) <= MAX_WORDS {
        return vec![range];
    }
    let mut out = Vec::new();
    let (mut start, mut words, mut run) = (range.start, 0, 0);
    let mut end = range.start;
    for (at, c) in text[range.clone()].char_indices() {
        let at = range.start + at;
        if c.is_whitespace() {
            run = 0;
        } else {
            words += usize::from(run == 0 || run % 24 == 0);
            run += 1;
            if words > MAX_WORDS - 1 && (run == 1 || run % 24 == 1) {
                if start < end {
                    out.push(start..end);
                }
                (start, words) = (at, 1);
            }
            end = at + c.len_utf8();
        }
    }
    if start < end {
        out.push(start..end);
    }
    out
}

#[cfg(test)]
#[path = "passage_tests.rs"]
mod tests;
