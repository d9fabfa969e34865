//! All data files are read once before anything is trained, and encoder folders looked into: what is wrong costs seconds
//! then, and hours later.

use std::path::{Path, PathBuf};

use attar_nn::EncoderConfig;

use super::Runner;
use crate::config::HeadConfig;
use crate::data::{self, LabelMap, ReadOptions};
use crate::error::{Error, ErrorKind, Result};

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
                labels: (!soft_only && set.gold).then_some(&map),
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
            let read = self.check_file(&file.head, &file.path, options)?;
            super::scoring::some_labelled(&read.rows, &self.data(&file.path), &file.head)?;
        }
        for path in config.teachers.iter().filter_map(|t| t.fit.as_ref()) {
            let map = LabelMap::new("relevance", &HeadConfig::named("relevance").labels()?, &Default::default())?;
            self.check_file("relevance", path, ReadOptions { labels: Some(&map), ..ReadOptions::default() })?;
        }
        Ok(())
    }

    /// Checks that the folders of the student's encoder and of all teachers are there, whole, long enough for their pairs, and have
    /// the layers that the run keeps or freezes.
    ///
    /// # Errors
    /// The first file that is missing, or a `max_len`, `layers` or `frozen_layers` beyond what an encoder has.
    pub(super) fn check_encoders(&self) -> Result<()> {
        let (student, teachers) = (&self.config.student, &self.config.teachers);
        let layers = match &student.fresh {
            Some(fresh) => {
                self.encoder_folder("student.encoder", &student.encoder, &["tokenizer.json"])?;
                fresh.layers
            }
            None => {
                let available = self.check_encoder("student.encoder", &student.encoder, student.max_len)?.layers;
                let chosen = student.layers().resolve(available);
                chosen.map_err(|e| Error::config(format!("student.layers: {e}")))?.len()
            }
        };
        let stages = [("stage1", self.config.stage1.as_ref()), ("stage2", Some(&self.config.stage2))];
        for (name, stage) in stages {
            let Some(stage) = stage else { continue };
            check_frozen(name, stage.training.frozen_layers, layers)?;
        }
        for pairs in &self.config.pairs {
            if let Some(reword) = &pairs.reword {
                self.check_encoder(&format!("reword.encoder of pairs {:?}", pairs.name), &reword.encoder, 0)?;
            }
        }
        for teacher in teachers.iter().filter(|t| self.config.teaches(t) && t.labels.is_none()) {
            let name = format!("teacher {:?}", teacher.name);
            let encoder = self.check_encoder(&format!("encoder of {name}"), &teacher.encoder, teacher.max_len)?;
            if !teacher.sets.is_empty() {
                check_frozen(&name, teacher.training.frozen_layers, encoder.layers)?;
            }
        }
        Ok(())
    }

    fn check_encoder(&self, what: &str, path: &Path, max_len: usize) -> Result<EncoderConfig> {
        let folder = self.encoder_folder(what, path, &["config.json", "model.safetensors", "tokenizer.json"])?;
        let config = EncoderConfig::load(&folder.join("config.json"))?;
        let positions = config.max_tokens();
        if max_len > positions {
            let folder = folder.display();
            return Err(Error::config(format!("{what}: max_len = {max_len}, but {folder} has {positions} positions")));
        }
        Ok(config)
    }

    /// The folder, in which these files are.
    fn encoder_folder(&self, what: &str, path: &Path, needed: &[&str]) -> Result<PathBuf> {
        let folder = self.encoder(path);
        let Some(missing) = needed.iter().find(|name| !folder.join(name).is_file()) else { return Ok(folder) };
        let root = if path.is_absolute() || self.config.encoders.as_os_str().is_empty() {
            String::new()
        } else {
            let root = self.config.encoders.display();
            format!("; relative folders are below `encoders` (--encoders), which is {root}")
        };
        Err(Error::new(
            ErrorKind::Io,
            format!(
                "{what}: no file {}, expected a Hugging Face encoder or student folder{root}",
                folder.join(missing).display()
            ),
        ))
    }

    fn check_file(&self, head: &str, path: &Path, options: ReadOptions<'_>) -> Result<data::ReadRows> {
        self.options.stop.check()?;
        let found = self.data(path);
        let root = &self.config.data;
        let read = data::read(&found, options).map_err(|e| match e.kind() {
            ErrorKind::Io if path.is_relative() && !root.as_os_str().is_empty() && !found.exists() => {
                e.with_hint(format!("relative paths are below `data` (--data), which is {}", root.display()))
            }
            _ => e,
        })?;
        let mut notes = String::new();
        if read.unlabelled > 0 {
            notes += &format!(", {} of them without a gold label (skipped where no teacher answers)", read.unlabelled);
        }
        if read.empty > 0 {
            notes += &format!("; {} with an empty text skipped", read.empty);
        }
        self.options.reporter.say(format!("{head} {}: {} rows{notes}", path.display(), read.rows.len()));
        Ok(read)
    }
}

fn check_frozen(what: &str, frozen: usize, layers: usize) -> Result<()> {
    if frozen > layers {
        return Err(Error::config(format!("{what}: frozen_layers = {frozen}, but the encoder has {layers} layers")));
    }
    Ok(())
}
