#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use attar_nn::{EncoderConfig, HeadSpec, backward};

use super::*;
use crate::data::PairTokenizer;
use crate::objective::{Objective, batch_loss};
use crate::progress::{Reporter, Stop};
use crate::scheme::Scheme;
use crate::sets::{TrainingSet, batch_of};
use crate::settings::TrainSettings;
use crate::testing::{RELEVANCE, colour_set, small_student, write_encoder, write_tokenizer};
use crate::train_loop::{Surroundings, train};

struct World {
    folder: tempfile::TempDir,
    set: TrainingSet,
    vocabulary: usize,
}

impl World {
    /// A teacher of two layers of 16 and rows.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_encoder(&folder.path().join("teacher"), 9, &[RELEVANCE]);
        let vocabulary = write_tokenizer(folder.path());
        let tokenizer = PairTokenizer::from_folder(folder.path(), 32).unwrap();
        Self { set: colour_set(&tokenizer, 24), folder, vocabulary }
    }

    /// One layer of 8: neither as wide nor as deep as the teacher.
    fn student(&self, copies: usize) -> Student {
        let config = EncoderConfig::bert(1, 8, 2, 16, self.vocabulary);
        let mut student = Student::new(Encoder::new(&config, 4, &Device::Cpu).unwrap());
        student.add_head(HeadSpec { copies, ..HeadSpec::new(RELEVANCE.0, RELEVANCE.1) }, 4).unwrap();
        student
    }

    fn load(&self, config: &MatchConfig, student: &Student) -> Result<Matcher> {
        let teacher = self.folder.path().join("teacher");
        Matcher::load(config, &teacher, &self.folder.path().join("tokenizer.json"), student, 1, &Device::Cpu)
    }

    fn distance(&self, matcher: &Matcher, student: &Student) -> f32 {
        let batch = batch_of(&self.set.tokens, 0, &Device::Cpu).unwrap();
        let encoded = student.encoder().encode(&batch, Mode::Eval, matcher.capture()).unwrap();
        matcher.loss(&encoded, &batch).unwrap().to_scalar::<f32>().unwrap()
    }

    fn train(
        &self,
        student: &Student,
        matcher: &Matcher,
        name: &str,
        stop: &Stop,
    ) -> Result<crate::train_loop::Summary> {
        let around = Surroundings {
            device: &Device::Cpu,
            folder: &self.folder.path().join(name),
            name,
            checkpoint_every: Duration::from_secs(3600),
            stop,
            reporter: Reporter::new(true),
        };
        let settings = TrainSettings {
            epochs: 12,
            batch_size: 8,
            learning_rate: 3e-3,
            evaluations: 3,
            ..TrainSettings::default()
        };
        let objective = Objective { settings: &settings, matcher: Some(matcher) };
        // The weights of the last step, not of the best accuracy, are wanted: hence no validation.
        train(student, std::slice::from_ref(&self.set), &[], objective, 11, "print", &around)
    }
}

fn config(relations: f64, hidden: f64) -> MatchConfig {
    MatchConfig { teacher: "t".into(), layer: None, relations, relation_heads: 2, hidden }
}

#[test]
fn training_lowers_the_matched_distance_and_the_projection_stays_out_of_the_student() {
    let world = World::new();
    for (name, relations, hidden) in [("relations", 20.0, 0.0), ("hidden", 0.0, 5.0), ("both", 20.0, 5.0)] {
        let student = world.student(1);
        let matcher = world.load(&config(relations, hidden), &student).unwrap();
        let before = world.distance(&matcher, &student);
        world.train(&student, &matcher, name, &Stop::default()).unwrap();
        let after = world.distance(&matcher, &student);
        assert!(after < 0.8 * before, "{name}: {before} before, {after} after");
        assert!(student.parameters().get(PROJECTION).is_none());
    }
}

#[test]
fn a_resumed_matching_equals_an_uninterrupted_one_bit_for_bit() {
    let world = World::new();
    let bits = |student: &Student| -> Vec<Vec<u32>> {
        let of = |p: &Parameter| p.var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        student.parameters().iter().map(|p| of(p).into_iter().map(f32::to_bits).collect()).collect()
    };
    let whole = world.student(1);
    world.train(&whole, &world.load(&config(1.0, 1.0), &whole).unwrap(), "whole", &Stop::default()).unwrap();
    for sitting in 0.. {
        let parts = world.student(1);
        let matcher = world.load(&config(1.0, 1.0), &parts).unwrap();
        let stop = Stop::default();
        if sitting < 3 {
            // Asked before it begins, so that the sitting does one step.
            stop.request();
        }
        if world.train(&parts, &matcher, "parts", &stop).is_ok() {
            assert!(bits(&parts) == bits(&whole), "other weights after resuming");
            break;
        }
    }
}

