//! The steps before training: pairs, teachers, soft labels.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::Runner;
use super::ledger::Mark;
use super::write_json;
use crate::canonical::canonical;
use crate::config::{Calibration, SetConfig, TeacherConfig, TeacherKind};
use crate::data::{LabelMap, Row, RowFilter, read_rows};
use crate::error::{Error, Result};
use crate::hash::{Fingerprint, hash_file, hash_model};
use crate::label::{LabelStore, ShardSet, StoreKey, Teacher, Values, fit_calibration};
use crate::pairs::{self, PairsConfig};

/// A teacher's answers for rows: logits of each row.
pub(super) type Answers = Vec<Vec<f32>>;

impl Runner<'_> {
    /// Builds the pairs that a set takes; returns where they are, by name.
    pub(super) fn build_pairs(&self) -> Result<BTreeMap<String, PathBuf>> {
        let (taken, left): (Vec<_>, Vec<_>) =
            self.config.pairs.iter().partition(|pairs| self.config.takes_pairs(&pairs.name));
        for pairs in left {
            self.options.reporter.say(format!("pairs {}: no set takes them, not built", pairs.name));
        }
        taken.into_iter().map(|config| Ok((config.name.clone(), self.build_one(config)?))).collect()
    }

    fn build_one(&self, config: &PairsConfig) -> Result<PathBuf> {
        let seed = self.config.data_seed();
        let mut fingerprint = Fingerprint::new().with("seed", seed.to_string());
        fingerprint.add("config", canonical(config, &["pairs", "0"]).as_bytes());
        for path in config.sources.iter().map(|s| &s.path).chain(&config.exclude) {
            fingerprint.add("file", hash_file(&self.data(path))?.as_bytes());
        }
        if !config.exclude.is_empty() {
            fingerprint.add("exclude", b"letters and digits, reworded texts too");
        }
        if let Some(reword) = &config.reword {
            fingerprint.add("encoder", hash_model(&self.encoder(&reword.encoder))?.as_bytes());
        }
        let (path, mark) = match &self.options.shared {
            Some(shared) => {
                let name = format!("pairs-{}-{}", config.name, fingerprint.hex());
                (shared.join("pairs").join(format!("{name}.tsv")), Mark::new(shared, &name, fingerprint.hex()))
            }
            None => (
                self.output("pairs").join(format!("{}.tsv", config.name)),
                Mark::new(&self.options.output, &format!("pairs-{}", config.name), fingerprint.hex()),
            ),
        };
        let lock = mark.lock_unless_done(&path, &self.options.stop, self.options.reporter)?;
        let Some(_lock) = lock else {
            self.options.reporter.say(format!("pairs {}: done before", config.name));
            return Ok(path);
        };
        mark.unset()?;
        let pairs = pairs::build_from(
            config,
            seed,
            |path| self.data(path),
            |path| self.encoder(path),
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
        mark.set()?;
        Ok(path)
    }

    /// Fine-tunes the teachers that teach something; returns where they are, by name.
    pub(super) fn train_teachers(&self) -> Result<BTreeMap<String, PathBuf>> {
        let mut folders = BTreeMap::new();
        let here = self.config.teachers.iter().filter(|t| t.kind == TeacherKind::Classifier && t.labels.is_none());
        for teacher in here.filter(|t| !t.sets.is_empty()) {
            if self.config.teaches(teacher) {
                folders.insert(teacher.name.clone(), self.fine_tune(teacher)?);
            } else {
                self.options.reporter.say(format!("teacher {}: teaches nothing here, not trained", teacher.name));
            }
        }
        Ok(folders)
    }

    /// The folder of a teacher: where it was fine-tuned to, or as given.
    pub(super) fn teacher_folder(&self, teacher: &TeacherConfig) -> PathBuf {
        self.teachers.get(&teacher.name).cloned().unwrap_or_else(|| self.encoder(&teacher.encoder))
    }

    /// The root of soft labels.
    fn labels_root(&self) -> PathBuf {
        self.options.shared.as_ref().unwrap_or(&self.options.output).join("labels")
    }

    /// The answers of one teacher for a set's rows, from disk or computed and stored.
    pub(super) fn answers(
        &self,
        teacher: &TeacherConfig,
        set: &SetConfig,
        labels: &[String],
        rows: &[Row],
    ) -> Result<Answers> {
        let (loaded, key) = match &teacher.labels {
            Some(hash) => (None, StoreKey::new(&teacher.name, hash, &set.head, labels, teacher.kind.values(), rows)),
            None => {
                let loaded = self.load(teacher)?;
                let key = loaded.key(&set.head, labels, rows)?;
                (Some(loaded), key)
            }
        };
        // A teacher of the same name may be another one: of another run on a shared folder, or before its settings changed.
        let of_teacher = format!("{}-{}", teacher.name, key.teacher_hash);
        let folder = self.labels_root().join(of_teacher).join(&key.dataset_hash).join(&set.head);
        let values = key.values;
        let store = LabelStore::open(&folder, key)?;
        let missing = store.missing();
        if let (Some(loaded), false) = (&loaded, missing.is_empty()) {
            let mut progress =
                self.options.reporter.begin(&format!("label {}", teacher.name), "rows", rows.len() as u64, 0);
            loaded.label(&store, rows, &ShardSet::all(store.shards().len()), &mut progress, &self.options.stop)?;
            progress.finish();
        }
        if loaded.is_none() && !missing.is_empty() {
            return Err(Error::config(format!(
                "teacher {:?}: {} of {} shards of its soft labels for {} rows of head {:?} are not in {}; label these rows where the \
                 teacher is (attar-train run FILE --shared FOLDER --teachers {}), or leave `labels` out",
                teacher.name,
                missing.len(),
                store.shards().len(),
                rows.len(),
                set.head,
                folder.display(),
                teacher.name
            )));
        }
        let answers = store.read()?;
        if values == Values::Logits {
            return Ok(answers);
        }
        let calibration = match &loaded {
            Some(loaded) => self.calibration(teacher, loaded)?,
            None => teacher.calibration,
        };
        Ok(answers.iter().map(|cosine| calibration.logits(cosine[0])).collect())
    }

    /// A teacher in memory, once for all sets of a stage.
    fn load(&self, teacher: &TeacherConfig) -> Result<Rc<Teacher>> {
        if let Some(loaded) = self.loaded.borrow().get(&teacher.name) {
            return Ok(Rc::clone(loaded));
        }
        let loaded = Rc::new(Teacher::load(
            &teacher.name,
            teacher.kind,
            &self.teacher_folder(teacher),
            teacher.max_len,
            &self.device,
            teacher.precision.unwrap_or(self.options.precision),
        )?);
        self.loaded.borrow_mut().insert(teacher.name.clone(), Rc::clone(&loaded));
        Ok(loaded)
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
            .with("seed", self.config.data_seed().to_string())
            .hex();
        let stored = self.labels_root().join(&teacher.name).join(format!("calibration-{made_of}.json"));
        if stored.exists() {
            let json = std::fs::read(&stored).map_err(|e| Error::io(&stored, "read", e))?;
            return serde_json::from_slice(&json).map_err(|e| Error::model(stored.display(), e));
        }
        let head = crate::config::HeadConfig::named("relevance");
        let labels = LabelMap::new("relevance", &head.labels()?, &Default::default())?;
        let rows =
            crate::data::limit(read_rows(&path, Some(&labels), &RowFilter::new())?, FIT_ROWS, self.config.data_seed());
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
