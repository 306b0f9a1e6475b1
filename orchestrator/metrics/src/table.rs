//! Every instrument: its name, kind, labels and meaning. The one place where a name is written.

use std::fmt::Write as _;

/// What an instrument measures with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from nothing at the start of the process.
    Counter,
    /// What is so now.
    Gauge,
    /// How long things took.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// As it is queried; a histogram without `_bucket`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels, in their order.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

macro_rules! table {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(crate) const $id: Spec = Spec { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// Every instrument, in the order of its documentation.
        pub const TABLE: &[Spec] = &[$($id),*];
    };
}

table! {
    TASKS: Gauge "cloud_code_tasks" ["project", "status"]
        "Tasks that have not ended, by where they are";
    QUEUE: Gauge "cloud_code_queue_depth" []
        "Tasks that wait for their turn";
    QUEUE_AGE: Gauge "cloud_code_queue_oldest_age_seconds" []
        "How long the oldest of them has waited; 0 when none waits";
    BACKING_OFF: Gauge "cloud_code_tasks_backing_off" ["project", "reason"]
        "Tasks that wait for another attempt, by the failure of the last one";
    TASKS_ENDED: Counter "cloud_code_tasks_ended_total" ["project", "status"]
        "Tasks that ended while this process drove them";
    TASK_DURATION: Histogram "cloud_code_task_duration_seconds" ["status"]
        "From the request for a task to its end, waits included";
    PHASE_DURATION: Histogram "cloud_code_task_phase_duration_seconds" ["phase"]
        "How long tasks were in a status before they left it";
    ATTEMPTS: Counter "cloud_code_attempts_total" ["cli", "result"]
        "Attempts that ended: `completed`, `blocked`, `cancelled`, or the kind of the failure";
    COST: Counter "cloud_code_cost_usd_total" ["cli", "model", "cost_source"]
        "Money spent on models, in US dollars";
    TOKENS: Counter "cloud_code_tokens_total" ["cli", "model", "cost_source", "kind"]
        "Tokens used: `input`, `output`, `cache_read`, `cache_write`";
    MERGES: Counter "cloud_code_merges_total" ["project", "result"]
        "Pull requests that this process merged (`merged`), and merges that the forge refused (`refused`)";
    STARTS: Counter "cloud_code_container_starts_total" ["runtime", "result"]
        "Containers, or local processes, that were to be started: `ok` or `error`";
    START_DURATION: Histogram "cloud_code_container_start_duration_seconds" ["runtime"]
        "How long a start took that went well";
    DELIVERIES: Counter "cloud_code_deliveries_total" ["outcome"]
        "Deliveries of webhooks: `stored`, `duplicate`, `ping`, or why refused";
    DELIVERIES_WAITING: Gauge "cloud_code_deliveries_waiting" []
        "Deliveries that are stored and not yet read";
    DELIVERIES_AGE: Gauge "cloud_code_deliveries_oldest_age_seconds" []
        "How long the oldest of them has waited; 0 when none waits";
    REQUESTS_WAITING: Gauge "cloud_code_requests_waiting" []
        "Requests of people that have no outcome yet";
    NOTES_WAITING: Gauge "cloud_code_notes_waiting" []
        "The outbox: comments that are to be written and are not";
    QUOTA_LIMIT: Gauge "cloud_code_forge_quota_limit" ["account", "resource"]
        "Requests that the forge allows an account in its window";
    QUOTA_LEFT: Gauge "cloud_code_forge_quota_remaining" ["account", "resource"]
        "What is left of them, as the forge said last";
    QUOTA_RESET: Gauge "cloud_code_forge_quota_reset_timestamp_seconds" ["account", "resource"]
        "When the window begins anew, as a Unix time";
    CREDENTIALS: Gauge "cloud_code_forge_credentials_ok" ["account"]
        "1 while the forge takes the account's key, 0 since it refused it";
    LOOP_AGE: Gauge "cloud_code_loop_age_seconds" ["loop"]
        "How long ago a loop of the service last gave a sign of life";
    STORE_UP: Gauge "cloud_code_store_up" []
        "1 when the store answered this scrape; without it what is derived from it is missing";
    DISK_FREE: Gauge "cloud_code_disk_free_bytes" []
        "Room on the disk that holds the home folder";
    BUILD_INFO: Gauge "cloud_code_build_info" ["version"]
        "1, with the version of the program";
    START_TIME: Gauge "process_start_time_seconds" []
        "When the process started, as a Unix time";
    CPU: Counter "process_cpu_seconds_total" []
        "Processor time of the process, user and system";
    MEMORY: Gauge "process_resident_memory_bytes" []
        "Memory that the process occupies";
    OPEN_FDS: Gauge "process_open_fds" []
        "Open file descriptors";
    MAX_FDS: Gauge "process_max_fds" []
        "Most file descriptors that the process may open";
    THREADS: Gauge "process_threads" []
        "Threads of the process";
}

/// The table of docs/OPERATIONS.md.
pub fn markdown() -> String {
    let mut text = String::from("| name | kind | labels | what it says |\n| --- | --- | --- | --- |\n");
    for spec in TABLE {
        let labels: Vec<String> = spec.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, help) = (spec.name, spec.kind.as_str(), spec.help);
        let _ = writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    text
}
