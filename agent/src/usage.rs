//! What one task used, when the CLI only tells what a whole session used.
//!
//! A resumed session reports its total, earlier tasks included. So the total before this task is taken off, and a
//! total lower than that is read as a session that began to count anew. Figures never fall: a crashed process that
//! reported nothing does not erase what was known.

use cloud_code_task_schema::{CostSource, TaskId, TaskReport, Usage, Usd};

use crate::parse::UsageReading;

/// Adds up the readings of one task.
#[derive(Debug, Default)]
pub(crate) struct UsageMeter {
    /// Of this task, in other sessions.
    carried: Usage,
    /// Of this session, before this task.
    baseline: Usage,
    /// The session's last total.
    session: Option<Usage>,
    /// The session that is metered now, once its id is known.
    session_id: Option<String>,
    in_flight: Usage,
    /// Of this process, from a CLI that counts each process anew.
    process: Usage,
    turns: Option<u32>,
    floor: Usage,
}

impl UsageMeter {
    /// A meter for a task that starts or goes on. `known` is what its report already says.
    pub(crate) fn new(known: &Usage) -> Self {
        Self { carried: known.clone(), floor: known.clone(), turns: known.turns, ..Self::default() }
    }

    /// The next process resumes `session`: its totals contain what is already reported for it.
    pub(crate) fn resume<'a>(
        &mut self,
        session: &str,
        this: &TaskId,
        reports: impl Iterator<Item = (&'a TaskId, &'a TaskReport)>,
    ) {
        if self.session_id.as_deref() == Some(session) {
            return;
        }
        self.session_id = Some(session.to_owned());
        let mut mine = false;
        for (id, report) in reports.filter(|(_, report)| report.session_id.as_deref() == Some(session)) {
            if id == this {
                mine = true;
            } else {
                self.baseline = sum(&self.baseline, &report.usage);
            }
        }
        if mine {
            self.carried = Usage::default();
        }
    }

    /// The next process starts a session of its own.
    pub(crate) fn new_session(&mut self) {
        self.carried = self.total();
        self.baseline = Usage::default();
        self.session = None;
        self.session_id = None;
        self.in_flight = Usage::default();
    }

    /// The CLI named its session; a later process that resumes it goes on with the same totals.
    pub(crate) fn note_session(&mut self, session: &str) {
        self.session_id = Some(session.to_owned());
    }

    /// Takes a reading.
    pub(crate) fn read(&mut self, reading: UsageReading) {
        match reading {
            UsageReading::InFlight(usage) => self.in_flight = usage,
            UsageReading::ProcessTotal(usage) => self.process = usage,
            UsageReading::SessionTotal(usage) => {
                if let Some(turns) = usage.turns {
                    self.turns = Some(self.turns.unwrap_or(0).saturating_add(turns));
                }
                self.in_flight = Usage::default();
                self.session = Some(usage);
            }
        }
    }

    /// The process ended without telling a total for what was in flight: keep the figures.
    pub(crate) fn process_ended(&mut self) {
        self.floor = self.total();
        self.turns = self.floor.turns;
        self.in_flight.turns = None;
        self.process = Usage::default();
    }

    /// What the task used so far.
    pub(crate) fn total(&self) -> Usage {
        let session = match &self.session {
            Some(total) if covers(total, &self.baseline) => difference(total, &self.baseline),
            Some(total) => total.clone(),
            None => Usage::default(),
        };
        let before = larger(&sum(&sum(&self.carried, &session), &self.in_flight), &self.floor);
        let mut usage = sum(&before, &self.process);
        let turns = add(self.turns, self.in_flight.turns, u32::saturating_add);
        usage.turns = add(turns, self.process.turns, u32::saturating_add);
        usage.cost_source = if usage.cost_usd.is_some() { CostSource::Reported } else { CostSource::Unknown };
        usage
    }
}

fn add<T>(a: Option<T>, b: Option<T>, plus: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(plus(a, b)),
        (a, b) => a.or(b),
    }
}

fn combine(
    a: &Usage,
    b: &Usage,
    tokens: impl Fn(Option<u64>, Option<u64>) -> Option<u64>,
    money: impl Fn(f64, f64) -> f64,
) -> Usage {
    let cost = add(a.cost_usd.map(Usd::as_f64), b.cost_usd.map(Usd::as_f64), money);
    Usage {
        input_tokens: tokens(a.input_tokens, b.input_tokens),
        output_tokens: tokens(a.output_tokens, b.output_tokens),
        cache_read_tokens: tokens(a.cache_read_tokens, b.cache_read_tokens),
        cache_write_tokens: tokens(a.cache_write_tokens, b.cache_write_tokens),
        turns: None,
        cost_usd: cost.and_then(|cost| Usd::new(cost.max(0.0)).ok()),
        cost_source: CostSource::Unknown,
    }
}

