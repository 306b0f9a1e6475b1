//! Runs the project's verify commands as the CLI's user, without its credentials.

use std::time::Duration;

use cloud_code_task_schema::{EventKind, HumanDuration, Task, TaskReportStatus, VerifyReport};
use tokio::time::Instant;

use crate::capture::{Keep, capture};
use crate::clocks::WallClock;
use crate::journal::Subject;
use crate::parse::one_line;
use crate::process::{Input, Launch};
use crate::shared::{Shared, StopRequest};
use crate::sweep::sweep;

/// What is kept of a command's output: enough for the end of a test run.
const TAIL_BYTES: usize = 4 * 1024;

/// Most results in a report, the newest: each may have a tail, and the report has a cap.
const MAX_REPORTS: usize = 40;

/// How a round of verify commands ended.
pub(crate) enum VerifyEnd {
    /// All succeeded.
    Green,
    /// These did not.
    Red(Vec<VerifyReport>),
    /// The task's wall clock ran out.
    OutOfTime,
    /// A stop was asked for.
    Stopped(StopRequest),
}

/// Runs them all, in order, and reports each.
pub(crate) async fn verify(
    shared: &Shared,
    subject: &Subject,
    task: &Task,
    round: u32,
    wall: WallClock,
) -> VerifyEnd {
    let env = shared.plain_env(&task.commit);
    let mut red = Vec::new();
    shared.journal().update_task(&task.id, |report| report.status = TaskReportStatus::Verifying);
    let mut end = VerifyEnd::Green;
    for command in &task.verify {
        shared.journal().step(&task.id, &format!("Verifying: {}", one_line(command)));
        let argv = ["sh", "-c", command.as_str()].map(str::to_owned);
        let directory = &shared.options.workspace;
        let launch =
            Launch { argv: &argv, env: &env, directory, user: shared.user.switch_to, input: Input::Nothing };
        let started_at = Instant::now();
        let (left, own) = (wall.left(), task.limits.verify_timeout.as_duration());
        let captured = tokio::select! {
            captured = capture(&launch, b"", Keep::TailOfBoth(TAIL_BYTES), left.min(own), &shared.reaper, &shared.masker) => captured,
            request = shared.stop.requested() => {
                end = VerifyEnd::Stopped(request);
                break;
            }
        };
        let (exit_code, output_tail, ended) = match captured {
            Ok(captured) => {
                (captured.exit.and_then(|exit| exit.code), captured.output, captured.exit.is_some())
            }
            Err(error) => (None, format!("sh could not be started: {error}"), true),
        };
        let duration = HumanDuration::from_duration(started_at.elapsed().max(Duration::from_millis(1)));
        let report = VerifyReport { command: command.clone(), exit_code, duration, round, output_tail };
        let mut journal = shared.journal();
        journal.event(Some(subject), EventKind::Verify { command: command.clone(), exit_code, round });
        journal.update_task(&task.id, |task| {
            task.verify.push(report.clone());
            let surplus = task.verify.len().saturating_sub(MAX_REPORTS);
            task.verify.drain(..surplus);
        });
        drop(journal);
        if !ended && left <= own {
            end = VerifyEnd::OutOfTime;
            break;
        }
        if exit_code != Some(0) {
            red.push(report);
        }
    }
    // A server started for the tests must not meet the next round.
    sweep(&shared.reaper).await;
    match end {
        VerifyEnd::Green if !red.is_empty() => VerifyEnd::Red(red),
        end => end,
    }
}
