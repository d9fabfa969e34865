#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};

use super::*;
use crate::ErrorKind;

fn tensor(values: &[f64], shape: (usize, usize, usize)) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn scalar(t: &Tensor) -> f64 {
    t.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap()
}

/// Values without a pattern in -1..1.
fn noise(count: usize, seed: u64) -> Vec<f64> {
    (0..count as u64).map(|i| (crate::random::combine(seed, i) >> 11) as f64 / (1u64 << 52) as f64 - 1.0).collect()
}

#[test]
fn relations_are_what_hand_computation_gives() {
    // Two tokens, one head of width 1: the scores are products. Student (1, 0): rows (1, 0) and (0, 0). Teacher (2, 1): rows
    // (4, 2) and (2, 1).
    let student = tensor(&[1.0, 0.0], (1, 2, 1));
    let teacher = tensor(&[2.0, 1.0], (1, 2, 1));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let kl = |p: f64, q: f64| p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
    let expected = (kl(sigmoid(2.0), sigmoid(1.0)) + kl(sigmoid(1.0), 0.5)) / 2.0;
    assert!((scalar(&attention_relations(&student, &teacher, 1, &[2]).unwrap()) - expected).abs() < 1e-12);
    // One token is related to itself alone, whatever it is.
    assert!(scalar(&attention_relations(&student, &teacher, 1, &[1]).unwrap()).abs() < 1e-12);
    // Two heads of width 2, one of which is equal: half of the other's.
    let both = tensor(&[1.0, 0.0, 3.0, 1.0, 0.0, 0.0, 2.0, 5.0], (1, 2, 4));
    let other = tensor(&[2.0, 0.0, 3.0, 1.0, 1.0, 0.0, 2.0, 5.0], (1, 2, 4));
    let alone = |x: &[f64]| tensor(x, (1, 2, 2));
    let half = attention_relations(&alone(&[1.0, 0.0, 0.0, 0.0]), &alone(&[2.0, 0.0, 1.0, 0.0]), 1, &[2]).unwrap();
    let two = attention_relations(&both, &other, 2, &[2]).unwrap();
    assert!((scalar(&two) - scalar(&half) / 2.0).abs() < 1e-12);
}

#[test]
fn hidden_states_are_what_hand_computation_gives() {
    let student = tensor(&[1.0, 2.0, 3.0, 4.0], (1, 2, 2));
    let teacher = tensor(&[1.0, 0.0, 5.0, 4.0], (1, 2, 2));
    assert_eq!(scalar(&hidden_states(&student, &teacher, None, &[2]).unwrap()), (2.0 + 2.0) / 2.0);
    // The second token is padding.
    assert_eq!(scalar(&hidden_states(&student, &teacher, None, &[1]).unwrap()), 2.0);
    // A projection of two onto one: x + 2 y is 5 and 11.
    let projection = Tensor::new(&[[1.0f64, 2.0]], &Device::Cpu).unwrap();
    let teacher = tensor(&[4.0, 14.0], (1, 2, 1));
    assert_eq!(scalar(&hidden_states(&student, &teacher, Some(&projection), &[2]).unwrap()), (1.0 + 9.0) / 2.0);
}

#[test]
fn gradients_match_finite_differences() {
    let (shape, lengths) = ((2, 3, 4), [3, 2]);
    let values = noise(24, 1);
    let wide = tensor(&noise(36, 2), (2, 3, 6));
    let weights = noise(24, 3);
    let projection = |w: &[f64]| Tensor::from_slice(w, (6, 4), &Device::Cpu).unwrap();
    let relations = |x: &Tensor| attention_relations(x, &wide, 2, &lengths).unwrap();
    let hidden = |x: &Tensor| hidden_states(x, &wide, Some(&projection(&weights)), &lengths).unwrap();
    let of_projection = |w: &Tensor| hidden_states(&tensor(&values, shape), &wide, Some(w), &lengths).unwrap();
    let check = |name: &str, loss: &dyn Fn(&Tensor) -> Tensor, at: &Tensor| {
        let var = Var::from_tensor(at).unwrap();
        let gradient = loss(var.as_tensor()).backward().unwrap().remove(var.as_tensor()).unwrap();
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let flat = at.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (i, analytic) in gradient.iter().enumerate() {
            let shifted = |by: f64| {
                let mut values = flat.clone();
                values[i] += by;
                scalar(&loss(&Tensor::from_vec(values, at.shape(), &Device::Cpu).unwrap()))
            };
            let numeric = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert!((numeric - analytic).abs() < 1e-8, "{name}, element {i}: {analytic}, numeric {numeric}");
        }
    };
    check("relations", &relations, &tensor(&values, shape));
    check("hidden states", &hidden, &tensor(&values, shape));
    check("projection", &of_projection, &projection(&weights));
}