fn sum(a: &Usage, b: &Usage) -> Usage {
    combine(a, b, |a, b| add(a, b, u64::saturating_add), |a, b| a + b)
}

fn larger(a: &Usage, b: &Usage) -> Usage {
    combine(a, b, |a, b| add(a, b, u64::max), f64::max)
}

fn difference(total: &Usage, before: &Usage) -> Usage {
    let tokens = |total: Option<u64>, before: Option<u64>| {
        total.map(|total| total.saturating_sub(before.unwrap_or(0)))
    };
    let mut usage = combine(total, before, tokens, |total, before| total - before);
    if total.cost_usd.is_none() {
        usage.cost_usd = None;
    }
    usage
}

/// Whether a total can contain what was used before.
fn covers(total: &Usage, before: &Usage) -> bool {
    let tokens = |total: Option<u64>, before: Option<u64>| total.unwrap_or(0) >= before.unwrap_or(0);
    let money = |usage: &Usage| usage.cost_usd.map_or(0.0, Usd::as_f64);
    tokens(total.input_tokens, before.input_tokens)
        && tokens(total.output_tokens, before.output_tokens)
        && (total.cost_usd.is_none() || money(total) + 1e-9 >= money(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64, cost: f64, turns: u32) -> Usage {
        Usage {
            input_tokens: Some(input),
            turns: Some(turns),
            cost_usd: Some(Usd::new(cost).unwrap()),
            cost_source: CostSource::Reported,
            ..Usage::default()
        }
    }

    fn report(session: &str, usage: Usage) -> TaskReport {
        let yaml = "{status: completed, attempt: 1}";
        let text = format!(
            "{{version: 1, observed_generation: 1, updated_at: 2026-01-01T00:00:00Z, heartbeat_at: 2026-01-01T00:00:00Z, agent: {{version: a, instance: b, cli: c, started_at: 2026-01-01T00:00:00Z}}, status: idle, tasks: {{t: {yaml}}}}}"
        );
        let reporting = cloud_code_task_schema::parse_reporting("r", &text).unwrap();
        let mut report = reporting.tasks.into_values().next().unwrap();
        report.session_id = Some(session.to_owned());
        report.usage = usage;
        report
    }

    #[test]
    fn a_resumed_session_does_not_bill_the_earlier_task_again() {
        let (first, second): (TaskId, TaskId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let earlier = report("s", usage(3600, 0.0315, 3));
        let mut meter = UsageMeter::new(&Usage::default());
        meter.resume("s", &second, [(&first, &earlier)].into_iter());
        meter.read(UsageReading::SessionTotal(usage(6000, 0.0525, 2)));
        assert_eq!(meter.total(), usage(2400, 0.021, 2));
    }

    #[test]
    fn a_session_that_counts_anew_is_taken_as_it_is() {
        let (first, second): (TaskId, TaskId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let earlier = report("s", usage(3600, 0.0315, 3));
        let mut meter = UsageMeter::new(&Usage::default());
        meter.resume("s", &second, [(&first, &earlier)].into_iter());
        meter.read(UsageReading::SessionTotal(usage(1200, 0.01, 1)));
        assert_eq!(meter.total(), usage(1200, 0.01, 1));
    }

    #[test]
    fn a_second_attempt_in_a_new_session_adds_up() {
        let mut meter = UsageMeter::new(&usage(1000, 0.5, 4));
        meter.new_session();
        meter.read(UsageReading::SessionTotal(usage(500, 0.25, 2)));
        assert_eq!(meter.total(), usage(1500, 0.75, 6));
    }

    #[test]
    fn a_second_attempt_in_the_same_session_does_not_count_twice() {
        let id: TaskId = "one".parse().unwrap();
        let own = report("s", usage(1000, 0.5, 4));
        let mut meter = UsageMeter::new(&own.usage);
        meter.resume("s", &id, [(&id, &own)].into_iter());
        meter.read(UsageReading::SessionTotal(usage(1500, 0.75, 2)));
        assert_eq!(meter.total(), usage(1500, 0.75, 6));
    }

    #[test]
    fn what_was_in_flight_survives_a_crash_and_is_replaced_by_a_total() {
        let mut meter = UsageMeter::new(&Usage::default());
        meter.read(UsageReading::InFlight(Usage {
            input_tokens: Some(100),
            turns: Some(1),
            ..Usage::default()
        }));
        assert_eq!(meter.total().input_tokens, Some(100));
        meter.process_ended();
        assert_eq!((meter.total().input_tokens, meter.total().turns), (Some(100), Some(1)));
        meter.new_session();
        meter.read(UsageReading::SessionTotal(usage(250, 0.1, 2)));
        assert_eq!((meter.total().input_tokens, meter.total().turns), (Some(350), Some(3)));
    }
}
