#![allow(clippy::unwrap_used)]

use std::path::Path;

use attar_nn::Student;

use super::*;
use crate::ErrorKind;
use crate::config::LayerChoice;
use crate::testing::{RELEVANCE, write_encoder, write_tokenizer};

/// Writes rows of relevance in which colour and question say the label.
fn write_rows(path: &Path, rows: usize) {
    let mut text = "id\ttext_a\ttext_b\tlabel\n".to_owned();
    for i in 0..rows {
        let (word, label) = if i % 2 == 0 { ("red", 1) } else { ("blue", 0) };
        text += &format!("{i}\twhat is the sky {}\tthe {word} cat sat {i}\t{label}\n", i / 4);
    }
    std::fs::write(path, text).unwrap();
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_tokenizer(&folder.path().join("tokenizer"));
        for seed in 1..=2 {
            write_encoder(&folder.path().join(format!("teacher{seed}")), seed, &[RELEVANCE]);
        }
        write_rows(&folder.path().join("train.tsv"), 64);
        write_rows(&folder.path().join("dev.tsv"), 16);
        Self { folder }
    }

    fn run(&self, scheme: &str, teachers: &str, stage1: bool) -> Result<Vec<FileScores>> {
        self.run_with(scheme, teachers, stage1, |_, _| {})
    }

    fn run_with(
        &self,
        scheme: &str,
        teachers: &str,
        stage1: bool,
        change: impl FnOnce(&mut RunConfig, &mut RunOptions),
    ) -> Result<Vec<FileScores>> {
        let (mut config, mut options) = self.settings(scheme, teachers, stage1);
        change(&mut config, &mut options);
        run(&config, &options)
    }

    fn settings(&self, scheme: &str, teachers: &str, stage1: bool) -> (RunConfig, RunOptions) {
        let stage1 = if stage1 {
            format!("[stage1]\nsets = [{{ head = \"relevance\", path = \"train.tsv\", teachers = [{teachers}] }}]\n")
        } else {
            String::new()
        };
        let text = format!(
            r#"
name = "t"
scheme = "{scheme}"
validation = {{ fraction = 0.2 }}
evaluate = [{{ name = "dev", head = "relevance", path = "dev.tsv" }}]
[student]
encoder = "tokenizer"
fresh = {{ layers = 1, hidden = 16, attention_heads = 2, intermediate = 32 }}
max_len = 32
heads = [{{ name = "relevance" }}]
[[teachers]]
name = "a"
kind = "classifier"
encoder = "teacher1"
[[teachers]]
name = "b"
kind = "sentence-encoder"
encoder = "teacher2"
{stage1}[stage2]
sets = [{{ head = "relevance", path = "train.tsv", teachers = [{teachers}] }}]
[stage2.training]
epochs = 1
evaluations = 1
"#
        );
        let mut config = RunConfig::parse(&text).unwrap();
        config.data = self.folder.path().to_owned();
        config.encoders = self.folder.path().to_owned();
        let options = RunOptions {
            precision: Default::default(),
            output: self.folder.path().join(scheme),
            device: "cpu".into(),
            shared: None,
            threads: 0,
            checkpoint_every: Duration::from_secs(60),
            reporter: Reporter::new(true),
            stop: Stop::default(),
        };
        (config, options)
    }

    fn student(&self, path: &str) -> Student {
        Student::load(&self.folder.path().join(path), &Device::Cpu).unwrap()
    }
}

