//! Which word of a data file means which class of a head.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The labels of the heads that are part of the contract (ARCHITECTURE.md), in class order.
pub fn head_labels(head: &str) -> Option<&'static [&'static str]> {
    match head {
        "nli" => Some(&["entailment", "neutral", "contradiction"]),
        "rte" => Some(&["entailment", "not_entailment"]),
        "relevance" => Some(&["not_relevant", "relevant"]),
        _ => None,
    }
}

/// Whether overlong pairs of this head lose tokens of the second text only: a question is never cut.
pub fn relevance_question_first(head: &str) -> bool {
    head == "relevance"
}

/// Maps the words of a data file to the classes of one head.
#[derive(Clone, Debug)]
pub struct LabelMap {
    labels: Vec<String>,
    words: BTreeMap<String, u32>,
}

impl LabelMap {
    /// The head's own label words, for `relevance` also `1`, `entailment` and `0`, `not_entailment`, and then `extra`
    /// (word in the file to label of the head), which overrides.
    ///
    /// Numbers are not guessed for the other heads: data sets disagree on which class 0 is.
    ///
    /// # Errors
    /// When `extra` names a label that the head does not have.
    pub fn new(head: &str, labels: &[String], extra: &BTreeMap<String, String>) -> Result<Self> {
        let mut words: BTreeMap<String, u32> = BTreeMap::new();
        for (class, label) in labels.iter().enumerate() {
            words.insert(label.clone(), class as u32);
        }
        if head == "relevance" {
            for (word, label) in [
                ("1", "relevant"),
                ("entailment", "relevant"),
                ("0", "not_relevant"),
                ("not_entailment", "not_relevant"),
            ] {
                if let Some(class) = labels.iter().position(|l| l == label) {
                    words.insert(word.to_owned(), class as u32);
                }
            }
        }
        for (word, label) in extra {
            let class = labels.iter().position(|l| l == label).ok_or_else(|| {
                Error::config(format!(
                    "labels.{word}: head {head:?} has no label {label:?}; it has {}",
                    labels.join(", ")
                ))
            })?;
            words.insert(word.clone(), class as u32);
        }
        Ok(Self { labels: labels.to_vec(), words })
    }

    /// The class of a word; `None` for an empty word, `-` or `-1` (no gold label).
    ///
    /// # Errors
    /// A text that says what was expected, for a word that means no class.
    pub fn class(&self, word: &str) -> std::result::Result<Option<u32>, String> {
        if let Some(&class) = self.words.get(word) {
            return Ok(Some(class));
        }
        if matches!(word, "" | "-" | "-1" | "hidden") {
            return Ok(None);
        }
        let known = self.words.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        Err(format!(
            "label {word:?}, expected one of {known}; give `labels = {{ {word:?} = \"{}\" }}` if it means one of the \
             head's labels",
            self.labels.first().map_or("", String::as_str)
        ))
    }

    /// The head's labels in class order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }
}
