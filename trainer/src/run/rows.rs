//! From the sets of a stage to tokenised training and validation sets.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::path::PathBuf;

use super::Runner;
use crate::config::SetConfig;
use crate::data::{self, Columns, LabelMap, PairTokenizer, ReadOptions, Row, SplitBy};
use crate::error::{Error, Result};
use crate::hash::Fingerprint;
use crate::label::dataset_hash;
use crate::sets::TrainingSet;

/// A row with what each copy of its head learns.
struct Labelled {
    row: Row,
    targets: Vec<Option<Vec<f32>>>,
}

impl Borrow<Row> for Labelled {
    fn borrow(&self) -> &Row {
        &self.row
    }
}

/// What a stage is trained and validated on.
pub(super) struct StageData {
    pub(super) training: Vec<TrainingSet>,
    pub(super) validation: Vec<TrainingSet>,
    /// Hash of all texts, labels and targets.
    pub(super) hash: String,
    /// For provenance: where the rows come from, and how many there are.
    pub(super) described: Vec<String>,
}

/// Which answers of the sets a stage uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// The teachers' only.
    Soft,
    /// Gold labels only.
    Gold,
    /// Both.
    Both,
}

impl Runner<'_> {
    pub(super) fn set_path(&self, set: &SetConfig) -> Result<PathBuf> {
        match (&set.path, &set.pairs) {
            (Some(path), _) => Ok(self.data(path)),
            (None, Some(name)) if self.pairs.contains_key(name) => Ok(self.pairs[name].clone()),
            (None, _) => Err(Error::config(format!("a set of head {:?} needs either path or pairs", set.head))),
        }
    }

    fn read_set(&self, set: &SetConfig, labels: &[String], answers: Answers) -> Result<Vec<Row>> {
        let path = self.set_path(set)?;
        let map = LabelMap::new(&set.head, labels, &set.labels)?;
        let options = ReadOptions {
            labels: (answers != Answers::Soft && set.gold).then_some(&map),
            filter: Some(&set.filter),
            columns: set.columns.as_ref(),
            ..ReadOptions::default()
        };
        let mut rows = data::read(&path, options)?.rows;
        // A row that nobody answers teaches nothing.
        if set.teachers.is_empty() || answers == Answers::Gold {
            rows.retain(|row| row.label.is_some());
        }
        if let Some(limit) = set.limit {
            rows = data::limit(rows, limit, self.config.data_seed());
        }
        if rows.is_empty() {
            return Err(Error::config(format!("{}: no rows are left for head {:?}", path.display(), set.head)));
        }
        Ok(rows)
    }

    /// Reads, labels, splits, deduplicates and tokenises the sets of a stage for one student.
    pub(super) fn stage_data(
        &self,
        sets: &[SetConfig],
        answers: Answers,
        student: usize,
        tokenizer: &PairTokenizer,
    ) -> Result<StageData> {
        let mut hash = Fingerprint::new();
        let (mut training, mut validation, mut described) = (Vec::new(), Vec::<TrainingSet>::new(), Vec::new());
        let mut seen: std::collections::BTreeMap<&str, HashSet<u64>> = Default::default();
        for set in sets {
            self.options.stop.check()?;
            let labels = self.config.head(&set.head)?.labels()?;
            let rows = self.read_set(set, &labels, answers)?;
            let name = set.pairs.clone().unwrap_or_else(|| set.path.clone().unwrap_or_default().display().to_string());
            hash.add("head", set.head.as_bytes());
            hash.add("rows", dataset_hash(&rows).as_bytes());
            let targets = self.targets(set, &labels, &rows, answers, student)?;
            for (row, targets) in rows.iter().zip(&targets) {
                hash.add("answers", format!("{:?}{targets:?}", row.label).as_bytes());
            }
            let total = rows.len();
            let rows = rows.into_iter().zip(targets).map(|(row, targets)| Labelled { row, targets }).collect();
            let (rows, dropped) = data::deduplicate(rows, seen.entry(&set.head).or_default());
            // Rows that are another set's the other way round lie on the side of those.
            let turned = set.columns.as_ref().is_some_and(Columns::turns_round);
            let by = if turned { SplitBy::SecondText } else { SplitBy::FirstText };
            if turned {
                hash.add("split by", b"second text");
            }
            let (train, held_out) = data::split(rows, by, self.config.validation.fraction);
            self.options.reporter.say(format!(
                "{} {name}: {} rows to train on, {} held out, {dropped} duplicates",
                set.head,
                train.len(),
                held_out.len()
            ));
            described.push(format!("{} {name} ({total} rows)", set.head));
            training.push(tokenised(&name, &set.head, train, tokenizer)?);
            let held_out = tokenised(&set.head, &set.head, held_out, tokenizer)?;
            match validation.iter_mut().find(|v| v.head == set.head) {
                Some(of_head) => of_head.append(held_out),
                None => validation.push(held_out),
            }
        }
        // The training needs their memory.
        self.loaded.borrow_mut().clear();
        validation.retain(|set| !set.is_empty());
        for set in &mut validation {
            if set.len() > self.config.validation.max_rows {
                hash.add("thinned by", self.config.data_seed().to_string().as_bytes());
            }
            thin(set, self.config.validation.max_rows, self.config.data_seed());
        }
        training.retain(|set| !set.is_empty());
        Ok(StageData { training, validation, hash: hash.hex(), described })
    }

    /// Computes the soft labels of all sets of both stages that are not on disk yet.
    pub(super) fn label_sets(&self) -> Result<()> {
        let (first, second) = (self.config.stage1.as_ref(), &self.config.stage2);
        let stages = first.map(|stage| (stage, Answers::Soft)).into_iter().chain([(second, Answers::Both)]);
        for (set, answers) in stages.flat_map(|(stage, answers)| stage.sets.iter().map(move |set| (set, answers))) {
            self.options.stop.check()?;
            let labels = self.config.head(&set.head)?.labels()?;
            let rows = self.read_set(set, &labels, answers)?;
            for teacher in self.config.teachers.iter().filter(|teacher| set.teachers.contains(&teacher.name)) {
                self.answers(teacher, set, &labels, &rows)?;
            }
        }
        Ok(())
    }

    fn targets(
        &self,
        set: &SetConfig,
        labels: &[String],
        rows: &[Row],
        answers: Answers,
        student: usize,
    ) -> Result<Vec<Vec<Option<Vec<f32>>>>> {
        if answers == Answers::Gold {
            return Ok(vec![vec![None]; rows.len()]);
        }
        // In the order of the head's teachers, so that a copy of the head learns from the same one in every set.
        let mut teachers = Vec::new();
        for teacher in self.config.teachers_of(&set.head) {
            let labelled = set.teachers.contains(&teacher.name);
            let answers = if labelled { Some(self.answers(teacher, set, labels, rows)?) } else { None };
            teachers.push((teacher, answers));
        }
        Ok((rows.iter().enumerate())
            .map(|(number, row)| {
                let of_row: Vec<Option<Vec<f32>>> = (teachers.iter())
                    .map(|(teacher, answers)| {
                        teacher.against_gold.correct(answers.as_ref()?[number].clone(), row.label)
                    })
                    .collect();
                self.config.scheme.targets(&of_row, student)
            })
            .collect())
    }
}

