//! Which columns of a file are the two texts, the label and the id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RowFilter;

/// What the columns of a file are, where their names do not say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Columns {
    /// The columns of a TSV without a header row, in order: `["text_a", "text_b", "label"]`; `"-"` is not read.
    Listed(Vec<String>),
    /// The file's own name for `text_a`, `text_b`, `label` or `id`: `{ text_a = "anchor", text_b = "positive" }`;
    /// `label = "-"` leaves the labels unread.
    Named(BTreeMap<String, String>),
}

impl Columns {
    /// Whether the two texts take each other's place, such as `{ text_a = "text_b", text_b = "text_a" }`.
    pub fn turns_round(&self) -> bool {
        let Self::Named(names) = self else { return false };
        let (Some(a), Some(b)) = (names.get("text_a"), names.get("text_b")) else { return false };
        let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
        PAIRS.iter().any(|&(first, second)| is(a, second) && is(b, first))
    }
}

/// The two texts under the names that published files give them; the first pair that a file has is taken.
const PAIRS: &[(&str, &str)] = &[
    ("text_a", "text_b"),
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
    ("question", "answer"),
    ("query", "answer"),
    ("evidence", "claim"),
];

/// FEVER in its NLI form (Nie et al. 2019) calls the evidence `context` and the claim `query`. Elsewhere a `query` with a
/// `context` is a question with a passage, the other way round: only FEVER's own further columns decide.
const FEVER: (&str, &str) = ("context", "query");
const FEVER_ONLY: &[&str] = &["fid", "verifiable"];

// `label` comes before MNLI's and SNLI's `gold_label`, because a file with both has added the former on purpose.
const LABEL: &[&str] = &["label", "gold_label"];
/// In place of a column's name: it is not read.
const NOT_READ: &str = "-";
const ID: &[&str] = &["id", "index", "idx", "pairID", "SentenceID"];

/// Indices into a file's list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) a: usize,
    pub(super) b: usize,
    pub(super) label: Option<usize>,
    pub(super) id: Option<usize>,
    /// Column and the value that it must have.
    pub(super) conditions: Vec<(usize, String)>,
}

impl Chosen {
    /// The greatest index in use.
    pub(super) fn last(&self) -> usize {
        let conditions = self.conditions.iter().map(|(column, _)| *column);
        conditions.chain([self.a, self.b]).chain(self.label).chain(self.id).max().unwrap_or(0)
    }
}

/// Whether a file's label column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LabelColumn {
    Needed,
    IfThere,
    Ignored,
}

/// Finds the columns among a file's names, in any case (WikiQA writes `Question`).
///
/// # Errors
/// A text that says which column is missing, which names are known and which the file has.
pub(super) fn choose(
    names: &[&str],
    columns: Option<&Columns>,
    label: LabelColumn,
    filter: &RowFilter,
) -> Result<Chosen, String> {
    let position = |name: &str| names.iter().position(|n| n.eq_ignore_ascii_case(name));
    let has = || names.join(", ");
    let given = |role: &str| match columns {
        Some(Columns::Named(map)) => map.get(role).map(String::as_str),
        _ => None,
    };
    let named = |role: &str| match given(role) {
        Some(name) => position(name)
            .map(Some)
            .ok_or_else(|| format!("no column {name:?} (columns.{role}); the file has {}", has())),
        None => Ok(None),
    };
    if let Some(Columns::Named(map)) = columns
        && let Some(role) = map.keys().find(|role| !["text_a", "text_b", "label", "id"].contains(&role.as_str()))
    {
        return Err(format!("columns.{role}, expected text_a, text_b, label or id"));
    }
    let (a, b) = match (named("text_a")?, named("text_b")?) {
        (Some(a), Some(b)) => (a, b),
        (None, None) => known_pair(&position).ok_or_else(|| {
            let known: Vec<String> = PAIRS.iter().map(|(a, b)| format!("{a} and {b}")).collect();
            format!("no two text columns; known are {}; the file has {}", known.join(", "), has())
        })?,
        _ => return Err("columns names only one of text_a and text_b; name both".to_owned()),
    };
    let label = match label {
        LabelColumn::Ignored => None,
        LabelColumn::IfThere if given("label") == Some(NOT_READ) => None,
        _ => named("label")?.or_else(|| LABEL.iter().find_map(|n| position(n))),
    };
    let id = named("id")?.or_else(|| ID.iter().find_map(|n| position(n)));
    let mut conditions = Vec::new();
    for (name, value) in filter {
        let column = names
            .iter()
            .position(|n| n == name)
            .ok_or_else(|| format!("no column {name} for `where`; the file has {}", has()))?;
        conditions.push((column, value.clone()));
    }
    Ok(Chosen { a, b, label, id, conditions })
}

/// What to say where a label column is demanded and missing.
pub(super) fn no_label(names: &[&str]) -> String {
    format!("no column {}; the file has {}", LABEL.join(" or "), names.join(", "))
}

fn known_pair(position: &impl Fn(&str) -> Option<usize>) -> Option<(usize, usize)> {
    let both = |&(a, b): &(&str, &str)| Some((position(a)?, position(b)?));
    let fever = || FEVER_ONLY.iter().any(|n| position(n).is_some()).then(|| both(&FEVER)).flatten();
    PAIRS.iter().find_map(both).or_else(fever)
}

/// Whether a line reads like a header row: it names two text columns.
pub(super) fn is_header(fields: &[&str]) -> bool {
    known_pair(&|name: &str| fields.iter().position(|f| f.eq_ignore_ascii_case(name))).is_some()
}
