//! The sections of one run.

use super::chart::{Axis, Chart, Point, Series};
use super::collect::{RunData, TrainingData};
use super::document::{Document, Table};
use crate::error::{Error, Result};
use crate::history::Entry;
use crate::metrics::Bin;
use crate::progress::duration;
use crate::run::{FileScores, RunRecord};
use crate::train_loop::in_words;

/// Adds all there is to say about a run.
///
/// # Errors
/// When its configuration cannot be written as TOML.
pub(super) fn sections(document: &mut Document, run: &RunData) -> Result<()> {
    document.text(&headline(&run.record));
    document.heading(2, "Accuracy");
    if run.scores.is_empty() {
        document.text("Not evaluated yet.");
    }
    document.table(scores_table(&run.scores));
    document.charts(
        run.files().into_iter().filter_map(|file| reliability(file, run.answer(file).into_iter().collect())).collect(),
    );
    for of_training in &run.trainings {
        training(document, of_training);
    }
    document.heading(2, "Configuration");
    let text = toml::to_string(&run.record.config).map_err(|e| Error::model("writing the configuration as TOML", e))?;
    document.blocks.push(super::document::Block::Code(text));
    Ok(())
}

fn headline(record: &RunRecord) -> String {
    let config = &record.config;
    format!("Scheme {}, seed {}, {}.", config.scheme, config.seed, record.circumstances)
}

fn scores_table(scores: &[FileScores]) -> Table {
    let mut table = Table::new(
        "Accuracy of each file; ECE: expected calibration error before and after the temperature.",
        2,
        &["set", "head", "rows", "accuracy %", "NLL", "ECE before", "ECE after", "MAP", "MRR", "processor ms a row"],
    );
    for file in scores {
        let system = if file.system == "student" { String::new() } else { format!(" ({})", file.system) };
        let ranking = |of: fn(&crate::metrics::Ranking) -> f64| {
            file.ranking.as_ref().map_or_else(String::new, |r| format!("{:.3}", of(r)))
        };
        let s = &file.scores;
        table.rows.push(vec![
            format!("{}{system}", file.name),
            file.head.clone(),
            s.rows.to_string(),
            format!("{:.2}", 100.0 * s.accuracy),
            format!("{:.4}", s.nll),
            file.reliability.as_ref().map_or_else(String::new, |r| format!("{:.4}", r.ece_before)),
            format!("{:.4}", s.ece),
            ranking(|r| r.map),
            ranking(|r| r.mrr),
            file.cpu_ms_per_row.map_or_else(String::new, |ms| format!("{ms:.2}")),
        ]);
    }
    table.without_empty_columns()
}

/// A reliability diagram of several answers to one file together, without and with temperatures.
pub(super) fn reliability(title: &str, scores: Vec<&FileScores>) -> Option<Chart> {
    let all: Vec<_> = scores.iter().filter_map(|s| s.reliability.as_ref()).collect();
    let sum = |which: fn(&crate::run::Reliability) -> &Vec<Bin>| {
        let mut bins = vec![Bin::default(); all.iter().map(|r| which(r).len()).max().unwrap_or(0)];
        for of_one in &all {
            for (sum, bin) in bins.iter_mut().zip(which(of_one)) {
                sum.rows += bin.rows;
                sum.confidence += bin.confidence * bin.rows as f64;
                sum.accuracy += bin.accuracy * bin.rows as f64;
            }
        }
        bins
    };
    // A bin of a handful of rows says nothing.
    const FEWEST: usize = 10;
    let series = |name: &str, bins: Vec<Bin>| {
        let rows: usize = bins.iter().map(|b| b.rows).sum();
        let error: f64 = bins.iter().map(|b| (b.confidence - b.accuracy).abs()).sum::<f64>() / rows.max(1) as f64;
        let point = |b: &Bin| {
            let rows = b.rows as f64;
            Point { x: b.confidence / rows, y: b.accuracy / rows, ..Point::default() }
        };
        let points = bins.iter().filter(|b| b.rows >= FEWEST).map(point).collect();
        Series { name: format!("{name} (error {error:.3})"), points, line: true }
    };
    if all.is_empty() {
        return None;
    }
    Some(Chart {
        title: format!("{title}: calibration"),
        description:
            "How often answers of a confidence are right, on the evaluated rows; on the dotted line a confidence means \
                      what it says. Intervals with fewer than 10 rows are left out."
                .to_owned(),
        x: Axis { range: Some((0.2, 1.0)), ..Axis::new("confidence") },
        y: Axis { range: Some((0.0, 1.0)), ..Axis::new("share that is right") },
        series: vec![series("before the temperature", sum(|r| &r.before)), series("after", sum(|r| &r.after))],
        diagonal: true,
    })
}

