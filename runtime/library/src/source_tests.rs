#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn a_folder_is_walked_in_order_without_hidden_files() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("b/.git")).unwrap();
    for name in ["z.txt", "a.md", "b/c.HTML", "b/.hidden.md", "b/.git/x.md", "b/photo.jpg", "NOTES"] {
        fs::write(root.join(name), "text").unwrap();
    }
    let walk = walk(root).unwrap();
    let names: Vec<_> = walk.found.iter().map(|f| f.source.strip_prefix(root.to_str().unwrap()).unwrap()).collect();
    assert_eq!(names, ["/NOTES", "/a.md", "/b/c.HTML", "/z.txt"]);
    assert!(walk.found.iter().all(|f| !f.explicit && f.bytes == 4 && f.modified_ns > 0));
    assert_eq!(walk.skipped.len(), 1);
    assert!(walk.skipped[0].source.ends_with("b/photo.jpg"));
}

#[cfg(unix)]
#[test]
fn links_to_folders_and_dangling_links_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("circle")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", dir.path().join("gone.txt")).unwrap();
    let walk = walk(dir.path()).unwrap();
    assert!(walk.found.is_empty());
    let reasons: Vec<_> = walk.skipped.iter().map(|s| s.reason.as_str()).collect();
    assert!(reasons[0].starts_with("a link to a folder"), "{reasons:?}");
    assert!(reasons[1].starts_with("cannot open"), "{reasons:?}");
}

#[test]
fn a_missing_path_is_named() {
    let error = walk(Path::new("no/such/path")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "no/such/path: no such file or folder");
}

#[test]
fn what_is_no_utf8_text_is_refused_with_its_place() {
    let path = Path::new("x");
    let kind_and_text = |bytes: &[u8]| {
        let error = decode(path, bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotText);
        error.to_string()
    };
    assert_eq!(decode(path, b"\xef\xbb\xbfabc").unwrap(), "abc");
    assert!(kind_and_text(b"a\nb\xff").contains("at byte 3 (line 2)"));
    assert!(kind_and_text(b"ab\0").contains("NUL at byte 2"));
    assert!(kind_and_text(b"\xff\xfea\0").contains("UTF-16"));
}

#[test]
fn a_file_over_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.txt");
    fs::write(&path, "12345").unwrap();
    let mut options = ReadOptions { max_file_bytes: 5 };
    assert_eq!(read(&path, &options).unwrap(), b"12345");
    options.max_file_bytes = 4;
    assert_eq!(read(&path, &options).unwrap_err().kind(), ErrorKind::TooLarge);
}
