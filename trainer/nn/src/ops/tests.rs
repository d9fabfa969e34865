//! Every fast operator against its composite, and the composite's gradient against finite differences in f64.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};

use super::*;
use crate::parameters::{Parameter, Parameters};
use crate::precision::Precision;
use crate::random::truncated_normal;
use crate::{Result, backward};

/// Of fast against composite, relative to the largest element: f32 sums in another order, and erf's 1e-6.
const TOLERANCE: f64 = 4e-6;

/// Of the composite's f64 gradient against central differences of step 1e-5.
const DIFFERENCE_TOLERANCE: f64 = 1e-6;

type Operator<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

fn normal(shape: &[usize], seed: u64, std: f32) -> Tensor {
    Tensor::from_vec(truncated_normal(seed, shape.iter().product(), std), shape, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(what: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(got.dims(), expected.dims(), "{what}");
    let (got, expected) = (flat(got), flat(expected));
    let largest = expected.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
        assert!((g - e).abs() <= tolerance * largest, "{what}: element {i} is {g}, expected {e} (largest {largest})");
    }
}

fn parameters(inputs: &[Tensor]) -> Parameters {
    let mut all = Parameters::default();
    for (i, t) in inputs.iter().enumerate() {
        all.push(Parameter { name: i.to_string(), var: Var::from_tensor(t).unwrap(), decay: true, fresh: true })
            .unwrap();
    }
    all
}

/// The value of `Σ result * weights`, and its gradient by input. `weights` also says what is not compared: where it is 0.
fn run(operator: Operator<'_>, inputs: &[Tensor], weights: &Tensor) -> (Tensor, Vec<Tensor>) {
    let all = parameters(inputs);
    let vars: Vec<Tensor> = all.iter().map(|p| p.var.as_tensor().clone()).collect();
    let result = (operator(&vars).unwrap() * weights).unwrap();
    let gradients = backward(&result.sum_all().unwrap(), &all).unwrap();
    let gradients =
        (0..inputs.len()).map(|i| gradients.get(i).unwrap().unwrap_or_else(|| inputs[i].zeros_like().unwrap()));
    (result.detach(), gradients.collect())
}

/// A layer's parameters out of operands 1 to 16, as weight and bias in pairs.
fn layer_tensors(t: &[Tensor]) -> LayerTensors {
    let pair = |i: usize| (t[i].clone(), t[i + 1].clone());
    LayerTensors {
        query: pair(1),
        key: pair(3),
        value: pair(5),
        attention_output: pair(7),
        up: pair(9),
        down: pair(11),
        attention_norm: pair(13),
        output_norm: pair(15),
    }
}

fn check(name: &str, inputs: &[Tensor], weights: &Tensor, fast: Operator<'_>, composite: Operator<'_>) {
    let (y, g) = run(fast, inputs, weights);
    let (expected, expected_g) = run(composite, inputs, weights);
    assert_close(&format!("{name}: result"), &y, &expected, TOLERANCE);
    for (i, (g, e)) in g.iter().zip(&expected_g).enumerate() {
        assert_close(&format!("{name}: gradient of input {i}"), g, e, 4.0 * TOLERANCE);
    }
    // Without a graph the result must be the same: nothing is kept then, and other code runs.
    let plain = (fast(inputs).unwrap() * weights).unwrap();
    assert_close(&format!("{name}: without a graph"), &plain, &expected, TOLERANCE);

    let inputs: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect();
    let weights = weights.to_dtype(DType::F64).unwrap();
    let (_, gradients) = run(composite, &inputs, &weights);
    let value = |inputs: &[Tensor]| -> f64 {
        (composite(inputs).unwrap() * &weights).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
    };
    for (i, input) in inputs.iter().enumerate() {
        let values = flat(input);
        let analytic = flat(&gradients[i]);
        for at in (0..values.len()).step_by((values.len() / 7).max(1)) {
            let shifted = |by: f64| {
                let mut v = values.clone();
                v[at] += by;
                let mut all = inputs.clone();
                all[i] = Tensor::from_vec(v, input.shape(), &Device::Cpu).unwrap();
                value(&all)
            };
            let numeric = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert!(
                (numeric - analytic[at]).abs() <= DIFFERENCE_TOLERANCE * numeric.abs().max(1.0),
                "{name}: gradient of input {i} at {at} is {}, by finite differences {numeric}",
                analytic[at]
            );
        }
    }
}

const DROPOUT: Dropout = Dropout { probability: 0.3, key: 0x1234_5678_9abc_def0 };

#[test]
fn linear_matches_its_composite() {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (300, 33, 20), (64, 48, 96)] {
        let operands =
            [normal(&[2, rows, inputs], 1, 1.0), normal(&[outputs, inputs], 2, 0.2), normal(&[outputs], 3, 1.0)];
        let weights = normal(&[2, rows, outputs], 4, 1.0);
        let name = format!("linear {rows}x{inputs}x{outputs}");
        check(&name, &operands, &weights, &|t| linear(&t[0], &t[1], &t[2]), &|t| {
            composite::linear(&t[0], &t[1], &t[2])
        });
        check(&format!("{name} + GELU"), &operands, &weights, &|t| linear_gelu(&t[0], &t[1], &t[2]), &|t| {
            composite::gelu(&composite::linear(&t[0], &t[1], &t[2])?)
        });
    }
}

