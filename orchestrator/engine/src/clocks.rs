//! How long things have lasted, by a clock that nobody can set. Timestamps of rows and reports are for people: a
//! machine whose wall clock is corrected must not lose a running task, and an agent must not win time by writing a
//! heartbeat of tomorrow.
//!
//! The price: a driver that takes a task over counts from that moment on. The agent keeps its own clocks meanwhile, so
//! only an agent that hangs lives longer for it.

use std::time::Duration;

use cloud_code_model::TaskState;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::budget::is_cut;
use crate::facts::{Facts, ReportFact};

/// How long things have lasted, as far as this driver has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Elapsed {
    /// Since its container ran.
    pub running: Duration,
    /// Since the last new sign of life of its agent.
    pub silent: Duration,
    /// Since it was asked to stop.
    pub cancelling: Duration,
}

/// What a driver saw, and when it first saw it.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    running: Option<(String, Instant)>,
    sign: Option<((String, Option<Timestamp>), Instant)>,
    cancelling: Option<Instant>,
}

impl Clocks {
    /// Looks at the facts of this moment.
    pub(crate) fn look(&mut self, facts: &Facts, now: Instant) -> Elapsed {
        let is_cancelled = facts.record.cancel_requested_at.is_some() || is_cut(&facts.record);
        let cancelling = match is_cancelled.then_some(()) {
            Some(()) => now.duration_since(*self.cancelling.get_or_insert(now)),
            None => Duration::ZERO,
        };
        let TaskState::Running { container, .. } = &facts.record.state else {
            return Elapsed { cancelling, ..Elapsed::default() };
        };
        let heartbeat = match &facts.report {
            ReportFact::Task { heartbeat_at, .. } => Some(*heartbeat_at),
            ReportFact::NotYet { heartbeat_at } => *heartbeat_at,
            ReportFact::Unreadable { .. } => None,
        };
        Elapsed {
            running: since(&mut self.running, container.clone(), now),
            silent: since(&mut self.sign, (container.clone(), heartbeat), now),
            cancelling,
        }
    }
}

/// How long the value has been what it is; a new value starts anew.
fn since<T: PartialEq>(seen: &mut Option<(T, Instant)>, value: T, now: Instant) -> Duration {
    match seen {
        Some((known, at)) if *known == value => now.duration_since(*at),
        _ => {
            *seen = Some((value, now));
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::WorkspaceFact;
    use cloud_code_model::{DEFAULT_CLI, Issue, NewTask, ProjectSettings, TaskRecord};
    use cloud_code_task_schema::Mode;

    fn facts(state: TaskState) -> Facts {
        let at = Timestamp::UNIX_EPOCH;
        let issue = Issue {
            project: "shop".parse().unwrap(),
            key: "login".parse().unwrap(),
            title: "Fix".into(),
            branch: "cloud-code/login".parse().unwrap(),
            base: "main".parse().unwrap(),
            base_sha: "0".repeat(40),
            start_sha: None,
            settings_sha: None,
            created_at: at,
            cleaned_at: None,
        };
        let task = NewTask {
            id: "T1".parse().unwrap(),
            project: issue.project.clone(),
            issue: issue.key.clone(),
            title: "Fix".into(),
            description: "Fix".into(),
            mode: Mode::Edit,
            continues: None,
            handoff: None,
            plan: ProjectSettings::default().plan("/srv/shop".into(), DEFAULT_CLI.parse().unwrap()),
            requested_by: None,
            intent: None,
            brief: cloud_code_model::Brief::default(),
            queue: Default::default(),
            created_at: at,
        };
        Facts {
            record: TaskRecord { state, ..TaskRecord::queued(task) },
            issue,
            rest: Duration::ZERO,
            workspace: WorkspaceFact::Ready,
            tasking: None,
            report: ReportFact::NotYet { heartbeat_at: None },
            container: None,
            worktree_head: None,
            budget: Vec::new(),
            elapsed: Elapsed::default(),
        }
    }

    #[test]
    fn time_is_counted_by_what_this_driver_saw_and_not_by_what_stands_in_files() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut clocks = Clocks::default();
        // The row claims a start in 1970, and a heartbeat lies in the far future.
        let started_at = Timestamp::UNIX_EPOCH;
        let mut now = facts(TaskState::Running { container: "c1".into(), started_at });
        now.report = ReportFact::NotYet { heartbeat_at: Some(Timestamp::MAX) };
        assert_eq!(clocks.look(&now, start), Elapsed::default());
        let elapsed = clocks.look(&now, start + 3 * second);
        assert_eq!((elapsed.running, elapsed.silent), (3 * second, 3 * second));

        now.report = ReportFact::NotYet { heartbeat_at: Some(Timestamp::MIN) };
        now.record.cancel_requested_at = Some(Timestamp::MIN);
        let elapsed = clocks.look(&now, start + 5 * second);
        assert_eq!(elapsed, Elapsed { running: 5 * second, ..Elapsed::default() });
        let elapsed = clocks.look(&now, start + 9 * second);
        assert_eq!((elapsed.silent, elapsed.cancelling), (4 * second, 4 * second));

        now.record.state = TaskState::Running { container: "c2".into(), started_at };
        let elapsed = clocks.look(&now, start + 10 * second);
        assert_eq!((elapsed.running, elapsed.silent), (Duration::ZERO, Duration::ZERO));
    }
}
