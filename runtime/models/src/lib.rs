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

#[cfg(not(feature = "small"))]
static BUNDLE: &Aligned<[u8]> = &Aligned { bytes: *include_bytes!("../attar-base.attar") };
#[cfg(feature = "small")]
static BUNDLE: &Aligned<[u8]> = &Aligned { bytes: *include_bytes!("../attar-small.attar") };

/// The name of the default bundle, as `attar info` shows it.
#[cfg(not(feature = "small"))]
pub const DEFAULT_NAME: &str = "attar-base";
/// The name of the default bundle, as `attar info` shows it.
#[cfg(feature = "small")]
pub const DEFAULT_NAME: &str = "attar-small";

/// The default bundle: `attar-base`, int8, 6 layers of 384; with the feature `small`, `attar-small`, 3 layers of 384. Both have the
/// heads `nli`, `rte` and `relevance`, and their model cards stand beside them. Aligned to 64 bytes.
pub static DEFAULT: &[u8] = &BUNDLE.bytes;

#[cfg(test)]
mod tests {
    use super::DEFAULT;

    #[test]
    fn the_default_bundle_is_aligned_for_its_tensors() {
        assert_eq!(DEFAULT.as_ptr().align_offset(64), 0);
    }
}
