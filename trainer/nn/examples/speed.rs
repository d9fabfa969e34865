//! Training speed of full steps (forward, backward, clipping, AdamW): examples a second and peak memory.
//!
//!     cargo run --release -p attar-nn --example speed -- [--threads N] [--steps N] [--rows N] [--only NAME@TOKENS]
//!         [--device cpu|cuda] [--precision f32|bf16]
//!
//! BERT-base runs on a GPU, or where `--only BERT-base@128` asks for it.

#![allow(clippy::unwrap_used)]

use std::time::Instant;

use attar_nn::optim::{Optimizer, OptimizerKind};
use attar_nn::{
    Batch, Encoder, EncoderConfig, Error, HeadSpec, Mode, Precision, Student, backward, choose_device, loss,
    set_threads,
};
use candle_core::{Device, Tensor};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.next().and(arguments.next())
}

/// Peak resident memory in MiB, where the system tells.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// CPU time of the process so far in ms, all threads, where the system tells: what a step costs on a machine that others use.
fn cpu_ms() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the program's name in parentheses; user and system time are the 12th and 13th, in ticks of 10 ms.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) * 10.0)
}

/// Rows of full length, the worst case: no padding to skip. Ids follow Zipf's law roughly, as text does.
fn batch(row_count: usize, tokens: usize, seed: u64, device: &Device) -> Result<Batch, Error> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let rows: Vec<(Vec<u32>, Vec<u32>)> = (0..row_count)
        .map(|_| {
            (
                (0..tokens).map(|_| 1000 + (29_000f64.powf(next()) as u32)).collect(),
                (0..tokens).map(|i| u32::from(i > tokens / 2)).collect(),
            )
        })
        .collect();
    Batch::new(&rows, 0, device)
}

fn main() -> Result<(), Error> {
    set_threads(option("--threads").and_then(|n| n.parse().ok()).unwrap_or(2))?;
    let steps: u64 = option("--steps").and_then(|n| n.parse().ok()).unwrap_or(6).max(2);
    let only = option("--only");
    let rows: usize = option("--rows").and_then(|n| n.parse().ok()).unwrap_or(32).max(1);
    let device = choose_device(&option("--device").unwrap_or_else(|| "cpu".to_owned()))?;
    let precision = match option("--precision").as_deref() {
        Some("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    println!("batches of {rows} on {device:?}, {precision:?}");
    println!(
        "model          tokens  best step ms  examples/s  forward ms  backward ms  update ms  CPU ms a step  peak RSS MiB"
    );
    for (name, config) in [
        ("4 x 256", EncoderConfig::bert(4, 256, 4, 1024, 30522)),
        ("MiniLM-L6", EncoderConfig::bert(6, 384, 12, 1536, 30522)),
        ("BERT-base", EncoderConfig::bert(12, 768, 12, 3072, 30522)),
    ] {
        for tokens in [64, 128] {
            let wanted = match &only {
                Some(only) => *only == format!("{name}@{tokens}"),
                None => name != "BERT-base" || device.is_cuda(),
            };
            if !wanted {
                continue;
            }
            let mut student = Student::new(Encoder::new(&config, 1, &device)?);
            student.set_precision(precision);
            student.add_head(HeadSpec::new("nli", &["entailment", "neutral", "contradiction"]), 1)?;
            let mut optimizer = Optimizer::new(OptimizerKind::adam_w(), student.parameters())?;
            let labels = Tensor::from_vec((0..rows as u32).map(|i| i % 3).collect(), rows, &device)?;
            let mut best = [f64::INFINITY; 4];
            let mut cpu = None;
            for step in 0..steps {
                if step == 1 {
                    // The first step also pays for fresh memory.
                    cpu = cpu_ms();
                }
                let batch = batch(rows, tokens, step + 1, &device)?;
                let t0 = Instant::now();
                let logits = student.logits(&batch, "nli", Mode::Train { seed: step })?;
                let loss = loss::cross_entropy(&logits[0], &labels, None)?;
                device.synchronize()?;
                let t1 = Instant::now();
                let mut gradients = backward(&loss, student.parameters())?;
                device.synchronize()?;
                let t2 = Instant::now();
                gradients.clip(1.0)?;
                optimizer.step(student.parameters(), &gradients, 1e-5)?;
                device.synchronize()?;
                let t3 = Instant::now();
                assert!(loss.to_scalar::<f32>()?.is_finite(), "the loss is not finite");
                let times = [t3 - t0, t1 - t0, t2 - t1, t3 - t2].map(|t| t.as_secs_f64() * 1e3);
                best.iter_mut().zip(times).for_each(|(b, t)| *b = b.min(t));
            }
            println!(
                "{name:<14} {tokens:>6}  {:>12.1}  {:>10.1}  {:>10.1}  {:>11.1}  {:>9.1}  {:>13}  {:>12}",
                best[0],
                rows as f64 / best[0] * 1e3,
                best[1],
                best[2],
                best[3],
                cpu.zip(cpu_ms()).map_or("unknown".to_owned(), |(a, b)| format!("{:.1}", (b - a) / (steps - 1) as f64)),
                peak_rss_mib().map_or("unknown".to_owned(), |m| m.to_string())
            );
        }
    }
    Ok(())
}
