//! From a question to cited answers: full-text candidates, the student's relevance, the best sentence.

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::library::{Candidate, Library};
use crate::overlap::Overlap;
use crate::passage::{MAX_HEADINGS, Passage, short};
use crate::query::telling_words;

/// Two adjacent sentences are shown instead of one only if they are more relevant by this much: below it the second
/// is more often chatter than answer.
const PAIR_GAIN: f32 = 0.05;

/// How much the question's rare words count beside the model's log-odds when texts are put in order: a text with all of
/// them beats one with none that the model finds 3 nats likelier. Small students take one error code for another.
const OVERLAP_NATS: f32 = 3.0;

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
    /// How probable it is that the answer stands here: the mean, in log-odds, of the model's relevance for the passage
    /// (read under its headings) and for its most relevant sentence or two. Both are calibrated; a passage that is
    /// merely on the subject gets a high first and a low second, a sentence out of its context the opposite.
    pub score: f32,
}

/// What a library knows about a question.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// Answers with at least the threshold's score, best first, none twice. Empty means "no answer". Best is what has
    /// a high score and the question's rare words, so a lower score may come first.
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
    /// [`ErrorKind::Model`] if the model refuses a text; else as [`Library::candidates`].
    pub fn answer(&mut self, library: &Library, question: &str) -> Result<Reply> {
        let mut candidates = library.candidates(question, self.options.candidates)?;
        let mut seen = HashSet::new();
        candidates.retain(|candidate| seen.insert(normalised(&candidate.passage.text)));
        if candidates.is_empty() {
            return Ok(Reply { answers: Vec::new(), considered: Vec::new(), no_answer_probability: 1.0 });
        }
        let texts: Vec<String> = candidates.iter().map(|c| with_headings(&c.passage, &c.passage.text)).collect();
        let words = telling_words(question)?;
        let overlap = Overlap::new(&words, texts.iter().map(String::as_str));
        let relevance = self.score(question, &texts)?;
        let mut ranked: Vec<Ranked> = candidates
            .into_iter()
            .zip(texts)
            .zip(relevance)
            .map(|((candidate, text), relevance)| Ranked { candidate, relevance, share: overlap.share(&text) })
            .collect();
        // Stable, so that full-text search's order decides between equals.
        ranked.sort_by(|a, b| order(b.relevance, b.share).total_cmp(&order(a.relevance, a.share)));
        // A few more than are shown: some turn out to say the same.
        ranked.truncate(self.options.top.saturating_mul(2).max(4));
        let mut found = self.spans(question, ranked, &words)?;
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut found: Vec<Answer> = found.into_iter().map(|(_, answer)| answer).collect();
        let best = found.iter().map(|answer| answer.score).fold(0.0, f32::max);
        let mut seen: Vec<String> = Vec::new();
        found.retain(|answer| is_new(&mut seen, &answer.text));
        found.truncate(self.options.top);
        let (answers, considered) = found.into_iter().partition(|answer| answer.score >= self.options.threshold);
        Ok(Reply { answers, considered, no_answer_probability: (1.0 - best).clamp(0.0, 1.0) })
    }

    /// The best one or two sentences of each passage, with what to order them by. Two calls of the model for all.
    fn spans(&mut self, question: &str, ranked: Vec<Ranked>, words: &[String]) -> Result<Vec<(f32, Answer)>> {
        let singles: Vec<Span> = ranked
            .iter()
            .enumerate()
            .flat_map(|(passage, r)| {
                (0..r.candidate.passage.sentences.len()).map(move |i| Span { passage, first: i, last: i })
            })
            .collect();
        let scores = self.score_spans(question, &ranked, &singles)?;
        // Among a passage's own sentences: a word that all of them have does not choose between them.
        let overlaps: Vec<Overlap> = ranked
            .iter()
            .map(|r| &r.candidate.passage)
            .map(|p| Overlap::new(words, (0..p.sentences.len()).map(|i| p.span(i, i))))
            .collect();
        let mut best: Vec<Option<Scored>> = vec![None; ranked.len()];
        let mut most = vec![0.0_f32; ranked.len()];
        for (&span, &score) in singles.iter().zip(&scores) {
            most[span.passage] = most[span.passage].max(score);
            let key = order(score, overlaps[span.passage].share(span.text(&ranked)));
            if best[span.passage].is_none_or(|best| key > best.key) {
                best[span.passage] = Some(Scored { span, score, key });
            }
        }
        let pairs: Vec<Span> = best
            .iter()
            .flatten()
            .flat_map(|&Scored { span, .. }| {
                let before = span.first.checked_sub(1).map(|first| Span { first, ..span });
                let more = span.last + 1 < ranked[span.passage].candidate.passage.sentences.len();
                before.into_iter().chain(more.then_some(Span { last: span.last + 1, ..span }))
            })
            .collect();
        let scores = self.score_spans(question, &ranked, &pairs)?;
        let single = best.clone();
        for (&span, &score) in pairs.iter().zip(&scores) {
            most[span.passage] = most[span.passage].max(score);
            let clearly = single[span.passage].is_some_and(|single| score > single.score + PAIR_GAIN);
            if clearly && best[span.passage].is_some_and(|best| best.span.first == best.span.last || score > best.score)
            {
                best[span.passage] = Some(Scored { span, score, key: score });
            }
        }
        // Every passage has a sentence, so that none is lost here.
        let all = ranked.into_iter().zip(best).zip(most);
        Ok(all.filter_map(|((ranked, best), most)| Some(answer(ranked, best?.span, most))).collect())
    }

    fn score_spans(&mut self, question: &str, ranked: &[Ranked], spans: &[Span]) -> Result<Vec<f32>> {
        let texts: Vec<String> = spans.iter().map(|span| span.text(ranked).to_owned()).collect();
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

/// A candidate that the model has read.
struct Ranked {
    candidate: Candidate,
    relevance: f32,
    share: f32,
}

/// Adjacent sentences of a passage.
#[derive(Clone, Copy)]
struct Span {
    passage: usize,
    first: usize,
    last: usize,
}

impl Span {
    fn text<'a>(&self, ranked: &'a [Ranked]) -> &'a str {
        ranked[self.passage].candidate.passage.span(self.first, self.last)
    }
}

