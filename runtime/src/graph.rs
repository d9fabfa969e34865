//! The encoder as a tract graph of four fused operators.
//!
//! Inputs, for T tokens of S sequences that follow one another without padding:
//! `ids` u32 `[T]`, `positions` u32 `[T]`, `types` u8 `[T]`, and `starts` u32 `[S + 1]`, where each sequence begins and where
//! the last one ends. T and S are symbols: one plan serves every length and batch. Weights are no constants of the graph; the
//! operators hold the [`Network`] and read from the bundle's bytes, since tract would copy constants.
//!
//! The graph is built by hand and already is what it should be, so none of tract's optimisation passes runs.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use attar_kernels::{Kernel, Scratch};
use tract_core::internal::*;

use crate::network::Network;

/// What every operator holds.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) network: Arc<Network>,
    pub(crate) kernel: Kernel,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}", self.kernel.name())
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.network, &other.network) && self.kernel.name() == other.kernel.name()
    }
}

impl Eq for Shared {}

impl Shared {
    fn hidden(&self) -> usize {
        self.network.layout().architecture().hidden
    }
}

/// Sum of word, position and type embeddings, layer-normed: `(ids, positions, types)` to `[T, H]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Embeddings {
    shared: Shared,
}

/// Encoder layer `index`: `([T, H], starts)` to `[T, H]`, or to `[S, H]` for the last, of which only the first row of each
/// sequence is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EncoderLayer {
    shared: Shared,
    index: usize,
    last: bool,
}

/// `tanh(W x + b)`: `[S, H]` to `[S, H]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pooler {
    shared: Shared,
}

/// Head `index`, its copies' logits averaged: `[S, H]` to `[S, labels]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    shared: Shared,
    index: usize,
}

/// Working memory of a worker. tract hands it to operators as a shared resource of the turn; a worker is one thread, so it
/// is never borrowed twice.
struct Working(RefCell<Scratch>);

/// Runs `work` with the worker's scratch memory.
fn with_scratch(
    ctx: &EvalContext<'_>,
    work: impl FnOnce(&mut Scratch) -> Result<(), attar_kernels::Error>,
) -> TractResult<()> {
    let working = ctx.shared.and_then(|shared| shared.get::<Working>()).context("no scratch memory in this turn")?;
    let mut scratch = working.0.try_borrow_mut().context("scratch memory is in use")?;
    Ok(work(&mut scratch)?)
}

fn slice<D: Datum>(tensor: &Tensor) -> TractResult<&[D]> {
    tensor.try_as_plain_ram()?.as_slice::<D>()
}

/// `[rows, width]` zeros that `fill` writes.
fn filled(rows: usize, width: usize, fill: impl FnOnce(&mut [f32]) -> TractResult<()>) -> TractResult<TVec<TValue>> {
    let mut tensor = Tensor::zero::<f32>(&[rows, width])?;
    fill(tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?)?;
    Ok(tvec!(tensor.into()))
}

fn rows(fact: &TypedFact, width: usize) -> TVec<TypedFact> {
    tvec!(f32::fact([fact.shape[0].clone(), width.to_dim()]))
}

macro_rules! op {
    ($op:ident) => {
        impl Op for $op {
            fn name(&self) -> StaticName {
                stringify!($op).into()
            }
            op_as_typed_op!();
        }
    };
}
op!(Embeddings);
op!(EncoderLayer);
op!(Pooler);
op!(Head);

impl EvalOp for Embeddings {
    not_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (ids, positions, types) = args_3!(inputs);
        let Shared { network, kernel } = &self.shared;
        filled(ids.len(), self.shared.hidden(), |out| {
            Ok(kernel.embed(&network.parts().embeddings, slice(&ids)?, slice(&positions)?, slice(&types)?, out)?)
        })
    }
}

impl TypedOp for Embeddings {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(rows(inputs[0], self.shared.hidden()))
    }
    as_op!();
}

impl EvalOp for EncoderLayer {
    not_out_of_plan!();

    fn eval(&self, ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (hidden, starts) = args_2!(inputs);
        let layer = &self.shared.network.parts().layers[self.index];
        let starts = slice::<u32>(&starts)?;
        let kernel = self.shared.kernel;
        if self.last {
            let hidden = slice::<f32>(&hidden)?;
            return filled(starts.len() - 1, self.shared.hidden(), |out| {
                with_scratch(ctx, |scratch| kernel.encoder_layer_cls(layer, hidden, starts, out, scratch))
            });
        }
        // The plan has let go of its own reference, so this is the same memory: the layer works in place.
        let mut hidden = hidden.into_tensor();
        let mut plain = hidden.try_as_plain_ram_mut()?;
        let rows = plain.as_slice_mut::<f32>()?;
        with_scratch(ctx, |scratch| kernel.encoder_layer(layer, rows, starts, scratch))?;
        Ok(tvec!(hidden.into()))
    }
}

