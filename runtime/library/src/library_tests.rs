#![allow(clippy::unwrap_used)]
use super::*;
use std::fs;
use std::time::{Duration, SystemTime};

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(home.docs()).unwrap();
        for (name, text) in files {
            home.write(name, text);
        }
        home
    }
    fn docs(&self) -> PathBuf {
        self.dir.path().join("docs")
    }
    fn file(&self) -> PathBuf {
        self.dir.path().join("notes.attarlib")
    }
    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.docs().join(name), text).unwrap();
    }
    fn index(&self) -> Result<IndexReport> {
        Library::open_or_create(self.file())?.index(&[self.docs()], &ReadOptions::default())
    }
    fn find(&self, question: &str) -> Vec<String> {
        let library = Library::open(self.file()).unwrap();
        library.candidates(question, 10).unwrap().into_iter().map(|c| c.passage.text).collect()
    }
}

fn counts(report: &IndexReport) -> (usize, usize, usize, usize) {
    (report.added, report.updated, report.unchanged, report.removed)
}

#[test]
fn indexing_again_reads_only_what_changed() {
    let home = Home::new(&[
        ("a.md", "# Pi\n\nThe red lamp means power."),
        ("b.txt", "Bread needs yeast."),
        ("c.txt", "Old cellar."),
    ]);
    assert_eq!(counts(&home.index().unwrap()), (3, 0, 0, 0));
    assert_eq!(home.find("What does the RED lámps mean?"), ["The red lamp means power."]);
    assert_eq!(counts(&home.index().unwrap()), (0, 0, 3, 0));

    home.write("b.txt", "Bread needs salt.");
    fs::remove_file(home.docs().join("c.txt")).unwrap();
    home.write("d.txt", "A new garden.");
    // The same contents at another time: read, recognised, left alone.
    fs::File::options()
        .write(true)
        .open(home.docs().join("a.md"))
        .unwrap()
        .set_modified(SystemTime::now() + Duration::from_secs(9))
        .unwrap();
    assert_eq!(counts(&home.index().unwrap()), (1, 1, 1, 1));
    assert!(home.find("yeast").is_empty());
    assert!(home.find("cellar").is_empty());
    assert_eq!(home.find("salt"), ["Bread needs salt."]);
    assert_eq!(Library::open(home.file()).unwrap().len().unwrap(), (3, 3));
}

#[test]
fn documents_cut_by_another_version_are_read_again() {
    let home = Home::new(&[("a.txt", "lamp")]);
    home.index().unwrap();
    Connection::open(home.file()).unwrap().execute_batch("UPDATE document SET reader = 0").unwrap();
    assert_eq!(counts(&home.index().unwrap()), (0, 1, 0, 0));
    assert_eq!(counts(&home.index().unwrap()), (0, 0, 1, 0));
}

#[test]
fn candidates_carry_source_line_headings_and_sentences() {
    let home = Home::new(&[("a.md", "# Pi\n\n## Lamps\n\nFirst. The lamp\nblinks.")]);
    home.index().unwrap();
    let library = Library::open(home.file()).unwrap();
    let found = library.candidates("lamp", 10).unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].source.ends_with("docs/a.md"));
    assert_eq!(found[0].passage.headings, ["Pi", "Lamps"]);
    assert_eq!(found[0].passage.sentences[1], Sentence { range: 7..23, line: 5 });
    assert!(found[0].score > 0.0);
}

#[test]
fn no_question_is_a_syntax_error() {
    let mut library = Library::in_memory().unwrap();
    library.add_text("a", Format::Text, "lamp").unwrap();
    for question in [
        "lamp\"",
        "lamp* OR",
        "NEAR(lamp)",
        "text:lamp AND NOT x",
        "(lamp",
        "lamp\0x",
        "^lamp -x + 'y' {z}",
        "ﬁ ② ½ e\u{301} lamp",
        "\u{903}\u{94d} lamp",
    ] {
        assert_eq!(library.candidates(question, 5).unwrap().len(), 1, "{question}");
    }
    let longest: String = (0..crate::query::MAX_WORDS).map(|i| format!("w{i} ")).collect();
    assert!(library.candidates(&longest, 5).unwrap().is_empty());
}

