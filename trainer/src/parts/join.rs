//! Putting together.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{Manifest, Part};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::hash::hex;

/// How many missing parts an error lists.
const LISTED: usize = 20;

/// Puts the parts of a manifest together below `output`; they lie beside the manifest. Nothing is written before every
/// part is there and right.
///
/// # Errors
/// When parts are missing (all are listed) or one is damaged (it is named), or a file cannot be written.
pub fn join(manifest_path: &Path, output: &Path) -> Result<Manifest> {
    let manifest = Manifest::read(manifest_path)?;
    let folder = manifest_path.parent().unwrap_or(Path::new(""));
    let missing: Vec<&str> =
        manifest.parts.iter().map(|part| part.name.as_str()).filter(|name| !folder.join(name).is_file()).collect();
    if !missing.is_empty() {
        let more = missing.len().saturating_sub(LISTED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(Error::new(
            ErrorKind::Io,
            format!(
                "{}: {} of {} parts are missing: {}{rest}; transfer them",
                manifest_path.display(),
                missing.len(),
                manifest.parts.len(),
                missing[..missing.len() - more].join(", ")
            ),
        ));
    }
    manifest.parts.iter().try_for_each(|part| check(folder, part))?;
    let paths: Vec<PathBuf> = manifest.parts.iter().map(|part| folder.join(&part.name)).collect();
    let mut bytes = Chain { paths: &paths, open: None };
    for file in &manifest.files {
        let path = output.join(&file.path);
        let mut hasher = Sha256::new();
        let mut left = file.size;
        let mut buffer = vec![0u8; 1 << 20];
        files::write_whole(&path, |w: &mut dyn Write| {
            while left > 0 {
                let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let read = bytes.read(&mut buffer[..room])?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                hasher.update(&buffer[..read]);
                w.write_all(&buffer[..read])?;
                left -= read as u64;
            }
            let found = hex(&hasher.finalize_reset());
            if found != file.sha256 {
                return Err(io::Error::other(format!("SHA-256 {found}, expected {}; split it again", file.sha256)));
            }
            Ok(())
        })?;
    }
    Ok(manifest)
}

fn check(folder: &Path, part: &Part) -> Result<()> {
    let path = folder.join(&part.name);
    let mut hasher = Sha256::new();
    let mut file = File::open(&path).map_err(|e| Error::io(&path, "open", e))?;
    let size = io::copy(&mut file, &mut HashWriter(&mut hasher)).map_err(|e| Error::io(&path, "read", e))?;
    let damaged = |what: String| Error::new(ErrorKind::Data, format!("{}: {what}; transfer it again", path.display()));
    if size != part.size {
        return Err(damaged(format!("damaged part: {size} bytes, expected {}", part.size)));
    }
    let found = hex(&hasher.finalize());
    if found != part.sha256 {
        return Err(damaged(format!("damaged part: SHA-256 {found}, expected {}", part.sha256)));
    }
    Ok(())
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of files, one after the other, with one open at a time.
struct Chain<'a> {
    paths: &'a [PathBuf],
    open: Option<File>,
}

impl Read for Chain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.open {
                let read = file.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                self.open = None;
            }
            let Some((first, rest)) = self.paths.split_first() else { return Ok(0) };
            self.paths = rest;
            self.open = Some(File::open(first)?);
        }
    }
}
