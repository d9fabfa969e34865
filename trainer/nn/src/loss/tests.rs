#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};

use super::*;
use crate::ErrorKind;

const KL: SoftLoss = SoftLoss::Kl { temperature: 2.0 };

fn tensor(rows: &[[f64; 3]]) -> Tensor {
    Tensor::from_slice(rows.as_flattened(), (rows.len(), 3), &Device::Cpu).unwrap()
}

fn scalar(t: &Tensor) -> f64 {
    t.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap()
}

#[test]
fn cross_entropy_is_what_hand_computation_gives() {
    // Probabilities 1/6, 2/6, 3/6 and 1/3 each.
    let logits = tensor(&[[1f64.ln(), 2f64.ln(), 3f64.ln()], [7.0, 7.0, 7.0]]);
    let labels = Tensor::new(&[2u32, 0], &Device::Cpu).unwrap();
    let expected = [2f64.ln(), 3f64.ln()];
    assert!(
        (scalar(&cross_entropy(&logits, &labels, None).unwrap()) - (expected[0] + expected[1]) / 2.0).abs() < 1e-12
    );
    let weights = Tensor::new(&[3f64, 1.0], &Device::Cpu).unwrap();
    let weighted = scalar(&cross_entropy(&logits, &labels, Some(&weights)).unwrap());
    assert!((weighted - (3.0 * expected[0] + expected[1]) / 4.0).abs() < 1e-12);
    let none = Tensor::new(&[0f64, 0.0], &Device::Cpu).unwrap();
    assert_eq!(scalar(&cross_entropy(&logits, &labels, Some(&none)).unwrap()), 0.0);
}

#[test]
fn soft_losses_are_what_hand_computation_gives() {
    let student = tensor(&[[1.0, 2.0, 4.0]]);
    let teacher = tensor(&[[1.0, 0.0, 5.0]]);
    assert!((scalar(&soft(SoftLoss::MseLogits, &student, &teacher, None).unwrap()) - 5.0 / 3.0).abs() < 1e-12);
    let softmax = |x: [f64; 3]| {
        let e = x.map(|x| (x / 2.0).exp());
        e.map(|v| v / e.iter().sum::<f64>())
    };
    let (q, p) = (softmax([1.0, 2.0, 4.0]), softmax([1.0, 0.0, 5.0]));
    let expected: f64 = (0..3).map(|i| 4.0 * p[i] * (p[i] / q[i]).ln()).sum();
    assert!((scalar(&soft(KL, &student, &teacher, None).unwrap()) - expected).abs() < 1e-12);
    assert!(scalar(&soft(KL, &student, &student, None).unwrap()).abs() < 1e-12);
}

#[test]
fn the_distillation_loss_weighs_its_parts() {
    let (student, teacher) = (tensor(&[[1.0, 2.0, 4.0]]), tensor(&[[1.0, 0.0, 5.0]]));
    let labels = Tensor::new(&[1u32], &Device::Cpu).unwrap();
    let both = DistillLoss { soft_label_weight: 0.3, soft: SoftLoss::MseLogits };
    let expected = 0.7 * scalar(&cross_entropy(&student, &labels, None).unwrap()) + 0.3 * 5.0 / 3.0;
    assert!((scalar(&both.compute(&student, Some(&labels), Some(&teacher), None).unwrap()) - expected).abs() < 1e-12);
    // The other operand is not needed at either end.
    let hard = DistillLoss { soft_label_weight: 0.0, ..both }.compute(&student, Some(&labels), None, None).unwrap();
    assert_eq!(scalar(&hard), scalar(&cross_entropy(&student, &labels, None).unwrap()));
    assert!(DistillLoss { soft_label_weight: 1.0, ..both }.compute(&student, None, Some(&teacher), None).is_ok());
}

