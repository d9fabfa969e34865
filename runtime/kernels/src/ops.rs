//! The table of operations that an instruction set provides.

use crate::attention::AttentionF32;
use crate::attention_i8::AttentionI8;
use crate::gemm_f32::{GemmF16, GemmF32};
use crate::gemm_i8::{GemmI8, Quantise};
use crate::rows::{AddNorm, Embed, Head};

/// One instruction set's operations.
///
/// Every function has the same duty: it may be called only on a CPU that has the features in `isa`. A [`crate::Kernel`] is made
/// only after that was checked, so a call through a `Kernel`'s table meets it.
pub(crate) struct Ops {
    pub name: &'static str,
    pub isa: &'static str,
    pub supported: fn() -> bool,
    /// Bytes that a quantised activation takes.
    pub activation_bytes: usize,
    pub quantise: unsafe fn(Quantise<'_>),
    pub gemm_i8: unsafe fn(GemmI8<'_>),
    pub gemm_f16: unsafe fn(GemmF16<'_>),
    pub gemm_f32: unsafe fn(GemmF32<'_>),
    pub attention: unsafe fn(AttentionF32<'_>),
    pub attention_i8: unsafe fn(AttentionI8<'_>),
    pub add_norm: unsafe fn(AddNorm<'_>),
    pub embed: unsafe fn(Embed<'_>),
    pub head: unsafe fn(Head<'_>),
}

/// Makes the `Ops` of one instruction set: every generic operation, instantiated for a token inside a function that has the
/// instruction set's features, so that the token's inlined operations become single instructions.
macro_rules! ops {
    (
        $(#[$doc:meta])* $table:ident, name: $name:literal, isa: $isa:literal, supported: $supported:expr,
        token: $token:ty, make: $make:expr $(, features: $features:literal)?
    ) => {
        $(#[$doc])*
        pub(crate) static $table: $crate::ops::Ops = {
            use $crate::gemm_i8::Int8Tile;
            $crate::ops::ops!(@function quantise, $crate::gemm_i8::Quantise<'_>, $crate::gemm_i8::quantise, $make $(, $features)?);
            $crate::ops::ops!(@function gemm_i8, $crate::gemm_i8::GemmI8<'_>, $crate::gemm_i8::gemm, $make $(, $features)?);
            $crate::ops::ops!(@function gemm_f16, $crate::gemm_f32::GemmF16<'_>, $crate::gemm_f32::gemm, $make, simd $(, $features)?);
            $crate::ops::ops!(@function gemm_f32, $crate::gemm_f32::GemmF32<'_>, $crate::gemm_f32::gemm, $make, simd $(, $features)?);
            $crate::ops::ops!(@function attention, $crate::attention::AttentionF32<'_>, $crate::attention::attention, $make, simd $(, $features)?);
            $crate::ops::ops!(@function attention_i8, $crate::attention_i8::AttentionI8<'_>, $crate::attention_i8::attention, $make $(, $features)?);
            $crate::ops::ops!(@function add_norm, $crate::rows::AddNorm<'_>, $crate::rows::add_norm, $make, simd $(, $features)?);
            $crate::ops::ops!(@function embed, $crate::rows::Embed<'_>, $crate::rows::embed, $make, simd $(, $features)?);
            $crate::ops::ops!(@function head, $crate::rows::Head<'_>, $crate::rows::head, $make, simd $(, $features)?);
            $crate::ops::Ops {
                name: $name,
                isa: $isa,
                supported: $supported,
                activation_bytes: <$token as Int8Tile>::READS.bytes(),
                quantise,
                gemm_i8,
                gemm_f16,
                gemm_f32,
                attention,
                attention_i8,
                add_norm,
                embed,
                head,
            }
        };
    };
    (@function $function:ident, $call:ty, $generic:path, $make:expr $(, $features:literal)?) => {
        /// # Safety
        /// The CPU has the instruction set's features.
        $(#[target_feature(enable = $features)])?
        unsafe fn $function(call: $call) {
            // SAFETY: the caller's contract, and this function has the features enabled.
            #[allow(unused_unsafe, reason = "some generic operations are safe, and so are some tokens")]
            unsafe {
                $generic($make, call)
            }
        }
    };
    (@function $function:ident, $call:ty, $generic:path, $make:expr, simd $(, $features:literal)?) => {
        /// # Safety
        /// The CPU has the instruction set's features.
        $(#[target_feature(enable = $features)])?
        unsafe fn $function(call: $call) {
            // SAFETY: the caller's contract, and this function has the features enabled.
            #[allow(unused_unsafe, reason = "some generic operations are safe, and so are some tokens")]
            unsafe {
                $generic($make.simd(), call)
            }
        }
    };
}
pub(crate) use ops;
