//! Positives and negatives out of a collection.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::PairsConfig;
use super::bm25::Bm25;
use super::overlap::overlaps;
use super::reword::{Neighbours, reword};
use super::sources::{Collection, Question, keep_some, read_source};
use crate::data::{RowFilter, normal, read_rows};
use crate::error::Result;
use crate::files;
use crate::hash::hash_text;
use crate::random::Random;

/// Where a pair comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairKind {
    /// The source says that the passage answers the question.
    Positive,
    /// The source says that it does not, or it is another part of the answer's paragraph without the answer.
    Given,
    /// High in BM25's ranking, and not known to answer.
    Bm25,
    /// Any other passage.
    Random,
    /// A positive with some words replaced, or the first text with some words replaced or exchanged.
    Reworded,
    /// The first text with two nouns in each other's place.
    Inversion,
    /// The first text without its beginning or its end.
    Subsequence,
}

impl PairKind {
    /// The word in the `kind` column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Given => "given",
            Self::Bm25 => "bm25",
            Self::Random => "random",
            Self::Reworded => "reworded",
            Self::Inversion => "inversion",
            Self::Subsequence => "subsequence",
        }
    }
}

/// A question with a passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltPair {
    /// The question's id, its kind and a count.
    pub id: String,
    /// The question.
    pub question: String,
    /// The passage.
    pub passage: String,
    /// Whether the passage answers the question, or follows from it, where that is known.
    pub relevant: Option<bool>,
    /// Where the pair comes from.
    pub kind: PairKind,
}

/// How deep BM25's ranking is gone through for hard negatives.
const BM25_DEPTH: usize = 24;

