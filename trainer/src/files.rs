//! Files that are either whole or absent.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Opens a text file for reading, decompressing it when its name ends in `.zst`.
///
/// # Errors
/// When the file is missing, unreadable, or not a Zstandard stream although named so.
pub fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
    if path.extension().is_some_and(|e| e == "zst") {
        let decoder = zstd::Decoder::new(file).map_err(|e| Error::io(path, "decompress", e))?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(BufReader::new(file)))
}

/// Writes a file under a temporary name and renames it, so that a reader never sees half of it.
///
/// # Errors
/// When the folder cannot be made, or the file cannot be written or renamed.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let file = File::create(&temporary).map_err(|e| Error::io(&temporary, "create", e))?;
    let mut writer = BufWriter::new(file);
    write(&mut writer)
        .and_then(|()| writer.flush())
        .and_then(|()| writer.get_ref().sync_all())
        .map_err(|e| Error::io(&temporary, "write", e))?;
    fs::rename(&temporary, path).map_err(|e| Error::io(path, "rename into place", e))
}

/// Makes a folder and its parents.
///
/// # Errors
/// When that fails.
pub fn create_folder(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(|e| Error::io(path, "create folder", e))
}

/// `path` if absolute, else below `root`; and the same with `.zst` appended when only that file exists.
pub fn resolve(root: &Path, path: &Path) -> PathBuf {
    let plain = root.join(path);
    if !plain.exists() {
        let mut compressed = plain.clone().into_os_string();
        compressed.push(".zst");
        let compressed = PathBuf::from(compressed);
        if compressed.exists() {
            return compressed;
        }
    }
    plain
}