#[test]
fn gradients_match_finite_differences() {
    let values = [[0.3, -1.2, 0.9], [2.0, 0.1, -0.4]];
    let teacher = tensor(&[[1.0, 0.0, -1.0], [0.5, 0.2, 0.9]]);
    let labels = Tensor::new(&[0u32, 2], &Device::Cpu).unwrap();
    let weights = Tensor::new(&[1.0f64, 2.5], &Device::Cpu).unwrap();
    for kind in [SoftLoss::MseLogits, KL] {
        let loss = DistillLoss { soft_label_weight: 0.4, soft: kind };
        let value = |t: &Tensor| loss.compute(t, Some(&labels), Some(&teacher), Some(&weights)).unwrap();
        let var = Var::from_tensor(&tensor(&values)).unwrap();
        let gradient =
            value(var.as_tensor()).backward().unwrap().get(var.as_tensor()).unwrap().to_vec2::<f64>().unwrap();
        for row in 0..2 {
            for column in 0..3 {
                let at = |by: f64| {
                    let mut shifted = values;
                    shifted[row][column] += by;
                    scalar(&value(&tensor(&shifted)))
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((numeric - gradient[row][column]).abs() < 1e-8, "{kind:?} [{row}, {column}]");
            }
        }
    }
}

#[test]
fn the_teacher_gets_no_gradient() {
    let (student, teacher) =
        (Var::new(&[[1f32, 2.0]], &Device::Cpu).unwrap(), Var::new(&[[0f32, 3.0]], &Device::Cpu).unwrap());
    let store = soft(KL, &student, &teacher, None).unwrap().backward().unwrap();
    assert!(store.get(student.as_tensor()).is_some() && store.get(teacher.as_tensor()).is_none());
}

#[test]
fn extreme_logits_stay_finite() {
    let extreme = Var::new(&[[1e4f32, -1e4, 0.0], [-1e4, 1e4, 1e4]], &Device::Cpu).unwrap();
    let teacher = Tensor::new(&[[-1e4f32, 1e4, 0.0], [1e4, 0.0, -1e4]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[1u32, 0], &Device::Cpu).unwrap();
    let losses = [
        cross_entropy(&extreme, &labels, None).unwrap(),
        soft(SoftLoss::MseLogits, &extreme, &teacher, None).unwrap(),
        soft(SoftLoss::Kl { temperature: 1.0 }, &extreme, &teacher, None).unwrap(),
        soft(SoftLoss::Kl { temperature: 100.0 }, &extreme, &teacher, None).unwrap(),
    ];
    for loss in losses {
        assert!(scalar(&loss).is_finite());
        let store = loss.backward().unwrap();
        let gradient = store.get(extreme.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }
    // Two logits 20,000 apart: the loss is their distance.
    assert!(
        (scalar(
            &cross_entropy(&extreme.narrow(0, 0, 1).unwrap(), &Tensor::new(&[1u32], &Device::Cpu).unwrap(), None)
                .unwrap()
        ) - 2e4)
            .abs()
            < 1.0
    );
}

#[test]
fn the_kl_gradient_keeps_its_size_as_the_temperature_grows() {
    // Hinton et al. 2015: T² makes it approach that of the MSE of centred logits.
    let student = Var::new(&[[1f64, -1.0, 0.0]], &Device::Cpu).unwrap();
    let teacher = tensor(&[[0.0, 1.0, -1.0]]);
    let loss = soft(SoftLoss::Kl { temperature: 1000.0 }, &student, &teacher, None).unwrap();
    let gradient = loss.backward().unwrap().get(student.as_tensor()).unwrap().to_vec2::<f64>().unwrap();
    for (g, difference) in gradient[0].iter().zip([1.0, -2.0, 1.0]) {
        assert!((g - difference / 3.0).abs() < 1e-2, "{gradient:?}");
    }
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let logits = tensor(&[[1.0, 2.0, 3.0]]);
    let two = Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
    let one = Tensor::new(&[0u32], &Device::Cpu).unwrap();
    let out_of_range = Tensor::new(&[3u32], &Device::Cpu).unwrap();
    let weights = Tensor::new(&[1f64, 1.0], &Device::Cpu).unwrap();
    let argument = |result: Result<Tensor>| assert_eq!(result.unwrap_err().kind(), ErrorKind::Argument);
    argument(cross_entropy(&logits, &two, None));
    argument(cross_entropy(&logits, &one, Some(&weights)));
    argument(cross_entropy(&logits.squeeze(0).unwrap(), &one, None));
    assert!(cross_entropy(&logits, &out_of_range, None).is_err());
    argument(soft(KL, &logits, &tensor(&[[1.0; 3], [1.0; 3]]), None));
    argument(soft(SoftLoss::Kl { temperature: 0.0 }, &logits, &logits, None));
    argument(DistillLoss { soft_label_weight: 1.5, soft: KL }.compute(&logits, Some(&one), Some(&logits), None));
    argument(DistillLoss { soft_label_weight: f64::NAN, soft: KL }.compute(&logits, Some(&one), Some(&logits), None));
    argument(DistillLoss { soft_label_weight: 0.5, soft: KL }.compute(&logits, Some(&one), None, None));
    argument(DistillLoss { soft_label_weight: 0.5, soft: KL }.compute(&logits, None, Some(&logits), None));
}
