//! What a report says, before it is Markdown or HTML.

use super::chart::Chart;

/// A report.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

/// One part of a report.
#[derive(Debug)]
pub(super) enum Block {
    /// A heading of a section (level 2) or a part of it (level 3).
    Heading(u8, String),
    Paragraph(String),
    List(Vec<String>),
    Table(Table),
    Charts(Vec<Chart>),
    Code(String),
}

/// A table; all rows have as many cells as there are columns.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) title: String,
    /// Aligned to the right.
    pub(super) number: bool,
}

impl Table {
    /// A table whose first `texts` columns are text and whose others are numbers.
    pub(super) fn new(caption: impl Into<String>, texts: usize, titles: &[&str]) -> Self {
        let columns =
            titles.iter().enumerate().map(|(i, t)| Column { title: (*t).to_owned(), number: i >= texts }).collect();
        Self { caption: caption.into(), columns, rows: Vec::new() }
    }

    /// Takes out columns in which no row says anything.
    pub(super) fn without_empty_columns(mut self) -> Self {
        for column in (0..self.columns.len()).rev() {
            if self.rows.iter().all(|row| row[column].is_empty()) {
                self.columns.remove(column);
                self.rows.iter_mut().for_each(|row| drop(row.remove(column)));
            }
        }
        self
    }
}

impl Document {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), blocks: Vec::new() }
    }

    pub(super) fn heading(&mut self, level: u8, text: impl Into<String>) {
        self.blocks.push(Block::Heading(level, text.into()));
    }

    /// Adds the paragraphs of a text, which empty lines separate.
    pub(super) fn text(&mut self, text: &str) {
        for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
            self.blocks.push(Block::Paragraph(paragraph.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }

    pub(super) fn list(&mut self, items: Vec<String>) {
        if !items.is_empty() {
            self.blocks.push(Block::List(items));
        }
    }

    pub(super) fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
    }

    /// Adds charts side by side; those without a point are left out.
    pub(super) fn charts(&mut self, charts: Vec<Chart>) {
        let charts: Vec<Chart> = charts.into_iter().filter(Chart::has_points).collect();
        if !charts.is_empty() {
            self.blocks.push(Block::Charts(charts));
        }
    }
}
