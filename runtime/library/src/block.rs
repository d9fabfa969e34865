//! What every document format is read into: headings, prose and table rows, each with its lines.

use crate::lined::LinedText;

/// How a block's text may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A heading of level 1 to 6; it opens a section and is never a passage.
    Heading(u8),
    /// A paragraph, list item or code block: sentences.
    Prose,
    /// A table row: one piece.
    Row,
}

/// One block of a document.
#[derive(Debug)]
pub(crate) struct Block {
    pub kind: BlockKind,
    pub text: LinedText,
}

/// A document as its format's reader gives it.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// The title that stands outside the text (`<title>`, front matter).
    pub title: Option<String>,
    pub blocks: Vec<Block>,
}

impl Blocks {
    pub fn push(&mut self, kind: BlockKind, text: LinedText) {
        if !text.is_empty() {
            self.blocks.push(Block { kind, text });
        }
    }
}

/// A table being read: rows become `Header: cell; Header: cell`, which a model can read and a search can find.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headers: Vec<String>,
    cells: Vec<LinedText>,
    all_headers: bool,
    rows: usize,
}

impl Table {
    pub fn start_row(&mut self) {
        self.cells.clear();
        self.all_headers = true;
    }

    pub fn is_first_row(&self) -> bool {
        self.rows == 0
    }

    pub fn start_cell(&mut self, is_header: bool) {
        self.all_headers &= is_header;
        self.cells.push(LinedText::default());
    }

    /// The cell being read; one is opened where the document forgot to.
    pub fn cell(&mut self) -> &mut LinedText {
        if self.cells.is_empty() {
            self.start_cell(false);
        }
        let last = self.cells.len() - 1;
        &mut self.cells[last]
    }

    /// The finished row as a block, unless it is the header row or empty.
    pub fn end_row(&mut self) -> Option<Block> {
        let cells = std::mem::take(&mut self.cells);
        if cells.iter().all(LinedText::is_empty) {
            return None;
        }
        self.rows += 1;
        if self.rows == 1 && self.all_headers && cells.len() > 1 {
            self.headers = cells.iter().map(|cell| cell.text().replace('\n', " ")).collect();
            return None;
        }
        let mut text = LinedText::default();
        for (column, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let line = cell.line_at(0);
            if !text.is_empty() {
                text.push("; ", line);
            }
            if let Some(header) = self.headers.get(column).filter(|header| !header.is_empty()) {
                text.push(header, line);
                text.push(if header.ends_with([':', '?']) { " " } else { ": " }, line);
            }
            for piece in cell.text().split_inclusive('\n') {
                text.push(piece, line);
            }
        }
        Some(Block { kind: BlockKind::Row, text })
    }
}