#[test]
fn a_bad_file_in_a_folder_is_skipped_and_reported() {
    let home = Home::new(&[("a.txt", "text")]);
    home.write("binary.txt", [1, 0, 2]);
    home.write("latin.txt", b"caf\xe9");
    home.write("empty.md", "# Only a heading");
    let report = home.index().unwrap();
    let skipped: Vec<_> = report.skipped.iter().map(|s| s.source.rsplit('/').next().unwrap()).collect();
    assert_eq!(skipped, ["binary.txt", "empty.md", "latin.txt"]);
    assert!(report.skipped[0].reason.contains("binary file"));
}

#[test]
fn a_document_that_turns_unreadable_leaves_the_library() {
    let home = Home::new(&[("a.txt", "text"), ("b.txt", "lamp")]);
    home.index().unwrap();
    home.write("b.txt", [0, 1]);
    assert_eq!(counts(&home.index().unwrap()), (0, 0, 1, 1));
    assert!(home.find("lamp").is_empty());
}

#[test]
fn a_bad_file_that_was_named_is_an_error_and_nothing_changes() {
    let home = Home::new(&[("a.txt", "lamp")]);
    home.index().unwrap();
    home.write("b.txt", [0]);
    home.write("a.txt", "changed lamp post");
    let paths = [home.docs().join("a.txt"), home.docs().join("b.txt")];
    let error = Library::open_or_create(home.file()).unwrap().index(&paths, &ReadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotText);
    assert!(error.to_string().contains("b.txt: a binary file"), "{error}");
    assert_eq!(home.find("lamp"), ["lamp"]);
}

#[test]
fn an_empty_folder_is_an_error_and_leaves_no_file() {
    let home = Home::new(&[]);
    let error = home.index().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoDocuments);
    assert!(error.to_string().contains("docs: an empty folder"), "{error}");
    assert!(!home.file().exists());
    home.write("x.bin", [0]);
    assert!(home.index().unwrap_err().to_string().contains("x.bin was skipped"));
}

#[test]
fn overlapping_roots_count_a_document_once() {
    let home = Home::new(&[("a.txt", "lamp")]);
    let roots = [home.docs(), home.docs().join("a.txt")];
    let mut library = Library::in_memory().unwrap();
    let report = library.index(&roots, &ReadOptions::default()).unwrap();
    assert_eq!(counts(&report), (1, 0, 0, 0));
    assert_eq!(library.len().unwrap(), (1, 1));
}

