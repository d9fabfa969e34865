#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::check::distance;
use super::*;

const MINIMAL: &str = r#"
name = "x"
[student]
encoder = "e"
heads = [{ name = "nli" }, { name = "relevance" }]
[stage2]
sets = [{ head = "nli", path = "a.tsv" }]
"#;

fn error(text: &str) -> String {
    RunConfig::parse(text).unwrap_err().to_string()
}

#[test]
fn a_minimal_file_has_defaults() {
    let config = RunConfig::parse(MINIMAL).unwrap();
    assert_eq!((config.seed, config.scheme, config.student.max_len), (17, Scheme::FineTune, 128));
    assert_eq!(config.stage2.training, TrainSettings::default());
}

#[test]
fn the_resolved_file_reads_back() {
    let config = RunConfig::parse(MINIMAL).unwrap();
    let text = toml::to_string(&config).unwrap();
    assert_eq!(toml::to_string(&RunConfig::parse(&text).unwrap()).unwrap(), text);
}

#[test]
fn the_example_files_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for name in [
        "cpu/train-base.toml",
        "cpu/train-base-relevance.toml",
        "cpu/train-teacher.toml",
        "cpu/train-base-distilled.toml",
        "cpu/train-small.toml",
        "students.toml",
        "students-last.toml",
        "train-base.toml",
        "train-base-last.toml",
        "train-base-gold.toml",
        "train-base-overlap.toml",
        "train-base-ranked.toml",
        "train-small.toml",
        "train-small-last.toml",
        "train-small-ranked.toml",
        "train-tiny.toml",
        "qnli-rows.toml",
    ] {
        RunConfig::read(&folder.join(name)).unwrap();
    }
}

#[test]
fn a_file_extends_another_table_by_table() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let read = |name: &str| RunConfig::read(&folder.path().join(name));
    write("below.toml", &format!("{MINIMAL}[stage2.training]\nepochs = 3\nbatch_size = 8\n"));
    write("middle.toml", "extends = \"below.toml\"\nseed = 5\n");
    write("top.toml", "extends = \"middle.toml\"\nname = \"top\"\n[stage2.training]\nepochs = 1\n");
    let config = read("top.toml").unwrap();
    let training = &config.stage2.training;
    assert_eq!((config.name.as_str(), config.seed, training.epochs, training.batch_size), ("top", 5, 1, 8));
    assert_eq!(config.stage2.sets.len(), RunConfig::parse(MINIMAL).unwrap().stage2.sets.len());

    write("circle.toml", "extends = \"circle.toml\"\n");
    assert!(read("circle.toml").unwrap_err().to_string().contains("in a circle"));
    write("missing.toml", "extends = \"nothing.toml\"\n");
    assert!(read("missing.toml").unwrap_err().to_string().contains("nothing.toml"));
    write("number.toml", "extends = 3\n");
    assert!(read("number.toml").unwrap_err().to_string().contains("expected the name"));
    write("wrong.toml", "extends = \"below.toml\"\nsede = 5\n");
    assert!(read("wrong.toml").unwrap_err().to_string().contains("did you mean `seed`"));
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_valid_one() {
    let message = error(&MINIMAL.replace("name = \"x\"", "name = \"x\"\nsede = 3"));
    assert!(message.contains("line 3: unknown key `sede`, did you mean `seed`?"), "{message}");
    let message = error(&format!("{MINIMAL}[stage2.training]\nlearnig_rate = 1e-4\n"));
    assert!(message.contains("`learnig_rate`, did you mean `learning_rate`?"), "{message}");
}

#[test]
fn a_wrong_type_or_choice_is_an_error() {
    assert!(error(&MINIMAL.replace("name = \"x\"", "name = 3")).contains("line 2"));
    assert!(error(&format!("scheme = \"2-o-1\"\n{MINIMAL}")).contains("expected one of fine-tune, 1-o-1"));
    assert!(error(&format!("{MINIMAL}[stage2.training]\nsoft_loss = \"mae\"\n")).contains("mse"));
}

#[test]
fn values_out_of_range_are_errors() {
    for (setting, part) in [
        ("epochs = 0", "epochs = 0"),
        ("learning_rate = -1.0", "learning_rate = -1"),
        ("warmup = 1.5", "warmup = 1.5"),
        ("soft_label_weight = 2.0", "soft_label_weight = 2"),
        ("micro_batches = 64", "micro_batches = 64"),
        ("clip = -1.0", "clip = -1"),
    ] {
        let message = error(&format!("{MINIMAL}[stage2.training]\n{setting}\n"));
        assert!(message.contains(part), "{message}");
    }
    assert!(error(&format!("validation = {{ fraction = 0.9 }}\n{MINIMAL}")).contains("validation.fraction"));
    assert!(error(&format!("validation = {{ max_rows = 0 }}\n{MINIMAL}")).contains("validation.max_rows = 0"));
}

#[test]
fn references_that_lead_nowhere_are_errors() {
    assert!(error(&MINIMAL.replace("head = \"nli\"", "head = \"rte\"")).contains("head \"rte\", expected one of"));
    assert!(error(&MINIMAL.replace("path = \"a.tsv\"", "pairs = \"q\"")).contains("no [[pairs]]"));
    assert!(error(&MINIMAL.replace("path = \"a.tsv\"", "limit = 3")).contains("either path or pairs"));
    let no_gold = MINIMAL.replace("path = \"a.tsv\"", "path = \"a.tsv\", gold = false");
    assert!(error(&no_gold).contains("stage2: a set of head \"nli\" has gold = false and nobody else to learn from"));
    let tuned = "[[teachers]]\nname = \"t\"\nkind = \"classifier\"\nencoder = \"e\"\nfine_tune = true\n";
    assert!(error(&format!("{no_gold}{tuned}")).contains("no set of stage 2 has gold labels"));
    let teachers = MINIMAL.replace("path = \"a.tsv\"", "path = \"a.tsv\", teachers = [\"t\"]");
    assert!(error(&teachers).contains("teacher \"t\""));
    assert!(error(&format!("scheme = \"tmkd\"\n{MINIMAL}")).contains("needs [stage1]"));
    assert!(error(&MINIMAL.replace("name = \"relevance\"", "name = \"nli\"")).contains("there twice"));
    assert!(error(&MINIMAL.replace("name = \"relevance\"", "name = \"topic\"")).contains("at least two"));
    assert!(
        error(&format!("{MINIMAL}[stage1]\nsets = [{{ head = \"relevance\", path = \"a.tsv\" }}]\n"))
            .contains("no teachers")
    );
}

#[test]
fn distances_are_levenshteins() {
    assert_eq!((distance("kitten", "sitting"), distance("", "ab"), distance("ab", "ab")), (3, 2, 0));
}
