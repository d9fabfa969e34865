//! From a question to cited answers: full-text candidates, the student's relevance, the best sentence.

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::library::{Candidate, Library};
use crate::passage::Passage;

/// Two adjacent sentences are shown instead of one only if they are more relevant by this much: below it the second
/// is more often chatter than answer.
const PAIR_GAIN: f32 = 0.05;

/// What tells how well a text answers a question; [`attar::Session`] is one.
pub trait Reranker {
    /// The relevance of each text to the question: calibrated probabilities in `[0, 1]`, one a text, in order.
    ///
    /// # Errors
    /// Whatever keeps the model from scoring; it becomes an [`ErrorKind::Model`].
    fn relevance(
        &mut self,
        question: &str,
        texts: &[&str],
    ) -> std::result::Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>>;
}

/// How many are searched, ranked and shown.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AnswerOptions {
    /// Passages that full-text search hands to the model; 20.
    pub candidates: usize,
    /// Answers at most; 3.
    pub top: usize,
    /// An answer has at least this score; 0.5.
    pub threshold: f32,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self { candidates: 20, top: 3, threshold: 0.5 }
    }
}

/// A sentence or two that answer a question, and where they stand.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The best sentence of the passage, or two adjacent ones.
    pub text: String,
    /// The passage around it.
    pub passage: String,
    /// The headings above the passage, outermost first.
    pub headings: Vec<String>,
    /// The document, as it was named when it was indexed.
    pub source: String,
    /// The 1-based line of the document on which `text` begins.
    pub line: u32,
    /// The probability that this answers the question: the higher of the passage's relevance (read under its
    /// headings) and that of `text` alone.
    pub score: f32,
}

/// What a library knows about a question.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// Answers with at least the threshold's score, best first, none twice. Empty means "no answer".
    pub answers: Vec<Answer>,
    /// The best of the rest: what was considered and found too unlikely.
    pub considered: Vec<Answer>,
    /// 1 minus the highest score of anything considered; 1 if no passage shares a word with the question.
    ///
    /// Each score is calibrated for one passage taken alone. This is the highest of several, so it is not the exact
    /// probability that the library holds no answer: with many similar passages it comes out a little low.
    pub no_answer_probability: f32,
}

/// Answers questions from a library with a model.
///
/// ```
/// use attar_library::{Answerer, Format, Library, Reranker};
///
/// /// Stands in for a student: the share of the question's words that a text has.
/// struct Overlap;
/// impl Reranker for Overlap {
///     fn relevance(&mut self, question: &str, texts: &[&str])
///         -> Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>>
///     {
///         let words: Vec<_> = question.split(' ').collect();
///         let share = |text: &&str| words.iter().filter(|w| text.contains(**w)).count() as f32 / words.len() as f32;
///         Ok(texts.iter().map(share).collect())
///     }
/// }
///
/// let mut library = Library::in_memory()?;
/// library.add_text("pi.txt", Format::Text, "The Pi starts. The LED blinks green.\n")?;
/// let reply = Answerer::new(Overlap).answer(&library, "LED blinks")?;
/// assert_eq!(reply.answers[0].text, "The LED blinks green.");
/// # Ok::<(), attar_library::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Answerer<R> {
    reranker: R,
    options: AnswerOptions,
}

impl<R: Reranker> Answerer<R> {
    /// With the default options.
    pub fn new(reranker: R) -> Self {
        Self::with_options(reranker, AnswerOptions::default())
    }

    /// With these options.
    pub fn with_options(reranker: R, options: AnswerOptions) -> Self {
        Self { reranker, options }
    }

