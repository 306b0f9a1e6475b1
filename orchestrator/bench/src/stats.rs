//! What is said about a row of measurements: the median, because one hiccup of the machine must not move it, and the
//! middle half, because a median without a spread invites wrong conclusions.

use serde::Serialize;

/// Measurements of one side of a figure, at least one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    sorted: Vec<f64>,
}

/// What is shown of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Statistics {
    /// Half of all runs were below.
    pub(crate) median: f64,
    /// A quarter of all runs were below.
    pub(crate) lower_quartile: f64,
    /// A quarter of all runs were above.
    pub(crate) upper_quartile: f64,
    /// Lowest of all.
    pub(crate) min: f64,
    /// Highest of all.
    pub(crate) max: f64,
    /// How many runs.
    pub(crate) runs: usize,
}

impl Sample {
    /// None without a measurement, or when one of them is not a number.
    pub(crate) fn new(mut values: Vec<f64>) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        Some(Self { sorted: values })
    }

    /// What is shown of it.
    pub(crate) fn statistics(&self) -> Statistics {
        Statistics {
            median: self.quantile(0.5),
            lower_quartile: self.quantile(0.25),
            upper_quartile: self.quantile(0.75),
            min: self.quantile(0.0),
            max: self.quantile(1.0),
            runs: self.sorted.len(),
        }
    }

    /// The value below which `part` (0 to 1) of the runs lie; between two runs it is interpolated.
    fn quantile(&self, part: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred runs at most")]
        let position = part * (self.sorted.len() - 1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the length"
        )]
        let below = position.floor() as usize;
        let low = self.sorted.get(below).copied().unwrap_or_default();
        let high = self.sorted.get(below + 1).copied().unwrap_or(low);
        low + (high - low) * position.fract()
    }
}

/// How many times `of` the first is; none where the second is zero.
pub(crate) fn ratio(value: f64, of: f64) -> Option<f64> {
    (of > 0.0).then(|| value / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(values: &[f64]) -> Statistics {
        Sample::new(values.to_vec()).unwrap().statistics()
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_middle_runs() {
        assert_eq!(statistics(&[4.0, 1.0, 3.0, 2.0]).median, 2.5);
        assert_eq!(statistics(&[9.0, 1.0, 5.0]).median, 5.0);
        assert_eq!(statistics(&[7.0]).median, 7.0);
    }

    #[test]
    fn one_hiccup_moves_neither_median_nor_middle_half() {
        let calm = statistics(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let hiccup = statistics(&[1.0, 2.0, 3.0, 4.0, 5000.0]);
        let expected =
            Statistics { median: 3.0, lower_quartile: 2.0, upper_quartile: 4.0, min: 1.0, max: 5.0, runs: 5 };
        assert_eq!(calm, expected);
        assert_eq!(hiccup, Statistics { max: 5000.0, ..expected });
    }

    #[test]
    fn nothing_measured_is_no_sample() {
        assert_eq!(Sample::new(Vec::new()), None);
        assert_eq!(Sample::new(vec![1.0, f64::NAN]), None);
    }

    #[test]
    fn a_ratio_needs_something_to_compare_with() {
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!(ratio(3.0, 0.0), None);
    }
}
