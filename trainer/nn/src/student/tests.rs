#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};

use super::*;
use crate::encoder::tests::{batch, bert};
use crate::optim::{Optimizer, OptimizerKind};
use crate::{EncoderConfig, ErrorKind, backward, loss};

fn student() -> Student {
    let mut student = Student::new(Encoder::new(&bert(), 5, &Device::Cpu).unwrap());
    student.add_head(HeadSpec::new("relevance", &["not_relevant", "relevant"]), 1).unwrap();
    let spec = HeadSpec { copies: 2, layers: 2, ..HeadSpec::new("nli", &["entailment", "neutral", "contradiction"]) };
    student.add_head(spec, 2).unwrap();
    student
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_parameter_of_a_head_and_the_encoder_gets_a_gradient() {
    let student = student();
    for head in ["relevance", "nli"] {
        let logits = student.logits(&batch(), head, Mode::Train { seed: 3 }).unwrap();
        assert_eq!(logits.len(), student.head(head).unwrap().copies);
        let labels = Tensor::new(&[0u32, 1, 1], &Device::Cpu).unwrap();
        let mut total = Tensor::new(0f32, &Device::Cpu).unwrap();
        for copy in &logits {
            total = (total + loss::cross_entropy(copy, &labels, None).unwrap()).unwrap();
        }
        let gradients = backward(&total, student.parameters()).unwrap();
        for (i, p) in student.parameters().iter().enumerate() {
            let gradient = gradients.get(i).unwrap();
            if p.name.starts_with("heads.") && !p.name.starts_with(&format!("heads.{head}.")) {
                assert!(gradient.is_none(), "{} has a gradient from head {head}", p.name);
                continue;
            }
            let gradient = flat(&gradient.unwrap_or_else(|| panic!("{} has no gradient from head {head}", p.name)));
            assert!(gradient.iter().all(|g| g.is_finite()) && gradient.iter().any(|&g| g != 0.0), "{}", p.name);
        }
    }
}

#[test]
fn a_student_overfits_one_batch() {
    let config = EncoderConfig { hidden_dropout: 0.0, attention_dropout: 0.0, ..bert() };
    let mut student = Student::new(Encoder::new(&config, 5, &Device::Cpu).unwrap());
    student.add_head(HeadSpec::new("nli", &["a", "b", "c"]), 1).unwrap();
    let labels = Tensor::new(&[2u32, 0, 1], &Device::Cpu).unwrap();
    let mut optimizer = Optimizer::new(OptimizerKind::adam_w(), student.parameters()).unwrap();
    let mut last = f32::NAN;
    for seed in 0..200 {
        let logits = student.logits(&batch(), "nli", Mode::Train { seed }).unwrap();
        let loss = loss::cross_entropy(&logits[0], &labels, None).unwrap();
        last = loss.to_scalar().unwrap();
        optimizer.step(student.parameters(), &backward(&loss, student.parameters()).unwrap(), 3e-3).unwrap();
    }
    assert!(last < 0.02, "the loss is still {last}");
    let predicted = student.mean_logits(&batch(), "nli").unwrap().argmax(1).unwrap().to_vec1::<u32>().unwrap();
    assert_eq!(predicted, [2, 0, 1]);
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    let config = EncoderConfig { hidden_dropout: 0.0, attention_dropout: 0.0, ..bert() };
    let mut student = Student::new(Encoder::new(&config, 5, &Device::Cpu).unwrap());
    student.add_head(HeadSpec::new("r", &["a", "b"]), 1).unwrap();
    let rows = [
        (vec![2u32, 7, 9, 3], vec![0u32; 4]),
        (vec![2, 8, 3], vec![0; 3]),
        (vec![5, 5], vec![1; 2]),
        (vec![6], vec![0]),
    ];
    let gradients = |rows: &[(Vec<u32>, Vec<u32>)], labels: &[u32]| {
        let batch = Batch::new(rows, 0, &Device::Cpu).unwrap();
        let logits = student.logits(&batch, "r", Mode::Train { seed: 1 }).unwrap();
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        backward(&loss::cross_entropy(&logits[0], &labels, None).unwrap(), student.parameters()).unwrap()
    };
    let whole = gradients(&rows, &[0, 1, 1, 0]);
    let mut parts = gradients(&rows[..2], &[0, 1]);
    parts.accumulate(&gradients(&rows[2..], &[1, 0])).unwrap();
    parts.scale(0.5);
    for (i, p) in student.parameters().iter().enumerate() {
        let (a, b) = (flat(&whole.get(i).unwrap().unwrap()), flat(&parts.get(i).unwrap().unwrap()));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{}", p.name);
    }
}

#[test]
fn saving_and_loading_changes_no_logit() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = folder.path().join("source.json");
    std::fs::write(&tokenizer, "{}").unwrap();
    let mut student = student();
    student.set_temperature("nli", 1.7).unwrap();
    let provenance: toml::Table = toml::from_str("commit = \"abc\"\nteachers = [\"x\", \"y\"]").unwrap();
    let target = folder.path().join("deep/student");
    student.save(&target, &tokenizer, &provenance).unwrap();
    let mut files: Vec<String> =
        std::fs::read_dir(&target).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["attar.toml", "config.json", "model.safetensors", "tokenizer.json"], "no temporary file stays");

    let loaded = Student::load(&target, &Device::Cpu).unwrap();
    assert_eq!(loaded.heads().collect::<Vec<_>>(), student.heads().collect::<Vec<_>>());
    assert_eq!(loaded.provenance(), &provenance);
    for head in ["relevance", "nli"] {
        let logits = |s: &Student| s.logits(&batch(), head, Mode::Eval).unwrap().iter().map(flat).collect::<Vec<_>>();
        assert_eq!(logits(&loaded), logits(&student));
    }
    // What is saved is also a Hugging Face folder.
    let encoder = Encoder::load(&target, &Layers::All, &Device::Cpu).unwrap();
    assert_eq!(flat(&encoder.embed(&batch()).unwrap()), flat(&student.encoder().embed(&batch()).unwrap()));
}

