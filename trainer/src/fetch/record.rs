//! `fetched.toml`: what was fetched into a folder, from which commit.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::files;

const NAME: &str = "fetched.toml";

/// All that was fetched into a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// One entry a name.
    #[serde(default)]
    pub fetched: Vec<Fetched>,
}

/// One fetched encoder or data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetched {
    /// Its folder.
    pub name: String,
    /// Its repository on the hub.
    pub repository: String,
    /// The folder inside that repository, empty for all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit that it was.
    pub commit: String,
    /// The files.
    pub files: Vec<FetchedFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchedFile {
    /// Where it is, relative to `fetched.toml`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 as it lies there.
    pub sha256: String,
    /// SHA-256 as it was published, where it was changed after that (a tokenizer without truncation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_sha256: Option<String>,
}

impl Record {
    /// Reads the record of a folder; an empty one where there is none.
    ///
    /// # Errors
    /// When it cannot be read or is not such a record.
    pub fn read(root: &Path) -> Result<Self> {
        let path = Self::path(root);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|e| {
                let message = format!("{}: {e}; correct it, or remove it to fetch all again", path.display());
                Error::new(ErrorKind::Data, message)
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Error::io(&path, "read", e)),
        }
    }

    pub(super) fn path(root: &Path) -> PathBuf {
        root.join(NAME)
    }

    /// The entry of a name.
    pub fn find(&self, name: &str) -> Option<&Fetched> {
        self.fetched.iter().find(|fetched| fetched.name == name)
    }

    pub(super) fn set(&mut self, fetched: Fetched) {
        self.fetched.retain(|other| other.name != fetched.name);
        self.fetched.push(fetched);
        self.fetched.sort_by(|a, b| a.name.cmp(&b.name));
    }

    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|e| Error::model(NAME, e))?;
        files::write_whole(&Self::path(root), |w| {
            writeln!(w, "# Written by `attar-train fetch`: which commits of which repositories lie here.\n")?;
            w.write_all(text.as_bytes())
        })
    }
}
