use super::*;
use crate::ops::Ops;
use crate::scalar;

#[test]
fn every_kernel_of_this_cpu_passes_the_check() {
    for kernel in Kernel::available() {
        println!("checking {}", kernel.name());
        check(kernel).unwrap_or_else(|e| panic!("{}: {e}", kernel.name()));
    }
}

#[test]
fn a_kernel_that_saturates_fails_the_check() {
    let error = check(Kernel::of_test(&saturating::OPS)).unwrap_err();
    assert!(error.contains("int8"), "{error}");
}

#[test]
fn sums_of_16_bits_pass_the_check_where_they_are_known_to_fit_and_only_there() {
    check(Kernel::of_test(&chained::PROVEN)).unwrap();
    let error = check(Kernel::of_test(&chained::hoped::OPS)).unwrap_err();
    assert!(error.contains("int8"), "{error}");
}

/// A kernel that differs from the definition in one operation.
fn wrong(change: impl FnOnce(&mut Ops)) -> Kernel {
    let mut ops = Ops { name: "wrong", ..scalar::OPS };
    change(&mut ops);
    Kernel::of_test(Box::leak(Box::new(ops)))
}

#[test]
fn a_kernel_that_is_off_by_one_bit_fails_the_check() {
    let norm = wrong(|ops| {
        ops.add_norm = |call| {
            let last = call.hidden.len() - 1;
            let hidden: *mut f32 = &mut call.hidden[last];
            // SAFETY: the scalar kernel runs everywhere; `hidden` outlives the call that borrowed it.
            unsafe {
                (scalar::OPS.add_norm)(call);
                *hidden = f32::from_bits((*hidden).to_bits() ^ 1);
            }
        };
    });
    assert!(check(norm).unwrap_err().contains("layer of"));
    let attention = wrong(|ops| {
        ops.attention = |mut call| {
            call.tokens = call.tokens.div_ceil(2);
            // SAFETY: the scalar kernel runs everywhere.
            unsafe { (scalar::OPS.attention)(call) };
        };
    });
    assert!(check(attention).unwrap_err().contains("layer of"));
    let head = wrong(|ops| {
        ops.head = |mut call| {
            call.tanh = !call.tanh;
            // SAFETY: the scalar kernel runs everywhere.
            unsafe { (scalar::OPS.head)(call) };
        };
    });
    assert!(check(head).unwrap_err().contains("head"));
    check(wrong(|_| ())).unwrap();
}

/// Largest difference between the scalar definition with f32 or f16 weights and the equations in f64, over the shapes of
/// `LAYERS` and outputs of magnitude about 3: f32's rounding over 140 tokens. Measured on x86-64: 1.8e-6 and 2.4e-6.
const MAX_F32_ERROR: f64 = 1e-5;
/// The same with int8 weights taken as exact, so what is left is the quantisation of the activations (1/254 of a row's largest
/// value before each of the four linears, and in attention). Measured on x86-64: 0.056.
const MAX_INT8_ERROR: f64 = 0.1;

#[test]
fn the_definition_follows_the_equations() {
    let mut random = Random::new(5);
    let mut scratch = Scratch::new();
    for (kind, bound) in [(Weights::F32, MAX_F32_ERROR), (Weights::F16, MAX_F32_ERROR), (Weights::I8, MAX_INT8_ERROR)] {
        let mut worst = 0.0_f64;
        for (hidden, heads, ffn) in LAYERS {
            let layer = OwnedLayer::random(&mut random, hidden, heads, ffn, kind);
            for tokens in [1, 5, 40, 140] {
                let mut x = random.vector(tokens * hidden, 2.0);
                let expected = reference::layer(&layer, &x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
                definition().encoder_layer(&layer.view(), &mut x, &[0, tokens as u32], &mut scratch).unwrap();
                for (got, expected) in x.iter().zip(&expected) {
                    worst = worst.max((f64::from(*got) - expected).abs());
                }
            }
        }
        println!("{kind:?}: largest error {worst:.2e}");
        assert!(worst < bound, "{kind:?}: largest error {worst:.3e}, expected below {bound:e}");
    }
}

#[test]
fn not_a_number_does_no_harm() {
    let mut random = Random::new(6);
    for kernel in Kernel::available() {
        for kind in [Weights::I8, Weights::F16, Weights::F32] {
            let layer = OwnedLayer::random(&mut random, 52, 2, 100, kind);
            for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-42] {
                let mut x = random.vector(20 * 52, 1.0);
                x[5] = poison;
                x[300..352].fill(poison);
                kernel.encoder_layer(&layer.view(), &mut x, &[0, 20], &mut Scratch::new()).unwrap();
            }
        }
    }
}

#[test]
fn nothing_is_allocated_after_the_first_call() {
    let mut random = Random::new(7);
    let layer = OwnedLayer::random(&mut random, 96, 3, 192, Weights::I8);
    let mut scratch = Scratch::new();
    let starts = starts_of(&[100, 3, 50]);
    let mut x = random.vector(153 * 96, 1.0);
    Kernel::best().encoder_layer(&layer.view(), &mut x, &starts, &mut scratch).unwrap();
    let bytes = scratch.bytes();
    assert!(bytes > 0);
    for lengths in [&[153][..], &[20, 10], &[100, 3, 50]] {
        let starts = starts_of(lengths);
        let tokens = lengths.iter().sum::<usize>();
        if tokens <= 103 || lengths.len() == 3 {
            Kernel::best().encoder_layer(&layer.view(), &mut x[..tokens * 96], &starts, &mut scratch).unwrap();
            assert_eq!(scratch.bytes(), bytes);
        }
    }
}
