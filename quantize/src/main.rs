//! Turns students into int8, f16 or f32 bundles.

fn main() {}
