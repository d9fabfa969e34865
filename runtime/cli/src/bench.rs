//! `attar bench`.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use attar::{Model, Score, Session};
use serde::Serialize;

use crate::Outcome;
use crate::args::BenchArgs;
use crate::output::{printable, stdout, write_json};
use crate::pairs::PairReader;
use crate::student::Student;
use crate::texts::pair_of;

/// Fewest timed calls, however long they take.
const MIN_CALLS: usize = 10;
/// Most timed calls: percentiles do not improve beyond.
const MAX_CALLS: usize = 10_000;

#[derive(Serialize)]
struct Report {
    model: String,
    kernel: &'static str,
    threads: usize,
    cold_open_ms: f64,
    peak_rss_bytes: Option<u64>,
    results: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    batch: usize,
    tokens: usize,
    median_ms: f64,
    p95_ms: f64,
    min_ms: f64,
    n: usize,
}

pub(crate) fn run(args: &BenchArgs, started: Instant) -> Result<Outcome> {
    let student = Student::open(&args.student)?;
    let model = &student.model;
    let head = head(model, args.head.as_deref())?;
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let mut session = model.session().threads(threads);
    session.score(&head, &[("Is it open?", "It opens at nine.")])?;
    let cold_open = started.elapsed();

    let mut results = Vec::new();
    for &batch in &args.batch {
        if let Some(path) = &args.pairs {
            results.push(time(&mut session, &head, &pairs_of(path, batch)?, None, args.seconds)?);
            continue;
        }
        for &tokens in &args.lengths {
            let pairs = vec![pair_of(model, tokens)?; batch];
            results.push(time(&mut session, &head, &pairs, Some(tokens), args.seconds)?);
        }
    }
    let report = Report {
        model: student.name,
        kernel: model.kernel(),
        threads,
        cold_open_ms: milliseconds(cold_open),
        peak_rss_bytes: peak_rss_bytes(),
        results,
    };
    let mut out = stdout();
    if args.json {
        write_json(&mut out, &report)?;
    } else {
        print(&mut out, &report)?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn head(model: &Model, wanted: Option<&str>) -> Result<String> {
    let names: Vec<&str> = model.heads().iter().map(|head| head.name.as_str()).collect();
    let chosen = match wanted {
        Some(name) => names.iter().find(|head| **head == name),
        None => names.iter().find(|head| **head == "relevance").or(names.first()),
    };
    chosen
        .map(|name| (*name).to_owned())
        .ok_or_else(|| anyhow!("no head {:?}; the model has {}", wanted.unwrap_or("relevance"), names.join(", ")))
}

/// The file's first `count` pairs.
fn pairs_of(path: &Path, count: usize) -> Result<Vec<(String, String)>> {
    let mut reader = PairReader::open(path)?;
    let mut pairs = Vec::new();
    while pairs.len() < count {
        let Some(pair) = reader.next_pair()? else {
            bail!("{}: {} pairs, expected at least {count} (--batch)", path.display(), pairs.len());
        };
        pairs.push((pair.text_a, pair.text_b));
    }
    Ok(pairs)
}

/// Checks a result, then times it. `tokens` is what every pair should have.
fn time(
    session: &mut Session,
    head: &str,
    pairs: &[(String, String)],
    tokens: Option<usize>,
    seconds: f64,
) -> Result<Row> {
    let expected = session.score(head, pairs)?;
    check(&expected, &session.score(head, pairs)?, tokens)?;
    let budget = Duration::from_secs_f64(seconds);
    let mut times = Vec::new();
    let begun = Instant::now();
    let mut last = Vec::new();
    let all = expected.iter().map(|score| score.tokens).sum();
    while times.len() < MIN_CALLS || (begun.elapsed() < budget && times.len() < MAX_CALLS) {
        let start = Instant::now();
        session.score_into(head, pairs, &mut last)?;
        times.push(milliseconds(start.elapsed()));
    }
    check(&expected, &last, tokens)?;
    times.sort_by(f64::total_cmp);
    Ok(Row {
        batch: pairs.len(),
        tokens: tokens.unwrap_or(all),
        median_ms: round(quantile(&times, 0.5)),
        p95_ms: round(quantile(&times, 0.95)),
        min_ms: round(quantile(&times, 0.0)),
        n: times.len(),
    })
}

/// A number that is fast and wrong is not worth timing.
fn check(expected: &[Score], found: &[Score], tokens: Option<usize>) -> Result<()> {
    if let Some(tokens) = tokens
        && let Some(score) = expected.iter().find(|score| score.tokens != tokens || score.windows != 1)
    {
        bail!("the benchmark's pair has {} tokens in {} windows, expected {tokens} in 1", score.tokens, score.windows);
    }
    if expected.iter().flat_map(|score| &score.logits).any(|x| !x.is_finite()) {
        bail!("the model gives logits that are no finite numbers");
    }
    if expected != found {
        bail!("the model gives different logits for the same tokens");
    }
    Ok(())
}

/// Quantile of ascending values, by linear interpolation; NaN without any.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q * last as f64;
    let below = sorted[at.floor() as usize];
    let above = sorted[(at.ceil() as usize).min(last)];
    below + (above - below) * at.fract()
}

fn milliseconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1e3)
}

/// To the microsecond.
fn round(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

/// The most memory that this process had at once, where the kernel tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn print(out: &mut impl Write, report: &Report) -> Result<()> {
    writeln!(out, "{}, kernel {}, {} thread(s)", printable(&report.model), report.kernel, report.threads)?;
    writeln!(out, "first score {:.1} ms after the start of the program", report.cold_open_ms)?;
    if let Some(bytes) = report.peak_rss_bytes {
        writeln!(out, "peak memory {:.1} MB, mapped bundle included", bytes as f64 / 1e6)?;
    }
    writeln!(out, "\n batch  tokens   median ms      p95 ms      min ms       n")?;
    for row in &report.results {
        writeln!(
            out,
            "{:>6}  {:>6}  {:>10.3}  {:>10.3}  {:>10.3}  {:>6}",
            row.batch, row.tokens, row.median_ms, row.p95_ms, row.min_ms, row.n
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_and_many_values() {
        assert!(quantile(&[], 0.5).is_nan());
        assert_eq!(quantile(&[3.0], 0.95), 3.0);
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
        let many: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!((quantile(&many, 0.0), quantile(&many, 0.95), quantile(&many, 1.0)), (0.0, 95.0, 100.0));
    }
}
