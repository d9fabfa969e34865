//! Moving a verified file to where the other commands look for it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::hub::Sibling;
use super::record::FetchedFile;
use super::verify;
use crate::error::{Error, ErrorKind, Result};
use crate::files;

/// Moves a file into place and says what it is now.
///
/// An encoder's `tokenizer.json` loses its truncation and padding: the published ones cut every text to 128 tokens,
/// which a student folder must not (ARCHITECTURE.md).
pub(super) fn place(root: &Path, path: &str, source: &Sibling, arrived: &Path) -> Result<FetchedFile> {
    let target = root.join(path);
    if let Some(parent) = target.parent() {
        files::create_folder(parent)?;
    }
    let mut published = None;
    if source.path == "tokenizer.json" {
        let json = fs::read(arrived).map_err(|e| Error::io(arrived, "read", e))?;
        let mut tokenizer: Value = serde_json::from_slice(&json).map_err(|e| {
            Error::new(ErrorKind::Data, format!("{path}: not JSON although its checksum is right: {e}"))
        })?;
        if tokenizer.get("truncation").is_some_and(|v| !v.is_null())
            || tokenizer.get("padding").is_some_and(|v| !v.is_null())
        {
            tokenizer["truncation"] = Value::Null;
            tokenizer["padding"] = Value::Null;
            published = Some(verify::sums(arrived)?.sha256);
            let changed = serde_json::to_vec(&tokenizer).map_err(|e| Error::model(path, e))?;
            files::write_whole(&target, |w| w.write_all(&changed))?;
        }
    }
    if published.is_none() {
        fs::rename(arrived, &target).map_err(|e| Error::io(&target, "rename into place", e))?;
    }
    let sums = verify::sums(&target)?;
    Ok(FetchedFile { path: path.to_owned(), size: sums.size, sha256: sums.sha256, published_sha256: published })
}
