//! `attar info`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::Result;
use attar::{Info, Model};
use attar_library::Library;
use serde_json::{Value, json};

use crate::Outcome;
use crate::args::InfoArgs;
use crate::output::{printable, stdout, write_json};
use crate::student::Student;

pub(crate) fn run(args: &InfoArgs) -> Result<Outcome> {
    let path = args.file.clone().or_else(|| std::env::var_os("ATTAR_MODEL").map(Into::into));
    let mut out = stdout();
    match path.as_deref().filter(|path| is_database(path)) {
        Some(path) => library(&mut out, path, args.json)?,
        None => bundle(&mut out, path.as_deref(), args.json)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn is_database(path: &Path) -> bool {
    // A pipe would be waited for.
    if !path.is_file() {
        return false;
    }
    let mut magic = [0; 16];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == b"SQLite format 3\0"
}

fn library(out: &mut impl Write, path: &Path, json: bool) -> Result<()> {
    let (documents, passages) = Library::open(path)?.len()?;
    let shown = path.display().to_string();
    if json {
        return write_json(out, &json!({"library": shown, "documents": documents, "passages": passages}));
    }
    Ok(writeln!(out, "{}: a library of {documents} documents, {passages} passages", printable(&shown))?)
}

fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Text that should be JSON, as JSON.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn bundle(out: &mut impl Write, path: Option<&Path>, json: bool) -> Result<()> {
    let student = Student::open_path(path)?;
    // A file's checksums were verified when it was opened, a bundle in the program's not: here both say so.
    student.model.verify()?;
    let info = student.model.info();
    if json { as_json(out, &student, &info) } else { as_text(out, &student, &info) }
}

fn as_json(out: &mut impl Write, student: &Student, info: &Info) -> Result<()> {
    let a = &info.architecture;
    let heads: Vec<Value> = info
        .heads
        .iter()
        .map(|head| {
            json!({"name": head.name, "labels": head.labels, "temperature": head.temperature,
                   "copies": head.copies, "layers": head.layers})
        })
        .collect();
    let parts: serde_json::Map<String, Value> =
        info.parts.iter().map(|part| (part.name.to_owned(), part.bytes.into())).collect();
    let object = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "target": target(),
        "model": student.name,
        "architecture": {
            "kind": "bert", "layers": a.layers, "hidden": a.hidden, "heads": a.heads, "intermediate": a.intermediate,
            "vocabulary": a.vocabulary, "positions": a.positions, "types": a.types,
        },
        "weights": info.weights.to_string(),
        "word_embeddings": info.precision.word_embeddings.map_or(info.weights.name(), |rows| rows.name()),
        "f16_linears": info.precision.f16_linears,
        "parameters": info.parameters,
        "max_tokens": info.max_tokens,
        "heads": heads,
        "file_bytes": info.file_bytes,
        "bytes_by_part": parts,
        "checksums": "verified",
        "provenance": parsed(&info.provenance),
        "quantization": info.quantization.as_deref().map(parsed),
        "kernel": info.kernel,
        "isa": info.isa,
        "kernels": Model::kernels(),
    });
    write_json(out, &object)
}

fn as_text(out: &mut impl Write, student: &Student, info: &Info) -> Result<()> {
    let a = &info.architecture;
    let mega = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
    writeln!(out, "model         {}", printable(&student.name))?;
    writeln!(
        out,
        "architecture  BERT, {} layers of {} with {} attention heads, feed-forward {}; {:.1} M parameters",
        a.layers,
        a.hidden,
        a.heads,
        a.intermediate,
        info.parameters as f64 / 1e6
    )?;
    writeln!(out, "input         up to {} tokens at once, vocabulary of {}", info.max_tokens, a.vocabulary)?;
    let mut exceptions = Vec::new();
    if let Some(rows) = info.precision.word_embeddings {
        exceptions.push(format!("word embeddings {}", rows.name()));
    }
    if !info.precision.f16_linears.is_empty() {
        exceptions.push(format!("{} in f16", info.precision.f16_linears.join(", ")));
    }
    let exceptions = if exceptions.is_empty() { String::new() } else { format!(" ({})", exceptions.join("; ")) };
    writeln!(out, "weights       {}{exceptions}, {} in all", info.weights, mega(info.file_bytes))?;
    for part in &info.parts {
        writeln!(out, "  {:<11} {:>12}", part.name, mega(part.bytes))?;
    }
    for head in &info.heads {
        writeln!(
            out,
            "head          {}: {} (temperature {})",
            printable(&head.name),
            printable(&head.labels.join(", ")),
            head.temperature
        )?;
    }
    writeln!(out, "checksums     verified")?;
    object_as_text(out, "provenance", &parsed(&info.provenance))?;
    if let Some(text) = &info.quantization {
        object_as_text(out, "quantization", &parsed(text))?;
    }
    writeln!(
        out,
        "kernel        {} ({}); this machine can run {}",
        info.kernel,
        info.isa,
        Model::kernels().join(", ")
    )?;
    writeln!(out, "attar         {} for {}", env!("CARGO_PKG_VERSION"), target())?;
    Ok(())
}

fn object_as_text(out: &mut impl Write, name: &str, value: &Value) -> Result<()> {
    let Value::Object(entries) = value else { return Ok(()) };
    if !entries.is_empty() {
        writeln!(out, "{name}")?;
    }
    for (key, value) in entries {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }
            Value::Array(items) if items.len() > 4 => format!("{} entries (--json shows them)", items.len()),
            other => other.to_string(),
        };
        writeln!(out, "  {:<11} {}", printable(key), printable(&text))?;
    }
    Ok(())
}
