#![allow(clippy::unwrap_used)]

mod fake;

use std::fs;

use fake::{FakeHub, Trouble};
use sha2::{Digest, Sha256};

use super::*;
use crate::error::ErrorKind;

const TOKENIZER: &str = r#"{"version":"1.0","truncation":{"max_length":128},"padding":null,"model":{"vocab":{}}}"#;

fn weights() -> Vec<u8> {
    (0..300_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn encoder() -> FakeHub {
    FakeHub::new(
        "models/someone/small-encoder",
        &[
            ("README.md", b"# Small".to_vec()),
            ("config.json", br#"{"model_type":"bert"}"#.to_vec()),
            ("tokenizer.json", TOKENIZER.into()),
            ("pytorch_model.bin", vec![1; 10]),
            ("model.safetensors", weights()),
        ],
    )
}

fn dataset() -> FakeHub {
    FakeHub::new(
        "datasets/nyu-mll/glue",
        &[
            ("README.md", b"# GLUE".to_vec()),
            ("rte/train-00000-of-00001.parquet", vec![2; 5000]),
            ("rte/validation-00000-of-00001.parquet", vec![3; 500]),
            ("mnli/train-00000-of-00001.parquet", vec![4; 500]),
        ],
    )
}

fn options(endpoint: &str, root: &Path) -> FetchOptions {
    FetchOptions {
        endpoint: endpoint.to_owned(),
        token: None,
        encoders: root.join("encoders"),
        data: root.join("data"),
        update: false,
        reporter: Reporter::new(true),
    }
}

fn request(text: &str) -> Request {
    text.parse().unwrap()
}

#[test]
fn an_encoder_is_fetched_verified_placed_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let hub = encoder();
    let options = options(hub.endpoint(), folder.path());
    let fetched = fetch(&request("someone/small-encoder"), &options).unwrap();
    let at = folder.path().join("encoders/small-encoder");
    assert_eq!(fs::read(at.join("model.safetensors")).unwrap(), weights());
    assert!(!at.join("pytorch_model.bin").exists() && at.join("README.md").exists());
    // The published tokenizer cuts texts; a student folder must not.
    let tokenizer: serde_json::Value = serde_json::from_slice(&fs::read(at.join("tokenizer.json")).unwrap()).unwrap();
    assert!(tokenizer["truncation"].is_null());
    let changed = fetched.files.iter().find(|f| f.path.ends_with("tokenizer.json")).unwrap();
    let published: String = Sha256::digest(TOKENIZER).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(changed.published_sha256.as_deref(), Some(published.as_str()));
    assert_eq!((fetched.commit.as_str(), fetched.revision.as_str()), (fake::COMMIT, "main"));
    assert_eq!(Record::read(&options.encoders).unwrap().fetched, std::slice::from_ref(&fetched));
    assert!(!options.encoders.join(".unfinished").exists(), "unfinished downloads are left over");

    // A second time nothing is asked; what is damaged is fetched again, and nothing else.
    let asked = hub.requests().len();
    assert_eq!(fetch(&request("someone/small-encoder"), &options).unwrap(), fetched);
    assert_eq!(hub.requests().len(), asked);
    fs::write(at.join("config.json"), "{}").unwrap();
    assert_eq!(fetch(&request("someone/small-encoder"), &options).unwrap(), fetched);
    let again: Vec<String> = hub.requests().into_iter().skip(asked).filter(|r| r.contains("/resolve/")).collect();
    assert!(!again.is_empty() && again.iter().all(|r| r.contains("config.json")), "{again:?}");
    let listed = hub.requests().into_iter().rfind(|r| r.contains("/api/")).unwrap();
    assert!(listed.contains(fake::COMMIT), "the recorded commit is asked for again: {listed}");
}

#[test]
fn a_data_set_is_fetched_by_its_preset_into_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let hub = dataset();
    fetch(&request("rte"), &options(hub.endpoint(), folder.path())).unwrap();
    let at = folder.path().join("data/rte");
    assert_eq!(fs::read(at.join("train-00000-of-00001.parquet")).unwrap(), vec![2; 5000]);
    assert!(at.join("validation-00000-of-00001.parquet").exists() && at.join("README.md").exists());
    assert!(!folder.path().join("data/mnli").exists());
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let hub = encoder().with(Trouble::CutOnce { file: "model.safetensors", after: 700_000 });
    fetch(&request("someone/small-encoder"), &options(hub.endpoint(), folder.path())).unwrap();
    assert_eq!(fs::read(folder.path().join("encoders/small-encoder/model.safetensors")).unwrap(), weights());
    let resumed = hub.requests().iter().any(|r| r.contains("model.safetensors") && r.contains("bytes=700000-"));
    assert!(resumed, "{:?}", hub.requests());
}

#[test]
fn a_download_that_another_run_began_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let hub = encoder();
    let options = options(hub.endpoint(), folder.path());
    let sum: String = Sha256::digest(weights()).iter().map(|b| format!("{b:02x}")).collect();
    let blobs = options.encoders.join(".unfinished/models--someone--small-encoder/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{sum}.part")), &weights()[..400_000]).unwrap();
    fetch(&request("someone/small-encoder"), &options).unwrap();
    assert!(hub.requests().iter().any(|r| r.contains("bytes=400000-")), "{:?}", hub.requests());
    assert_eq!(fs::read(folder.path().join("encoders/small-encoder/model.safetensors")).unwrap(), weights());
}

