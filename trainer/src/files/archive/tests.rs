#![allow(clippy::unwrap_used)]

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn placed(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.zip");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn open_error(path: &Path) -> String {
    crate::files::open(path).err().unwrap().to_string()
}

#[test]
fn a_member_is_read_and_an_unknown_one_lists_those_there_are() {
    let (_folder, path) = placed(&archive(&[("a/b.tsv", b"hello"), ("__MACOSX/a/._b.tsv", b"x")]));
    let mut text = String::new();
    crate::files::open(&path.join("a/b.tsv")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    assert!(open_error(&path.join("b.tsv")).contains("data.zip: no member \"b.tsv\"; it has a/b.tsv"));
    let whole = open_error(&path);
    assert!(whole.contains("name a member, for example") && whole.contains("data.zip/a/b.tsv"), "{whole}");
}

#[test]
fn a_folder_that_is_called_like_an_archive_is_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("old.zip");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("a.tsv"), "x").unwrap();
    assert!(crate::files::open(&inside.join("a.tsv")).is_ok());
}

#[test]
fn a_zip_bomb_is_refused_before_it_is_unpacked() {
    let (_folder, path) = placed(&archive(&[("zeros.tsv", &vec![0u8; 20 << 20])]));
    let message = open_error(&path.join("zeros.tsv"));
    assert!(message.contains("more than 100 times as many"), "{message}");
    assert!(check_size(MAX_BYTES + 1, MAX_BYTES).unwrap_err().contains("at most"));
    assert!(check_size(20 << 20, 5 << 20).is_ok());
}

#[test]
fn a_claimed_size_that_is_not_true_is_refused() {
    let mut bytes = archive(&[("a.tsv", &[b'a'; 5000])]);
    // The uncompressed size stands 24 bytes into the entry of the central directory.
    let entry = bytes.windows(4).rposition(|w| w == [0x50, 0x4b, 0x01, 0x02]).unwrap();
    bytes[entry + 24..entry + 28].copy_from_slice(&100u32.to_le_bytes());
    let (_folder, path) = placed(&bytes);
    let message = open_error(&path.join("a.tsv"));
    assert!(message.contains("a.tsv"), "{message}");
}

#[test]
fn a_damaged_archive_is_an_error() {
    let whole = archive(&[("a.tsv", &(0..9000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>())]);
    let (_folder, path) = placed(&whole[..whole.len() / 2]);
    assert!(open_error(&path.join("a.tsv")).contains("not a whole zip archive"));
    let mut flipped = whole.clone();
    flipped[3000] ^= 0x55;
    let (_folder, path) = placed(&flipped);
    assert!(open_error(&path.join("a.tsv")).contains("fetch the archive again"));
}
