//! `NAME.parts.toml`: which parts there are and what they make.

use std::fs;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::files;

const FORMAT: u32 = 1;

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// The files, in the order in which their bytes follow one another.
    pub files: Vec<SourceFile>,
    /// The parts, in order.
    pub parts: Vec<Part>,
}

/// A file that was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Where it belongs, relative to the folder that is joined into.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its file, beside the manifest.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: String,
}

impl Manifest {
    pub(super) fn new(files: Vec<SourceFile>, parts: Vec<Part>) -> Self {
        Self { format: FORMAT, files, parts }
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// When it cannot be read, is of another version, names a file outside its folder, or the sizes of files and parts
    /// differ.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |what: String| Error::new(ErrorKind::Data, format!("{}: {what}; transfer it again", path.display()));
        let text = fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?;
        let manifest: Self = toml::from_str(&text).map_err(|e| bad(format!("not a manifest of parts: {e}")))?;
        if manifest.format != FORMAT {
            return Err(bad(format!("format {}, expected {FORMAT}", manifest.format)));
        }
        let names = manifest.files.iter().map(|f| &f.path).chain(manifest.parts.iter().map(|p| &p.name));
        if let Some(name) = names.into_iter().find(|name| !stays_inside(name)) {
            return Err(bad(format!("the name {name:?} leads out of the folder")));
        }
        // Sizes are claims: they are added with care.
        let files = manifest.files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.size));
        let parts = manifest.parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.size));
        if files.is_none() || files != parts {
            return Err(bad("the sizes of its files and of its parts differ".to_owned()));
        }
        Ok(manifest)
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|e| Error::model(path.display(), e))?;
        files::write_whole(path, |w| w.write_all(text.as_bytes()))
    }
}

fn stays_inside(name: &str) -> bool {
    !name.is_empty() && !name.contains('\\') && Path::new(name).components().all(|c| matches!(c, Component::Normal(_)))
}
