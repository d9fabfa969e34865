#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::{RELEVANCE, write_encoder};

#[test]
fn a_mean_says_what_it_is_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    for (name, seed) in [("a", 1), ("b", 2)] {
        write_encoder(&place(name), seed, &[RELEVANCE]);
        let mut text = std::fs::read_to_string(place(name).join("attar.toml")).unwrap();
        let start = text.find("[provenance]").unwrap_or(text.len());
        text.truncate(start);
        text += &format!(
            "[provenance]\nrun = \"{name}\"\ntitle = \"T\"\nseed = \"{seed}\"\nlicences = [\"L\", \"{name}\"]\n"
        );
        std::fs::write(place(name).join("attar.toml"), text).unwrap();
    }
    let (a, b, out) = (place("a"), place("b"), place("out"));
    write_mean(&[&a, &b], &out).unwrap();
    let mean = Student::load(&out, &Device::Cpu).unwrap();
    let found = mean.provenance();
    let strings = |names: &[&str]| Value::Array(names.iter().map(|&name| Value::String(name.into())).collect());
    assert_eq!(found["mean_of"], strings(&["a", "b"]));
    assert_eq!(found["licences"], strings(&["L", "a", "b"]));
    assert_eq!((found.get("run"), found["title"].as_str()), (None, Some("T")));
    assert_eq!((&found["seed"], found.get("shares")), (&strings(&["1", "2"]), None));

    let error = |folders: &[&Path], out: &Path| write_mean(folders, out).unwrap_err().to_string();
    assert!(error(&[&a], &out).contains("name at least two"));
    assert!(error(&[&a, &b], &b).contains("would replace one of its students"));
    let further = place("further");
    write_mean(&[&out, &a], &further).unwrap();
    write_mean(&[&out, &a], &further).unwrap();
    let of_further = Student::provenance_of(&further).unwrap();
    assert_eq!(of_further["mean_of"], strings(&["a", "b", "a"]));
    assert_eq!(of_further["shares"], strings(&["0.25", "0.25", "0.5"]));
    std::fs::remove_file(further.join("attar.toml")).unwrap();
    assert!(error(&[&a, &b], &further).contains("an encoder that is no student"));
    std::fs::write(b.join("tokenizer.json"), "{}").unwrap();
    assert!(error(&[&a, &b], &out).contains("students of one vocabulary"));
}
