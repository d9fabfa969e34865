//! What a path names, and files that are either whole or absent.

mod archive;

use std::fs::{self, File, TryLockError};
use std::io::{BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Opens a text file for reading, decompressing it when its name ends in `.zst`. `ARCHIVE.zip/MEMBER` is a member of a
/// zip archive.
///
/// # Errors
/// When the file is missing, unreadable, or not a Zstandard stream although named so; when an archive is damaged, has no
/// such member, or unpacks to an implausible size.
pub fn open(path: &Path) -> Result<Box<dyn Read>> {
    if let Some((archive, member)) = archive::split(path) {
        return Ok(Box::new(Cursor::new(archive::read(&archive, &member)?)));
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip")) && path.is_file() {
        return Err(archive::needs_member(path));
    }
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
    let temporary = temporary_name(path);
    let file = File::create(&temporary).map_err(|e| Error::io(&temporary, "create", e))?;
    let mut writer = BufWriter::new(file);
    let written = write(&mut writer)
        .and_then(|()| writer.flush())
        .map_err(|e| Error::io(&temporary, "write", e))
        .and_then(|()| Ok(attar_nn::finish(&temporary, path)?));
    if written.is_err() {
        // What is left of it is of no use; that it cannot be removed either changes nothing.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Keeps other processes from an output folder as long as the file is held; `what` says in the error what they work on.
///
/// # Errors
/// A configuration error while another process has the folder; as [`try_lock`].
pub fn lock_folder(folder: &Path, what: &str) -> Result<File> {
    let path = folder.join("lock");
    try_lock(&path)?.ok_or_else(|| {
        let place = path.display();
        Error::config(format!("{place}: another process works on this {what}; wait for it, or choose another output"))
    })
}

/// Takes a lock that the system takes back when the process ends, however it ends; `None` while another has it. The file stays.
///
/// # Errors
/// When the file cannot be made.
pub fn try_lock(path: &Path) -> Result<Option<File>> {
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    let file = File::create(path).map_err(|e| Error::io(path, "create", e))?;
    // A program that another thread is just starting has the file open too, for a moment.
    for _ in 0..20 {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(25)),
            // Some network file systems have no locks: there, nobody is kept from anything.
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => return Ok(Some(file)),
            Err(TryLockError::Error(e)) => return Err(Error::io(path, "lock", e)),
        }
    }
    Ok(None)
}

/// A name beside the file that no other writer uses, be it in this process, in another or on another machine.
fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos());
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{:x}-{time:x}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

/// The files that a path names: itself, or in the order of their names all that match it where it has `*`, `?` or `[` and
/// no file is called that.
///
/// # Errors
/// When the pattern is malformed or nothing matches it.
pub fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    let text = path.to_string_lossy();
    if !text.contains(['*', '?', '[']) || path.exists() {
        return Ok(vec![path.to_owned()]);
    }
    let bad = |what: String| Error::new(ErrorKind::Io, format!("{text}: {what}"));
    let matches = glob::glob(&text).map_err(|e| bad(format!("not a pattern: {e}")))?;
    let mut files: Vec<PathBuf> = matches.filter_map(|found| found.ok().filter(|p| p.is_file())).collect();
    files.sort();
    if files.is_empty() {
        return Err(bad("no file matches this pattern".to_owned()));
    }
    Ok(files)
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

#[cfg(test)]
mod tests;
