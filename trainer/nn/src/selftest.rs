//! Checks of a device against f64 on the CPU: each operator, its gradients, an encoder and a few training steps.
//!
//! `attar-train selftest --device cuda` prints them. The reference is the composite of each operator, computed in f64.

use candle_core::{DType, Device, Tensor, Var};

use crate::config::EncoderKind;
use crate::ops::{self, AttentionSpec, Dropout, ScoreBias, composite};
use crate::optim::{Optimizer, OptimizerKind};
use crate::parameters::{Parameter, Parameters};
use crate::random::truncated_normal;
use crate::{Batch, Encoder, EncoderConfig, HeadSpec, Mode, Precision, Result, Student, backward, loss};

/// One check's outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was checked.
    pub name: String,
    /// The largest difference over all elements, relative to the reference's largest element.
    pub error: f64,
    /// What it may be at most.
    pub tolerance: f64,
}

impl Outcome {
    /// Whether the check passed; an error that is not a number has not.
    pub fn passed(&self) -> bool {
        self.error <= self.tolerance
    }
}

type Operator<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// Runs all checks on a device.
///
/// # Errors
/// Where an operator fails outright, on the device or in the reference.
pub fn run(device: &Device) -> Result<Vec<Outcome>> {
    // f32 sums in another order; on a GPU f32 products are TF32, with 10 bits of mantissa.
    let tolerance = if device.is_cuda() { 4e-3 } else { 1e-5 };
    let mut outcomes = operators(device, tolerance)?;
    outcomes.extend(encoders(device, tolerance)?);
    outcomes.push(int8_weights(device)?);
    outcomes.push(training(device, Precision::F32)?);
    outcomes.push(training(device, Precision::Bf16)?);
    Ok(outcomes)
}

