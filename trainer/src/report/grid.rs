//! Runs beside one another: rows and columns of cells, each with the runs of several seeds.

use super::chart::{Axis, Chart, Point, Series, short};
use super::collect::RunData;
use super::document::{Column, Table};
use super::statistics::{Spread, difference, row_noise};
use crate::comparison::Reference;
use crate::run::FileScores;

/// A table of runs.
pub(super) struct Grid<'a> {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<String>,
    /// `[row][column]`.
    pub(super) cells: Vec<Vec<Cell<'a>>>,
    pub(super) references: &'a [Reference],
}

/// The runs of one row and column, by seed.
#[derive(Clone, Default)]
pub(super) struct Cell<'a> {
    pub(super) runs: Vec<&'a RunData>,
    /// The evaluated file.
    pub(super) file: String,
    /// Who answers; the run's one answer when absent.
    pub(super) system: Option<String>,
}

impl<'a> Cell<'a> {
    /// Seed and scores of each run that has come to its evaluation.
    fn scores(&self) -> Vec<(u64, &'a FileScores, &'a RunData)> {
        let of = |run: &'a RunData| match &self.system {
            Some(system) => run.system(&self.file, system),
            None => run.answer(&self.file),
        };
        self.runs.iter().filter_map(|run| Some((run.record.config.seed, of(run)?, *run))).collect()
    }

    fn spread(&self, measure: impl Fn(&FileScores) -> f64) -> Option<Spread> {
        Spread::of(&self.scores().iter().map(|(_, s, _)| measure(s)).collect::<Vec<f64>>())
    }

    fn accuracy(&self) -> Option<Spread> {
        self.spread(|s| 100.0 * s.scores.accuracy)
    }
}

