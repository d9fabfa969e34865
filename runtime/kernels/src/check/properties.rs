use proptest::prelude::*;

use super::*;
use crate::scalar::Scalar;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn kernels_agree_on_any_batch(
        seed in any::<u64>(),
        lengths in prop::collection::vec(1_usize..50, 1..6),
        heads in 1_usize..4,
        size in 1_usize..40,
        ffn in 1_usize..150,
        kind in prop::sample::select(vec![Weights::I8, Weights::F16, Weights::F32]),
    ) {
        let mut random = Random::new(seed);
        let hidden = heads * size;
        let layer = OwnedLayer::random(&mut random, hidden, heads, ffn, kind);
        let starts = starts_of(&lengths);
        let input = random.vector(lengths.iter().sum::<usize>() * hidden, 3.0);
        let mut expected = input.clone();
        let mut scratch = Scratch::new();
        definition().encoder_layer(&layer.view(), &mut expected, &starts, &mut scratch).unwrap();
        for kernel in Kernel::available() {
            let mut got = input.clone();
            kernel.encoder_layer(&layer.view(), &mut got, &starts, &mut scratch).unwrap();
            prop_assert_eq!(equal_bits(kernel.name(), &got, &expected), Ok(()));
        }
    }

    #[test]
    fn quantisation_is_within_half_a_step(
        row in prop::collection::vec(-1e3_f32..1e3, 1..200),
        exponent in -20_i32..20,
    ) {
        let row: Vec<f32> = row.iter().map(|x| x * 2_f32.powi(exponent)).collect();
        let columns = row.len();
        let mut output = vec![0; padded_inputs_i8(columns)];
        let mut scales = [f32::NAN];
        let call = crate::gemm_i8::Quantise {
            input: &row, input_stride: columns, rows: 1, columns, output: &mut output, scales: &mut scales,
        };
        crate::gemm_i8::quantise(Scalar, call);
        for (i, &q) in output.iter().enumerate() {
            let x = row.get(i).copied().unwrap_or(0.0);
            let error = (f32::from(q as i8) * scales[0] - x).abs();
            prop_assert!(error <= scales[0] * 0.5001, "{x} became {} x {}", q as i8, scales[0]);
        }
    }
}