#[test]
fn a_part_that_is_whole_or_wrong_is_begun_anew() {
    let sum: String = Sha256::digest(weights()).iter().map(|b| format!("{b:02x}")).collect();
    for part in [weights(), vec![9; 400_000], vec![9; weights().len() + 1]] {
        let folder = tempfile::tempdir().unwrap();
        let hub = encoder();
        let options = options(hub.endpoint(), folder.path());
        let blobs = options.encoders.join(".unfinished/models--someone--small-encoder/blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{sum}.part")), &part).unwrap();
        fetch(&request("someone/small-encoder"), &options).unwrap();
        assert_eq!(fs::read(folder.path().join("encoders/small-encoder/model.safetensors")).unwrap(), weights());
    }
}

#[test]
fn a_server_without_ranges_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let hub = encoder().with(Trouble::CutOnce { file: "model.safetensors", after: 5000 }).with(Trouble::WholeBodies);
    fetch(&request("someone/small-encoder"), &options(hub.endpoint(), folder.path())).unwrap();
    assert_eq!(fs::read(folder.path().join("encoders/small-encoder/model.safetensors")).unwrap(), weights());
}

#[test]
fn wrong_bytes_are_refused() {
    for file in ["model.safetensors", "config.json"] {
        let folder = tempfile::tempdir().unwrap();
        let hub = encoder().with(Trouble::Flip { file });
        let options = options(hub.endpoint(), folder.path());
        let error = fetch(&request("someone/small-encoder"), &options).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(file) && message.contains("expected") && message.contains("refused"), "{message}");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(!options.encoders.join("small-encoder").join(file).exists());
        assert!(!options.encoders.join("fetched.toml").exists());
    }
}

#[test]
fn weights_of_a_preset_must_be_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::new(
        "models/sentence-transformers/all-MiniLM-L6-v2",
        &[("config.json", b"{}".to_vec()), ("tokenizer.json", b"{}".to_vec()), ("model.safetensors", vec![7; 100])],
    );
    let error = fetch(&request("all-minilm-l6-v2"), &options(hub.endpoint(), folder.path())).unwrap_err().to_string();
    assert!(error.contains("but those of this name have 53aa5117"), "{error}");
}

#[test]
fn checksums_may_come_from_the_etag() {
    let folder = tempfile::tempdir().unwrap();
    let hub = encoder().with(Trouble::BareListing);
    fetch(&request("someone/small-encoder"), &options(hub.endpoint(), folder.path())).unwrap();
    let hub = encoder().with(Trouble::BareListing).with(Trouble::Flip { file: "model.safetensors" });
    let other = tempfile::tempdir().unwrap();
    let error = fetch(&request("someone/small-encoder"), &options(hub.endpoint(), other.path())).unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn without_a_network_the_error_says_what_is_needed_and_where() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = fetch(&request("mnli"), &options(&format!("http://127.0.0.1:{port}"), folder.path())).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Io);
    for part in
        ["dataset nyu-mll/glue", "HF_ENDPOINT", ".parquet files in its folder mnli", "by hand into", "data/mnli"]
    {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn what_a_repository_lacks_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::new("models/someone/old", &[("config.json", b"{}".to_vec()), ("pytorch_model.bin", vec![0])]);
    let error = fetch(&request("someone/old"), &options(hub.endpoint(), folder.path())).unwrap_err().to_string();
    assert!(error.contains("no tokenizer.json, model.safetensors; it has config.json, pytorch_model.bin"), "{error}");
    let error = fetch(&request("someone/else"), &options(hub.endpoint(), folder.path())).unwrap_err().to_string();
    assert!(error.contains("404") && error.contains("HF_TOKEN"), "{error}");
    let hub = FakeHub::new("datasets/a/b", &[("../../evil.parquet", vec![1])]);
    let error = fetch(&request("datasets/a/b"), &options(hub.endpoint(), folder.path())).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn names_are_parsed() {
    let asked = request("datasets/nyu-mll/glue/rte@abc123");
    assert_eq!((asked.name.as_str(), asked.repository.as_str(), asked.folder.as_str()), ("rte", "nyu-mll/glue", "rte"));
    assert_eq!((asked.kind, asked.revision.as_str()), (Kind::Data, "abc123"));
    assert_eq!(request("MNLI").folder, "mnli");
    for preset in PRESETS {
        assert_eq!(request(preset.name).repository, preset.repository);
    }
    for bad in ["", "nope", "a/b/c", "../x", "a/..", "a/b@", "datasets/x", "datasets/a/b/../c"] {
        assert!(bad.parse::<Request>().unwrap_err().to_string().contains("expected mnli"), "{bad}");
    }
}

#[test]
fn a_damaged_record_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fetched.toml"), "fetched = 3").unwrap();
    assert!(Record::read(folder.path()).unwrap_err().to_string().contains("fetched.toml"));
}
