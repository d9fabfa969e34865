//! What grouping batches by length saves: full training steps (forward, backward, clipping, AdamW) on a file's own lengths.
//!
//!     cargo run --release -p attar-trainer --example grouping -- FILE --encoder FOLDER
//!         [--head nli] [--rows 32] [--max-len 128] [--batches 24] [--threads 2]
//!
//! Three plans of one epoch: grouped as `attar-train` does it, rows in random order padded to the longest of their batch, and
//! the same padded to `--max-len`. Padded tokens are counted over the whole epoch; time is measured on `--batches` batches of
//! each plan, evenly spread over its lengths, and the plans take turns, so that other work on the machine meets all alike.
//! `--batches 0` counts only.

use std::path::Path;
use std::time::Instant;

use attar_nn::optim::{Optimizer, OptimizerKind};
use attar_nn::{Batch as Inputs, Encoder, EncoderConfig, HeadSpec, Mode, Student, backward, loss, set_threads};
use attar_trainer::data::{
    BatchPlan, LabelMap, PairTokenizer, PlanSettings, ReadOptions, Tokens, Truncation, head_labels, read,
};
use candle_core::{Device, Tensor};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.next().and(arguments.next())
}

fn number(name: &str, default: usize) -> anyhow::Result<usize> {
    option(name).map_or(Ok(default), |text| text.parse().map_err(|e| anyhow::anyhow!("{name} {text:?}: {e}")))
}

/// CPU time of the process so far in ms, all threads, where the system tells; see the example `speed` of attar-nn.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map_or(Vec::new(), |(_, rest)| rest.split_whitespace().map(|f| f.parse().unwrap_or(f64::NAN)).collect());
    (fields.get(11).unwrap_or(&f64::NAN) + fields.get(12).unwrap_or(&f64::NAN)) * 10.0
}

/// One way to make an epoch's batches.
struct Plan {
    name: &'static str,
    /// Rows and padded length of each batch.
    batches: Vec<(Vec<usize>, usize)>,
    ms: f64,
    cpu_ms: f64,
}

impl Plan {
    fn new(name: &'static str, batches: Vec<Vec<usize>>, tokens: &[Tokens], at_least: usize) -> Self {
        let padded = |rows: &[usize]| rows.iter().map(|&r| tokens[r].len()).fold(at_least, usize::max);
        let mut batches: Vec<_> = batches.into_iter().map(|rows| (padded(&rows), rows)).map(|(n, r)| (r, n)).collect();
        // For even sampling over the lengths; the order of an epoch does not change what its batches cost.
        batches.sort_by_key(|(_, length)| *length);
        Self { name, batches, ms: 0.0, cpu_ms: 0.0 }
    }

    /// Over the whole epoch.
    fn padded_tokens(&self) -> usize {
        self.batches.iter().map(|(rows, length)| rows.len() * length).sum()
    }
}

fn inputs(tokens: &[Tokens], rows: &[usize], length: usize, pad: u32) -> anyhow::Result<Inputs> {
    let filled = |mut ids: Vec<u32>, with: u32| {
        ids.resize(length, with);
        ids
    };
    let ids: Vec<u32> = rows.iter().flat_map(|&r| filled(tokens[r].ids().to_vec(), pad)).collect();
    let types: Vec<u32> = rows.iter().flat_map(|&r| filled(tokens[r].types(), 0)).collect();
    let shape = (rows.len(), length);
    Ok(Inputs {
        ids: Tensor::from_vec(ids, shape, &Device::Cpu)?,
        types: Tensor::from_vec(types, shape, &Device::Cpu)?,
        lengths: rows.iter().map(|&r| tokens[r].len()).collect(),
    })
}

