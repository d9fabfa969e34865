//! Text that remembers the line each piece of it came from.

/// A block's text with white space collapsed; `\n` in it is a boundary that no sentence crosses.
#[derive(Debug, Default, Clone)]
pub(crate) struct LinedText {
    text: String,
    /// (byte offset, 1-based line from there on), ascending.
    marks: Vec<(usize, u32)>,
    pending_space: bool,
}

impl LinedText {
    /// Appends `s`, whose first character stands on `line`. Runs of white space become one space.
    pub fn push(&mut self, s: &str, line: u32) {
        let mut line = line;
        for c in s.chars() {
            if c == '\n' {
                line = line.saturating_add(1);
                self.pending_space = true;
            } else if c.is_whitespace() {
                self.pending_space = true;
            } else if !is_invisible(c) {
                if self.pending_space && !self.at_boundary() {
                    self.text.push(' ');
                }
                self.pending_space = false;
                self.mark(line);
                self.text.push(c);
            }
        }
    }

    /// Appends preformatted text: every line of it is a piece of its own, spaces inside are kept.
    pub fn push_lines(&mut self, s: &str, line: u32) {
        for (i, text) in s.split('\n').enumerate() {
            let text = text.trim_end();
            if !text.trim_start().is_empty() {
                self.push_boundary();
                self.mark(line.saturating_add(i as u32));
                self.text.extend(text.chars().filter(|&c| !is_invisible(c)));
            }
        }
    }

    /// Appends punctuation to the word before it.
    pub fn push_mark(&mut self, mark: &str) {
        self.pending_space = false;
        self.text.push_str(mark);
    }

    /// Ends the current piece.
    pub fn push_boundary(&mut self) {
        self.pending_space = false;
        if !self.at_boundary() {
            self.text.push('\n');
        }
    }

    pub fn text(&self) -> &str {
        self.text.trim_end()
    }

    pub fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// The line of the character at byte `offset`.
    pub fn line_at(&self, offset: usize) -> u32 {
        let after = self.marks.partition_point(|&(start, _)| start <= offset);
        match after.checked_sub(1) {
            Some(i) => self.marks[i].1,
            None => self.marks.first().map_or(1, |&(_, line)| line),
        }
    }

    fn at_boundary(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('\n')
    }

    fn mark(&mut self, line: u32) {
        if self.marks.last().is_none_or(|&(_, last)| last != line) {
            self.marks.push((self.text.len(), line));
        }
    }
}

/// Soft hyphens, zero-width characters and controls: they would split words and reach a terminal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        || (c.is_control() && c != '\t')
}

/// Maps byte offsets of a source text to 1-based lines.
pub(crate) struct LineIndex {
    starts: Vec<usize>,
}

impl LineIndex {
    pub fn new(source: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(source.match_indices('\n').map(|(i, _)| i + 1));
        Self { starts }
    }

    pub fn line_of(&self, offset: usize) -> u32 {
        self.starts.partition_point(|&start| start <= offset) as u32
    }
}