    /// Answers a question.
    ///
    /// # Errors
    /// [`ErrorKind::Question`] for a question without words, [`ErrorKind::Model`] if the model refuses a text,
    /// [`ErrorKind::Corrupt`] for a damaged library.
    pub fn answer(&mut self, library: &Library, question: &str) -> Result<Reply> {
        let mut candidates = library.candidates(question, self.options.candidates)?;
        let mut seen = HashSet::new();
        candidates.retain(|candidate| seen.insert(normalised(&candidate.passage.text)));
        if candidates.is_empty() {
            return Ok(Reply { answers: Vec::new(), considered: Vec::new(), no_answer_probability: 1.0 });
        }
        let texts: Vec<String> = candidates.iter().map(|c| with_headings(&c.passage, &c.passage.text)).collect();
        let relevance = self.score(question, &texts)?;
        let mut ranked: Vec<(f32, Candidate)> = relevance.into_iter().zip(candidates).collect();
        // Stable, so that full-text search's order decides between equals.
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let lowest_of_the_rest = ranked.first().map_or(0.0, |best| best.0);
        // A few more than are shown: some turn out to say the same.
        ranked.truncate(self.options.top.saturating_mul(2).max(4));
        let mut found = self.spans(question, ranked)?;
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let best = found.first().map_or(lowest_of_the_rest, |answer| answer.score);
        let mut seen: Vec<String> = Vec::new();
        found.retain(|answer| is_new(&mut seen, &answer.text));
        found.truncate(self.options.top);
        let split = found.partition_point(|answer| answer.score >= self.options.threshold);
        let considered = found.split_off(split);
        Ok(Reply { answers: found, considered, no_answer_probability: (1.0 - best).clamp(0.0, 1.0) })
    }

    /// The best one or two sentences of each passage. Two calls of the model for all of them together.
    fn spans(&mut self, question: &str, ranked: Vec<(f32, Candidate)>) -> Result<Vec<Answer>> {
        let singles: Vec<(usize, usize, usize)> = ranked
            .iter()
            .enumerate()
            .flat_map(|(p, (_, candidate))| (0..candidate.passage.sentences.len()).map(move |i| (p, i, i)))
            .collect();
        let scores = self.score_spans(question, &ranked, &singles)?;
        let mut best = vec![(0, 0, f32::NEG_INFINITY); ranked.len()];
        for (&(p, first, last), &score) in singles.iter().zip(&scores) {
            if score > best[p].2 {
                best[p] = (first, last, score);
            }
        }
        let pairs: Vec<(usize, usize, usize)> = best
            .iter()
            .enumerate()
            .flat_map(|(p, &(i, ..))| {
                let before = i.checked_sub(1).map(|before| (p, before, i));
                let after = (i + 1 < ranked[p].1.passage.sentences.len()).then_some((p, i, i + 1));
                before.into_iter().chain(after)
            })
            .collect();
        let scores = self.score_spans(question, &ranked, &pairs)?;
        let single = best.clone();
        for (&(p, first, last), &score) in pairs.iter().zip(&scores) {
            if score > best[p].2 && score > single[p].2 + PAIR_GAIN {
                best[p] = (first, last, score);
            }
        }
        let answers = ranked.into_iter().zip(best).map(|((relevance, candidate), (first, last, score))| Answer {
            text: candidate.passage.span(first, last).to_owned(),
            line: candidate.passage.sentences.get(first).map_or(candidate.passage.line, |s| s.line),
            score: relevance.max(score),
            headings: candidate.passage.headings,
            passage: candidate.passage.text,
            source: candidate.source,
        });
        Ok(answers.collect())
    }

    fn score_spans(
        &mut self,
        question: &str,
        ranked: &[(f32, Candidate)],
        spans: &[(usize, usize, usize)],
    ) -> Result<Vec<f32>> {
        let texts: Vec<String> =
            spans.iter().map(|&(p, first, last)| ranked[p].1.passage.span(first, last).to_owned()).collect();
        self.score(question, &texts)
    }

    fn score(&mut self, question: &str, texts: &[String]) -> Result<Vec<f32>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let scores = self.reranker.relevance(question, &texts).map_err(Error::model)?;
        if scores.len() != texts.len() || scores.iter().any(|s| !(0.0..=1.0).contains(s)) {
            let message = format!(
                "the model gave {} scores for {} texts, or one that is no probability",
                scores.len(),
                texts.len()
            );
            return Err(Error::new(ErrorKind::Model, message));
        }
        Ok(scores)
    }
}

/// A text under its headings, as the model reads it: "Power, Pi 4: The supply ...".
fn with_headings(passage: &Passage, text: &str) -> String {
    if passage.headings.is_empty() {
        return text.to_owned();
    }
    format!("{}: {text}", passage.headings.join(", "))
}

/// Letters and digits in lower case: what two texts that say the same have in common.
fn normalised(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_new(seen: &mut Vec<String>, text: &str) -> bool {
    let text = normalised(text);
    let known = seen.iter().any(|other| other.contains(&text) || text.contains(other.as_str()));
    if !known {
        seen.push(text);
    }
    !known
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