#[test]
fn a_trained_student_goes_on_with_the_heads_that_fit() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = folder.path().join("source.json");
    std::fs::write(&tokenizer, "{}").unwrap();
    let target = folder.path().join("student");
    let mut trained = student();
    let labels = ["entailment", "not_entailment"];
    trained.add_head(HeadSpec { copies: 3, ..HeadSpec::new("rte", &labels) }, 4).unwrap();
    trained.set_temperature("rte", 1.7).unwrap();
    trained.save(&target, &tokenizer, &toml::Table::new()).unwrap();
    let nli = ["entailment", "neutral", "contradiction"];
    let go_on = |wanted: &[HeadSpec]| Student::go_on(&target, &Layers::All, wanted, 9, &Device::Cpu);
    let start = |wanted: &[HeadSpec]| go_on(wanted).unwrap();
    let answers = |s: &Student, head: &str| flat(&s.mean_logits(&batch(), head).unwrap());
    let fresh = |s: &Student, head: &str| {
        let of_head: Vec<bool> =
            s.parameters().iter().filter(|p| p.name.starts_with(&format!("heads.{head}."))).map(|p| p.fresh).collect();
        assert!(!of_head.is_empty() && of_head.iter().all(|f| *f == of_head[0]));
        of_head[0]
    };

    let same = start(&[
        HeadSpec { copies: 2, layers: 2, ..HeadSpec::new("nli", &nli) },
        HeadSpec { copies: 3, ..HeadSpec::new("rte", &labels) },
        HeadSpec::new("new", &["a", "b"]),
    ]);
    assert_eq!(
        same.heads().map(|h| h.name.as_str()).collect::<Vec<_>>(),
        ["nli", "rte", "new"],
        "those that are wanted"
    );
    for head in ["nli", "rte"] {
        let logits = |s: &Student| s.logits(&batch(), head, Mode::Eval).unwrap().iter().map(flat).collect::<Vec<_>>();
        assert_eq!(logits(&same), logits(&trained), "{head}");
        assert!(!fresh(&same, head));
    }
    assert!(fresh(&same, "new"));
    assert_eq!(same.head("rte").unwrap().temperature, 1.0, "temperatures are fitted anew");

    // Another number of copies: each their mean.
    for copies in [1, 2] {
        let other = start(&[HeadSpec { copies, ..HeadSpec::new("rte", &labels) }]);
        let close = answers(&other, "rte").iter().zip(answers(&trained, "rte")).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close && !fresh(&other, "rte"));
        assert_eq!(other.logits(&batch(), "rte", Mode::Eval).unwrap().len(), copies);
    }
    // Another shape, or copies of two layers, whose mean is no head.
    for (spec, says) in [
        (HeadSpec { layers: 2, ..HeadSpec::new("rte", &labels) }, "has 1 layers and the labels"),
        (HeadSpec::new("rte", &["not_entailment", "entailment"]), "has 1 layers and the labels"),
        (HeadSpec { layers: 2, ..HeadSpec::new("nli", &nli) }, "has 2 copies of 2 layers, expected 1"),
    ] {
        let error = go_on(&[spec]).unwrap_err();
        assert!(error.kind() == ErrorKind::Argument && error.to_string().contains(says), "{error}");
    }
    std::fs::remove_file(target.join("attar.toml")).unwrap();
    assert!(go_on(&[]).unwrap_err().to_string().contains("expected the folder of a trained student"));
}