fn operators(device: &Device, tolerance: f64) -> Result<Vec<Outcome>> {
    let x = || normal(&[3, 7, 24], 1);
    let (square, wide) = (normal(&[24, 24], 2), normal(&[40, 24], 3));
    let (bias, wide_bias, scale) = (normal(&[24], 4), normal(&[40], 5), normal(&[24], 6));
    let spec = AttentionSpec { heads: 3, lengths: vec![7, 5, 1], dropout: None };
    let part = |t: &Tensor, i: usize| t.narrow(2, i * 24, 24)?.contiguous();
    let buckets = || (0..49).map(|i| i * 3 % 5).collect::<Vec<u32>>();
    let ids = [3u32, 0, 3, 3, 8, 3, 3, 1, 3, 3, 3, 3, 3, 0];
    let mut out = Vec::new();
    let mut check = |name: &str, inputs: &[Tensor], operator: Operator<'_>, reference: Operator<'_>| -> Result<()> {
        out.extend(compare(name, inputs, operator, reference, device, tolerance)?);
        Ok(())
    };
    check("linear", &[x(), wide.clone(), wide_bias.clone()], &|t| ops::linear(&t[0], &t[1], &t[2]), &|t| {
        composite::linear(&t[0], &t[1], &t[2])
    })?;
    check("linear + GELU", &[x(), wide, wide_bias], &|t| ops::linear_gelu(&t[0], &t[1], &t[2]), &|t| {
        composite::gelu(&composite::linear(&t[0], &t[1], &t[2])?)
    })?;
    let norm = [x(), scale.clone(), bias.clone()];
    check("layer norm", &norm, &|t| ops::layer_norm(&t[0], &t[1], &t[2], 1e-12), &|t| {
        composite::layer_norm(&t[0], &t[1], &t[2], 1e-12)
    })?;
    let dropout = Some(Dropout { probability: 0.3, key: 0x1234_5678_9abc });
    check("dropout", &[x()], &|t| ops::dropout(&t[0], dropout), &|t| composite::dropout(&t[0], dropout))?;
    check(
        "layer norm of a sum with dropout",
        &[x(), normal(&[3, 7, 24], 12), scale, bias],
        &|t| ops::residual_layer_norm(&t[0], &t[1], &t[2], &t[3], 1e-12, dropout),
        &|t| composite::layer_norm(&(composite::dropout(&t[0], dropout)? + &t[1])?, &t[2], &t[3], 1e-12),
    )?;
    check("activations rounded to int8", &[x()], &|t| ops::round_activations(&t[0]), &|t| {
        composite::round_activations(&t[0])
    })?;
    let (queries, keys, values) = (normal(&[24, 24], 13), normal(&[24, 24], 14), normal(&[24, 24], 15));
    let biases = [16, 17, 18].map(|seed| normal(&[24], seed));
    let [query_bias, key_bias, value_bias] = &biases;
    check(
        "projections side by side",
        &[x(), queries, query_bias.clone(), keys, key_bias.clone(), values, value_bias.clone()],
        &|t| ops::projections(&t[0], &[(&t[1], &t[2]), (&t[3], &t[4]), (&t[5], &t[6])]),
        &|t| composite::projections(&t[0], &[(&t[1], &t[2]), (&t[3], &t[4]), (&t[5], &t[6])]),
    )?;
    let dropping = AttentionSpec { dropout, ..spec.clone() };
    check(
        "self-attention with dropout",
        &[normal(&[3, 7, 72], 19)],
        &|t| live(&ops::self_attention(&t[0], None, &dropping)?, &spec),
        &|t| {
            let (q, k, v) = (part(&t[0], 0)?, part(&t[0], 1)?, part(&t[0], 2)?);
            live(&composite::attention(&q, &k, &v, None, &dropping)?, &spec)
        },
    )?;
    check(
        "attention of one query",
        &[normal(&[3, 1, 24], 20), normal(&[3, 7, 48], 21)],
        &|t| ops::attention(&t[0], &t[1], None, &dropping),
        &|t| composite::attention(&t[0], &part(&t[1], 0)?, &part(&t[1], 1)?, None, &dropping),
    )?;
    check(
        "self-attention with a bias",
        &[normal(&[3, 7, 72], 7), normal(&[5, 3], 8)],
        &|t| live(&ops::self_attention(&t[0], Some(&ScoreBias::new(&t[1], buckets(), 7)?), &spec)?, &spec),
        &|t| {
            let bias = t[1].index_select(&Tensor::new(buckets(), t[1].device())?, 0)?;
            let bias = bias.reshape((7, 7, 3))?.permute((2, 0, 1))?.contiguous()?;
            let (q, k, v) = (part(&t[0], 0)?, part(&t[0], 1)?, part(&t[0], 2)?);
            live(&composite::attention(&q, &k, &v, Some(&bias), &spec)?, &spec)
        },
    )?;
    check("rows of a table", &[normal(&[9, 24], 9)], &|t| Ok(ops::table::rows(&t[0], &ids)?), &|t| {
        Ok(t[0].index_select(&Tensor::new(&ids, t[0].device())?, 0)?)
    })?;
    check("matrix product", &[normal(&[3, 24], 10), square], &|t| Ok(t[0].matmul(&t[1])?), &|t| {
        Ok(t[0].matmul(&t[1])?)
    })?;
    let classes = [2u32, 0, 1];
    check(
        "cross-entropy",
        &[normal(&[3, 3], 11)],
        &|t| loss::cross_entropy(&t[0], &Tensor::new(&classes, t[0].device())?, None),
        &|t| {
            let logs = composite::softmax(&t[0])?.log()?;
            let picked = logs.gather(&Tensor::new(&classes, t[0].device())?.unsqueeze(1)?, 1)?;
            Ok(picked.mean_all()?.neg()?)
        },
    )?;
    Ok(out)
}

/// Rows beyond a sequence's length are not defined: 0 here.
fn live(x: &Tensor, spec: &AttentionSpec) -> Result<Tensor> {
    let (rows, seq, _) = x.dims3()?;
    let mask: Vec<f32> = spec.lengths.iter().flat_map(|&n| (0..seq).map(move |i| f32::from(u8::from(i < n)))).collect();
    Ok(x.broadcast_mul(&Tensor::from_vec(mask, (rows, seq, 1), x.device())?.to_dtype(x.dtype())?)?)
}

