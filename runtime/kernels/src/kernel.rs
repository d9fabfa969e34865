//! The choice of an instruction set at run time.

use std::fmt;

use crate::error::{Error, ErrorKind, check_length};
use crate::gemm_i8::Activation;
use crate::layer::{Embeddings, EncoderLayer};
use crate::linear::{Dense, Linear};
use crate::ops::Ops;
use crate::rows::{Embed, Head};
use crate::scratch::Scratch;
use crate::{encoder, scalar};

/// Every kernel compiled for this architecture, slowest first.
static ALL: &[&Ops] = &[
    &scalar::OPS,
    #[cfg(target_arch = "x86_64")]
    &crate::x86::avx2::OPS,
    #[cfg(target_arch = "x86_64")]
    &crate::x86::avx_vnni::OPS,
    #[cfg(target_arch = "x86_64")]
    &crate::x86::avx512::OPS,
    #[cfg(target_arch = "x86_64")]
    &crate::x86::amx::OPS,
    #[cfg(target_arch = "aarch64")]
    &crate::aarch64::neon::OPS,
    #[cfg(target_arch = "aarch64")]
    &crate::aarch64::dotprod::OPS,
    #[cfg(target_arch = "aarch64")]
    &crate::aarch64::i8mm::OPS,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    &crate::wasm::OPS,
];

/// An implementation of all operations that this CPU can run. Having one is the proof that it can.
///
/// On x86-64 and aarch64 all kernels give the same bits; `scalar` is the definition. Results of a sequence do not depend on
/// what else is in the batch. Inputs that are not finite give unspecified numbers, never undefined behaviour.
#[derive(Clone, Copy)]
pub struct Kernel {
    ops: &'static Ops,
}

impl Kernel {
    /// The fastest kernel that this CPU has.
    pub fn best() -> Self {
        let best = ALL.iter().rev().find(|ops| (ops.supported)());
        Self { ops: best.unwrap_or(&&scalar::OPS) }
    }

    /// The kernel of that name.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownKernel`] if this architecture has none of that name, [`ErrorKind::UnsupportedKernel`] if the CPU
    /// lacks its instructions; both list what there is.
    pub fn by_name(name: &str) -> Result<Self, Error> {
        let available = || Self::available().iter().map(Self::name).collect::<Vec<_>>().join(", ");
        match ALL.iter().find(|ops| ops.name == name) {
            Some(ops) if (ops.supported)() => Ok(Self { ops }),
            Some(ops) => Err(Error::new(
                ErrorKind::UnsupportedKernel,
                format!(
                    "kernel {name:?} needs {}, which this CPU or its system lacks; available: {}",
                    ops.isa,
                    available()
                ),
            )),
            None => Err(Error::new(
                ErrorKind::UnknownKernel,
                format!("kernel {name:?} is not one of {}'s; available: {}", std::env::consts::ARCH, available()),
            )),
        }
    }

    /// Every kernel that this CPU has, slowest first; `scalar` is always the first.
    pub fn available() -> Vec<Self> {
        ALL.iter().filter(|ops| (ops.supported)()).map(|ops| Self { ops }).collect()
    }

