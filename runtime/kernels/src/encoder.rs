//! An encoder layer out of a kernel's operations, in blocks that keep the activations in cache. Knows no instruction set.

use std::ops::Range;

use crate::error::{Error, ErrorKind, check_length};
use crate::gemm_i8::Activation;
use crate::kernel::Kernel;
use crate::layer::EncoderLayer;
use crate::linear::{Linear, OUTPUT_ALIGN, padded_outputs};
use crate::rows::AddNorm;
use crate::scratch::{Arena, Scratch};
use crate::shared_rows::SharedRows;
use crate::team::Team;

mod attend;
mod linear;

pub(crate) use attend::attention;
use attend::{AttentionBuffers, attend};
use linear::{Quantised, Rows, all_blocks, linear};

/// Whole sequences are gathered into blocks of up to this many tokens (a longer one is a block of its own). 128 x 1152 floats
/// of queries, keys and values are 0.6 MB: in a level 2 cache of 1 MB, and enough rows to stream the weights for.
const BLOCK_TOKENS: usize = 128;
/// Rows that go through linear layers together: 64 x 1536 floats are 0.4 MB. 96 and 128 were no faster.
const ROWS: usize = 64;
/// Fewest rows of a task: a thread that streams all weights for fewer is bound by memory.
const TASK_ROWS: usize = 16;
/// Checks the batch's offsets against `hidden`'s length.
pub(crate) fn check_starts(starts: &[u32], length: usize, hidden: usize) -> Result<(), Error> {
    let tokens = check_rows(length, hidden)?;
    let shape = |detail: String| Err(Error::new(ErrorKind::Shape, detail));
    if starts.first() != Some(&0) {
        return shape("starts: expected the first offset to be 0".to_owned());
    }
    if let Some(i) = starts.windows(2).position(|pair| pair[0] >= pair[1]) {
        let (a, b) = (starts[i], starts[i + 1]);
        return shape(format!("starts[{}] is {b} after {a}: expected rising offsets (no empty sequence)", i + 1));
    }
    let last = starts[starts.len() - 1] as usize;
    if last != tokens {
        return shape(format!("starts: the last offset is {last}, expected the number of tokens, {tokens}"));
    }
    Ok(())
}

/// Number of rows of `size` values in `length`.
pub(crate) fn check_rows(length: usize, size: usize) -> Result<usize, Error> {
    if length.is_multiple_of(size) {
        return Ok(length / size);
    }
    Err(Error::new(ErrorKind::Shape, format!("input: {length} elements, expected a multiple of {size} (whole rows)")))
}

/// Blocks of consecutive sequences: ranges of sequence numbers.
fn blocks(starts: &[u32]) -> impl Iterator<Item = Range<usize>> {
    let sequences = starts.len() - 1;
    let mut first = 0;
    std::iter::from_fn(move || {
        if first == sequences {
            return None;
        }
        let mut end = first + 1;
        while end < sequences && (starts[end + 1] - starts[first]) as usize <= BLOCK_TOKENS {
            end += 1;
        }
        let block = first..end;
        first = end;
        Some(block)
    })
}

/// Tokens of the largest block, and of the longest sequence.
fn extents(starts: &[u32]) -> (usize, usize) {
    let block = blocks(starts).map(|b| (starts[b.end] - starts[b.start]) as usize).max();
    let sequence = starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max();
    (block.unwrap_or(0), sequence.unwrap_or(0))
}

/// One thread's buffers.
struct Buffers<'a> {
    quantised: Quantised<'a>,
    update: &'a mut [f32],
    up: &'a mut [f32],
    attention: AttentionBuffers<'a>,
}