fn main() -> anyhow::Result<()> {
    let usage = "usage: grouping FILE --encoder FOLDER";
    let file = std::env::args().nth(1).filter(|a| !a.starts_with("--")).ok_or_else(|| anyhow::anyhow!(usage))?;
    let folder = option("--encoder").ok_or_else(|| anyhow::anyhow!(usage))?;
    let head = option("--head").unwrap_or_else(|| "nli".to_owned());
    let (batch_size, max_len) = (number("--rows", 32)?.max(1), number("--max-len", 128)?);
    let samples = number("--batches", 24)?;
    set_threads(number("--threads", 2)?)?;

    let labels: Vec<String> = head_labels(&head).unwrap_or_default().iter().map(|&l| l.to_owned()).collect();
    let map = LabelMap::new(&head, &labels, &Default::default())?;
    let rows = read(Path::new(&file), ReadOptions { labels: Some(&map), ..ReadOptions::default() })?.rows;
    let tokenizer = PairTokenizer::from_folder(Path::new(&folder), max_len)?;
    let tokens = tokenizer.rows(&rows, Truncation::LongerFirst)?;
    let lengths: Vec<u32> = tokens.iter().map(|t| t.len() as u32).collect();
    let total: usize = tokens.iter().map(Tokens::len).sum();
    println!(
        "{} rows of {:.1} tokens on average, batches of {batch_size}",
        rows.len(),
        total as f64 / rows.len() as f64
    );

    let settings = PlanSettings { batch_size, temperature: 1.0, seed: 1 };
    let planned = |lengths: &[u32]| -> Vec<Vec<usize>> {
        BatchPlan::new(&[lengths.to_vec()], 0, settings).batches().iter().map(|b| b.rows.clone()).collect()
    };
    let grouped = planned(&lengths);
    // Rows that all seem to be equally long stay shuffled: the same plan without its grouping.
    let random = planned(&vec![1; lengths.len()]);
    let mut plans = [
        Plan::new("grouped by length", grouped, &tokens, 1),
        Plan::new("random, padded to the longest", random.clone(), &tokens, 1),
        Plan::new("random, padded to the limit", random, &tokens, max_len),
    ];

    println!("plan                            padded tokens  of them padding  times grouped");
    for plan in &plans {
        let padded = plan.padded_tokens();
        println!(
            "{:<31} {padded:>13}  {:>13.1} %  {:>13.2}",
            plan.name,
            100.0 * (1.0 - total as f64 / padded as f64),
            padded as f64 / plans[0].padded_tokens() as f64
        );
    }
    if samples == 0 {
        return Ok(());
    }

    let config = EncoderConfig::load(&Path::new(&folder).join("config.json"))?;
    // What the weights are does not change what a step costs.
    let mut student = Student::new(Encoder::new(&config, 1, &Device::Cpu)?);
    let names: Vec<&str> = labels.iter().map(String::as_str).collect();
    student.add_head(HeadSpec::new(&head, &names), 1)?;
    let mut optimizer = Optimizer::new(OptimizerKind::adam_w(), student.parameters())?;
    for sample in 0..=samples {
        for plan in &mut plans {
            // The first turn, on a plan's longest batch, only pays for fresh memory.
            let at = match sample {
                0 => plan.batches.len() - 1,
                n => (2 * n - 1) * plan.batches.len() / (2 * samples),
            };
            let (members, length) = &plan.batches[at];
            let (begun, cpu_before) = (Instant::now(), cpu_ms());
            let batch = inputs(&tokens, members, *length, config.pad_id)?;
            let gold: Vec<u32> = members.iter().map(|&r| rows[r].label.unwrap_or(0)).collect();
            let gold = Tensor::from_vec(gold, members.len(), &Device::Cpu)?;
            let logits = student.logits(&batch, &head, Mode::Train { seed: sample as u64 })?;
            let loss = loss::cross_entropy(&logits[0], &gold, None)?;
            let mut gradients = backward(&loss, student.parameters())?;
            gradients.clip(1.0)?;
            optimizer.step(student.parameters(), &gradients, 1e-5)?;
            anyhow::ensure!(loss.to_scalar::<f32>()?.is_finite(), "the loss is not finite");
            if sample > 0 {
                plan.ms += begun.elapsed().as_secs_f64() * 1e3;
                plan.cpu_ms += cpu_ms() - cpu_before;
            }
        }
    }

    println!("plan                            ms a step  CPU ms a step  minutes an epoch  times grouped  by CPU time");
    for plan in &plans {
        let ms = plan.ms / samples as f64;
        println!(
            "{:<31} {ms:>9.0}  {:>13.0}  {:>16.1}  {:>13.2}  {:>11.2}",
            plan.name,
            plan.cpu_ms / samples as f64,
            ms * plan.batches.len() as f64 / 6e4,
            plan.ms / plans[0].ms,
            plan.cpu_ms / plans[0].cpu_ms
        );
    }
    Ok(())
}
