//! Calibration text through the f32 student: what its linears see.

use std::path::Path;

use attar_bundle::LinearName;
use attar_kernels::{Embeddings, Kernel, Norm, Table};
use attar_tokenizer::{Config, Tokenizer, Vocabulary};
use half::f16;

use attar_rounding::Range;

use crate::data;
use crate::error::{Error, ErrorKind, Result, fail};
use crate::network::{Batch, Network, first_rows, kernel};
use crate::pack::{Packed, Recipe, Values};
use crate::student::Student;

/// Pairs are cut to so many tokens: those of a sensible passage.
const MAX_TOKENS: usize = 128;
/// Rows of activations kept for each linear.
const MAX_SAMPLES: usize = 1024;

/// A student's tokenizer.
pub(crate) fn tokenizer_config(student: &Student) -> Config {
    let t = &student.tokenizer;
    Config {
        lowercase: t.lowercase,
        strip_accents: t.strip_accents,
        clean_text: true,
        chinese_characters: t.chinese_characters,
        max_word_chars: u32::try_from(t.max_word_chars).unwrap_or(u32::MAX),
        unk: t.unk,
        cls: t.cls,
        sep: t.sep,
        pad: t.pad,
        continuation: t.continuation.clone(),
    }
}

/// Runs `work` with the student's tokenizer.
pub(crate) fn with_tokenizer<T>(student: &Student, work: impl FnOnce(&Tokenizer<'_>) -> T) -> Result<T> {
    let tables = &student.tables;
    let config = tokenizer_config(student);
    let made = Vocabulary::new(&tables.bytes, &tables.offsets, &tables.table)
        .and_then(|vocabulary| Tokenizer::new(vocabulary, &config).map(|tokenizer| work(&tokenizer)));
    made.map_err(|e| Error::new(ErrorKind::Source, format!("tokenizer.json: {e}")))
}

/// What calibration text gave.
pub(crate) struct Calibration {
    pub(crate) batch: Batch,
    /// The input of each layer, `[tokens, H]`, and the last one's output.
    pub(crate) hidden: Vec<Vec<f32>>,
    /// Up to [`MAX_SAMPLES`] rows of each linear's input, in [`LinearName::all`]'s order.
    pub(crate) samples: Vec<Vec<f32>>,
    /// The f32 student's logits, all heads'.
    pub(crate) logits: Vec<f32>,
    /// Pairs that were read.
    pub(crate) pairs: usize,
}

impl Calibration {
    /// Reads at most `limit` pairs, tokenises them, and runs them through the network.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] for a file without text; what reading a student's tensors gives.
    pub(crate) fn new(student: &Student, network: &Network<'_>, path: &Path, limit: usize) -> Result<Calibration> {
        let pairs = data::read_texts(path, limit)?;
        let batch = batch(student, &pairs)?;
        if batch.starts.len() < 2 {
            fail!(Data, "{}: no text with a visible character to calibrate on", path.display());
        }
        let mut hidden = vec![embed(student, &batch, &Recipe::plain(attar_bundle::Weights::F32))?];
        let mut samples = Vec::new();
        let (layers, width) = (student.architecture.layers, student.architecture.hidden);
        for i in 0..layers {
            let input = &hidden[i];
            for (part, rows) in network.inputs(i, input, &batch.starts)?.into_iter().enumerate() {
                let columns = rows.len() / (input.len() / width);
                // After the last layer's keys and values only each sequence's first row counts.
                let last = i + 1 == layers && part > 0;
                let rows = if last { first_rows(&rows, &batch.starts, columns) } else { rows };
                samples.push(sample(&rows, columns));
            }
            let mut next = input.clone();
            network.layer(i, &mut next, &batch.starts, &[])?;
            hidden.push(next);
        }
        samples.push(sample(&first_rows(&hidden[layers], &batch.starts, width), width));
        let logits = network.logits(&hidden[layers], &batch.starts, &[])?;
        Ok(Calibration { pairs: batch.starts.len() - 1, batch, hidden, samples, logits })
    }

    /// Rows of a linear's input.
    pub(crate) fn inputs(&self, student: &Student, name: LinearName) -> &[f32] {
        let at = LinearName::all(&student.architecture).position(|other| other == name);
        at.map_or(&[], |at| &self.samples[at])
    }
}

/// Every n-th row, so that at most [`MAX_SAMPLES`] remain.
fn sample(rows: &[f32], width: usize) -> Vec<f32> {
    let step = (rows.len() / width).div_ceil(MAX_SAMPLES).max(1);
    rows.chunks_exact(width).step_by(step).flatten().copied().collect()
}

/// Pairs as the runtime reads them, cut to [`MAX_TOKENS`]: the longer text loses tokens first.
fn batch(student: &Student, pairs: &[(String, String)]) -> Result<Batch> {
    let t = &student.tokenizer;
    let most = MAX_TOKENS.min(student.architecture.positions) - 3;
    with_tokenizer(student, |tokenizer| {
        let mut batch = Batch { starts: vec![0], ..Batch::default() };
        for (a, b) in pairs {
            let (mut x, mut y) = (Vec::new(), Vec::new());
            tokenizer.encode_into(a, &mut x);
            tokenizer.encode_into(b, &mut y);
            if x.is_empty() || y.is_empty() {
                continue;
            }
            while x.len() + y.len() > most {
                if x.len() > y.len() {
                    x.pop()
                } else {
                    y.pop()
                };
            }
            let first = batch.ids.len();
            batch.ids.push(t.cls);
            batch.ids.extend(&x);
            batch.ids.push(t.sep);
            batch.ids.extend(&y);
            batch.ids.push(t.sep);
            batch.types.extend((0..x.len() + y.len() + 3).map(|i| u8::from(i > x.len() + 1)));
            batch.positions.extend(0..(batch.ids.len() - first) as u32);
            batch.starts.push(batch.ids.len() as u32);
        }
        batch
    })
}

/// The embeddings' sum, layer-normed, with the tables stored as `recipe` says.
pub(crate) fn embed(student: &Student, batch: &Batch, recipe: &Recipe) -> Result<Vec<f32>> {
    // Only rows that occur: a whole f32 table is the largest tensor there is.
    let mut used = batch.ids.clone();
    used.sort_unstable();
    used.dedup();
    let width = student.architecture.hidden;
    let all = student.word_rows()?;
    let rows: Vec<f32> =
        used.iter().flat_map(|&id| &all[id as usize * width..(id as usize + 1) * width]).copied().collect();
    drop(all);
    let ids: Vec<u32> = batch.ids.iter().map(|id| used.partition_point(|other| other < id) as u32).collect();
    let mut packed = Packed::default();
    packed.rows("word", &student.word_name(), rows, width, recipe.word, recipe.range)?;
    packed.rows(
        "position",
        "position embeddings",
        student.position_rows()?,
        width,
        recipe.weights.into(),
        recipe.range,
    )?;
    let types = student.type_rows()?;
    let [weight, bias] = student.norm(attar_bundle::NormName::Embeddings)?;
    let norm = Norm::new(&weight, &bias).map_err(kernel)?;
    let embeddings = Embeddings::new(
        table(&packed, "word"),
        table(&packed, "position"),
        &types,
        norm,
        student.architecture.layer_norm_eps,
    )
    .map_err(kernel)?;
    let mut out = vec![0.0; ids.len() * width];
    Kernel::best().embed(&embeddings, &ids, &batch.positions, &batch.types, &mut out).map_err(kernel)?;
    Ok(out)
}

fn table<'p>(packed: &'p Packed, name: &str) -> Table<'p> {
    let scales = packed.tensors.get(&format!("{name}.scales"));
    let no_f16: &[f16] = &[];
    match (&packed.tensors[name], scales) {
        (Values::U8(values), Some(Values::F16(scales))) => Table::I4 { values, scales },
        (Values::I8(values), Some(Values::F32(scales))) => Table::I8 { values, scales },
        (Values::F16(values), _) => Table::F16(values),
        (Values::F32(values), _) => Table::F32(values),
        _ => Table::F16(no_f16),
    }
}

