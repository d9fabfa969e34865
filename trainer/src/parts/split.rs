//! Cutting.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{Manifest, Part, SourceFile};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::hash::hex;

/// Cuts a file or folder into parts of at most `part_size` bytes below `output`, and writes their manifest last. Returns
/// the manifest's path. The same input gives the same parts.
///
/// # Errors
/// When there is nothing to cut, or a file cannot be read or written.
pub fn split(input: &Path, output: &Path, part_size: u64) -> Result<(PathBuf, Manifest)> {
    let bad = |what: &str| Error::new(ErrorKind::Io, format!("{}: {what}", input.display()));
    let whole = fs::canonicalize(input).map_err(|e| Error::io(input, "find", e))?;
    let name = whole.file_name().and_then(|n| n.to_str()).ok_or_else(|| bad("its name is not UTF-8 text"))?.to_owned();
    let mut paths = Vec::new();
    walk(&whole, &mut paths)?;
    if paths.is_empty() {
        return Err(bad("no files in this folder"));
    }
    files::create_folder(output)?;
    let mut cutter = Cutter { output, name: &name, part_size, buffer: Vec::new(), parts: Vec::new() };
    let mut sources = Vec::new();
    for path in &paths {
        let inside = path.strip_prefix(whole.parent().unwrap_or(Path::new(""))).unwrap_or(path);
        let inside: Option<Vec<&str>> = inside.components().map(|c| c.as_os_str().to_str()).collect();
        let inside = inside.ok_or_else(|| bad("it holds a file whose name is not UTF-8 text"))?.join("/");
        let (size, sha256) = cutter.add(path)?;
        sources.push(SourceFile { path: inside, size, sha256 });
    }
    cutter.flush()?;
    let manifest = Manifest::new(sources, cutter.parts);
    let path = output.join(format!("{name}.parts.toml"));
    manifest.write(&path)?;
    Ok((path, manifest))
}

/// All files below a path, in the order of their names; unfinished ones are left out.
fn walk(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        found.push(path.to_owned());
        return Ok(());
    }
    let list = fs::read_dir(path).map_err(|e| Error::io(path, "list", e))?;
    let mut entries = list
        .map(|e| e.map(|e| e.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|e| Error::io(path, "list", e))?;
    entries.sort();
    entries.iter().filter(|entry| entry.extension().is_none_or(|e| e != "tmp")).try_for_each(|entry| walk(entry, found))
}

struct Cutter<'a> {
    output: &'a Path,
    name: &'a str,
    part_size: u64,
    buffer: Vec<u8>,
    parts: Vec<Part>,
}

impl Cutter<'_> {
    fn add(&mut self, path: &Path) -> Result<(u64, String)> {
        let mut file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let (mut size, mut hasher) = (0, Sha256::new());
        loop {
            let room = self.part_size - self.buffer.len() as u64;
            let before = self.buffer.len();
            let read = (&mut file).take(room).read_to_end(&mut self.buffer).map_err(|e| Error::io(path, "read", e))?;
            hasher.update(&self.buffer[before..]);
            size += read as u64;
            if (read as u64) < room {
                return Ok((size, hex(&hasher.finalize())));
            }
            self.flush()?;
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let name = format!("{}.part-{:05}", self.name, self.parts.len());
        files::write_whole(&self.output.join(&name), |w| w.write_all(&self.buffer))?;
        self.parts.push(Part { name, size: self.buffer.len() as u64, sha256: hex(&Sha256::digest(&self.buffer)) });
        self.buffer.clear();
        Ok(())
    }
}
