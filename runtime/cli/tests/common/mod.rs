//! A tiny bundle, a folder of documents, and the built program.
#![allow(clippy::unwrap_used, dead_code)]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use attar_bundle::{Architecture, Contents, Element, Encoder, Head, TokenizerConfig, Weights};

/// A multiple of 48, so that no packed weight has padding.
const WIDTH: usize = 48;
pub const POSITIONS: usize = 64;

fn vocabulary() -> Vec<String> {
    let mut tokens: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(String::from).into();
    for c in ('a'..='z').chain('0'..='9') {
        tokens.push(c.to_string());
        tokens.push(format!("##{c}"));
    }
    tokens.extend(".,?!-:;'\"()".chars().map(String::from));
    tokens.extend(["the", "is", "lamp", "pump", "garden", "bread"].map(String::from));
    tokens
}

/// A one-layer BERT with small weights that differ: its scores mean nothing, but are always the same.
pub fn tiny_bundle() -> Vec<u8> {
    let tables = attar_tokenizer::build_tables(&vocabulary(), "##").unwrap();
    let head = |name: &str, labels: &[&str]| Head {
        name: name.into(),
        labels: labels.iter().map(|l| (*l).to_owned()).collect(),
        copies: 1,
        layers: 1,
        temperature: 1.5,
    };
    let contents = Contents {
        architecture: Architecture {
            kind: "bert".into(),
            layers: 1,
            hidden: WIDTH,
            heads: 4,
            intermediate: WIDTH,
            vocabulary: vocabulary().len(),
            positions: POSITIONS,
            types: 2,
            layer_norm_eps: 1e-12,
        },
        weights: Weights::F32,
        precision: attar_bundle::Precision::default(),
        heads: vec![
            head("nli", &["entailment", "neutral", "contradiction"]),
            head("relevance", &["not_relevant", "relevant"]),
        ],
        head_widths: vec![vec![], vec![]],
        tokenizer: TokenizerConfig {
            kind: "wordpiece".into(),
            lowercase: true,
            strip_accents: true,
            chinese_characters: true,
            max_word_chars: 100,
            unk: 1,
            cls: 2,
            sep: 3,
            pad: 0,
            continuation: "##".into(),
        },
        vocabulary_bytes: tables.bytes.len(),
        vocabulary_table: tables.table.len(),
        provenance: r#"{"student":"tiny","teachers":["none"]}"#.into(),
        quantization: None,
    };
    let mut encoder = Encoder::new(Vec::new(), &contents).unwrap();
    let mut seed = 7_u32;
    while let Some(spec) = encoder.next_tensor().cloned() {
        let words = |values: &[u32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let bytes = match spec.name.as_str() {
            "tokenizer.bytes" => tables.bytes.clone(),
            "tokenizer.offsets" => words(&tables.offsets),
            "tokenizer.table" => words(&tables.table),
            name => {
                assert_eq!(spec.element, Element::F32, "{name}");
                let elements: usize = spec.shape.iter().product();
                let next = |_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let unit = f64::from(seed >> 8) / f64::from(1 << 24) - 0.5;
                    let value = if name.contains("norm.weight") { 1.0 + 0.1 * unit } else { unit };
                    (value as f32).to_le_bytes()
                };
                (0..elements).flat_map(next).collect()
            }
        };
        encoder.tensor(&spec.name, &bytes).unwrap();
    }
    encoder.finish().unwrap().0
}

/// A folder with a bundle in it, and documents if asked for.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(home.bundle(), tiny_bundle()).unwrap();
        home
    }

    pub fn with_documents() -> Self {
        let home = Self::new();
        home.write("docs/lamp.md", "# Lamps\n\nThe lamp is red. It blinks twice.\n");
        home.write("docs/pump.html", "<title>Pump</title>\n<p>The pump hums &amp; drips.</p>");
        home.write("docs/bread.txt", "Bread needs salt and a lamp.\n");
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn bundle(&self) -> PathBuf {
        self.path("tiny.attar")
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    /// The program, run in this folder with its bundle.
    pub fn attar<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        self.run_with_input(args, b"")
    }

    pub fn run_with_input<S: AsRef<OsStr>>(&self, args: &[S], input: &[u8]) -> Run {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // The program may end before it has read its input.
        let _ = child.stdin.take().unwrap().write_all(input);
        Run(child.wait_with_output().unwrap())
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = program(self.dir.path());
        command.args(args).env("ATTAR_MODEL", self.bundle());
        command
    }
}

/// The program without a bundle in its environment.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attar"));
    command
        .current_dir(folder)
        .env_remove("ATTAR_MODEL")
        .env_remove("ATTAR_KERNEL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub struct Run(pub Output);

impl Run {
    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Exit code 0 and nothing on stderr.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!((self.code(), self.err().as_str()), (Some(0), ""), "stdout: {}", self.out());
        self
    }

    /// Exit code 2, nothing on stdout, and a message of one line with `part` in it.
    #[track_caller]
    pub fn fails_with(&self, part: &str) {
        let err = self.err();
        assert_eq!(self.code(), Some(2), "stderr: {err}");
        assert_eq!(self.out(), "");
        assert!(err.starts_with("attar: ") || err.starts_with("error: "), "{err}");
        assert!(err.contains(part), "expected {part:?} in: {err}");
        assert!(!err.contains("panicked"), "{err}");
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", self.out(), self.err()))
    }

    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
