//! What can be asked for: a preset's name, or a repository.

use std::path::{Component, Path};
use std::str::FromStr;

use super::hub::{Listing, Sibling};
use crate::error::{Error, ErrorKind, Result};

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pretrained encoder; it goes below `--encoders`.
    Encoder,
    /// A data set; it goes below `--data`.
    Data,
}

/// A name for a part of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name, and the folder it is put into.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its repository.
    pub repository: &'static str,
    /// The folder inside, empty for all of it.
    pub folder: &'static str,
    /// SHA-256 of `model.safetensors`, where it is known beforehand.
    pub weights: Option<&'static str>,
    /// A line about it.
    pub about: &'static str,
}

/// The presets.
pub const PRESETS: &[Preset] = &[
    data("mnli", "nyu-mll/glue", "mnli", "MultiNLI as GLUE has it: premise, hypothesis, 3 classes"),
    data("qnli", "nyu-mll/glue", "qnli", "QNLI: question, sentence, 2 classes"),
    data("rte", "nyu-mll/glue", "rte", "RTE: sentence1, sentence2, 2 classes"),
    data("snli", "stanfordnlp/snli", "plain_text", "SNLI 1.0: premise, hypothesis, 3 classes"),
    Preset {
        weights: Some("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ..encoder("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "6 x 384, 22.7M parameters, Apache-2.0")
    },
    Preset {
        weights: Some("78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"),
        ..encoder(
            "all-mpnet-base-v2",
            "sentence-transformers/all-mpnet-base-v2",
            "12 x 768, 109.5M parameters, Apache-2.0",
        )
    },
    encoder("bert-base-uncased", "google-bert/bert-base-uncased", "12 x 768, 109.5M parameters, Apache-2.0"),
];

const fn data(name: &'static str, repository: &'static str, folder: &'static str, about: &'static str) -> Preset {
    Preset { name, kind: Kind::Data, repository, folder, weights: None, about }
}

const fn encoder(name: &'static str, repository: &'static str, about: &'static str) -> Preset {
    Preset { name, kind: Kind::Encoder, repository, folder: "", weights: None, about }
}

/// The files of an encoder that are used.
const ENCODER_FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];
/// The endings of files that are read as data.
const DATA_ENDINGS: [&str; 4] = [".parquet", ".jsonl", ".tsv", ".zst"];
/// The card, with the licence.
const CARD: &str = "README.md";

/// A part of a repository at a revision, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The folder that it is put into, below `--encoders` or `--data`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// `owner/name` on the hub.
    pub repository: String,
    /// The folder inside, empty for all of it.
    pub folder: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// SHA-256 of `model.safetensors`, where it is known beforehand.
    pub weights: Option<String>,
}

impl FromStr for Request {
    type Err = Error;

    /// `PRESET`, `owner/name` (an encoder) or `datasets/owner/name[/folder]`, each with `@revision` or without.
    fn from_str(text: &str) -> Result<Self> {
        let (what, revision) = text.split_once('@').unwrap_or((text, "main"));
        let bad = || {
            let names: Vec<&str> = PRESETS.iter().map(|p| p.name).collect();
            Error::config(format!(
                "{text:?}, expected {}, an encoder's owner/name, or datasets/owner/name[/folder], each optionally with \
                 @revision",
                names.join(", ")
            ))
        };
        if revision.is_empty() {
            return Err(bad());
        }
        if let Some(preset) = PRESETS.iter().find(|p| p.name.eq_ignore_ascii_case(what)) {
            return Ok(Self {
                name: preset.name.to_owned(),
                kind: preset.kind,
                repository: preset.repository.to_owned(),
                folder: preset.folder.to_owned(),
                revision: revision.to_owned(),
                weights: preset.weights.filter(|_| revision == "main").map(str::to_owned),
            });
        }
        let (kind, path) = match what.strip_prefix("datasets/") {
            Some(path) => (Kind::Data, path),
            None => (Kind::Encoder, what),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let plain = |part: &&str| {
            !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
        };
        if parts.len() < 2 || (kind == Kind::Encoder && parts.len() > 2) || !parts.iter().all(plain) {
            return Err(bad());
        }
        Ok(Self {
            name: parts[parts.len() - 1].to_owned(),
            kind,
            repository: parts[..2].join("/"),
            folder: parts[2..].join("/"),
            revision: revision.to_owned(),
            weights: None,
        })
    }
}

impl Request {
    /// The files that are fetched, of those that a repository has.
    ///
    /// # Errors
    /// When it lacks what is needed; the message lists what it has.
    pub(super) fn choose<'a>(&self, listing: &'a Listing) -> Result<Vec<&'a Sibling>> {
        let inside = |path: &'a str| match self.folder.as_str() {
            "" => Some(path),
            folder => path.strip_prefix(folder)?.strip_prefix('/'),
        };
        let chosen: Vec<&Sibling> = match self.kind {
            Kind::Encoder => {
                let wanted = |file: &&Sibling| ENCODER_FILES.contains(&file.path.as_str()) || file.path == CARD;
                listing.files.iter().filter(wanted).collect()
            }
            Kind::Data => {
                let is_data = |path: &str| DATA_ENDINGS.iter().any(|ending| path.ends_with(ending));
                listing.files.iter().filter(|f| f.path == CARD || inside(&f.path).is_some_and(is_data)).collect()
            }
        };
        let lacking: Vec<&str> = match self.kind {
            Kind::Encoder => ENCODER_FILES.into_iter().filter(|n| !chosen.iter().any(|f| f.path == *n)).collect(),
            Kind::Data if chosen.iter().all(|file| file.path == CARD) => vec!["any .parquet, .jsonl or .tsv file"],
            Kind::Data => Vec::new(),
        };
        if lacking.is_empty() {
            return Ok(chosen);
        }
        let has: Vec<&str> = listing.files.iter().take(20).map(|f| f.path.as_str()).collect();
        let place = if self.folder.is_empty() { String::new() } else { format!(", folder {}", self.folder) };
        Err(Error::new(
            ErrorKind::Data,
            format!(
                "{}{place} at {} has no {}; it has {}",
                self.repository,
                self.revision,
                lacking.join(", "),
                has.join(", ")
            ),
        ))
    }

    /// Where a file of the repository is put, below the root.
    ///
    /// # Errors
    /// When its name would lead out of the folder.
    pub(super) fn place(&self, path: &str) -> Result<String> {
        let inside = path.strip_prefix(&self.folder).map_or(path, |rest| rest.trim_start_matches('/'));
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if inside.is_empty() || !Path::new(path).components().all(plain) || path.contains('\\') {
            return Err(Error::new(
                ErrorKind::Data,
                format!("{}: a file is called {path:?}; refused", self.repository),
            ));
        }
        Ok(format!("{}/{inside}", self.name))
    }

    /// What is needed, for somebody who has to bring it by hand.
    pub(super) fn needs(&self) -> String {
        match self.kind {
            Kind::Encoder => ENCODER_FILES.join(", "),
            Kind::Data if self.folder.is_empty() => "its data files (.parquet, .jsonl or .tsv)".to_owned(),
            Kind::Data => format!("the .parquet files in its folder {}", self.folder),
        }
    }
}
