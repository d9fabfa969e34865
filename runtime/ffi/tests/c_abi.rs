//! C programs against the static and the shared library, and the symbols that the shared library exports.
//!
//! They use the bundle that `ATTAR_MODEL` names, or the one that is compiled in. Skipped, visibly, without a C compiler for this target.
//! `ATTAR_WRITE_EXPECTED=1` writes the example's output into its README, after a new bundle.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const HEADER: &str = include_str!("../include/attar.h");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file that cargo built beside this test.
fn built(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let found = exe.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not beside {}", exe.display()))
}

/// Whether `cc` is there and makes programs for this target.
fn have_compiler() -> bool {
    let machine = Command::new("cc").arg("-dumpmachine").output();
    let machine = machine.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let fits = machine.starts_with(std::env::consts::ARCH) && cfg!(target_os = "linux");
    if !fits {
        println!("skipped: no cc for {} Linux (cc says {:?})", std::env::consts::ARCH, machine.trim());
    }
    fits
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

/// Builds a C program against the library and runs it in the workspace's root.
fn build_and_run(source: &Path, shared: bool, folder: &Path, arguments: &[&str]) -> String {
    let program = folder.join(if shared { "shared" } else { "static" });
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O1", "-g", "-I"]);
    cc.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include")).arg(source);
    if shared {
        let library = built("libattar_ffi.so");
        cc.arg(&library).arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
    } else {
        cc.arg(built("libattar_ffi.a")).args(["-lpthread", "-ldl", "-Wl,-z,noexecstack"]);
    }
    run(cc.arg("-lm").arg("-o").arg(&program));
    let mut command = Command::new(&program);
    command.current_dir(root()).args(arguments);
    if let Some(model) = std::env::var_os("ATTAR_MODEL") {
        command.arg(std::path::absolute(model).unwrap());
    }
    let output = run(&mut command);
    assert!(output.stderr.is_empty(), "the library printed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn misuse_gives_codes_and_never_a_crash() {
    if !have_compiler() {
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/misuse.c");
    for shared in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let output = build_and_run(&source, shared, folder.path(), &[folder.path().to_str().unwrap()]);
        assert!(output.starts_with("misuse: ") && output.ends_with(" claims hold\n"), "{output}");
    }
}

#[test]
fn the_c_example_scores_and_asks_as_its_readme_says() {
    if !have_compiler() {
        return;
    }
    let source = root().join("examples/c/attar_example.c");
    let folder = tempfile::tempdir().unwrap();
    let from_static = build_and_run(&source, false, folder.path(), &["examples/docs"]);
    let from_shared = build_and_run(&source, true, folder.path(), &["examples/docs"]);
    assert_eq!(from_static, from_shared);
    if std::env::var_os("ATTAR_MODEL").is_some() {
        println!("skipped: the output in the README is that of the default bundle");
        return;
    }
    let path = root().join("examples/c/README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("```text\n").unwrap();
    let (expected, after) = rest.split_once("```").unwrap();
    if std::env::var_os("ATTAR_WRITE_EXPECTED").is_some() {
        std::fs::write(path, format!("{before}```text\n{from_static}```{after}")).unwrap();
        return;
    }
    assert_eq!(words(&from_static), words(expected), "{from_static}");
}

/// The text without its numbers, whose last digit depends on the kernel.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().filter(|word| word.parse::<f32>().is_err()).collect()
}

/// The functions that the header declares, without those of features that are off.
fn declared() -> BTreeSet<String> {
    let header = match HEADER.split_once("builds with the feature \"library\"") {
        Some((before, _)) if !cfg!(feature = "library") => before,
        _ => HEADER,
    };
    let mut names = BTreeSet::new();
    for line in header.lines().filter(|line| !line.starts_with([' ', '/', '#', '*']) && line.contains('(')) {
        let before = line.split('(').next().unwrap();
        let name = before.rsplit([' ', '*']).next().unwrap();
        if name.starts_with("attar_") && !line.starts_with("static") && !line.starts_with("typedef") {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn the_shared_library_exports_exactly_what_the_header_declares() {
    let declared = declared();
    assert!(declared.contains("attar_model_from_memory") && declared.len() >= 16, "{declared:?}");
    // The host's nm reads the host's libraries.
    if !have_compiler() {
        return;
    }
    let nm = Command::new("nm").args(["-D", "--defined-only", "-j"]).arg(built("libattar_ffi.so")).output();
    let Ok(nm) = nm else {
        println!("skipped: no nm");
        return;
    };
    assert!(nm.status.success(), "nm: {}", String::from_utf8_lossy(&nm.stderr));
    let mut exported: BTreeSet<String> = String::from_utf8(nm.stdout).unwrap().lines().map(str::to_owned).collect();
    if cfg!(feature = "jni") {
        exported.retain(|name| !name.starts_with("Java_dev_attar_Native_"));
    }
    assert_eq!(exported, declared);
}

#[test]
fn the_header_is_valid_c99_and_cpp11() {
    if !have_compiler() {
        return;
    }
    for (language, standard) in [("c", "c99"), ("c++", "c++11")] {
        let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/attar.h");
        let compiler = if language == "c" { "cc" } else { "c++" };
        if Command::new(compiler).arg("--version").output().is_err() {
            println!("skipped: no {compiler}");
            continue;
        }
        let mut command = Command::new(compiler);
        command.args([
            "-x",
            language,
            &format!("-std={standard}"),
            "-Wall",
            "-Wextra",
            "-pedantic",
            "-Werror",
            "-fsyntax-only",
        ]);
        run(command.arg(header));
    }
}
