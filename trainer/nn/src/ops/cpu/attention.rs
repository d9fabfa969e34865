//! Multi-head attention of ragged sequences, fused: scores, soft-max, dropout and context of one sequence and head at a time.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::matrix::{Matrix, multiply};
use super::simd::{LANES, exp, lane_sum, multiversion};
use super::{Buffer, elements, with_elements};
use crate::ops::{AttentionSpec, Dropout, ScoreBias, mask_bits};

/// See [`ScoreBias`]; its gradient goes to the table.
pub(crate) struct Bias {
    /// `[heads, sq, s]`
    values: Vec<f32>,
    /// `[buckets, heads]`
    table: Tensor,
    /// The table's row of each query and key, `[sq, s]`.
    buckets: Vec<u32>,
}

impl Bias {
    pub(crate) fn new(bias: &ScoreBias) -> Result<Self> {
        let values = with_elements(&bias.values, |b| Ok(b.to_vec()))?;
        Ok(Self { values, table: bias.table.clone(), buckets: bias.buckets.clone() })
    }

    /// Adds a head's score gradients, a row of keys for each query, to the table's gradient.
    fn add_gradient<'d>(
        &self,
        table: &mut [f32],
        [head, heads]: [usize; 2],
        rows: impl Iterator<Item = &'d [f32]>,
        keys: usize,
    ) {
        for (row, buckets) in rows.zip(self.buckets.chunks_exact(keys)) {
            for (d, bucket) in row.iter().zip(buckets) {
                table[*bucket as usize * heads + head] += d;
            }
        }
    }
}

/// Attention over packed projections `[b, s, 3h]`, or over queries `[b, sq, h]` and packed keys and values `[b, s, 2h]`.
pub(crate) struct Attention {
    spec: AttentionSpec,
    bias: Option<Bias>,
    hidden: usize,
    queries: usize,
    keys: usize,
    keep: bool,
    /// The probabilities before dropout, `[b, heads, sq, padded keys]`.
    probabilities: OnceLock<Buffer>,
}

/// Where queries, keys and values lie.
pub(crate) struct Operands<'a> {
    q: &'a [f32],
    q_stride: usize,
    kv: &'a [f32],
    kv_stride: usize,
    /// Where keys begin in a row of kv; values follow at `+ hidden`.
    k_offset: usize,
}

/// The gradients of one sequence's operands.
struct Gradients<'a> {
    /// None where the queries' gradient lies in `dkv`.
    dq: Option<&'a mut [f32]>,
    dkv: &'a mut [f32],
    /// Of the bias's table `[buckets, heads]`; empty where it is not wanted.
    table: &'a mut [f32],
}

multiversion! {
    /// Turns rows of scores, `stride` apart, into probabilities; elements from `n` on become 0.
    fn softmax_rows(rows: &mut [f32], stride: usize, n: usize) {
        let padded = n.next_multiple_of(LANES).min(stride);
        for row in rows.chunks_exact_mut(stride) {
            let row = &mut row[..padded];
            row[n..].fill(f32::NEG_INFINITY);
            let mut lanes = [f32::NEG_INFINITY; LANES];
            for c in row.chunks_exact(LANES) {
                for (m, x) in lanes.iter_mut().zip(c) {
                    *m = if *x > *m { *x } else { *m };
                }
            }
            let max = lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for x in row.iter_mut() {
                *x = exp(*x - max);
            }
            let inverse = 1.0 / lane_sum(padded, |i| row[i]);
            for x in row.iter_mut() {
                *x *= inverse;
            }
        }
    }
}

multiversion! {
    /// `out = probabilities` with dropout; `first` is the mask's index of the first row's first key, rows are `keys` apart.
    fn drop_rows(out: &mut [f32], probabilities: &[f32], stride: usize, n: usize, dropout: Dropout, first: usize, keys: usize) {
        let (threshold, scale) = (dropout.threshold(), dropout.scale());
        for (r, (out, p)) in out.chunks_exact_mut(stride).zip(probabilities.chunks_exact(stride)).enumerate() {
            let first = first.wrapping_add(r * keys);
            for (i, (o, p)) in out[..n].iter_mut().zip(&p[..n]).enumerate() {
                *o = if mask_bits(dropout.key, first.wrapping_add(i)) < threshold { 0.0 } else { p * scale };
            }
        }
    }
}