#[test]
fn padding_has_no_influence_even_where_it_is_not_a_number() {
    let (student, teacher) = (noise(24, 4), noise(24, 5));
    let cut = |v: &[f64]| {
        let mut v = v.to_vec();
        v[20..].fill(f64::NAN);
        tensor(&v, (2, 3, 4))
    };
    let whole = |v: &[f64]| tensor(v, (2, 3, 4));
    let both = |s: &Tensor, t: &Tensor| {
        let relations = attention_relations(s, t, 2, &[3, 2]).unwrap();
        (relations + hidden_states(s, t, None, &[3, 2]).unwrap()).unwrap()
    };
    let var = Var::from_tensor(&cut(&student)).unwrap();
    let loss = both(var.as_tensor(), &cut(&teacher));
    assert_eq!(scalar(&loss), scalar(&both(&whole(&student), &whole(&teacher))));
    let gradient = loss.backward().unwrap().remove(var.as_tensor()).unwrap().flatten_all().unwrap();
    let gradient = gradient.to_vec1::<f64>().unwrap();
    assert!(gradient.iter().all(|g| g.is_finite()) && gradient[20..].iter().all(|g| *g == 0.0), "{gradient:?}");
}

#[test]
fn extreme_states_stay_finite_and_the_teacher_gets_no_gradient() {
    let sign = |i: usize| if i.is_multiple_of(3) { -1e4f32 } else { 1e4 };
    let states = |shift: usize| -> Vec<f32> { (0..24).map(|i| sign(i + shift)).collect() };
    let var = |shift| Var::from_vec(states(shift), (2, 3, 4), &Device::Cpu).unwrap();
    let (student, teacher) = (var(0), var(1));
    for loss in [
        attention_relations(&student, &teacher, 2, &[3, 2]).unwrap(),
        hidden_states(&student, &teacher, None, &[3, 2]).unwrap(),
    ] {
        assert!(scalar(&loss).is_finite());
        let store = loss.backward().unwrap();
        let gradient = store.get(student.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
        assert!(store.get(teacher.as_tensor()).is_none());
    }
}

#[test]
fn half_precision_states_are_compared_in_f32() {
    let states = |seed| Tensor::from_vec(noise(24, seed), (2, 3, 4), &Device::Cpu).unwrap();
    for loss in [
        |s: &Tensor, t: &Tensor| attention_relations(s, t, 2, &[3, 2]).unwrap(),
        |s: &Tensor, t: &Tensor| hidden_states(s, t, None, &[3, 2]).unwrap(),
    ] {
        let half = |seed| states(seed).to_dtype(DType::BF16).unwrap();
        let (rough, exact) = (loss(&half(1), &half(2)), loss(&states(1), &states(2)));
        assert_eq!(rough.dtype(), DType::F32);
        assert!((scalar(&rough) / scalar(&exact) - 1.0).abs() < 0.02, "{rough} {exact}");
    }
}

#[test]
fn states_that_do_not_belong_together_are_errors() {
    let (a, b) = (tensor(&noise(24, 1), (2, 3, 4)), tensor(&noise(36, 2), (2, 3, 6)));
    let short = tensor(&noise(16, 1), (2, 2, 4));
    for error in [
        attention_relations(&a, &short, 2, &[2, 2]).unwrap_err(),
        attention_relations(&a, &b, 4, &[3, 3]).unwrap_err(),
        attention_relations(&a, &b, 0, &[3, 3]).unwrap_err(),
        attention_relations(&a, &b, 2, &[3, 4]).unwrap_err(),
        attention_relations(&a, &b, 2, &[3]).unwrap_err(),
        hidden_states(&a, &b, None, &[3, 3]).unwrap_err(),
        hidden_states(&a, &b, Some(&Tensor::zeros((4, 6), DType::F64, &Device::Cpu).unwrap()), &[3, 3]).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Argument, "{error}");
    }
}
