//! Scores passages and asks a folder from Rust.

fn main() {}
