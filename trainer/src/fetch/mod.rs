//! Data sets and encoders from the Hugging Face hub, verified and recorded.

mod hub;
mod place;
mod record;
mod request;
mod verify;

use std::path::{Path, PathBuf};

pub use record::{Fetched, FetchedFile, Record};
pub use request::{Kind, PRESETS, Preset, Request};

use crate::error::Result;
use crate::progress::Reporter;

/// The hub's own address; `HF_ENDPOINT` names another, such as a mirror.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Where things are fetched from and to.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Address of the hub, without a slash at the end.
    pub endpoint: String,
    /// Access token, for repositories that need one.
    pub token: Option<String>,
    /// Folder of encoders: the `--encoders` of the other commands.
    pub encoders: PathBuf,
    /// Folder of data sets: the `--data` of the other commands.
    pub data: PathBuf,
    /// Takes the newest commit of the revision, also where `fetched.toml` has an older one.
    pub update: bool,
    /// Who shows progress.
    pub reporter: Reporter,
}

impl FetchOptions {
    fn folder(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Encoder => &self.encoders,
            Kind::Data => &self.data,
        }
    }
}

/// Fetches what is asked for and not there yet, verifies every file (SHA-256, or for small files git's SHA-1, as the hub
/// states them) and records it with its commit in `fetched.toml` beside it. A second call reads the record: what is
/// there is verified again and costs no request, what is damaged or missing is fetched from the same commit.
///
/// # Errors
/// When the hub cannot be reached (the message says which files are needed and where they belong), has no such
/// repository, revision or file, or sends other bytes than it states; or when a file cannot be written.
pub fn fetch(request: &Request, options: &FetchOptions) -> Result<Fetched> {
    let root = options.folder(request.kind);
    let mut record = Record::read(root)?;
    let known = record.find(&request.name).filter(|known| {
        let same = known.repository == request.repository && known.folder == request.folder;
        same && (known.revision == request.revision || known.commit == request.revision) && !options.update
    });
    if let Some(known) = known
        && known.files.iter().all(|file| verify::is_placed(root, file))
    {
        options.reporter.say(format!("{}: was there, {} files verified", request.name, known.files.len()));
        return Ok(known.clone());
    }
    let commit = known.map(|known| known.commit.clone());
    let hub = hub::Hub::new(options, root)?;
    let listing = hub.list(request, commit.as_deref().unwrap_or(&request.revision))?;
    let mut files = Vec::new();
    for wanted in request.choose(&listing)? {
        let path = request.place(&wanted.path)?;
        if let Some(file) = known.and_then(|k| k.files.iter().find(|f| f.path == path))
            && verify::is_placed(root, file)
        {
            files.push(file.clone());
            continue;
        }
        let arrived = hub.download(request, &listing.commit, wanted)?;
        files.push(place::place(root, &path, wanted, &arrived)?);
    }
    hub.tidy(request);
    let fetched = Fetched {
        name: request.name.clone(),
        repository: request.repository.clone(),
        folder: request.folder.clone(),
        revision: request.revision.clone(),
        commit: listing.commit.clone(),
        files,
    };
    record.set(fetched.clone());
    record.write(root)?;
    options.reporter.say(format!(
        "{}: {} files of {} at {} in {}",
        request.name,
        fetched.files.len(),
        request.repository,
        fetched.commit,
        root.join(&request.name).display()
    ));
    Ok(fetched)
}

#[cfg(test)]
mod tests;
