//! What was measured, and whether it is what was promised.

use serde::Serialize;

use crate::machine::Machine;
use crate::stats::{Sample, Statistics, ratio};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Bytes of memory or disk.
    Bytes,
    /// Thousandths of a second.
    Milliseconds,
    /// How many in a second.
    PerSecond,
}

/// What was promised of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Promise {
    /// The median of ours is at most this.
    AtMost(f64),
    /// The median of ours is at least this.
    AtLeast(f64),
    /// The median of ours is at most so many times the alternative's, plus a fixed amount.
    Ratio {
        /// Times the alternative's median.
        factor: f64,
        /// Added to it, in the figure's unit.
        plus: f64,
    },
    /// Nothing: the row is there to be known.
    Nothing,
}

/// Whether a promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It is.
    Held,
    /// It is not.
    Broken,
    /// Nothing was promised.
    NoPromise,
}

/// What ours is compared with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Alternative {
    /// Its name, as a person would type or call it.
    pub(crate) name: String,
    /// Its measurements.
    pub(crate) measured: Statistics,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// What the numbers count.
    pub(crate) unit: Unit,
    /// Our measurements.
    pub(crate) ours: Statistics,
    /// What it is compared with, if there is anything like it.
    pub(crate) alternative: Option<Alternative>,
    /// What was measured of others on another day and another machine: to be known, and no part of this run.
    pub(crate) elsewhere: Option<&'static str>,
    /// Median of ours by median of the alternative.
    pub(crate) ratio: Option<f64>,
    /// What was promised.
    pub(crate) promise: Promise,
    /// Whether it is kept.
    pub(crate) verdict: Verdict,
    /// Why it is broken although the number is right.
    pub(crate) faults: Vec<String>,
}

impl Row {
    /// Judges a figure that is compared with something.
    pub(crate) fn compared(
        what: impl Into<String>,
        unit: Unit,
        ours: &Sample,
        (name, alternative): (&str, &Sample),
        promise: Promise,
    ) -> Self {
        let alternative = Alternative { name: name.to_owned(), measured: alternative.statistics() };
        Self::judged(what.into(), unit, ours, Some(alternative), promise, Vec::new())
    }

    /// Judges a figure that stands alone. Any fault breaks its promise.
    pub(crate) fn alone(
        what: impl Into<String>,
        unit: Unit,
        ours: &Sample,
        promise: Promise,
        faults: Vec<String>,
    ) -> Self {
        Self::judged(what.into(), unit, ours, None, promise, faults)
    }

    fn judged(
        what: String,
        unit: Unit,
        ours: &Sample,
        alternative: Option<Alternative>,
        promise: Promise,
        faults: Vec<String>,
    ) -> Self {
        let ours = ours.statistics();
        let other = alternative.as_ref().map(|alternative| alternative.measured.median);
        let kept = match promise {
            Promise::AtMost(limit) => Some(ours.median <= limit),
            Promise::AtLeast(limit) => Some(ours.median >= limit),
            // Without an alternative nothing can keep the promise.
            Promise::Ratio { factor, plus } => {
                Some(other.is_some_and(|other| ours.median <= factor * other + plus))
            }
            Promise::Nothing => None,
        };
        let verdict = match kept {
            Some(true) if faults.is_empty() => Verdict::Held,
            Some(_) => Verdict::Broken,
            None => Verdict::NoPromise,
        };
        let ratio = other.and_then(|other| ratio(ours.median, other));
        Self { what, unit, ours, alternative, elsewhere: None, ratio, promise, verdict, faults }
    }

    /// Names what was measured of others elsewhere.
    pub(crate) fn beside(self, elsewhere: &'static str) -> Self {
        Self { elsewhere: Some(elsewhere), ..self }
    }
}

/// What one figure brought.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    /// Its lines of the table.
    pub(crate) rows: Vec<Row>,
    /// What a reader should know beside them.
    pub(crate) notes: Vec<String>,
}

/// A figure that could not be measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Missed {
    /// Which.
    pub(crate) figure: String,
    /// Why, and what to do.
    pub(crate) reason: String,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    /// Where.
    pub(crate) machine: Machine,
    /// Load averages after the last figure.
    pub(crate) load_after: String,
    /// The lines of the table.
    pub(crate) rows: Vec<Row>,
    /// Figures that are not there.
    pub(crate) not_measured: Vec<Missed>,
    /// What a reader should know beside them.
    pub(crate) notes: Vec<String>,
}

impl Summary {
    /// Nothing yet.
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            load_after: String::new(),
            rows: Vec::new(),
            not_measured: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, measured: Measured) {
        self.rows.extend(measured.rows);
        self.notes.extend(measured.notes);
    }

    /// Notes that a figure could not be measured.
    pub(crate) fn miss(&mut self, figure: &str, reason: &str) {
        self.not_measured.push(Missed { figure: figure.to_owned(), reason: reason.to_owned() });
    }

    /// Notes the machine's state at the end.
    pub(crate) fn finish(&mut self, load: String) {
        self.load_after = load;
    }

    /// Whether any promise is broken.
    pub(crate) fn is_broken(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Broken)
    }

    /// Whether any figure is missing.
    pub(crate) fn is_incomplete(&self) -> bool {
        !self.not_measured.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: f64) -> Sample {
        Sample::new(vec![value]).unwrap()
    }

    fn verdict(ours: f64, other: f64, promise: Promise) -> Verdict {
        Row::compared("x", Unit::Milliseconds, &sample(ours), ("y", &sample(other)), promise).verdict
    }

    #[test]
    fn a_ratio_with_a_fixed_part_is_judged_by_both() {
        let promise = Promise::Ratio { factor: 1.15, plus: 150.0 };
        assert_eq!(verdict(1300.0, 1000.0, promise), Verdict::Held);
        assert_eq!(verdict(1300.1, 1000.0, promise), Verdict::Broken);
        assert_eq!(verdict(9e9, 1.0, Promise::Nothing), Verdict::NoPromise);
    }

    #[test]
    fn a_least_rate_is_broken_from_below() {
        let promise = Promise::AtLeast(2_000.0);
        assert_eq!(verdict(2_000.0, 9_000.0, promise), Verdict::Held);
        assert_eq!(verdict(1_999.9, 9_000.0, promise), Verdict::Broken);
    }

    #[test]
    fn a_fault_breaks_a_promise_whose_number_is_right() {
        let row = |faults| Row::alone("size", Unit::Bytes, &sample(1.0), Promise::AtMost(2.0), faults);
        assert_eq!(row(Vec::new()).verdict, Verdict::Held);
        assert_eq!(row(vec!["not static".to_owned()]).verdict, Verdict::Broken);
    }

    #[test]
    fn without_an_alternative_a_ratio_is_never_held() {
        let promise = Promise::Ratio { factor: 1.1, plus: 0.0 };
        let row = Row::alone("x", Unit::Bytes, &sample(0.0), promise, Vec::new());
        assert_eq!(row.verdict, Verdict::Broken);
    }
}
