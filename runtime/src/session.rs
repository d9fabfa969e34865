//! Scoring pairs of texts.

use std::sync::{MutexGuard, PoisonError};
use std::thread;

use attar_kernels::Scratch;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Memory, Worker, Working};
use crate::input::Sequences;
use crate::model::{Model, internal};
use crate::score::{Score, evidence, probabilities};

/// Tokens that go through all layers together, for each thread: few enough that their activations stay in the processor's cache, enough that
/// a layer's weights are used many times once they are there.
const BLOCK_TOKENS: usize = 256;

/// The head that says whether a passage answers a question, and its label that says yes.
const RELEVANCE_HEAD: &str = "relevance";
const RELEVANT_LABEL: &str = "relevant";

/// The working memory of one caller: made by [`Model::session`], used by one thread at a time.
///
/// It grows to the largest call and is then reused: [`Session::score_into`] allocates nothing once it has seen calls as large
/// (but for words that are not ASCII and pairs longer than the encoder's input, which take a few small allocations each).
pub struct Session {
    model: Model,
    threads: usize,
    sequences: Sequences,
    /// Logits of all sequences of a call.
    logits: Vec<f32>,
    /// Probabilities of a window.
    probabilities: Vec<f32>,
    working: Working,
    /// By head, made when it is first needed.
    workers: Vec<Option<Worker>>,
}

impl Session {
    pub(crate) fn new(model: Model) -> Session {
        let workers = model.heads().iter().map(|_| None).collect();
        Session {
            model,
            threads: 1,
            sequences: Sequences::default(),
            logits: Vec::new(),
            probabilities: Vec::new(),
            working: Working::default(),
            workers,
        }
    }

