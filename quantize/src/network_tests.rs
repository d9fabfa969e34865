#![allow(clippy::unwrap_used)]
use std::io::Write as _;

use attar_bundle::{AtomicFile, Weights};
use serde_json::json;

use super::*;
use crate::calibrate::Calibration;
use crate::common::Source;
use crate::pack::{Packed, Recipe};

const PAIRS: [(&str, &str); 3] =
    [("where is the rose", "the rose is red"), ("the garden", "waters"), ("red", "is the garden red")];

/// f32 in another order of summation, GELU within 1.5e-7; logits here are of the order of 1.
const MAX_LOGIT_ERROR: f32 = 1e-4;

fn calibration(student: &Student, folder: &std::path::Path) -> Calibration {
    let mut text = String::from("text_a\ttext_b\n");
    PAIRS.iter().for_each(|(a, b)| text += &format!("{a}\t{b}\n"));
    let path = folder.join("pairs.tsv");
    std::fs::write(&path, text).unwrap();
    Calibration::new(student, &Network::new(student).unwrap(), &path, 10).unwrap()
}

/// The runtime's logits of an f32 bundle, head after head.
fn runtime(student: &Student, folder: &std::path::Path) -> Vec<f32> {
    let (path, recipe) = (folder.join("f32.attar"), Recipe::plain(Weights::F32));
    let mut file = AtomicFile::create(&path).unwrap();
    crate::write::write(student, &recipe, &Packed::new(student, &recipe).unwrap(), &json!({}), &mut file).unwrap();
    file.flush().unwrap();
    file.commit().unwrap();
    let model = attar::Model::open(&path).unwrap();
    let mut session = model.session();
    let heads: Vec<String> = model.heads().iter().map(|head| head.name.clone()).collect();
    heads.iter().flat_map(|head| session.score(head, &PAIRS).unwrap()).flat_map(|score| score.logits).collect()
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).for_each(|(x, y)| assert!((x - y).abs() < MAX_LOGIT_ERROR, "{x} and {y}"));
}

#[test]
fn the_network_gives_the_runtime_s_logits() {
    let source = Source::student(3);
    let student = Student::open(source.write()).unwrap();
    let found = calibration(&student, source.folder.path());
    assert_eq!((found.pairs, found.samples.len()), (3, 9));
    close(&found.logits, &runtime(&student, source.folder.path()));
}

/// What calibration looks into is what the operator computes: the composite's last linear and norm give the layer's output.
#[test]
fn the_inputs_of_a_layer_s_linears_are_those_of_the_operator() {
    let source = Source::student(1);
    let student = Student::open(source.write()).unwrap();
    let network = Network::new(&student).unwrap();
    let found = calibration(&student, source.folder.path());
    for i in 0..student.architecture.layers {
        let [_, _, middle, up] = network.inputs(i, &found.hidden[i], &found.batch.starts).unwrap();
        let mut out = network.layers[i].linears[3].apply(&up, false).unwrap();
        out.iter_mut().zip(&middle).for_each(|(o, m)| *o += m);
        layer_norm(&mut out, &network.layers[i].norms[1], student.architecture.layer_norm_eps);
        close(&out, &found.hidden[i + 1]);
    }
}

/// Migration changes no logit beyond the order of rounding, and no layer's int8 error for the worse.
#[test]
fn migration_is_exact() {
    let mut source = Source::student(1);
    // A channel of the values that is forty times as large as the others: an outlier of the context.
    let (_, values) = source.tensors.get_mut("encoder.layer.0.attention.self.value.weight").unwrap();
    values[3 * crate::common::HIDDEN..4 * crate::common::HIDDEN].iter_mut().for_each(|w| *w *= 40.0);
    let mut student = Student::open(source.write()).unwrap();
    let before = runtime(&student, source.folder.path());
    let mut found = calibration(&student, source.folder.path());
    let report = crate::smooth::migrate(&mut student, &mut found).unwrap();
    assert!(report.iter().all(|m| m.error_after <= m.error_before), "{report:?}");
    assert!(report[0].error_after < 0.7 * report[0].error_before, "{report:?}");
    assert!(student.migrated[0].is_some());
    close(&runtime(&student, source.folder.path()), &before);
    // The rows that were kept changed with the student.
    let again = calibration(&student, source.folder.path());
    close(&again.samples[1], &found.samples[1]);
}

#[test]
fn gelu_is_the_exact_one() {
    for (x, y) in [(0.0, 0.0), (1.0, 0.841_344_7), (-1.0, -0.158_655_26), (3.0, 2.995_950_2), (-6.0, 0.0)] {
        assert!((gelu(x) - y).abs() < 1e-6, "{x}: {}", gelu(x));
    }
}