#[test]
fn projections_side_by_side_match_their_composite() {
    let operands = [
        normal(&[2, 140, 24], 1, 1.0),
        normal(&[8, 24], 2, 0.2),
        normal(&[8], 3, 1.0),
        normal(&[20, 24], 4, 0.2),
        normal(&[20], 5, 1.0),
        normal(&[3, 24], 6, 0.2),
        normal(&[3], 7, 1.0),
    ];
    let layers =
        |t: &[Tensor]| -> Vec<(Tensor, Tensor)> { t[1..].chunks(2).map(|c| (c[0].clone(), c[1].clone())).collect() };
    fn refs(layers: &[(Tensor, Tensor)]) -> Vec<(&Tensor, &Tensor)> {
        layers.iter().map(|(w, b)| (w, b)).collect()
    }
    check("projections", &operands, &normal(&[2, 140, 31], 9, 1.0), &|t| projections(&t[0], &refs(&layers(t))), &|t| {
        composite::projections(&t[0], &refs(&layers(t)))
    });
}

#[test]
fn layer_norm_matches_its_composite() {
    for (rows, width) in [(1, 3), (5, 16), (130, 50)] {
        let operands = [normal(&[2, rows, width], 1, 2.0), normal(&[width], 2, 1.0), normal(&[width], 3, 1.0)];
        let weights = normal(&[2, rows, width], 4, 1.0);
        check(
            &format!("layer norm {rows}x{width}"),
            &operands,
            &weights,
            &|t| layer_norm(&t[0], &t[1], &t[2], 1e-6),
            &|t| composite::layer_norm(&t[0], &t[1], &t[2], 1e-6),
        );
    }
}

#[test]
fn residual_layer_norm_matches_its_composite() {
    let x = || normal(&[2, 70, 24], 1, 2.0);
    let operands = [x(), normal(&[2, 70, 24], 5, 1.0), normal(&[24], 2, 1.0), normal(&[24], 3, 1.0)];
    for dropout in [None, Some(DROPOUT)] {
        check(
            &format!("residual layer norm with {dropout:?}"),
            &operands,
            &normal(&[2, 70, 24], 4, 1.0),
            &|t| residual_layer_norm(&t[0], &t[1], &t[2], &t[3], 1e-6, dropout),
            &|t| composite::layer_norm(&(composite::dropout(&t[0], dropout)? + &t[1])?, &t[2], &t[3], 1e-6),
        );
    }
}