    /// Uses up to `n` threads for each call, but not more than the machine offers; 1, the default, uses the caller's only, and 0 as
    /// many as the machine offers.
    ///
    /// Helping threads are started by the first call. They share the sequences of a call among them, or the rows of a single
    /// one from 32 tokens up, and sleep between calls. When the system gives their time to another program, the caller goes
    /// on alone for a while. Scores do not depend on it.
    #[must_use]
    pub fn threads(mut self, n: usize) -> Session {
        let offered = thread::available_parallelism().map_or(1, usize::from);
        self.threads = if n == 0 { offered } else { n.min(offered) };
        self.working = Working::default();
        self.workers.iter_mut().for_each(|worker| *worker = None);
        self
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Scores pairs of texts with the head called `head`: `[CLS] a [SEP] b [SEP]`. For `relevance` a is the question and b the
    /// passage; for `nli` a is the premise and b the hypothesis.
    ///
    /// One score per pair, in order. A pair's score does not depend on the other pairs.
    ///
    /// A pair longer than the encoder's input is read in overlapping windows, so that nothing is cut off, and
    /// [`Score::windows`] says in how many. Its score is that of one window: the one with the most evidence, which is the
    /// probability of all labels but the neutral ones (`neutral`, and those that begin with `not_`). So a passage is as
    /// relevant as its most relevant window. Of a head without such a label it is the window with the most probable label.
    ///
    /// # Errors
    /// [`ErrorKind::Head`] if the model has no such head; [`ErrorKind::Input`], with the pair's index, if a text is empty or
    /// would need thousands of windows. Nothing is scored then.
    pub fn score<A: AsRef<str>, B: AsRef<str>>(&mut self, head: &str, pairs: &[(A, B)]) -> Result<Vec<Score>> {
        let mut scores = Vec::new();
        self.score_into(head, pairs, &mut scores)?;
        Ok(scores)
    }

    /// As [`Session::score`], into `scores`, whose memory is used again: for a caller that wants no allocation per call.
    ///
    /// # Errors
    /// As [`Session::score`]; what `scores` holds is unspecified then.
    pub fn score_into<A: AsRef<str>, B: AsRef<str>>(
        &mut self,
        head: &str,
        pairs: &[(A, B)],
        scores: &mut Vec<Score>,
    ) -> Result<()> {
        let head = self.model.head_index(head)?;
        let network = self.model.network();
        let (tokenizer, positions) = (&network.parts().tokenizer, network.layout().architecture().positions);
        let sequences = &mut self.sequences;
        sequences.clear();
        for (i, (a, b)) in pairs.iter().enumerate() {
            let a = sequences.text(tokenizer, a.as_ref(), || format!("pair {i}: the first text"))?;
            let b = sequences.text(tokenizer, b.as_ref(), || format!("pair {i}: the second text"))?;
            sequences.pair(a, b, positions)?;
        }
        self.run(head, scores)
    }

    /// Probability that each passage answers the question, by the head `relevance`.
    ///
    /// # Errors
    /// As [`Session::score`].
    pub fn score_passages<P: AsRef<str>>(&mut self, question: &str, passages: &[P]) -> Result<Vec<f32>> {
        let head = self.model.head_index(RELEVANCE_HEAD)?;
        let labels = &self.model.heads()[head].labels;
        let Some(relevant) = labels.iter().position(|label| label == RELEVANT_LABEL) else {
            let message =
                format!("head {RELEVANCE_HEAD:?} has no label {RELEVANT_LABEL:?}; it has {}", labels.join(", "));
            return Err(Error::new(ErrorKind::Head, message));
        };
        let network = self.model.network();
        let (tokenizer, positions) = (&network.parts().tokenizer, network.layout().architecture().positions);
        let sequences = &mut self.sequences;
        sequences.clear();
        let question = sequences.text(tokenizer, question, || "the question".into())?;
        for (i, passage) in passages.iter().enumerate() {
            let passage = sequences.text(tokenizer, passage.as_ref(), || format!("passage {i}"))?;
            sequences.pair(question.clone(), passage, positions)?;
        }
        let mut scores = Vec::new();
        self.run(head, &mut scores)?;
        Ok(scores.iter().map(|score| score.probabilities[relevant]).collect())
    }

    /// Scores what `self.sequences` holds.
    fn run(&mut self, head: usize, scores: &mut Vec<Score>) -> Result<()> {
        self.compute(head)?;
        let head = &self.model.network().layout().heads()[head];
        let labels = head.labels.len();
        let Self { sequences, logits, probabilities: window, .. } = self;
        scores.resize_with(sequences.pairs.len(), Score::default);
        for (windows, score) in sequences.pairs.iter().zip(scores) {
            score.tokens = sequences.sequences[windows.clone()].iter().map(|s| s.len()).sum();
            score.windows = windows.len();
            let mut most = None;
            for logits in logits[windows.start * labels..windows.end * labels].chunks_exact(labels) {
                if logits.iter().any(|x| !x.is_finite()) {
                    let message =
                        "the model gave a logit that is no finite number: its weights are damaged; `verify` it";
                    return Err(Error::new(ErrorKind::Bundle, message));
                }
                probabilities(logits, head.temperature, window);
                let evidence = evidence(head, window);
                if most.is_none_or(|most| evidence > most) {
                    most = Some(evidence);
                    score.logits.clear();
                    score.logits.extend_from_slice(logits);
                    score.probabilities.clear();
                    score.probabilities.extend_from_slice(window);
                }
            }
            if most.is_none() {
                return Err(internal("a pair without windows"));
            }
        }
        Ok(())
    }

    /// Logits of all sequences, in order, into `self.logits`.
    fn compute(&mut self, head: usize) -> Result<()> {
        let Self { model, threads, sequences, logits, working, workers, .. } = self;
        logits.clear();
        let worker = match &mut workers[head] {
            Some(worker) => worker,
            none => none.insert(model.plan(head)?.worker(working).map_err(internal)?),
        };
        let config = model.network().layout().tokenizer();
        let mut start = 0;
        while start < sequences.sequences.len() {
            let block = sequences.block(start, *threads * BLOCK_TOKENS);
            start = block.end;
            {
                let mut memory = lock(working);
                // Helping threads are started here and not by `threads`: a session is cheap until its first score.
                if memory.scratch.bytes() == 0 && *threads > 1 {
                    memory.scratch = Scratch::with_threads(*threads);
                }
                sequences.fill(block, config, &mut memory.batch);
            }
            worker.run().map_err(internal)?;
            logits.extend_from_slice(&lock(working).logits);
        }
        Ok(())
    }
}

/// The memory; a run that panicked left nothing in it that the next one reads.
fn lock(working: &Working) -> MutexGuard<'_, Memory> {
    working.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("model", &self.model).field("threads", &self.threads).finish_non_exhaustive()
    }
}
