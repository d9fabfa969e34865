//! Memory whose end is seen.

use super::{Packed, Random};
use crate::gemm_i8::{Activation, GemmI8, MOST_TOGETHER, Quantise};
use crate::linear::OUTPUT_ALIGN;
use crate::{Kernel, Linear, LinearI8, scalar};

/// Memory that ends where a page begins that cannot be read: one byte too many ends the test's process.
pub(crate) struct Guarded {
    at: *mut u8,
    bytes: usize,
    all: usize,
}

impl Guarded {
    const PAGE: usize = 4096;

    pub(crate) fn new(bytes: usize) -> Self {
        let all = bytes.next_multiple_of(Self::PAGE) + Self::PAGE;
        // SAFETY: new memory of our own, whose last page is taken away again; both calls are checked.
        let at = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = libc::mmap(std::ptr::null_mut(), all, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(at.byte_add(all - Self::PAGE), Self::PAGE, libc::PROT_NONE), 0);
            at.cast::<u8>()
        };
        Self { at, bytes, all }
    }

    pub(crate) fn slice(&mut self) -> &mut [u8] {
        // SAFETY: these bytes lie before the page that was taken away and are zero at first; borrowed as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(self.all - Self::PAGE - self.bytes), self.bytes) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no slice of it is left.
        unsafe { libc::munmap(self.at.cast(), self.all) };
    }
}

/// What a kernel reads of activations and weights ends where they end, for every number of rows of a tile.
#[test]
fn no_kernel_reads_beyond_activations_and_weights() {
    let (mut random, outputs, inputs) = (Random::new(11), 96, 128);
    // The last block of 32 inputs has small weights, as every second: its sums may be kept in 16 bits.
    let most = |i: usize| if (i / 32).is_multiple_of(2) { 127 } else { 20 };
    let values: Vec<i8> =
        (0..outputs * inputs).map(|i| (random.below(2 * most(i) + 1) as i16 - most(i) as i16) as i8).collect();
    let packed = Packed::int8(&values, &vec![1.0; outputs], &vec![0.0; outputs], outputs, inputs);
    let Linear::I8(layer) = packed.view() else { unreachable!("int8 weights") };
    let mut weights = Guarded::new(layer.weight.len());
    for (to, &from) in weights.slice().iter_mut().zip(layer.weight) {
        *to = from.cast_unsigned();
    }
    // SAFETY: i8 is as u8.
    let weight: &[i8] = unsafe { std::slice::from_raw_parts(weights.slice().as_ptr().cast(), layer.weight.len()) };
    let guarded = LinearI8 { weight, ..layer };
    for rows in (1..=13).chain([31, 33]) {
        let input = random.vector(rows * inputs, 2.0);
        let run = |kernel: Kernel, linear: LinearI8<'_>| {
            let (ops, mut scales) = (kernel.ops(), vec![f32::NAN; rows]);
            let mut quantised = Guarded::new(rows.next_multiple_of(MOST_TOGETHER) * inputs * ops.activation_bytes);
            let mut output = vec![f32::NAN; rows * outputs];
            // SAFETY: `kernel` exists, so the CPU has the features.
            unsafe {
                (ops.quantise)(Quantise {
                    input: &input,
                    input_stride: inputs,
                    rows,
                    columns: inputs,
                    output: quantised.slice(),
                    scales: &mut scales,
                });
                (ops.gemm_i8)(GemmI8 {
                    linear,
                    input: quantised.slice(),
                    input_scales: &scales,
                    rows,
                    blocks: 0..outputs / OUTPUT_ALIGN,
                    output: &mut output,
                    output_stride: outputs,
                    activation: Activation::None,
                });
            }
            output
        };
        let expected = run(Kernel::of_test(&scalar::OPS), layer);
        for kernel in Kernel::available() {
            assert_eq!(run(kernel, guarded), expected, "{}, {rows} rows", kernel.name());
        }
    }
}
