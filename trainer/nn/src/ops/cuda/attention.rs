//! Multi-head attention: products through cuBLAS, soft-max with mask, bias and dropout in one kernel.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CudaDevice, CudaStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor};

use super::launch::{Arg, Grid, Launcher, address, column_sums, pointer, tensor, with_storage};
use super::{drop_arguments, no_cpu};
use crate::ops::AttentionSpec;

/// What the backward pass needs; `[b * heads, tokens, depth]` or `[b * heads, queries, keys]`.
struct Saved {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    probabilities: Tensor,
    dropped: Tensor,
}

/// Shapes and settings of one attention.
pub(crate) struct Attention {
    spec: AttentionSpec,
    depth: usize,
    queries: usize,
    keys: usize,
    /// Whether a bias `[heads, queries, keys]` is added to the scores.
    biased: bool,
    keep: bool,
    saved: OnceLock<Saved>,
}

impl Attention {
    pub(crate) fn new(
        spec: AttentionSpec,
        hidden: usize,
        [queries, keys]: [usize; 2],
        biased: bool,
        keep: bool,
    ) -> Self {
        let depth = hidden / spec.heads;
        Self { spec, depth, queries, keys, biased, keep, saved: OnceLock::new() }
    }

    /// Whether a row of scores fits into shared memory.
    pub(crate) fn holds(keys: usize) -> bool {
        Grid::holds(keys)
    }

    fn batch(&self) -> usize {
        self.spec.lengths.len()
    }

    fn scale(&self) -> f32 {
        1.0 / (self.depth as f32).sqrt()
    }

    /// x `[b, tokens, parts * h]` as `parts` tensors `[b * heads, tokens, depth]`.
    fn split(&self, x: &CudaStorage, layout: &Layout, tokens: usize, parts: usize) -> Result<Vec<Tensor>> {
        let launcher = Launcher::of(x);
        let one = self.batch() * self.spec.heads * tokens * self.depth;
        let y = launcher.alloc(parts * one)?;
        self.rearrange(&launcher, [pointer(x, layout)?, launcher.whole(&y)?], tokens, [0, parts, parts], false)?;
        let all = tensor(y, (parts, self.batch() * self.spec.heads, tokens, self.depth));
        (0..parts).map(|i| all.get(i)).collect()
    }

    /// The reverse of [`Attention::split`]. All parts are contiguous.
    fn merge(&self, parts: &[&Tensor], tokens: usize) -> Result<CudaStorage> {
        with_storage(parts[0], |first, _| {
            let launcher = Launcher::of(first);
            let y = launcher.alloc(parts.len() * parts[0].elem_count())?;
            for (i, part) in parts.iter().enumerate() {
                let ends = [address(part)?, launcher.whole(&y)?];
                self.rearrange(&launcher, ends, tokens, [i, 1, parts.len()], true)?;
            }
            Ok(y)
        })
    }

    /// Runs the kernel over `count` of `parts` parts, from the `first` on.
    fn rearrange(
        &self,
        launcher: &Launcher<'_>,
        [from, to]: [Arg; 2],
        tokens: usize,
        [first, count, parts]: [usize; 3],
        back: bool,
    ) -> Result<()> {
        let n = count * self.batch() * self.spec.heads * tokens * self.depth;
        let sizes = [self.batch(), tokens, first, parts, self.spec.heads, self.depth].map(Arg::Count);
        let [batch, tokens, first, parts, heads, depth] = sizes;
        let arguments = [from, to, Arg::Count(n), batch, tokens, first, parts, heads, depth, Arg::Int(i32::from(back))];
        launcher.run("split_heads", Grid::elements(n), &arguments)
    }

    fn lengths(&self, device: &CudaDevice) -> Result<Tensor> {
        let lengths: Vec<u32> = self.spec.lengths.iter().map(|&n| n as u32).collect();
        Tensor::from_vec(lengths, self.batch(), &candle_core::Device::Cuda(device.clone()))
    }

    /// `[b, queries, h]`
    fn forward(&self, query: Tensor, key: Tensor, value: Tensor, bias: Arg) -> Result<(CudaStorage, Shape)> {
        let scores = query.matmul(&key.transpose(1, 2)?)?;
        let rows = self.batch() * self.spec.heads * self.queries;
        let dropped = with_storage(&scores, |storage, layout| {
            let launcher = Launcher::of(storage);
            let dropped = self.spec.dropout.map(|_| launcher.alloc(rows * self.keys)).transpose()?;
            let lengths = self.lengths(launcher.device)?;
            let [key, threshold, scale] = drop_arguments(self.spec.dropout);
            let arguments = [
                pointer(storage, layout)?,
                dropped.as_ref().map_or(Ok(Arg::NONE), |d| launcher.whole(d))?,
                bias,
                address(&lengths)?,
                Arg::Count(rows),
                Arg::Count(self.spec.heads * self.queries),
                Arg::Count(self.keys),
                Arg::Real(self.scale()),
                key,
                threshold,
                scale,
            ];
            launcher.run("softmax", Grid::rows(rows, usize::MAX, self.keys), &arguments)?;
            Ok(dropped)
        })?;
        // The kernel turned the scores into probabilities where they lie.
        let probabilities = scores;
        let dropped = match dropped {
            Some(dropped) => tensor(dropped, probabilities.shape()),
            None => probabilities.clone(),
        };
        let context = self.merge(&[&dropped.matmul(&value)?], self.queries)?;
        if self.keep {
            let _ = self.saved.set(Saved { query, key, value, probabilities, dropped });
        }
        Ok((context, (self.batch(), self.queries, self.spec.heads * self.depth).into()))
    }

