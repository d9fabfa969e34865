//! `attar`: asks documents, scores pairs, and shows what a bundle holds, on the device.
//!
//! Results go to stdout, everything else to stderr. Exit code 0: done; 1: it ran and the answer is "no answer"; 2: usage,
//! input or a bad file. A reader that goes away (`attar ... | head`) is no error.

#![forbid(unsafe_code)]

mod args;
mod ask;
mod bench;
mod index;
mod info;
mod output;
mod pairs;
mod score;
mod student;
mod texts;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::output::{is_broken_pipe, say};

/// How a command that did not fail ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    NoAnswer,
}

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Ask(args) => ask::run(args),
        Command::Index(args) => index::run(args),
        Command::Score(args) => score::run(args),
        Command::Info(args) => info::run(args),
        Command::Bench(args) => bench::run(args, started),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NoAnswer) => ExitCode::from(1),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Errors of our libraries hold their causes' texts already: only the outermost is shown.
            say(&error.to_string());
            ExitCode::from(2)
        }
    }
}
