//! The number format of matrix products.

use candle_core::DType;
use serde::{Deserialize, Serialize};

/// What an encoder's layers compute in. Parameters, their gradients and the optimiser's moments are f32 in either case, and
/// so are norms, soft-max, the pooler, heads and losses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Operands of matrix products in bfloat16 (mixed precision, Micikevicius et al. 2018; bfloat16 has f32's range, so that
    /// no loss scaling is needed). For GPUs: on the CPU it is correct and slow.
    Bf16,
}

impl Precision {
    /// The type of activations between the layers' operators.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}
