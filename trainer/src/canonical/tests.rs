#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

#[test]
fn only_what_differs_from_the_defaults_is_said() {
    let settings = TrainSettings { epochs: 7, learning_rate: 1e-4, ..TrainSettings::default() };
    assert_eq!(canonical_settings(&settings), r#"{"epochs":7,"learning_rate":0.0001}"#);
    assert_eq!(canonical_settings(&TrainSettings::default()), "null");
}

#[test]
fn a_student_is_said_without_its_defaults() {
    let text = "name = \"x\"\n[student]\nencoder = \"e\"\nlayers = 2\nheads = [{ name = \"nli\" }, { name = \"rte\", \
                layers = 3 }]\n[stage2]\nsets = []\n";
    let config: RunConfig = toml::from_str(text).unwrap();
    // A golden text: when it changes, every finished run is done again.
    assert_eq!(
        canonical(&config.student, &["student"]),
        r#"{"encoder":"e","heads":[{"name":"nli"},{"layers":3,"name":"rte"}],"layers":2}"#
    );
    assert_eq!(
        canonical(&config, &[]),
        r#"{"name":"x","student":{"encoder":"e","heads":[{"name":"nli"},{"layers":3,"name":"rte"}],"layers":2}}"#
    );
}

#[test]
fn a_new_field_at_its_default_changes_nothing() {
    let old = json!({"a": 1, "list": [{"b": 2}], "part": {"c": 3}});
    let defaults = json!({"a": 0, "list": [{"b": 0}], "part": {"c": 0}});
    let new = json!({"a": 1, "list": [{"b": 2, "new": true}], "part": {"c": 3, "new": {"d": 5}}, "new": "x"});
    let new_defaults = json!({"a": 0, "list": [{"b": 0, "new": true}], "part": {"c": 0, "new": {"d": 5}}, "new": "x"});
    let before = stripped(old, &defaults).unwrap().to_string();
    assert_eq!(stripped(new.clone(), &new_defaults).unwrap().to_string(), before);
    let mut other = new;
    other["part"]["new"]["d"] = json!(6);
    assert_ne!(stripped(other, &new_defaults).unwrap().to_string(), before);
}

#[test]
fn the_template_has_one_of_everything() {
    for part in [&["pairs", "0"][..], &["teachers", "0"], &["evaluate", "0"], &["stage1"], &["stage2", "training"]] {
        let at = part.iter().fold(&*DEFAULTS, |at, key| if *key == "0" { &at[0] } else { &at[*key] });
        assert!(at.is_object(), "{part:?}");
    }
}
