//! The example prints what its README says. `ATTAR_WRITE_EXPECTED=1` writes the output there, after a new bundle.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

#[test]
fn the_example_prints_what_its_readme_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_attar-example-rust"));
    let output = program.arg("examples/docs").current_dir(folder.join("../..")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let printed = String::from_utf8(output.stdout).unwrap();

    let path = folder.join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("```text\n").unwrap();
    let (expected, after) = rest.split_once("```").unwrap();
    if std::env::var_os("ATTAR_WRITE_EXPECTED").is_some() {
        std::fs::write(path, format!("{before}```text\n{printed}```{after}")).unwrap();
        return;
    }
    // Without the numbers, whose last digit depends on the processor's kernel.
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace().filter(|word| word.parse::<f32>().is_err()).map(str::to_owned).collect()
    };
    assert_eq!(words(&printed), words(expected), "{printed}");
}