    /// The names of all kernels compiled for this architecture, whether or not this CPU has them.
    pub fn compiled() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|ops| ops.name)
    }

    /// The name, as [`Kernel::by_name`] takes it: `scalar`, `avx2`, `avx-vnni`, `avx512-vnni`, `amx`, `neon`, `neon-dotprod`,
    /// `neon-i8mm`, `wasm-simd128`.
    pub fn name(&self) -> &'static str {
        self.ops.name
    }

    /// The CPU features it uses, comma-separated.
    pub fn isa(&self) -> &'static str {
        self.ops.isa
    }

    pub(crate) fn ops(&self) -> &'static Ops {
        self.ops
    }

    /// A kernel of the tests' own, such as a wrong one.
    #[cfg(test)]
    pub(crate) fn of_test(ops: &'static Ops) -> Self {
        assert!((ops.supported)());
        Self { ops }
    }

    /// One encoder layer over a batch of concatenated sequences, in place.
    ///
    /// `hidden` is `[tokens, H]`; `starts` holds S + 1 rising offsets, from 0 to `tokens`: sequence i is rows
    /// `starts[i]..starts[i + 1]`, at least one.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if `hidden` or `starts` do not fit; nothing was changed then.
    pub fn encoder_layer(
        &self,
        layer: &EncoderLayer<'_>,
        hidden: &mut [f32],
        starts: &[u32],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        encoder::check_starts(starts, hidden.len(), layer.hidden_size())?;
        encoder::layer(*self, layer, hidden, starts, scratch);
        Ok(())
    }

    /// The last encoder layer, of which only each sequence's first row (`[CLS]`) is wanted: keys and values of all tokens, and
    /// everything else for the first rows only. `out` is `[S, H]`; its rows are bit for bit those of [`Kernel::encoder_layer`].
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if `hidden`, `starts` or `out` do not fit; nothing was changed then.
    pub fn encoder_layer_cls(
        &self,
        layer: &EncoderLayer<'_>,
        hidden: &[f32],
        starts: &[u32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        encoder::check_starts(starts, hidden.len(), layer.hidden_size())?;
        check_length("out", out.len(), (starts.len() - 1) * layer.hidden_size(), "sequences times hidden size")?;
        encoder::layer_cls(*self, layer, hidden, starts, out, scratch);
        Ok(())
    }

    /// Attention of one sequence alone, as [`Kernel::encoder_layer`] has it within: in int8 if the layer's weights are, else in f32.
    ///
    /// `qkv` is `[tokens, padded_outputs(3 H)]`, queries then keys then values; `out` is `[tokens, H]`. For measuring and for
    /// looking into a layer; there is no need to call it.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if `qkv` is not whole rows, or `out` has another number of them.
    pub fn attention(
        &self,
        layer: &EncoderLayer<'_>,
        qkv: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        encoder::attention(*self, layer, qkv, out, scratch)
    }

    /// The embeddings of tokens: `out[i] = norm(word[ids[i]] + type[types[i]] + position[positions[i]])`, `[tokens, H]`.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if the lengths differ, [`ErrorKind::IdOutOfRange`] naming the first id outside its table.
    pub fn embed(
        &self,
        embeddings: &Embeddings<'_>,
        ids: &[u32],
        positions: &[u32],
        types: &[u8],
        out: &mut [f32],
    ) -> Result<(), Error> {
        check_length("positions", positions.len(), ids.len(), "one per id")?;
        check_length("types", types.len(), ids.len(), "one per id")?;
        check_length("out", out.len(), ids.len() * embeddings.hidden_size(), "ids times hidden size")?;
        let outside = |what: &str, i: usize, got: usize, rows: usize| {
            Error::new(ErrorKind::IdOutOfRange, format!("{what}[{i}] is {got}, expected below {rows}"))
        };
        if let Some(i) = ids.iter().position(|&id| id as usize >= embeddings.vocabulary()) {
            return Err(outside("ids", i, ids[i] as usize, embeddings.vocabulary()));
        }
        if let Some(i) = positions.iter().position(|&p| p as usize >= embeddings.positions()) {
            return Err(outside("positions", i, positions[i] as usize, embeddings.positions()));
        }
        if let Some(i) = types.iter().position(|&t| usize::from(t) >= embeddings.types()) {
            return Err(outside("types", i, usize::from(types[i]), embeddings.types()));
        }
        // SAFETY: `self` exists, so the CPU has the features.
        unsafe { (self.ops.embed)(Embed { embeddings, ids, positions, types, out }) };
        Ok(())
    }

    /// `out = input W^T + b`; `input` is `[rows, inputs]`, `out` `[rows, outputs]`.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if `input` is not whole rows, or `out` has another number of them.
    pub fn linear(
        &self,
        linear: &Linear<'_>,
        input: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        encoder::linear_rows(*self, linear, input, out, Activation::None, scratch)
    }

    /// `out = tanh(input W^T + b)`, the pooler; `input` is `[rows, inputs]`, `out` `[rows, outputs]`.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if `input` is not whole rows, or `out` has another number of them.
    pub fn linear_tanh(
        &self,
        linear: &Linear<'_>,
        input: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        encoder::linear_rows(*self, linear, input, out, Activation::Tanh, scratch)
    }

    /// One layer of a head: `out = input W^T + b`; `input` is `[rows, inputs]`, `out` `[rows, outputs]`.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if `input` is not whole rows, or `out` has another number of them.
    pub fn head(&self, dense: &Dense<'_>, input: &[f32], out: &mut [f32]) -> Result<(), Error> {
        self.dense(dense, input, out, false)
    }

    /// As [`Kernel::head`], followed by tanh: a head's layers but the last.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if `input` is not whole rows, or `out` has another number of them.
    pub fn head_tanh(&self, dense: &Dense<'_>, input: &[f32], out: &mut [f32]) -> Result<(), Error> {
        self.dense(dense, input, out, true)
    }

    fn dense(&self, dense: &Dense<'_>, input: &[f32], out: &mut [f32], tanh: bool) -> Result<(), Error> {
        let rows = encoder::check_rows(input.len(), dense.inputs)?;
        check_length("out", out.len(), rows * dense.outputs, "rows times outputs")?;
        // SAFETY: `self` exists, so the CPU has the features.
        unsafe { (self.ops.head)(Head { dense: *dense, input, out, tanh }) };
        Ok(())
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernel").field(&self.name()).finish()
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.ops, other.ops)
    }
}

impl Eq for Kernel {}

#[cfg(test)]
mod tests;
