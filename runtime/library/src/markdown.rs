//! Markdown, through pulldown-cmark's events with their offsets.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::block::{BlockKind, Blocks, Table};
use crate::lined::{LineIndex, LinedText};

/// Reads CommonMark with tables, footnotes, task and definition lists, and front matter.
pub(crate) fn parse(source: &str) -> Blocks {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut reader = Reader::new(LineIndex::new(source));
    for (event, range) in Parser::new_ext(source, options).into_offset_iter() {
        reader.event(event, range.start);
    }
    reader.flush(BlockKind::Prose);
    reader.out
}

struct Reader {
    lines: LineIndex,
    out: Blocks,
    text: LinedText,
    table: Option<Table>,
    in_code: bool,
    in_metadata: bool,
    in_title: bool,
    /// HTML between blank lines, and the line where it begins.
    html: Option<(String, u32)>,
}

impl Reader {
    fn new(lines: LineIndex) -> Self {
        Self {
            lines,
            out: Blocks::default(),
            text: LinedText::default(),
            table: None,
            in_code: false,
            in_metadata: false,
            in_title: false,
            html: None,
        }
    }

    fn event(&mut self, event: Event<'_>, offset: usize) {
        let line = self.lines.line_of(offset);
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.push(&text, line),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.push(&text, line);
            }
            Event::Html(html) => {
                self.html.get_or_insert_with(|| (String::new(), line)).0.push_str(&html);
            }
            Event::InlineHtml(html) => {
                if html.get(..3).is_some_and(|tag| tag.eq_ignore_ascii_case("<br")) {
                    self.boundary();
                }
            }
            Event::SoftBreak => self.push(" ", line),
            Event::HardBreak => self.boundary(),
            Event::Rule => self.flush(BlockKind::Prose),
            Event::FootnoteReference(_) | Event::TaskListMarker(_) => {}
        }
    }

    fn push(&mut self, text: &str, line: u32) {
        if self.in_metadata {
            self.metadata(text);
        } else if let Some(table) = &mut self.table {
            table.cell().push(text, line);
        } else if self.in_code {
            self.text.push_lines(text, line);
        } else {
            self.text.push(text, line);
        }
    }

    fn boundary(&mut self) {
        match &mut self.table {
            Some(table) => table.cell().push_boundary(),
            None => self.text.push_boundary(),
        }
    }

    /// Of front matter only the title is used.
    fn metadata(&mut self, text: &str) {
        let title = text.lines().find_map(|line| line.strip_prefix("title:"));
        if let Some(title) = title.map(|t| t.trim().trim_matches(['"', '\''])).filter(|t| !t.is_empty()) {
            self.out.title = Some(title.to_owned());
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Table(_) => {
                self.flush(BlockKind::Prose);
                self.table = Some(Table::default());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.start_row();
                }
            }
            Tag::TableCell => {
                if let Some(table) = &mut self.table {
                    // pulldown-cmark gives the header row first, and a Markdown table always has one.
                    let is_header = table.is_first_row();
                    table.start_cell(is_header);
                }
            }
            Tag::CodeBlock(_) => {
                self.flush(BlockKind::Prose);
                self.in_code = true;
            }
            Tag::MetadataBlock(_) => self.in_metadata = true,
            Tag::DefinitionListDefinition if self.in_title => {
                let line = self.text.line_at(usize::MAX);
                self.text.push_mark(":");
                self.text.push(" ", line);
                self.in_title = false;
            }
            // A paragraph inside an item or a definition continues a marker that ends with a colon.
            Tag::Paragraph if self.table.is_none() && !self.text.text().ends_with(':') => {
                self.flush(BlockKind::Prose);
            }
            Tag::Heading { .. }
            | Tag::BlockQuote(_)
            | Tag::HtmlBlock
            | Tag::List(_)
            | Tag::Item
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle => self.flush(BlockKind::Prose),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => self.flush(BlockKind::Heading(level_number(level))),
            TagEnd::TableHead | TagEnd::TableRow => {
                if let Some(row) = self.table.as_mut().and_then(Table::end_row) {
                    self.out.blocks.push(row);
                }
            }
            TagEnd::Table => self.table = None,
            TagEnd::CodeBlock => {
                self.flush(BlockKind::Prose);
                self.in_code = false;
            }
            TagEnd::MetadataBlock(_) => self.in_metadata = false,
            TagEnd::HtmlBlock => self.end_html(),
            TagEnd::DefinitionListTitle => self.in_title = true,
            TagEnd::Paragraph
            | TagEnd::Item
            | TagEnd::List(_)
            | TagEnd::BlockQuote(_)
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionListDefinition => self.flush(BlockKind::Prose),
            _ => {}
        }
    }

    fn end_html(&mut self) {
        if let Some((html, line)) = self.html.take() {
            let inner = crate::html::parse_from(&html, line);
            self.out.blocks.extend(inner.blocks);
        }
    }

    fn flush(&mut self, kind: BlockKind) {
        self.in_title = false;
        self.out.push(kind, std::mem::take(&mut self.text));
    }
}

fn level_number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Vec<(BlockKind, String, u32)> {
        parse(source).blocks.iter().map(|b| (b.kind, b.text.text().to_owned(), b.text.line_at(0))).collect()
    }

    #[test]
    fn headings_paragraphs_and_nested_items_carry_their_lines() {
        use BlockKind::{Heading, Prose};
        assert_eq!(
            read("# Pi\n\nText with *stress*\nand `code`.\n\n- one\n  - inner\n- two\n\n1. loose\n\n   more\n"),
            [
                (Heading(1), "Pi".into(), 1),
                (Prose, "Text with stress and code.".into(), 3),
                (Prose, "one".into(), 6),
                (Prose, "inner".into(), 7),
                (Prose, "two".into(), 8),
                (Prose, "loose".into(), 10),
                (Prose, "more".into(), 12),
            ]
        );
    }

    #[test]
    fn table_rows_name_their_columns() {
        assert_eq!(
            read("| Code | Meaning |\n|---|---|\n| E15 | Water & base |\n| | x |\n"),
            [(BlockKind::Row, "Code: E15; Meaning: Water & base".into(), 3), (BlockKind::Row, "Meaning: x".into(), 4),]
        );
    }

    #[test]
    fn code_keeps_its_lines_and_html_blocks_are_read() {
        assert_eq!(
            read("```sh\nsudo reboot\n  now\n```\n\n<div>\n<p>Inside &amp; out</p>\n</div>\n"),
            [(BlockKind::Prose, "sudo reboot\n  now".into(), 2), (BlockKind::Prose, "Inside & out".into(), 7),]
        );
    }

    #[test]
    fn front_matter_gives_the_title_and_no_text() {
        let blocks = parse("---\ntitle: \"My Pi\"\ntags: x\n---\n\nHello there.\n");
        assert_eq!(blocks.title.as_deref(), Some("My Pi"));
        assert_eq!(blocks.blocks.len(), 1);
    }

    #[test]
    fn definitions_follow_their_terms() {
        assert_eq!(read("Term\n: Meaning of it.\n")[0].1, "Term: Meaning of it.");
    }
}
