//! Questions and passages out of files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;

use super::sentences::{chunks, split_sentences};
use super::{Cut, PairSource, SourceKind};
use crate::data::{Columns, LabelMap, ReadOptions, head_labels, normal, read};
use crate::error::{Error, Result};
use crate::files;
use crate::hash::hash_text;

/// A question and what is known about passages for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Id in its file.
    pub id: String,
    /// The question.
    pub text: String,
    /// Passages that answer it.
    pub positives: Vec<usize>,
    /// Passages that are known not to.
    pub negatives: Vec<usize>,
    /// Answers as they stand in the positives, lower case: a passage with one of them is no negative.
    pub answers: Vec<String>,
}

/// Distinct passages and the questions about them.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    /// Passage texts.
    pub passages: Vec<String>,
    /// Questions, in the order of the files.
    pub questions: Vec<Question>,
    index: HashMap<u64, usize>,
    by_text: HashMap<u64, usize>,
}

impl Collection {
    fn passage(&mut self, text: &str) -> usize {
        let next = self.passages.len();
        let index = *self.index.entry(hash_text(text)).or_insert(next);
        if index == next {
            self.passages.push(text.to_owned());
        }
        index
    }

    /// The question of this text: the one that is there, or a new one.
    fn question(&mut self, id: &str, text: &str) -> &mut Question {
        let next = self.questions.len();
        let index = *self.by_text.entry(hash_text(text)).or_insert(next);
        if index == next {
            self.questions.push(Question {
                id: id.to_owned(),
                text: text.to_owned(),
                positives: Vec::new(),
                negatives: Vec::new(),
                answers: Vec::new(),
            });
        }
        &mut self.questions[index]
    }
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<QuestionAndAnswers>,
}

#[derive(Deserialize)]
struct QuestionAndAnswers {
    id: String,
    question: String,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    /// In characters, as SQuAD counts.
    answer_start: usize,
    text: String,
}

/// Adds the questions and passages of a source, whose file is at `path`, to a collection. Texts whose hashes are in
/// `excluded` (of their letters and digits in lower case) are left out. With a limit, only that many questions are added (those with the smallest hashes), but all passages.
///
/// # Errors
/// An unreadable file, or a line that is not of the source's form.
pub fn read_source(
    collection: &mut Collection,
    path: &Path,
    source: &PairSource,
    excluded: &HashSet<u64>,
) -> Result<()> {
    let mut part = Collection::default();
    let (cut, limit) = (source.cut, source.limit);
    match source.kind {
        SourceKind::Squad => squad(&mut part, path, cut)?,
        SourceKind::Pairs => plain(&mut part, path, cut, source.columns.as_ref())?,
    }
    let allowed = |text: &str| !excluded.contains(&hash_text(&normal(text)));
    let mut questions: Vec<Question> = std::mem::take(&mut part.questions);
    questions.retain(|q| allowed(&q.text));
    keep_some(&mut questions, limit);
    // A passage that must not occur keeps no number here.
    let numbers: Vec<Option<usize>> =
        part.passages.iter().map(|text| allowed(text).then(|| collection.passage(text))).collect();
    let translate = |old: &[usize]| old.iter().filter_map(|&i| numbers[i]).collect::<Vec<usize>>();
    for question in questions {
        let (positives, negatives) = (translate(&question.positives), translate(&question.negatives));
        if positives.is_empty() && negatives.is_empty() {
            continue;
        }
        let merged = collection.question(&question.id, &question.text);
        merged.positives.extend(positives);
        merged.negatives.extend(negatives);
        merged.answers.extend(question.answers);
    }
    Ok(())
}

/// Keeps the questions with the smallest hashes, in order.
pub(super) fn keep_some(questions: &mut Vec<Question>, limit: Option<usize>) {
    let Some(limit) = limit.filter(|&limit| limit < questions.len()) else { return };
    let mut hashes: Vec<u64> = questions.iter().map(|q| hash_text(&q.text)).collect();
    hashes.sort_unstable();
    let bound = hashes[limit];
    questions.retain(|q| hash_text(&q.text) < bound);
}

fn cut_text(text: &str, cut: Cut) -> Vec<Range<usize>> {
    match cut {
        Cut::Whole => std::iter::once(0..text.len()).collect(),
        Cut::Sentences => split_sentences(text),
        Cut::Chunks => chunks(text),
    }
}

fn squad(collection: &mut Collection, path: &Path, cut: Cut) -> Result<()> {
    let reader = BufReader::new(files::open(path)?);
    for (index, line) in reader.lines().enumerate() {
        let line = line.map_err(|e| Error::data(path, index + 1, format!("cannot read: {e}")))?;
        if line.trim().is_empty() {
            continue;
        }
        let paragraph: Paragraph = serde_json::from_str(&line).map_err(|e| {
            Error::data(path, index + 1, format!("{e}; expected a SQuAD paragraph {{\"context\", \"qas\": [...]}}"))
        })?;
        let pieces = cut_text(&paragraph.context, cut);
        let numbers: Vec<usize> =
            pieces.iter().map(|piece| collection.passage(&paragraph.context[piece.clone()])).collect();
        let bytes: Vec<usize> = paragraph.context.char_indices().map(|(at, _)| at).collect();
        for qa in &paragraph.qas {
            let mut positives = Vec::new();
            for answer in &qa.answers {
                let Some(&start) = bytes.get(answer.answer_start) else {
                    return Err(Error::data(
                        path,
                        index + 1,
                        format!("answer_start {} of {} lies beyond the context", answer.answer_start, qa.id),
                    ));
                };
                let end = start + answer.text.len();
                // An answer that a cut goes through has no positive.
                positives.extend(
                    pieces.iter().zip(&numbers).filter(|(p, _)| p.start <= start && end <= p.end).map(|(_, &n)| n),
                );
            }
            positives.dedup();
            let answers: Vec<String> = qa.answers.iter().map(|a| a.text.to_lowercase()).collect();
            let siblings: Vec<usize> = numbers
                .iter()
                .copied()
                .filter(|n| {
                    let text = collection.passages[*n].to_lowercase();
                    !positives.contains(n) && !answers.iter().any(|a| text.contains(a.as_str()))
                })
                .collect();
            if positives.is_empty() {
                continue;
            }
            let question = collection.question(&qa.id, qa.question.trim());
            question.positives.extend(positives);
            question.negatives.extend(siblings);
            question.answers.extend(answers);
        }
    }
    Ok(())
}

fn plain(collection: &mut Collection, path: &Path, cut: Cut, columns: Option<&Columns>) -> Result<()> {
    let names: Vec<String> = head_labels("relevance").unwrap_or_default().iter().map(|&l| l.to_owned()).collect();
    let labels = LabelMap::new("relevance", &names, &BTreeMap::new())?;
    let options = ReadOptions { labels: Some(&labels), label_optional: true, columns, ..ReadOptions::default() };
    for row in read(path, options)?.rows {
        // Of a long answer the first piece says what it is about; the others cannot be judged alone.
        let Some(piece) = cut_text(&row.text_b, cut).into_iter().next() else { continue };
        let passage = collection.passage(&row.text_b[piece]);
        let question = collection.question(&row.id, &row.text_a);
        if row.label == Some(0) {
            question.negatives.push(passage);
        } else {
            question.positives.push(passage);
        }
    }
    Ok(())
}