/// The operator on the device in f32 against the reference on the CPU in f64: the result, and each input's gradient.
fn compare(
    name: &str,
    inputs: &[Tensor],
    operator: Operator<'_>,
    reference: Operator<'_>,
    device: &Device,
    tolerance: f64,
) -> Result<Vec<Outcome>> {
    let got = evaluate(inputs, operator, DType::F32, device)?;
    let expected = evaluate(inputs, reference, DType::F64, &Device::Cpu)?;
    let names = ["result".to_owned()].into_iter().chain((0..inputs.len()).map(|i| format!("gradient {i}")));
    let pairs = names.zip(got.iter().zip(&expected));
    Ok(pairs
        .map(|(part, (got, expected))| Outcome {
            name: format!("{name}: {part}"),
            error: difference(got, expected),
            tolerance,
        })
        .collect())
}

/// The result and the gradients of its weighted sum.
fn evaluate(inputs: &[Tensor], operator: Operator<'_>, dtype: DType, device: &Device) -> Result<Vec<Vec<f64>>> {
    let mut parameters = Parameters::default();
    for (i, input) in inputs.iter().enumerate() {
        let var = Var::from_tensor(&input.to_dtype(dtype)?.to_device(device)?)?;
        parameters.push(Parameter { name: i.to_string(), var, decay: false, fresh: true })?;
    }
    let vars: Vec<Tensor> = parameters.iter().map(|p| p.var.as_tensor().clone()).collect();
    let result = operator(&vars)?;
    let weights = normal(result.dims(), 77).to_dtype(dtype)?.to_device(device)?;
    let gradients = backward(&(&result * weights)?.sum_all()?, &parameters)?;
    let mut out = vec![flat(&result)?];
    for i in 0..inputs.len() {
        out.push(match gradients.get(i)? {
            Some(gradient) => flat(&gradient)?,
            None => Vec::new(),
        });
    }
    Ok(out)
}

/// Encoders of both kinds on the device, in f32 and with bfloat16 products, against f32 on the CPU.
fn encoders(device: &Device, tolerance: f64) -> Result<Vec<Outcome>> {
    let bert = EncoderConfig::bert(2, 48, 4, 96, 120);
    let mpnet = EncoderConfig {
        kind: EncoderKind::MpNet,
        types: 0,
        pad_id: 1,
        relative_buckets: 8,
        layer_norm_eps: 1e-5,
        ..bert.clone()
    };
    let mut out = Vec::new();
    for (name, config) in [("BERT", bert.clone()), ("MPNet", mpnet)] {
        // What is rounded to int8 can fall to the other side of a half: a step is 1/127 of a row's largest.
        let cases = [(Precision::F32, false, tolerance), (Precision::Bf16, false, 5e-2), (Precision::Bf16, true, 1e-1)];
        for (precision, int8, tolerance) in cases {
            let reference = pooled(&config, Precision::F32, int8, &Device::Cpu)?;
            let got = pooled(&config, precision, int8, device)?;
            let names = ["pooled vector".to_owned(), "gradients".to_owned()];
            let rounded = if int8 { " with int8 roundings" } else { "" };
            out.extend(names.into_iter().zip(got.iter().zip(&reference)).map(|(part, (got, expected))| Outcome {
                name: format!("{name} in {precision:?}{rounded}: {part}"),
                error: difference(got, expected),
                tolerance,
            }));
        }
    }
    Ok(out)
}

/// The pooled vector and all gradients, one after the other; with the linears' inputs rounded to int8 or not.
fn pooled(config: &EncoderConfig, precision: Precision, int8: bool, device: &Device) -> Result<Vec<Vec<f64>>> {
    let mut config = config.clone();
    // A mask is a function of the element's place, and a GPU's batch is padded further.
    (config.hidden_dropout, config.attention_dropout) = (0.0, 0.0);
    let mut encoder = Encoder::new(&config, 5, device)?;
    encoder.set_precision(precision);
    encoder.set_round_activations(int8);
    let parameters = encoder.parameters()?;
    let pooled = encoder.pool(&batch(device)?, Mode::Train { seed: 1 })?;
    let weights = normal(pooled.dims(), 78).to_device(device)?;
    let gradients = backward(&(&pooled * weights)?.sum_all()?, &parameters)?;
    let mut all = Vec::new();
    for i in 0..parameters.len() {
        if let Some(gradient) = gradients.get(i)? {
            all.extend(flat(&gradient)?);
        }
    }
    Ok(vec![flat(&pooled)?, all])
}

