#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_pattern_names_its_files_in_order_and_a_plain_name_itself() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["train-1.tsv", "train-0.tsv", "dev.tsv", "odd[1].tsv"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let at = |name: &str| folder.path().join(name);
    assert_eq!(expand(&at("train-*.tsv")).unwrap(), [at("train-0.tsv"), at("train-1.tsv")]);
    assert_eq!(expand(&at("odd[1].tsv")).unwrap(), [at("odd[1].tsv")]);
    assert_eq!(expand(&at("no-such.tsv")).unwrap(), [at("no-such.tsv")]);
    assert!(expand(&at("test-*.tsv")).unwrap_err().to_string().contains("no file matches"));
    assert!(expand(&at("***")).unwrap_err().to_string().contains("not a pattern"));
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    write_whole(&path, |w| w.write_all(b"first")).unwrap();
    let failed = write_whole(&path, |w| {
        w.write_all(b"half")?;
        Err(std::io::Error::other("full"))
    });
    assert!(failed.unwrap_err().to_string().contains("full"));
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn writers_of_one_file_do_not_disturb_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| write_whole(&path, |w| w.write_all(&[7; 5000])).unwrap()));
        }
    });
    assert_eq!(fs::read(&path).unwrap(), [7; 5000]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
