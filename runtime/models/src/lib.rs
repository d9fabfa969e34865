//! The bundles that ship, compiled in and kept mapped with the executable.
//!
//! Which ones is a matter of the features `base` and `small`; model cards stand beside the files, as `attar-base.md` and
//! `attar-small.md`. `include_bytes!` alone gives no alignment; a bundle's tensors want 64 bytes, so that they can be used
//! from the executable's own pages without a copy.

#![forbid(unsafe_code)]

/// Gives the bytes beside it the alignment of a cache line.
#[cfg(any(feature = "base", feature = "small"))]
#[repr(C, align(64))]
struct Aligned<T: ?Sized> {
    bytes: T,
}

#[cfg(feature = "base")]
static BASE: &Aligned<[u8]> = &Aligned { bytes: *include_bytes!("../attar-base.attar") };

#[cfg(feature = "small")]
static SMALL: &Aligned<[u8]> = &Aligned { bytes: *include_bytes!("../attar-small.attar") };

/// A bundle that is compiled in.
#[derive(Debug, Clone, Copy)]
pub struct Bundle {
    /// Its name, as `attar info` shows it and `--model` takes it.
    pub name: &'static str,
    /// The file's bytes, aligned to 64.
    pub bytes: &'static [u8],
}

/// The bundles of this build, the default first: `attar-base` (6 layers of 384), then `attar-small` (3 layers of 384). Both are
/// int8 and have the heads `nli`, `rte` and `relevance`.
pub static BUNDLES: &[Bundle] = &[
    #[cfg(feature = "base")]
    Bundle { name: "attar-base", bytes: &BASE.bytes },
    #[cfg(feature = "small")]
    Bundle { name: "attar-small", bytes: &SMALL.bytes },
];

/// The bundle that is used where none is named; `None` in a build without any.
pub fn default() -> Option<Bundle> {
    BUNDLES.first().copied()
}

/// The bundle of this name, if it is compiled in.
pub fn named(name: &str) -> Option<Bundle> {
    BUNDLES.iter().find(|bundle| bundle.name == name).copied()
}

#[cfg(test)]
mod tests {
    use super::{BUNDLES, default, named};

    #[test]
    fn bundles_are_aligned_for_their_tensors() {
        for bundle in BUNDLES {
            assert_eq!(bundle.bytes.as_ptr().align_offset(64), 0, "{}", bundle.name);
        }
    }

    #[test]
    fn bundles_are_found_by_name() {
        for bundle in BUNDLES {
            assert!(named(bundle.name).is_some_and(|found| found.bytes.as_ptr() == bundle.bytes.as_ptr()));
        }
        assert_eq!(default().map(|bundle| bundle.name), BUNDLES.first().map(|bundle| bundle.name));
        assert!(named("attar").is_none());
    }
}
