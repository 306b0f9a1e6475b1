//! What is counted while the process runs.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::table::{self, Spec};

pub(crate) type Labels = Vec<(&'static str, String)>;
type Money = Counter<f64, AtomicU64>;

/// How many names of models get series of their own; all further ones are `other`. A model's name is what a person wrote
/// into a command, and each new one would otherwise be kept for ever.
pub const MAX_MODELS: usize = 100;

/// What has no name of its own.
const DEFAULT: &str = "default";
const OTHER: &str = "other";

/// From seconds to a day: a queue's wait and a task's run are felt on that scale.
const LONG: [f64; 12] =
    [0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 86_400.0];
/// From a local process to an engine that is pulling its weight.
const SHORT: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Histograms with these upper bounds.
#[derive(Debug, Clone, Copy)]
struct Bounds(&'static [f64]);

impl MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// New.
    Stored,
    /// Known already.
    Duplicate,
    /// Sent to try the hook out.
    Ping,
    /// Not signed by who knows the secret.
    BadSignature,
    /// Headers or framing that no forge sends.
    Malformed,
    /// Larger than a forge promises.
    TooLarge,
    /// It did not come in time.
    Slow,
    /// Told to come again: no room, or the store refused.
    Later,
}

impl Received {
    /// Each outcome, so that all have a series from the start.
    pub const ALL: [Self; 8] = [
        Self::Stored,
        Self::Duplicate,
        Self::Ping,
        Self::BadSignature,
        Self::Malformed,
        Self::TooLarge,
        Self::Slow,
        Self::Later,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Ping => "ping",
            Self::BadSignature => "refused_signature",
            Self::Malformed => "refused_malformed",
            Self::TooLarge => "refused_size",
            Self::Slow => "refused_slow",
            Self::Later => "refused_busy",
        }
    }
}

/// A task that ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// Of which project.
    pub project: &'a str,
    /// How, by its status.
    pub status: &'a str,
    /// Since it was asked for.
    pub took: Duration,
}

/// Counts of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Sent, and not read from a cache.
    pub input: u64,
    /// Received.
    pub output: u64,
    /// Read from the provider's cache.
    pub cache_read: u64,
    /// Written to it.
    pub cache_write: u64,
}

/// What an attempt used since it was asked last.
#[derive(Debug, Clone, Copy)]
pub struct Spent<'a> {
    /// With which CLI.
    pub cli: &'a str,
    /// With which model; none is the CLI's own choice.
    pub model: Option<&'a str>,
    /// Who says so.
    pub cost_source: &'a str,
    /// Money.
    pub usd: f64,
    /// Tokens.
    pub tokens: Tokens,
}

/// The handles of all that is counted. Every method is cheap, never blocks for long, and never fails.
#[derive(Debug)]
pub struct Instruments {
    pub(crate) registry: Registry,
    ended: Family<Labels, Counter>,
    duration: Family<Labels, Histogram, Bounds>,
    phases: Family<Labels, Histogram, Bounds>,
    attempts: Family<Labels, Counter>,
    cost: Family<Labels, Money>,
    tokens: Family<Labels, Counter>,
    merges: Family<Labels, Counter>,
    starts: Family<Labels, Counter>,
    start_duration: Family<Labels, Histogram, Bounds>,
    deliveries: Family<Labels, Counter>,
    models: Mutex<BTreeSet<String>>,
}

impl Default for Instruments {
    fn default() -> Self {
        Self::new()
    }
}

