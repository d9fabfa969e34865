//! Reports: what runs made, as Markdown and as one HTML page that needs nothing else.

mod chart;
mod collect;
mod document;
mod grid;
mod html;
mod markdown;
mod single;
mod statistics;

use std::path::{Path, PathBuf};

use crate::canonical::canonical;
use crate::comparison::{ComparisonRecord, Experiment, Variant};
use crate::config::RunConfig;
use crate::error::Result;
use crate::files;
use collect::{RunData, read_json, read_run};
use document::Document;
use grid::{Cell, Grid};

/// A report in both forms.
#[derive(Clone, Debug)]
pub struct Report {
    /// As Markdown: tables, and what the charts show in words.
    pub markdown: String,
    /// As one HTML page with charts, for light and dark screens, telephones and paper.
    pub html: String,
}

impl Report {
    /// The report of a run's output folder, of a comparison's, or of several runs together.
    ///
    /// # Errors
    /// When a folder holds no run, or a file of it cannot be read.
    pub fn of(folders: &[PathBuf]) -> Result<Self> {
        let document = match folders {
            [folder] if folder.join("comparison.json").exists() => comparison(folder)?,
            [folder] => {
                let run = read_run(folder)?;
                let mut document = Document::new(format!("Run {}", run.record.config.name));
                single::sections(&mut document, &run)?;
                document
            }
            folders => several(folders)?,
        };
        Ok(Self { markdown: markdown::render(&document), html: html::render(&document) })
    }

    /// Writes `report.md` and `report.html` into a folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        files::write_whole(&folder.join("report.md"), |w| w.write_all(self.markdown.as_bytes()))?;
        files::write_whole(&folder.join("report.html"), |w| w.write_all(self.html.as_bytes()))
    }
}

/// Writes `report.md` and `report.html` into a run's or a comparison's output folder.
///
/// # Errors
/// As [`Report::of`] and [`Report::write`].
pub fn write(output: &Path) -> Result<Report> {
    let report = Report::of(&[output.to_owned()])?;
    report.write(output)?;
    Ok(report)
}

/// Several runs: those whose settings differ by the seed alone are one row.
fn several(folders: &[PathBuf]) -> Result<Document> {
    let runs = folders.iter().map(|folder| read_run(folder)).collect::<Result<Vec<_>>>()?;
    let mut groups: Vec<(String, String, Vec<&RunData>)> = Vec::new();
    for run in &runs {
        let config = RunConfig { seed: 0, ..run.record.config.clone() };
        let key = canonical(&config, &[]);
        match groups.iter_mut().find(|(other, ..)| *other == key) {
            Some((.., of_group)) => of_group.push(run),
            None => groups.push((key, config.name.clone(), vec![run])),
        }
    }
    let names: Vec<String> = groups.iter().map(|(_, name, _)| name.clone()).collect();
    for (_, name, of_group) in &mut groups {
        if names.iter().filter(|other| *other == name).count() > 1 {
            *name = of_group[0].folder.display().to_string();
        }
    }
    let mut files: Vec<String> = Vec::new();
    for file in runs.iter().flat_map(RunData::files) {
        if !files.iter().any(|f| f == file) {
            files.push(file.to_owned());
        }
    }
    let cells = groups.iter().map(|(.., of_group)| {
        files.iter().map(|file| Cell { runs: of_group.clone(), file: file.clone(), system: None }).collect()
    });
    let grid = Grid {
        cells: cells.collect(),
        columns: files.clone(),
        rows: groups.iter().map(|(_, name, _)| name.clone()).collect(),
        references: &[],
    };
    let mut document = Document::new(format!("{} runs", runs.len()));
    document.heading(2, "Accuracy");
    document.table(grid.accuracy_table());
    document.list(grid.findings());
    document.charts(grid.bars());
    document.charts(grid.size_charts());
    document.heading(2, "Training");
    document.charts(grid.curves());
    document.heading(2, "Details");
    document.table(grid.details_table());
    Ok(document)
}

