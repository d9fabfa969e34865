//! Where a bundle's bytes live. The only `unsafe` of this crate maps a file.

use std::fs::File;
use std::path::Path;

use attar_bundle::ALIGNMENT;
use memmap2::Mmap;

use crate::error::{Error, ErrorKind, Result};

/// A bundle's bytes, which outlive every view of them.
pub(crate) enum Memory {
    /// A file, mapped read-only.
    Map(Mmap),
    /// Part of the executable, or leaked.
    Static(&'static [u8]),
    /// Bytes that somebody gave away.
    Owned(Box<dyn AsRef<[u8]> + Send + Sync>),
    /// A copy that begins on a 64-byte boundary, `offset` bytes into the buffer.
    Copy { buffer: Vec<u8>, offset: usize, len: usize },
}

impl Memory {
    pub(crate) fn map(path: &Path) -> Result<Memory> {
        let io = |e: std::io::Error| Error::with_source(ErrorKind::Io, format!("{}: {e}", path.display()), e);
        // A folder opens on Unix and fails in mmap with a puzzling "No such device"; to open a pipe is to wait for its writer.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(Error::new(ErrorKind::Io, format!("{}: not a regular file", path.display())));
        }
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is read-only and private to this process's view; nothing here writes to it. What `Mmap::map` asks
        // of its caller is that nobody truncates or changes the file meanwhile, which no program can enforce: `Model::open`
        // states it as its caller's duty. Bundles are replaced by rename (`attar_bundle::AtomicFile`), which leaves the old
        // file's pages alone. Contents that change behind our back can give wrong numbers, but no access out of bounds:
        // ranges and ids come from memory of our own, and every lookup in the mapped vocabulary is bounds-checked.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Memory::Map(map))
    }

    /// Bytes that begin on a 4-byte boundary are used where they are, others are copied once.
    pub(crate) fn aligned(self) -> Memory {
        let bytes = self.bytes();
        if bytes.as_ptr().align_offset(4) == 0 {
            return self;
        }
        let mut buffer = vec![0; bytes.len() + ALIGNMENT];
        let offset = buffer.as_ptr().align_offset(ALIGNMENT);
        let len = bytes.len();
        buffer[offset..offset + len].copy_from_slice(bytes);
        Memory::Copy { buffer, offset, len }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Memory::Map(map) => map,
            Memory::Static(bytes) => bytes,
            Memory::Owned(bytes) => (**bytes).as_ref(),
            Memory::Copy { buffer, offset, len } => &buffer[*offset..offset + len],
        }
    }

    pub(crate) fn is_copy(&self) -> bool {
        matches!(self, Memory::Copy { .. })
    }
}
