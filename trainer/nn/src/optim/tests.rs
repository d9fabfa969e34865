#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor, Var};

use super::*;
use crate::parameters::Parameter;
use crate::{ErrorKind, backward};

const KINDS: [OptimizerKind; 3] = [
    OptimizerKind::AdamW { beta1: 0.9, beta2: 0.99, eps: 1e-6, weight_decay: 0.1 },
    OptimizerKind::Adam { beta1: 0.8, beta2: 0.95, eps: 1e-5, weight_decay: 0.2 },
    OptimizerKind::Sgd { momentum: 0.7, weight_decay: 0.3 },
];

const START: [[f32; 2]; 3] = [[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]];

/// What the parameters are drawn towards, which makes their gradients known: `2 (w - target)`.
const TARGET: f32 = 0.1;

fn parameters(decay: bool) -> Parameters {
    let mut all = Parameters::default();
    all.push(Parameter { name: "w".into(), var: Var::new(&START, &Device::Cpu).unwrap(), decay, fresh: true }).unwrap();
    all
}

fn values(all: &Parameters) -> Vec<f32> {
    all.get("w").unwrap().var.flatten_all().unwrap().to_vec1().unwrap()
}

fn gradients(all: &Parameters) -> Gradients {
    let loss = (all.get("w").unwrap().var.as_tensor() - f64::from(TARGET)).unwrap().sqr().unwrap().sum_all().unwrap();
    backward(&loss, all).unwrap()
}

/// The textbook's update of one scalar, in f64.
fn textbook(kind: OptimizerKind, decay: bool, start: f64, rate: f64, steps: i32) -> f64 {
    let (mut w, mut m, mut v) = (start, 0.0, 0.0);
    for t in 1..=steps {
        let mut g = 2.0 * (w - f64::from(TARGET));
        match kind {
            OptimizerKind::AdamW { beta1, beta2, eps, weight_decay }
            | OptimizerKind::Adam { beta1, beta2, eps, weight_decay } => {
                let decoupled = matches!(kind, OptimizerKind::AdamW { .. });
                if decay && decoupled {
                    w -= rate * weight_decay * w;
                } else if decay {
                    g += weight_decay * w;
                }
                m = beta1 * m + (1.0 - beta1) * g;
                v = beta2 * v + (1.0 - beta2) * g * g;
                w -= rate * (m / (1.0 - beta1.powi(t))) / ((v / (1.0 - beta2.powi(t))).sqrt() + eps);
            }
            OptimizerKind::Sgd { momentum, weight_decay } => {
                g += if decay { weight_decay * w } else { 0.0 };
                m = momentum * m + g;
                w -= rate * m;
            }
        }
    }
    w
}

