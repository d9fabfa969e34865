//! Documents on the device: passages, full-text index, candidates, answers with citations.
