//! The mean of several students, as a student folder.

use std::path::Path;

use attar_nn::Student;
use candle_core::Device;
use toml::Value;

use crate::error::{Error, Result};

/// Writes the student whose weights are the mean of those in `folders` ([`Student::mean`]) to `output`, with the first one's tokenizer.
///
/// Its provenance has what all of them have (what differs as a list of all), and `mean_of` naming the runs; where these do not weigh
/// the same, as in the mean of a mean with another student, `shares` says how much each does.
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
    let mut runs: Vec<(Value, f64)> = Vec::new();
    let share = 1.0 / folders.len() as f64;
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
            (Some(Value::Array(parts)), _) => {
                let shares = of_student.get("shares").and_then(Value::as_array);
                runs.extend(parts.iter().enumerate().map(|(number, part)| {
                    let equal = 1.0 / parts.len() as f64;
                    let of_part = shares.and_then(|shares| shares.get(number)?.as_str()?.parse().ok()).unwrap_or(equal);
                    (part.clone(), share * of_part)
                }));
            }
            (_, Some(run)) => runs.push((run.clone(), share)),
            _ => {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                runs.push((Value::String(name), share));
            }
        }
        add(&mut provenance, of_student);
    }
    let mean = Student::mean(folders, &Device::Cpu)?;
    for of_parts in ["run", "mean_of", "shares"] {
        provenance.remove(of_parts);
    }
    let (names, shares): (Vec<Value>, Vec<f64>) = runs.into_iter().unzip();
    if shares.iter().any(|other| (other - shares[0]).abs() > 1e-9) {
        // Provenance is text.
        let shares = shares.iter().map(|share| Value::String(share.to_string()));
        provenance.insert("shares".into(), Value::Array(shares.collect()));
    }
    provenance.insert("mean_of".into(), Value::Array(names));
    Ok(mean.save(output, &tokenizer, &provenance)?)
}

fn same_place(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Adds what is not there yet: to a list what it lacks, to one value another as a list of both.
fn add(to: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        let Some(has) = to.get_mut(&key) else {
            to.insert(key, value);
            continue;
        };
        if *has == value {
            continue;
        }
        let mut all = list(std::mem::replace(has, Value::Boolean(false)));
        for value in list(value) {
            if !all.contains(&value) {
                all.push(value);
            }
        }
        *has = Value::Array(all);
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        value => vec![value],
    }
}

#[cfg(test)]
mod tests;
