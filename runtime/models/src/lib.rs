//! The bundles that ship, compiled in and kept mapped with the executable.
//!
//! `include_bytes!` alone gives no alignment; a bundle's tensors want 64 bytes, so that they can be used from the
//! executable's own pages without a copy.

#![forbid(unsafe_code)]

/// Gives the bytes beside it the alignment of a cache line.
#[repr(C, align(64))]
struct Aligned<T: ?Sized> {
    bytes: T,
}

static BASE: &Aligned<[u8]> = &Aligned { bytes: *include_bytes!("../attar-base.attar") };

/// The name of the default bundle, as `attar info` shows it.
pub const DEFAULT_NAME: &str = "attar-base";

/// The default bundle: int8, 6 layers of 384, heads `nli`, `rte` and `relevance`; its model card stands beside it
/// as `attar-base.md`. Aligned to 64 bytes.
pub static DEFAULT: &[u8] = &BASE.bytes;

#[cfg(test)]
mod tests {
    use super::DEFAULT;

    #[test]
    fn the_default_bundle_is_aligned_for_its_tensors() {
        assert_eq!(DEFAULT.as_ptr().align_offset(64), 0);
    }
}
