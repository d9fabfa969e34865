//! Scores one pair of TOKENS tokens, CALLS times on one thread: `repeat_score BUNDLE TOKENS CALLS`.
//!
//! For counting executed instructions (`tests/peers/instructions.sh`): the difference between two numbers of calls is free of
//! what happens once.

use std::hint::black_box;
use std::process::ExitCode;

use attar::{Error, Model};

const QUESTION: &str = "Where is the SD card slot?";

/// Words that are one token each in BERT's vocabulary.
const WORDS: [&str; 8] = ["the", "board", "has", "a", "card", "slot", "on", "one"];

fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, tokens, calls] = &arguments[..] else {
        eprintln!("usage: repeat_score BUNDLE TOKENS CALLS");
        return Ok(ExitCode::from(2));
    };
    let (Ok(tokens), Ok(calls)) = (tokens.parse::<usize>(), calls.parse::<usize>()) else {
        eprintln!("repeat_score: TOKENS and CALLS are whole numbers");
        return Ok(ExitCode::from(2));
    };
    let model = Model::open(path)?;
    let head = model.heads()[0].name.clone();
    // Three special tokens.
    let words = tokens.saturating_sub(3 + model.count_tokens(QUESTION));
    let passage: Vec<&str> = WORDS.into_iter().cycle().take(words).collect();
    let pair = [(QUESTION, passage.join(" "))];
    let mut session = model.session();
    let mut scores = session.score(&head, &pair)?;
    if scores[0].tokens != tokens {
        eprintln!("repeat_score: the pair has {} tokens instead of {tokens}", scores[0].tokens);
        return Ok(ExitCode::from(2));
    }
    for _ in 0..calls {
        session.score_into(&head, &pair, &mut scores)?;
        black_box(&scores);
    }
    println!("{} tokens, {calls} calls, {}: {:?}", tokens, model.kernel(), scores[0].logits);
    Ok(ExitCode::SUCCESS)
}
