//! Scores two passages and asks a folder: `cargo run -p attar-example-rust -- [FOLDER]`.

use anyhow::Context;
use attar_library::{Answer, Answerer, Library, ReadOptions};

const QUESTION: &str = "How long should I cool a burn under running water?";

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "examples/docs".to_owned());

    // Or `Model::open("student.attar")` for a bundle of your own.
    let bundle = attar_models::default().context("no bundle in this build")?;
    let model = attar::Model::from_static(bundle.bytes).context(bundle.name)?;
    let mut session = model.session().threads(2);

    let passages = [
        "Cool the burn under cool running water for 20 minutes.",
        "Let the dough rest for an hour before you bake it.",
    ];
    for (relevance, passage) in session.score_passages(QUESTION, &passages)?.iter().zip(passages) {
        println!("{relevance:.2}  {passage}");
    }

    let mut library = Library::in_memory()?;
    let report = library.index(&[&folder], &ReadOptions::default())?;
    for skipped in &report.skipped {
        eprintln!("{}: skipped: {}", skipped.source, skipped.reason);
    }
    let reply = Answerer::new(session).answer(&library, QUESTION)?;
    match reply.answers.first() {
        Some(Answer { text, source, line, .. }) => println!("{text}\n  {source}:{line}"),
        None => println!("no answer"),
    }
    Ok(())
}
