//! AMX: int8 linear layers on tiles of 16 rows x 64 bytes (Intel since Sapphire Rapids); everything else as AVX512-VNNI does it.
//!
//! A step of 64 inputs of a panel is 16 lines of 64 bytes one after the other, which is the right operand of `tdpbusd` as it
//! stands; the left one is 16 rows of activations, u8 = i8 + 128. Two shapes of the eight tile registers: up to 32 rows x 2
//! panels (2 + 2 operands for 4 products), and up to 16 rows x 3 panels (1 + 3 operands for 3 products, few rows being bound by
//! the weights). Attention stays on AVX512-VNNI: its products are 8 rows at a time.

use std::arch::asm;
use std::sync::OnceLock;

use super::avx512::{self, Avx512};
use crate::gemm_i8::{Activations, Channels, GemmI8, Int8Tile, PanelOutput, TILE_STRIDE, finish_panel};
use crate::linear::{OUTPUT_ALIGN, padded_inputs_i8};
use crate::ops::Ops;
use crate::simd::LANES;

mod system;

/// Rows of a tile register, of 64 bytes each.
const TILE_ROWS: usize = 16;
/// Inputs of a step: the bytes of a tile register's row.
const STEP: usize = 64;
/// Most rows of a product: two tile registers.
const MAX_ROWS: usize = 2 * TILE_ROWS;

/// What `ldtilecfg` reads.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row and rows, for each of the registers; there are 8.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// How rows are cut: every product of a call has as many, so that the registers are configured once. The last one reaches back
/// over rows of the one before where they do not divide, and computes these twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// Rows of the first register, and of the second, or 0.
    rows: [usize; 2],
}

impl Shape {
    /// `rows` is at least 1.
    fn of(rows: usize) -> Self {
        let each = rows.div_ceil(rows.div_ceil(MAX_ROWS));
        let first = if each > TILE_ROWS { each.div_ceil(2) } else { each };
        Self { rows: [first, each - first] }
    }

    fn height(&self) -> usize {
        self.rows[0] + self.rows[1]
    }

    /// Panels of a product; there are multiples of 3, so fewer remain only where there are two registers of rows.
    fn panels(&self) -> usize {
        if self.rows[1] > 0 { 2 } else { 3 }
    }

    /// Registers 0 to 3 hold sums, 4 (and, with a second register of rows, 5) activations, the others weights.
    fn config(&self) -> Config {
        let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let (first, second) = (self.rows[0] as u8, self.rows[1] as u8);
        config.row_bytes[..8].fill(STEP as u16);
        config.rows[..8].fill(TILE_ROWS as u8);
        config.rows[..5].fill(first);
        if second > 0 {
            config.rows[2..4].fill(second);
            config.rows[5] = second;
        }
        config
    }
}

/// Configured tile registers of this thread, released when dropped: a thread that keeps them has 8 KB more to save and restore
/// at each switch.
struct Registers {
    shape: Shape,
}

impl Registers {
    /// # Safety
    /// The CPU has AMX-TILE, the system lets this process use it, and this thread has no other `Registers`.
    #[inline(always)]
    unsafe fn configure(shape: Shape) -> Self {
        let config = shape.config();
        // SAFETY: the caller's contract; `config` is palette 1's 64 bytes with 1 to 16 rows of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, readonly, preserves_flags)) };
        Self { shape }
    }
}

