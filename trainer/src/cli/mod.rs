//! The command line.

mod arguments;
mod commands;

pub use arguments::Arguments;

use std::time::Duration;

use attar_trainer::progress::{Reporter, Stop};
use attar_trainer::run::RunOptions;

use arguments::Command;

/// Does what the command line says.
///
/// # Errors
/// Any error of the command.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let common = &arguments.common;
    attar_nn::set_threads(common.threads)?;
    let stop = Stop::default();
    let for_signal = stop.clone();
    // A download goes on where it stopped, whenever that is.
    let at_once = matches!(arguments.command, Command::Fetch(_) | Command::Parts(_));
    ctrlc::set_handler(move || {
        if at_once || for_signal.requested() {
            // The second time is meant: the last checkpoint stays.
            std::process::exit(130);
        }
        eprintln!("attar-train: stopping at the next safe point; again to stop at once");
        for_signal.request();
    })?;
    let options = |output| RunOptions {
        output,
        shared: None,
        device: common.device.clone(),
        precision: common.precision.into(),
        threads: common.threads,
        checkpoint_every: Duration::from_secs_f64(60.0 * common.checkpoint_minutes),
        reporter: Reporter::new(common.quiet),
        stop: stop.clone(),
    };
    match arguments.command {
        Command::Run(a) => commands::run(&a, common, options),
        Command::Compare(a) => commands::compare(&a, common, options),
        Command::Distill(a) => commands::distill(&a, common, options),
        Command::Teacher(a) => commands::teacher(&a, common, options),
        Command::Pairs(a) => commands::pairs(&a, common, &stop),
        Command::Fetch(a) => commands::fetch(&a, common),
        Command::Parts(a) => commands::parts(&a, common),
        Command::Label(a) => commands::label(&a, common, &stop),
        Command::Mean(a) => commands::mean(&a, common),
        Command::Evaluate(a) => commands::evaluate(&a, common, &stop),
        Command::Report(a) => commands::report(&a),
        Command::Selftest => commands::selftest(common),
    }
}
