//! `attar index`.

use std::io::Write;

use anyhow::Result;
use attar_library::{Library, ReadOptions};
use serde_json::json;

use crate::Outcome;
use crate::args::IndexArgs;
use crate::output::{printable, report_skipped, stdout, write_json};

pub(crate) fn run(args: &IndexArgs) -> Result<Outcome> {
    let mut library = Library::open_or_create(&args.output)?;
    let report = library.index(&args.paths, &ReadOptions::default())?;
    let (documents, passages) = library.len()?;
    let mut out = stdout();
    if args.json {
        let skipped: Vec<_> = report.skipped.iter().map(|s| json!({"source": s.source, "reason": s.reason})).collect();
        let object = json!({
            "library": args.output.display().to_string(),
            "documents": documents,
            "passages": passages,
            "added": report.added,
            "updated": report.updated,
            "unchanged": report.unchanged,
            "removed": report.removed,
            "skipped": skipped,
        });
        write_json(&mut out, &object)?;
    } else {
        report_skipped(&report.skipped);
        writeln!(
            out,
            "{}: {documents} documents, {passages} passages ({} added, {} updated, {} unchanged, {} removed)",
            printable(&args.output.display().to_string()),
            report.added,
            report.updated,
            report.unchanged,
            report.removed
        )?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}
