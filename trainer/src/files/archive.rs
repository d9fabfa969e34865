//! Members of zip archives: `MNLI.zip/MNLI/train.tsv` is `MNLI/train.tsv` inside `MNLI.zip`.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;

use crate::error::{Error, ErrorKind, Result};

/// A member that unpacks to more than this is refused: MultiNLI's and SNLI's own are below 0.5 GB.
const MAX_BYTES: u64 = 4 << 30;
/// Text shrinks five- to tenfold. A larger member that shrinks more than this is made to fill memory.
const MAX_RATIO: u64 = 100;
/// Members up to this size may shrink by any factor.
const ANY_RATIO_BYTES: u64 = 16 << 20;
/// How many members an error lists.
const LISTED: usize = 20;

/// The archive and the name inside it, if a folder of the path is in truth a zip file.
pub(super) fn split(path: &Path) -> Option<(PathBuf, String)> {
    let archive = path
        .ancestors()
        .skip(1)
        .find(|p| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip")) && p.is_file())?;
    let inside = path.strip_prefix(archive).ok()?;
    let parts: Option<Vec<&str>> = inside
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    Some((archive.to_owned(), parts?.join("/")))
}

/// The bytes of a member.
///
/// # Errors
/// When the archive is damaged, has no such member (the message lists those it has), or the member is encrypted, stored
/// by another method than deflate, or larger than the limits allow.
pub(super) fn read(archive: &Path, member: &str) -> Result<Vec<u8>> {
    let bad = |message: String| Error::new(ErrorKind::Data, format!("{}: {message}", archive.display()));
    let mut zip = open(archive)?;
    let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    if !names.iter().any(|name| name == member) {
        return Err(bad(format!("no member {member:?}; it has {}", list(&names))));
    }
    let file = zip.by_name(member).map_err(|e| {
        bad(format!("member {member:?}: {e}; expected one that is stored or deflated, without a password"))
    })?;
    let (size, packed) = (file.size(), file.compressed_size());
    check_size(size, packed).map_err(|message| bad(format!("member {member:?}: {message}")))?;
    let mut bytes = Vec::new();
    // The size is a claim: never more is read than that, and one byte to see that there is more.
    file.take(size + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| bad(format!("member {member:?}: {e}; fetch the archive again")))?;
    if bytes.len() as u64 != size {
        return Err(bad(format!("member {member:?} unpacks to another size than the {size} bytes that it claims")));
    }
    Ok(bytes)
}

/// What to say to somebody who names an archive and no member.
pub(super) fn needs_member(archive: &Path) -> Error {
    match open(archive) {
        Ok(zip) => {
            let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
            let example = names.iter().find(|name| is_file(name)).map_or("MEMBER", String::as_str);
            Error::new(
                ErrorKind::Data,
                format!(
                    "{0}: an archive; name a member, for example {0}/{example}; it has {1}",
                    archive.display(),
                    list(&names)
                ),
            )
        }
        Err(error) => error,
    }
}

fn open(archive: &Path) -> Result<ZipArchive<File>> {
    let file = File::open(archive).map_err(|e| Error::io(archive, "open", e))?;
    ZipArchive::new(file).map_err(|e| {
        Error::new(ErrorKind::Data, format!("{}: not a whole zip archive: {e}; fetch it again", archive.display()))
    })
}

fn check_size(size: u64, packed: u64) -> std::result::Result<(), String> {
    if size > MAX_BYTES {
        return Err(format!(
            "unpacks to {size} bytes, expected at most {MAX_BYTES}; unpack it and name the file itself"
        ));
    }
    if size > ANY_RATIO_BYTES && size / packed.max(1) > MAX_RATIO {
        return Err(format!(
            "{packed} bytes claim to unpack to {size}, more than {MAX_RATIO} times as many; unpack it and name the file \
             itself if that is right"
        ));
    }
    Ok(())
}

fn is_file(name: &str) -> bool {
    !name.ends_with('/') && !name.starts_with("__MACOSX/")
}

fn list(names: &[String]) -> String {
    let files: Vec<&str> = names.iter().map(String::as_str).filter(|name| is_file(name)).collect();
    let more = files.len().saturating_sub(LISTED);
    let shown = files[..files.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests;
