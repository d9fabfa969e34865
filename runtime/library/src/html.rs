//! HTML, through html5ever's tokenizer: no tree is built, so nesting costs nothing and every token has its line.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

use crate::block::{BlockKind, Blocks, Table};
use crate::lined::LinedText;

/// Elements whose contents no reader sees, or that repeat on every page of a site.
const SKIPPED: &[&str] = &[
    "script", "style", "nav", "noscript", "template", "svg", "math", "iframe", "object", "select", "textarea",
    "noembed", "noframes", "button",
];

/// Elements at whose beginning and end a block ends.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "hgroup",
    "hr",
    "legend",
    "li",
    "main",
    "menu",
    "ol",
    "p",
    "pre",
    "search",
    "section",
    "summary",
    "ul",
    "head",
    "html",
];

/// Reads HTML.
pub(crate) fn parse(source: &str) -> Blocks {
    parse_from(source, 1)
}

/// Reads HTML whose first line is line `first` of its file.
pub(crate) fn parse_from(source: &str, first: u32) -> Blocks {
    let sink = Sink(RefCell::new(Reader { offset: first.saturating_sub(1), ..Reader::default() }));
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(source));
    // A script's end pauses the tokenizer; nothing is run, so it goes on at once.
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    let mut reader = tokenizer.sink.0.into_inner();
    reader.flush(BlockKind::Prose);
    reader.out
}

