//! Scores questions against passages on the device, from a memory-mapped bundle.
