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
    head: String,
    labels: Vec<String>,
    words: BTreeMap<String, u32>,
    /// The words that the user mapped.
    stated: BTreeMap<String, u32>,
}

impl LabelMap {
    /// The head's own label words, for `relevance` also `1`, `entailment` and `0`, `not_entailment`, for `nli` also FEVER's
    /// `SUPPORTS`, `NOT ENOUGH INFO` and `REFUTES`, and then `extra` (word in the file to label of the head), which
    /// overrides.
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
        let further: &[(&str, &str)] = match head {
            "relevance" => &[
                ("1", "relevant"),
                ("entailment", "relevant"),
                ("0", "not_relevant"),
                ("not_entailment", "not_relevant"),
            ],
            "nli" => &[("SUPPORTS", "entailment"), ("NOT ENOUGH INFO", "neutral"), ("REFUTES", "contradiction")],
            _ => &[],
        };
        for (word, label) in further {
            if let Some(class) = labels.iter().position(|l| l == label) {
                words.insert((*word).to_owned(), class as u32);
            }
        }
        let mut stated = BTreeMap::new();
        for (word, label) in extra {
            let class = labels.iter().position(|l| l == label).ok_or_else(|| {
                Error::config(format!(
                    "labels.{word}: head {head:?} has no label {label:?}; it has {}",
                    labels.join(", ")
                ))
            })?;
            words.insert(word.clone(), class as u32);
            stated.insert(word.clone(), class as u32);
        }
        Ok(Self { head: head.to_owned(), labels: labels.to_vec(), words, stated })
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
            "label {word:?}, expected one of {known}; give `labels = {{ {word:?} = \"{}\" }}` in the run file's set if it means \
             one of the head's labels, `columns = {{ label = \"-\" }}` in [[pairs]] to leave labels unread",
            self.labels.first().map_or("", String::as_str)
        ))
    }

    /// The class of a number in the label column of a Parquet file; `None` below 0 (the hub's "no gold label").
    ///
    /// In this order: what the user stated for the number; the class name that the file gives it; the hub's order for
    /// NLI (0 entailment, 1 neutral, 2 contradiction) and RTE (0 entailment, 1 not_entailment) where `texts`, the names
    /// of the text columns, are theirs; 1 and 0 for `relevance`, but not beside `question` and `sentence`, since QNLI's 0
    /// means entailment.
    ///
    /// # Errors
    /// A text that says what was expected, for a number that means no class.
    pub fn class_of_number(
        &self,
        number: i64,
        names: Option<&[String]>,
        texts: (&str, &str),
    ) -> std::result::Result<Option<u32>, String> {
        let word = number.to_string();
        if let Some(&class) = self.stated.get(&word) {
            return Ok(Some(class));
        }
        if number < 0 {
            return Ok(None);
        }
        let index = number as usize;
        if let Some(names) = names {
            return match names.get(index) {
                Some(name) => self.class(name),
                None => {
                    Err(format!("label {number}, but the file names {} classes: {}", names.len(), names.join(", ")))
                }
            };
        }
        let hub = ["entailment", if self.head == "nli" { "neutral" } else { "not_entailment" }, "contradiction"];
        let classes = if self.head == "nli" { 3 } else { 2 };
        match (self.head.as_str(), texts) {
            ("nli" | "rte", ("premise", "hypothesis") | ("sentence1", "sentence2")) if index < classes => {
                self.class(hub[index])
            }
            ("relevance", ("question", "sentence")) => Err(format!(
                "label {number}, but the file does not say which class that is (its metadata has no class names): QNLI's \
                 0 means entailment, elsewhere 0 means not relevant; give `labels = {{ \"0\" = ..., \"1\" = ... }}` in the run file's \
                 set, or `columns = {{ label = \"-\" }}` in [[pairs]]"
            )),
            _ => self.class(&word),
        }
    }

    /// The head's labels in class order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }
}
