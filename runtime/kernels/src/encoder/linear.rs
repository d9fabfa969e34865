//! One linear layer on rows of f32, quantised first where its weights are int8.

use std::ops::Range;

use crate::gemm_f32::GemmFloat;
use crate::gemm_i8::{Activation, GemmI8, MOST_TOGETHER, Quantise};
use crate::kernel::Kernel;
use crate::linear::{Linear, OUTPUT_ALIGN, padded_inputs_i8};
use crate::scratch::Arena;

/// Quantised rows: bytes and scales. Empty for float layers.
pub(super) struct Quantised<'a> {
    bytes: &'a mut [u8],
    scales: &'a mut [f32],
}

impl<'a> Quantised<'a> {
    pub(super) fn size(kernel: Kernel, layers: &[&Linear<'_>], rows: usize) -> usize {
        Arena::bytes_size(Self::byte_count(kernel, layers, rows)) + Arena::floats_size(rows)
    }

    fn byte_count(kernel: Kernel, layers: &[&Linear<'_>], rows: usize) -> usize {
        let inputs = layers.iter().filter(|l| matches!(l, Linear::I8(_))).map(|l| l.inputs()).max();
        rows.next_multiple_of(MOST_TOGETHER) * inputs.map_or(0, padded_inputs_i8) * kernel.ops().activation_bytes
    }

    pub(super) fn take(arena: &mut Arena<'a>, kernel: Kernel, layers: &[&Linear<'_>], rows: usize) -> Self {
        Self { bytes: arena.bytes(Self::byte_count(kernel, layers, rows)), scales: arena.floats(rows) }
    }
}

/// Rows of f32 with a stride.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    pub(super) rows: usize,
}

/// All of a linear layer's blocks of output channels.
pub(super) fn all_blocks(linear: &Linear<'_>) -> Range<usize> {
    0..linear.outputs().div_ceil(OUTPUT_ALIGN)
}

/// One linear layer; `out` has rows of `out_stride` >= the padded number of outputs.
pub(super) fn linear(
    kernel: Kernel,
    linear: &Linear<'_>,
    input: Rows<'_>,
    quantised: &mut Quantised<'_>,
    blocks: Range<usize>,
    (output, output_stride): (&mut [f32], usize),
    activation: Activation,
) {
    let ops = kernel.ops();
    let Rows { values, stride: input_stride, rows } = input;
    macro_rules! float {
        ($operation:ident, $layer:expr) => {{
            let call = GemmFloat {
                weight: $layer.weight,
                bias: $layer.bias,
                inputs: $layer.inputs,
                input: values,
                input_stride,
                rows,
                blocks,
                output,
                output_stride,
                activation,
            };
            // SAFETY: `kernel` exists, so the CPU has the features.
            unsafe { (ops.$operation)(call) }
        }};
    }
    match linear {
        Linear::F32(layer) => float!(gemm_f32, layer),
        Linear::F16(layer) => float!(gemm_f16, layer),
        Linear::I8(layer) => {
            let row_bytes = padded_inputs_i8(layer.inputs) * ops.activation_bytes;
            let bytes = &mut quantised.bytes[..rows.next_multiple_of(MOST_TOGETHER) * row_bytes];
            let scales = &mut quantised.scales[..rows];
            let call = Quantise {
                input: values,
                input_stride,
                rows,
                columns: layer.inputs,
                output: &mut *bytes,
                scales: &mut *scales,
            };
            // SAFETY: `kernel` exists, so the CPU has the features.
            unsafe { (ops.quantise)(call) };
            let call = GemmI8 {
                linear: *layer,
                input: bytes,
                input_scales: scales,
                rows,
                blocks,
                output,
                output_stride,
                activation,
            };
            // SAFETY: `kernel` exists, so the CPU has the features.
            unsafe { (ops.gemm_i8)(call) };
        }
    }
}
