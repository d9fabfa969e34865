//! `attar score`.

use std::io::Write;

use anyhow::{Result, anyhow};
use attar::{HeadInfo, Score, Session};
use serde_json::{Map, Value};

use crate::Outcome;
use crate::args::ScoreArgs;
use crate::output::{require_text, say, stdout, write_json};
use crate::pairs::{Pair, PairReader};
use crate::student::Student;

/// Rows held at a time: enough to keep all threads busy, little memory whatever the file's length.
const ROWS: usize = 256;

/// Output fields, whose names a column that passes through may not take.
const OURS: &[&str] = &["id", "head", "label", "probabilities", "logits", "relevance", "tokens", "windows"];

pub(crate) fn run(args: &ScoreArgs) -> Result<Outcome> {
    let student = Student::open(&args.student)?;
    let mut session = student.model.session().threads(args.threads);
    let heads = student.model.heads();
    let head = heads.iter().find(|head| head.name == args.head).ok_or_else(|| {
        let names: Vec<&str> = heads.iter().map(|head| head.name.as_str()).collect();
        anyhow!("{}: no head {:?}; it has {}", student.name, args.head, names.join(", "))
    })?;
    match (&args.pairs, &args.question, &args.passage) {
        (Some(path), ..) => {
            let mut reader = PairReader::open(path)?;
            stream(&mut reader, &mut session, head, args.json)?;
        }
        (None, Some(question), Some(passage)) => {
            require_text("--question", question)?;
            require_text("--passage", passage)?;
            let scores = session.score(&head.name, &[(question, passage)])?;
            let mut table = Table::new(head, &[], args.json);
            let mut out = stdout();
            table.header(&mut out)?;
            for score in &scores {
                table.row(&mut out, Value::from(0), score, &[])?;
            }
            out.flush()?;
            table.say_windows();
        }
        _ => return Err(anyhow!("name --question and --passage, or --pairs FILE")),
    }
    Ok(Outcome::Done)
}

fn stream(reader: &mut PairReader, session: &mut Session, head: &HeadInfo, json: bool) -> Result<()> {
    let others: Vec<String> = reader.others().map(str::to_owned).collect();
    let mut table = Table::new(head, &others, json);
    let mut out = stdout();
    table.header(&mut out)?;
    let (mut rows, mut index, mut ended) = (Vec::with_capacity(ROWS), 0_u64, false);
    while !ended {
        rows.clear();
        // A bad row must not take the good ones before it along.
        let mut bad = None;
        while rows.len() < ROWS && !ended {
            match reader.next_pair() {
                Ok(Some(pair)) => rows.push(pair),
                Ok(None) => ended = true,
                Err(error) => (bad, ended) = (Some(error), true),
            }
        }
        for (pair, score) in rows.iter().zip(score_rows(reader, session, head, &rows)?) {
            let id = pair.id.clone().map_or(Value::from(index), Value::from);
            table.row(&mut out, id, &score, &pair.others)?;
            index += 1;
        }
        out.flush()?;
        if let Some(error) = bad {
            return Err(error);
        }
    }
    table.say_windows();
    Ok(())
}

fn score_rows(reader: &PairReader, session: &mut Session, head: &HeadInfo, rows: &[Pair]) -> Result<Vec<Score>> {
    let texts: Vec<(&str, &str)> = rows.iter().map(|row| (row.text_a.as_str(), row.text_b.as_str())).collect();
    match session.score(&head.name, &texts) {
        Ok(scores) => Ok(scores),
        Err(all) => {
            // One text of the batch was refused: find its line.
            for (row, texts) in rows.iter().zip(&texts) {
                if let Err(error) = session.score(&head.name, std::slice::from_ref(texts)) {
                    return Err(anyhow!("{}: {error}", reader.place(row.line)));
                }
            }
            Err(all.into())
        }
    }
}

/// What is written: JSON objects, or a table.
struct Table<'a> {
    head: &'a HeadInfo,
    others: Vec<String>,
    json: bool,
    /// Pairs that were longer than the model's input.
    long: u64,
}

impl<'a> Table<'a> {
    fn new(head: &'a HeadInfo, others: &[String], json: bool) -> Self {
        let rename = |name: &String| match OURS.contains(&name.as_str()) {
            true => format!("input_{name}"),
            false => name.clone(),
        };
        Self { head, others: others.iter().map(rename).collect(), json, long: 0 }
    }

    fn header(&self, out: &mut impl Write) -> Result<()> {
        if !self.json {
            write!(out, "id\thead\tlabel")?;
            for label in &self.head.labels {
                write!(out, "\tp({label})")?;
            }
            for name in &self.others {
                write!(out, "\t{name}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn row(&mut self, out: &mut impl Write, id: Value, score: &Score, others: &[String]) -> Result<()> {
        self.long += u64::from(score.windows > 1);
        let label = self.head.labels.get(score.best()).map_or("", String::as_str);
        if self.json {
            return write_json(out, &self.object(id, label, score, others));
        }
        match id {
            Value::String(id) => write!(out, "{id}")?,
            id => write!(out, "{id}")?,
        }
        write!(out, "\t{}\t{label}", self.head.name)?;
        for p in &score.probabilities {
            write!(out, "\t{p:.6}")?;
        }
        for value in others {
            write!(out, "\t{value}")?;
        }
        Ok(writeln!(out)?)
    }

    fn object(&self, id: Value, label: &str, score: &Score, others: &[String]) -> Map<String, Value> {
        let by_label = |values: &[f32]| -> Map<String, Value> {
            self.head.labels.iter().zip(values).map(|(label, &x)| (label.clone(), number(x))).collect()
        };
        let mut object = Map::new();
        object.insert("id".to_owned(), id);
        object.insert("head".to_owned(), self.head.name.clone().into());
        object.insert("label".to_owned(), label.into());
        object.insert("probabilities".to_owned(), by_label(&score.probabilities).into());
        object.insert("logits".to_owned(), by_label(&score.logits).into());
        if self.head.name == "relevance"
            && let Some(at) = self.head.labels.iter().position(|label| label == "relevant")
            && let Some(&p) = score.probabilities.get(at)
        {
            object.insert("relevance".to_owned(), number(p));
        }
        object.insert("tokens".to_owned(), score.tokens.into());
        object.insert("windows".to_owned(), score.windows.into());
        for (name, value) in self.others.iter().zip(others) {
            object.insert(name.clone(), value.clone().into());
        }
        object
    }

    fn say_windows(&self) {
        if self.long > 0 {
            say(&format!("{} pairs are longer than the model's input and were read in overlapping windows", self.long));
        }
    }
}

/// The shortest decimal that is this f32; widening to f64 first would print digits that mean nothing.
fn number(x: f32) -> Value {
    x.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact() {
        assert_eq!(number(0.1).to_string(), "0.1");
        assert_eq!(number(-3.25e-9).to_string(), "-3.25e-9");
        assert_eq!(number(f32::NAN), Value::Null);
    }
}