fn tokenised(name: &str, head: &str, rows: Vec<Labelled>, tokenizer: &PairTokenizer) -> Result<TrainingSet> {
    let (rows, soft): (Vec<Row>, Vec<_>) = rows.into_iter().map(|l| (l.row, l.targets)).unzip();
    let tokens = tokenizer.rows(&rows, crate::label::truncation_for(head))?;
    Ok(TrainingSet {
        name: name.to_owned(),
        head: head.to_owned(),
        tokens,
        gold: rows.iter().map(|r| r.label).collect(),
        soft: if soft.iter().flatten().any(Option::is_some) { soft } else { Vec::new() },
    })
}

/// Keeps a random part of a set, the same for the same seed: rows with a gold label first, since they alone say which weights are best.
pub(super) fn thin(set: &mut TrainingSet, count: usize, seed: u64) {
    if set.len() <= count {
        return;
    }
    let mut order: Vec<usize> = (0..set.len()).collect();
    crate::random::Random::new(&[seed, 0x7468_696e]).shuffle(&mut order);
    order.sort_by_key(|&row| set.gold[row].is_none());
    order.truncate(count);
    order.sort_unstable();
    set.tokens = order.iter().map(|&i| set.tokens[i].clone()).collect();
    set.gold = order.iter().map(|&i| set.gold[i]).collect();
    set.soft = if set.soft.is_empty() { Vec::new() } else { order.iter().map(|&i| set.soft[i].clone()).collect() };
}
