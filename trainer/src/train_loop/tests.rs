#![allow(clippy::unwrap_used)]

use super::*;
use crate::data::PairTokenizer;
use crate::settings::{SoftLoss, TrainSettings};
use crate::testing::{RELEVANCE, colour_set, small_student, write_tokenizer};

struct World {
    folder: tempfile::TempDir,
    set: TrainingSet,
    vocabulary: usize,
}

impl World {
    fn new(rows: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = write_tokenizer(folder.path());
        let tokenizer = PairTokenizer::from_folder(folder.path(), 32).unwrap();
        Self { set: colour_set(&tokenizer, rows), folder, vocabulary }
    }

    fn student(&self) -> Student {
        small_student(self.vocabulary, 3, &[RELEVANCE])
    }

    fn train(&self, student: &Student, name: &str, settings: &TrainSettings, stop: &Stop) -> Result<Summary> {
        let validation = TrainingSet { tokens: self.set.tokens.iter().take(8).cloned().collect(), ..self.set.clone() };
        let around = Surroundings {
            device: &Device::Cpu,
            folder: &self.folder.path().join(name),
            name,
            checkpoint_every: Duration::from_secs(3600),
            stop,
            reporter: Reporter::new(true),
        };
        train(
            student,
            std::slice::from_ref(&self.set),
            &[validation],
            Objective::labels(settings),
            11,
            "print",
            &around,
        )
    }
}

fn quick(epochs: usize) -> TrainSettings {
    TrainSettings {
        epochs,
        batch_size: 8,
        learning_rate: 3e-3,
        warmup: 0.1,
        evaluations: 2,
        ..TrainSettings::default()
    }
}

fn bits(student: &Student) -> Vec<(String, Vec<u32>)> {
    let of = |p: &attar_nn::Parameter| p.var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    student.parameters().iter().map(|p| (p.name.clone(), of(p).into_iter().map(f32::to_bits).collect())).collect()
}

#[test]
fn one_batch_is_learned_by_heart() {
    let world = World::new(8);
    let student = world.student();
    let summary = world.train(&student, "one", &quick(150), &Stop::default()).unwrap();
    assert_eq!(summary.scores[0].gold.accuracy, 1.0);
    let history = crate::history::read_history(&world.folder.path().join("one/history.jsonl")).unwrap();
    assert!(history.last().unwrap().loss < 0.2, "{history:?}");
}

#[test]
fn the_starts_weights_can_be_mixed_in() {
    let world = World::new(16);
    let folder = world.folder.path().join("start");
    world.student().save(&folder, &world.folder.path().join("tokenizer.json"), &toml::Table::new()).unwrap();
    let begun = || Student::load(&folder, &Device::Cpu).unwrap();
    let trained = |name: &str, start_weight: f64, stop: &Stop| {
        let student = begun();
        let summary = world.train(&student, name, &TrainSettings { start_weight, ..quick(4) }, stop);
        (student, summary)
    };
    let (whole, _) = trained("whole", 0.0, &Stop::default());
    let (half, summary) = trained("half", 0.5, &Stop::default());
    let values = |s: &Student| -> Vec<f32> {
        let of = |p: &attar_nn::Parameter| p.var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        s.parameters().iter().flat_map(of).collect()
    };
    let (before, after, between) = (values(&begun()), values(&whole), values(&half));
    assert!(before.iter().zip(&after).zip(&between).all(|((b, a), m)| ((a + b) / 2.0 - m).abs() < 1e-6));
    assert_ne!(before, after);
    let summary = summary.unwrap();
    let validation = TrainingSet { tokens: world.set.tokens.iter().take(8).cloned().collect(), ..world.set.clone() };
    let scores = evaluate::validate(&half, &validation, &Device::Cpu).unwrap();
    assert_eq!((summary.start_weight, &summary.scores[..]), (0.5, &[scores][..]), "the result's own scores");

    // A training that is stopped goes on to the same mixture.
    let stop = Stop::default();
    stop.request();
    assert_eq!(trained("stopped", 0.5, &stop).1.unwrap_err().kind(), ErrorKind::Interrupted);
    let (resumed, _) = trained("stopped", 0.5, &Stop::default());
    assert_eq!(bits(&resumed), bits(&half));
}

/// The gradients are those of rounded weights, what they change are the f32 ones.
#[test]
fn quantisation_aware_training_learns_int8_students() {
    let world = World::new(8);
    let settings = TrainSettings { quantization_aware: true, quantization_start: 0.0, ..quick(150) };
    let student = world.student();
    let summary = world.train(&student, "aware", &settings, &Stop::default()).unwrap();
    assert_eq!(summary.scores[0].gold.accuracy, 1.0, "validation is of the rounded student");
    let own = bits(&student);
    let rounded = student.simulate_int8().unwrap();
    let moved = own.iter().zip(bits(&student)).filter(|(a, b)| a.1 != b.1).count();
    assert!(moved > 10, "the weights that are kept lie between int8's: {moved} tensors move");
    rounded.restore().unwrap();
    assert_eq!(bits(&student), own);
    let plain = world.student();
    world.train(&plain, "plain", &quick(150), &Stop::default()).unwrap();
    assert!(bits(&plain) != own, "rounding changed nothing");
}

