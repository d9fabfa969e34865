//! `runs.rs` against the crates that `tokenizers` uses, over every character. `ATTAR_WRITE_RUNS=1` writes the file anew.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::{UnicodeNormalization, char::canonical_combining_class};

use super::*;

/// The definitions of `tokenizers` 0.23, `src/normalizers/bert.rs` and `src/pre_tokenizers/bert.rs`.
fn defined(c: char) -> u8 {
    let mut flags = 0;
    if c == '\0' || c == '\u{fffd}' || (!matches!(c, '\t' | '\n' | '\r') && c.is_other()) {
        flags |= DROPPED;
    }
    if c.is_whitespace() {
        flags |= SPACE;
    }
    if matches!(c as usize,
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF
        | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
    {
        flags |= IDEOGRAPH;
    }
    if c.is_mark_nonspacing() {
        flags |= MARK;
    }
    if c.is_ascii_punctuation() || c.is_punctuation() {
        flags |= PUNCTUATION;
    }
    if canonical_combining_class(c) != 0 || !std::iter::once(c).nfd().eq([(c, 0)]) {
        flags |= DECOMPOSED;
    }
    flags
}

#[test]
fn every_character_has_the_flags_that_tokenizers_gives_it() {
    if std::env::var_os("ATTAR_WRITE_RUNS").is_some() {
        let mut runs: Vec<u32> = Vec::new();
        for c in (0..=0x10ffff).filter_map(char::from_u32) {
            let flags = u32::from(defined(c));
            if runs.last().is_none_or(|run| run & 0xff != flags) {
                runs.push((c as u32) << 8 | flags);
            }
        }
        let mut text = "//! Generated: `ATTAR_WRITE_RUNS=1 cargo test -p attar-tokenizer classes`.\n\n".to_owned();
        text += "/// First character of each run of characters with the same flags, `c << 8 | flags`, ascending.\n#[rustfmt::skip]\n";
        writeln!(text, "pub(super) static RUNS: [u32; {}] = [", runs.len()).unwrap();
        for line in runs.chunks(10) {
            let line: Vec<String> = line.iter().map(|run| format!("0x{run:x}")).collect();
            writeln!(text, "    {},", line.join(", ")).unwrap();
        }
        text += "];\n";
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/classes/runs.rs"), text).unwrap();
        println!("written; build again");
        return;
    }
    for c in (0..=0x10ffff).filter_map(char::from_u32) {
        assert_eq!(flags(c), defined(c), "flags of U+{:04X}", c as u32);
    }
}

#[test]
fn bytes_of_ascii_agree_with_the_flags() {
    for byte in 0..128u8 {
        let flags = flags(char::from(byte));
        let expected = match byte {
            b'\t' | b'\n' | b'\r' | b' ' => SPACE,
            _ if BYTES[usize::from(byte)] == Class::Punctuation => PUNCTUATION,
            _ if BYTES[usize::from(byte)] == Class::Word => 0,
            0x0b | 0x0c => SPACE | DROPPED,
            _ => DROPPED,
        };
        assert_eq!(flags, expected, "byte {byte}");
    }
    assert!(BYTES[128..].iter().all(|&class| class == Class::Other));
}
