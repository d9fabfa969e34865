//! MPNet's relative position bias (the buckets of T5, Raffel et al. 2020, bidirectional).

use candle_core::Tensor;

use crate::Result;
use crate::config::MPNET_MAX_DISTANCE;
use crate::ops::ScoreBias;

/// The bucket of a key at `key - query = distance`.
pub(super) fn bucket(distance: i64, buckets: usize) -> u32 {
    let half = buckets / 2;
    let exact = half / 2;
    let side = if distance > 0 { half } else { 0 };
    let n = distance.unsigned_abs() as usize;
    let within = if n < exact {
        n
    } else {
        // f32, as the published code computes it: the result decides between neighbouring buckets.
        let log = (n as f32 / exact as f32).ln() / (MPNET_MAX_DISTANCE as f32 / exact as f32).ln();
        (exact + (log * (half - exact) as f32) as usize).min(half - 1)
    };
    (side + within) as u32
}

/// The bias of `seq` queries and keys out of the table `[buckets, heads]`.
pub(super) fn bias(table: &Tensor, seq: usize, buckets: usize) -> Result<ScoreBias> {
    let ids = (0..seq as i64).flat_map(|query| (0..seq as i64).map(move |key| bucket(key - query, buckets))).collect();
    ScoreBias::new(table, ids, seq)
}
