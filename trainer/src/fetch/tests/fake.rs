//! A hub of one repository on this machine, with ranges and with trouble.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The first download of a file breaks off after so many bytes.
    CutOnce { file: &'static str, after: usize },
    /// One bit of a file is another one.
    Flip { file: &'static str },
    /// Ranges are ignored, but for the first byte.
    WholeBodies,
    /// The listing has neither sizes nor checksums.
    BareListing,
}

struct State {
    /// `models/OWNER/NAME` or `datasets/OWNER/NAME`.
    repository: String,
    files: Vec<(String, Vec<u8>)>,
    troubles: Mutex<Vec<Trouble>>,
    requests: Mutex<Vec<String>>,
}

/// The hub; its thread ends with the process.
pub(super) struct FakeHub {
    endpoint: String,
    state: Arc<State>,
}

impl FakeHub {
    pub(super) fn new(repository: &str, files: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.clone())).collect();
        let state = Arc::new(State {
            repository: repository.to_owned(),
            files,
            troubles: Mutex::default(),
            requests: Mutex::default(),
        });
        let of_thread = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = of_thread.clone();
                std::thread::spawn(move || state.answer(stream));
            }
        });
        Self { endpoint, state }
    }

    pub(super) fn with(self, trouble: Trouble) -> Self {
        self.state.troubles.lock().unwrap().push(trouble);
        self
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Path and range of every request so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }
}

impl State {
    fn answer(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut range = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
                range = Some(value.trim().to_owned());
            }
        }
        let asked = range.as_deref().map_or_else(String::new, |range| format!(" bytes={range}"));
        self.requests.lock().unwrap().push(format!("{path}{asked}"));
        let short = self.repository.strip_prefix("models/").unwrap_or(&self.repository);
        if path.starts_with(&format!("/api/{}/revision/", self.repository)) {
            return respond(stream, "200 OK", &[], self.listing().as_bytes(), usize::MAX);
        }
        let name = path.strip_prefix(&format!("/{short}/resolve/")).and_then(|rest| Some(rest.split_once('/')?.1));
        match name.and_then(|name| self.files.iter().find(|(file, _)| file == name)) {
            Some((name, content)) => self.send(stream, name, content, range.as_deref()),
            None => respond(stream, "404 Not Found", &[], b"", usize::MAX),
        }
    }

    fn has(&self, trouble: &Trouble) -> bool {
        self.troubles.lock().unwrap().contains(trouble)
    }

    fn send(&self, stream: TcpStream, name: &str, content: &[u8], range: Option<&str>) -> Option<()> {
        let mut body = content.to_vec();
        let mut cut = usize::MAX;
        let probe = range == Some("0-0");
        let mut troubles = self.troubles.lock().unwrap();
        if troubles.iter().any(|t| matches!(t, Trouble::Flip { file } if *file == name)) {
            let middle = body.len() / 2;
            body[middle] ^= 1;
        }
        let cutting = troubles.iter().position(|t| matches!(t, Trouble::CutOnce { file, .. } if *file == name));
        if let (Some(index), false) = (cutting, probe)
            && let Trouble::CutOnce { after, .. } = troubles.remove(index)
        {
            cut = after;
        }
        drop(troubles);
        let etag = checksum(name, content);
        let commit = ("X-Repo-Commit", COMMIT.to_owned());
        let etag = ("ETag", format!("\"{etag}\""));
        let (first, last) = match range.and_then(|r| r.split_once('-')) {
            Some((first, last)) => (first.parse().ok()?, last.parse().unwrap_or(body.len() - 1)),
            None => (0, body.len() - 1),
        };
        if !probe && (range.is_none() || self.has(&Trouble::WholeBodies)) {
            return respond(stream, "200 OK", &[commit, etag], &body, cut);
        }
        if first >= body.len() {
            return respond(stream, "416 Range Not Satisfiable", &[commit, etag], b"", cut);
        }
        let span = ("Content-Range", format!("bytes {first}-{last}/{}", body.len()));
        respond(stream, "206 Partial Content", &[commit, etag, span], &body[first..=last], cut)
    }

    fn listing(&self) -> String {
        let bare = self.has(&Trouble::BareListing);
        let siblings: Vec<serde_json::Value> = self
            .files
            .iter()
            .map(|(name, content)| {
                let mut file = serde_json::json!({"rfilename": name});
                if !bare {
                    file["size"] = content.len().into();
                    file["blobId"] = git_sha1(content).into();
                    if is_large(name) {
                        file["lfs"] = serde_json::json!({"sha256": checksum(name, content), "size": content.len()});
                    }
                }
                file
            })
            .collect();
        serde_json::json!({"sha": COMMIT, "siblings": siblings, "private": false}).to_string()
    }
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".parquet")
}

fn checksum(name: &str, content: &[u8]) -> String {
    if is_large(name) { hex(&Sha256::digest(content)) } else { git_sha1(content) }
}

fn git_sha1(content: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Sends at most `cut` bytes of the body, whatever the header promises.
fn respond(mut stream: TcpStream, status: &str, headers: &[(&str, String)], body: &[u8], cut: usize) -> Option<()> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    stream.write_all(&body[..body.len().min(cut)]).ok()
}
