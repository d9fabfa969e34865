//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file that is written under a temporary name beside its destination and renamed by [`AtomicFile::commit`]. Dropped
/// without that, it is removed, and what was at the destination stays.
#[derive(Debug)]
pub struct AtomicFile {
    writer: Option<BufWriter<File>>,
    temporary: PathBuf,
    destination: PathBuf,
}

impl AtomicFile {
    /// Creates the temporary file.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`], naming the path: the folder is missing, not writable, or the disk is full, or what is at the
    /// destination is no file (a device would be replaced by one).
    pub fn create(destination: &Path) -> Result<AtomicFile> {
        let Some(name) = destination.file_name() else {
            let e = io::Error::new(io::ErrorKind::InvalidInput, "not a file's name");
            return Err(Error::io(destination.display().to_string(), e));
        };
        if fs::metadata(destination).is_ok_and(|metadata| !metadata.is_file()) {
            let e = io::Error::new(io::ErrorKind::InvalidInput, "it is there and not a regular file");
            return Err(Error::io(destination.display().to_string(), e));
        }
        // The process id keeps two quantizers apart; `create_new` refuses to follow what somebody put there.
        let temporary = destination.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let _ = fs::remove_file(&temporary);
        let file = File::options().write(true).create_new(true).open(&temporary);
        let file = file.map_err(|e| Error::io(temporary.display().to_string(), e))?;
        Ok(AtomicFile { writer: Some(BufWriter::new(file)), temporary, destination: destination.into() })
    }

    /// The temporary file, to be looked at before it gets its name; flush first.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Brings everything to the disk and gives the file its name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`], naming the path.
    pub fn commit(mut self) -> Result<()> {
        let writer = self.writer.take().expect("only commit and drop take the writer, and both consume the file");
        let finish = |writer: BufWriter<File>| -> io::Result<()> {
            writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&self.temporary, &self.destination)
        };
        finish(writer).map_err(|e| Error::io(self.destination.display().to_string(), e))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.as_mut().map_or_else(|| Err(io::ErrorKind::BrokenPipe.into()), |w| w.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After a commit the temporary name is gone already; nothing else can be done about a failure here.
        drop(self.writer.take());
        let _ = fs::remove_file(&self.temporary);
    }
}
