//! All data files are read once before anything is trained: a wrong column costs seconds then, and hours later.

use std::path::Path;

use super::Runner;
use crate::config::HeadConfig;
use crate::data::{self, LabelMap, ReadOptions};
use crate::error::Result;

impl Runner<'_> {
    /// Reads every file of the run as it will be read later, and says how many rows it has.
    ///
    /// # Errors
    /// The first file that cannot be read, with line, what was expected and what was found.
    pub(super) fn check_files(&self) -> Result<()> {
        let config = self.config;
        let stages = config.stage1.iter().map(|stage| (stage, true)).chain([(&config.stage2, false)]);
        for (set, soft_only) in stages
            .flat_map(|(stage, soft_only)| stage.sets.iter().map(move |set| (set, soft_only)))
            .chain(config.teachers.iter().flat_map(|t| &t.sets).map(|set| (set, false)))
        {
            let Some(path) = &set.path else { continue };
            let map = LabelMap::new(&set.head, &config.head(&set.head)?.labels()?, &set.labels)?;
            let options = ReadOptions {
                labels: (!soft_only).then_some(&map),
                filter: Some(&set.filter),
                columns: set.columns.as_ref(),
                ..ReadOptions::default()
            };
            self.check_file(&set.head, path, options)?;
        }
        for file in &config.evaluate {
            let map = LabelMap::new(&file.head, &config.head(&file.head)?.labels()?, &file.labels)?;
            let options = ReadOptions {
                labels: Some(&map),
                filter: Some(&file.filter),
                columns: file.columns.as_ref(),
                ..ReadOptions::default()
            };
            self.check_file(&file.head, &file.path, options)?;
        }
        for path in config.teachers.iter().filter_map(|t| t.fit.as_ref()) {
            let map = LabelMap::new("relevance", &HeadConfig::named("relevance").labels()?, &Default::default())?;
            self.check_file("relevance", path, ReadOptions { labels: Some(&map), ..ReadOptions::default() })?;
        }
        Ok(())
    }

    fn check_file(&self, head: &str, path: &Path, options: ReadOptions<'_>) -> Result<()> {
        self.options.stop.check()?;
        let read = data::read(&self.data(path), options)?;
        let mut notes = String::new();
        if read.unlabelled > 0 {
            notes += &format!(", {} of them without a gold label (skipped where no teacher answers)", read.unlabelled);
        }
        if read.empty > 0 {
            notes += &format!("; {} with an empty text skipped", read.empty);
        }
        self.options.reporter.say(format!("{head} {}: {} rows{notes}", path.display(), read.rows.len()));
        Ok(())
    }
}