/// The only folder of soft labels of a teacher.
fn labels_of(output: &Path, teacher: &str) -> PathBuf {
    let all = std::fs::read_dir(output.join("labels")).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{teacher}-"));
    let found: Vec<PathBuf> = all.filter(of).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

const BOTH: &str = "\"a\", \"b\"";

#[test]
fn every_scheme_runs_to_its_end() {
    let world = World::new();
    for (scheme, teachers, copies) in
        [("fine-tune", "", 1), ("1-o-1", "\"a\"", 1), ("1avg-o-1", BOTH, 1), ("m-o-1", BOTH, 2)]
    {
        let scores = world.run(scheme, teachers, false).unwrap();
        assert_eq!((scores.len(), scores[0].scores.rows), (1, 16), "{scheme}");
        let student = world.student(&format!("{scheme}/student"));
        assert_eq!(student.head("relevance").unwrap().copies, copies, "{scheme}");
        assert_eq!(student.provenance()["scheme"].as_str(), Some(scheme));
    }
}

#[test]
fn a_teacher_answers_in_its_own_precision_and_nothing_trains_in_int8() {
    let world = World::new();
    let output = world.folder.path().join("1-o-1");
    let labels = || {
        let folder = labels_of(&output, "a");
        let sets: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(sets.len(), 1);
        let bytes = std::fs::read(sets[0].join("relevance/shard-00000.parquet")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        (folder, bytes)
    };
    world.run("1-o-1", "\"a\"", false).unwrap();
    let in_f32 = labels();
    let int8 = Some(Precision::Int8);
    world.run_with("1-o-1", "\"a\"", false, |config, _| config.teachers[0].precision = int8).unwrap();
    let in_int8 = labels();
    assert!(in_f32.0 != in_int8.0 && in_f32.1 != in_int8.1);

    let error = world.run_with("1-o-1", "\"a\"", false, |_, options| options.precision = Precision::Int8).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("--precision int8 has no gradients"), "{error}");
}

#[test]
fn wrong_answers_of_a_teacher_are_corrected_where_the_run_file_says_so() {
    let world = World::new();
    let (config, options) = world.settings("1-o-1", "\"a\"", false);
    let rewritten = |with: &str| {
        let text = toml::to_string(&config).unwrap().replacen("against_gold = \"keep\"", with, 1);
        RunConfig { data: config.data.clone(), encoders: config.encoders.clone(), ..RunConfig::parse(&text).unwrap() }
    };
    let student = |with: &str, name: &str| {
        run(&rewritten(with), &RunOptions { output: world.folder.path().join(name), ..options.clone() }).unwrap();
        std::fs::read(world.folder.path().join(name).join("student/model.safetensors")).unwrap()
    };
    // The teacher has random weights and is wrong about half of the rows.
    let students = [
        ("", "default"),
        ("against_gold = \"keep\"", "keep"),
        ("against_gold = \"swap\"", "swap"),
        ("against_gold = \"drop\"", "drop"),
    ]
    .map(|(with, name)| student(with, name));
    assert!(students[0] == students[1], "wrong answers are kept by default");
    assert!(students[1] != students[2] && students[1] != students[3] && students[2] != students[3]);
    // The soft labels on disk are the teacher's own, whatever is learned of them.
    let labels = |name: &str| {
        let folder =
            std::fs::read_dir(labels_of(&world.folder.path().join(name), "a")).unwrap().next().unwrap().unwrap();
        std::fs::read(folder.path().join("relevance/shard-00000.parquet")).unwrap()
    };
    assert!(labels("keep") == labels("swap") && labels("keep") == labels("drop"));
    // Without gold labels there is nothing to contradict.
    let soft_only = |with: &str, name: &str| {
        let mut config = rewritten(with);
        config.stage2.sets[0].gold = false;
        run(&config, &RunOptions { output: world.folder.path().join(name), ..options.clone() }).unwrap();
        std::fs::read(world.folder.path().join(name).join("student/model.safetensors")).unwrap()
    };
    assert!(soft_only("", "soft-keep") == soft_only("against_gold = \"swap\"", "soft-swap"));
}

#[test]
fn layers_that_are_not_there_are_found_before_anything_is_labelled() {
    let world = World::new();
    let error =
        world.run_with("1-o-1", "\"a\"", false, |config, _| config.stage2.training.frozen_layers = 2).unwrap_err();
    assert!(error.to_string().contains("stage2: frozen_layers = 2, but the encoder has 1 layers"), "{error}");
    let error = world
        .run_with("1-o-1", "\"a\"", false, |config, _| {
            config.student.encoder = "teacher1".into();
            config.student.fresh = None;
            config.student.layers = Some(LayerChoice::Chosen(vec![7]));
        })
        .unwrap_err();
    assert!(error.to_string().contains("student.layers"), "{error}");
    assert!(!world.folder.path().join("1-o-1/labels").exists());
}

#[test]
fn tmkd_has_two_stages_and_a_copy_for_each_teacher() {
    let world = World::new();
    world.run("tmkd", BOTH, true).unwrap();
    assert_eq!(world.student("tmkd/student").head("relevance").unwrap().copies, 2);
    assert_eq!(world.student("tmkd/stage1").provenance()["stage"].as_str(), Some("stage1"));
    let report = std::fs::read_to_string(world.folder.path().join("tmkd/report.md")).unwrap();
    let page = std::fs::read_to_string(world.folder.path().join("tmkd/report.html")).unwrap();
    assert!(page.contains("<h1>Run t</h1>") && page.matches("<figure>").count() >= 3, "{page}");
    for part in ["# Run t", "| dev | relevance | 16 |", "## Training stage1", "## Training stage2", "- training loss `"]
    {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
}

#[test]
fn a_student_goes_on_from_another_runs_result() {
    let world = World::new();
    world.run("tmkd", BOTH, true).unwrap();
    let mut steps = Vec::new();
    for start_weight in [0.0, 1.0] {
        world
            .run_with("1avg-o-1", BOTH, false, |config, options| {
                config.student.encoder = "tmkd/student".into();
                config.student.fresh = None;
                config.student.go_on = true;
                config.stage2.training.start_weight = start_weight;
                options.output = world.folder.path().join(format!("on-{start_weight}"));
            })
            .unwrap();
        steps.push(world.student(&format!("on-{start_weight}/student")));
    }
    let value = |s: &Student, name: &str| s.parameters().get(name).unwrap().var.flatten_all().unwrap().to_vec1::<f32>();
    let trained = world.student("tmkd/student");
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    for name in ["pooler.dense.weight", "embeddings.word_embeddings.weight"] {
        assert!(
            close(&value(&steps[1], name).unwrap(), &value(&trained, name).unwrap()),
            "{name}: all of it the start's"
        );
        assert_ne!(value(&steps[0], name).unwrap(), value(&trained, name).unwrap(), "{name}");
    }
    let head = |s: &Student, copy: usize| value(s, &format!("heads.relevance.{copy}.0.weight")).unwrap();
    let mean: Vec<f32> = head(&trained, 0).iter().zip(head(&trained, 1)).map(|(a, b)| (a + b) / 2.0).collect();
    assert!(close(&head(&steps[1], 0), &mean), "two copies become one, their mean");
    let report = std::fs::read_to_string(world.folder.path().join("on-1/report.md")).unwrap();
    assert!(report.contains(", mixed with 1 of the start's: relevance "), "{report}");

    for (change, says) in [
        (
            "go_on = true\nfresh = { layers = 1, hidden = 16, attention_heads = 2, intermediate = 32 }",
            "leave out fresh",
        ),
        ("go_on = true\npooler = \"identity\"", "leave out fresh"),
        ("", "needs student.go_on = true"),
    ] {
        let text = format!(
            "name = \"t\"\n[student]\nencoder = \"s\"\nheads = [{{ name = \"relevance\" }}]\n{change}\n[stage2]\nsets = \
             [{{ head = \"relevance\", path = \"train.tsv\" }}]\n[stage2.training]\nstart_weight = 0.5\n"
        );
        let error = RunConfig::parse(&text).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn many_students_answer_one_by_one_and_together() {
    let world = World::new();
    let scores = world.run("m-o-m", BOTH, false).unwrap();
    let together: Vec<Option<Ensemble>> = scores.iter().map(|s| s.ensemble).collect();
    assert_eq!(together[..2], [None, None]);
    assert_eq!(together[2..], Ensemble::ALL.map(Some));
    let systems: Vec<&str> = scores.iter().map(|s| s.system.as_str()).collect();
    assert_eq!(systems[..3], ["student 1", "student 2", "majority vote"]);
    assert!(scores.iter().all(|s| s.name == "dev" && s.parameters > 0 && s.reliability.is_some()));
}

#[test]
fn nothing_to_score_or_to_choose_by_is_an_error() {
    let world = World::new();
    let dev = world.folder.path().join("dev.tsv");
    std::fs::write(&dev, "text_a\ttext_b\tlabel\na\tb\t-\n").unwrap();
    let error = world.run("fine-tune", "", false).unwrap_err().to_string();
    assert!(error.contains("dev.tsv: 1 rows, and none has a gold label"), "{error}");
    write_rows(&dev, 16);
    let change = |config: &mut RunConfig, _: &mut RunOptions| {
        config.validation.fraction = 0.0;
        config.stage2.training.patience = 2;
    };
    let error = world.run_with("fine-tune", "", false, change).unwrap_err().to_string();
    assert!(error.contains("patience = 2, but no rows are held out"), "{error}");
    assert!(!world.folder.path().join("fine-tune/steps/stage2").exists());
}

#[test]
fn bad_inputs_are_errors_that_name_them() {
    let world = World::new();
    let train = world.folder.path().join("train.tsv");
    std::fs::write(&train, "text_a\tlabel\n").unwrap();
    assert!(world.run("fine-tune", "", false).unwrap_err().to_string().contains("train.tsv:1: no two text columns"));
    std::fs::write(&train, "text_a\ttext_b\tlabel\n").unwrap();
    assert!(world.run("fine-tune", "", false).unwrap_err().to_string().contains("train.tsv:1: no rows"));
    std::fs::remove_file(&train).unwrap();
    assert_eq!(world.run("fine-tune", "", false).unwrap_err().kind(), ErrorKind::Io);
    write_rows(&train, 48);
    std::fs::remove_dir_all(world.folder.path().join("tokenizer")).unwrap();
    assert!(world.run("fine-tune", "", false).unwrap_err().to_string().contains("tokenizer.json"));
}

#[test]
fn the_identity_pooler_reads_the_first_token_itself() {
    let world = World::new();
    let text = "name = \"i\"\n[student]\nencoder = \"teacher1\"\npooler = \"identity\"\nmax_len = 32\nheads = [{ name = \
                \"relevance\" }]\n[stage2]\nsets = [{ head = \"relevance\", path = \"train.tsv\" }]\n[stage2.training]\n\
                max_steps = 1\nlearning_rate = 1e-9\n";
    let mut config = RunConfig::parse(text).unwrap();
    config.data = world.folder.path().to_owned();
    config.encoders = world.folder.path().to_owned();
    let options = RunOptions {
        precision: Default::default(),
        output: world.folder.path().join("i"),
        device: "cpu".into(),
        shared: None,
        threads: 0,
        checkpoint_every: Duration::from_secs(60),
        reporter: Reporter::new(true),
        stop: Stop::default(),
    };
    run(&config, &options).unwrap();
    let student = world.student("i/student");
    let weight = student.parameters().get("pooler.dense.weight").unwrap().var.to_vec2::<f32>().unwrap();
    for (i, row) in weight.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            assert!((value - f32::from(u8::from(i == j))).abs() < 1e-6);
        }
    }
}

#[test]
fn a_teacher_that_has_the_heads_goes_on_with_them() {
    let world = World::new();
    let train = |encoder: &str, output: &str| {
        let change = |config: &mut RunConfig, options: &mut RunOptions| {
            config.teachers[0].encoder = encoder.into();
            config.teachers[0].sets.clone_from(&config.stage2.sets);
            config.teachers[0].sets[0].teachers.clear();
            // Nothing is learned: what comes out is what it began with.
            config.teachers[0].training.learning_rate = 1e-12;
            config.teachers[0].training.max_steps = 1;
            config.teachers[0].seed = Some(99);
            options.output = world.folder.path().join(output);
        };
        world.run_with("1-o-1", "\"a\"", false, change).unwrap();
        std::fs::read(world.folder.path().join(output).join("teachers/a/model.safetensors")).unwrap()
    };
    let weights = |bytes: &[u8]| {
        let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
        tensors.tensor("heads.relevance.0.0.weight").unwrap().data().to_vec()
    };
    let before = std::fs::read(world.folder.path().join("teacher1/model.safetensors")).unwrap();
    let close = |a: &[u8], b: &[u8]| {
        let floats =
            |b: &[u8]| -> Vec<f32> { b.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect() };
        floats(a).iter().zip(floats(b)).all(|(a, b)| (a - b).abs() < 1e-6)
    };
    assert!(close(&weights(&train("teacher1", "further")), &weights(&before)));
}

#[test]
fn a_device_that_is_not_there_changes_nothing() {
    let world = World::new();
    assert!(world.run_with("1-o-1", "\"a\"", false, |_, options| options.device = "gpu".into()).is_err());
    assert!(!world.folder.path().join("1-o-1").exists());
}

#[test]
fn a_part_of_a_set_keeps_the_rows_with_gold_labels() {
    let world = World::new();
    let tokenizer = crate::data::PairTokenizer::from_folder(&world.folder.path().join("tokenizer"), 32).unwrap();
    let mut set = crate::sets::TrainingSet {
        name: "s".into(),
        head: "relevance".into(),
        tokens: (0..40).map(|_| tokenizer.single("the cat sat").unwrap()).collect(),
        gold: (0..40).map(|row| (row % 4 == 0).then_some(1)).collect(),
        soft: Vec::new(),
    };
    rows::thin(&mut set, 12, 5);
    assert_eq!((set.len(), set.gold.iter().flatten().count()), (12, 10));
    rows::thin(&mut set, 7, 5);
    assert_eq!((set.len(), set.gold.iter().flatten().count()), (7, 7));
}

#[test]
fn gold_labels_can_be_left_out() {
    let world = World::new();
    world.run_with("m-o-1", BOTH, false, |config, _| config.stage2.sets[0].gold = false).unwrap();
    let path = world.folder.path().join("m-o-1/training/stage2/summary.json");
    let summary = std::fs::read_to_string(path).unwrap();
    assert!(summary.contains("\"rows\": 0"), "no held-out row has a gold label: {summary}");
    let error = world.run_with("fine-tune", "", false, |config, _| config.stage2.sets[0].gold = false).unwrap_err();
    assert!(error.to_string().contains("no rows are left"), "{error}");
}

mod done;
