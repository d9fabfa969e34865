//! Means and spreads over seeds.

/// Several measurements of one thing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    pub(super) mean: f64,
    /// Sample standard deviation; `None` for one measurement.
    pub(super) deviation: Option<f64>,
    pub(super) count: usize,
}

impl Spread {
    /// Of these values; `None` for no value.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let deviation =
            (count > 1).then(|| (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1) as f64).sqrt());
        Some(Self { mean, deviation, count })
    }

    /// `44.1 ± 0.8`, or `44.1` for one measurement.
    pub(super) fn text(&self, digits: usize) -> String {
        match self.deviation {
            Some(deviation) => format!("{:.digits$} ± {deviation:.digits$}", self.mean),
            None => format!("{:.digits$}", self.mean),
        }
    }

    /// The standard error of the mean; `None` for one measurement.
    pub(super) fn error(&self) -> Option<f64> {
        self.deviation.map(|d| d / (self.count as f64).sqrt())
    }
}

/// How one thing differs from another over seeds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) of: Spread,
    /// Half the width of the 95 % interval of the mean difference (Student's t); `None` for one seed.
    pub(super) interval: Option<f64>,
}

/// The difference of values that belong to the same seeds; `None` when no seed has both.
pub(super) fn difference(values: &[(u64, f64)], baseline: &[(u64, f64)]) -> Option<Difference> {
    let pairs: Vec<f64> = values
        .iter()
        .filter_map(|(seed, value)| Some(value - baseline.iter().find(|(other, _)| other == seed)?.1))
        .collect();
    let of = Spread::of(&pairs)?;
    let interval = of.error().map(|error| error * student_t(of.count - 1));
    Some(Difference { of, interval })
}

impl Difference {
    /// In words.
    pub(super) fn text(&self) -> String {
        match self.interval {
            None => format!("{:+.1} points, one seed, so nothing is known of its spread", self.of.mean),
            Some(interval) => {
                let verdict = match self.of.mean {
                    mean if mean.abs() <= interval => "no difference shown",
                    mean if mean > 0.0 => "better",
                    _ => "worse",
                };
                format!("{:+.1} ± {interval:.1} points (95 %, {} seeds): {verdict}", self.of.mean, self.of.count)
            }
        }
    }
}

/// The 97.5 % quantile of Student's t distribution.
fn student_t(degrees: usize) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    TABLE.get(degrees.saturating_sub(1)).copied().unwrap_or(2.1)
}

/// Half the width of the 95 % interval of an accuracy, in points, from the number of rows alone.
pub(super) fn row_noise(accuracy: f64, rows: usize) -> f64 {
    196.0 * (accuracy * (1.0 - accuracy) / rows.max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn spreads_are_sample_deviations() {
        let spread = Spread::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((spread.mean, spread.deviation, spread.text(1)), (2.0, Some(1.0), "2.0 ± 1.0".to_owned()));
        assert!((spread.error().unwrap() - 1.0 / 3f64.sqrt()).abs() < 1e-12);
        let one = Spread::of(&[0.25]).unwrap();
        assert_eq!((one.deviation, one.text(2), one.error()), (None, "0.25".to_owned(), None));
        assert_eq!(Spread::of(&[]), None);
        assert!((row_noise(0.5, 100) - 9.8).abs() < 1e-9);
    }

    #[test]
    fn differences_are_paired_by_seed() {
        let found = difference(&[(1, 5.0), (2, 7.0), (9, 100.0)], &[(2, 5.0), (1, 4.0)]).unwrap();
        assert_eq!((found.of.mean, found.of.count), (1.5, 2));
        assert_eq!(found.text(), "+1.5 ± 6.4 points (95 %, 2 seeds): no difference shown");
        let sure = difference(&[(1, 5.0), (2, 5.1), (3, 5.0)], &[(1, 9.0), (2, 9.0), (3, 9.0)]).unwrap();
        assert!(sure.text().ends_with("worse"), "{}", sure.text());
        assert!(difference(&[(1, 5.0)], &[(1, 4.0)]).unwrap().text().contains("one seed"));
        assert_eq!(difference(&[(1, 5.0)], &[(2, 4.0)]), None);
    }
}
