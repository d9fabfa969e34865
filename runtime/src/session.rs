//! Scoring pairs of texts.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Batch, Worker};
use crate::input::Sequences;
use crate::model::{Model, internal};
use crate::score::{Score, evidence, probabilities};

/// Tokens that go through all layers together: few enough that their activations stay in the processor's cache, enough that
/// a layer's weights are used many times once they are there.
const BLOCK_TOKENS: usize = 256;

/// Most threads that a session uses.
const MAX_THREADS: usize = 256;

/// The head that says whether a passage answers a question, and its label that says yes.
const RELEVANCE_HEAD: &str = "relevance";
const RELEVANT_LABEL: &str = "relevant";

/// The working memory of one caller: made by [`Model::session`], used by one thread at a time.
///
/// It grows to the largest call and is then reused.
pub struct Session {
    model: Model,
    threads: usize,
    /// By head, then one per thread, made when it is first needed.
    workers: Vec<Vec<(Worker, Batch)>>,
}

impl Session {
    pub(crate) fn new(model: Model) -> Session {
        let workers = model.heads().iter().map(|_| Vec::new()).collect();
        Session { model, threads: 1, workers }
    }

    /// Uses up to `n` threads for each call; 1, the default, uses the caller's only, and 0 as many as the machine offers.
    ///
    /// Threads share out sequences, so a single short pair gains nothing. Scores do not depend on it.
    #[must_use]
    pub fn threads(mut self, n: usize) -> Session {
        self.threads = match n {
            0 => thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        self.threads = self.threads.min(MAX_THREADS);
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
        let head = self.model.head_index(head)?;
        let network = self.model.network();
        let (tokenizer, positions) = (&network.parts().tokenizer, network.layout().architecture().positions);
        let mut sequences = Sequences::default();
        for (i, (a, b)) in pairs.iter().enumerate() {
            let a = sequences.text(tokenizer, a.as_ref(), || format!("pair {i}: the first text"))?;
            let b = sequences.text(tokenizer, b.as_ref(), || format!("pair {i}: the second text"))?;
            sequences.pair(a, b, positions)?;
        }
        self.run(head, &sequences)
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
        let mut sequences = Sequences::default();
        let question = sequences.text(tokenizer, question, || "the question".into())?;
        for (i, passage) in passages.iter().enumerate() {
            let passage = sequences.text(tokenizer, passage.as_ref(), || format!("passage {i}"))?;
            sequences.pair(question.clone(), passage, positions)?;
        }
        Ok(self.run(head, &sequences)?.into_iter().map(|score| score.probabilities[relevant]).collect())
    }

    fn run(&mut self, head: usize, sequences: &Sequences) -> Result<Vec<Score>> {
        let logits = self.logits(head, sequences)?;
        let head = &self.model.network().layout().heads()[head];
        let labels = head.labels.len();
        let score = |windows: &Range<usize>| {
            let tokens = sequences.sequences[windows.clone()].iter().map(|s| s.len()).sum();
            let mut best: Option<(f32, Score)> = None;
            for logits in logits[windows.start * labels..windows.end * labels].chunks_exact(labels) {
                if logits.iter().any(|x| !x.is_finite()) {
                    let message =
                        "the model gave a logit that is no finite number: its weights are damaged; `verify` it";
                    return Err(Error::new(ErrorKind::Bundle, message));
                }
                let probabilities = probabilities(logits, head.temperature);
                let evidence = evidence(head, &probabilities);
                if best.as_ref().is_none_or(|(most, _)| evidence > *most) {
                    let logits = logits.to_vec();
                    best = Some((evidence, Score { logits, probabilities, tokens, windows: windows.len() }));
                }
            }
            best.map(|(_, score)| score).ok_or_else(|| internal("a pair without windows"))
        };
        sequences.pairs.iter().map(score).collect()
    }

    /// Logits of all sequences, in order.
    fn logits(&mut self, head: usize, sequences: &Sequences) -> Result<Vec<f32>> {
        let count = sequences.sequences.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let labels = self.model.heads()[head].labels.len();
        let threads = self.threads.min(count);
        let total: usize = sequences.sequences.iter().map(|s| s.len()).sum();
        // Enough blocks that no thread waits long for the last one.
        let block_tokens = if threads == 1 { BLOCK_TOKENS } else { BLOCK_TOKENS.min(total / (4 * threads) + 1) };
        let blocks = sequences.blocks(block_tokens);
        let threads = threads.min(blocks.len());
        let plan = self.model.plan(head)?;
        let workers = &mut self.workers[head];
        while workers.len() < threads {
            workers.push((plan.worker().map_err(internal)?, Batch::default()));
        }
        let config = self.model.network().layout().tokenizer();
        let mut logits = vec![0.0; count * labels];
        if threads == 1 {
            let (worker, batch) = &mut workers[0];
            for block in blocks {
                sequences.fill(block.clone(), config, batch);
                let out = worker.run(batch).map_err(internal)?;
                logits[block.start * labels..block.end * labels].copy_from_slice(&out);
            }
            return Ok(logits);
        }
        let next = AtomicUsize::new(0);
        let work = |(worker, batch): &mut (Worker, Batch)| {
            let mut done = Vec::new();
            while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                sequences.fill(block.clone(), config, batch);
                done.push((block.clone(), worker.run(batch).map_err(internal)?));
            }
            Ok(done)
        };
        let (mine, others) = workers[..threads].split_first_mut().ok_or_else(|| internal("no worker"))?;
        let done = thread::scope(|scope| {
            let handles: Vec<_> = others.iter_mut().map(|worker| scope.spawn(|| work(worker))).collect();
            let mut done = vec![work(mine)];
            done.extend(
                handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err(internal("a thread panicked")))),
            );
            done
        });
        for blocks in done {
            for (block, out) in blocks? {
                logits[block.start * labels..block.end * labels].copy_from_slice(&out);
            }
        }
        Ok(logits)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("model", &self.model).field("threads", &self.threads).finish_non_exhaustive()
    }
}
