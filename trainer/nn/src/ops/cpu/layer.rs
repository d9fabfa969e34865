//! A whole encoder layer in one operator: between its parts nothing passes through candle, whose gradient store would add
//! every intermediate gradient to a tensor of zeros.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::attention::{Attention, Bias};
use super::linear::Linear;
use super::norm::LayerNorm;
use super::{Buffer, elements, simd, with_elements};
use crate::ops::{LayerSpec, LayerTensors, ScoreBias};

/// Results of the parts that the backward pass needs; rounded where the linears' inputs are.
struct Saved {
    /// The first tokens' rows of the input, where only they are computed.
    first: Option<Buffer>,
    /// Queries, where only the first token's are computed.
    queries: Option<Buffer>,
    /// Packed queries, keys and values; or keys and values.
    packed: Buffer,
    context: Buffer,
    middle: Buffer,
    up: Buffer,
}

/// See [`crate::ops::encoder_layer`].
pub(crate) struct Layer {
    /// Of the first token alone, where only it is computed.
    query: Option<Linear>,
    packed: Linear,
    attention: Attention,
    attention_output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
    seq: usize,
    hidden: usize,
    round: bool,
    keep: bool,
    saved: OnceLock<Saved>,
}

/// Rounds rows as [`crate::ops::round_activations`] does, in place.
fn round_rows(x: &mut [f32], width: usize) {
    x.par_chunks_mut(width * ROUNDED_AT_ONCE).for_each(|x| attar_rounding::int8::round_activations(x, width));
}

/// Rows that one task rounds.
const ROUNDED_AT_ONCE: usize = 64;

/// A rounded copy.
fn rounded(x: &[f32], width: usize) -> Buffer {
    let mut out = Buffer::stale(x.len());
    out.copy_from_slice(x);
    round_rows(&mut out, width);
    out
}

impl Layer {
    pub(crate) fn new(
        t: &LayerTensors,
        bias: Option<&ScoreBias>,
        spec: &LayerSpec,
        [seq, hidden]: [usize; 2],
        keep: bool,
    ) -> Result<Self> {
        let linear = |weights: &[&(Tensor, Tensor)], gelu: bool| {
            Linear::new(weights.iter().map(|&p| p.clone()).collect(), spec.precision, gelu, keep)
        };
        let (query, packed, queries) = if spec.first_only {
            (Some(linear(&[&t.query], false)), linear(&[&t.key, &t.value], false), 1)
        } else {
            (None, linear(&[&t.query, &t.key, &t.value], false), seq)
        };
        let bias = match bias {
            Some(bias) if spec.first_only => Some(Bias::new(&bias.first_query().map_err(candle_core::Error::wrap)?)?),
            Some(bias) => Some(Bias::new(bias)?),
            None => None,
        };
        let norm = |(w, b): &(Tensor, Tensor), dropout| LayerNorm::new(w, b, spec.layer_norm_eps, dropout, keep);
        Ok(Self {
            query,
            packed,
            attention: Attention::new(spec.attention.clone(), bias, [hidden, queries, seq], keep),
            attention_output: linear(&[&t.attention_output], false),
            attention_norm: norm(&t.attention_norm, spec.attention_dropout),
            up: linear(&[&t.up], true),
            down: linear(&[&t.down], false),
            output_norm: norm(&t.output_norm, spec.output_dropout),
            seq,
            hidden,
            round: spec.round_activations,
            keep,
            saved: OnceLock::new(),
        })
    }

    /// The first token's row of each sequence.
    fn first_rows(&self, x: &[f32]) -> Buffer {
        let step = self.seq * self.hidden;
        let mut out = Buffer::stale(x.len() / self.seq);
        for (out, x) in out.chunks_exact_mut(self.hidden).zip(x.chunks_exact(step)) {
            out.copy_from_slice(&x[..self.hidden]);
        }
        out
    }