fn comparison(folder: &Path) -> Result<Document> {
    let record: ComparisonRecord = read_json(&folder.join("comparison.json"))?;
    let of = &record.comparison;
    let mut runs: Vec<(Variant, RunData)> = Vec::new();
    for variant in of.variants() {
        let output = folder.join(variant.folder());
        if output.join("evaluation.json").exists() {
            runs.push((variant, read_run(&output)?));
        }
    }
    let mut document = Document::new(format!("Comparison {}", of.name));
    document.text(&of.about);
    let missing = of.variants().len() - runs.len();
    let trained: f64 =
        runs.iter().flat_map(|(_, r)| &r.trainings).filter_map(|t| Some(t.summary.as_ref()?.seconds)).sum();
    document.text(&format!(
        "{} runs, {}; {} of training as the clock has it, what runs share counted each time.{}",
        runs.len(),
        record.circumstances,
        crate::progress::duration(trained),
        if missing > 0 { format!(" {missing} runs have not been done yet.") } else { String::new() }
    ));
    for experiment in &of.experiments {
        section(&mut document, experiment, &runs);
    }
    Ok(document)
}

fn section(document: &mut Document, experiment: &Experiment, runs: &[(Variant, RunData)]) {
    let of = |column: &str, row: &str| -> Vec<&RunData> {
        let seeds = experiment.seeds.iter();
        seeds
            .filter_map(|seed| runs.iter().find(|(v, _)| v.column == column && v.row == row && v.seed == *seed))
            .map(|(_, run)| run)
            .collect()
    };
    let first_file =
        |runs: &[&RunData]| runs.iter().find_map(|r| r.files().first().map(|f| (*f).to_owned())).unwrap_or_default();
    document.heading(2, experiment.title.clone());
    document.text(&experiment.about);
    let done = experiment.variants().iter().filter(|v| runs.iter().any(|(other, _)| other == *v)).count();
    let all = experiment.variants().len();
    if done < all {
        document.text(&format!("{done} of its {all} runs have been done."));
    }
    if done == 0 {
        return;
    }
    let mut rows: Vec<String> = Vec::new();
    let mut cells: Vec<Vec<Cell<'_>>> = Vec::new();
    for row in &experiment.rows {
        let of_row: Vec<Vec<&RunData>> = experiment.columns.iter().map(|column| of(column, row)).collect();
        let cell = |runs: &Vec<&'_ RunData>, system: Option<&str>| (first_file(runs), system.map(str::to_owned));
        let systems: Vec<Option<String>> = match experiment.parts {
            false => vec![None],
            true => systems(of_row.iter().flatten().copied()).into_iter().map(Some).collect(),
        };
        for system in systems {
            rows.push(match (&system, experiment.rows.len()) {
                (None, _) => row.clone(),
                (Some(system), 1) => system.clone(),
                (Some(system), _) => format!("{row}: {system}"),
            });
            let of_columns = of_row.iter().map(|runs| {
                let (file, system) = cell(runs, system.as_deref());
                Cell { runs: runs.clone(), file, system }
            });
            cells.push(of_columns.collect());
        }
    }
    let grid = Grid { columns: experiment.columns.clone(), rows, cells, references: &experiment.references };
    document.table(grid.accuracy_table());
    document.list(if experiment.parts { grid.findings_of_parts() } else { grid.findings() });
    document.charts(grid.bars());
    document.charts(grid.size_charts());
    document.charts(grid.curves());
    if experiment.parts {
        document.charts(grid.calibration());
    }
    document.table(grid.details_table());
}

/// Who answered in these runs: teachers, then students, then ensembles.
fn systems<'a>(runs: impl Iterator<Item = &'a RunData>) -> Vec<String> {
    let mut all: Vec<(u8, String)> = Vec::new();
    for score in runs.flat_map(|run| &run.scores) {
        let rank = match (&score.ensemble, score.system.starts_with("teacher ")) {
            (Some(_), _) => 2,
            (None, true) => 0,
            (None, false) => 1,
        };
        if !all.iter().any(|(_, name)| *name == score.system) {
            all.push((rank, score.system.clone()));
        }
    }
    all.sort_by_key(|(rank, _)| *rank);
    all.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests;