    /// The gradients of queries, keys and values, and of the bias.
    fn backward(&self, gradient: &Tensor, want_bias: bool) -> Result<([Tensor; 3], Option<Tensor>)> {
        let Some(saved) = self.saved.get() else {
            candle_core::bail!("attention: the forward pass kept nothing for a backward pass");
        };
        let gradient = gradient.contiguous()?;
        let context = with_storage(&gradient, |storage, layout| self.split(storage, layout, self.queries, 1))?;
        let context = &context[0];
        let dv = saved.dropped.transpose(1, 2)?.matmul(context)?;
        let ds = context.matmul(&saved.value.transpose(1, 2)?)?;
        let rows = self.batch() * self.spec.heads * self.queries;
        let scores = with_storage(&ds, |storage, layout| {
            let launcher = Launcher::of(storage);
            let scores = match want_bias {
                true => Some(launcher.alloc_as(rows * self.keys, DType::F32)?),
                false => None,
            };
            let [key, threshold, scale] = drop_arguments(self.spec.dropout);
            let arguments = [
                pointer(storage, layout)?,
                address(&saved.probabilities)?,
                scores.as_ref().map_or(Ok(Arg::NONE), |s| launcher.whole(s))?,
                Arg::Count(rows),
                Arg::Count(self.keys),
                Arg::Real(self.scale()),
                key,
                threshold,
                scale,
            ];
            launcher.run("softmax_backward", Grid::rows(rows, usize::MAX, 0), &arguments)?;
            Ok(scores)
        })?;
        let bias = match scores {
            Some(scores) => {
                let of_bias = self.spec.heads * self.queries * self.keys;
                let sums = column_sums(&tensor(scores, (self.batch(), of_bias)), 1)?;
                Some(sums.reshape((self.spec.heads, self.queries, self.keys))?)
            }
            None => None,
        };
        let dq = ds.matmul(&saved.key)?;
        let dk = ds.transpose(1, 2)?.matmul(&saved.query)?;
        Ok(([dq, dk, dv], bias))
    }

    fn bias(&self, storage: &CudaStorage, layout: &Layout) -> Result<Arg> {
        if self.biased { pointer(storage, layout) } else { Ok(Arg::NONE) }
    }
}

/// Over packed projections `[b, s, 3h]`; the other operand is the bias, anything where there is none.
pub(crate) struct SelfAttention(pub(crate) Attention);

impl CustomOp2 for SelfAttention {
    fn name(&self) -> &'static str {
        "self-attention"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        no_cpu("self-attention")
    }

    fn cuda_fwd(&self, qkv: &CudaStorage, l: &Layout, bias: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        let mut parts = self.0.split(qkv, l, self.0.keys, 3)?.into_iter();
        let (Some(query), Some(key), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
            candle_core::bail!("self-attention: expected queries, keys and values");
        };
        self.0.forward(query, key, value, self.0.bias(bias, bl)?)
    }

    fn bwd(
        &self,
        qkv: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ([dq, dk, dv], bias) = self.0.backward(gradient, self.0.biased && bias.track_op())?;
        let merged = tensor(self.0.merge(&[&dq, &dk, &dv], self.0.keys)?, qkv.shape());
        Ok((qkv.track_op().then_some(merged), bias))
    }
}

/// Of queries `[b, sq, h]` over packed keys and values `[b, s, 2h]`; the third operand is the bias.
pub(crate) struct CrossAttention(pub(crate) Attention);

impl CustomOp3 for CrossAttention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        no_cpu("attention")
    }

    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        ql: &Layout,
        kv: &CudaStorage,
        kvl: &Layout,
        bias: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let query = self.0.split(q, ql, self.0.queries, 1)?.into_iter().next();
        let mut parts = self.0.split(kv, kvl, self.0.keys, 2)?.into_iter();
        let (Some(query), Some(key), Some(value)) = (query, parts.next(), parts.next()) else {
            candle_core::bail!("attention: expected queries, keys and values");
        };
        self.0.forward(query, key, value, self.0.bias(bias, bl)?)
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ([dq, dk, dv], bias) = self.0.backward(gradient, self.0.biased && bias.track_op())?;
        let dq = tensor(self.0.merge(&[&dq], self.0.queries)?, q.shape());
        let dkv = tensor(self.0.merge(&[&dk, &dv], self.0.keys)?, kv.shape());
        Ok((q.track_op().then_some(dq), kv.track_op().then_some(dkv), bias))
    }
}