    fn forward(&self, x: &[f32]) -> Result<Buffer> {
        let input = self.round.then(|| rounded(x, self.hidden));
        let packed = self.packed.forward(input.as_deref().unwrap_or(x))?;
        drop(input);
        let mut residual = None;
        let (first, queries, mut context) = match &self.query {
            Some(query) => {
                let mut first = self.first_rows(x);
                if self.round {
                    residual = Some(self.first_rows(x));
                    round_rows(&mut first, self.hidden);
                }
                let queries = query.forward(&first)?;
                let context = self.attention.forward(&self.attention.apart(&queries, &packed));
                (Some(first), Some(queries), context)
            }
            None => (None, None, self.attention.forward(&self.attention.packed(&packed))),
        };
        if self.round {
            round_rows(&mut context, self.hidden);
        }
        let out = self.attention_output.forward(&context)?;
        let own = residual.as_deref().or(first.as_deref()).unwrap_or(x);
        let mut middle = self.attention_norm.forward(&out, Some(own))?;
        drop(out);
        // The residual is not rounded; the linear's input is.
        let residual = self.round.then(|| {
            let input = rounded(&middle, self.hidden);
            std::mem::replace(&mut middle, input)
        });
        let mut up = self.up.forward(&middle)?;
        if self.round {
            let inner = up.len() / (middle.len() / self.hidden).max(1);
            round_rows(&mut up, inner);
        }
        let down = self.down.forward(&up)?;
        let y = self.output_norm.forward(&down, Some(residual.as_deref().unwrap_or(&middle)))?;
        if self.keep {
            // Filled once: an operator runs forward once.
            let _ = self.saved.set(Saved { first, queries, packed, context, middle, up });
        }
        Ok(y)
    }

    /// The gradient of x; the parameters' are handed over.
    fn backward(&self, x: &[f32], dy: &[f32], want_dx: bool) -> Result<Option<Buffer>> {
        let Some(saved) = self.saved.get() else {
            candle_core::bail!("encoder layer: the forward pass kept nothing for a backward pass");
        };
        let input = self.round.then(|| rounded(x, self.hidden));
        let x = input.as_deref().unwrap_or(x);
        let (mut d_middle, d_down) = self.output_norm.backward(dy)?;
        let mut d_up = Buffer::stale(saved.up.len());
        self.down.backward(&saved.up, d_down.as_deref().unwrap_or(&d_middle), Some(&mut d_up), false)?;
        drop(d_down);
        self.up.backward(&saved.middle, &d_up, Some(&mut d_middle), true)?;
        drop(d_up);
        let (mut d_own, d_out) = self.attention_norm.backward(&d_middle)?;
        // Its memory serves again: every element is overwritten.
        let mut d_context = d_middle;
        self.attention_output.backward(
            &saved.context,
            d_out.as_deref().unwrap_or(&d_own),
            Some(&mut d_context),
            false,
        )?;
        drop(d_out);
        match (&self.query, &saved.queries, &saved.first) {
            (Some(query), Some(queries), Some(first)) => {
                let (dq, dkv) = self.attention.backward_apart(queries, &saved.packed, &d_context)?;
                query.backward(first, &dq, Some(&mut d_own), true)?;
                let mut dx = want_dx.then(|| Buffer::stale(x.len()));
                self.packed.backward(x, &dkv, dx.as_deref_mut(), false)?;
                if let Some(dx) = &mut dx {
                    dx.par_chunks_mut(self.seq * self.hidden)
                        .zip(d_own.par_chunks(self.hidden))
                        .for_each(|(dx, own)| simd::add_assign(&mut dx[..self.hidden], own));
                }
                Ok(dx)
            }
            _ => {
                let d_packed = self.attention.backward_packed(&saved.packed, &d_context)?;
                self.packed.backward(x, &d_packed, want_dx.then_some(&mut d_own), true)?;
                Ok(want_dx.then_some(d_own))
            }
        }
    }
}

impl CustomOp2 for Layer {
    fn name(&self) -> &'static str {
        "encoder-layer"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.forward(elements(x, xl)?)?;
        let rows = xl.dims()[0];
        let tokens = y.len() / (rows * self.hidden).max(1);
        Ok((CpuStorage::F32(y.into_vec()), (rows, tokens, self.hidden).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let want = x.track_op();
        let dx = with_elements(x, |data| with_elements(gradient, |dy| self.backward(data, dy, want)))?;
        let dx = dx.map(|dx| Tensor::from_vec(dx.into_vec(), x.shape(), x.device())).transpose()?;
        Ok((dx, None))
    }
}
