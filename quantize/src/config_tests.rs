#![allow(clippy::unwrap_used)]
use super::*;

const GOOD: &str = r#"
format = 1
pooling = "cls"

[[heads]]
name = "nli"
labels = ["entailment", "neutral", "contradiction"]
copies = 2
layers = 1
temperature = 1.5

[provenance]
licence = "MIT"
teachers = ["a", "b"]
"#;

#[test]
fn attar_toml_is_read() {
    let config = StudentConfig::parse(GOOD).unwrap();
    assert_eq!((config.heads[0].copies, config.heads[0].temperature), (2, 1.5));
    assert_eq!(Value::Object(config.provenance()).to_string(), r#"{"licence":"MIT","teachers":["a","b"]}"#);
}

#[test]
fn mistakes_in_attar_toml_are_named() {
    for (from, to, reason) in [
        ("format = 1", "format = 2", "\"format\" is 2"),
        ("\"cls\"", "\"mean\"", "mean"),
        ("temperature", "temprature", "temprature"),
        ("copies = 2\n", "", "copies"),
        ("pooling", "poling", "poling"),
        ("\"MIT\"", "3", "licence"),
    ] {
        let error = StudentConfig::parse(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(reason), "{from} -> {to}: {error}");
    }
}
