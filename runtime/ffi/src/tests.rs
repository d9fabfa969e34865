//! Unit tests of the wall against panics.
