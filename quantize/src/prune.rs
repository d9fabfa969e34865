//! Leaves out word pieces that a corpus never needs.

use std::path::Path;

use attar_tokenizer::Tokenizer;
use serde::Serialize;

use crate::calibrate::with_tokenizer;
use crate::data;
use crate::error::{Result, fail};
use crate::student::Student;

/// What pruning did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pruning {
    /// File names of the corpus.
    pub corpus: Vec<String>,
    /// Tokens of the corpus.
    pub corpus_tokens: u64,
    /// Pieces before.
    pub pieces_before: usize,
    /// Pieces that are kept.
    pub pieces: usize,
}

/// Keeps the special tokens, every piece of a single character (so that any word of known characters can still be spelled),
/// and every piece that the corpus uses; then checks that the corpus' texts have the same pieces as before.
///
/// Longest-match-first makes that exact: a piece that was the longest match among all is the longest among fewer. A word
/// that no pieces spell stays unknown, since the pieces that its beginning matches are kept too.
///
/// # Errors
/// [`crate::ErrorKind::Io`], [`crate::ErrorKind::Data`] for a corpus without text.
pub(crate) fn prune(student: &mut Student, corpus: &[impl AsRef<Path>]) -> Result<Pruning> {
    let before = student.tables.offsets.len() - 1;
    let (mut keep, tokens, corpus_tokens) = with_tokenizer(student, |tokenizer| -> Result<_> {
        let (keep, corpus_tokens) = used(tokenizer, before, corpus)?;
        let vocabulary = tokenizer.vocabulary();
        let tokens: Vec<String> = (0..before as u32).map(|id| vocabulary.token(id).unwrap_or("").to_string()).collect();
        Ok((keep, tokens, corpus_tokens))
    })??;
    if corpus_tokens == 0 {
        fail!(Data, "the corpus to prune the vocabulary by has no text");
    }
    let t = &student.tokenizer;
    for (token, keep) in tokens.iter().zip(&mut keep) {
        let piece = token.strip_prefix(&t.continuation).filter(|rest| !rest.is_empty()).unwrap_or(token);
        *keep |= piece.chars().count() == 1;
    }
    for special in [t.unk, t.cls, t.sep, t.pad] {
        keep[special as usize] = true;
    }
    let kept: Vec<u32> = (0..before as u32).filter(|&id| keep[id as usize]).collect();
    let old = with_tokens(student, &kept, &tokens)?;
    verify(&old, student, corpus, &kept)?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Pruning {
        corpus: corpus.iter().map(|path| name(path.as_ref())).collect(),
        corpus_tokens,
        pieces_before: before,
        pieces: kept.len(),
    })
}

/// Which pieces the corpus uses, and how many tokens it has.
fn used(tokenizer: &Tokenizer<'_>, pieces: usize, corpus: &[impl AsRef<Path>]) -> Result<(Vec<bool>, u64)> {
    let (mut keep, mut count) = (vec![false; pieces], 0u64);
    let unk = tokenizer.config().unk;
    let (mut ids, mut spans) = (Vec::new(), Vec::new());
    for path in corpus {
        data::for_each_text(path.as_ref(), &mut |text| {
            ids.clear();
            spans.clear();
            tokenizer.encode_with_spans(text, &mut ids, &mut spans);
            count += ids.len() as u64;
            ids.iter().for_each(|&id| keep[id as usize] = true);
            if ids.contains(&unk) {
                for (_, span) in ids.iter().zip(&spans).filter(|(id, _)| **id == unk) {
                    beginnings(tokenizer, &text[span.clone()], &mut keep);
                }
            }
        })?;
    }
    Ok((keep, count))
}

/// Keeps the pieces of every beginning of an unknown word: among them are those that the search matched before it failed.
fn beginnings(tokenizer: &Tokenizer<'_>, word: &str, keep: &mut [bool]) {
    let mut ids = Vec::new();
    for (end, _) in word.char_indices().skip(1).take(tokenizer.config().max_word_chars as usize) {
        ids.clear();
        tokenizer.encode_into(&word[..end], &mut ids);
        ids.iter().for_each(|&id| keep[id as usize] = true);
    }
}

/// The student's vocabulary before pruning.
struct Before {
    tables: attar_tokenizer::Tables,
    config: attar_bundle::TokenizerConfig,
}

/// Gives the student a vocabulary of the kept pieces, in their order; returns the one it had.
fn with_tokens(student: &mut Student, kept: &[u32], tokens: &[String]) -> Result<Before> {
    let pieces: Vec<String> = kept.iter().map(|&id| tokens[id as usize].clone()).collect();
    let tables = match attar_tokenizer::build_tables(&pieces, &student.tokenizer.continuation) {
        Ok(tables) => tables,
        Err(e) => fail!(Source, "the pruned vocabulary: {e}"),
    };
    let config = student.tokenizer.clone();
    let new_id = |id: u32| kept.partition_point(|&other| other < id) as u32;
    let t = &mut student.tokenizer;
    (t.unk, t.cls, t.sep, t.pad) = (new_id(t.unk), new_id(t.cls), new_id(t.sep), new_id(t.pad));
    student.architecture.vocabulary = kept.len();
    student.kept = Some(match student.kept.take() {
        None => kept.to_vec(),
        Some(earlier) => kept.iter().map(|&id| earlier[id as usize]).collect(),
    });
    Ok(Before { tables: std::mem::replace(&mut student.tables, tables), config })
}

/// Tokenises the corpus both ways.
fn verify(before: &Before, student: &Student, corpus: &[impl AsRef<Path>], kept: &[u32]) -> Result<()> {
    let mut old_config = crate::calibrate::tokenizer_config(student);
    let c = &before.config;
    (old_config.unk, old_config.cls, old_config.sep, old_config.pad) = (c.unk, c.cls, c.sep, c.pad);
    let tables = &before.tables;
    let vocabulary = attar_tokenizer::Vocabulary::new(&tables.bytes, &tables.offsets, &tables.table);
    let old = vocabulary.and_then(|vocabulary| Tokenizer::new(vocabulary, &old_config));
    let old = old.map_err(|e| crate::Error::new(crate::ErrorKind::Internal, e.to_string()))?;
    let mut changed = None;
    with_tokenizer(student, |new| -> Result<()> {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for path in corpus {
            data::for_each_text(path.as_ref(), &mut |text| {
                x.clear();
                y.clear();
                old.encode_into(text, &mut x);
                new.encode_into(text, &mut y);
                if changed.is_none() && !x.iter().copied().eq(y.iter().map(|&id| kept[id as usize])) {
                    changed = Some(text.chars().take(80).collect::<String>());
                }
            })?;
        }
        Ok(())
    })??;
    if let Some(text) = changed {
        fail!(Internal, "pruning changed the pieces of {text:?}");
    }
    Ok(())
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
