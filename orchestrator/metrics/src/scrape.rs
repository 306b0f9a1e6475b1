//! One answer to one scrape: what was counted, and what is so at this moment.
//!
//! The gauges are made anew each time. A gauge that is kept has to be taken back for everything that ceased to be, and one
//! that was forgotten shows a task for ever that ended long ago.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::forge::{Accounts, Credentials};
use crate::instruments::{Instruments, Labels, add, labels};
use crate::process::Figures;
use crate::pulse::Pulses;
use crate::table::{self, Spec};

/// What the text is: OpenMetrics, the Prometheus text format as it was standardised.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Values = Family<Labels, Gauge<f64, AtomicU64>>;

/// What is so at this moment. Fill in what is known, then [`Scrape::text`].
#[derive(Debug)]
pub struct Scrape {
    registry: Registry,
    tasks: Values,
    backing_off: Values,
}

impl Default for Scrape {
    fn default() -> Self {
        Self::new()
    }
}

impl Scrape {
    /// Nothing is known yet.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let tasks = add(&mut registry, table::TASKS, Values::default());
        let backing_off = add(&mut registry, table::BACKING_OFF, Values::default());
        Self { registry, tasks, backing_off }
    }

    /// So many open tasks of a project have a status.
    pub fn tasks(&mut self, project: &str, status: &str, count: u64) {
        self.tasks.get_or_create(&labels(table::TASKS, [project, status])).set(count as f64);
    }

    /// One more task of a project waits because of this kind of failure.
    pub fn backs_off(&mut self, project: &str, reason: &str) {
        self.backing_off.get_or_create(&labels(table::BACKING_OFF, [project, reason])).inc();
    }

    /// The queue: how many wait, and the oldest since when.
    pub fn queue(&mut self, depth: u64, oldest: Duration) {
        self.plain(table::QUEUE, depth as f64);
        self.plain(table::QUEUE_AGE, oldest.as_secs_f64());
    }

    /// Deliveries that nobody has read yet.
    pub fn deliveries(&mut self, waiting: u64, oldest: Duration) {
        self.plain(table::DELIVERIES_WAITING, waiting as f64);
        self.plain(table::DELIVERIES_AGE, oldest.as_secs_f64());
    }

    /// Requests without an outcome, and comments that are not written.
    pub fn outbox(&mut self, requests: u64, notes: u64) {
        self.plain(table::REQUESTS_WAITING, requests as f64);
        self.plain(table::NOTES_WAITING, notes as f64);
    }

    /// Whether the store answered.
    pub fn store(&mut self, is_up: bool) {
        self.plain(table::STORE_UP, f64::from(u8::from(is_up)));
    }

    /// Room on the disk of the home folder.
    pub fn disk(&mut self, free: u64) {
        self.plain(table::DISK_FREE, free as f64);
    }

    /// The program's version.
    pub fn build(&mut self, version: &str) {
        let family = add(&mut self.registry, table::BUILD_INFO, Values::default());
        family.get_or_create(&labels(table::BUILD_INFO, [version])).set(1.0);
    }

    /// The loops of the service.
    pub fn loops(&mut self, pulses: &Pulses) {
        let family = add(&mut self.registry, table::LOOP_AGE, Values::default());
        for (name, silent) in pulses.ages() {
            family.get_or_create(&labels(table::LOOP_AGE, [name])).set(silent.as_secs_f64());
        }
    }

    /// What the forge said.
    pub fn forge(&mut self, accounts: &Accounts) {
        let [limit, left, reset] = [table::QUOTA_LIMIT, table::QUOTA_LEFT, table::QUOTA_RESET]
            .map(|spec| (spec, add(&mut self.registry, spec, Values::default())));
        let set = |(spec, family): &(Spec, Values), account: &str, resource: &str, value: u64| {
            family.get_or_create(&labels(*spec, [account, resource])).set(value as f64);
        };
        accounts.each_quota(|account, resource, quota| {
            set(&limit, account, resource, quota.limit);
            set(&left, account, resource, quota.remaining);
            set(&reset, account, resource, quota.reset_at);
        });
        let family = add(&mut self.registry, table::CREDENTIALS, Values::default());
        accounts.each_credentials(|account, credentials| {
            let value = f64::from(u8::from(credentials == Credentials::Taken));
            family.get_or_create(&labels(table::CREDENTIALS, [account])).set(value);
        });
    }

    /// The whole answer, with this process's own figures.
    pub fn text(mut self, counted: &Instruments) -> String {
        self.process();
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &counted.registry);
        let _ = encode_eof(&mut text);
        text
    }

    fn process(&mut self) {
        let figures = Figures::read();
        if let Some(seconds) = figures.cpu_seconds {
            let counter: Counter<f64, AtomicU64> =
                add(&mut self.registry, table::CPU, Counter::<f64, AtomicU64>::default());
            counter.inc_by(seconds);
        }
        let gauges = [
            (table::START_TIME, figures.started_at),
            (table::MEMORY, figures.resident_bytes),
            (table::OPEN_FDS, figures.open_fds),
            (table::MAX_FDS, figures.max_fds),
            (table::THREADS, figures.threads),
        ];
        for (spec, value) in gauges {
            if let Some(value) = value {
                self.plain(spec, value);
            }
        }
    }

    fn plain(&mut self, spec: Spec, value: f64) {
        let gauge: Gauge<f64, AtomicU64> = add(&mut self.registry, spec, Gauge::<f64, AtomicU64>::default());
        gauge.set(value);
    }
}