#[derive(Clone, Copy)]
struct Scored {
    span: Span,
    score: f32,
    key: f32,
}

fn answer(ranked: Ranked, span: Span, most: f32) -> (f32, Answer) {
    let passage = ranked.candidate.passage;
    let score = mean_odds(ranked.relevance, most);
    let answer = Answer {
        text: passage.span(span.first, span.last).to_owned(),
        line: passage.sentences.get(span.first).map_or(passage.line, |s| s.line),
        score,
        headings: passage.headings,
        passage: passage.text,
        source: ranked.candidate.source,
    };
    (order(score, ranked.share), answer)
}

/// What texts are put in order by: log-odds, and the question's rare words.
fn order(score: f32, share: f32) -> f32 {
    log_odds(score) + OVERLAP_NATS * share
}

/// Kept finite: a student is never that sure.
fn log_odds(p: f32) -> f32 {
    let p = p.clamp(1e-6, 1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

/// The probability whose log-odds are the mean of those of `a` and `b`.
fn mean_odds(a: f32, b: f32) -> f32 {
    let x = 0.5 * (log_odds(a) + log_odds(b));
    1.0 / (1.0 + (-x).exp())
}

/// A text under its headings, as the model reads it: "Power, Pi 4: The supply ...".
fn with_headings(passage: &Passage, text: &str) -> String {
    if passage.headings.is_empty() {
        return text.to_owned();
    }
    // Ours are short; a library may come from anyone.
    let headings: Vec<&str> = passage.headings.iter().take(MAX_HEADINGS).map(|h| short(h)).collect();
    format!("{}: {text}", headings.join(", "))
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
