//! attar: ask, index, score, info and bench on the command line.

fn main() {}