impl<'a> Buffers<'a> {
    fn linears<'l>(layer: &'l EncoderLayer<'_>) -> [&'l Linear<'l>; 4] {
        [&layer.qkv, &layer.attention_output, &layer.ffn_up, &layer.ffn_down]
    }

    /// Bytes for up to `rows` (at most [`ROWS`]) rows and sequences of up to `longest` tokens.
    fn size(kernel: Kernel, layer: &EncoderLayer<'_>, rows: usize, longest: usize) -> usize {
        let rows = rows.min(ROWS);
        Quantised::size(kernel, &Self::linears(layer), rows)
            + Arena::floats_size(rows * padded_outputs(layer.hidden_size()))
            + Arena::floats_size(rows * padded_outputs(layer.ffn_up.outputs()))
            + AttentionBuffers::size(kernel, layer, longest)
    }

    fn take(arena: &mut Arena<'a>, kernel: Kernel, layer: &EncoderLayer<'_>, rows: usize, longest: usize) -> Self {
        let rows = rows.min(ROWS);
        Self {
            quantised: Quantised::take(arena, kernel, &Self::linears(layer), rows),
            update: arena.floats(rows * padded_outputs(layer.hidden_size())),
            up: arena.floats(rows * padded_outputs(layer.ffn_up.outputs())),
            attention: AttentionBuffers::take(arena, kernel, layer, longest),
        }
    }
}

/// A layer's work on a batch, in pieces that threads can share out.
#[derive(Clone, Copy)]
struct Work<'a> {
    kernel: Kernel,
    layer: &'a EncoderLayer<'a>,
    starts: &'a [u32],
    /// `[tokens, H]`: the layer's input, and its output unless it is the last.
    hidden: SharedRows<'a>,
    /// Whether only the first row of each sequence is wanted; then their queries, `[S, stride]`.
    last: bool,
    queries: SharedRows<'a>,
}

/// A block of sequences: its number of the first and the last, exclusive, and its activations.
#[derive(Clone, Copy)]
struct Block<'a> {
    first: usize,
    end: usize,
    /// `[block's tokens, stride]`.
    qkv: SharedRows<'a>,
    /// Attention's output: `[block's tokens, H]`, or the batch's `[S, H]` if only first rows are wanted.
    context: SharedRows<'a>,
}

impl<'a> Work<'a> {
    fn size(&self) -> usize {
        self.layer.hidden_size()
    }

    fn stride(&self) -> usize {
        padded_outputs(3 * self.size())
    }

    /// The tokens of the batch that the block holds.
    fn tokens(&self, block: &Block<'_>) -> Range<usize> {
        self.starts[block.first] as usize..self.starts[block.end] as usize
    }

    /// Queries, keys and values of some of the block's rows; keys and values only, if queries are those of the first rows. A
    /// block of 48 channels may hold both, and is computed twice.
    ///
    /// # Safety
    /// Nothing writes these rows of `hidden` or uses these rows of the block's `qkv`.
    unsafe fn project(&self, block: &Block<'_>, rows: Range<usize>, buffers: &mut Buffers<'_>) {
        let (size, stride, first) = (self.size(), self.stride(), self.tokens(block).start);
        let mut channels = all_blocks(&self.layer.qkv);
        if self.last {
            channels.start = size / OUTPUT_ALIGN;
        }
        for row in rows.clone().step_by(ROWS) {
            let rows = row..(row + ROWS).min(rows.end);
            // SAFETY: the caller's contract.
            let (values, out) = unsafe {
                let values = self.hidden.read((first + rows.start) * size..(first + rows.end) * size);
                (values, block.qkv.write(rows.start * stride..rows.end * stride))
            };
            let input = Rows { values, stride: size, rows: rows.len() };
            let out = (out, stride);
            linear(
                self.kernel,
                &self.layer.qkv,
                input,
                &mut buffers.quantised,
                channels.clone(),
                out,
                Activation::None,
            );
        }
    }

    /// Attention of a sequence, for some of the heads.
    ///
    /// # Safety
    /// Nothing writes the sequence's rows of the block's `qkv` (or its query) or uses its rows of `context` in these heads' columns.
    unsafe fn attend(&self, block: &Block<'_>, sequence: usize, heads: Range<usize>, buffers: &mut Buffers<'_>) {
        let (size, stride, first) = (self.size(), self.stride(), self.tokens(block).start);
        let (start, end) = (self.starts[sequence] as usize, self.starts[sequence + 1] as usize);
        // SAFETY: the caller's contract.
        let qkv = unsafe { block.qkv.read((start - first) * stride..(end - first) * stride) };
        let (query, out) = match self.last {
            true => {
                // SAFETY: nothing writes queries after they were computed.
                let values = unsafe { self.queries.read(sequence * stride..(sequence + 1) * stride) };
                (Rows { values, stride, rows: 1 }, block.context.pointer(sequence * size..(sequence + 1) * size))
            }
            false => {
                let out = block.context.pointer((start - first) * size..(end - first) * size);
                (Rows { values: qkv, stride, rows: end - start }, out)
            }
        };
        // SAFETY: `out` has a row for each query (checked by `pointer`); the rest is the caller's contract.
        unsafe { attend(self.kernel, self.layer, query, qkv, heads, out, &mut buffers.attention) }
    }