/// Loss, and the accuracy of each head, over the steps of a training.
pub(super) fn curves(training: &TrainingData) -> (Series, Vec<Series>) {
    let points = |value: &dyn Fn(&Entry) -> Option<f64>| -> Vec<Point> {
        let point = |e: &Entry| Some(Point { x: e.step as f64, y: value(e)?, ..Point::default() });
        training.history.iter().filter_map(point).collect()
    };
    let loss = Series { name: "training loss".to_owned(), points: points(&|e| Some(e.loss)), line: true };
    let heads = training.history.last().map_or(Vec::new(), |e| e.scores.iter().map(|s| s.head.clone()).collect());
    let of_head = |head: String| {
        let accuracy = |e: &Entry| {
            let scores = e.scores.iter().find(|s| s.head == head && s.gold.rows > 0)?;
            Some(100.0 * scores.gold.accuracy)
        };
        Series { points: points(&accuracy), name: head, line: true }
    };
    (loss, heads.into_iter().map(of_head).filter(|s| !s.points.is_empty()).collect())
}

fn training(document: &mut Document, training: &TrainingData) {
    document.heading(2, format!("Training {}", training.name));
    if let Some(summary) = &training.summary {
        let mut text = format!(
            "{} steps in {}, {:.1} examples/s; weights of step {}.",
            summary.steps,
            duration(summary.seconds),
            summary.examples_per_second,
            summary.best_step
        );
        if summary.start_weight > 0.0 {
            text.pop();
            text += &format!(", mixed with {} of the start's: {}.", summary.start_weight, in_words(&summary.scores));
        }
        document.text(&text);
    }
    let heads: Vec<&str> =
        training.history.last().map_or(Vec::new(), |e| e.scores.iter().map(|s| s.head.as_str()).collect());
    let titles: Vec<&str> =
        ["step", "time", "loss", "learning rate"].into_iter().chain(heads.iter().copied()).collect();
    let mut table = Table::new("Validation accuracy in per cent, or the soft labels' mean squared error.", 0, &titles);
    for entry in &training.history {
        let mut row = vec![
            entry.step.to_string(),
            duration(entry.seconds),
            format!("{:.4}", entry.loss),
            format!("{:.2e}", entry.learning_rate),
        ];
        row.extend(heads.iter().map(|head| cell(entry, head)));
        table.rows.push(row);
    }
    document.table(table);
    let (loss, accuracies) = curves(training);
    let chart = |what: &str, label: &str, series: Vec<Series>| Chart {
        title: format!("{}: {what}", training.name),
        description: format!("{label} over the steps."),
        x: Axis::new("step"),
        y: Axis::new(label),
        series,
        diagonal: false,
    };
    document.charts(vec![chart("training", "loss", vec![loss]), chart("validation", "accuracy, %", accuracies)]);
}

/// Validation accuracy in per cent, or the soft error where there are no gold labels.
fn cell(entry: &Entry, head: &str) -> String {
    match entry.scores.iter().find(|s| s.head == head) {
        Some(s) if s.gold.rows > 0 => format!("{:.1} %", 100.0 * s.gold.accuracy),
        Some(s) => s.soft_mse.map_or_else(String::new, |mse| format!("mse {mse:.4}")),
        None => String::new(),
    }
}
