#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn folder_of(files: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("labels");
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    (folder, root)
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * i % 251) as u8).collect()
}

#[test]
fn a_folder_and_a_file_come_back_as_they_were() {
    let files = [("a", bytes(1000)), ("deep/b", bytes(0)), ("deep/c", bytes(12345)), ("d", bytes(1))];
    let (folder, root) = folder_of(&files);
    let (parts, joined) = (folder.path().join("parts"), folder.path().join("joined"));
    for part_size in [500, 999, 1000, 1001, 1 << 20] {
        let (manifest, written) = split(&root, &parts, part_size).unwrap();
        assert!(written.parts.iter().all(|part| part.size <= part_size));
        assert_eq!(written.parts.len() as u64, 13346u64.div_ceil(part_size));
        join(&manifest, &joined).unwrap();
        for (name, content) in &files {
            assert_eq!(&fs::read(joined.join("labels").join(name)).unwrap(), content, "{name}, parts of {part_size}");
        }
        fs::remove_dir_all(&parts).unwrap();
        fs::remove_dir_all(&joined).unwrap();
    }
    let (manifest, _) = split(&root.join("deep/c"), &parts, 5000).unwrap();
    assert_eq!(manifest, parts.join("c.parts.toml"));
    join(&manifest, &joined).unwrap();
    assert_eq!(fs::read(joined.join("c")).unwrap(), bytes(12345));
}

#[test]
fn missing_parts_are_listed_and_damaged_ones_named_before_anything_is_written() {
    let (folder, root) = folder_of(&[("a", bytes(5000))]);
    let (parts, joined) = (folder.path().join("parts"), folder.path().join("joined"));
    let (manifest, _) = split(&root, &parts, 1000).unwrap();
    let error = || join(&manifest, &joined).unwrap_err().to_string();
    let part = |n: usize| parts.join(format!("labels.part-{n:05}"));
    let whole = fs::read(part(3)).unwrap();

    fs::write(part(3), &whole[..999]).unwrap();
    assert!(error().contains("labels.part-00003: damaged part: 999 bytes, expected 1000; transfer it again"));
    let mut flipped = whole.clone();
    flipped[500] ^= 1;
    fs::write(part(3), flipped).unwrap();
    assert!(error().contains("labels.part-00003: damaged part: SHA-256"));
    fs::remove_file(part(1)).unwrap();
    fs::remove_file(part(4)).unwrap();
    let message = error();
    assert!(message.contains("2 of 5 parts are missing: labels.part-00001, labels.part-00004;"), "{message}");
    assert!(!joined.exists());
}

#[test]
fn a_manifest_that_leads_elsewhere_is_refused() {
    let (folder, root) = folder_of(&[("a", bytes(10))]);
    let (manifest, _) = split(&root, &folder.path().join("parts"), 1000).unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    let joined = folder.path().join("joined");
    for (from, to, reason) in [
        ("labels/a", "../a", "leads out of the folder"),
        ("labels/a", "/etc/a", "leads out of the folder"),
        ("size = 10", "size = 11", "sizes"),
        ("format = 1", "format = 2", "format 2, expected 1"),
        ("[[parts]]", "[[part]]", "not a manifest"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        fs::write(&manifest, text.replacen(from, to, 1)).unwrap();
        let message = join(&manifest, &joined).unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn nothing_to_cut_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(split(folder.path(), &folder.path().join("p"), 10).unwrap_err().to_string().contains("no files"));
    assert!(split(Path::new("no-such"), folder.path(), 10).unwrap_err().to_string().contains("no-such"));
}

#[test]
fn sizes_are_parsed() {
    for (text, bytes) in [("1", 1), ("4000000", 4_000_000), ("512KiB", 512 << 10), ("4MiB", 4 << 20), ("1g", 1 << 30)] {
        assert_eq!(parse_size(text), Ok(bytes));
    }
    for bad in ["", "0", "MiB", "-1", "4 TB", "4.5MiB", "99999999999GiB"] {
        assert!(parse_size(bad).unwrap_err().contains("expected a number of bytes"), "{bad}");
    }
}
