//! The bundles that ship, compiled in and kept mapped with the executable.
