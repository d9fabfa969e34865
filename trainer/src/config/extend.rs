//! Run files that extend others.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The key that names the extended file, of the same folder.
const KEY: &str = "extends";

/// The table of a run file with what it extends below it: tables are merged, everything else is replaced. `None` where it extends
/// nothing, so that its own text can be parsed with lines in errors.
pub(super) fn extended(path: &Path, text: &str) -> Result<Option<toml::Table>> {
    let Some((mut table, mut next)) = parse(path, text)? else { return Ok(None) };
    let mut seen = vec![path.to_owned()];
    while let Some(below) = next {
        if seen.contains(&below) {
            return Err(Error::config(format!("{}: {KEY} {} in a circle", path.display(), below.display())));
        }
        let text = std::fs::read_to_string(&below).map_err(|e| Error::io(&below, "read", e))?;
        let (mut base, further) = match parse(&below, &text)? {
            Some((base, further)) => (base, further),
            None => (toml::from_str(&text).map_err(|e| wrong(&below, &text, &e))?, None),
        };
        merge(&mut base, &table);
        table = base;
        seen.push(below);
        next = further;
    }
    Ok(Some(table))
}

/// A file's table without the key, and the path of the file that it extends.
fn parse(path: &Path, text: &str) -> Result<Option<(toml::Table, Option<PathBuf>)>> {
    // What is no TOML at all is the caller's error, with its line.
    let Ok(mut table) = toml::from_str::<toml::Table>(text) else { return Ok(None) };
    match table.remove(KEY) {
        None => Ok(None),
        // In the same folder, from which the paths in both count.
        Some(toml::Value::String(name)) if Path::new(&name).file_name() == Some(name.as_ref()) => {
            Ok(Some((table, Some(path.with_file_name(name)))))
        }
        Some(other) => Err(Error::config(format!(
            "{}: {KEY} = {other}, expected the name of another run file in the same folder",
            path.display()
        ))),
    }
}

fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    Error::config(format!("{}: {}", path.display(), super::check::describe(error, text)))
}

/// Merges a patch into a table: tables are merged, everything else is replaced.
pub(crate) fn merge(into: &mut toml::Table, patch: &toml::Table) {
    for (key, value) in patch {
        match (into.get_mut(key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}
