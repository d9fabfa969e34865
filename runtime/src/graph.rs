//! The encoder as a tract graph of four fused operators.
//!
//! T tokens of S sequences follow one another without padding. Activations (`[T, H]` after the embeddings and each layer, `[S, H]`
//! after the last layer and the pooler, `[S, labels]` at the end) lie in the worker's [`Working`] memory, which every operator
//! finds as a shared resource of the turn; along the edges of the graph goes one empty tensor, made once, that only orders the
//! operators. So one plan serves every length and batch, and a run allocates nothing: as tensors, inputs and activations would
//! be allocated anew for each run, and their symbolic shapes resolved. Weights are no constants of the graph; the operators hold
//! the [`Network`] and read from the bundle's bytes, since tract would copy constants.
//!
//! The graph is built by hand and already is what it should be, so none of tract's optimisation passes runs.

use std::fmt;
use std::sync::{Arc, Mutex};

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

/// Sum of word, position and type embeddings, layer-normed: ids, positions, types to `[T, H]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Embeddings {
    shared: Shared,
}

/// Encoder layer `index`: `[T, H]` to `[T, H]`, or to `[S, H]` for the last, of which only the first row of each sequence is
/// needed.
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

/// What a run reads and writes: the batch, the activations, the logits. It grows to the largest batch and is then reused.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) batch: Batch,
    /// `[T, H]`, `[S, H]`, `[S, H]`.
    hidden: Vec<f32>,
    first: Vec<f32>,
    pooled: Vec<f32>,
    /// A head's layers: input and output.
    head: [Vec<f32>; 2],
    /// `[S, labels]`.
    pub(crate) logits: Vec<f32>,
    pub(crate) scratch: Scratch,
}

/// The memory of a session's workers, of which one runs at a time.
pub(crate) type Working = Arc<Mutex<Memory>>;

/// Runs `work` with the worker's memory and hands on the tensor that orders the operators.
fn with_memory(
    ctx: &EvalContext<'_>,
    inputs: TVec<TValue>,
    work: impl FnOnce(&mut Memory) -> Result<(), attar_kernels::Error>,
) -> TractResult<TVec<TValue>> {
    let working = ctx.shared.and_then(|shared| shared.get::<Working>()).context("no working memory in this turn")?;
    // A run that panicked left nothing that the next one reads.
    let mut memory = working.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    work(&mut memory)?;
    Ok(inputs)
}

/// `length` values, of which those that were there before keep theirs.
fn sized(values: &mut Vec<f32>, length: usize) -> &mut [f32] {
    values.resize(length, 0.0);
    values
}

fn order() -> TypedFact {
    u8::fact([0])
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

/// Every operator hands on what it was given.
macro_rules! typed_op {
    ($op:ident) => {
        impl TypedOp for $op {
            fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
                Ok(tvec!(order()))
            }
            as_op!();
        }
    };
}
typed_op!(Embeddings);
typed_op!(EncoderLayer);
typed_op!(Pooler);
typed_op!(Head);

impl EvalOp for Embeddings {
    not_out_of_plan!();

    fn eval(&self, ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Shared { network, kernel } = &self.shared;
        with_memory(ctx, inputs, |memory| {
            let Batch { ids, positions, types, .. } = &memory.batch;
            let hidden = sized(&mut memory.hidden, ids.len() * self.shared.hidden());
            kernel.embed(&network.parts().embeddings, ids, positions, types, hidden)
        })
    }
}

impl EvalOp for EncoderLayer {
    not_out_of_plan!();

    fn eval(&self, ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let layer = &self.shared.network.parts().layers[self.index];
        let kernel = self.shared.kernel;
        with_memory(ctx, inputs, |memory| {
            let Memory { batch, hidden, first, scratch, .. } = memory;
            if self.last {
                let first = sized(first, (batch.starts.len() - 1) * self.shared.hidden());
                return kernel.encoder_layer_cls(layer, hidden, &batch.starts, first, scratch);
            }
            kernel.encoder_layer(layer, hidden, &batch.starts, scratch)
        })
    }
}

impl EvalOp for Pooler {
    not_out_of_plan!();

    fn eval(&self, ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Shared { network, kernel } = &self.shared;
        with_memory(ctx, inputs, |memory| {
            let Memory { first, pooled, scratch, .. } = memory;
            kernel.linear_tanh(&network.parts().pooler, first, sized(pooled, first.len()), scratch)
        })
    }
}

impl EvalOp for Head {
    not_out_of_plan!();

    fn eval(&self, ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let copies = &self.shared.network.parts().heads[self.index];
        let (kernel, labels) = (self.shared.kernel, self.labels());
        with_memory(ctx, inputs, |memory| {
            let Memory { pooled, head: [rows, out], logits, .. } = memory;
            let sequences = pooled.len() / self.shared.hidden();
            let sum = sized(logits, sequences * labels);
            sum.fill(0.0);
            for copy in copies {
                rows.clear();
                rows.extend_from_slice(pooled);
                for (i, dense) in copy.iter().enumerate() {
                    let out = sized(out, sequences * dense.outputs());
                    match i + 1 == copy.len() {
                        true => kernel.head(dense, rows, out)?,
                        false => kernel.head_tanh(dense, rows, out)?,
                    }
                    rows.clear();
                    rows.extend_from_slice(out);
                }
                sum.iter_mut().zip(rows.iter()).for_each(|(sum, x)| *sum += x);
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

/// A graph that ends in one head, ready to run; shared by all workers.
#[derive(Debug, Clone)]
pub(crate) struct Plan(Arc<TypedSimplePlan>);

/// A plan that runs on a session's working memory.
pub(crate) struct Worker {
    state: TypedSimpleState,
    /// What orders the operators: made once.
    order: TValue,
}

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
        let begin = model.add_source("begin", order())?;
        let shared = || shared.clone();
        let mut x = model.wire_node("embeddings", Embeddings { shared: shared() }, &[begin])?[0];
        for index in 0..layers {
            let layer = EncoderLayer { shared: shared(), index, last: index + 1 == layers };
            x = model.wire_node(format!("layer.{index}"), layer, &[x])?[0];
        }
        x = model.wire_node("pooler", Pooler { shared: shared() }, &[x])?[0];
        x = model.wire_node("head", Head { shared: shared(), index: head }, &[x])?[0];
        model.select_output_outlets(&[x])?;
        Ok(Plan(Arc::new(TypedSimplePlan::build(model, &RunOptions::default())?)))
    }

    /// A worker on this memory.
    pub(crate) fn worker(&self, working: &Working) -> TractResult<Worker> {
        let mut state = self.0.spawn()?;
        state.turn_state.shared.insert(working.clone());
        Ok(Worker { state, order: Tensor::zero::<u8>(&[0])?.into_tvalue() })
    }
}

impl Worker {
    /// From the memory's batch to its logits.
    pub(crate) fn run(&mut self) -> TractResult<()> {
        self.state.run(tvec!(self.order.clone()))?;
        Ok(())
    }
}
