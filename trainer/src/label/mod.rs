//! Teachers' soft labels: computed once, kept on disk, checked before use.

mod against_gold;
mod calibrate;
mod shard;
mod shards;
mod store;
mod teacher;

pub use against_gold::AgainstGold;
pub use calibrate::fit_calibration;
pub use shards::ShardSet;
pub use store::{LabelStore, StoreKey, Values, dataset_hash};
pub use teacher::Teacher;
pub(crate) use teacher::truncation_for;

#[cfg(test)]
mod tests;