#[test]
fn attention_matches_its_composite() {
    // Lengths below, at and above a vector; one head and several; padded and full rows.
    for (lengths, heads, depth) in [(vec![1], 1, 4), (vec![5, 3, 1], 2, 3), (vec![17, 16, 9], 3, 8)] {
        let (rows, seq, hidden) = (lengths.len(), *lengths.iter().max().unwrap(), heads * depth);
        for dropout in [None, Some(DROPOUT)] {
            let spec = AttentionSpec { heads, lengths: lengths.clone(), dropout };
            // What comes out for padding is not defined: give it no weight.
            let live: Vec<f32> =
                lengths.iter().flat_map(|&n| (0..seq).map(move |i| f32::from(u8::from(i < n)))).collect();
            let live = Tensor::from_vec(live, (rows, seq, 1), &Device::Cpu).unwrap();
            let weights = normal(&[rows, seq, hidden], 4, 1.0).broadcast_mul(&live).unwrap();
            let part = |t: &Tensor, i: usize| t.narrow(2, i * hidden, hidden)?.contiguous();
            let name = format!("attention {lengths:?} x {heads} x {depth}, {dropout:?}");
            check(
                &name,
                &[normal(&[rows, seq, 3 * hidden], 1, 1.0)],
                &weights,
                &|t| self_attention(&t[0], None, &spec),
                &|t| composite::attention(&part(&t[0], 0)?, &part(&t[0], 1)?, &part(&t[0], 2)?, None, &spec),
            );
            check(
                &format!("{name}, first query"),
                &[normal(&[rows, 1, hidden], 1, 1.0), normal(&[rows, seq, 2 * hidden], 2, 1.0)],
                &normal(&[rows, 1, hidden], 3, 1.0),
                &|t| attention(&t[0], &t[1], None, &spec),
                &|t| composite::attention(&t[0], &part(&t[1], 0)?, &part(&t[1], 1)?, None, &spec),
            );
            // A bias of five rows, each used for several pairs of query and key; the rows get a gradient.
            let bias = |table: &Tensor, queries: usize| {
                ScoreBias::new(table, (0..queries * seq).map(|i| (i * 7 % 5) as u32).collect(), queries)
            };
            let table = normal(&[5, heads], 7, 1.0);
            check(
                &format!("{name}, bias"),
                &[normal(&[rows, seq, 3 * hidden], 1, 1.0), table.clone()],
                &weights,
                &|t| self_attention(&t[0], Some(&bias(&t[1], seq)?), &spec),
                &|t| {
                    let values = bias(&t[1], seq)?.values;
                    composite::attention(&part(&t[0], 0)?, &part(&t[0], 1)?, &part(&t[0], 2)?, Some(&values), &spec)
                },
            );
            check(
                &format!("{name}, bias of the first query"),
                &[normal(&[rows, 1, hidden], 1, 1.0), normal(&[rows, seq, 2 * hidden], 2, 1.0), table],
                &normal(&[rows, 1, hidden], 3, 1.0),
                &|t| attention(&t[0], &t[1], Some(&bias(&t[2], 1)?), &spec),
                &|t| {
                    let values = bias(&t[2], 1)?.values;
                    composite::attention(&t[0], &part(&t[1], 0)?, &part(&t[1], 1)?, Some(&values), &spec)
                },
            );
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_errors_not_panics() {
    let spec = |heads, lengths: &[usize]| AttentionSpec { heads, lengths: lengths.to_vec(), dropout: None };
    let qkv = normal(&[2, 3, 12], 1, 1.0);
    for bad in [spec(0, &[3, 3]), spec(3, &[3, 3]), spec(2, &[3]), spec(2, &[3, 4]), spec(2, &[0, 1])] {
        assert!(self_attention(&qkv, None, &bad).is_err(), "{bad:?}");
        let q = qkv.narrow(2, 0, 4).unwrap();
        assert!(composite::attention(&q, &q, &q, None, &bad).is_err(), "{bad:?}");
    }
    let (x, w, b) = (normal(&[4, 5], 1, 1.0), normal(&[3, 6], 2, 1.0), normal(&[3], 3, 1.0));
    assert!(linear(&x, &w, &b).is_err());
    assert!(linear_gelu(&x, &w.narrow(1, 0, 5).unwrap(), &b.narrow(0, 0, 2).unwrap()).is_err());
    assert!(layer_norm(&x, &b, &b, 1e-6).is_err());
    assert!(residual_layer_norm(&x, &w, &normal(&[5], 4, 1.0), &normal(&[5], 5, 1.0), 1e-6, None).is_err());
}

#[test]
fn attention_survives_extreme_scores() {
    let spec = AttentionSpec { heads: 1, lengths: vec![3], dropout: None };
    let qkv = (normal(&[1, 3, 12], 1, 1.0) * 1e4).unwrap();
    let out = flat(&self_attention(&qkv, None, &spec).unwrap());
    assert!(out.iter().all(|x| x.is_finite()), "{out:?}");
}

#[test]
fn embeddings_match_their_composite() {
    let ids = Tensor::new(&[[1u32, 4, 4, 0], [4, 2, 1, 1]], &Device::Cpu).unwrap();
    let types = Tensor::new(&[[0u32, 0, 1, 1], [0, 1, 1, 0]], &Device::Cpu).unwrap();
    let operands = [normal(&[6, 5], 1, 1.0), normal(&[9, 5], 2, 1.0), normal(&[2, 5], 3, 1.0)];
    fn tables<'a>(t: &'a [Tensor], first_position: usize) -> EmbeddingTables<'a> {
        EmbeddingTables { word: &t[0], position: &t[1], types: t.get(2), first_position }
    }
    for (count, first) in [(3, 0), (2, 2)] {
        check(
            "embeddings",
            &operands[..count],
            &normal(&[2, 4, 5], 4, 1.0),
            &|t| embeddings(&tables(t, first), &ids, &types),
            &|t| composite::embeddings(&tables(t, first), &ids, &types),
        );
    }
}

#[test]
fn an_id_beyond_the_table_is_an_error() {
    let ids = Tensor::new(&[[6u32]], &Device::Cpu).unwrap();
    let (word, position) = (normal(&[6, 5], 1, 1.0), normal(&[9, 5], 2, 1.0));
    let tables = EmbeddingTables { word: &word, position: &position, types: None, first_position: 0 };
    let error = embeddings(&tables, &ids, &ids).unwrap_err().to_string();
    assert!(error.contains("token id 6") && error.contains("6 rows"), "{error}");
}

#[test]
fn dropout_matches_its_composite_and_drops_its_share() {
    let x = normal(&[3, 1000], 1, 1.0);
    let weights = normal(&[3, 1000], 2, 1.0);
    check("dropout", &[x], &weights, &|t| dropout(&t[0], Some(DROPOUT)), &|t| composite::dropout(&t[0], Some(DROPOUT)));

    let n = 1 << 20;
    let dropped = (0..n).filter(|&i| DROPOUT.factor(i) == 0.0).count() as f64 / n as f64;
    // Five standard deviations of a binomial share.
    let deviation = (0.3 * 0.7 / n as f64).sqrt();
    assert!((dropped - 0.3).abs() < 5.0 * deviation, "{dropped}");
    let other = Dropout { key: 77, ..DROPOUT };
    let both = (0..n).filter(|&i| DROPOUT.factor(i) == 0.0 && other.factor(i) == 0.0).count() as f64 / n as f64;
    assert!((both - 0.09).abs() < 5.0 * (0.09 * 0.91 / n as f64).sqrt(), "masks of two keys are related: {both}");
}

#[test]
fn gelu_and_exp_are_accurate() {
    for i in -12_000..12_000 {
        let x = i as f32 * 1e-3;
        let wide = Tensor::new(&[f64::from(x)], &Device::Cpu).unwrap();
        let exact = composite::gelu(&wide).unwrap().to_vec1::<f64>().unwrap()[0];
        let (y, _) = cpu::simd::gelu_with_slope(x);
        assert!((f64::from(y) - exact).abs() < 1e-6 * exact.abs().max(1.0), "GELU({x}) = {y}, expected {exact}");
        let e = f64::from(cpu::simd::exp(x)) / f64::from(x).exp() - 1.0;
        assert!(e.abs() < 2e-7, "exp({x}) is off by {e}");
    }
    assert_eq!(cpu::simd::exp(f32::NEG_INFINITY), 0.0);
    assert_eq!(cpu::simd::exp(-100.0), 0.0);
    assert!(cpu::simd::exp(1000.0).is_finite());
    assert_eq!(cpu::simd::exp(0.0), 1.0);
    assert!(cpu::simd::gelu_with_slope(f32::NAN).0.is_nan(), "a diverged run must show");
}

#[test]
fn candles_own_backward_says_what_to_do() {
    let x = Var::from_tensor(&normal(&[2, 3], 1, 1.0)).unwrap();
    let (w, b) =
        (Var::from_tensor(&normal(&[4, 3], 2, 1.0)).unwrap(), Var::from_tensor(&normal(&[4], 3, 1.0)).unwrap());
    let loss = linear(&x, &w, &b).unwrap().sum_all().unwrap();
    let error = loss.backward().unwrap_err().to_string();
    assert!(error.contains("attar_nn::backward"), "{error}");
}

#[test]
fn the_fused_encoder_layer_matches_its_parts() {
    let (hidden, inner, lengths) = (12, 20, vec![6, 4, 1]);
    let mut operands = vec![normal(&[3, 6, hidden], 1, 1.0)];
    for (i, (outputs, inputs)) in
        [(12, 12), (12, 12), (12, 12), (12, 12), (inner, 12), (12, inner)].into_iter().enumerate()
    {
        operands.push(normal(&[outputs, inputs], 10 + i as u64, 0.3));
        operands.push(normal(&[outputs], 20 + i as u64, 0.5));
    }
    for i in 0..4 {
        operands.push(normal(&[hidden], 30 + i, 1.0));
    }
    operands.push(normal(&[5, 3], 40, 1.0));
    let live: Vec<f32> = lengths.iter().flat_map(|&n| (0..6).map(move |i| f32::from(u8::from(i < n)))).collect();
    let live = Tensor::from_vec(live, (3, 6, 1), &Device::Cpu).unwrap();
    for (first_only, dropout) in [(false, None), (false, Some(DROPOUT)), (true, None), (true, Some(DROPOUT))] {
        let spec = LayerSpec {
            attention: AttentionSpec { heads: 3, lengths: lengths.clone(), dropout },
            attention_dropout: dropout.map(|d| Dropout { key: d.key ^ 1, ..d }),
            output_dropout: dropout.map(|d| Dropout { key: d.key ^ 2, ..d }),
            layer_norm_eps: 1e-6,
            first_only,
            round_activations: false,
            precision: Precision::F32,
        };
        let weights = match first_only {
            true => normal(&[3, 1, hidden], 4, 1.0),
            false => normal(&[3, 6, hidden], 4, 1.0).broadcast_mul(&live).unwrap(),
        };
        for biased in [false, true] {
            let bias = |t: &[Tensor]| -> Result<Option<ScoreBias>> {
                if !biased {
                    return Ok(None);
                }
                Ok(Some(ScoreBias::new(&t[17], (0..36).map(|i| i * 7 % 5).collect(), 6)?))
            };
            check(
                &format!("encoder layer, first_only {first_only}, biased {biased}, {dropout:?}"),
                &operands,
                &weights,
                &|t| Ok(encoder_layer(&t[0], &layer_tensors(t), bias(t)?.as_ref(), &spec, false)?.0),
                &|t| Ok(layer::composed(&t[0], &layer_tensors(t), bias(t)?.as_ref(), &spec, false)?.0),
            );
        }
        // Rounded inputs: a step function, of which finite differences say nothing; the composite is the definition.
        let spec = LayerSpec { round_activations: true, ..spec };
        let name = format!("encoder layer, rounded, first_only {first_only}, {dropout:?}");
        let fast = |t: &[Tensor]| Ok(encoder_layer(&t[0], &layer_tensors(t), None, &spec, false)?.0);
        let composite = |t: &[Tensor]| Ok(layer::composed(&t[0], &layer_tensors(t), None, &spec, false)?.0);
        let (y, g) = run(&fast, &operands, &weights);
        let (expected, expected_g) = run(&composite, &operands, &weights);
        assert_close(&format!("{name}: result"), &y, &expected, TOLERANCE);
        for (i, (g, e)) in g.iter().zip(&expected_g).enumerate() {
            // The keys' biases have a gradient of zero: what is there is the order of summation.
            assert_close(&format!("{name}: gradient of input {i}"), g, e, 16.0 * TOLERANCE);
        }
        let plain = (fast(&operands).unwrap() * &weights).unwrap();
        assert_close(&format!("{name}: without a graph"), &plain, &expected, TOLERANCE);
    }
}

/// What the composite of plain operators gives is what the quantizer and the runtime share.
#[test]
fn rounded_activations_are_the_runtime_s() {
    let x = normal(&[5, 33], 7, 3.0);
    let got = flat(&round_activations(&x).unwrap());
    let mut expected = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    attar_rounding::int8::round_activations(&mut expected, 33);
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - f64::from(expected)).abs() < 1e-5, "{got} and {expected}");
    }
    let zeros = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(flat(&round_activations(&zeros).unwrap()), [0.0; 6]);
}