#[test]
fn updates_are_the_textbooks() {
    for kind in KINDS {
        for decay in [true, false] {
            let all = parameters(decay);
            let mut optimizer = Optimizer::new(kind, &all).unwrap();
            for _ in 0..5 {
                optimizer.step(&all, &gradients(&all), 0.05).unwrap();
            }
            for (got, start) in values(&all).iter().zip(START.as_flattened()) {
                let expected = textbook(kind, decay, f64::from(*start), 0.05, 5);
                assert!(
                    (f64::from(*got) - expected).abs() < 2e-6,
                    "{kind:?}, decay {decay}: {got}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn the_composite_update_is_the_fused_one() {
    for kind in KINDS {
        let (fused, composite) = (parameters(true), parameters(true));
        let mut a = Optimizer::new(kind, &fused).unwrap();
        let mut b = Optimizer::new(kind, &composite).unwrap();
        let zeros = || composite.get("w").unwrap().var.zeros_like().unwrap();
        let second = if matches!(kind, OptimizerKind::Sgd { .. }) { None } else { Some(zeros()) };
        b.moments[0] = Some(Moments::Device { first: zeros(), second });
        for _ in 0..4 {
            a.step(&fused, &gradients(&fused), 0.05).unwrap();
            b.step(&composite, &gradients(&composite), 0.05).unwrap();
        }
        for (a, b) in values(&fused).iter().zip(values(&composite)) {
            assert!((a - b).abs() < 1e-6, "{kind:?}: {a} and {b}");
        }
    }
}

#[test]
fn a_gradient_of_some_rows_updates_like_a_dense_one() {
    use crate::ops::{EmbeddingTables, composite, embeddings};
    // 150 rows: several tasks. Row 70 and others get no gradient, but momentum and decay.
    let table: Vec<f32> = (0..300).map(|i| (i as f32 * 0.37).sin()).collect();
    for kind in KINDS {
        let run = |sparse: bool| {
            let mut all = Parameters::default();
            let var = |data: &[f32], rows| {
                Var::from_tensor(&Tensor::from_slice(data, (rows, 2), &Device::Cpu).unwrap()).unwrap()
            };
            all.push(Parameter { name: "w".into(), var: var(&table, 150), decay: true, fresh: true }).unwrap();
            all.push(Parameter { name: "p".into(), var: var(&table[..8], 4), decay: true, fresh: true }).unwrap();
            let mut optimizer = Optimizer::new(kind, &all).unwrap();
            for step in 0..3u32 {
                let ids = Tensor::new(&[[3u32, 149, 64 + step, 3]], &Device::Cpu).unwrap();
                let [word, position] = ["w", "p"].map(|n| all.get(n).unwrap().var.as_tensor().clone());
                let tables = EmbeddingTables { word: &word, position: &position, types: None, first_position: 0 };
                let sum =
                    if sparse { embeddings(&tables, &ids, &ids) } else { composite::embeddings(&tables, &ids, &ids) };
                let mut gradients = backward(&sum.unwrap().sqr().unwrap().sum_all().unwrap(), &all).unwrap();
                gradients.clip(0.5).unwrap();
                optimizer.step(&all, &gradients, 0.05).unwrap();
            }
            values(&all)
        };
        for (i, (a, b)) in run(true).iter().zip(run(false)).enumerate() {
            assert!((a - b).abs() < 1e-6, "{kind:?}, element {i}: {a} and {b}");
        }
    }
}

#[test]
fn a_restored_optimizer_goes_on_as_if_nothing_had_happened() {
    for kind in KINDS {
        let (one, other) = (parameters(true), parameters(true));
        let mut a = Optimizer::new(kind, &one).unwrap();
        for _ in 0..3 {
            a.step(&one, &gradients(&one), 0.05).unwrap();
        }
        other.restore(&one.snapshot().unwrap()).unwrap();
        let mut b = Optimizer::new(kind, &other).unwrap();
        b.restore(&other, &a.state(&one).unwrap()).unwrap();
        for _ in 0..3 {
            a.step(&one, &gradients(&one), 0.05).unwrap();
            b.step(&other, &gradients(&other), 0.05).unwrap();
        }
        assert_eq!(values(&one), values(&other), "{kind:?}");
    }
}

#[test]
fn a_state_of_another_optimizer_is_an_error() {
    let all = parameters(true);
    let mut sgd = Optimizer::new(KINDS[2], &all).unwrap();
    sgd.step(&all, &gradients(&all), 0.05).unwrap();
    let mut adam = Optimizer::new(KINDS[0], &all).unwrap();
    let error = adam.restore(&all, &sgd.state(&all).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
    assert!(error.to_string().contains("\"w\""), "{error}");
}

#[test]
fn constants_out_of_range_are_errors() {
    let all = parameters(true);
    for kind in [
        OptimizerKind::AdamW { beta1: 1.0, beta2: 0.9, eps: 1e-8, weight_decay: 0.0 },
        OptimizerKind::Adam { beta1: 0.9, beta2: 0.9, eps: 0.0, weight_decay: 0.0 },
        OptimizerKind::Sgd { momentum: f64::NAN, weight_decay: 0.0 },
        OptimizerKind::Sgd { momentum: 0.0, weight_decay: -1.0 },
    ] {
        assert_eq!(Optimizer::new(kind, &all).unwrap_err().kind(), ErrorKind::Argument, "{kind:?}");
    }
    let mut optimizer = Optimizer::new(KINDS[0], &Parameters::default()).unwrap();
    assert_eq!(optimizer.step(&all, &gradients(&all), 0.1).unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn clipping_bounds_the_norm_and_accumulation_adds() {
    let all = parameters(true);
    let plain = gradients(&all);
    let norm = plain.global_norm().unwrap();
    let expected: f64 = START.as_flattened().iter().map(|w| (2.0 * f64::from(w - TARGET)).powi(2)).sum::<f64>().sqrt();
    assert!((norm - expected).abs() < 1e-5 * expected);
    let mut clipped = plain.clone();
    assert_eq!(clipped.clip(0.5).unwrap(), norm);
    assert!((clipped.global_norm().unwrap() - 0.5).abs() < 1e-9);
    assert_eq!(clipped.clone().clip(1.0).unwrap(), clipped.global_norm().unwrap());

    let mut sum = plain.clone();
    sum.accumulate(&plain).unwrap();
    sum.scale(0.5);
    assert!((sum.global_norm().unwrap() - norm).abs() < 1e-9);
    // Of different scales.
    sum.accumulate(&clipped).unwrap();
    assert!((sum.global_norm().unwrap() - (norm + 0.5)).abs() < 1e-5);

    let mut broken = plain;
    broken.scale(f64::INFINITY);
    assert!(!broken.clip(1.0).unwrap().is_finite());
}

#[test]
fn schedules_warm_up_and_decay() {
    let schedule = |decay| Schedule { peak: 2.0, warmup_steps: 4, total_steps: 12, decay };
    let linear = schedule(Decay::Linear);
    assert_eq!([0, 1, 3, 4, 8, 12, 99].map(|s| linear.rate(s)), [0.5, 1.0, 2.0, 2.0, 1.0, 0.0, 0.0]);
    let cosine = schedule(Decay::Cosine);
    assert!((cosine.rate(8) - 1.0).abs() < 1e-12 && cosine.rate(12).abs() < 1e-12);
    assert_eq!(schedule(Decay::Constant).rate(99), 2.0);
    // No warm-up, and a run that is all warm-up.
    assert_eq!(Schedule { warmup_steps: 0, ..linear }.rate(0), 2.0);
    assert_eq!(Schedule { warmup_steps: 12, ..linear }.rate(12), 2.0);
}

#[test]
fn optimizers_are_written_as_toml() {
    let kind: OptimizerKind =
        toml::from_str("kind = \"adamw\"\nbeta1 = 0.9\nbeta2 = 0.999\neps = 1e-8\nweight_decay = 0.01").unwrap();
    assert_eq!(kind, OptimizerKind::adam_w());
    assert!(
        toml::from_str::<OptimizerKind>("kind = \"sgd\"\nmomentum = 0.9\nweight_decay = 0.0\nnesterov = true").is_err()
    );
}
