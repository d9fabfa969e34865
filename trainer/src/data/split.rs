//! Choosing rows: a validation part, a limit, no duplicates.

use std::borrow::Borrow;
use std::collections::HashSet;

use super::read::Row;
use crate::hash::hash_text;

/// The text of a pair that says on which side it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitBy {
    /// The premise or question.
    FirstText,
    /// That of pairs whose texts are in each other's place.
    SecondText,
}

/// Splits rows into (training, validation): a row is in validation when the hash of its text falls into the given fraction, so
/// that all pairs of one premise or question lie on the same side, whatever file they are in and whatever order they come in.
pub fn split<T: Borrow<Row>>(rows: Vec<T>, by: SplitBy, fraction: f64) -> (Vec<T>, Vec<T>) {
    // The upper 32 bits as a fraction of one; independent of the seed on purpose: another seed must not train on what
    // picked the hyper-parameters of the first.
    let held_out = |row: &T| {
        let row: &Row = row.borrow();
        let text = if by == SplitBy::FirstText { &row.text_a } else { &row.text_b };
        ((hash_text(&normal(text)) >> 32) as f64 / 4_294_967_296.0) < fraction
    };
    rows.into_iter().partition(|row| !held_out(row))
}

/// Keeps at most `count` rows: those with the smallest hashes, in their original order. A limit of n is a subset of any
/// larger limit.
pub fn limit<T: Borrow<Row>>(rows: Vec<T>, count: usize, seed: u64) -> Vec<T> {
    if rows.len() <= count {
        return rows;
    }
    let key = |row: &Row| hash_text(&format!("{seed}\t{}\t{}", row.text_a, row.text_b));
    let mut keyed: Vec<(u64, usize)> = rows.iter().enumerate().map(|(i, row)| (key(row.borrow()), i)).collect();
    keyed.sort_unstable();
    let keep: HashSet<usize> = keyed.into_iter().take(count).map(|(_, i)| i).collect();
    rows.into_iter().enumerate().filter(|(i, _)| keep.contains(i)).map(|(_, row)| row).collect()
}

/// Drops rows whose two texts, letters and digits only and case-folded, were in `seen` already, and adds the others to
/// it. Returns what is left and the number of dropped rows.
pub fn deduplicate<T: Borrow<Row>>(rows: Vec<T>, seen: &mut HashSet<u64>) -> (Vec<T>, usize) {
    let before = rows.len();
    let rows: Vec<T> = rows
        .into_iter()
        .filter(|row| {
            let row = row.borrow();
            seen.insert(hash_text(&format!("{}\t{}", normal(&row.text_a), normal(&row.text_b))))
        })
        .collect();
    let dropped = before - rows.len();
    (rows, dropped)
}

/// Letters and digits in lower case: what two texts that say the same have in common.
pub(crate) fn normal(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests;