impl Grid<'_> {
    fn reference(&self, reference: &Reference, row: &str, column: &str) -> Option<f64> {
        reference.figures.get(&format!("{column}/{row}")).copied()
    }

    /// Accuracy of each row in each column, with the figures of others beside ours.
    pub(super) fn accuracy_table(&self) -> Table {
        let seeds = self.cells.iter().flatten().map(|cell| cell.runs.len()).max().unwrap_or(0);
        let caption = match seeds {
            0 | 1 => "Accuracy in per cent, one seed.".to_owned(),
            n => format!("Accuracy in per cent: mean and standard deviation over up to {n} seeds."),
        };
        let mut table = Table::new(caption, 1, &[""]);
        for column in &self.columns {
            table.columns.push(Column { title: column.clone(), number: true });
            for reference in self.references {
                table.columns.push(Column { title: format!("{column}, {}", reference.name), number: true });
            }
        }
        for (row, cells) in self.rows.iter().zip(&self.cells) {
            let mut out = vec![row.clone()];
            for (column, cell) in self.columns.iter().zip(cells) {
                out.push(cell.accuracy().map_or_else(String::new, |s| s.text(1)));
                for reference in self.references {
                    out.push(self.reference(reference, row, column).map_or_else(String::new, |f| format!("{f:.1}")));
                }
            }
            table.rows.push(out);
        }
        table.without_empty_columns()
    }

    /// Everything else that was measured, a line for each cell.
    pub(super) fn details_table(&self) -> Table {
        let mut table = Table::new(
            "Means over the seeds. ECE: expected calibration error before and after the temperature. Rows a second \
             are by the clock, beside whatever else ran; processor time is of all threads together.",
            2,
            &[
                "set",
                "",
                "seeds",
                "rows",
                "accuracy %",
                "of training rows %",
                "NLL",
                "ECE before",
                "ECE after",
                "parameters",
                "MB as f32",
                "rows a second",
                "processor ms a row",
            ],
        );
        for (column, name) in self.columns.iter().enumerate() {
            for (row, cells) in self.rows.iter().zip(&self.cells) {
                let cell = &cells[column];
                let scores = cell.scores();
                let Some((_, first, _)) = scores.first() else { continue };
                let mean = |measure: fn(&FileScores) -> Option<f64>| {
                    Spread::of(&scores.iter().filter_map(|(_, s, _)| measure(s)).collect::<Vec<_>>()).map(|s| s.mean)
                };
                let training: Vec<f64> = match &cell.system {
                    Some(_) => Vec::new(),
                    None => scores.iter().filter_map(|(_, s, run)| run.training_accuracy(&s.head)).collect(),
                };
                let text =
                    |value: Option<f64>, digits: usize| value.map_or_else(String::new, |v| format!("{v:.digits$}"));
                table.rows.push(vec![
                    name.clone(),
                    row.clone(),
                    scores.len().to_string(),
                    first.scores.rows.to_string(),
                    cell.accuracy().map_or_else(String::new, |s| s.text(1)),
                    Spread::of(&training).map_or_else(String::new, |s| format!("{:.1}", 100.0 * s.mean)),
                    text(mean(|s| Some(s.scores.nll)), 3),
                    text(mean(|s| s.reliability.as_ref().map(|r| r.ece_before)), 3),
                    text(mean(|s| Some(s.scores.ece)), 3),
                    if first.parameters == 0 { String::new() } else { short(first.parameters as f64) },
                    if first.parameters == 0 {
                        String::new()
                    } else {
                        format!("{:.1}", first.parameters as f64 * 4e-6)
                    },
                    text(mean(|s| Some(s.rows_per_second)), 0),
                    text(mean(|s| s.cpu_ms_per_row), 2),
                ]);
            }
        }
        table.without_empty_columns()
    }

    /// In words: how each row does against the first.
    pub(super) fn findings(&self) -> Vec<String> {
        let mut all = Vec::new();
        let Some((baseline, others)) = self.rows.split_first() else { return all };
        for (column, name) in self.columns.iter().enumerate() {
            let accuracies = |row: usize| -> Vec<(u64, f64)> {
                self.cells[row][column].scores().iter().map(|(seed, s, _)| (*seed, 100.0 * s.scores.accuracy)).collect()
            };
            let rows = self.cells[0][column].scores().first().map_or(0, |(_, s, _)| s.scores.rows);
            for (i, row) in others.iter().enumerate() {
                if let Some(found) = difference(&accuracies(i + 1), &accuracies(0)) {
                    all.push(format!("{name}: {row} against {baseline}: {}.", found.text()));
                }
            }
            if let Some(spread) = self.cells[0][column].accuracy() {
                all.push(format!(
                    "{name}: {rows} rows; chance of the rows alone moves an accuracy of {:.1} % by up to {:.1} points (95 %).",
                    spread.mean,
                    row_noise(spread.mean / 100.0, rows)
                ));
            }
        }
        all
    }

    /// In words, where rows are teachers, students and ensembles: who is best.
    pub(super) fn findings_of_parts(&self) -> Vec<String> {
        let mut all = Vec::new();
        let of_kind = |kind: &dyn Fn(&FileScores) -> bool, column: usize| -> Vec<(usize, f64)> {
            let rows = self.cells.iter().enumerate();
            rows.filter_map(|(i, cells)| {
                let cell = &cells[column];
                let (_, first, _) = *cell.scores().first()?;
                Some((i, cell.accuracy()?.mean)).filter(|_| kind(first))
            })
            .collect()
        };
        let mean = |values: &[(usize, f64)]| values.iter().map(|(_, v)| v).sum::<f64>() / values.len().max(1) as f64;
        let teacher = |s: &FileScores| s.system.starts_with("teacher ");
        let student = |s: &FileScores| s.ensemble.is_none() && !s.system.starts_with("teacher ");
        let ensemble = |s: &FileScores| s.ensemble.is_some();
        let mut sums = vec![(0.0, 0usize); self.rows.len()];
        for (column, name) in self.columns.iter().enumerate() {
            let (teachers, students) = (of_kind(&teacher, column), of_kind(&student, column));
            let ensembles = of_kind(&ensemble, column);
            for (i, value) in ensembles.iter().chain(&students) {
                sums[*i] = (sums[*i].0 + value, sums[*i].1 + 1);
            }
            if teachers.is_empty() || students.is_empty() {
                continue;
            }
            let best = ensembles.iter().max_by(|a, b| a.1.total_cmp(&b.1));
            let best =
                best.map_or_else(String::new, |(i, v)| format!(", the best ensemble {v:.1} ({})", self.rows[*i]));
            all.push(format!(
                "{name}: teachers {:.1} on average, students {:.1}{best}.",
                mean(&teachers),
                mean(&students)
            ));
        }
        let complete: Vec<(usize, f64)> = sums
            .iter()
            .enumerate()
            .filter(|(_, (_, count))| *count == self.columns.len())
            .map(|(i, (sum, count))| (i, sum / *count as f64))
            .collect();
        if self.columns.len() > 1 && complete.len() > 1 {
            let parts: Vec<String> = complete.iter().map(|(i, v)| format!("{} {v:.1}", self.rows[*i])).collect();
            all.push(format!("Mean over the {} columns: {}.", self.columns.len(), parts.join(", ")));
        }
        all
    }

    /// A reliability diagram of each column's students together.
    pub(super) fn calibration(&self) -> Vec<Chart> {
        let columns = self.columns.iter().enumerate();
        columns
            .filter_map(|(column, name)| {
                let all = self.cells.iter().flat_map(|cells| cells[column].scores());
                let students = all.map(|(_, s, _)| s).filter(|s| s.system.starts_with("student"));
                super::single::reliability(&format!("{name}, students"), students.collect())
            })
            .collect()
    }

    /// The accuracy of the rows, where there are few of them.
    pub(super) fn bars(&self) -> Vec<Chart> {
        if self.rows.len() < 2 || self.rows.len() > 7 || self.rows.iter().any(|r| r.len() > 12) {
            return Vec::new();
        }
        let names = self.rows.clone();
        let mut chart = Chart {
            title: "Accuracy".to_owned(),
            description: "Mean over the seeds; the bar is one standard deviation to each side.".to_owned(),
            x: Axis { names, range: Some((-0.5, self.rows.len() as f64 - 0.5)), ..Axis::new("") },
            y: Axis::new("accuracy, %"),
            ..Chart::default()
        };
        let count = self.columns.len() as f64;
        for (column, name) in self.columns.iter().enumerate() {
            // Side by side, so that error bars do not cover one another.
            let shift = (column as f64 - (count - 1.0) / 2.0) * 0.12;
            let points = self.cells.iter().enumerate().filter_map(|(i, cells)| {
                let s = cells[column].accuracy()?;
                Some(Point { x: i as f64 + shift, y: s.mean, spread: s.deviation.unwrap_or(0.0), label: String::new() })
            });
            chart.series.push(Series { name: name.clone(), points: points.collect(), line: false });
        }
        vec![chart]
    }

    /// Accuracy against size and against processor time, where sizes differ.
    pub(super) fn size_charts(&self) -> Vec<Chart> {
        let mut charts = Vec::new();
        for (column, name) in self.columns.iter().enumerate() {
            let of = |measure: fn(&FileScores) -> Option<f64>| -> Vec<Point> {
                let point = |(row, cells): (&String, &Vec<Cell<'_>>)| {
                    let cell = &cells[column];
                    let (_, first, _) = *cell.scores().first()?;
                    let s = cell.accuracy()?;
                    let x = measure(first).filter(|x| *x > 0.0)?;
                    Some(Point { x, y: s.mean, spread: s.deviation.unwrap_or(0.0), label: row.clone() })
                };
                self.rows.iter().zip(&self.cells).filter_map(point).collect()
            };
            let sizes = of(|s| Some(s.parameters as f64 / 1e6));
            let mut distinct: Vec<f64> = sizes.iter().map(|p| p.x).collect();
            distinct.sort_by(f64::total_cmp);
            distinct.dedup_by(|a, b| *a < 1.02 * *b);
            // Where most have the same size, their points and names would lie on one another.
            if distinct.len() < 2 || 2 * distinct.len() < sizes.len() {
                continue;
            }
            let chart = |title: &str, label: &str, points| Chart {
                title: format!("{name}: accuracy against {title}"),
                description: format!(
                    "Each point is one row of the table, the further up and left the better; {label}."
                ),
                x: Axis { logarithmic: true, ..Axis::new(label) },
                y: Axis::new("accuracy, %"),
                series: vec![Series { name: name.clone(), points, line: false }],
                diagonal: false,
            };
            charts.push(chart("size", "million parameters", sizes));
            charts.push(chart("time", "processor ms a row", of(|s| s.cpu_ms_per_row)));
        }
        charts
    }

    /// Validation accuracy and training loss over the steps of the first seed's last stage.
    pub(super) fn curves(&self) -> Vec<Chart> {
        let mut charts = Vec::new();
        for (column, name) in self.columns.iter().enumerate() {
            let (mut losses, mut accuracies) = (Vec::new(), Vec::new());
            for (row, cells) in self.rows.iter().zip(&self.cells).filter(|(_, cells)| cells[column].system.is_none()) {
                let Some(run) = cells[column].runs.first() else { continue };
                let Some(training) = run.trainings.iter().find(|t| t.name.starts_with("stage2")) else { continue };
                let (loss, accuracy) = super::single::curves(training);
                losses.push(Series { name: row.clone(), ..loss });
                accuracies.extend(accuracy.into_iter().next().map(|s| Series { name: row.clone(), ..s }));
            }
            if losses.len() < 2 {
                continue;
            }
            let chart = |what: &str, label: &str, series| Chart {
                title: format!("{name}: {what}"),
                description: format!("{label} over the steps, first seed, first student."),
                x: Axis::new("step"),
                y: Axis::new(label),
                series,
                diagonal: false,
            };
            charts.push(chart("training loss", "loss", losses));
            charts.push(chart("validation", "accuracy, %", accuracies));
        }
        charts
    }
}