multiversion! {
    /// The gradient through the soft-max, in place: `d = p (d - Σ d p)`, rows `stride` apart.
    fn softmax_backward_rows(d: &mut [f32], p: &[f32], stride: usize, n: usize) {
        for (d, p) in d.chunks_exact_mut(stride).zip(p.chunks_exact(stride)) {
            let (d, p) = (&mut d[..n], &p[..n]);
            let sum = lane_sum(n, |i| d[i] * p[i]);
            for (d, p) in d.iter_mut().zip(p) {
                *d = p * (*d - sum);
            }
        }
    }
}

impl Attention {
    pub(crate) fn new(
        spec: AttentionSpec,
        bias: Option<Bias>,
        [hidden, queries, keys]: [usize; 3],
        keep: bool,
    ) -> Self {
        Self { spec, bias, hidden, queries, keys, keep, probabilities: OnceLock::new() }
    }

    fn depth(&self) -> usize {
        self.hidden / self.spec.heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.depth() as f32).sqrt()
    }

    /// Rows of scores are padded so that the soft-max has no remainder.
    fn stride(&self) -> usize {
        self.keys.next_multiple_of(LANES)
    }

    /// The queries of a sequence that are computed: those of padding are not, and come out as 0.
    fn live_queries(&self, length: usize) -> usize {
        if self.queries == self.keys { length } else { self.queries }
    }

    pub(crate) fn forward(&self, operands: &Operands<'_>) -> Buffer {
        let (heads, hidden, stride) = (self.spec.heads, self.hidden, self.stride());
        let batch = self.spec.lengths.len();
        // Zeros where padding is skipped.
        let mut context = Buffer::zeros(batch * self.queries * hidden);
        let plane = self.queries * stride;
        let run = |b: usize, context: &mut [f32], probabilities: &mut [f32], scratch: &mut Vec<f32>| {
            for head in 0..heads {
                let at = if self.keep { head * plane..(head + 1) * plane } else { 0..plane };
                self.forward_head(operands, b, head, context, &mut probabilities[at], scratch);
            }
        };
        let chunks = context.par_chunks_mut(self.queries * hidden).enumerate();
        if self.keep {
            let mut all = Buffer::stale(batch * heads * plane);
            chunks
                .zip(all.par_chunks_mut(heads * plane))
                .for_each_init(Vec::new, |scratch, ((b, c), p)| run(b, c, p, scratch));
            // Filled once: an operator runs forward once.
            let _ = self.probabilities.set(all);
        } else {
            chunks.for_each_init(|| (vec![0.0; plane], Vec::new()), |(p, scratch), (b, c)| run(b, c, p, scratch));
        }
        context
    }

    fn forward_head(
        &self,
        o: &Operands<'_>,
        b: usize,
        head: usize,
        context: &mut [f32],
        p: &mut [f32],
        scratch: &mut Vec<f32>,
    ) {
        let (n, depth, stride) = (self.spec.lengths[b], self.depth(), self.stride());
        let live = self.live_queries(n);
        let q = Matrix::new(&o.q[b * self.queries * o.q_stride + head * depth..], live, depth, o.q_stride);
        let at = b * self.keys * o.kv_stride + o.k_offset + head * depth;
        let k = Matrix::new(&o.kv[at..], n, depth, o.kv_stride);
        let v = Matrix::new(&o.kv[at + self.hidden..], n, depth, o.kv_stride);
        let p = &mut p[..live * stride];
        multiply(p, stride, false, self.scale(), q, k.t());
        if let Some(bias) = &self.bias {
            let rows = bias.values[head * self.queries * self.keys..].chunks_exact(self.keys);
            for (p, bias) in p.chunks_exact_mut(stride).zip(rows) {
                p.iter_mut().zip(&bias[..n]).for_each(|(p, bias)| *p += bias);
            }
        }
        softmax_rows(p, stride, n);
        let weights = self.dropped(b, head, p, n, scratch);
        multiply(&mut context[head * depth..], self.hidden, false, 1.0, Matrix::new(weights, live, n, stride), v);
    }

    /// The probabilities with dropout, in `scratch` where there is one.
    fn dropped<'a>(&self, b: usize, head: usize, p: &'a [f32], n: usize, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let Some(dropout) = self.spec.dropout else { return p };
        scratch.resize(self.queries * self.stride(), 0.0);
        let first = (b * self.spec.heads + head) * self.queries * self.keys;
        drop_rows(&mut scratch[..p.len()], p, self.stride(), n, dropout, first, self.keys);
        &scratch[..p.len()]
    }

    /// Fills the gradients of one sequence.
    fn backward_sequence(
        &self,
        o: &Operands<'_>,
        p: &[f32],
        b: usize,
        dc: &[f32],
        out: &mut Gradients<'_>,
        scratch: &mut [Vec<f32>; 2],
    ) {
        let (n, depth, stride, hidden) = (self.spec.lengths[b], self.depth(), self.stride(), self.hidden);
        let live = self.live_queries(n);
        let plane = self.queries * stride;
        let [dropped, ds] = scratch;
        ds.resize(plane, 0.0);
        for head in 0..self.spec.heads {
            let p = &p[head * plane..][..live * stride];
            let ds = &mut ds[..live * stride];
            let dc = Matrix::new(&dc[b * self.queries * hidden + head * depth..], live, depth, hidden);
            let q = Matrix::new(&o.q[b * self.queries * o.q_stride + head * depth..], live, depth, o.q_stride);
            let at = o.k_offset + head * depth;
            let sequence = &o.kv[b * self.keys * o.kv_stride..];
            let k = Matrix::new(&sequence[at..], n, depth, o.kv_stride);
            let v = Matrix::new(&sequence[at + hidden..], n, depth, o.kv_stride);
            let weights = Matrix::new(self.dropped(b, head, p, n, dropped), live, n, stride);
            multiply(&mut out.dkv[at + hidden..], o.kv_stride, false, 1.0, weights.t(), dc);
            multiply(ds, stride, false, 1.0, dc, v.t());
            if let Some(dropout) = self.spec.dropout {
                let first = (b * self.spec.heads + head) * self.queries * self.keys;
                drop_in_place(ds, stride, n, dropout, first, self.keys);
            }
            softmax_backward_rows(ds, p, stride, n);
            if let (Some(bias), false) = (&self.bias, out.table.is_empty()) {
                let rows = ds.chunks_exact(stride).map(|row| &row[..n]);
                bias.add_gradient(out.table, [head, self.spec.heads], rows, self.keys);
            }
            let ds = Matrix::new(ds, live, n, stride);
            multiply(&mut out.dkv[at..], o.kv_stride, false, self.scale(), ds.t(), q);
            match &mut out.dq {
                Some(dq) => multiply(&mut dq[head * depth..], hidden, false, self.scale(), ds, k),
                None => multiply(&mut out.dkv[head * depth..], o.kv_stride, false, self.scale(), ds, k),
            }
        }
    }

    /// Room for each sequence's gradient of the bias's table `[buckets, heads]`; empty where none is wanted.
    fn tables(&self) -> Vec<Vec<f32>> {
        let wanted = self.bias.as_ref().filter(|bias| bias.table.is_variable());
        vec![vec![0.0; wanted.map_or(0, |bias| bias.table.elem_count())]; self.spec.lengths.len()]
    }

    /// Hands over the table's gradient: the sequences' sum, in order.
    fn deposit_tables(&self, tables: Vec<Vec<f32>>) -> Result<()> {
        let Some(bias) = self.bias.as_ref().filter(|bias| bias.table.is_variable()) else { return Ok(()) };
        let mut sum = Buffer::zeros(bias.table.elem_count());
        tables.iter().for_each(|table| super::simd::add_assign(&mut sum, table));
        crate::gradients::deposit(&bias.table, sum)
    }

    fn kept(&self) -> Result<&[f32]> {
        match self.probabilities.get() {
            Some(p) => Ok(p),
            None => candle_core::bail!("attention: the forward pass kept nothing for a backward pass"),
        }
    }

    fn shape(&self) -> Shape {
        (self.spec.lengths.len(), self.queries, self.hidden).into()
    }
}

