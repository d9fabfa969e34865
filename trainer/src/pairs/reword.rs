//! New second texts for pairs that are there: words replaced by others that mean something near.
//!
//! TinyBERT's data augmentation (Jiao et al. 2020), with the nearest words of an encoder's own embedding table in the place of
//! GloVe's and of a masked language model's guesses. What comes out need not be true, or even make sense: a teacher judges it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use attar_nn::{Encoder, Layers};
use candle_core::{D, Device};
use serde::{Deserialize, Serialize};

use super::sources::Question;
use super::words::{FUNCTION_WORDS, Part, capitalised, join, split};
use crate::data::vocabulary;
use crate::error::{Error, Result};
use crate::hash::hash_text;
use crate::random::Random;

/// How pairs are reworded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewordConfig {
    /// The encoder whose word embeddings say which words are near.
    pub encoder: PathBuf,
    /// Reworded second texts of each pair, at most: those that are there already are left out.
    #[serde(default = "default_copies")]
    pub copies: usize,
    /// Share of the words that are replaced, of those that the vocabulary has whole and that are no function words, above 0 and at
    /// most 1; at least one is.
    #[serde(default = "default_share")]
    pub share: f64,
    /// A word is replaced by one of this many nearest.
    #[serde(default = "default_neighbours")]
    pub neighbours: usize,
}

impl RewordConfig {
    /// Where nothing else is said.
    pub const COPIES: usize = 4;
    /// Where nothing else is said.
    pub const SHARE: f64 = 0.25;
    /// Where nothing else is said.
    pub const NEIGHBOURS: usize = 15;

    /// Checks ranges.
    ///
    /// # Errors
    /// A configuration error that names the field and the value.
    pub fn check(&self) -> Result<()> {
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(Error::config(format!("reword: share = {}, expected above 0 and at most 1", self.share)));
        }
        if self.copies == 0 || self.neighbours == 0 {
            return Err(Error::config("reword: copies and neighbours must be at least 1"));
        }
        Ok(())
    }
}

fn default_copies() -> usize {
    RewordConfig::COPIES
}

fn default_share() -> f64 {
    RewordConfig::SHARE
}

fn default_neighbours() -> usize {
    RewordConfig::NEIGHBOURS
}

/// Of the copies, one in this many starts from the first text instead: it shares nearly all words with it, which alone must not
/// look like an answer.
const OF_FIRST_TEXT: usize = 4;

/// First texts of more words than this are no second texts.
const LONGEST_OWN: usize = 30;

/// Rows of the product of words and vocabulary that are computed at once.
const ROWS: usize = 1024;

/// The nearest words of words, lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Neighbours {
    of: HashMap<String, Vec<String>>,
}

impl Neighbours {
    /// The `count` nearest words, by the cosine of their embeddings in `encoder`, of each word of `texts` that its vocabulary has
    /// whole; `step` is asked now and then whether to go on.
    ///
    /// # Errors
    /// When the encoder's folder cannot be read, its vocabulary is not one of WordPiece, or none of the words is in it; that of `step`.
    pub(super) fn in_encoder<'a>(
        encoder: &Path,
        texts: impl IntoIterator<Item = &'a str>,
        count: usize,
        mut step: impl FnMut() -> Result<()>,
    ) -> Result<Self> {
        let tokenizer = encoder.join("tokenizer.json");
        let vocabulary = vocabulary(&tokenizer, false)?;
        // They begin a word in SentencePiece and byte-level BPE: what looks like a word there is the end of one.
        if vocabulary.keys().any(|word| word.starts_with(['\u{2581}', '\u{120}'])) {
            return Err(Error::config(format!(
                "reword: {} does not hold words as BERT's WordPiece does; choose another encoder",
                tokenizer.display()
            )));
        }
        let mut words: Vec<(&str, u32)> = (vocabulary.iter())
            .filter(|(word, _)| word.len() > 1 && word.bytes().all(|b| b.is_ascii_lowercase()))
            .filter(|(word, _)| FUNCTION_WORDS.binary_search(&word.as_str()).is_err())
            .map(|(word, &id)| (word.as_str(), id))
            .collect();
        words.sort_unstable();
        let place: HashMap<&str, u32> = words.iter().enumerate().map(|(i, &(word, _))| (word, i as u32)).collect();
        let wanted: BTreeSet<u32> = texts
            .into_iter()
            .flat_map(split)
            .filter_map(|part| place.get(part.word.to_lowercase().as_str()).copied())
            .collect();
        let wanted: Vec<u32> = wanted.into_iter().collect();
        if wanted.is_empty() {
            return Err(Error::config(format!(
                "reword: none of the texts' words is in {}; rewording is for English texts and needs their words whole there",
                tokenizer.display()
            )));
        }

        let device = Device::Cpu;
        let parameters = Encoder::load(encoder, &Layers::First(1), &device)?.parameters()?;
        let table = parameters.get("embeddings.word_embeddings.weight").ok_or_else(|| {
            Error::config(format!("{}: it has no embeddings.word_embeddings.weight", encoder.display()))
        })?;
        let ids: Vec<u32> = words.iter().map(|&(_, id)| id).collect();
        let vectors = table.var.index_select(&candle_core::Tensor::new(ids, &device)?, 0)?;
        let lengths = vectors.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
        let vectors = vectors.broadcast_div(&lengths)?;
        let across = vectors.t()?.contiguous()?;
        let mut of = HashMap::new();
        for some in wanted.chunks(ROWS) {
            step()?;
            let rows = vectors.index_select(&candle_core::Tensor::new(some, &device)?, 0)?;
            for (&word, cosines) in some.iter().zip(rows.matmul(&across)?.to_vec2::<f32>()?) {
                let mut others: Vec<u32> = (0..words.len() as u32).filter(|&other| other != word).collect();
                let order = |&a: &u32, &b: &u32| cosines[b as usize].total_cmp(&cosines[a as usize]).then(a.cmp(&b));
                if others.len() > count {
                    others.select_nth_unstable_by(count, order);
                    others.truncate(count);
                }
                others.sort_unstable_by(order);
                let near = others.into_iter().map(|other| words[other as usize].0.to_owned()).collect();
                of.insert(words[word as usize].0.to_owned(), near);
            }
        }
        Ok(Self { of })
    }

    #[cfg(test)]
    pub(super) fn of(words: &[(&str, &[&str])]) -> Self {
        let owned = |&(word, near): &(&str, &[&str])| (word.to_owned(), near.iter().map(|&n| n.to_owned()).collect());
        Self { of: words.iter().map(owned).collect() }
    }

    fn get(&self, word: &str) -> Option<&[String]> {
        self.of.get(&word.to_lowercase()).map(Vec::as_slice).filter(|near| !near.is_empty())
    }
}

