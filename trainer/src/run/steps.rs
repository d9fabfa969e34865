//! The steps before training: pairs, teachers, soft labels.

use std::path::PathBuf;

use super::Runner;
use super::ledger::Mark;
use super::write_json;
use crate::config::{Calibration, SetConfig, TeacherConfig, TeacherKind};
use crate::data::{LabelMap, Row, RowFilter, read_rows};
use crate::error::{Error, Result};
use crate::hash::{Fingerprint, hash_file};
use crate::label::{LabelStore, ShardSet, Teacher, Values, fit_calibration};
use crate::pairs::{self, PairsConfig};

/// A teacher's answers for rows: logits of each row.
pub(super) type Answers = Vec<Vec<f32>>;

impl Runner<'_> {
    /// Where built pairs are.
    pub(super) fn pairs_path(&self, name: &str) -> PathBuf {
        self.output("pairs").join(format!("{name}.tsv"))
    }

    pub(super) fn build_pairs(&self) -> Result<()> {
        self.config.pairs.iter().try_for_each(|config| self.build_one(config))
    }

    fn build_one(&self, config: &PairsConfig) -> Result<()> {
        let mut fingerprint = Fingerprint::new().with("seed", self.config.seed.to_string());
        fingerprint.add("config", format!("{config:?}").as_bytes());
        for path in config.sources.iter().map(|s| &s.path).chain(&config.exclude) {
            fingerprint.add("file", hash_file(&self.data(path))?.as_bytes());
        }
        let path = self.pairs_path(&config.name);
        let mark = Mark::new(&self.options.output, &format!("pairs-{}", config.name), fingerprint.hex());
        if mark.done(&path) {
            self.options.reporter.say(format!("pairs {}: done before", config.name));
            return Ok(());
        }
        mark.unset()?;
        let pairs = pairs::build_from(
            config,
            self.config.seed,
            |path| self.data(path),
            |done, all| {
                self.options.stop.check()?;
                if done == all {
                    self.options.reporter.say(format!("pairs {}: {all} questions", config.name));
                }
                Ok(())
            },
        )?;
        pairs::write_pairs(&path, &pairs)?;
        self.options.reporter.say(format!("pairs {}: {} pairs in {}", config.name, pairs.len(), path.display()));
        mark.set()
    }

    pub(super) fn train_teachers(&self) -> Result<()> {
        self.config
            .teachers
            .iter()
            .filter(|t| t.kind == TeacherKind::Classifier && !t.sets.is_empty())
            .try_for_each(|teacher| self.fine_tune(teacher))
    }

    /// The folder of a teacher: as given, or where it was fine-tuned to.
    pub(super) fn teacher_folder(&self, teacher: &TeacherConfig) -> PathBuf {
        if teacher.sets.is_empty() {
            self.encoder(&teacher.encoder)
        } else {
            self.output("teachers").join(&teacher.name)
        }
    }

    /// The answers of one teacher for a set's rows, from disk or computed and stored.
    pub(super) fn answers(
        &self,
        teacher: &TeacherConfig,
        set: &SetConfig,
        labels: &[String],
        rows: &[Row],
    ) -> Result<Answers> {
        let mut loaded =
            Teacher::load(&teacher.name, teacher.kind, &self.teacher_folder(teacher), teacher.max_len, &self.device)?;
        loaded.set_precision(self.options.precision);
        let key = loaded.key(&set.head, labels, rows)?;
        let folder = self.output("labels").join(&teacher.name).join(&key.dataset_hash).join(&set.head);
        let values = key.values;
        let store = LabelStore::open(&folder, key)?;
        let missing = store.missing();
        if !missing.is_empty() {
            let mut progress =
                self.options.reporter.begin(&format!("label {}", teacher.name), "rows", rows.len() as u64, 0);
            loaded.label(&store, rows, &ShardSet::all(store.shards().len()), &mut progress, &self.options.stop)?;
            progress.finish();
        }
        let answers = store.read()?;
        if values == Values::Logits {
            return Ok(answers);
        }
        let calibration = self.calibration(teacher, &loaded)?;
        Ok(answers.iter().map(|cosine| calibration.logits(cosine[0])).collect())
    }

    /// The calibration of a sentence encoder: as given, or fitted on its file.
    fn calibration(&self, teacher: &TeacherConfig, loaded: &Teacher) -> Result<Calibration> {
        /// Enough for two parameters.
        const FIT_ROWS: usize = 2000;
        let Some(path) = &teacher.fit else { return Ok(teacher.calibration) };
        let path = self.data(path);
        // Kept, so that a training goes on after a new version of the program rounds the cosines otherwise.
        let made_of = Fingerprint::new()
            .with("teacher", loaded.hash())
            .with("rows", hash_file(&path)?)
            .with("seed", self.config.seed.to_string())
            .hex();
        let stored = self.output("labels").join(&teacher.name).join(format!("calibration-{made_of}.json"));
        if stored.exists() {
            let json = std::fs::read(&stored).map_err(|e| Error::io(&stored, "read", e))?;
            return serde_json::from_slice(&json).map_err(|e| Error::model(stored.display(), e));
        }
        let head = crate::config::HeadConfig::named("relevance");
        let labels = LabelMap::new("relevance", &head.labels()?, &Default::default())?;
        let rows = crate::data::limit(read_rows(&path, Some(&labels), &RowFilter::new())?, FIT_ROWS, self.config.seed);
        let (rows, relevant): (Vec<Row>, Vec<bool>) =
            rows.into_iter().filter_map(|r| r.label.map(|l| (r, l == 1))).unzip();
        let fitted = fit_calibration(&loaded.score(&rows)?, &relevant).ok_or_else(|| {
            Error::config(format!(
                "teacher {:?}: no calibration can be fitted on {}; it needs rows of both labels, and relevance that \
                 rises with the cosine",
                teacher.name,
                path.display()
            ))
        })?;
        self.options.reporter.say(format!(
            "teacher {}: margin = {:.2} * (cosine - {:.3}), fitted on {} rows",
            teacher.name,
            fitted.scale,
            fitted.offset,
            rows.len()
        ));
        write_json(&stored, &fitted)?;
        Ok(fitted)
    }
}
