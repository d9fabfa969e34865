use super::*;
use crate::check::guarded::Guarded;
use crate::check::{OwnedLayer, Random, Weights, check, saturating, starts_of};
use crate::gemm_i8::Activation;
use crate::scalar;
use crate::scratch::Scratch;
use crate::{Kernel, LinearI8};

/// The kernel itself, where the CPU has the AVX-512 that it needs besides.
fn emulated() -> bool {
    emulator::installed() && avx512::supported()
}

static EMULATED: Ops = Ops { name: "amx (emulated)", supported: emulated, ..OPS };

/// The same linear layers with the definition's floats: for any x86-64. `Saturating` stores activations as u8; its wrong
/// products are not used.
static EMULATED_SCALAR: Ops = Ops {
    name: "amx (emulated), scalar floats",
    isa: "none",
    supported: emulator::installed,
    activation_bytes: saturating::OPS.activation_bytes,
    quantise: saturating::OPS.quantise,
    // SAFETY: the caller's contract: made after the emulator was installed.
    gemm_i8: |call| unsafe { gemm(saturating::Saturating, call) },
    ..scalar::OPS
};

/// The emulated kernel that this CPU can run.
///
/// # Safety
/// Called, and the kernel used, only within [`emulator::run`]: outside it the process may end at the first AMX instruction.
unsafe fn emulated_kernel() -> Kernel {
    if !emulated() {
        println!("skipped: the kernel's own floats, since this CPU lacks {}", avx512::OPS.isa);
        return Kernel::of_test(&EMULATED_SCALAR);
    }
    Kernel::of_test(&EMULATED)
}

#[test]
fn the_kernel_passes_the_check_under_the_emulator() {
    let run = emulator::run(false, || {
        // SAFETY: within the emulator.
        let kernel = unsafe { emulated_kernel() };
        println!("checking {}", kernel.name());
        check(kernel).unwrap_or_else(|e| panic!("{}: {e}", kernel.name()));
    });
    println!("{} instructions emulated", run.instructions);
    assert_eq!(run.fault, None);
    assert!(run.instructions > 10_000 || supported(), "the kernel has executed AMX instructions");
}

#[test]
fn products_that_saturate_fail_the_check() {
    if supported() {
        println!("skipped: this CPU has AMX, whose products are right");
        return;
    }
    let run = emulator::run(true, || {
        // SAFETY: within the emulator.
        let error = check(unsafe { emulated_kernel() }).expect_err("wrong products");
        assert!(error.contains("int8"), "{error}");
    });
    assert_eq!(run.fault, None);
}

#[test]
fn a_kernel_that_forgets_a_row_or_a_panel_fails_the_check() {
    /// A kernel that changes each call.
    macro_rules! wrong {
        (|$call:ident| $change:expr) => {{
            static WRONG: Ops = Ops {
                gemm_i8: |mut $call| {
                    $change;
                    // SAFETY: the caller's contract: made after the emulator was installed.
                    unsafe { (EMULATED_SCALAR.gemm_i8)($call) };
                },
                ..EMULATED_SCALAR
            };
            &WRONG
        }};
    }
    let row = wrong!(|call| call.rows = call.rows.saturating_sub(1).max(1));
    let panel = wrong!(|call| call.blocks.start = (call.blocks.start + 1).min(call.blocks.end));
    let inputs = wrong!(|call| call.linear.inputs = call.linear.inputs.saturating_sub(64).max(1));
    for ops in [row, panel, inputs] {
        let run = emulator::run(false, || check(Kernel::of_test(ops)));
        assert!(run.result.expect_err("a wrong kernel").contains("int8"));
    }
}

#[test]
fn a_call_leaves_no_registers_configured() {
    let mut random = Random::new(8);
    let layer = OwnedLayer::random(&mut random, 96, 3, 192, Weights::I8);
    let mut x = random.vector(70 * 96, 1.0);
    let run = emulator::run(false, || {
        // SAFETY: within the emulator.
        let kernel = unsafe { emulated_kernel() };
        kernel.encoder_layer(&layer.view(), &mut x, &starts_of(&[70]), &mut Scratch::new()).expect("fits");
        assert!(!emulator::configured());
        // SAFETY: within the emulator, and there are no others.
        let registers = unsafe { Registers::configure(Shape::of(1)) };
        assert!(emulator::configured() || supported());
        drop(registers);
        assert!(!emulator::configured());
    });
    assert_eq!(run.fault, None);
}

#[test]
fn nothing_beyond_activations_and_weights_is_read() {
    let (mut random, outputs) = (Random::new(9), 96);
    let (scales, bias) = (vec![1.0; outputs], vec![0.0; outputs]);
    for (rows, kp) in [(1, 64), (7, 128), (16, 64), (17, 192), (31, 64), (33, 64), (40, 128), (64, 64)] {
        let (mut weights, mut input) = (Guarded::new(outputs * kp), Guarded::new(rows * kp));
        weights.slice().iter_mut().for_each(|w| *w = (random.below(255) as u8).wrapping_add(129));
        input.slice().iter_mut().for_each(|a| *a = random.below(256) as u8);
        // SAFETY: i8 is as u8.
        let weight: &[i8] = unsafe { std::slice::from_raw_parts(weights.slice().as_ptr().cast(), outputs * kp) };
        // Sums that are not subtracted: activations are taken as they are stored.
        let linear = LinearI8::new(weight, &scales, &[0; 96], &bias, outputs, kp).expect("lengths fit");
        let input = &*input.slice();
        let mut output = vec![f32::NAN; rows * outputs];
        let run = emulator::run(false, || {
            let call = GemmI8 {
                linear,
                input,
                input_scales: &vec![1.0; rows],
                rows,
                blocks: 0..2,
                output: &mut output,
                output_stride: outputs,
                activation: Activation::None,
            };
            // SAFETY: within the emulator; the floats are the definition's.
            unsafe { gemm(saturating::Saturating, call) };
        });
        assert_eq!(run.fault, None);
        for (i, &found) in output.iter().enumerate() {
            let (row, n) = (i / outputs, i % outputs);
            let product = |k: usize| {
                i32::from(input[row * kp + k])
                    * i32::from(weight[((n / 16 * (kp / 4) + k / 4) * 16 + n % 16) * 4 + k % 4])
            };
            assert_eq!(found, (0..kp).map(product).sum::<i32>() as f32, "{rows} rows of {kp}, output {i}");
        }
    }
}

#[test]
fn every_number_of_rows_is_cut_into_products_of_one_shape() {
    for rows in 1..=200 {
        let shape = Shape::of(rows);
        let (height, [first, second]) = (shape.height(), shape.rows);
        assert!((1..=TILE_ROWS).contains(&first) && second <= first && height <= rows);
        assert_eq!(rows.div_ceil(height), rows.div_ceil(MAX_ROWS));
        assert_eq!(second == 0, height <= TILE_ROWS);
    }
    assert_eq!(Shape::of(64).rows, [16, 16]);
    assert_eq!(Shape::of(33).rows, [9, 8]);
}

/// Which CPUs have it is theirs to say; that the answer is the same twice, and that it is never yes without AVX-512, is ours.
#[test]
fn the_kernel_is_offered_only_where_cpu_and_system_have_it() {
    assert_eq!(supported(), supported());
    assert!(!supported() || (avx512::supported() && system::has_amx_int8()));
    assert_eq!(Kernel::by_name("amx").is_ok(), supported());
    assert_eq!(Kernel::best().name() == "amx", supported());
    assert!(Kernel::available().iter().all(|kernel| !kernel.name().contains("emulated")));
}