#[test]
fn soft_labels_alone_are_learned() {
    let mut world = World::new(8);
    world.set.soft = world
        .set
        .gold
        .iter()
        .map(|g| vec![Some(if *g == Some(1) { vec![-2.0, 2.0] } else { vec![2.0, -2.0] })])
        .collect();
    world.set.gold = vec![None; 8];
    for soft_loss in [SoftLoss::Mse, SoftLoss::Kl] {
        let student = world.student();
        let settings = TrainSettings { soft_loss, ..quick(200) };
        let summary = world.train(&student, &format!("{soft_loss:?}"), &settings, &Stop::default()).unwrap();
        let mse = summary.scores[0].soft_mse.unwrap();
        assert!(mse < 1.0, "{soft_loss:?}: {mse}");
    }
}

#[test]
fn a_resumed_training_equals_an_uninterrupted_one_bit_for_bit() {
    let world = World::new(40);
    let whole = world.student();
    let expected = world.train(&whole, "whole", &quick(4), &Stop::default()).unwrap();

    let mut sittings = 0;
    let summary = loop {
        sittings += 1;
        let parts = world.student();
        let stop = Stop::default();
        if sittings <= 4 {
            // Asked before it begins, so that the sitting does one step.
            stop.request();
        }
        match world.train(&parts, "parts", &quick(4), &stop) {
            Ok(summary) => {
                assert!(bits(&parts) == bits(&whole), "other weights after resuming");
                break summary;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
    };
    assert_eq!(sittings, 5);
    assert_eq!(
        (summary.steps, summary.best_step, summary.scores),
        (expected.steps, expected.best_step, expected.scores)
    );
    let history = |name| crate::history::read_history(&world.folder.path().join(name).join("history.jsonl")).unwrap();
    let losses =
        |name| history(name).iter().map(|e: &crate::history::Entry| (e.step, e.loss.to_bits())).collect::<Vec<_>>();
    assert_eq!(losses("parts"), losses("whole"));
}

#[test]
fn the_parts_of_a_step_add_up_to_the_step() {
    let mut world = World::new(16);
    world.set.soft = (0..16).map(|i| vec![(i % 3 == 0).then(|| vec![0.5, -0.5])]).collect();
    let student = world.student();
    let rows: Vec<usize> = (0..16).collect();
    let sum = |size: usize| -> f64 {
        rows.chunks(size)
            .map(|part| {
                batch_loss(&student, &world.set, part, 16, Objective::labels(&quick(1)), Mode::Eval, &Device::Cpu)
                    .unwrap()
            })
            .map(|loss| f64::from(loss.to_scalar::<f32>().unwrap()))
            .sum()
    };
    assert!((sum(16) - sum(4)).abs() < 1e-5, "{} whole, {} in parts", sum(16), sum(4));
    let settings = TrainSettings { micro_batches: 3, ..quick(2) };
    assert_eq!(world.train(&student, "micro", &settings, &Stop::default()).unwrap().steps, 4);
}

#[test]
fn gold_and_soft_are_weighed_as_the_equation_says() {
    let mut world = World::new(1);
    let student = world.student();
    let loss = |world: &World| {
        let settings = TrainSettings { soft_label_weight: 0.25, ..quick(1) };
        let loss =
            batch_loss(&student, &world.set, &[0], 1, Objective::labels(&settings), Mode::Eval, &Device::Cpu).unwrap();
        loss.to_scalar::<f32>().unwrap()
    };
    let gold = loss(&world);
    world.set.soft = vec![vec![Some(vec![1.0, -2.0])]];
    let both = loss(&world);
    world.set.gold = vec![None];
    let soft = loss(&world);
    assert!((both - (0.75 * gold + 0.25 * soft)).abs() < 1e-5, "{both} {gold} {soft}");
    world.set.soft.clear();
    assert_eq!(loss(&world), 0.0);
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let world = World::new(16);
    let student = world.student();
    let stop = Stop::default();
    stop.request();
    assert!(world.train(&student, "one", &quick(2), &stop).is_err());
    let folder = world.folder.path().join("one/checkpoint/");
    let position = folder.join(std::fs::read_to_string(folder.join("latest")).unwrap()).join("position.json");
    let text = std::fs::read_to_string(&position).unwrap().replace("\"print\"", "\"other\"");
    std::fs::write(&position, text).unwrap();
    let error = world.train(&student, "one", &quick(2), &Stop::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.to_string().contains("fingerprint other, expected 1, print"), "{error}");
}

#[test]
fn early_stopping_keeps_the_best_weights() {
    let world = World::new(16);
    let student = world.student();
    // So small a rate changes no answer: the first evaluation stays the best.
    let settings = TrainSettings { learning_rate: 1e-12, patience: 2, evaluations: 10, ..quick(10) };
    let summary = world.train(&student, "early", &settings, &Stop::default()).unwrap();
    assert_eq!((summary.best_step, summary.steps), (2, 6));
}

#[test]
fn no_rows_and_a_loss_that_is_not_finite_are_errors() {
    let mut world = World::new(4);
    let student = world.student();
    world.set.soft = vec![vec![Some(vec![f32::MAX, f32::MIN])]; 4];
    let error = world.train(&student, "bad", &quick(1), &Stop::default()).unwrap_err();
    assert!(error.to_string().contains("expected finite numbers"), "{error}");
    world.set = TrainingSet { head: "relevance".into(), ..TrainingSet::default() };
    let around = Surroundings {
        device: &Device::Cpu,
        folder: world.folder.path(),
        name: "none",
        checkpoint_every: Duration::ZERO,
        stop: &Stop::default(),
        reporter: Reporter::new(true),
    };
    let error = train(&student, &[world.set], &[], Objective::labels(&quick(1)), 1, "", &around).unwrap_err();
    assert!(error.to_string().contains("no rows to train on"), "{error}");
}
