//! A document as Markdown.

use std::fmt::Write as _;

use super::chart::Chart;
use super::document::{Block, Document, Table};

/// The text.
pub(super) fn render(document: &Document) -> String {
    let mut out = format!("# {}\n", escaped(&document.title));
    for block in &document.blocks {
        out.push('\n');
        match block {
            Block::Heading(level, text) => {
                let _ = writeln!(out, "{} {}", "#".repeat(usize::from(*level)), escaped(text));
            }
            Block::Paragraph(text) => {
                let _ = writeln!(out, "{}", escaped(text));
            }
            Block::List(items) => {
                for item in items {
                    let _ = writeln!(out, "- {}", escaped(item));
                }
            }
            Block::Table(table) => write_table(&mut out, table),
            Block::Charts(charts) => {
                // The picture is in the page; a line's course can be shown here too.
                let texts: Vec<String> = charts.iter().map(in_words).collect();
                out.push_str(&texts.join("\n"));
            }
            Block::Code(text) => {
                // A fence longer than any run of backticks in the text.
                let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
                let fence = "`".repeat(longest.max(2) + 1);
                let _ = writeln!(out, "{fence}toml\n{}\n{fence}", text.trim_end());
            }
        }
    }
    out
}

/// What a chart shows, and the course of its lines.
fn in_words(chart: &Chart) -> String {
    let mut out = format!("{}: {}\n", escaped(&chart.title), escaped(&chart.description));
    let lines = chart.series.iter().filter(|s| s.line && s.points.len() > 2 && !chart.diagonal);
    for (number, series) in lines.enumerate() {
        let values: Vec<f64> = series.points.iter().map(|p| p.y).collect();
        let gap = if number == 0 { "\n" } else { "" };
        let _ = writeln!(out, "{gap}- {} `{}`", escaped(&series.name), sparkline(&values));
    }
    out
}

fn write_table(out: &mut String, table: &Table) {
    if !table.caption.is_empty() {
        let _ = writeln!(out, "{}\n", escaped(&table.caption));
    }
    let titles: Vec<String> = table.columns.iter().map(|c| escaped(&c.title)).collect();
    let rules: Vec<&str> = table.columns.iter().map(|c| if c.number { "---:" } else { "---" }).collect();
    let _ = writeln!(out, "| {} |\n|{}|", titles.join(" | "), rules.join("|"));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

/// A curve in eight heights, lowest to highest value.
fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let height = |v: f64| if high > low { ((v - low) / (high - low) * 7.0).round() as usize } else { 0 };
    values.iter().map(|&v| BARS[height(v).min(7)]).collect()
}

/// A text that Markdown shows as it is, on one line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