#[test]
fn every_parameter_gets_a_gradient_in_every_scheme() {
    let mut world = World::new();
    let teachers = [Some(vec![1.0, -1.0]), Some(vec![-0.5, 0.5])];
    for scheme in Scheme::ALL {
        let given = match scheme {
            Scheme::FineTune => &teachers[..0],
            Scheme::OneOnOne => &teachers[..1],
            _ => &teachers[..],
        };
        for number in 0..scheme.students(given.len()) {
            world.set.soft = vec![scheme.targets(given, number); world.set.len()];
            for matching in [false, true] {
                let student = world.student(scheme.copies(given.len()));
                let matcher = world.load(&config(1.0, 1.0), &student).unwrap();
                let settings = TrainSettings::default();
                let objective = Objective { settings: &settings, matcher: matching.then_some(&matcher) };
                let rows: Vec<usize> = (0..world.set.len()).collect();
                let mode = Mode::Train { seed: 5 };
                let loss = batch_loss(&student, &world.set, &rows, rows.len(), objective, mode, &Device::Cpu).unwrap();
                let parameters =
                    if matching { matcher.parameters(&student).unwrap() } else { student.parameters().clone() };
                let gradients = backward(&loss, &parameters).unwrap();
                for (i, parameter) in parameters.iter().enumerate() {
                    let gradient = gradients.get(i).unwrap();
                    let gradient = gradient.unwrap_or_else(|| panic!("{scheme}: {} has no gradient", parameter.name));
                    let gradient = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    let good = gradient.iter().all(|g| g.is_finite()) && gradient.iter().any(|&g| g != 0.0);
                    assert!(good, "{scheme}: the gradient of {} is zero or not finite", parameter.name);
                }
            }
        }
    }
}

#[test]
fn the_parts_of_a_matched_step_add_up_to_the_step() {
    let world = World::new();
    let student = world.student(1);
    let matcher = world.load(&config(1.0, 0.5), &student).unwrap();
    let settings = TrainSettings::default();
    let objective = Objective { settings: &settings, matcher: Some(&matcher) };
    let sum = |size: usize| -> f32 {
        let rows: Vec<usize> = (0..24).collect();
        rows.chunks(size)
            .map(|part| batch_loss(&student, &world.set, part, 24, objective, Mode::Eval, &Device::Cpu).unwrap())
            .map(|loss| loss.to_scalar::<f32>().unwrap())
            .sum()
    };
    assert!((sum(24) - sum(7)).abs() < 1e-4, "{} whole, {} in parts", sum(24), sum(7));
}

#[test]
fn a_student_that_is_the_teacher_has_no_distance() {
    let world = World::new();
    let student = small_student(world.vocabulary, 9, &[RELEVANCE]);
    let matcher = world.load(&config(1.0, 1.0), &student).unwrap();
    let own = world.distance(&matcher, &student).abs();
    assert!(own < 1e-6, "{own}");
    // The first layer of it is another, though fresh layers change little.
    let first = world.load(&MatchConfig { layer: Some(1), ..config(1.0, 1.0) }, &student).unwrap();
    let first = world.distance(&first, &student);
    assert!(first > 100.0 * own.max(1e-8), "{first}, own {own}");
}

#[test]
fn teachers_that_cannot_be_matched_are_refused_with_a_reason() {
    let world = World::new();
    let student = world.student(1);
    let refused = |config: &MatchConfig| world.load(config, &student).map(drop).unwrap_err().to_string();
    assert!(refused(&MatchConfig { layer: Some(3), ..config(1.0, 0.0) }).contains("layer 3, but it has 2"));
    assert!(refused(&MatchConfig { relation_heads: 5, ..config(1.0, 0.0) }).contains("must divide"));
    assert!(refused(&config(0.0, 0.0)).contains("neither relations nor hidden"));
    assert!(refused(&config(-1.0, 1.0)).contains("match.relations = -1"));

    let tokenizer: PathBuf = world.folder.path().join("teacher/tokenizer.json");
    let text = std::fs::read_to_string(&tokenizer).unwrap();
    std::fs::write(&tokenizer, text.replace("\"sky\":", "\"cloud\":")).unwrap();
    assert!(refused(&config(1.0, 0.0)).contains("vocabulary differs"));
    let json = std::fs::read_to_string(world.folder.path().join("teacher/config.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&json).unwrap();
    json["model_type"] = "mpnet".into();
    std::fs::write(world.folder.path().join("teacher/config.json"), json.to_string()).unwrap();
    let message = refused(&config(1.0, 0.0));
    assert!(message.contains("MPNet") && message.contains("plus 4"), "{message}");
}
