//! A document as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

use std::fmt::Write as _;

use super::document::{Block, Document, Table};

const STYLE: &str = include_str!("style.css");

/// The page.
pub(super) fn render(document: &Document) -> String {
    let mut out = String::new();
    let title = escaped(&document.title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#content\">Skip to the content</a>\n<header><h1>{title}</h1>\n{}</header>\n\
         <main id=\"content\">\n",
        contents(document)
    );
    let (mut section, mut figures, mut open) = (0, 0, false);
    for block in &document.blocks {
        match block {
            Block::Heading(2, text) => {
                if open {
                    out.push_str("</section>\n");
                }
                open = true;
                section += 1;
                let _ = writeln!(
                    out,
                    "<section aria-labelledby=\"section-{section}\">\n<h2 id=\"section-{section}\">{}</h2>",
                    escaped(text)
                );
            }
            Block::Heading(level, text) => {
                let _ = writeln!(out, "<h{level}>{}</h{level}>", escaped(text));
            }
            Block::Paragraph(text) => {
                let _ = writeln!(out, "<p>{}</p>", escaped(text));
            }
            Block::List(items) => {
                let items: Vec<String> = items.iter().map(|i| format!("<li>{}</li>", escaped(i))).collect();
                let _ = writeln!(out, "<ul>{}</ul>", items.concat());
            }
            Block::Table(table) => write_table(&mut out, table),
            Block::Charts(charts) => {
                out.push_str("<div class=\"charts\">\n");
                for chart in charts {
                    figures += 1;
                    let _ = writeln!(
                        out,
                        "<figure>{}{}<figcaption><strong>{}</strong> {}</figcaption></figure>",
                        chart.svg(&format!("figure-{figures}")),
                        chart.legend(),
                        escaped(&chart.title),
                        escaped(&chart.description)
                    );
                }
                out.push_str("</div>\n");
            }
            Block::Code(text) => {
                let _ = writeln!(
                    out,
                    "<details><summary>Show</summary><pre tabindex=\"0\"><code>{}</code></pre></details>",
                    escaped(text)
                );
            }
        }
    }
    if open {
        out.push_str("</section>\n");
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Links to the sections.
fn contents(document: &Document) -> String {
    let sections = document.blocks.iter().filter_map(|b| match b {
        Block::Heading(2, text) => Some(text),
        _ => None,
    });
    let items: Vec<String> = sections
        .enumerate()
        .map(|(i, text)| format!("<li><a href=\"#section-{}\">{}</a></li>", i + 1, escaped(text)))
        .collect();
    if items.len() < 2 {
        return String::new();
    }
    format!("<nav aria-label=\"Sections\"><ul>{}</ul></nav>\n", items.concat())
}

fn write_table(out: &mut String, table: &Table) {
    let caption = escaped(&table.caption);
    // Focusable, so that a table wider than the screen can be scrolled by keyboard.
    let _ = write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n<table>\n<caption>{caption}</caption>\n<thead><tr>"
    );
    for column in &table.columns {
        let class = if column.number { " class=\"number\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escaped(&column.title));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (i, (cell, column)) in row.iter().zip(&table.columns).enumerate() {
            let cell = escaped(cell);
            let _ = match (i, column.number) {
                (0, _) => write!(out, "<th scope=\"row\">{cell}</th>"),
                (_, true) => write!(out, "<td class=\"number\">{cell}</td>"),
                (_, false) => write!(out, "<td>{cell}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

/// A text as HTML or SVG content or attribute value.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters are not allowed in HTML.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