impl TypedOp for EncoderLayer {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = if self.last { inputs[1].shape[0].clone() - 1 } else { inputs[0].shape[0].clone() };
        Ok(tvec!(f32::fact([rows, self.shared.hidden().to_dim()])))
    }
    as_op!();
}

impl EvalOp for Pooler {
    not_out_of_plan!();

    fn eval(&self, ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let rows = args_1!(inputs);
        let Shared { network, kernel } = &self.shared;
        let (pooler, sequences, rows) = (&network.parts().pooler, rows.shape()[0], slice::<f32>(&rows)?);
        filled(sequences, self.shared.hidden(), |out| {
            with_scratch(ctx, |scratch| kernel.linear_tanh(pooler, rows, out, scratch))
        })
    }
}

impl TypedOp for Pooler {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(rows(inputs[0], self.shared.hidden()))
    }
    as_op!();
}

impl EvalOp for Head {
    not_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let pooled = args_1!(inputs);
        let sequences = pooled.shape()[0];
        let pooled = slice::<f32>(&pooled)?;
        let copies = &self.shared.network.parts().heads[self.index];
        let kernel = self.shared.kernel;
        filled(sequences, self.labels(), |sum| {
            for copy in copies {
                let mut rows = pooled.to_vec();
                for (i, dense) in copy.iter().enumerate() {
                    let mut out = vec![0.0; sequences * dense.outputs()];
                    match i + 1 == copy.len() {
                        true => kernel.head(dense, &rows, &mut out)?,
                        false => kernel.head_tanh(dense, &rows, &mut out)?,
                    }
                    rows = out;
                }
                sum.iter_mut().zip(&rows).for_each(|(sum, x)| *sum += x);
            }
            let copies = copies.len() as f32;
            sum.iter_mut().for_each(|x| *x /= copies);
            Ok(())
        })
    }
}

impl Head {
    fn labels(&self) -> usize {
        self.shared.network.layout().heads()[self.index].labels.len()
    }
}

impl TypedOp for Head {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(rows(inputs[0], self.labels()))
    }
    as_op!();
}

/// A graph that ends in one head, ready to run; shared by all workers.
#[derive(Debug, Clone)]
pub(crate) struct Plan(Arc<TypedSimplePlan>);

/// A plan with its working memory: what one thread runs.
pub(crate) struct Worker(TypedSimpleState);

/// What a worker reads: S sequences of T tokens in all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) ids: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) types: Vec<u8>,
    /// `[S + 1]`, from 0 to T.
    pub(crate) starts: Vec<u32>,
}

impl Plan {
    /// The plan for head number `head`.
    pub(crate) fn new(shared: &Shared, head: usize) -> TractResult<Plan> {
        let layers = shared.network.parts().layers.len();
        let mut model = TypedModel::default();
        let tokens = model.symbols.sym("T").to_dim();
        let sequences = model.symbols.sym("S").to_dim();
        let ids = model.add_source("ids", u32::fact([tokens.clone()]))?;
        let positions = model.add_source("positions", u32::fact([tokens.clone()]))?;
        let types = model.add_source("types", u8::fact([tokens]))?;
        let starts = model.add_source("starts", u32::fact([sequences + 1]))?;
        let shared = || shared.clone();
        let mut x = model.wire_node("embeddings", Embeddings { shared: shared() }, &[ids, positions, types])?[0];
        for index in 0..layers {
            let layer = EncoderLayer { shared: shared(), index, last: index + 1 == layers };
            x = model.wire_node(format!("layer.{index}"), layer, &[x, starts])?[0];
        }
        x = model.wire_node("pooler", Pooler { shared: shared() }, &[x])?[0];
        x = model.wire_node("head", Head { shared: shared(), index: head }, &[x])?[0];
        model.select_output_outlets(&[x])?;
        Ok(Plan(Arc::new(TypedSimplePlan::build(model, &RunOptions::default())?)))
    }

    /// A new worker with empty scratch memory.
    pub(crate) fn worker(&self) -> TractResult<Worker> {
        let mut state = self.0.spawn()?;
        state.turn_state.shared.insert(Working(RefCell::new(Scratch::new())));
        Ok(Worker(state))
    }
}

impl Worker {
    /// The head's logits, `[S, labels]`.
    pub(crate) fn run(&mut self, batch: &Batch) -> TractResult<Vec<f32>> {
        let inputs = tvec!(
            Tensor::from_shape(&[batch.ids.len()], &batch.ids)?.into(),
            Tensor::from_shape(&[batch.ids.len()], &batch.positions)?.into(),
            Tensor::from_shape(&[batch.ids.len()], &batch.types)?.into(),
            Tensor::from_shape(&[batch.starts.len()], &batch.starts)?.into(),
        );
        let outputs = self.0.run(inputs)?;
        Ok(slice::<f32>(&outputs[0])?.to_vec())
    }
}