struct Sink(RefCell<Reader>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
        let mut reader = self.0.borrow_mut();
        let line = u32::try_from(line).unwrap_or(u32::MAX).saturating_add(reader.offset);
        match token {
            Token::TagToken(tag) => return reader.tag(&tag, line),
            Token::CharacterTokens(text) => reader.text(&text, line),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

#[derive(Default)]
struct Reader {
    /// Added to the tokenizer's lines.
    offset: u32,
    out: Blocks,
    text: LinedText,
    title: Option<String>,
    /// The skipped element that is open, and how many of its name are nested in it.
    skip: Option<(String, usize)>,
    pre: usize,
    in_term: bool,
    /// Tables that are open; layouts nest them.
    tables: Vec<Table>,
}

impl Reader {
    fn text(&mut self, text: &str, line: u32) {
        if let Some(title) = &mut self.title {
            title.push_str(text);
            return;
        }
        if self.skip.is_some() {
            return;
        }
        // The tokenizer reports the line after the last line feed of what it hands over.
        let feeds = text.bytes().filter(|&b| b == b'\n').count() as u32;
        let line = line.saturating_sub(feeds).max(1);
        if self.pre > 0 {
            self.preformatted(text, line);
        } else {
            self.current().push(text, line);
        }
    }

    /// Preformatted text arrives in pieces that need not end with their line.
    fn preformatted(&mut self, text: &str, line: u32) {
        for (i, piece) in text.split('\n').enumerate() {
            if i > 0 {
                self.current().push_boundary();
            }
            self.current().push(piece, line.saturating_add(i as u32));
        }
    }

    /// Where text goes: the cell that is open, or the block.
    fn current(&mut self) -> &mut LinedText {
        match self.tables.last_mut() {
            Some(table) => table.cell(),
            None => &mut self.text,
        }
    }

    fn tag(&mut self, tag: &Tag, line: u32) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        let opens = tag.kind == TagKind::StartTag;
        if self.skipping(name, opens, tag.self_closing) {
            return match raw_kind(name) {
                Some(kind) if opens => TokenSinkResult::RawData(kind),
                _ => TokenSinkResult::Continue,
            };
        }
        match name {
            "title" => {
                if opens {
                    self.title = Some(String::new());
                    return TokenSinkResult::RawData(RawKind::Rcdata);
                }
                let title = self.title.take().unwrap_or_default();
                let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
                if self.out.title.is_none() && !title.is_empty() {
                    self.out.title = Some(title);
                }
            }
            "plaintext" if opens => return TokenSinkResult::Plaintext,
            "xmp" if opens => return TokenSinkResult::RawData(RawKind::Rawtext),
            "br" => self.current().push_boundary(),
            "img" if opens => self.alternative(tag, line),
            "table" | "tr" | "td" | "th" => self.table(name, opens),
            "thead" | "tbody" | "tfoot" => {}
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading(name, opens),
            _ if BLOCKS.contains(&name) => self.block(name, opens, line),
            _ => {}
        }
        TokenSinkResult::Continue
    }

    /// Follows skipped elements; true while inside one.
    fn skipping(&mut self, name: &str, opens: bool, self_closing: bool) -> bool {
        match &mut self.skip {
            Some((open, _)) if open == "nav" && opens && matches!(name, "main" | "article" | "h1") => {
                // A navigation that was never closed must not swallow the page.
                self.skip = None;
                false
            }
            Some((open, depth)) => {
                if open == name {
                    *depth = if opens { *depth + 1 } else { *depth - 1 };
                    if *depth == 0 {
                        self.skip = None;
                    }
                }
                true
            }
            None if opens && SKIPPED.contains(&name) => {
                if !(self_closing && matches!(name, "svg" | "math")) {
                    self.skip = Some((name.to_owned(), 1));
                }
                true
            }
            None => false,
        }
    }

    fn alternative(&mut self, tag: &Tag, line: u32) {
        let alt = tag.attrs.iter().find(|attribute| &*attribute.name.local == "alt");
        if let Some(alt) = alt {
            let current = self.current();
            current.push(" ", line);
            current.push(&alt.value, line);
            current.push(" ", line);
        }
    }

    fn table(&mut self, name: &str, opens: bool) {
        match (name, opens) {
            ("table", true) => {
                if self.tables.is_empty() {
                    self.flush(BlockKind::Prose);
                } else {
                    self.end_row();
                }
                self.tables.push(Table::default());
            }
            ("table", false) => {
                self.end_row();
                self.tables.pop();
            }
            ("tr", true) => {
                self.end_row();
                if let Some(table) = self.tables.last_mut() {
                    table.start_row();
                }
            }
            ("tr", false) => self.end_row(),
            (_, true) => {
                if let Some(table) = self.tables.last_mut() {
                    table.start_cell(name == "th");
                }
            }
            _ => {}
        }
    }

    fn end_row(&mut self) {
        if let Some(row) = self.tables.last_mut().and_then(Table::end_row) {
            self.out.blocks.push(row);
        }
    }

    fn heading(&mut self, name: &str, opens: bool) {
        if !self.tables.is_empty() {
            self.current().push_boundary();
        } else if opens {
            self.flush(BlockKind::Prose);
        } else {
            let level = name.as_bytes().get(1).map_or(1, |digit| digit.saturating_sub(b'0'));
            self.flush(BlockKind::Heading(level));
        }
    }

    fn block(&mut self, name: &str, opens: bool, line: u32) {
        if name == "pre" {
            self.pre = if opens { self.pre + 1 } else { self.pre.saturating_sub(1) };
        }
        if !self.tables.is_empty() {
            self.current().push_boundary();
        } else if name == "dd" && opens && self.in_term && !self.text.is_empty() {
            // A definition belongs to its term.
            if !self.text.text().ends_with([':', '?', '.']) {
                self.text.push_mark(":");
            }
            self.text.push(" ", line);
            self.in_term = false;
        } else if name == "dt" && !opens {
            self.in_term = true;
        } else if !(name == "p" && opens && self.text.text().ends_with(':')) {
            self.flush(BlockKind::Prose);
        }
    }

    fn flush(&mut self, kind: BlockKind) {
        self.in_term = false;
        self.out.push(kind, std::mem::take(&mut self.text));
    }
}

/// The tokenizer's state inside an element whose contents are no markup.
fn raw_kind(name: &str) -> Option<RawKind> {
    match name {
        "script" => Some(RawKind::ScriptData),
        "style" | "iframe" | "noembed" | "noframes" => Some(RawKind::Rawtext),
        "textarea" => Some(RawKind::Rcdata),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Vec<(BlockKind, String, u32)> {
        parse(source).blocks.iter().map(|b| (b.kind, b.text.text().to_owned(), b.text.line_at(0))).collect()
    }

    #[test]
    fn text_keeps_its_lines_and_entities_are_decoded() {
        use BlockKind::{Heading, Prose};
        let source = "<html>\n<head><title>A  &amp;\n B</title></head>\n<body>\n<h1>Top</h1>\n<p>One\ntwo &eacute;</p>\n<p>\nThree</p></body></html>";
        assert_eq!(
            read(source),
            [(Heading(1), "Top".into(), 5), (Prose, "One two é".into(), 6), (Prose, "Three".into(), 9),]
        );
        assert_eq!(parse(source).title.as_deref(), Some("A & B"));
        let text = &parse(source).blocks[1].text;
        assert_eq!((text.line_at(0), text.line_at(4)), (6, 7));
    }

    #[test]
    fn scripts_styles_and_navigation_are_skipped() {
        let source = "<nav>menu <nav>x</nav></nav><style>p { a }</style><script>if (a < b) '<p>no</p>'</script><p>yes</p><svg><text>no</text></svg>";
        assert_eq!(read(source), [(BlockKind::Prose, "yes".into(), 1)]);
    }

    #[test]
    fn an_unclosed_navigation_does_not_swallow_the_page() {
        assert_eq!(read("<nav>menu<main><p>text</p></main>"), [(BlockKind::Prose, "text".into(), 1)]);
    }

    #[test]
    fn tables_lists_and_definitions() {
        use BlockKind::{Prose, Row};
        let source = "<table><tr><th>Code<th>Cause</tr>\n<tr><td>E1<td>No <b>water</b></table><ul><li>a<li>b</ul><dl><dt>Fuse</dt>\n<dd>3 A</dd></dl>";
        assert_eq!(
            read(source),
            [
                (Row, "Code: E1; Cause: No water".into(), 2),
                (Prose, "a".into(), 2),
                (Prose, "b".into(), 2),
                (Prose, "Fuse: 3 A".into(), 2),
            ]
        );
    }

    #[test]
    fn preformatted_lines_stay_apart() {
        assert_eq!(read("<pre>a &lt; b\nc</pre>"), [(BlockKind::Prose, "a < b\nc".into(), 1)]);
    }

    #[test]
    fn broken_markup_is_no_panic() {
        for source in [
            "<",
            "<p",
            "</",
            "<!--",
            "<table><td>",
            "</table></td></nav></script>",
            "<script>",
            "<title>",
            "&#xffffffff;",
            "<![CDATA[",
        ] {
            let _ = parse(source);
        }
    }
}