/// Second texts for a question: `copies` for each of its passages `given`, without those that are there already.
pub(super) fn reword(
    question: &Question,
    given: &[&str],
    neighbours: &Neighbours,
    config: &RewordConfig,
    seed: u64,
) -> Vec<String> {
    let own = split(&question.text).count() <= LONGEST_OWN;
    let mut out: Vec<String> = Vec::new();
    for passage in given {
        let mut choice = Random::new(&[seed, hash_text(&question.text), hash_text(passage), 0x7265_776f_7264]);
        for copy in 0..config.copies {
            let new = if own && copy % OF_FIRST_TEXT == OF_FIRST_TEXT - 1 {
                if choice.below(2) == 0 {
                    exchange(&question.text, neighbours, &mut choice)
                } else {
                    replace(&question.text, neighbours, config.share, &mut choice)
                }
            } else {
                replace(passage, neighbours, config.share, &mut choice)
            };
            if let Some(new) = new.filter(|new| !given.contains(&new.as_str()) && !out.contains(new)) {
                out.push(new);
            }
        }
    }
    out
}

/// The text with some words replaced; `None` if it has none that can be.
fn replace(text: &str, neighbours: &Neighbours, share: f64, choice: &mut Random) -> Option<String> {
    let parts: Vec<Part<'_>> = split(text).collect();
    let known: Vec<usize> = (0..parts.len()).filter(|&i| neighbours.get(parts[i].word).is_some()).collect();
    let certain = *known.get(choice.below(known.len()))?;
    let bound = (share * f64::from(u32::MAX)) as usize;
    let mut words: Vec<String> = parts.iter().map(|part| part.word.to_owned()).collect();
    for place in known {
        if (choice.below(u32::MAX as usize) < bound || place == certain)
            && let Some(near) = neighbours.get(parts[place].word)
        {
            words[place] = in_case_of(parts[place].word, &near[choice.below(near.len())]);
        }
    }
    Some(join(&parts, &words))
}

/// The text with two known words of four letters or more in each other's place; `None` if it has not two different ones.
fn exchange(text: &str, neighbours: &Neighbours, choice: &mut Random) -> Option<String> {
    let parts: Vec<Part<'_>> = split(text).collect();
    let long = |&i: &usize| parts[i].word.len() >= 4 && neighbours.get(parts[i].word).is_some();
    let known: Vec<usize> = (0..parts.len()).filter(long).collect();
    let first = *known.get(choice.below(known.len()))?;
    let others: Vec<usize> =
        known.into_iter().filter(|&i| !parts[i].word.eq_ignore_ascii_case(parts[first].word)).collect();
    let second = *others.get(choice.below(others.len()))?;
    let mut words: Vec<String> = parts.iter().map(|part| part.word.to_owned()).collect();
    words[first] = in_case_of(parts[first].word, &parts[second].word.to_lowercase());
    words[second] = in_case_of(parts[second].word, &parts[first].word.to_lowercase());
    Some(join(&parts, &words))
}

/// `word`, lower case, with the capitals of `like`.
fn in_case_of(like: &str, word: &str) -> String {
    let mut letters = like.chars();
    let first = letters.next().is_some_and(char::is_uppercase);
    if first && like.len() > 1 && letters.all(char::is_uppercase) {
        word.to_uppercase()
    } else if first {
        capitalised(word)
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests;
