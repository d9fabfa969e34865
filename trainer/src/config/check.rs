//! Reading a run file and checking that its parts fit together.

use std::collections::HashSet;
use std::path::Path;

use super::{HeadConfig, PoolerStart, RunConfig, SetConfig, StageConfig, TeacherConfig, TeacherKind};
use crate::error::{Error, Result};
use crate::scheme::Scheme;

impl RunConfig {
    /// Reads and checks a run file, on top of the one that it `extends`, if any; `data` and `encoders` become relative to the
    /// present folder.
    ///
    /// # Errors
    /// An I/O error, or a configuration error that names the line, and for an unknown key the nearest valid one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?;
        let config = match super::extend::extended(path, &text)? {
            Some(table) => {
                Self::from_table(table).map_err(|e| Error::config(format!("{e} (here or in what it extends)")))
            }
            None => Self::parse(&text),
        };
        let mut config = config.map_err(|e| Error::config(format!("{}: {e}", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        config.data = folder.join(&config.data);
        config.encoders = folder.join(&config.encoders);
        Ok(config)
    }

    /// Parses and checks the text of a run file.
    ///
    /// # Errors
    /// As [`RunConfig::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|e| Error::config(describe(&e, text)))?;
        config.resolved()
    }

    /// Reads and checks a run out of a TOML table.
    ///
    /// # Errors
    /// As [`RunConfig::read`], without lines.
    pub fn from_table(table: toml::Table) -> Result<Self> {
        let config: Self = table.try_into().map_err(|e| Error::config(describe(&e, "")))?;
        config.resolved()
    }

    /// Gives each set without teachers its stage's, and each teacher with `fine_tune` the sets of stage 2; then checks.
    fn resolved(mut self) -> Result<Self> {
        for stage in self.stage1.iter_mut().chain([&mut self.stage2]) {
            for set in stage.sets.iter_mut().filter(|set| set.teachers.is_empty()) {
                set.teachers.clone_from(&stage.teachers);
            }
        }
        let gold = self.stage2.sets.iter().filter(|set| set.gold);
        let gold: Vec<SetConfig> = gold.map(|set| SetConfig { teachers: Vec::new(), ..set.clone() }).collect();
        for teacher in self.teachers.iter_mut().filter(|t| t.fine_tune && t.sets.is_empty()) {
            teacher.sets.clone_from(&gold);
        }
        self.check()?;
        Ok(self)
    }

    /// The part of some teachers: they alone, and of each stage the sets that they label.
    ///
    /// # Errors
    /// A configuration error for a name that is none of the teachers'.
    pub fn of_teachers(&self, names: &[String]) -> Result<Self> {
        names.iter().try_for_each(|name| self.teacher(name).map(drop))?;
        let mut part = self.clone();
        part.teachers.retain(|teacher| names.contains(&teacher.name));
        for stage in part.stage1.iter_mut().chain([&mut part.stage2]) {
            for set in &mut stage.sets {
                set.teachers.retain(|name| names.contains(name));
            }
            stage.sets.retain(|set| !set.teachers.is_empty());
            if stage.matching.as_ref().is_some_and(|matching| !names.contains(&matching.teacher)) {
                stage.matching = None;
            }
        }
        Ok(part)
    }

    /// The seed of row limits, validation rows and pairs.
    pub fn data_seed(&self) -> u64 {
        self.data_seed.unwrap_or(self.seed)
    }

    /// Whether a teacher labels anything, or its insides are matched.
    pub fn teaches(&self, teacher: &TeacherConfig) -> bool {
        let matched = |stage: &StageConfig| stage.matching.as_ref().is_some_and(|m| m.teacher == teacher.name);
        let labels = |stage: &StageConfig| stage.sets.iter().any(|set| set.teachers.contains(&teacher.name));
        self.stages().any(|stage| matched(stage) || labels(stage))
    }

    /// Whether a set of a stage or of a teacher that is trained takes these pairs.
    pub fn takes_pairs(&self, name: &str) -> bool {
        let of_teachers =
            self.teachers.iter().filter(|teacher| self.teaches(teacher)).flat_map(|teacher| &teacher.sets);
        let mut sets = self.stages().flat_map(|stage| &stage.sets).chain(of_teachers);
        sets.any(|set| set.pairs.as_deref() == Some(name))
    }

    /// The teacher of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn teacher(&self, name: &str) -> Result<&TeacherConfig> {
        self.teachers.iter().find(|t| t.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.teachers.iter().map(|t| t.name.as_str()).collect();
            Error::config(format!("teacher {name:?} is not in [[teachers]], which has: {}", names.join(", ")))
        })
    }

    /// The head of a name.
    ///
    /// # Errors
    /// When the student has no such head.
    pub fn head(&self, name: &str) -> Result<&HeadConfig> {
        self.student.heads.iter().find(|h| h.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.student.heads.iter().map(|h| h.name.as_str()).collect();
            Error::config(format!("head {name:?}, expected one of student.heads: {}", names.join(", ")))
        })
    }

    /// The teachers that label a head in any stage, in the order of `teachers`.
    pub fn teachers_of(&self, head: &str) -> Vec<&TeacherConfig> {
        let labels = |teacher: &TeacherConfig| {
            self.stages()
                .flat_map(|stage| &stage.sets)
                .any(|set| set.head == head && set.teachers.contains(&teacher.name))
        };
        self.teachers.iter().filter(|t| labels(t)).collect()
    }

    fn stages(&self) -> impl Iterator<Item = &StageConfig> {
        self.stage1.iter().chain([&self.stage2])
    }

    /// Checks what the student begins with.
    fn check_start(&self) -> Result<()> {
        let student = &self.student;
        if student.go_on && (student.fresh.is_some() || student.pooler == PoolerStart::Identity) {
            return Err(Error::config(
                "student: go_on = true keeps a trained student's weights; leave out fresh and pooler = \"identity\"",
            ));
        }
        let mixed = self.stages().any(|stage| stage.training.start_weight > 0.0);
        if mixed && !(student.go_on && self.stage1.is_none()) {
            return Err(Error::config(
                "start_weight mixes in a trained student's weights; it needs student.go_on = true and no [stage1]",
            ));
        }
        if self.teachers.iter().any(|teacher| teacher.training.start_weight > 0.0) {
            return Err(Error::config("start_weight is for students that go on, not for teachers"));
        }
        Ok(())
    }

    /// Checks that all parts fit together.
    ///
    /// # Errors
    /// A configuration error that says which part does not.
    pub fn check(&self) -> Result<()> {
        if self.scheme == Scheme::Tmkd && self.stage1.is_none() {
            return Err(Error::config("scheme tmkd needs [stage1]; without a first stage it is m-o-1"));
        }
        if !(0.0..=0.5).contains(&self.validation.fraction) {
            return Err(Error::config(format!(
                "validation.fraction = {}, expected a number from 0 to 0.5",
                self.validation.fraction
            )));
        }
        if self.validation.max_rows == 0 {
            return Err(Error::config(
                "validation.max_rows = 0, expected at least 1; `fraction = 0` holds no rows out",
            ));
        }
        let trainings = self.stages().map(|stage| &stage.training).chain(self.teachers.iter().map(|t| &t.training));
        if let Some(training) = trainings.into_iter().find(|t| t.patience > 0 && self.validation.fraction == 0.0) {
            return Err(Error::config(format!(
                "patience = {}, but validation.fraction = 0 holds no rows out to say what is better",
                training.patience
            )));
        }
        let unique = |what: &str, names: Vec<&str>| {
            let mut seen = HashSet::new();
            match names.into_iter().find(|n| !seen.insert(n.to_owned())) {
                Some(name) => Err(Error::config(format!("{what} {name:?} is there twice; names must differ"))),
                None => Ok(()),
            }
        };
        unique("head", self.student.heads.iter().map(|h| h.name.as_str()).collect())?;
        unique("teacher", self.teachers.iter().map(|t| t.name.as_str()).collect())?;
        unique("pairs", self.pairs.iter().map(|p| p.name.as_str()).collect())?;
        for pairs in &self.pairs {
            if let Some(reword) = &pairs.reword {
                reword.check().map_err(|e| Error::config(format!("pairs {:?}: {e}", pairs.name)))?;
            }
        }
        for head in &self.student.heads {
            head.labels()?;
            self.scheme.check(&head.name, self.teachers_of(&head.name).len())?;
        }
        self.check_start()?;
        for stage in self.stages() {
            stage.training.check()?;
            if let Some(matching) = &stage.matching {
                matching.check()?;
                if self.teacher(&matching.teacher)?.labels.is_some() {
                    return Err(Error::config(format!(
                        "match: of teacher {:?} only the soft labels are here (`labels`), not its insides",
                        matching.teacher
                    )));
                }
            }
            for set in &stage.sets {
                self.check_set(set)?;
            }
        }
        for teacher in &self.teachers {
            teacher.training.check()?;
            if teacher.kind == TeacherKind::SentenceEncoder && (teacher.fine_tune || !teacher.sets.is_empty()) {
                return Err(Error::config(format!(
                    "teacher {:?} is a sentence encoder, whose cosine is its answer; kind = \"classifier\" can be fine-tuned",
                    teacher.name
                )));
            }
            if teacher.labels.is_some() && teacher.fit.is_some() {
                return Err(Error::config(format!(
                    "teacher {:?}: `fit` needs its encoder, and with `labels` only its soft labels are here; give `calibration`",
                    teacher.name
                )));
            }
            if teacher.fine_tune && teacher.sets.is_empty() {
                return Err(Error::config(format!(
                    "teacher {:?}: fine_tune = true, but no set of stage 2 has gold labels (gold = false)",
                    teacher.name
                )));
            }
            for set in &teacher.sets {
                self.check_set(set)?;
                check_answered(set, &format!("teacher {:?}", teacher.name), false)?;
            }
        }
        for set in &self.stage2.sets {
            check_answered(set, "stage2", self.scheme != Scheme::FineTune && !set.teachers.is_empty())?;
        }
        for set in self.stage1.iter().flat_map(|s| &s.sets) {
            if set.teachers.is_empty() {
                return Err(Error::config(format!(
                    "stage1: a set of head {:?} has no teachers; the first stage learns from soft labels only",
                    set.head
                )));
            }
        }
        for file in &self.evaluate {
            self.head(&file.head)?;
        }
        Ok(())
    }

    fn check_set(&self, set: &SetConfig) -> Result<()> {
        self.head(&set.head)?;
        match (&set.path, &set.pairs) {
            (Some(_), None) => {}
            (None, Some(name)) if self.pairs.iter().any(|p| p.name == *name) => {}
            (None, Some(name)) => {
                return Err(Error::config(format!("pairs = {name:?}, but no [[pairs]] has this name")));
            }
            _ => return Err(Error::config(format!("a set of head {:?} needs either path or pairs", set.head))),
        }
        for name in &set.teachers {
            if !self.teachers.iter().any(|t| t.name == *name) {
                return Err(Error::config(format!(
                    "teacher {name:?} of a set of head {:?} is not in [[teachers]]",
                    set.head
                )));
            }
        }
        Ok(())
    }
}

/// Says where a TOML error is, and for an unknown key which valid one is nearest.
pub(crate) fn describe(error: &toml::de::Error, text: &str) -> String {
    let place = error.span().map_or_else(String::new, |span| {
        let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
        format!("line {line}: ")
    });
    let message = error.message();
    // serde lists the valid names between backticks after the unknown one.
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let (true, Some((unknown, valid))) = (message.starts_with("unknown field"), names.split_first())
        && let Some(nearest) = valid.iter().min_by_key(|name| distance(unknown, name))
    {
        return format!("{place}unknown key `{unknown}`, did you mean `{nearest}`? (valid here: {})", valid.join(", "));
    }
    format!("{place}{message}")
}

/// A set without gold labels needs somebody who answers it.
fn check_answered(set: &SetConfig, place: &str, answered: bool) -> Result<()> {
    if set.gold || answered {
        return Ok(());
    }
    Err(Error::config(format!(
        "{place}: a set of head {:?} has gold = false and nobody else to learn from; name its teachers, or leave gold out",
        set.head
    )))
}

/// Levenshtein's distance.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