/// bfloat16 and int8 products of the fused operator against the composite, whose operands are rounded copies.
#[test]
fn products_of_rounded_operands_equal_their_composite() {
    let (hidden, inner) = (48, 80);
    let lengths = vec![6, 2, 4];
    let shapes: Vec<Vec<usize>> = [(hidden, hidden); 4]
        .into_iter()
        .chain([(inner, hidden), (hidden, inner)])
        .flat_map(|(n, k)| [vec![n, k], vec![n]])
        .chain(std::iter::repeat_n(vec![hidden], 4))
        .collect();
    let operands: Vec<Tensor> = std::iter::once(normal(&[3, 6, hidden], 1, 1.0))
        .chain(shapes.iter().enumerate().map(|(i, shape)| normal(shape, 20 + i as u64, 0.2)))
        .collect();
    for first_only in [false, true] {
        let spec = |precision| LayerSpec {
            attention: AttentionSpec { heads: 3, lengths: lengths.clone(), dropout: None },
            attention_dropout: None,
            output_dropout: None,
            layer_norm_eps: 1e-6,
            first_only,
            round_activations: false,
            precision,
        };
        let weights = normal(&[3, if first_only { 1 } else { 6 }, hidden], 4, 1.0);
        let live: Vec<f32> = match first_only {
            true => vec![1.0; 3],
            false => lengths.iter().flat_map(|&n| (0..6).map(move |i| f32::from(u8::from(i < n)))).collect(),
        };
        let weights = weights
            .broadcast_mul(&Tensor::from_vec(live.clone(), (3, live.len() / 3, 1), &Device::Cpu).unwrap())
            .unwrap();

        let bf16 = spec(Precision::Bf16);
        let fast = |t: &[Tensor]| Ok(encoder_layer(&t[0], &layer_tensors(t), None, &bf16, false)?.0);
        let composite = |t: &[Tensor]| Ok(layer::composed(&t[0], &layer_tensors(t), None, &bf16, false)?.0);
        let ((y, g), (expected, expected_g)) = (run(&fast, &operands, &weights), run(&composite, &operands, &weights));
        // An intermediate result that lies between two bfloat16 may go either way.
        assert_close("bf16: result", &y, &expected, 2e-2);
        for (i, (g, e)) in g.iter().zip(&expected_g).enumerate() {
            // The composite rounds no gradients that flow between operators.
            assert_close(&format!("bf16: gradient of input {i}"), g, e, 5e-2);
        }

        let int8 = spec(Precision::Int8);
        let fast = encoder_layer(&operands[0], &layer_tensors(&operands), None, &int8, false).unwrap().0;
        let composite = layer::composed(&operands[0], &layer_tensors(&operands), None, &int8, false).unwrap().0;
        assert_close("int8: result", &(fast * &weights).unwrap(), &(composite * &weights).unwrap(), 2e-2);
        let plain =
            encoder_layer(&operands[0], &layer_tensors(&operands), None, &spec(Precision::F32), false).unwrap().0;
        let rounded = encoder_layer(&operands[0], &layer_tensors(&operands), None, &int8, false).unwrap().0;
        let difference = flat(&(plain - rounded).unwrap()).iter().fold(0f64, |m, x| m.max(x.abs()));
        assert!(difference > 1e-4, "int8 rounds: {difference}");
    }
    let tracked: Vec<Tensor> = operands.iter().map(|t| Var::from_tensor(t).unwrap().as_tensor().clone()).collect();
    let spec = LayerSpec {
        attention: AttentionSpec { heads: 3, lengths, dropout: None },
        attention_dropout: None,
        output_dropout: None,
        layer_norm_eps: 1e-6,
        first_only: false,
        round_activations: false,
        precision: Precision::Int8,
    };
    let error = encoder_layer(&tracked[0], &layer_tensors(&tracked), None, &spec, false).unwrap_err();
    assert!(error.to_string().contains("int8 products have no gradients"), "{error}");
}
