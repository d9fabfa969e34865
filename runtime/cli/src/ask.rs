//! `attar ask`.

use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use attar_library::{Answer, AnswerOptions, Answerer, Library, ReadOptions, Reply};
use serde::Serialize;

use crate::Outcome;
use crate::args::AskArgs;
use crate::output::{Style, printable, report_skipped, require_text, stdout, write_json};
use crate::student::Student;

#[derive(Serialize)]
struct JsonReply<'a> {
    question: &'a str,
    no_answer_probability: f32,
    answers: Vec<JsonAnswer<'a>>,
    considered: Vec<JsonAnswer<'a>>,
    latency_ms: f64,
}

#[derive(Serialize)]
struct JsonAnswer<'a> {
    text: &'a str,
    passage: &'a str,
    headings: &'a [String],
    source: &'a str,
    line: u32,
    score: f32,
}

pub(crate) fn run(args: &AskArgs) -> Result<Outcome> {
    require_text("the question", &args.question)?;
    let student = Student::open(&args.student)?;
    let library = match &args.library {
        Some(file) => Library::open(file)?,
        None => {
            let mut library = Library::in_memory()?;
            let report = library.index(&args.docs, &ReadOptions::default())?;
            report_skipped(&report.skipped);
            library
        }
    };
    let mut options = AnswerOptions::default();
    options.candidates = args.candidates;
    options.top = args.top;
    options.threshold = args.threshold;
    let session = student.model.session().threads(args.threads);
    let asked = Instant::now();
    let reply = Answerer::with_options(session, options).answer(&library, &args.question)?;
    let latency_ms = asked.elapsed().as_secs_f64() * 1e3;

    let mut out = stdout();
    if args.json {
        let json = JsonReply {
            question: &args.question,
            no_answer_probability: reply.no_answer_probability,
            answers: reply.answers.iter().map(json_answer).collect(),
            considered: reply.considered.iter().map(json_answer).collect(),
            latency_ms: (latency_ms * 1e3).round() / 1e3,
        };
        write_json(&mut out, &json)?;
    } else {
        print(&mut out, &reply, &library)?;
    }
    out.flush()?;
    Ok(if reply.answers.is_empty() { Outcome::NoAnswer } else { Outcome::Done })
}

fn json_answer(answer: &Answer) -> JsonAnswer<'_> {
    JsonAnswer {
        text: &answer.text,
        passage: &answer.passage,
        headings: &answer.headings,
        source: &answer.source,
        line: answer.line,
        score: answer.score,
    }
}

fn print(out: &mut impl Write, reply: &Reply, library: &Library) -> Result<()> {
    let style = Style::for_stdout();
    for (i, answer) in reply.answers.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        print_answer(out, answer, style, true)?;
    }
    if reply.answers.is_empty() {
        let (documents, _) = library.len()?;
        let plural = if documents == 1 { "document" } else { "documents" };
        let percent = 100.0 * reply.no_answer_probability;
        writeln!(out, "No answer found in {documents} {plural} (probability that there is none: {percent:.0} %).")?;
        if !reply.considered.is_empty() {
            writeln!(out, "The closest texts:")?;
        }
        for answer in &reply.considered {
            writeln!(out)?;
            print_answer(out, answer, style, false)?;
        }
    }
    Ok(())
}

fn print_answer(out: &mut impl Write, answer: &Answer, style: Style, bold: bool) -> Result<()> {
    for line in printable(&answer.text).lines() {
        writeln!(out, "{}", if bold { style.bold(line) } else { line.to_owned() })?;
    }
    let percent = 100.0 * answer.score;
    let citation = format!("    {}:{}  {percent:.0} %", printable(&answer.source), answer.line);
    Ok(writeln!(out, "{}", style.faint(&citation))?)
}