    /// Everything after attention, for some rows, in place: `hidden`, from row `first` on, and `context` are `[.., H]`.
    ///
    /// # Safety
    /// Nothing else uses these rows of `hidden`, or writes these rows of `context`.
    unsafe fn finish(
        &self,
        (hidden, first): (SharedRows<'_>, usize),
        context: SharedRows<'_>,
        rows: Range<usize>,
        buffers: &mut Buffers<'_>,
    ) {
        let (kernel, layer, size) = (self.kernel, self.layer, self.size());
        let (update_stride, up_stride) = (padded_outputs(size), padded_outputs(layer.ffn_up.outputs()));
        for row in rows.clone().step_by(ROWS) {
            let part = row..(row + ROWS).min(rows.end);
            let rows = part.len();
            // SAFETY: the caller's contract.
            let (hidden, context) = unsafe {
                let hidden = hidden.write((first + part.start) * size..(first + part.end) * size);
                (hidden, context.read(part.start * size..part.end * size))
            };
            let update = &mut buffers.update[..rows * update_stride];
            let quantised = &mut buffers.quantised;
            let mut run = |l: &Linear<'_>, input: Rows<'_>, out: (&mut [f32], usize), activation| {
                linear(kernel, l, input, quantised, all_blocks(l), out, activation);
            };
            let input = Rows { values: context, stride: size, rows };
            run(&layer.attention_output, input, (&mut *update, update_stride), Activation::None);
            add_norm(kernel, AddNorm { hidden, update, update_stride, norm: layer.attention_norm, eps: layer.eps });
            let input = Rows { values: hidden, stride: size, rows };
            run(&layer.ffn_up, input, (&mut *buffers.up, up_stride), Activation::Gelu);
            let input = Rows { values: buffers.up, stride: up_stride, rows };
            run(&layer.ffn_down, input, (&mut *update, update_stride), Activation::None);
            add_norm(kernel, AddNorm { hidden, update, update_stride, norm: layer.output_norm, eps: layer.eps });
        }
    }
}

fn add_norm(kernel: Kernel, call: AddNorm<'_>) {
    // SAFETY: `kernel` exists, so the CPU has the features.
    unsafe { (kernel.ops().add_norm)(call) }
}

/// Number of tasks that `rows` rows are cut into for a team, and the rows of each.
fn cut(rows: usize, threads: usize) -> (usize, usize) {
    // Four tasks for each thread, so that nobody waits long for the last one; whole tiles of AVX-512 and whole rows that stand together.
    let each = rows.div_ceil(4 * threads).next_multiple_of(8).max(TASK_ROWS);
    (rows.div_ceil(each), each)
}

fn part(task: usize, each: usize, rows: usize) -> Range<usize> {
    task * each..((task + 1) * each).min(rows)
}

/// What [`run_blocks`] takes from the arena: whether threads take whole blocks, what is shared, and what each thread has.
struct Memory {
    whole_blocks: bool,
    block_tokens: usize,
    longest: usize,
    /// Bytes of a block's activations.
    block: usize,
    /// Bytes of a thread's buffers.
    buffers: usize,
    threads: usize,
}

impl Memory {
    fn new(work: &Work<'_>, threads: usize) -> Self {
        let (block_tokens, longest) = extents(work.starts);
        let context = if work.last { 0 } else { Arena::floats_size(block_tokens * work.size()) };
        Self {
            whole_blocks: blocks(work.starts).count() >= threads || block_tokens < 2 * TASK_ROWS,
            block_tokens,
            longest,
            block: Arena::floats_size(block_tokens * work.stride()) + context,
            buffers: Buffers::size(work.kernel, work.layer, block_tokens, longest),
            threads,
        }
    }

    fn size(&self) -> usize {
        match self.whole_blocks {
            true => self.threads * (self.block + self.buffers),
            false => self.block + self.threads * self.buffers,
        }
    }

