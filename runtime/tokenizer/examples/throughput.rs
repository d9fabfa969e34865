//! Checks that a text gives the same ids as with the `tokenizers` crate, then times both.
//!
//! `cargo run --release -p attar-tokenizer --example throughput -- vocab.txt TEXT...`
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use attar_tokenizer::{Config, Vocabulary};
use support::Pair;

/// The best of several passes over `lines`, in MB of text per second.
fn rate(lines: &[&str], mut pass: impl FnMut(&str)) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        lines.iter().for_each(|line| pass(line));
        best = best.min(start.elapsed());
    }
    lines.iter().map(|line| line.len()).sum::<usize>() as f64 / 1e6 / best.as_secs_f64()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(vocabulary) = arguments.next() else {
        eprintln!("usage: throughput vocab.txt TEXT...");
        std::process::exit(2);
    };
    let tokens: Vec<String> = std::fs::read_to_string(vocabulary).unwrap().lines().map(str::to_owned).collect();
    let pair = Pair::new(&tokens, Config::default());
    for path in arguments {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().take(20_000).collect();
        if let Some(difference) = lines.iter().find_map(|line| pair.difference(line)) {
            eprintln!("{path}: {difference}");
            std::process::exit(1);
        }
        let tokenizer = pair.ours();
        let (mut ids, mut spans) = (Vec::new(), Vec::new());
        let ours = rate(&lines, |line| {
            ids.clear();
            tokenizer.encode_into(line, &mut ids);
            black_box(&ids);
        });
        let with_spans = rate(&lines, |line| {
            ids.clear();
            spans.clear();
            tokenizer.encode_with_spans(line, &mut ids, &mut spans);
            black_box((&ids, &spans));
        });
        let theirs = rate(&lines, |line| {
            black_box(pair.reference.encode_fast(line, false).unwrap());
        });
        println!(
            "{path}: attar {ours:.1} MB/s, with spans {with_spans:.1}, tokenizers {theirs:.1} ({:.1} times)",
            ours / theirs
        );
    }
    let tables = &pair.tables;
    let start = Instant::now();
    for _ in 0..1000 {
        black_box(Vocabulary::new(black_box(&tables.bytes), &tables.offsets, &tables.table).unwrap());
    }
    println!("checking the vocabulary: {:.1} us", start.elapsed().as_secs_f64() * 1e3);
}
