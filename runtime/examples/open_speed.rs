//! Prints how long opening a bundle and its first scores take: `open_speed BUNDLE`.
//!
//! Each row is the shortest of 50, but the first score, which can be taken only once in a process.

use std::time::{Duration, Instant};

use attar::{Error, Model};

fn shortest(mut work: impl FnMut() -> Result<(), Error>) -> Result<Duration, Error> {
    let mut best = Duration::MAX;
    for _ in 0..50 {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

fn main() -> Result<(), Error> {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: open_speed BUNDLE");
        std::process::exit(2);
    };
    let start = Instant::now();
    let model = Model::open(&path)?;
    let opened = start.elapsed();
    let head = model.heads()[0].name.clone();
    let pair =
        [("Where is the SD card slot?", "The SD card slot is on the underside of the board, opposite the USB ports.")];
    let mut session = model.session();
    let score = &session.score(&head, &pair)?[0];
    println!("open, then first score of {} tokens: {:?}, {:?}", score.tokens, opened, start.elapsed());
    println!("open:           {:?}", shortest(|| Model::open(&path).map(drop))?);
    println!("new session:    {:?}", shortest(|| model.session().score(&head, &pair).map(drop))?);
    println!("score:          {:?} with {}", shortest(|| session.score(&head, &pair).map(drop))?, model.kernel());
    println!("verify:         {:?}", shortest(|| model.verify())?);
    Ok(())
}
