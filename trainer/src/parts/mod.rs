//! Files and folders in parts of a given size, with checksums: for machines that are reached through small transfers only.
//!
//! `NAME` becomes `NAME.part-00000`, `NAME.part-00001`, ... and the manifest `NAME.parts.toml`. The parts are cut from all
//! files of a folder one after the other, so that a thousand small files travel in few parts, and a large one in many.

mod join;
mod manifest;
mod split;

pub use join::join;
pub use manifest::{Manifest, Part, SourceFile};
pub use split::split;

/// Parses a size such as `4000000`, `512KiB`, `4MiB` or `1GiB` into bytes.
///
/// # Errors
/// A text that says what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?}, expected a number of bytes above 0, such as 4000000, 512KiB, 4MiB or 1GiB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(bad()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| bad())?;
    number.checked_mul(unit).filter(|&bytes| bytes > 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests;
