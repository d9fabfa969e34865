//! Content hashes that say what a stored result was made from (XXH3-64; not a protection against malice).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::files;

/// Collects labelled parts into one hash.
#[derive(Default)]
pub struct Fingerprint(Xxh3);

impl Fingerprint {
    /// An empty fingerprint.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a labelled part; lengths are hashed too, so that parts cannot run into one another.
    #[must_use]
    pub fn with(mut self, label: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.add(label, bytes.as_ref());
        self
    }

    /// Adds a labelled part in place.
    pub fn add(&mut self, label: &str, bytes: &[u8]) {
        for part in [label.as_bytes(), bytes] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// Sixteen hexadecimal digits.
    pub fn hex(&self) -> String {
        format!("{:016x}", self.0.digest())
    }
}

/// The hash of a file's bytes; of the bytes of all files that a pattern matches, or of a member of a zip archive.
///
/// # Errors
/// When the file cannot be read.
pub fn hash_file(path: &Path) -> Result<String> {
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0u8; 1 << 20];
    for path in files::expand(path)? {
        let mut file: Box<dyn Read> = if path.is_file() {
            Box::new(File::open(&path).map_err(|e| Error::io(&path, "open", e))?)
        } else {
            files::open(&path)?
        };
        loop {
            let read = file.read(&mut buffer).map_err(|e| Error::io(&path, "read", e))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
    }
    Ok(format!("{:016x}", hasher.digest()))
}

/// The hash of a model folder: its configuration, tokenizer, weights and heads.
///
/// # Errors
/// When `config.json`, `tokenizer.json` or `model.safetensors` is missing or unreadable.
pub fn hash_model(folder: &Path) -> Result<String> {
    let mut fingerprint = Fingerprint::new();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fingerprint.add(name, hash_file(&folder.join(name))?.as_bytes());
    }
    let heads = folder.join("attar.toml");
    if heads.exists() {
        fingerprint.add("attar.toml", hash_file(&heads)?.as_bytes());
    }
    Ok(fingerprint.hex())
}

/// XXH3-64 of a text.
pub fn hash_text(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