/// Builds pairs: for each question one positive and `given` negatives of its own (where there are some), `bm25` hard negatives and
/// `random` ones, reworded positives, and texts of its own words. A function of the collection, the neighbours and the numbers alone.
///
/// A BM25 negative is labelled 0 only when the answer's text is known and does not occur in it; otherwise its label is
/// left open, for a teacher to say. So is that of a reworded positive.
///
/// # Errors
/// When the full-text index fails, or `progress` returns an error; it is told how many questions are done, of how many.
fn build(
    mut collection: Collection,
    config: &PairsConfig,
    neighbours: Option<&Neighbours>,
    seed: u64,
    mut progress: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<BuiltPair>> {
    let (bm25, random) = (config.bm25, config.random);
    let mut questions = std::mem::take(&mut collection.questions);
    keep_some(&mut questions, config.limit);
    let passages = &collection.passages;
    let index = if bm25 > 0 { Some(Bm25::new(passages.iter().map(String::as_str))?) } else { None };
    let mut pairs = Vec::new();
    for (number, question) in questions.iter().enumerate() {
        if let (Some(settings), Some(neighbours)) = (&config.reword, neighbours) {
            let given: Vec<&str> = question.positives.iter().map(|&n| passages[n].as_str()).collect();
            let new = reword(question, &given, neighbours, settings, seed);
            pairs.extend(new.into_iter().enumerate().map(|(count, passage)| BuiltPair {
                id: format!("{}-{}{count}", question.id, PairKind::Reworded.name()),
                question: question.text.clone(),
                passage,
                relevant: None,
                kind: PairKind::Reworded,
            }));
        }
        if config.overlap {
            pairs.extend(overlaps(&question.text, seed).into_iter().enumerate().map(
                |(count, (kind, passage, follows))| BuiltPair {
                    id: format!("{}-{}{count}", question.id, kind.name()),
                    question: question.text.clone(),
                    passage,
                    relevant: Some(follows),
                    kind,
                },
            ));
        }
        let mut choice = Random::new(&[seed, hash_text(&question.text)]);
        let mut used: HashSet<usize> = question.positives.iter().copied().collect();
        let mut add = |passage: usize, kind: PairKind, relevant: Option<bool>, count: usize| {
            pairs.push(BuiltPair {
                id: format!("{}-{}{count}", question.id, kind.name()),
                question: question.text.clone(),
                passage: passages[passage].clone(),
                relevant,
                kind,
            });
        };
        if !question.positives.is_empty() {
            add(question.positives[choice.below(question.positives.len())], PairKind::Positive, Some(true), 0);
        }
        let mut given: Vec<usize> = question.negatives.iter().copied().filter(|n| !used.contains(n)).collect();
        for count in 0..config.given.min(given.len()) {
            let passage = given.remove(choice.below(given.len()));
            used.insert(passage);
            add(passage, PairKind::Given, Some(false), count);
        }
        let mut found = 0;
        if let Some(index) = &index {
            for passage in index.search(&question.text, BM25_DEPTH)? {
                if found == bm25 {
                    break;
                }
                if !has_answer(question, &passages[passage]) && used.insert(passage) {
                    let known = (!question.answers.is_empty()).then_some(false);
                    add(passage, PairKind::Bm25, known, found);
                    found += 1;
                }
            }
        }
        let mut drawn = 0;
        for _ in 0..8 * random {
            if drawn == random {
                break;
            }
            let passage = choice.below(passages.len());
            if !has_answer(question, &passages[passage]) && used.insert(passage) {
                add(passage, PairKind::Random, Some(false), drawn);
                drawn += 1;
            }
        }
        progress(number + 1, questions.len())?;
    }
    Ok(pairs)
}

fn has_answer(question: &Question, passage: &str) -> bool {
    if question.answers.is_empty() {
        return false;
    }
    let passage = passage.to_lowercase();
    question.answers.iter().any(|answer| passage.contains(answer.as_str()))
}

/// Writes pairs as TSV: `id text_a text_b label kind`, label 1, 0 or empty.
///
/// # Errors
/// When the file cannot be written.
pub fn write_pairs(path: &Path, pairs: &[BuiltPair]) -> Result<()> {
    // A tab or line end inside a text would break the row.
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    files::write_whole(path, |w| {
        writeln!(w, "id\ttext_a\ttext_b\tlabel\tkind")?;
        for pair in pairs {
            let label = pair.relevant.map_or("", |relevant| if relevant { "1" } else { "0" });
            let (id, question, passage) = (flat(&pair.id), flat(&pair.question), flat(&pair.passage));
            if question.is_empty() || passage.is_empty() {
                continue;
            }
            writeln!(w, "{id}\t{question}\t{passage}\t{label}\t{}", pair.kind.name())?;
        }
        Ok(())
    })
}

/// Reads the sources of pairs and builds them; `data` says where a configured file lies, `encoder` where an encoder does. What comes
/// out is a function of the files and the seed; that of `reword` also of the last bits of products of the encoder's word vectors, which
/// another instruction set may round otherwise.
///
/// # Errors
/// As [`read_source`]; settings of `reword` outside their range, or an encoder that cannot be read or has none of the words; when the
/// full-text index fails, or `progress` returns an error: it is told how many questions are done, of how many.
pub fn build_from(
    config: &PairsConfig,
    seed: u64,
    data: impl Fn(&Path) -> PathBuf,
    encoder: impl Fn(&Path) -> PathBuf,
    mut progress: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<BuiltPair>> {
    if let Some(reword) = &config.reword {
        reword.check()?;
    }
    let mut excluded = HashSet::new();
    for path in &config.exclude {
        for row in read_rows(&data(path), None, &RowFilter::new())? {
            excluded.extend([&row.text_a, &row.text_b].map(|text| hash_text(&normal(text))));
        }
    }
    let mut collection = Collection::default();
    for source in &config.sources {
        read_source(&mut collection, &data(&source.path), source, &excluded)?;
    }
    let neighbours = match &config.reword {
        Some(reword) => {
            let given = |q: &Question| q.positives.iter().map(|&n| collection.passages[n].as_str()).collect::<Vec<_>>();
            let texts = collection.questions.iter().flat_map(|q| std::iter::once(q.text.as_str()).chain(given(q)));
            let all = collection.questions.len();
            let folder = encoder(&reword.encoder);
            Some(Neighbours::in_encoder(&folder, texts, reword.neighbours, || progress(0, all))?)
        }
        None => None,
    };
    let mut pairs = build(collection, config, neighbours.as_ref(), seed, progress)?;
    // What was read is without these texts; what was made of it need not be.
    pairs.retain(|pair| !excluded.contains(&hash_text(&normal(&pair.passage))));
    Ok(pairs)
}
