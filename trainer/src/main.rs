//! `attar-train`: teachers, soft labels and distillation.
//!
//! Results go to stdout, everything else to stderr. Exit code 0: done; 2: usage, I/O, a bad file or setting; 130:
//! interrupted, and the same command goes on.

mod cli;

use std::process::ExitCode;

use attar_trainer::ErrorKind;
use clap::Parser;

// Training allocates and frees large tensors all the time; mimalloc measured 1.25x the default allocator's speed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let interrupted =
                error.downcast_ref::<attar_trainer::Error>().is_some_and(|e| e.kind() == ErrorKind::Interrupted);
            eprintln!("attar-train: {}", described(&error));
            ExitCode::from(if interrupted { 130 } else { 2 })
        }
    }
}

/// The error and its causes, each unless the text already ends with it.
fn described(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
