//! Whether a file is the one that the hub states.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::hub::Sibling;
use super::record::FetchedFile;
use super::request::Request;
use crate::error::{Error, Result};
use crate::hash::hex;

/// What a file must be.
pub(super) struct Expected {
    size: Option<u64>,
    checksum: Checksum,
    /// A checksum that this program knows itself.
    known: Option<String>,
}

enum Checksum {
    /// Of the bytes: large files.
    Sha256(String),
    /// Of `blob SIZE\0` and the bytes, as git names them: small files.
    GitSha1(String),
}

impl Expected {
    /// What the hub's listing says of a file; where it says nothing (some mirrors), the ETag, after which the downloaded
    /// file is named: it is the same checksum. `None` if that is none either.
    pub(super) fn new(request: &Request, file: &Sibling, downloaded: &Path) -> Option<Self> {
        let listed = match (&file.lfs, &file.blob_id) {
            (Some(lfs), _) => Checksum::of(&lfs.sha256),
            (None, Some(id)) => Checksum::of(id),
            (None, None) => None,
        };
        let checksum = listed.or_else(|| Checksum::of(downloaded.file_name()?.to_str()?))?;
        let known = request.weights.clone().filter(|_| file.path == "model.safetensors");
        Some(Self { size: file.size, checksum, known })
    }
}

impl Checksum {
    fn of(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        match (text.len(), text.bytes().all(|b| b.is_ascii_hexdigit())) {
            (64, true) => Some(Self::Sha256(text)),
            (40, true) => Some(Self::GitSha1(text)),
            _ => None,
        }
    }
}

/// `None` if the file is what is expected, else what it is instead.
///
/// # Errors
/// When it cannot be read.
pub(super) fn check(path: &Path, expected: &Expected) -> Result<Option<String>> {
    let sums = sums(path)?;
    if let Some(size) = expected.size.filter(|&size| size != sums.size) {
        return Ok(Some(format!("{} bytes arrived, expected {size}", sums.size)));
    }
    let (name, found, wanted) = match &expected.checksum {
        Checksum::Sha256(wanted) => ("SHA-256", &sums.sha256, wanted),
        Checksum::GitSha1(wanted) => ("git SHA-1", &sums.git_sha1, wanted),
    };
    if found != wanted {
        return Ok(Some(format!("arrived with {name} {found}, expected {wanted}")));
    }
    if let Some(known) = expected.known.as_ref().filter(|&known| *known != sums.sha256) {
        return Ok(Some(format!("the weights have SHA-256 {}, but those of this name have {known}", sums.sha256)));
    }
    Ok(None)
}

/// Whether a recorded file is there, whole and unchanged.
pub(super) fn is_placed(root: &Path, file: &FetchedFile) -> bool {
    let path = root.join(&file.path);
    path.metadata().is_ok_and(|m| m.len() == file.size) && sums(&path).is_ok_and(|sums| sums.sha256 == file.sha256)
}

/// Size and checksums of a file.
pub(super) struct Sums {
    pub(super) size: u64,
    pub(super) sha256: String,
    git_sha1: String,
}

pub(super) fn sums(path: &Path) -> Result<Sums> {
    let mut file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
    let size = file.metadata().map_err(|e| Error::io(path, "read", e))?.len();
    let (mut sha256, mut sha1) = (Sha256::new(), Sha1::new());
    sha1.update(format!("blob {size}\0"));
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(|e| Error::io(path, "read", e))?;
        if read == 0 {
            break;
        }
        sha256.update(&buffer[..read]);
        sha1.update(&buffer[..read]);
    }
    Ok(Sums { size, sha256: hex(&sha256.finalize()), git_sha1: hex(&sha1.finalize()) })
}