    /// A block's activations; `context` is the batch's if only first rows are wanted.
    fn block<'a>(&self, work: &Work<'_>, arena: &mut Arena<'a>, context: SharedRows<'a>) -> [SharedRows<'a>; 2] {
        let qkv = SharedRows::new(arena.floats(self.block_tokens * work.stride()));
        match work.last {
            true => [qkv, context],
            false => [qkv, SharedRows::new(arena.floats(self.block_tokens * work.size()))],
        }
    }

    fn buffers<'a>(&self, work: &Work<'_>, arena: &mut Arena<'a>) -> Buffers<'a> {
        Buffers::take(arena, work.kernel, work.layer, self.block_tokens, self.longest)
    }
}

/// Runs all blocks of the batch up to attention and, unless only first rows are wanted, to the layer's end.
///
/// With at least as many blocks as threads, a thread takes a whole block, whose activations stay in its cache (and a block of
/// few rows is not worth sharing); else the threads share out the rows of one block after the other, and its heads for attention.
fn run_blocks<'a>(work: Work<'_>, context: SharedRows<'a>, mut arena: Arena<'a>, team: &mut Team) {
    let Work { layer, starts, hidden, last, .. } = work;
    let memory = Memory::new(&work, team.threads());
    if memory.whole_blocks {
        let spaces = arena.cut(memory.threads, memory.block + memory.buffers);
        team.run(blocks(starts).count(), &|task, worker| {
            let Some(range) = blocks(starts).nth(task) else { return };
            // SAFETY: a worker number belongs to one call at a time.
            let mut arena = unsafe { spaces.take(worker) };
            let [qkv, context] = memory.block(&work, &mut arena, context);
            let mut buffers = memory.buffers(&work, &mut arena);
            let block = Block { first: range.start, end: range.end, qkv, context };
            let tokens = work.tokens(&block);
            // SAFETY: the block's activations are ours, and blocks have rows of their own in all else.
            unsafe {
                work.project(&block, 0..tokens.len(), &mut buffers);
                range.for_each(|sequence| work.attend(&block, sequence, 0..layer.heads, &mut buffers));
                if !last {
                    work.finish((hidden, tokens.start), context, 0..tokens.len(), &mut buffers);
                }
            }
        });
        return;
    }
    let [qkv, context] = memory.block(&work, &mut arena, context);
    let spaces = arena.cut(memory.threads, memory.buffers);
    let buffers = |worker: usize| {
        // SAFETY: a worker number belongs to one call at a time.
        memory.buffers(&work, &mut unsafe { spaces.take(worker) })
    };
    for range in blocks(starts) {
        let block = Block { first: range.start, end: range.end, qkv, context };
        let tokens = work.tokens(&block);
        let (tasks, each) = cut(tokens.len(), memory.threads);
        team.run(tasks, &|task, worker| {
            // SAFETY: tasks have rows of their own, and nothing writes `hidden` in this phase.
            unsafe { work.project(&block, part(task, each, tokens.len()), &mut buffers(worker)) }
        });
        team.run(range.len() * layer.heads, &|task, worker| {
            let (sequence, head) = (range.start + task / layer.heads, task % layer.heads);
            // SAFETY: `qkv` is only read in this phase; tasks have columns of their own in `context`.
            unsafe { work.attend(&block, sequence, head..head + 1, &mut buffers(worker)) }
        });
        if !last {
            team.run(tasks, &|task, worker| {
                let rows = part(task, each, tokens.len());
                // SAFETY: tasks have rows of their own; `context` is only read in this phase.
                unsafe { work.finish((hidden, tokens.start), context, rows, &mut buffers(worker)) }
            });
        }
    }
}

/// See [`Kernel::encoder_layer`]. Arguments are checked.
pub(crate) fn layer(
    kernel: Kernel,
    layer: &EncoderLayer<'_>,
    hidden: &mut [f32],
    starts: &[u32],
    scratch: &mut Scratch,
) {
    let hidden = SharedRows::new(hidden);
    let work = Work { kernel, layer, starts, hidden, last: false, queries: SharedRows::new(&mut []) };
    let (arena, team) = scratch.arena(|threads| Memory::new(&work, threads).size());
    run_blocks(work, SharedRows::new(&mut []), arena, team);
}

