//! `report.md`: what a run made, in tables.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::history::{Entry, read_history};
use crate::progress::duration;
use crate::run::{FileScores, RunRecord};
use crate::train_loop::Summary;

/// Writes `report.md` into a run's output folder and returns its text.
///
/// # Errors
/// When the folder holds no run, or a file of it cannot be read or written.
pub fn write(output: &Path) -> Result<String> {
    let text = markdown(output)?;
    files::write_whole(&output.join("report.md"), |w| w.write_all(text.as_bytes()))?;
    Ok(text)
}

/// The report of a run's output folder as Markdown.
///
/// # Errors
/// When the folder holds no run, or a file of it cannot be read.
pub fn markdown(output: &Path) -> Result<String> {
    let record: RunRecord = read_json(&output.join("run.json"))?;
    let evaluation = output.join("evaluation.json");
    let scores: Vec<FileScores> = if evaluation.exists() { read_json(&evaluation)? } else { Vec::new() };
    let mut out = String::new();
    let config = &record.config;
    let _ = writeln!(out, "# Run {}\n", config.name);
    let _ = writeln!(
        out,
        "Scheme {}, seed {}, device {} ({} threads), commit {}, version {}.\n",
        config.scheme, config.seed, record.device, record.threads, record.commit, record.version
    );
    let _ = writeln!(out, "## Accuracy\n");
    if scores.is_empty() {
        let _ = writeln!(out, "Not evaluated yet.\n");
    } else {
        let _ = writeln!(
            out,
            "| set | head | rows | accuracy % | NLL | ECE | MAP | MRR |\n|---|---|---:|---:|---:|---:|---:|---:|"
        );
        for file in &scores {
            let ensemble = file.ensemble.map_or_else(String::new, |e| format!(" ({e:?})"));
            let (map, mrr) = file
                .ranking
                .as_ref()
                .map_or((String::new(), String::new()), |r| (format!("{:.3}", r.map), format!("{:.3}", r.mrr)));
            let s = &file.scores;
            let _ = writeln!(
                out,
                "| {}{ensemble} | {} | {} | {:.2} | {:.4} | {:.4} | {map} | {mrr} |",
                file.name,
                file.head,
                s.rows,
                100.0 * s.accuracy,
                s.nll,
                s.ece
            );
        }
        let _ = writeln!(out);
    }
    for name in trainings(output)? {
        training(&mut out, &output.join("training").join(&name), &name)?;
    }
    let _ = writeln!(out, "## Configuration\n");
    let text = toml::to_string(config).map_err(|e| Error::model("writing the configuration", e))?;
    let _ = writeln!(out, "```toml\n{}\n```", text.trim_end());
    Ok(out)
}

fn training(out: &mut String, folder: &Path, name: &str) -> Result<()> {
    let history = read_history(&folder.join("history.jsonl"))?;
    let _ = writeln!(out, "## Training {name}\n");
    let summary = folder.join("summary.json");
    if summary.exists() {
        let summary: Summary = read_json(&summary)?;
        let _ = writeln!(
            out,
            "{} steps in {}, {:.1} examples/s; weights of step {}.\n",
            summary.steps,
            duration(summary.seconds),
            summary.examples_per_second,
            summary.best_step
        );
    }
    if history.is_empty() {
        return Ok(());
    }
    let heads: Vec<&str> = history.last().map_or(Vec::new(), |e| e.scores.iter().map(|s| s.head.as_str()).collect());
    let _ = writeln!(out, "| step | time | loss | learning rate | {} |", heads.join(" | "));
    let _ = writeln!(out, "|---:|---:|---:|---:|{}", "---:|".repeat(heads.len().max(1)));
    for entry in &history {
        let cells: Vec<String> = heads.iter().map(|head| cell(entry, head)).collect();
        let _ = writeln!(
            out,
            "| {} | {} | {:.4} | {:.2e} | {} |",
            entry.step,
            duration(entry.seconds),
            entry.loss,
            entry.learning_rate,
            cells.join(" | ")
        );
    }
    let losses: Vec<f64> = history.iter().map(|e| e.loss).collect();
    let _ = writeln!(out, "\nLoss: `{}`\n", sparkline(&losses));
    Ok(())
}

/// Validation accuracy in per cent, or the soft error where there are no gold labels.
fn cell(entry: &Entry, head: &str) -> String {
    match entry.scores.iter().find(|s| s.head == head) {
        Some(s) if s.gold.rows > 0 => format!("{:.1} %", 100.0 * s.gold.accuracy),
        Some(s) => s.soft_mse.map_or_else(String::new, |mse| format!("mse {mse:.4}")),
        None => String::new(),
    }
}

/// A curve in eight heights, lowest to highest value.
fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let height = |v: f64| if high > low { ((v - low) / (high - low) * 7.0).round() as usize } else { 0 };
    values.iter().map(|&v| BARS[height(v).min(7)]).collect()
}

fn trainings(output: &Path) -> Result<Vec<String>> {
    let folder = output.join("training");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&folder).map_err(|e| Error::io(&folder, "list", e))?;
    let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let json = fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    serde_json::from_slice(&json).map_err(|e| Error::model(path.display(), e))
}
