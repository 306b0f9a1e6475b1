//! Fetches what nobody brought. A forge never sends a delivery twice by itself and forgets it after days, so what came while
//! we were down is read from its log; what is older than the log, and what comes to a place that nobody can call, is found
//! by listing. All of it ends in the same requests with the same keys as a webhook, so finding a thing twice changes nothing.

mod log;
mod poll;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cloud_code_forge::DeliveryLog;
use cloud_code_metrics::pulses;
use cloud_code_model::ProjectName;
use cloud_code_store::{Forget, HookTarget};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::pauses::Pauses;
use super::projects::ServedProject;
use super::receive::not_before;
use super::{Inner, LOOK_AGAIN, LOOK_PATIENCE};
use crate::EngineError;

/// How far back a forge's log goes: three days on github.com. What is missed for longer is found by listing.
const LOG_REACH: SignedDuration = SignedDuration::from_hours(72);
/// How far back a list is read from the first time: a deployment does not begin with old commands.
const FIRST_REACH: SignedDuration = SignedDuration::from_mins(5);

/// How events are fetched that nobody brought.
#[derive(Clone, Default)]
pub enum SweepMode {
    /// Not at all.
    #[default]
    Off,
    /// From the logs of what the forge sent, or tried to send; by listing what is older than a log, or has none.
    Log {
        /// The logs.
        logs: Vec<HookLog>,
        /// How often.
        every: Duration,
    },
    /// By listing issues and comments.
    Poll {
        /// How often.
        every: Duration,
    },
}

/// The log of one hook.
#[derive(Clone)]
pub struct HookLog {
    /// The log.
    pub log: Arc<dyn DeliveryLog>,
    /// Whose hook it is of.
    pub target: HookTarget,
    /// The project whose events it has; all of them for an App's.
    pub of: Option<ProjectName>,
}

impl std::fmt::Debug for HookLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HookLog({})", self.target)
    }
}

impl std::fmt::Debug for SweepMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::Log { logs, every } => write!(f, "Log({logs:?}, {every:?})"),
            Self::Poll { every } => write!(f, "Poll({every:?})"),
        }
    }
}

/// How much of what there is was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swept {
    /// All of it.
    All,
    /// The rest is worth another look soon.
    Partly,
}

impl Swept {
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, Self::All) => Self::All,
            (Self::Partly, _) | (_, Self::Partly) => Self::Partly,
        }
    }
}

/// What of all this is due. Lost with the process: a start reads everything.
struct Rounds {
    every: SignedDuration,
    listed_at: HashMap<ProjectName, Timestamp>,
    lists: Pauses<ProjectName>,
    logs: Pauses<HookTarget>,
}

/// Sweeps at once, then again and again.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let every = match &inner.settings.sweep {
        SweepMode::Off => {
            inner.missed.caught_up();
            return;
        }
        SweepMode::Log { every, .. } | SweepMode::Poll { every } => *every,
    };
    let mut rounds = Rounds {
        every: every.try_into().unwrap_or(SignedDuration::MAX),
        listed_at: HashMap::new(),
        lists: Pauses::new(inner.clock.clone()),
        logs: Pauses::new(inner.clock.clone()),
    };
    let pulse = pulses().begin("sweep", every.saturating_add(LOOK_PATIENCE));
    loop {
        pulse.beat();
        let swept = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            swept = look(&inner, &mut rounds) => swept,
        };
        let wait = match swept {
            Ok(Swept::All) => {
                inner.missed.caught_up();
                every
            }
            // What failed has its own pause, and what is due otherwise its own time.
            Ok(Swept::Partly) => every.min(LOOK_AGAIN),
            Err(error) => {
                tracing::warn!(error = %error.chain(), "what was missed cannot be fetched now");
                every.min(LOOK_AGAIN)
            }
        };
        pulse.beat();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    pulse.ends();
}

async fn look(inner: &Inner, rounds: &mut Rounds) -> Result<Swept, EngineError> {
    let now = inner.clock.now();
    inner.store.forget(Forget::at(now)).await?;
    match &inner.settings.sweep {
        SweepMode::Off => Ok(Swept::All),
        SweepMode::Poll { .. } => Ok(poll_all(inner, rounds, |_| true).await),
        SweepMode::Log { logs, .. } => {
            let last = read_time(inner, SWEPT).await?;
            // Longer down than the log goes back: what it forgot is listed.
            let is_too_late = last.is_some_and(|last| now.duration_since(last) > LOG_REACH);
            let has_log = |project: &ServedProject| {
                logs.iter().any(|log| log.of.as_ref().is_none_or(|of| *of == project.name))
            };
            let mut swept = poll_all(inner, rounds, |project| is_too_late || !has_log(project)).await;
            for log in logs {
                swept = swept.and(read_log(inner, rounds, log).await);
            }
            // What could not be read is read with the next sweep, from where this one began.
            if swept == Swept::All {
                inner.store.set_cursor(SWEPT, &now.to_string()).await?;
            }
            Ok(swept)
        }
    }
}

/// The cursor that says when the logs were last read to their end.
const SWEPT: &str = "swept";

async fn read_time(inner: &Inner, cursor: &str) -> Result<Option<Timestamp>, EngineError> {
    Ok(inner.store.cursor(cursor).await?.and_then(|text| text.parse().ok()))
}

async fn read_log(inner: &Inner, rounds: &Rounds, log: &HookLog) -> Swept {
    if rounds.logs.rests(&log.target) {
        return Swept::Partly;
    }
    let reader = log::Reader { store: inner.store.as_ref(), clock: inner.clock.as_ref(), log };
    let received = || inner.wakes.received.notify_one();
    match reader.read(received).await {
        Ok(swept) => {
            rounds.logs.passed(&log.target);
            swept
        }
        Err(error) => {
            tracing::warn!(hook = %log.target, error = %error.chain(), "the log of deliveries cannot be read now");
            rounds.logs.failed(log.target.clone(), not_before(&error));
            Swept::Partly
        }
    }
}

/// Lists what is new in these repositories. One that cannot be listed does not keep the others from it, and does not make
/// them be listed more often.
async fn poll_all(inner: &Inner, rounds: &mut Rounds, wanted: impl Fn(&ServedProject) -> bool) -> Swept {
    let mut swept = Swept::All;
    for project in inner.projects.iter().filter(|project| wanted(project)) {
        if rounds.lists.rests(&project.name) {
            swept = Swept::Partly;
            continue;
        }
        let now = inner.clock.now();
        let failures = rounds.lists.failures(&project.name);
        let listed = rounds.listed_at.get(&project.name).map(|at| now.duration_since(*at));
        if failures == 0 && listed.is_some_and(|ago| ago > SignedDuration::ZERO && ago < rounds.every) {
            continue;
        }
        match poll::poll(inner, project, failures).await {
            Ok(()) => {
                rounds.lists.passed(&project.name);
                rounds.listed_at.insert(project.name.clone(), now);
            }
            Err(error) => {
                tracing::warn!(project = %project.name, error = %error.chain(), "a repository cannot be listed now");
                rounds.lists.failed(project.name.clone(), not_before(&error));
                swept = Swept::Partly;
            }
        }
    }
    swept
}
