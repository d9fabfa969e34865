//! `attar ask` and `attar index`, with the built program.
#![allow(clippy::unwrap_used)]

mod common;
use common::{Home, program};

fn keys(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn an_answer_is_cited_and_the_json_object_is_as_documented() {
    let home = Home::with_documents();
    let run = home.attar(&["ask", "Is the lamp red?", "--docs", "docs", "--threshold", "0", "--json"]).ok();
    let reply = run.json();
    assert_eq!(keys(&reply), ["question", "no_answer_probability", "answers", "considered", "latency_ms"]);
    assert_eq!(reply["question"], "Is the lamp red?");
    let answers = reply["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 2);
    assert_eq!(keys(&answers[0]), ["text", "passage", "headings", "source", "line", "score"]);
    let lamp = answers.iter().find(|answer| answer["source"] == "docs/lamp.md").unwrap();
    assert_eq!(lamp["line"], 3);
    assert_eq!(lamp["passage"], "The lamp is red. It blinks twice.");
    let best = answers.iter().map(|answer| answer["score"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!((reply["no_answer_probability"].as_f64().unwrap() - (1.0 - best)).abs() < 1e-6);
    assert!(reply["latency_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn people_get_text_and_citation_without_escapes_in_a_pipe() {
    let home = Home::with_documents();
    let args = ["ask", "Does the pump hum?", "--docs", "docs/pump.html", "--threshold", "0", "--top", "1"];
    let out = home.attar(&args).ok().out();
    assert!(out.starts_with("The pump hums & drips.\n    docs/pump.html:2  "), "{out}");
    assert!(!out.contains('\x1b'));
}

#[test]
fn no_answer_is_polite_and_exit_code_1() {
    let home = Home::with_documents();
    let run = home.attar(&["ask", "Is the lamp red?", "--docs", "docs", "--threshold", "1"]);
    assert_eq!((run.code(), run.err().as_str()), (Some(1), ""));
    assert!(run.out().starts_with("No answer found in 3 documents"), "{}", run.out());
    assert!(run.out().contains("docs/lamp.md:3"));
    let run = home.attar(&["ask", "Zebra?", "--docs", "docs", "--json"]);
    assert_eq!(run.code(), Some(1));
    assert_eq!(run.json()["no_answer_probability"], 1.0);
    assert_eq!(run.json()["answers"], serde_json::json!([]));
}

#[test]
fn threads_do_not_change_the_answer() {
    let home = Home::with_documents();
    let ask = |threads: &str| {
        let args = ["ask", "the lamp", "--docs", "docs", "--threshold", "0", "--json", "--threads", threads];
        home.attar(&args).ok().json()["answers"].clone()
    };
    assert_eq!(ask("1"), ask("3"));
}

#[test]
fn a_library_answers_like_its_documents() {
    let home = Home::with_documents();
    let out = home.attar(&["index", "docs", "-o", "notes.attarlib"]).ok().out();
    assert_eq!(out, "notes.attarlib: 3 documents, 3 passages (3 added, 0 updated, 0 unchanged, 0 removed)\n");
    let ask = |from: &[&str]| {
        let args = [&["ask", "the lamp", "--threshold", "0", "--json"], from].concat();
        home.attar(&args).ok().json()["answers"].clone()
    };
    assert_eq!(ask(&["--library", "notes.attarlib"]), ask(&["--docs", "docs"]));

    home.write("docs/lamp.md", "The lamp was changed.");
    std::fs::remove_file(home.path("docs/bread.txt")).unwrap();
    let report = home.attar(&["index", "docs", "-o", "notes.attarlib", "--json"]).ok().json();
    let expected = serde_json::json!({"library": "notes.attarlib", "documents": 2, "passages": 2, "added": 0,
        "updated": 1, "unchanged": 1, "removed": 1, "skipped": []});
    assert_eq!(report, expected);
}

#[test]
fn unreadable_files_in_a_folder_are_reported_and_do_not_hinder() {
    let home = Home::with_documents();
    home.write("docs/photo.jpg", [0xff, 0xd8]);
    home.write("docs/noise.txt", [1, 0, 2]);
    let run = home.attar(&["ask", "the lamp", "--docs", "docs", "--threshold", "0"]);
    assert_eq!(run.code(), Some(0));
    assert!(run.err().contains("skipped docs/noise.txt: a binary file"), "{}", run.err());
    assert!(run.err().contains("skipped docs/photo.jpg: not text, Markdown or HTML"), "{}", run.err());
}

#[test]
fn bad_input_names_its_place() {
    let home = Home::with_documents();
    home.write("noise.bin", [1, 0, 2]);
    home.write("latin.txt", b"one\ncaf\xe9");
    home.write("db.attarlib", "no database");
    std::fs::create_dir(home.path("empty")).unwrap();
    for (args, part) in [
        (&["ask", "", "--docs", "docs"][..], "the question is empty"),
        (&["ask", " \t", "--docs", "docs"], "the question is empty"),
        (&["ask", "?!", "--docs", "docs"], "the question has no words"),
        (&["ask", "lamp", "--docs", "nowhere/at/all"], "nowhere/at/all: no such file or folder"),
        (&["ask", "lamp", "--docs", "docs", "empty"], "empty: an empty folder"),
        (&["ask", "lamp", "--docs", "noise.bin"], "noise.bin: a binary file (NUL at byte 1)"),
        (&["ask", "lamp", "--docs", "latin.txt"], "latin.txt: not UTF-8 text at byte 7 (line 2)"),
        (&["ask", "lamp", "--library", "docs"], "docs: not a file"),
        (&["ask", "lamp", "--library", "none.attarlib"], "none.attarlib: no such file"),
        (&["ask", "lamp", "--library", "db.attarlib"], "db.attarlib: not an Attar library"),
        (&["index", "docs", "-o", "db.attarlib"], "db.attarlib: not an Attar library"),
        (&["index", "docs", "-o", "no/folder/x"], "no/folder/x: its folder does not exist"),
        (&["index", "empty", "-o", "new.attarlib"], "empty: an empty folder"),
        (&["ask", "lamp"], "--docs"),
        (&["ask", "lamp", "--docs", "docs", "--library", "x"], "cannot be used with"),
        (&["ask", "lamp", "--docs", "docs", "--threshold", "2"], "expected a probability"),
        (&["ask", "lamp", "--docs", "docs", "--top", "0"], "at least 1"),
        (&["ask", "lamp", "--docs", "docs", "--kernel", "abacus"], "abacus"),
        (&["ask", "lamp", "--docs", "docs", "--model", "missing.attar"], "missing.attar"),
        (&["ask", "lamp", "--docs", "docs", "--model", "docs/lamp.md"], "docs/lamp.md"),
        (&["dance"], "unrecognized subcommand"),
    ] {
        home.attar(args).fails_with(part);
    }
    assert!(!home.path("new.attarlib").exists());
}

#[cfg(unix)]
#[test]
fn an_unreadable_document_is_an_error_by_name_and_skipped_in_a_folder() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_documents();
    let path = home.write("docs/secret.txt", "lamp");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o0)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    home.attar(&["ask", "lamp", "--docs", "docs/secret.txt"]).fails_with("docs/secret.txt: cannot open");
    let run = home.attar(&["ask", "lamp", "--docs", "docs", "--threshold", "0"]);
    assert_eq!(run.code(), Some(0));
    assert!(run.err().contains("skipped docs/secret.txt: cannot open"));
}

#[test]
fn a_question_may_hold_anything() {
    let home = Home::with_documents();
    for question in ["lamp \" OR * NEAR(", "lamp; DROP TABLE passage", "-lamp", "lamp\u{7}\u{1b}[2J", "ламп 灯 lamp é"]
    {
        let args = ["ask", "--docs=docs", "--threshold=0", "--json", "--", question];
        let run = home.attar(&args).ok();
        assert!(!run.json()["answers"].as_array().unwrap().is_empty(), "{question}");
    }
}

#[test]
fn control_characters_of_documents_do_not_reach_the_terminal() {
    let home = Home::new();
    home.write("docs/a.txt", "The lamp \x1b[31mis\x07 red.");
    let out = home.attar(&["ask", "lamp", "--docs", "docs", "--threshold", "0"]).ok().out();
    assert!(!out.contains('\x1b') && !out.contains('\x07'), "{out:?}");
}

#[test]
fn help_teaches_with_examples() {
    let home = Home::new();
    for command in ["ask", "index", "score", "info", "bench"] {
        let out = home.attar(&[command, "--help"]).ok().out();
        assert!(out.contains("Examples:\n  attar"), "{command}");
    }
    assert!(home.attar(&["--version"]).ok().out().starts_with("attar "));
}

#[test]
fn the_bundle_in_the_program_is_the_default() {
    let home = Home::with_documents();
    let run = program(&home.path("")).args(["ask", "the lamp", "--docs", "docs", "--json"]).output().unwrap();
    if String::from_utf8_lossy(&run.stderr).contains("built without a bundle") {
        println!("skipped: no default bundle in this build");
        return;
    }
    assert!(matches!(run.status.code(), Some(0 | 1)), "{run:?}");
}