multiversion! {
    fn drop_in_place(d: &mut [f32], stride: usize, n: usize, dropout: Dropout, first: usize, keys: usize) {
        let (threshold, scale) = (dropout.threshold(), dropout.scale());
        for (r, d) in d.chunks_exact_mut(stride).enumerate() {
            let first = first.wrapping_add(r * keys);
            for (i, d) in d[..n].iter_mut().enumerate() {
                *d = if mask_bits(dropout.key, first.wrapping_add(i)) < threshold { 0.0 } else { *d * scale };
            }
        }
    }
}

impl Attention {
    pub(crate) fn packed<'a>(&self, qkv: &'a [f32]) -> Operands<'a> {
        let stride = 3 * self.hidden;
        Operands { q: qkv, q_stride: stride, kv: qkv, kv_stride: stride, k_offset: self.hidden }
    }

    pub(crate) fn apart<'a>(&self, q: &'a [f32], kv: &'a [f32]) -> Operands<'a> {
        Operands { q, q_stride: self.hidden, kv, kv_stride: 2 * self.hidden, k_offset: 0 }
    }

    /// The gradient of packed operands.
    pub(crate) fn backward_packed(&self, qkv: &[f32], dc: &[f32]) -> Result<Buffer> {
        let (p, operands) = (self.kept()?, self.packed(qkv));
        let per_sequence = self.spec.heads * self.queries * self.stride();
        // Zeros: the rows of padding are not visited.
        let mut d = Buffer::zeros(qkv.len());
        let mut tables = self.tables();
        d.par_chunks_mut(self.keys * 3 * self.hidden).zip(&mut tables).enumerate().for_each_init(
            Default::default,
            |scratch, (b, (dkv, table))| {
                let p = &p[b * per_sequence..(b + 1) * per_sequence];
                self.backward_sequence(&operands, p, b, dc, &mut Gradients { dq: None, dkv, table }, scratch);
            },
        );
        self.deposit_tables(tables)?;
        Ok(d)
    }

    /// The gradients of queries, and of packed keys and values.
    pub(crate) fn backward_apart(&self, q: &[f32], kv: &[f32], dc: &[f32]) -> Result<(Buffer, Buffer)> {
        let (p, operands) = (self.kept()?, self.apart(q, kv));
        let per_sequence = self.spec.heads * self.queries * self.stride();
        let (mut dq, mut dkv) = (Buffer::zeros(q.len()), Buffer::zeros(kv.len()));
        let mut tables = self.tables();
        dq.par_chunks_mut(self.queries * self.hidden)
            .zip(dkv.par_chunks_mut(self.keys * 2 * self.hidden))
            .zip(&mut tables)
            .enumerate()
            .for_each_init(Default::default, |scratch, (b, ((dq, dkv), table))| {
                let p = &p[b * per_sequence..(b + 1) * per_sequence];
                self.backward_sequence(&operands, p, b, dc, &mut Gradients { dq: Some(dq), dkv, table }, scratch);
            });
        self.deposit_tables(tables)?;
        Ok((dq, dkv))
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "self-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let context = self.forward(&self.packed(elements(qkv, layout)?));
        Ok((CpuStorage::F32(context.into_vec()), self.shape()))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let d = with_elements(qkv, |x| with_elements(gradient, |dc| self.backward_packed(x, dc)))?;
        Ok(Some(Tensor::from_vec(d.into_vec(), qkv.shape(), qkv.device())?))
    }
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, q: &CpuStorage, ql: &Layout, kv: &CpuStorage, kl: &Layout) -> Result<(CpuStorage, Shape)> {
        let context = self.forward(&self.apart(elements(q, ql)?, elements(kv, kl)?));
        Ok((CpuStorage::F32(context.into_vec()), self.shape()))
    }

    fn bwd(&self, q: &Tensor, kv: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dq, dkv) =
            with_elements(q, |q| with_elements(kv, |kv| with_elements(gradient, |dc| self.backward_apart(q, kv, dc))))?;
        let tensor = |d: Buffer, like: &Tensor| Tensor::from_vec(d.into_vec(), like.shape(), like.device());
        Ok((Some(tensor(dq, q)?), Some(tensor(dkv, kv)?)))
    }
}
