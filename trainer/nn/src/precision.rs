//! The number format of matrix products.

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

/// What the linears of an encoder's layers multiply. Parameters, sums of their gradients and the optimiser's moments are f32 in
/// any case, and so are norms, soft-max, the pooler, heads and losses. (On a GPU one product's gradient of a bfloat16 linear is
/// bfloat16 until it is added to another or used.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Operands of matrix products in bfloat16 (mixed precision, Micikevicius et al. 2018; bfloat16 has f32's range, so that
    /// no loss scaling is needed). On a CPU the linears' products alone, faster than f32 where it has AVX512-BF16 and
    /// slower elsewhere; on a GPU also attention's, and activations between operators are bfloat16.
    Bf16,
    /// Operands of linears in int8, with a scale an output channel and a scale a row, as an int8 bundle has them, through the
    /// runtime's kernels. Without gradients, and on the CPU: for a teacher's answers, the fastest where
    /// the CPU has VNNI. (Not [`crate::Student::simulate_int8`], which trains for int8 and computes in f32.)
    Int8,
}

impl Precision {
    /// The type of activations between the layers' operators.
    pub(crate) fn dtype(self, device: &Device) -> DType {
        match self {
            Self::Bf16 if !device.is_cpu() => DType::BF16,
            _ => DType::F32,
        }
    }

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}