impl Drop for Registers {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: `configure` has run, so the CPU and the system have the instruction; nothing else uses the registers.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// `out[r][p * 16 + n] = sum over k of a[r][k] * w[p][n][k]` for the registers' rows and `panels` panels.
///
/// # Safety
/// The CPU has AMX-INT8. `panels` is 3 with one register of rows, 1 or 2 with two; `steps` is at least 1. `a` has the registers'
/// rows of 64 * steps bytes, one after the other, `w` `panels` panels of 1024 * steps bytes, `out` the registers' rows of 16 *
/// `panels` sums, [`TILE_STRIDE`] apart.
#[inline(always)]
unsafe fn multiply(registers: &Registers, panels: usize, a: *const u8, w: *const i8, steps: usize, out: *mut i32) {
    let row = STEP * steps;
    let [first, second] = registers.shape.rows;
    let w1 = w.wrapping_add(LANES * row);
    let w2 = w.wrapping_add(2 * LANES * row);
    let a1 = a.wrapping_add(first * row);
    let out1 = out.wrapping_add(first * TILE_STRIDE);
    /// The loop over the steps; what it advances by is the same for all shapes.
    macro_rules! multiply {
        (zero: $($zero:literal)+; step: $($step:literal,)+ store: $($store:literal,)+) => {
            // SAFETY: the registers are configured for these rows; the rest is the caller's contract. The addresses of what a
            // shape does not have are computed and advanced, not used.
            unsafe {
                asm!(
                    $(concat!("tilezero tmm", $zero),)+
                    "2:",
                    $($step,)+
                    "add {a}, 64",
                    "add {a1}, 64",
                    "add {w}, 1024",
                    "add {w1}, 1024",
                    "add {w2}, 1024",
                    "dec {steps}",
                    "jnz 2b",
                    $($store,)+
                    "/* {out1} */",
                    a = inout(reg) a => _,
                    a1 = inout(reg) a1 => _,
                    row = in(reg) row,
                    w = inout(reg) w => _,
                    w1 = inout(reg) w1 => _,
                    w2 = inout(reg) w2 => _,
                    line = in(reg) STEP,
                    steps = inout(reg) steps => _,
                    out = in(reg) out,
                    out1 = in(reg) out1,
                    stride = in(reg) 4 * TILE_STRIDE,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        };
    }
    match (second > 0, panels) {
        (true, 2) => multiply!(
            zero: 0 1 2 3;
            step:
                "tileloadd tmm4, [{a} + 1*{row}]",
                "tileloadd tmm6, [{w} + 1*{line}]",
                "tdpbusd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{w1} + 1*{line}]",
                "tdpbusd tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a1} + 1*{row}]",
                "tdpbusd tmm2, tmm5, tmm6",
                "tdpbusd tmm3, tmm5, tmm7",
            store:
                "tilestored [{out} + 1*{stride}], tmm0",
                "tilestored [{out} + 1*{stride} + 64], tmm1",
                "tilestored [{out1} + 1*{stride}], tmm2",
                "tilestored [{out1} + 1*{stride} + 64], tmm3",
        ),
        (true, 1) => multiply!(
            zero: 0 2;
            step:
                "tileloadd tmm4, [{a} + 1*{row}]",
                "tileloadd tmm6, [{w} + 1*{line}]",
                "tdpbusd tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{a1} + 1*{row}]",
                "tdpbusd tmm2, tmm5, tmm6",
            store:
                "tilestored [{out} + 1*{stride}], tmm0",
                "tilestored [{out1} + 1*{stride}], tmm2",
        ),
        (false, 3) => multiply!(
            zero: 0 1 2;
            step:
                "tileloadd tmm4, [{a} + 1*{row}]",
                "tileloadd tmm5, [{w} + 1*{line}]",
                "tdpbusd tmm0, tmm4, tmm5",
                "tileloadd tmm6, [{w1} + 1*{line}]",
                "tdpbusd tmm1, tmm4, tmm6",
                "tileloadd tmm7, [{w2} + 1*{line}]",
                "tdpbusd tmm2, tmm4, tmm7",
            store:
                "tilestored [{out} + 1*{stride}], tmm0",
                "tilestored [{out} + 1*{stride} + 64], tmm1",
                "tilestored [{out} + 1*{stride} + 128], tmm2",
        ),
        _ => unreachable!("3 panels of one register of rows, 1 or 2 of two"),
    }
}

/// As [`crate::gemm_i8::gemm`], with AMX's integer products and the token's epilogue.
///
/// # Safety
/// The CPU has AMX-TILE and AMX-INT8 and the system lets this process use them; inlined where the token's CPU features are
/// enabled.
#[inline(always)]
unsafe fn gemm<T: Int8Tile>(t: T, call: GemmI8<'_>) {
    const { assert!(matches!(T::READS, Activations::Unsigned) && T::TOGETHER == 1) };
    let GemmI8 { linear, input, input_scales, rows, blocks, output, output_stride, activation } = call;
    if rows == 0 {
        return;
    }
    let kp = padded_inputs_i8(linear.inputs);
    let (input, input_scales) = (&input[..rows * kp], &input_scales[..rows]);
    assert!(blocks.end * OUTPUT_ALIGN <= linear.scales.len().min(output_stride), "output block out of range");
    let mut sums = [[0_i32; TILE_STRIDE]; MAX_ROWS];
    let shape = Shape::of(rows);
    let height = shape.height();
    // SAFETY: the caller's contract; gemm is not entered again before the registers are dropped.
    let registers = unsafe { Registers::configure(shape) };
    let per_block = OUTPUT_ALIGN / LANES;
    let (mut panel, end) = (blocks.start * per_block, blocks.end * per_block);
    while panel < end {
        let panels = shape.panels().min(end - panel);
        let weight = &linear.weight[panel * LANES * kp..(panel + panels) * LANES * kp];
        for row in (0..rows).step_by(height) {
            let row = row.min(rows - height);
            let a = &input[row * kp..(row + height) * kp];
            let out = sums.as_flattened_mut().as_mut_ptr();
            // SAFETY: `a` has the shape's rows of kp bytes, a multiple of 64 and not 0, `weight` the panels, `sums` MAX_ROWS rows of
            // 3 panels; there are multiples of 3 panels, so a shape of 3 never has fewer. The rest is the caller's contract.
            unsafe { multiply(&registers, panels, a.as_ptr(), weight.as_ptr(), kp / STEP, out) };
            for p in 0..panels {
                let channel = (panel + p) * LANES;
                let scales = &input_scales[row..row + height];
                let output = PanelOutput { rows: &mut output[row * output_stride + channel..], stride: output_stride };
                finish_panel(t, Channels::of(&linear, channel), (&sums, p * LANES), scales, output, activation);
            }
        }
        panel += panels;
    }
}

/// # Safety
/// As [`gemm`], with AVX-512 F, BW, DQ, VL and VNNI, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn gemm_i8(call: GemmI8<'_>) {
    // SAFETY: the caller's contract, and this function has the features enabled.
    unsafe { gemm(Avx512::new(), call) }
}

/// Whether the CPU has all of it and the system lets this process use it; asked once.
fn supported() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| avx512::supported() && system::has_amx_int8() && system::permits_amx())
}

/// The operations with AMX, for linear layers of int8, and AVX-512 VNNI.
pub(crate) static OPS: Ops = Ops {
    name: "amx",
    isa: "amx-tile,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    supported,
    gemm_i8,
    ..avx512::OPS
};

#[cfg(all(test, target_os = "linux"))]
mod emulator;
#[cfg(all(test, target_os = "linux"))]
mod tests;
