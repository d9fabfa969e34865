use super::*;
use crate::random::combine;

fn random(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (combine(seed, i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

/// Both ways to lay an operand out, at sizes around every edge of panels, tiles and pairs.
#[test]
fn products_equal_their_definition() {
    for (case, &(m, n, k)) in
        [(1, 1, 1), (3, 5, 2), (8, 48, 64), (9, 49, 31), (17, 16, 33), (16, 47, 513), (40, 100, 1030), (300, 96, 7)]
            .iter()
            .enumerate()
    {
        let (a, b) = (random(case as u64, m * k), random(99 + case as u64, k * n));
        // Stored transposed, the same elements are other matrices: each is compared with its own definition.
        let lefts = [Matrix::new(&a, m, k, k), Matrix::new(&a, k, m, m).t()];
        let rights = [Matrix::new(&b, k, n, n), Matrix::new(&b, n, k, k).t()];
        for left in lefts {
            for right in rights {
                for accumulate in [false, true] {
                    let stride = n + 3;
                    let start = random(7, m * stride);
                    let (mut fast, mut slow) = (start.clone(), start.clone());
                    multiply(&mut fast, stride, accumulate, left, right);
                    reference(&mut slow, stride, accumulate, left, right);
                    // Sums of k products below 1 in another order.
                    let bound = 2e-7 * (k as f32 + 8.0);
                    for (i, (x, y)) in fast.iter().zip(&slow).enumerate() {
                        assert!((x - y).abs() <= bound, "{m} x {n} x {k}, accumulate {accumulate}: [{i}] {x}, {y}");
                        if i % stride >= n {
                            assert_eq!(*x, start[i], "beyond a row's end");
                        }
                    }
                }
            }
        }
    }
}

/// The definition does round: a value between two bfloat16 goes to the even one.
#[test]
fn operands_are_rounded_to_nearest_even() {
    let (a, b) = ([1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0], [1.0, 1.0]);
    for (operand, expected) in a.iter().zip([1.0, 1.0 + 4.0 / 256.0]) {
        let mut out = [0.0];
        multiply(&mut out, 1, false, Matrix::new(std::slice::from_ref(operand), 1, 1, 1), Matrix::new(&b, 1, 1, 1));
        assert_eq!(out[0], expected);
    }
}
