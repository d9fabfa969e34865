//! The mean of several students, as a student folder.

use std::path::Path;

use attar_nn::Student;
use candle_core::Device;
use toml::Value;

use crate::error::{Error, Result};

/// Writes the student whose weights are the mean of those in `folders` ([`Student::mean`]) to `output`, with the first one's tokenizer.
///
/// Its provenance is the first one's, with the others' data, licences and teachers added, and `mean_of` naming the runs.
///
/// # Errors
/// Fewer than two folders, `output` being one of them or an encoder's, tokenizers that differ, and whatever [`Student::mean`] and [`Student::save`] say.
pub fn write_mean(folders: &[&Path], output: &Path) -> Result<()> {
    let [first, others @ ..] = folders else { return Err(Error::config("the mean of no students")) };
    if others.is_empty() {
        return Err(Error::config(format!(
            "{}: one student alone is its own mean; name at least two",
            first.display()
        )));
    }
    let tokenizer = first.join("tokenizer.json");
    let words = std::fs::read(&tokenizer).map_err(|e| Error::io(&tokenizer, "read", e))?;
    // A student replaces a student, so that the same command can be given again; nothing else is replaced.
    if output.join("config.json").is_file() && !output.join("attar.toml").is_file() {
        let path = output.display();
        return Err(Error::config(format!("{path}: it holds an encoder that is no student; give another folder")));
    }
    let mut provenance = toml::Table::new();
    let mut runs = Vec::new();
    for folder in folders {
        if same_place(folder, output) {
            let path = output.display();
            return Err(Error::config(format!(
                "{path}: the mean would replace one of its students; give another folder"
            )));
        }
        let path = folder.join("tokenizer.json");
        if std::fs::read(&path).map_err(|e| Error::io(&path, "read", e))? != words {
            let (one, other) = (path.display(), tokenizer.display());
            return Err(Error::config(format!(
                "{one}: not the same as {other}; students of one vocabulary have a mean"
            )));
        }
        let of_student = Student::provenance_of(folder)?;
        match (of_student.get("mean_of"), of_student.get("run")) {
            (Some(Value::Array(parts)), _) => runs.extend(parts.iter().cloned()),
            (_, Some(run)) => runs.push(run.clone()),
            _ => runs.extend(folder.file_name().map(|name| Value::String(name.to_string_lossy().into_owned()))),
        }
        add(&mut provenance, of_student);
    }
    let mean = Student::mean(folders, &Device::Cpu)?;
    provenance.remove("run");
    provenance.insert("mean_of".into(), Value::Array(runs));
    Ok(mean.save(output, &tokenizer, &provenance)?)
}

fn same_place(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Adds what is not there yet, and to lists what they lack.
fn add(to: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (to.get_mut(&key), value) {
            (Some(Value::Array(has)), Value::Array(more)) => {
                for value in more {
                    if !has.contains(&value) {
                        has.push(value);
                    }
                }
            }
            (Some(_), _) => {}
            (None, value) => {
                to.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