/// Chooses the range of each channel of an int8 linear by its outputs on calibration rows: of the ranges that
/// [`Range::Mse`] tries, the one whose outputs, with the activations rounded as the runtime rounds them, are nearest to f32.
pub(crate) fn output_scales(linear: &crate::weights::FloatLinear, inputs: &[f32]) -> Result<Vec<f32>> {
    let exact = crate::network::Matrix::float(linear).apply(inputs, false)?;
    let most = attar_rounding::int8::quantise_rows(&linear.weight, linear.inputs, Range::MinMax).scales;
    let mut best = vec![(f64::INFINITY, 0f32); linear.outputs];
    for clip in attar_rounding::CLIPS {
        let scales: Vec<f32> = most.iter().map(|s| s * clip).collect();
        for (best, (error, &scale)) in
            best.iter_mut().zip(output_errors(linear, inputs, &exact, &scales)?.iter().zip(&scales))
        {
            if *error < best.0 {
                *best = (*error, scale);
            }
        }
    }
    Ok(best.into_iter().map(|(_, scale)| scale).collect())
}

/// Squared error of each channel's outputs in int8 with these scales.
pub(crate) fn output_errors(
    linear: &crate::weights::FloatLinear,
    inputs: &[f32],
    exact: &[f32],
    scales: &[f32],
) -> Result<Vec<f64>> {
    let rows = attar_rounding::int8::quantise_rows_by(&linear.weight, linear.inputs, scales.to_vec());
    let got = crate::network::Matrix::int8(&rows, &linear.bias, linear.outputs, linear.inputs).apply(inputs, false)?;
    let mut errors = vec![0f64; linear.outputs];
    for (got, exact) in got.chunks_exact(linear.outputs).zip(exact.chunks_exact(linear.outputs)) {
        for ((error, x), y) in errors.iter_mut().zip(got).zip(exact) {
            *error += f64::from(x - y).powi(2);
        }
    }
    Ok(errors)
}
