//! From a cosine to a margin.

use crate::config::Calibration;

impl Calibration {
    /// `scale * (cosine - offset)`.
    pub fn margin(self, cosine: f32) -> f32 {
        self.scale * (cosine - self.offset)
    }

    /// Logits of (not_relevant, relevant) that differ by the margin and sum to zero: matching them by mean squared error
    /// is matching the margin, with the sum, which the soft-max ignores, held at zero.
    pub fn logits(self, cosine: f32) -> Vec<f32> {
        let half = self.margin(cosine) / 2.0;
        vec![-half, half]
    }
}

/// Fits `P(relevant) = sigmoid(scale * (cosine - offset))` to labelled cosines by Newton's method with a small ridge (so
/// that separable data has a finite answer). `None` when one class is missing or the fit says that relevance falls with
/// the cosine.
pub fn fit_calibration(cosines: &[f32], relevant: &[bool]) -> Option<Calibration> {
    if !relevant.contains(&true) || !relevant.contains(&false) {
        return None;
    }
    const RIDGE: f64 = 1e-3;
    let (mut slope, mut intercept) = (0.0f64, 0.0f64);
    for _ in 0..100 {
        let (mut g0, mut g1) = (RIDGE * slope, 0.0);
        let (mut h00, mut h01, mut h11) = (RIDGE, 0.0, 1e-12);
        for (&x, &y) in cosines.iter().zip(relevant) {
            let x = f64::from(x);
            let p = 1.0 / (1.0 + (-(slope * x + intercept)).exp());
            let error = p - f64::from(u8::from(y));
            let weight = p * (1.0 - p);
            g0 += error * x;
            g1 += error;
            h00 += weight * x * x;
            h01 += weight * x;
            h11 += weight;
        }
        let determinant = h00 * h11 - h01 * h01;
        if determinant.abs() < 1e-18 {
            break;
        }
        // Half steps where the full one is wild keep the iteration from overshooting on nearly separable data.
        let (d0, d1) = ((h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant);
        let damp = (10.0 / d0.abs().max(d1.abs()).max(1e-12)).min(1.0);
        slope -= damp * d0;
        intercept -= damp * d1;
        if d0.abs() + d1.abs() < 1e-9 {
            break;
        }
    }
    (slope > 0.0 && slope.is_finite() && intercept.is_finite())
        .then(|| Calibration { scale: slope as f32, offset: (-intercept / slope) as f32 })
}
