//! Ids and spans are exactly those of the `tokenizers` crate over real data, where it lies around.
//!
//! A folder `artifacts` with `data/**/*.{tsv,jsonl}` and `pretrained/*/tokenizer.json`, beside the workspace's root or named by
//! `ATTAR_ARTIFACTS`. The first 256 KiB of each file; all of it with `ATTAR_ALL_DATA=1`.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use attar_tokenizer::Config;
use support::Pair;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "tsv" || extension == "jsonl") {
            found.push(path);
        }
    }
}

#[test]
fn real_data_gives_the_same_ids_and_spans() {
    let artifacts = std::env::var_os("ATTAR_ARTIFACTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../artifacts"), PathBuf::from);
    let vocabulary = artifacts.join("pretrained/all-MiniLM-L6-v2/vocab.txt");
    let mut paths = Vec::new();
    files(&artifacts.join("data"), &mut paths);
    let Ok(vocabulary) = std::fs::read_to_string(&vocabulary) else {
        println!("skipped: no {}", vocabulary.display());
        return;
    };
    if paths.is_empty() {
        println!("skipped: no data in {}", artifacts.display());
        return;
    }
    let tokens: Vec<String> = vocabulary.lines().map(str::to_owned).collect();
    let uncased = Pair::new(&tokens, Config::default());
    let cased = Pair::new(&tokens, Config { lowercase: false, strip_accents: false, ..Config::default() });
    let all = std::env::var_os("ATTAR_ALL_DATA").is_some();
    let mut bytes = 0;
    paths.sort();
    for (n, path) in paths.iter().enumerate() {
        let text = std::fs::read(path).unwrap();
        let end = if all { text.len() } else { text.len().min(256 << 10) };
        let text = String::from_utf8_lossy(&text[..end]);
        let pair = if n % 8 == 7 { &cased } else { &uncased };
        for line in text.lines() {
            if let Some(difference) = pair.difference(line) {
                panic!("{}: {difference}", path.display());
            }
        }
        bytes += text.len();
    }
    println!("{} files, {bytes} bytes: equal", paths.len());
}
