//! Writing to stdout and stderr.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anyhow::{Result, bail};
use attar_library::Skipped;
use serde::Serialize;

/// Standard output, buffered; a failed write is an error, not a panic.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Writes one JSON object and a line feed.
pub(crate) fn write_json(out: &mut impl Write, value: &impl Serialize) -> Result<()> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(out.write_all(&bytes)?)
}

/// Whether the reader of our output went away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Bold and faint text where a person reads along, nothing elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    escapes: bool,
}

impl Style {
    pub fn for_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { escapes: wanted && able && io::stdout().is_terminal() }
    }

    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.escapes { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text from a document or a file name with control characters, and those that turn the direction of writing, made visible: a
/// terminal would obey them.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || (c.is_control() && c != '\n') {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Says something on stderr, control characters shown; where nobody can be told, the result matters more.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "attar: {}", printable(text));
}

/// Says on stderr which files were not read; a long list is cut, and says so.
pub(crate) fn report_skipped(skipped: &[Skipped]) {
    const SHOWN: usize = 10;
    for skipped in skipped.iter().take(SHOWN) {
        say(&format!("skipped {}: {}", skipped.source, skipped.reason));
    }
    if let Some(more) = skipped.len().checked_sub(SHOWN).filter(|&more| more > 0) {
        say(&format!("skipped {more} more files; `attar index --json` lists all"));
    }
}

/// An empty argument is a mistake, usually an unset variable.
pub(crate) fn require_text(name: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        bail!("{name} is empty");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(printable("a\x1b[2Jb\nç"), "a\\u{1b}[2Jb\nç");
        assert_eq!(printable("fdp.\u{202e}txt"), "fdp.\\u{202e}txt");
    }

    #[test]
    fn a_broken_pipe_is_recognised_under_context() {
        let broken = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert!(is_broken_pipe(&broken));
        assert!(!is_broken_pipe(&anyhow::anyhow!("no")));
    }
}