impl Instruments {
    /// All of them, at nothing.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let long = || Family::new_with_constructor(Bounds(&LONG));
        let instruments = Self {
            ended: add(&mut registry, table::TASKS_ENDED, Family::default()),
            duration: add(&mut registry, table::TASK_DURATION, long()),
            phases: add(&mut registry, table::PHASE_DURATION, long()),
            attempts: add(&mut registry, table::ATTEMPTS, Family::default()),
            cost: add(&mut registry, table::COST, Family::default()),
            tokens: add(&mut registry, table::TOKENS, Family::default()),
            merges: add(&mut registry, table::MERGES, Family::default()),
            starts: add(&mut registry, table::STARTS, Family::default()),
            start_duration: add(
                &mut registry,
                table::START_DURATION,
                Family::new_with_constructor(Bounds(&SHORT)),
            ),
            deliveries: add(&mut registry, table::DELIVERIES, Family::default()),
            models: Mutex::default(),
            registry,
        };
        for outcome in Received::ALL {
            let names = labels(table::DELIVERIES, [outcome.as_str()]);
            drop(instruments.deliveries.get_or_create_owned(&names));
        }
        instruments
    }

    /// A delivery came in.
    pub fn received(&self, outcome: Received) {
        self.deliveries.get_or_create(&labels(table::DELIVERIES, [outcome.as_str()])).inc();
    }

    /// A task ended.
    pub fn task_ended(&self, ended: Ended<'_>) {
        let names = labels(table::TASKS_ENDED, [ended.project, ended.status]);
        self.ended.get_or_create(&names).inc();
        let names = labels(table::TASK_DURATION, [ended.status]);
        self.duration.get_or_create(&names).observe(ended.took.as_secs_f64());
    }

    /// A task left a status in which it was that long.
    pub fn left(&self, phase: &str, after: Duration) {
        let names = labels(table::PHASE_DURATION, [phase]);
        self.phases.get_or_create(&names).observe(after.as_secs_f64());
    }

    /// An attempt ended.
    pub fn attempt_ended(&self, cli: &str, result: &str) {
        self.attempts.get_or_create(&labels(table::ATTEMPTS, [cli, result])).inc();
    }

    /// Money and tokens were used.
    pub fn spent(&self, spent: Spent<'_>) {
        let model = self.model(spent.model);
        let Spent { cli, cost_source, usd, tokens, .. } = spent;
        // A counter only grows; a CLI that takes a figure back is not believed.
        if usd > 0.0 && usd.is_finite() {
            let names = labels(table::COST, [cli, model.as_str(), cost_source]);
            self.cost.get_or_create(&names).inc_by(usd);
        }
        let kinds = [
            ("input", tokens.input),
            ("output", tokens.output),
            ("cache_read", tokens.cache_read),
            ("cache_write", tokens.cache_write),
        ];
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            let names = labels(table::TOKENS, [cli, model.as_str(), cost_source, kind]);
            self.tokens.get_or_create(&names).inc_by(count);
        }
    }

    /// A pull request was merged by us, or the forge refused it.
    pub fn merge(&self, project: &str, went_well: bool) {
        let result = if went_well { "merged" } else { "refused" };
        self.merges.get_or_create(&labels(table::MERGES, [project, result])).inc();
    }

    /// A container was started, or could not be.
    pub fn container_start(&self, runtime: &str, took: Duration, went_well: bool) {
        let result = if went_well { "ok" } else { "error" };
        self.starts.get_or_create(&labels(table::STARTS, [runtime, result])).inc();
        if went_well {
            let names = labels(table::START_DURATION, [runtime]);
            self.start_duration.get_or_create(&names).observe(took.as_secs_f64());
        }
    }

    fn model(&self, name: Option<&str>) -> String {
        let Some(name) = name else { return DEFAULT.to_owned() };
        let mut known = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) || known.len() < MAX_MODELS {
            known.insert(name.to_owned());
            return name.to_owned();
        }
        OTHER.to_owned()
    }
}

/// The labels of an instrument, by their order in its table.
pub(crate) fn labels<const N: usize>(spec: Spec, values: [&str; N]) -> Labels {
    debug_assert_eq!(spec.labels.len(), N, "{}", spec.name);
    spec.labels.iter().copied().zip(values.map(str::to_owned)).collect()
}

pub(crate) fn add<M: Metric + Clone>(registry: &mut Registry, spec: Spec, metric: M) -> M {
    // The library puts the suffix of a counter on by itself.
    let name = spec.name.strip_suffix("_total").unwrap_or(spec.name);
    registry.register(name, spec.help, metric.clone());
    metric
}
