//! How fast data files are read: `cargo run -p attar-trainer --example read_speed -- HEAD FILE...`

use std::path::Path;
use std::time::Instant;

use attar_trainer::data::{LabelMap, ReadOptions, head_labels, read};

fn main() -> attar_trainer::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let head = arguments.next().unwrap_or_else(|| "nli".to_owned());
    let labels: Vec<String> = head_labels(&head).unwrap_or_default().iter().map(|&l| l.to_owned()).collect();
    let map = LabelMap::new(&head, &labels, &Default::default())?;
    for file in arguments {
        let options = ReadOptions { labels: Some(&map), ..ReadOptions::default() };
        let begun = Instant::now();
        let rows = read(Path::new(&file), options)?;
        let seconds = begun.elapsed().as_secs_f64();
        println!("{file}: {} rows, {} without a label, {seconds:.2} s", rows.rows.len(), rows.unlabelled);
    }
    Ok(())
}
