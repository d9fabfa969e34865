//! Tab-separated files as GLUE, SNLI, WikiQA and TREC-QA publish them: no quoting, a header row or stated columns.

use super::columns::{self, Columns, LabelColumn};
use super::read::{Collector, Label};
use crate::error::Result;

pub(super) fn read(text: &str, collector: &mut Collector<'_>) -> Result<()> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().enumerate().peekable();
    let Some(&(_, first)) = lines.peek() else {
        return Err(collector.error(1, "empty file, expected a header row"));
    };
    let first: Vec<&str> = first.split('\t').map(str::trim).collect();
    let header: Vec<&str> = match collector.options.columns {
        Some(Columns::Listed(listed)) => {
            if columns::is_header(&first) {
                let message =
                    format!("a header row ({}) although `columns` lists them; leave `columns` out", first.join(", "));
                return Err(collector.error(1, message));
            }
            listed.iter().map(String::as_str).collect()
        }
        _ => {
            lines.next();
            first
        }
    };
    let chosen = columns::choose(&header, collector.options.columns, collector.label_column(), filter_of(collector))
        .map_err(|message| collector.error(1, format!("{message}; {}", headerless(&header))))?;
    if chosen.label.is_none() && collector.label_column() == LabelColumn::Needed {
        return Err(collector.error(1, columns::no_label(&header)));
    }
    for (index, line) in lines {
        let number = index + 1;
        if line.trim().is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.len() != header.len() && !lacks_annotators_only(&header, fields.len(), chosen.last()) {
            let message = format!(
                "{} fields, expected {} ({}); a text must hold neither tabs nor line breaks",
                fields.len(),
                header.len(),
                header.join(", ")
            );
            return Err(collector.error(number, message));
        }
        if chosen.conditions.iter().any(|(column, value)| fields[*column].trim() != value) {
            collector.pass();
            continue;
        }
        let label = chosen.label.map_or(Label::Unread, |column| Label::Word(fields[column]));
        let id = chosen.id.map(|column| fields[column].trim());
        collector.push(number, id, fields[chosen.a], fields[chosen.b], label)?;
    }
    Ok(())
}

pub(super) fn filter_of<'a>(collector: &Collector<'a>) -> &'a super::RowFilter {
    static NONE: super::RowFilter = super::RowFilter::new();
    collector.options.filter.unwrap_or(&NONE)
}

/// Whether a short row lacks nothing but the labels of single annotators (`label1` to `label5`), which SNLI and MNLI put
/// last and not every row has.
fn lacks_annotators_only(header: &[&str], fields: usize, last: usize) -> bool {
    let annotator = |name: &&str| name.strip_prefix("label").is_some_and(|n| n.parse::<u8>().is_ok());
    fields > last && fields < header.len() && header[fields..].iter().all(annotator)
}

/// What to do about a first line that names no known columns.
fn headerless(header: &[&str]) -> String {
    format!(
        "if the file has no header row, say what its {} columns are, for example columns = [\"text_a\", \"text_b\"{}]",
        header.len(),
        if header.len() > 2 { ", \"label\"" } else { "" }
    )
}
