//! A B A B: both sides in turns, so that a load from outside hits both.

use anyhow::{Context as _, Result};

use crate::interrupt;
use crate::stats::Sample;

/// Runs of each side that are thrown away: they fill caches that no later run has to fill.
pub(crate) const WARM_UPS: u32 = 1;

/// Measures both sides `runs` times. Each closure is given the number of its run, from 0, warm-ups included.
pub(crate) fn in_turns(
    runs: u32,
    mut ours: impl FnMut(u32) -> Result<f64>,
    mut alternative: impl FnMut(u32) -> Result<f64>,
) -> Result<(Sample, Sample)> {
    let (mut of_ours, mut of_alternative) = (Vec::new(), Vec::new());
    for run in 0..WARM_UPS + runs {
        interrupt::check()?;
        let (a, b) = (ours(run)?, alternative(run)?);
        if run >= WARM_UPS {
            of_ours.push(a);
            of_alternative.push(b);
        }
    }
    Ok((sample(of_ours)?, sample(of_alternative)?))
}

/// A sample of what was measured; an error when that is nothing.
pub(crate) fn sample(values: Vec<f64>) -> Result<Sample> {
    Sample::new(values).context("nothing was measured")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn both_sides_take_turns_and_the_warm_up_does_not_count() {
        let order = RefCell::new(String::new());
        let side = |name: char| {
            let order = &order;
            move |run: u32| {
                order.borrow_mut().push(name);
                Ok(f64::from(run))
            }
        };
        let (ours, alternative) = in_turns(2, side('A'), side('B')).unwrap();
        assert_eq!(*order.borrow(), "ABABAB");
        assert_eq!((ours.statistics().min, ours.statistics().runs), (1.0, 2));
        assert_eq!(alternative, ours);
    }
}