#[test]
fn a_named_file_stays_whatever_folder_is_named_beside_it() {
    let home = Home::new(&[("a.txt", "lamp"), ("keys.csv", "cellar key"), (".hidden.txt", "secret garden")]);
    let [csv, hidden] = ["keys.csv", ".hidden.txt"].map(|name| home.docs().join(name));
    for roots in [[csv.clone(), hidden.clone(), home.docs()], [home.docs(), csv.clone(), hidden.clone()]] {
        let mut library = Library::in_memory().unwrap();
        let report = library.index(&roots, &ReadOptions::default()).unwrap();
        assert_eq!((counts(&report), report.skipped), ((3, 0, 0, 0), Vec::new()));
        assert_eq!(library.candidates("cellar", 5).unwrap().len(), 1);
    }
    let index = |roots: &[PathBuf]| {
        let report = Library::open_or_create(home.file()).unwrap().index(roots, &ReadOptions::default()).unwrap();
        assert_eq!(report.skipped, []);
        counts(&report)
    };
    assert_eq!(index(&[csv.clone(), hidden.clone(), home.docs()]), (3, 0, 0, 0));
    home.write("keys.csv", "attic key");
    fs::remove_file(hidden).unwrap();
    assert_eq!(index(&[home.docs()]), (0, 1, 1, 1));
    assert_eq!(home.find("attic"), ["attic key"]);
    // A named file must be readable, wherever it stands among the paths.
    home.write("keys.csv", [0]);
    let error = Library::in_memory().unwrap().index(&[home.docs(), csv], &ReadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotText);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_this_time_stays_as_it_was() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new(&[("a.txt", "lamp"), ("b.txt", "cellar")]);
    fs::create_dir(home.docs().join("sub")).unwrap();
    home.write("sub/c.txt", "garden");
    home.index().unwrap();
    let allow = |name: &str, mode| {
        fs::set_permissions(home.docs().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    home.write("b.txt", "attic");
    allow("b.txt", 0o000);
    allow("sub", 0o000);
    if fs::read_dir(home.docs().join("sub")).is_ok() {
        println!("skipped: this user may read everything");
        allow("sub", 0o700);
        return;
    }
    let report = home.index().unwrap();
    allow("sub", 0o700);
    assert_eq!(counts(&report), (0, 0, 1, 0));
    assert!(report.skipped.iter().any(|s| s.reason.ends_with("its text of before is kept")), "{report:?}");
    assert_eq!((home.find("cellar").len(), home.find("garden").len()), (1, 1));
}

#[test]
fn a_library_that_another_process_is_making_is_left_alone() {
    let home = Home::new(&[("a.txt", "lamp")]);
    let first = schema::open(&home.file(), Access::Write).unwrap();
    first.execute_batch("BEGIN IMMEDIATE").unwrap();
    for made in [false, true] {
        let mut second = Library::open_or_create(home.file()).unwrap();
        second.made = made;
        second.connection.busy_timeout(Duration::from_millis(10)).unwrap();
        assert_eq!(second.index(&[home.docs()], &ReadOptions::default()).unwrap_err().kind(), ErrorKind::Busy);
        assert!(home.file().exists());
    }
    schema::create(&first).unwrap();
    first.execute_batch("COMMIT").unwrap();
    assert_eq!(counts(&home.index().unwrap()), (1, 0, 0, 0));
    assert_eq!(home.find("lamp"), ["lamp"]);
}

#[test]
fn a_failed_first_index_leaves_no_file_and_removes_none() {
    let home = Home::new(&[]);
    home.write("nul.txt", [0]);
    let index = |path: PathBuf| {
        Library::open_or_create(home.file()).unwrap().index(&[path], &ReadOptions::default()).unwrap_err().kind()
    };
    assert_eq!(index("no/such".into()), ErrorKind::NotFound);
    assert_eq!(index(home.docs().join("nul.txt")), ErrorKind::NotText);
    assert_eq!(index(home.docs()), ErrorKind::NoDocuments);
    assert!(!home.file().exists());
    let error = Library::open_or_create(home.dir.path().join("no/such.attarlib")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    fs::write(home.file(), "").unwrap();
    assert_eq!(index(home.docs()), ErrorKind::NoDocuments);
    assert!(home.file().exists());
}

#[cfg(unix)]
#[test]
fn nothing_is_written_to_a_file_that_is_no_longer_there() {
    let home = Home::new(&[("a.txt", "lamp")]);
    let mut first = Library::open_or_create(home.file()).unwrap();
    let mut second = Library::open_or_create(home.file()).unwrap();
    assert!(first.index(&["no/such"], &ReadOptions::default()).is_err());
    fs::write(home.docs().join("nul.txt"), [0]).unwrap();
    assert!(first.index(&[home.docs().join("nul.txt")], &ReadOptions::default()).is_err());
    assert!(!home.file().exists());
    // The second had it open: it makes the file again, and so does the first.
    second.index(&[home.docs()], &ReadOptions::default()).unwrap();
    assert_eq!(home.find("lamp"), ["lamp"]);
    first.add_text("b", Format::Text, "cellar").unwrap();
    assert_eq!((home.find("lamp").len(), home.find("cellar").len()), (1, 1));
    // Replaced while the second waits for its turn.
    let stale = schema::file_id(&home.docs());
    let error = writer::write(&mut second.connection, Some(&home.file()), stale, |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
}

#[test]
fn what_is_no_library_is_refused() {
    let home = Home::new(&[]);
    let kind = |file: &Path| Library::open(file).unwrap_err().kind();
    assert_eq!(kind(&home.file()), ErrorKind::NotFound);
    assert_eq!(kind(&home.docs()), ErrorKind::NotALibrary);
    fs::write(home.file(), "just some text that is no database").unwrap();
    assert_eq!(kind(&home.file()), ErrorKind::NotALibrary);
    assert_eq!(Library::open_or_create(home.file()).unwrap_err().kind(), ErrorKind::NotALibrary);
    fs::write(home.file(), "").unwrap();
    assert_eq!(kind(&home.file()), ErrorKind::NotALibrary);
    fs::remove_file(home.file()).unwrap();
    Connection::open(home.file()).unwrap().execute_batch("CREATE TABLE x(y)").unwrap();
    assert!(Library::open(home.file()).unwrap_err().to_string().contains("not an Attar library"));
}

#[test]
fn newer_and_altered_libraries_are_refused() {
    let home = Home::new(&[("a.txt", "lamp")]);
    let altered = |sql: &str| {
        let _ = fs::remove_file(home.file());
        home.index().unwrap();
        Connection::open(home.file()).unwrap().execute_batch(sql).unwrap();
        Library::open(home.file()).unwrap_err()
    };
    let newer = altered("PRAGMA user_version = 2");
    assert_eq!(newer.kind(), ErrorKind::NewerVersion);
    assert!(newer.to_string().contains("library format 2"), "{newer}");
    for sql in [
        "CREATE TRIGGER t AFTER INSERT ON document BEGIN DELETE FROM passage; END",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE passage",
        "PRAGMA user_version = 0",
    ] {
        assert_eq!(altered(sql).kind(), ErrorKind::Corrupt, "{sql}");
    }
}

#[test]
fn damaged_libraries_are_errors_and_never_panics() {
    let text: String = (0..400).map(|i| format!("Sentence number {i} about lamps and the garden. ")).collect();
    let home = Home::new(&[("a.txt", &text), ("b.md", "# Bread\n\nNeeds salt.")]);
    home.index().unwrap();
    let good = fs::read(home.file()).unwrap();
    let try_it = |bytes: &[u8]| {
        fs::write(home.file(), bytes).unwrap();
        if let Ok(library) = Library::open(home.file()) {
            let _ = library.candidates("lamps in the garden", 50);
            let _ = library.len();
        }
        let _ = home.index();
    };
    for cut in [1, 15, 16, 99, 100, 512, good.len() / 2, good.len() - 1] {
        try_it(&good[..cut]);
    }
    for at in (0..good.len()).step_by(good.len() / 200) {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        try_it(&bytes);
    }
}

#[test]
fn sentences_outside_their_passage_are_damage() {
    let home = Home::new(&[("a.txt", "lamp")]);
    for blob in ["x''", "x'00'", "x'000000000500000001000000'", "x'020000000100000001000000'"] {
        let _ = fs::remove_file(home.file());
        home.index().unwrap();
        let sql = format!("UPDATE passage SET sentences = {blob}");
        Connection::open(home.file()).unwrap().execute_batch(&sql).unwrap();
        let error = Library::open(home.file()).unwrap().candidates("lamp", 5).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{blob}");
    }
}

#[test]
fn a_second_writer_is_told_so_and_a_crash_leaves_the_old_library() {
    let home = Home::new(&[("a.txt", "lamp")]);
    home.index().unwrap();
    let other = Connection::open(home.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM passage;").unwrap();
    let mut library = Library::open_or_create(home.file()).unwrap();
    library.connection.busy_timeout(Duration::from_millis(10)).unwrap();
    let error = library.index(&[home.docs()], &ReadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    // The other writer dies without a commit.
    drop(other);
    assert_eq!(home.find("lamp"), ["lamp"]);
}

#[test]
fn a_reader_cannot_write() {
    let home = Home::new(&[("a.txt", "lamp")]);
    home.index().unwrap();
    let error = Library::open(home.file()).unwrap().add_text("b", Format::Text, "x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}