#[test]
fn weights_are_mixed_unless_they_began_fresh() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = folder.path().join("source.json");
    std::fs::write(&tokenizer, "{}").unwrap();
    student().save(folder.path(), &tokenizer, &toml::Table::new()).unwrap();
    let mut mixed = Student::load(folder.path(), &Device::Cpu).unwrap();
    mixed.add_head(HeadSpec::new("new", &["a", "b"]), 3).unwrap();
    let own = mixed.parameters().snapshot().unwrap();
    let mut other = own.clone();
    other.values_mut().for_each(|t| *t = (&*t + 1.0).unwrap());
    mixed.parameters().mix(&other, 0.25).unwrap();
    for p in mixed.parameters() {
        let by = if p.name.starts_with("heads.new.") { 0.0 } else { 0.25 };
        let moved = flat(p.var.as_tensor()).iter().zip(flat(&own[&p.name])).all(|(a, b)| (a - b - by).abs() < 1e-6);
        assert!(moved, "{}", p.name);
    }
    other.remove("pooler.dense.bias");
    assert_eq!(mixed.parameters().mix(&other, 0.25).unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn the_mean_of_students_lies_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = folder.path().join("tokenizer.json");
    std::fs::write(&tokenizer, "{}").unwrap();
    let saved = |name: &str, config: &EncoderConfig, seed: u64, heads: &[(&str, usize)], temperature: f64| {
        let mut student = Student::new(Encoder::new(config, seed, &Device::Cpu).unwrap());
        for &(head, copies) in heads {
            student.add_head(HeadSpec { copies, ..HeadSpec::new(head, &["a", "b"]) }, seed + 1).unwrap();
            student.set_temperature(head, temperature).unwrap();
        }
        let target = folder.path().join(name);
        student.save(&target, &tokenizer, &toml::Table::new()).unwrap();
        target
    };
    let mean = |folders: &[&Path]| Student::mean(folders, &Device::Cpu);
    let one = saved("one", &bert(), 5, &[("r", 2), ("n", 1)], 2.0);
    let two = saved("two", &bert(), 6, &[("n", 1), ("r", 1)], 8.0);
    let three = saved("three", &bert(), 7, &[("r", 1), ("n", 3)], 4.0);

    let alone = mean(&[&one]).unwrap();
    let (answers, loaded) = (
        |s: &Student| flat(&s.mean_logits(&batch(), "r").unwrap()),
        |path: &Path| Student::load(path, &Device::Cpu).unwrap(),
    );
    assert!(answers(&alone).iter().zip(answers(&loaded(&one))).all(|(a, b)| (a - b).abs() < 1e-5));
    let both = mean(&[&one, &two, &three]).unwrap();
    assert!((both.head("r").unwrap().temperature - 4.0).abs() < 1e-9, "the geometric mean");
    assert_eq!(both.head("r").unwrap().copies, 1);
    let weights = [&one, &two, &three].map(|path| mean(&[path]).unwrap().parameters().snapshot().unwrap());
    for (name, found) in both.parameters().snapshot().unwrap() {
        let of = weights.each_ref().map(|w| flat(&w[&name]));
        for (i, found) in flat(&found).into_iter().enumerate() {
            assert!((found - (of[0][i] + of[1][i] + of[2][i]) / 3.0).abs() < 1e-6, "{name}");
        }
    }

    let fewer = saved("fewer", &bert(), 5, &[("r", 1)], 1.0);
    let others = saved("others", &bert(), 5, &[("r", 1), ("m", 1)], 1.0);
    let thin = saved("thin", &EncoderConfig { layers: 1, ..bert() }, 5, &[("r", 1), ("n", 1)], 1.0);
    for (path, says) in [(&fewer, "other heads than"), (&others, "other heads than"), (&thin, "another encoder than")] {
        let error = mean(&[&one, path]).unwrap_err();
        assert!(error.kind() == ErrorKind::Argument && error.to_string().contains(says), "{error}");
    }
    assert_eq!(mean(&[]).unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn broken_student_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = folder.path().join("tokenizer.json");
    let missing = student().save(folder.path(), &tokenizer, &toml::Table::new()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
    std::fs::write(&tokenizer, "{}").unwrap();
    student().save(folder.path(), &tokenizer, &toml::Table::new()).unwrap();
    let path = folder.path().join("attar.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("format = 1", "format = 2"),
        ("pooling = \"cls\"", "pooling = \"mean\""),
        ("temperature = 1.0", "temperature = -1.0"),
        ("copies = 2", "copies = 3"),
        ("layers = 2", "layers = 1"),
        ("\"neutral\"", "\"entailment\""),
        ("copies = 2", "copies = \"two\""),
        ("copies = 2", "copies = 2\nwidth = 3"),
    ] {
        assert!(good.contains(from), "{from} in {good}");
        std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let error = Student::load(folder.path(), &Device::Cpu).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format, "{to}: {error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(Student::load(folder.path(), &Device::Cpu).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn heads_that_cannot_be_are_errors() {
    let mut student = student();
    let spec = |name: &str| HeadSpec::new(name, &["a", "b"]);
    for bad in [
        spec("relevance"),
        spec(""),
        spec("a.b"),
        HeadSpec::new("x", &["only"]),
        HeadSpec::new("x", &["same", "same"]),
        HeadSpec { copies: 0, ..spec("x") },
        HeadSpec { layers: 0, ..spec("x") },
        HeadSpec { temperature: f64::NAN, ..spec("x") },
    ] {
        assert_eq!(student.add_head(bad.clone(), 1).unwrap_err().kind(), ErrorKind::Argument, "{bad:?}");
    }
    let error = student.logits(&batch(), "relevant", Mode::Eval).unwrap_err().to_string();
    assert!(error.contains("\"relevant\"") && error.contains("\"nli\""), "{error}");
}

#[test]
fn one_pooled_vector_serves_all_heads() {
    let student = student();
    let pooled = student.pool(&batch(), Mode::Eval).unwrap();
    for head in ["relevance", "nli"] {
        let shared = student.logits_from_pooled(&pooled, head, Mode::Eval).unwrap();
        let own = student.logits(&batch(), head, Mode::Eval).unwrap();
        assert_eq!(shared.iter().map(flat).collect::<Vec<_>>(), own.iter().map(flat).collect::<Vec<_>>());
    }
}
