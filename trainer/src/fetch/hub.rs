//! Asking the hub, and downloading from it: `hf-hub` moves the bytes, what arrives is checked here.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;

use super::FetchOptions;
use super::request::{Kind, Request};
use super::verify::{self, Expected};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Progress, Reporter};

/// How often a download that breaks off is taken up again.
const ATTEMPTS: usize = 4;
/// Unfinished downloads, below the destination.
const UNFINISHED: &str = ".unfinished";

/// A repository's files at one commit.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    #[serde(rename = "sha")]
    pub(super) commit: String,
    #[serde(rename = "siblings")]
    pub(super) files: Vec<Sibling>,
}

/// A file as the hub lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Sibling {
    #[serde(rename = "rfilename")]
    pub(super) path: String,
    pub(super) size: Option<u64>,
    #[serde(rename = "blobId")]
    pub(super) blob_id: Option<String>,
    pub(super) lfs: Option<Lfs>,
}

/// A large file's own checksum.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Lfs {
    pub(super) sha256: String,
}

/// The hub, and the folder of unfinished downloads.
pub(super) struct Hub {
    api: Api,
    cache: Cache,
    unfinished: PathBuf,
    root: PathBuf,
    endpoint: String,
    reporter: Reporter,
}

impl Hub {
    pub(super) fn new(options: &FetchOptions, root: &Path) -> Result<Self> {
        let unfinished = root.join(UNFINISHED);
        let cache = Cache::new(unfinished.clone());
        let endpoint = options.endpoint.trim_end_matches('/').to_owned();
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(endpoint.clone())
            .with_token(options.token.clone())
            // hf-hub's own retries append from the wrong place after a download that was taken up; ours begin anew.
            .with_retries(0)
            .with_progress(false)
            .build()
            .map_err(|e| Error::model("the hub's client", e))?;
        Ok(Self { api, cache, unfinished, root: root.to_owned(), endpoint, reporter: options.reporter })
    }

    fn repo(request: &Request, revision: &str) -> Repo {
        let kind = match request.kind {
            Kind::Encoder => RepoType::Model,
            Kind::Data => RepoType::Dataset,
        };
        Repo::with_revision(request.repository.clone(), kind, revision.to_owned())
    }

    /// The files of a repository at a revision, with their checksums.
    pub(super) fn list(&self, request: &Request, revision: &str) -> Result<Listing> {
        let call = self.api.repo(Self::repo(request, revision)).info_request().query("blobs", "true").call();
        let mut response = call.map_err(|e| self.unreachable(request, revision, &e.to_string()))?;
        let json =
            response.body_mut().read_to_string().map_err(|e| self.unreachable(request, revision, &e.to_string()))?;
        serde_json::from_str(&json).map_err(|e| {
            let message = format!("{}: not the hub's answer about {}: {e}", self.endpoint, request.repository);
            Error::new(ErrorKind::Io, format!("{message}; is HF_ENDPOINT the address of a Hugging Face hub?"))
        })
    }

    /// Downloads a file, going on where an earlier attempt stopped, and verifies it. Returns where it is.
    pub(super) fn download(&self, request: &Request, commit: &str, file: &Sibling) -> Result<PathBuf> {
        let repo = Self::repo(request, commit);
        let name = format!("{} {}", request.repository, file.path);
        let mut progress = self.reporter.begin(&file.path, "KiB", file.size.unwrap_or(0).div_ceil(1024), 0);
        let mut damaged: Option<String> = None;
        for attempt in 1..=ATTEMPTS {
            let bar = Bar { progress: &mut progress, bytes: 0 };
            match self.api.repo(repo.clone()).download_with_progress(&file.path, bar) {
                Ok(pointer) => {
                    let blob = fs::canonicalize(&pointer).map_err(|e| Error::io(&pointer, "find", e))?;
                    let expected = Expected::new(request, file, &blob)
                        .ok_or_else(|| Error::new(ErrorKind::Data, format!("{name}: the hub states no checksum")))?;
                    let found = verify::check(&blob, &expected)?;
                    let _ = fs::remove_file(&pointer);
                    match found {
                        None => {
                            progress.finish();
                            return Ok(blob);
                        }
                        Some(what) if damaged.is_none() => {
                            // Bytes of an attempt that was taken up may not fit together: once more, from the start.
                            fs::remove_file(&blob).map_err(|e| Error::io(&blob, "remove", e))?;
                            damaged = Some(what);
                        }
                        Some(what) => {
                            fs::remove_file(&blob).map_err(|e| Error::io(&blob, "remove", e))?;
                            let message = format!("{name}: {what}; refused. Try again later, or from another endpoint");
                            return Err(Error::new(ErrorKind::Data, message));
                        }
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    let range = text.contains("status: 416") || matches!(error, ApiError::InvalidResume);
                    if range {
                        self.forget_parts(&repo);
                    }
                    let lasting = text.contains("status: 4") && !range;
                    if lasting || attempt == ATTEMPTS {
                        return Err(self.unreachable(request, commit, &format!("{}: {text}", file.path)));
                    }
                    progress.say(format!("{text}; going on where it stopped"));
                    std::thread::sleep(std::time::Duration::from_millis(200 * attempt as u64));
                }
            }
        }
        Err(Error::new(ErrorKind::Io, format!("{name}: {ATTEMPTS} attempts failed; run the same command to go on")))
    }

    /// Removes the parts of unfinished downloads of a repository: what is left of a file that has changed meanwhile.
    fn forget_parts(&self, repo: &Repo) {
        let blobs = self.cache.repo(repo.clone()).blob_path("");
        let parts = fs::read_dir(blobs).into_iter().flatten().flatten().map(|entry| entry.path());
        for part in parts.filter(|path| path.extension().is_some_and(|e| e == "part")) {
            let _ = fs::remove_file(part);
        }
    }

    /// Removes what the downloads of a repository left over, now that they are finished.
    pub(super) fn tidy(&self, request: &Request) {
        let _ = fs::remove_dir_all(self.unfinished.join(Self::repo(request, "").folder_name()));
        // Stays while another repository has something in it.
        let _ = fs::remove_dir(&self.unfinished);
    }

    fn unreachable(&self, request: &Request, revision: &str, cause: &str) -> Error {
        let what = match request.kind {
            Kind::Encoder => "model",
            Kind::Data => "dataset",
        };
        let hint = if cause.contains("status: 401") || cause.contains("status: 403") || cause.contains("status: 404") {
            "The hub knows no such repository, revision or file, or shows it to holders of a token only (HF_TOKEN). "
        } else {
            "Run the same command to go on where it stopped. "
        };
        let place = self.root.join(&request.name);
        Error::new(
            ErrorKind::Io,
            format!(
                "{}: cannot fetch the {what} {} at {revision}: {cause}. {hint}Where the hub cannot be reached: HF_ENDPOINT \
                 may name a mirror; or bring {} of {what} {} by hand into {}",
                self.endpoint,
                request.repository,
                request.needs(),
                request.repository,
                place.display()
            ),
        )
    }
}

/// Shows a download.
struct Bar<'a> {
    progress: &'a mut Progress,
    bytes: u64,
}

impl hf_hub::api::Progress for Bar<'_> {
    fn init(&mut self, _size: usize, _name: &str) {
        self.bytes = 0;
    }

    fn update(&mut self, size: usize) {
        self.bytes += size as u64;
        self.progress.update(self.bytes / 1024, String::new);
    }

    fn finish(&mut self) {}
}
