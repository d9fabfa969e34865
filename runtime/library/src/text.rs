//! Plain text: paragraphs, list items, underlined or capitalised headings.

use crate::block::{BlockKind, Blocks};
use crate::lined::LinedText;

/// Reads plain text.
pub(crate) fn parse(source: &str) -> Blocks {
    let lines: Vec<&str> = source.lines().collect();
    let width = wrap_width(&lines);
    let mut out = Blocks::default();
    let mut text = LinedText::default();
    let mut i = 0;
    while i < lines.len() {
        let (line, number) = (lines[i].trim(), i as u32 + 1);
        if line.is_empty() || is_rule(line) {
            flush(&mut out, &mut text);
        } else if let Some(level) = heading_level(&lines, i) {
            flush(&mut out, &mut text);
            text.push(line, number);
            out.push(BlockKind::Heading(level), std::mem::take(&mut text));
            if lines.get(i + 1).is_some_and(|next| is_underline(next.trim())) {
                i += 1;
            }
        } else {
            let item = item_body(line);
            if item.is_some() {
                flush(&mut out, &mut text);
            }
            text.push(item.unwrap_or(line), number);
            text.push(" ", number);
            if breaks_on_purpose(lines[i], lines.get(i + 1).copied(), width) {
                text.push_boundary();
            }
        }
        i += 1;
    }
    flush(&mut out, &mut text);
    out
}

fn flush(out: &mut Blocks, text: &mut LinedText) {
    out.push(BlockKind::Prose, std::mem::take(text));
}

/// The column at which the author's editor wrapped lines: what nine of ten lines stay within.
fn wrap_width(lines: &[&str]) -> usize {
    let mut widths: Vec<usize> =
        lines.iter().filter(|line| !line.trim().is_empty()).map(|line| line.chars().count()).collect();
    widths.sort_unstable();
    let index = widths.len() * 9 / 10;
    widths.get(index).copied().unwrap_or(0).clamp(50, 100)
}

/// A line that ends although the next word would have fitted was ended on purpose (addresses, opening hours).
fn breaks_on_purpose(line: &str, next: Option<&str>, width: usize) -> bool {
    let Some(word) = next.and_then(|next| next.split_whitespace().next()) else {
        return true;
    };
    // Ten columns of slack, since people wrap by hand too.
    line.chars().count() + 1 + word.chars().count() + 10 < width
}

/// The body of `- item`, `* item`, `• item`, `1. item`, `1) item`.
fn item_body(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix(['-', '*', '•', '‣', '–']) {
        return rest.strip_prefix([' ', '\t']).map(str::trim_start);
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=3).contains(&digits) {
        let rest = line[digits..].strip_prefix(['.', ')'])?;
        return rest.strip_prefix([' ', '\t']).map(str::trim_start);
    }
    None
}

fn is_rule(line: &str) -> bool {
    line.len() >= 3 && line.bytes().all(|b| matches!(b, b'-' | b'=' | b'*' | b'_' | b'~' | b'#' | b'+'))
}

fn is_underline(line: &str) -> bool {
    line.len() >= 3 && (line.bytes().all(|b| b == b'=') || line.bytes().all(|b| b == b'-'))
}

fn heading_level(lines: &[&str], i: usize) -> Option<u8> {
    let line = lines[i].trim();
    let blank = |j: Option<usize>| j.and_then(|j| lines.get(j)).is_none_or(|l| l.trim().is_empty());
    if !blank(i.checked_sub(1)) || line.chars().count() > 100 {
        return None;
    }
    if let Some(next) = lines.get(i + 1).map(|next| next.trim()).filter(|next| is_underline(next)) {
        return Some(if next.starts_with('=') { 1 } else { 2 });
    }
    let letters = line.chars().filter(|c| c.is_alphabetic()).count();
    let shouted = letters >= 3
        && line.chars().all(|c| !c.is_lowercase())
        && line.split_whitespace().count() <= 10
        && !line.ends_with(['.', ',', ';', '!']);
    if shouted {
        return Some(if i == 0 { 1 } else { 2 });
    }
    (is_title(lines, i) && !next_paragraph(lines, i).is_none_or(|next| is_title(lines, next))).then_some(3)
}

/// A short line that stands alone and ends without punctuation. It is a heading only if ordinary text follows: of
/// several such lines in a row (an address, a poem) each is text.
fn is_title(lines: &[&str], i: usize) -> bool {
    let blank = |j: usize| lines.get(j).is_none_or(|line| line.trim().is_empty());
    let line = lines[i].trim();
    (i == 0 || blank(i - 1))
        && blank(i + 1)
        && lines[i].len() == line.len()
        && line.split_whitespace().count() <= 8
        && line.chars().next().is_some_and(char::is_uppercase)
        && line.chars().next_back().is_some_and(char::is_alphanumeric)
        && item_body(line).is_none()
}

fn next_paragraph(lines: &[&str], i: usize) -> Option<usize> {
    (i + 1..lines.len()).find(|&j| !lines[j].trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prose(source: &str) -> Vec<(BlockKind, String, u32)> {
        parse(source).blocks.iter().map(|b| (b.kind, b.text.text().to_owned(), b.text.line_at(0))).collect()
    }

    #[test]
    fn wrapped_lines_join_and_short_ones_stay_apart() {
        let source = "This is a paragraph that was wrapped by its author at about\nseventy columns, which is usual.\n\nMonday closed\nTuesday 10-18\n";
        assert_eq!(
            prose(source),
            [
                (
                    BlockKind::Prose,
                    "This is a paragraph that was wrapped by its author at about seventy columns, which is usual."
                        .into(),
                    1
                ),
                (BlockKind::Prose, "Monday closed\nTuesday 10-18".into(), 4),
            ]
        );
    }

    #[test]
    fn underlined_and_capitalised_lines_are_headings() {
        let kinds: Vec<_> =
            prose("Title\n=====\n\ntext\n\nOPENING HOURS\n\ntext\n\nPart\n----\n").into_iter().map(|b| b.0).collect();
        use BlockKind::{Heading, Prose};
        assert_eq!(kinds, [Heading(1), Prose, Heading(2), Prose, Heading(2)]);
    }

    #[test]
    fn a_short_line_alone_is_a_heading_only_over_text() {
        let kinds = |source| prose(source).into_iter().map(|b| b.0).collect::<Vec<_>>();
        use BlockKind::{Heading, Prose};
        assert_eq!(kinds("Opening hours\n\nMonday closed\nTuesday 10-18\n"), [Heading(3), Prose]);
        assert_eq!(kinds("Anna Muster\n\nMain Street\n\nOur Town\n"), [Prose, Prose, Prose]);
        assert_eq!(kinds("Just one line"), [Prose]);
    }

    #[test]
    fn list_items_are_blocks_of_their_own() {
        let blocks = prose("Steps:\n1. Open the tap.\n2) Close it,\n   slowly.\n- done\n");
        let texts: Vec<_> = blocks.iter().map(|b| (b.1.as_str(), b.2)).collect();
        assert_eq!(texts, [("Steps:", 1), ("Open the tap.", 2), ("Close it,\nslowly.", 3), ("done", 5)]);
    }
}
