//! The same weights in candle (the trainer) and in the runtime give the same logits.
#![allow(clippy::unwrap_used)]

use attar::{Model, Weights};
use attar_nn::{Batch, Student};
use attar_quantize::{Options, quantize};
use attar_tests::tiny_student;
use attar_trainer::data::{PairTokenizer, Truncation};
use candle_core::Device;

/// f32 in another order of summation; logits here are of the order of 1.
const MAX_F32_LOGIT_ERROR: f32 = 1e-4;
/// Weights rounded to 11 bits; the largest seen over ten seeds is 0.0006.
const MAX_F16_LOGIT_ERROR: f32 = 2e-3;
/// Weights and activations rounded to 8 bits, in a network of width 48 whose weights are five times BERT's initial ones;
/// the largest seen over ten seeds is 0.03. The error on the model that ships is in its card.
const MAX_INT8_LOGIT_ERROR: f32 = 0.1;

const PAIRS: &[(&str, &str)] = &[
    ("What is the red light?", "The red light is the power."),
    ("Where", "x"),
    (
        "How do I open the door of the oven?",
        "Water the garden in time, and close the pump. The pressure is 25 on the key - no fault!",
    ),
    ("Who boots the card?", "Blue: [SEP] is ordinary text here, and so is Ünïcode \u{4e2d}\u{6587}."),
];

fn candle_logits(student: &Student, tokenizer: &PairTokenizer, head: &str) -> Vec<Vec<f32>> {
    let rows: Vec<_> = PAIRS
        .iter()
        .map(|(a, b)| {
            let tokens = tokenizer.pair(a, b, Truncation::LongerFirst).unwrap();
            (tokens.ids().to_vec(), tokens.types())
        })
        .collect();
    let batch = Batch::new(&rows, student.encoder().config().pad_id, &Device::Cpu).unwrap();
    student.mean_logits(&batch, head).unwrap().to_vec2::<f32>().unwrap()
}

/// The largest difference between candle's logits and the runtime's, over all heads and kernels.
fn largest_difference(seed: u64, weights: Weights) -> f32 {
    differences(seed, weights, false).into_iter().fold(0.0, f32::max)
}

/// The differences between candle's logits (of the rounded student, if `simulate`) and the runtime's, over all heads and kernels.
fn differences(seed: u64, weights: Weights, simulate: bool) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("student");
    let student = tiny_student(&source, seed);
    let bundle = folder.path().join("student.attar");
    quantize(&Options::new(&source, &bundle, weights), &mut |_, _| {}).unwrap();
    let tokenizer = PairTokenizer::from_folder(&source, 128).unwrap();
    let rounded = simulate.then(|| student.simulate_int8().unwrap());
    let mut differences = Vec::new();
    for kernel in Model::kernels() {
        let model = Model::open(&bundle).unwrap().with_kernel(kernel).unwrap();
        for head in student.heads() {
            let expected = candle_logits(&student, &tokenizer, &head.name);
            let scores = model.session().score(&head.name, PAIRS).unwrap();
            assert_eq!(scores.len(), expected.len());
            for (score, expected) in scores.iter().zip(&expected) {
                assert_eq!(score.logits.len(), expected.len());
                for (got, expected) in score.logits.iter().zip(expected) {
                    assert!(got.is_finite());
                    differences.push((got - expected).abs());
                }
            }
        }
    }
    drop(rounded);
    differences
}

#[test]
fn f32_logits_are_the_trainers() {
    for seed in 0..4 {
        let difference = largest_difference(10 * seed, Weights::F32);
        assert!(difference <= MAX_F32_LOGIT_ERROR, "seed {seed}: {difference}");
    }
}

#[test]
fn f16_logits_are_near_the_trainers() {
    for seed in 0..4 {
        let difference = largest_difference(10 * seed, Weights::F16);
        assert!(difference <= MAX_F16_LOGIT_ERROR, "seed {seed}: {difference}");
        assert!(difference > 0.0, "f16 weights were not rounded");
    }
}

#[test]
fn int8_logits_are_near_the_trainers() {
    for seed in 0..4 {
        let difference = largest_difference(10 * seed, Weights::Int8);
        assert!(difference <= MAX_INT8_LOGIT_ERROR, "seed {seed}: {difference}");
        assert!(difference > 0.0, "int8 weights were not rounded");
    }
}

/// The greatest share of the int8 runtime's distance from f32 that is left where the trainer simulates int8. Linears are rounded
/// alike; the runtime's attention rounds queries, keys, values and probabilities besides, which training does not simulate; in these random students
/// that is the larger part.
const MAX_DISTANCE_LEFT: f32 = 0.9;

/// What quantisation-aware training computes with is nearer to the runtime than f32 is.
#[test]
fn simulated_int8_is_near_the_runtime() {
    let distance = |simulate: bool| {
        let all: Vec<f32> = (0..4).flat_map(|seed| differences(10 * seed, Weights::Int8, simulate)).collect();
        assert!(all.iter().all(|&d| d <= MAX_INT8_LOGIT_ERROR));
        (all.iter().map(|d| d * d).sum::<f32>() / all.len() as f32).sqrt()
    };
    let (simulated, f32s) = (distance(true), distance(false));
    println!(
        "logits are {simulated} from the runtime's where int8 is simulated, {f32s} where it is not (root mean square)"
    );
    assert!(simulated <= MAX_DISTANCE_LEFT * f32s, "{simulated} of {f32s}");
}

/// The tests above can fail: weights that differ by one in a thousand are seen.
#[test]
fn a_changed_weight_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("student");
    let student = tiny_student(&source, 1);
    let tokenizer = PairTokenizer::from_folder(&source, 128).unwrap();
    let expected = candle_logits(&student, &tokenizer, "nli");
    let var = &student.parameters().get("encoder.layer.0.output.dense.weight").unwrap().var;
    var.set(&(var.as_tensor() * 1.01).unwrap()).unwrap();
    let got = candle_logits(&student, &tokenizer, "nli");
    let difference =
        expected.iter().flatten().zip(got.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference > MAX_F32_LOGIT_ERROR, "{difference}");
}