/// See [`Kernel::encoder_layer_cls`]. Arguments are checked.
pub(crate) fn layer_cls(
    kernel: Kernel,
    layer: &EncoderLayer<'_>,
    hidden: &[f32],
    starts: &[u32],
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let size = layer.hidden_size();
    let stride = padded_outputs(3 * size);
    let sequences = starts.len() - 1;
    for (out, &start) in out.chunks_exact_mut(size).zip(starts) {
        out.copy_from_slice(&hidden[start as usize * size..(start as usize + 1) * size]);
    }
    let none = || SharedRows::new(&mut []);
    let hidden = SharedRows::read_only(hidden);
    let work = Work { kernel, layer, starts, hidden, last: true, queries: none() };
    let sizes = |threads: usize| {
        let (tasks, each) = cut(sequences, threads);
        (tasks, each, Buffers::size(kernel, layer, each, 0))
    };
    let (mut arena, team) = scratch.arena(|threads| {
        let fixed = Arena::floats_size(sequences * stride) + Arena::floats_size(sequences * size);
        fixed + Memory::new(&work, threads).size().max(threads * sizes(threads).2)
    });
    let threads = team.threads();
    let (tasks, each, for_first) = sizes(threads);
    let queries = SharedRows::new(arena.floats(sequences * stride));
    let context = SharedRows::new(arena.floats(sequences * size));
    let out = SharedRows::new(out);

    let spaces = arena.reborrow().cut(threads, for_first);
    team.run(tasks, &|task, worker| {
        // SAFETY: a worker number belongs to one call at a time.
        let mut arena = unsafe { spaces.take(worker) };
        let mut buffers = Buffers::take(&mut arena, kernel, layer, each, 0);
        let rows = part(task, each, sequences);
        for row in rows.clone().step_by(ROWS) {
            let rows = row..(row + ROWS).min(rows.end);
            // SAFETY: tasks have rows of their own, and nothing writes `out` in this phase.
            let (values, to) = unsafe {
                (out.read(rows.start * size..rows.end * size), queries.write(rows.start * stride..rows.end * stride))
            };
            let input = Rows { values, stride: size, rows: rows.len() };
            let channels = 0..size.div_ceil(OUTPUT_ALIGN);
            linear(kernel, &layer.qkv, input, &mut buffers.quantised, channels, (to, stride), Activation::None);
        }
    });
    let work = Work { queries, ..work };
    run_blocks(work, context, arena.reborrow(), team);
    let spaces = arena.cut(threads, for_first);
    team.run(tasks, &|task, worker| {
        // SAFETY: a worker number belongs to one call at a time.
        let mut arena = unsafe { spaces.take(worker) };
        let mut buffers = Buffers::take(&mut arena, kernel, layer, each, 0);
        // SAFETY: tasks have rows of their own in `out`; nothing writes `context` in this phase.
        unsafe { work.finish((out, 0), context, part(task, each, sequences), &mut buffers) }
    });
}

/// See [`Kernel::linear`].
pub(crate) fn linear_rows(
    kernel: Kernel,
    layer: &Linear<'_>,
    input: &[f32],
    out: &mut [f32],
    activation: Activation,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let (inputs, outputs) = (layer.inputs(), layer.outputs());
    let rows = check_rows(input.len(), inputs)?;
    check_length("out", out.len(), rows * outputs, "rows times outputs")?;
    let stride = padded_outputs(outputs);
    let at_once = rows.min(ROWS);
    let (mut arena, _) =
        scratch.arena(|_| Arena::floats_size(at_once * stride) + Quantised::size(kernel, &[layer], at_once));
    let padded = arena.floats(at_once * stride);
    let mut quantised = Quantised::take(&mut arena, kernel, &[layer], at_once);
    for (input, out) in input.chunks(ROWS * inputs).zip(out.chunks_mut(ROWS * outputs)) {
        let input = Rows { values: input, stride: inputs, rows: input.len() / inputs };
        linear(kernel, layer, input, &mut quantised, all_blocks(layer), (&mut *padded, stride), activation);
        for (out, padded) in out.chunks_exact_mut(outputs).zip(padded.chunks_exact(stride)) {
            out.copy_from_slice(&padded[..outputs]);
        }
    }
    Ok(())
}
