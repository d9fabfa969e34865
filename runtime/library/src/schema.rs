//! The library file: an SQLite database, opened as if its author were hostile.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, ErrorKind, Result};

/// "Attr": tells a library from any other SQLite database.
const APPLICATION_ID: i32 = 0x4174_7472;
/// The schema's version; raised when `SCHEMA` changes.
pub(crate) const VERSION: i32 = 1;

/// `words` has no content of its own: FTS5 keeps only the index, the text lies in `passage`.
const SCHEMA: &str = "
CREATE TABLE document(
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    hash BLOB NOT NULL,
    reader INTEGER NOT NULL
) STRICT;
CREATE TABLE passage(
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES document(id),
    line INTEGER NOT NULL,
    headings TEXT NOT NULL,
    text TEXT NOT NULL,
    sentences BLOB NOT NULL
) STRICT;
CREATE INDEX passage_document ON passage(document);
CREATE VIRTUAL TABLE words USING fts5(
    name, headings, text,
    content='', contentless_delete=1,
    tokenize='porter unicode61 remove_diacritics 2'
);
";

/// How a library is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

pub(crate) fn in_memory() -> Result<Connection> {
    let fail = |e| Error::database(None, e);
    let connection = Connection::open_in_memory().map_err(fail)?;
    harden(&connection).map_err(fail)?;
    create(&connection).map_err(fail)?;
    Ok(connection)
}

/// Device and number of a file: tells it from another one at the same path.
pub(crate) type FileId = (u64, u64);

/// The file at a path, where there is one and the system tells files apart.
pub(crate) fn file_id(path: &Path) -> Option<FileId> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Opens a library file; with [`Access::Write`] makes it where it does not exist.
pub(crate) fn open(path: &Path, access: Access) -> Result<Connection> {
    let fail = |e| Error::database(Some(path), e);
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(Error::at(ErrorKind::NotALibrary, path, "not a file; expected an Attar library")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && access == Access::Write => {
            parent_exists(path)?;
        }
        Err(error) => return Err(Error::io(path, "open", error)),
    }
    // A reader opens for writing too where it may: only so can SQLite undo what a crashed writer left.
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if access == Access::Write {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    harden(&connection).map_err(fail)?;
    check(&connection, path, access)?;
    match access {
        Access::Read => connection.pragma_update(None, "query_only", true),
        // Changed pages stay in memory up to this many KiB (negative: KiB): from the first that goes to the file before its
        // time, nobody can read.
        Access::Write => connection.pragma_update(None, "cache_size", -65_536),
    }
    .map_err(fail)?;
    Ok(connection)
}

fn parent_exists(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => {
            Err(Error::at(ErrorKind::NotFound, path, "its folder does not exist; make it first"))
        }
        _ => Ok(()),
    }
}

/// Nothing that a file's schema says may run code, and no statement may touch the tables behind FTS5.
fn harden(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    ] {
        connection.set_db_config(setting, value)?;
    }
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "mmap_size", 0)
}

/// Creates the schema in an empty database, inside the caller's transaction if there is one.
pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// Whether nothing was ever written to the database.
pub(crate) fn is_blank(connection: &Connection) -> rusqlite::Result<bool> {
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(objects == 0 && pragma(connection, "application_id")? == 0 && pragma(connection, "user_version")? == 0)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn check(connection: &Connection, path: &Path, access: Access) -> Result<()> {
    let fail = |e| Error::database(Some(path), e);
    if is_blank(connection).map_err(fail)? {
        return match access {
            Access::Write => Ok(()),
            Access::Read => {
                let message = "an empty library; fill it with `attar index PATH... -o FILE`";
                Err(Error::at(ErrorKind::NotALibrary, path, message))
            }
        };
    }
    let id = pragma(connection, "application_id").map_err(fail)?;
    if id != APPLICATION_ID {
        let message = format!(
            "an SQLite database, but not an Attar library (application id {id:#010x}, expected {APPLICATION_ID:#010x})"
        );
        return Err(Error::at(ErrorKind::NotALibrary, path, message));
    }
    let version = pragma(connection, "user_version").map_err(fail)?;
    if version > VERSION {
        let message = format!(
            "library format {version}, this version of Attar reads up to {VERSION}; update Attar or index again into another file"
        );
        return Err(Error::at(ErrorKind::NewerVersion, path, message));
    }
    // A file with other tables, triggers or views than ours was not made by us, whatever its id says.
    let expected = in_memory().and_then(|fresh| objects(&fresh).map_err(fail))?;
    if version != VERSION || objects(connection).map_err(fail)? != expected {
        let message =
            format!("its tables are not those of library format {VERSION}; delete it and run `attar index` again");
        return Err(Error::at(ErrorKind::Corrupt, path, message));
    }
    Ok(())
}

type Object = (String, String, String, Option<String>);

fn objects(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    rows.collect()
}