/// A student's weights as int8 training rounds them on the device, against the rounding of a bundle: to the bit.
fn int8_weights(device: &Device) -> Result<Outcome> {
    let student = Student::new(Encoder::new(&EncoderConfig::bert(2, 48, 4, 96, 120), 5, device)?);
    let mut expected = Vec::new();
    for parameter in student.encoder().rounded_parameters() {
        let weights = parameter.var.to_device(&Device::Cpu)?;
        let mut values = weights.flatten_all()?.to_vec1::<f32>()?;
        attar_rounding::int8::round_weights(&mut values, weights.dims2()?.1);
        expected.extend(values.into_iter().map(f64::from));
    }
    let int8 = student.simulate_int8()?;
    let weights = student.encoder().rounded_parameters();
    let got = weights.iter().map(|p| flat(p.var.as_tensor())).collect::<Result<Vec<_>>>()?.concat();
    int8.restore()?;
    let error = difference(&got, &expected);
    Ok(Outcome { name: "weights rounded to int8".to_owned(), error, tolerance: 0.0 })
}

/// A student learns one batch by heart: the loss it ends with.
fn training(device: &Device, precision: Precision) -> Result<Outcome> {
    let mut student = Student::new(Encoder::new(&EncoderConfig::bert(2, 48, 4, 96, 120), 5, device)?);
    student.set_precision(precision);
    student.add_head(HeadSpec::new("nli", &["entailment", "neutral", "contradiction"]), 5)?;
    let mut optimizer = Optimizer::new(OptimizerKind::adam_w(), student.parameters())?;
    let labels = Tensor::new(&[0u32, 1, 2, 1], device)?;
    let batch = batch(device)?;
    let mut last = f64::INFINITY;
    for seed in 0..60 {
        let logits = student.logits(&batch, "nli", Mode::Train { seed })?;
        let loss = loss::cross_entropy(&logits[0], &labels, None)?;
        let mut gradients = backward(&loss, student.parameters())?;
        gradients.clip(1.0)?;
        optimizer.step(student.parameters(), &gradients, 2e-3)?;
        last = f64::from(loss.to_scalar::<f32>()?);
    }
    Ok(Outcome { name: format!("60 training steps in {precision:?}: last loss"), error: last, tolerance: 0.1 })
}

fn batch(device: &Device) -> Result<Batch> {
    let row =
        |n: u32, k: u32| ((0..n).map(|i| (i * k + 7) % 120).collect(), (0..n).map(|i| u32::from(i > n / 2)).collect());
    Batch::new(&[row(9, 5), row(4, 11), row(1, 3), row(6, 17)], 0, device)
}

fn normal(shape: &[usize], seed: u64) -> Tensor {
    let data = truncated_normal(seed, shape.iter().product(), 1.0);
    Tensor::from_vec(data, shape, &Device::Cpu).expect("as many elements as the shape has")
}

fn flat(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

fn difference(got: &[f64], expected: &[f64]) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    // `max` would drop a NaN.
    let worst =
        got.iter().zip(expected).map(|(g, e)| (g - e).abs()).fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m });
    worst / largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_passes() {
        for outcome in run(&Device::Cpu).expect("the selftest runs") {
            assert!(outcome.passed(), "{}: {} > {}", outcome.name, outcome.error, outcome.tolerance);
        }
    }

    #[test]
    fn a_wrong_operator_is_found() {
        let inputs = [normal(&[4, 6], 1)];
        let found = |operator: Operator<'_>| {
            let outcomes = compare("x", &inputs, operator, &|t| Ok(t[0].sqr()?), &Device::Cpu, 1e-5);
            outcomes.expect("both run").iter().map(Outcome::passed).collect::<Vec<_>>()
        };
        assert_eq!(found(&|t| Ok(t[0].sqr()?)), [true, true]);
        assert_eq!(found(&|t| Ok((t[0].sqr()? * 1.001)?)), [false, false]);
        // The right value without its gradient.
        assert_eq!(found(&|t| Ok((t[0].sqr()?.detach() + (&t[0] * 0.0)?)?)), [true, false]);
        assert!(!Outcome { name: String::new(), error: difference(&[f64::NAN], &[1.0]), tolerance: 1.0 }.passed());
    }
}
