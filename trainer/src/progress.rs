//! Progress on stderr: a bar on a terminal, a plain line now and then otherwise, nothing when quiet.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::error::{Error, ErrorKind, Result};

/// Whether the user has asked the program to stop; clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks to stop at the next safe point.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether that was asked.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// An [`ErrorKind::Interrupted`] error when it was.
    ///
    /// # Errors
    /// That error.
    pub fn check(&self) -> Result<()> {
        if self.requested() {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted; run the same command again to go on"));
        }
        Ok(())
    }
}

/// How much a command says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reporter {
    quiet: bool,
}

impl Reporter {
    /// A reporter that says nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Prints a line to stderr.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", line.as_ref());
        }
    }

    /// Begins a task of a known number of units, `done` of which are finished already.
    pub fn begin(&self, name: &str, unit: &'static str, total: u64, done: u64) -> Progress {
        let bar = (!self.quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(total);
            bar.set_style(
                ProgressStyle::with_template("{prefix:>14} [{wide_bar}] {pos}/{len} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_prefix(name.to_owned());
            bar.set_position(done);
            bar
        });
        let now = Instant::now();
        Progress { name: name.to_owned(), unit, total, begun: now, first: done, spoken: now, bar, quiet: self.quiet }
    }
}

const PLAIN_LINE_EVERY: Duration = Duration::from_secs(30);

/// A running task.
pub struct Progress {
    name: String,
    unit: &'static str,
    total: u64,
    begun: Instant,
    first: u64,
    spoken: Instant,
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// Shows that `done` units are finished; `note` is made only when it is shown.
    pub fn update(&mut self, done: u64, note: impl FnOnce() -> String) {
        if self.quiet {
            return;
        }
        let elapsed = self.begun.elapsed().as_secs_f64();
        let fresh = done.saturating_sub(self.first);
        let left = if fresh == 0 {
            "?".to_owned()
        } else {
            duration(elapsed / fresh as f64 * self.total.saturating_sub(done) as f64)
        };
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(format!("{} eta {left}", note()));
        } else if self.spoken.elapsed() >= PLAIN_LINE_EVERY {
            self.spoken = Instant::now();
            eprintln!("{}: {done}/{} {} {} eta {left}", self.name, self.total, self.unit, note());
        }
    }

    /// Prints a line without disturbing the bar.
    pub fn say(&self, line: impl AsRef<str>) {
        match &self.bar {
            Some(bar) => bar.println(line.as_ref()),
            None if !self.quiet => eprintln!("{}: {}", self.name, line.as_ref()),
            None => {}
        }
    }

    /// Ends the task.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        if !self.quiet {
            eprintln!("{}: done in {}", self.name, duration(self.begun.elapsed().as_secs_f64()));
        }
    }
}

/// Processor seconds of this process so far, all threads together, where the system tells (Linux).
pub fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the program's name in parentheses; user and system time are the 12th and 13th, in ticks of 10 ms.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

/// `1:02:03`, `2:03` or `3.1s`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let s = seconds.round() as u64;
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    }
}
