//! What stands in `tasking.yaml`, computed from the rows. The file is never edited: it is derived, compared, and
//! rewritten with the next generation when it differs.

use std::collections::BTreeMap;

use cloud_code_model::{Issue, TaskRecord};
use cloud_code_task_schema::{Assignment, PROTOCOL_VERSION, Task, TaskContext, TaskId, Tasking};
use jiff::Timestamp;

use crate::budget::is_cut;

/// The next version of the file, or `None` when the one that stands says all of it already. `seen` is the highest
/// generation that the agent reported, 0 before the first; `ended` are the tasks that it reported as ended, with the attempt.
pub fn next_tasking(
    issue: &Issue,
    records: &[TaskRecord],
    standing: Option<&Tasking>,
    seen: u64,
    ended: &BTreeMap<TaskId, u32>,
    now: Timestamp,
) -> Option<Tasking> {
    let last = records.last()?;
    let tasks: Vec<Task> = records.iter().map(|record| task(issue, record, ended)).collect();
    let cli = last.cli();
    if standing.is_some_and(|s| s.tasks == tasks && s.cli == *cli) {
        return None;
    }
    Some(Tasking {
        version: PROTOCOL_VERSION,
        generation: standing.map_or(seen, |s| s.generation.max(seen)).saturating_add(1),
        updated_at: now,
        workspace: format!("{}#{}", issue.project, issue.key),
        cli: cli.clone(),
        tasks,
    })
}

fn task(issue: &Issue, record: &TaskRecord, ended: &BTreeMap<TaskId, u32>) -> Task {
    let asked = &record.task;
    let plan = &asked.plan;
    // What has ended here and not there must not be taken up again by the agent that comes for a later task. An end of an
    // earlier attempt is none: the last one may have failed before its agent began.
    let has_ended = ended.get(&asked.id).is_some_and(|attempt| *attempt >= record.attempt);
    let is_over = record.state.status().is_terminal() && !has_ended;
    let status = match record.cancel_requested_at {
        Some(_) => Assignment::Cancelled,
        None if is_over || is_cut(record) => Assignment::Cancelled,
        None => Assignment::Assigned,
    };
    Task {
        id: asked.id.clone(),
        status,
        attempt: record.attempt,
        title: asked.title.clone(),
        mode: asked.mode,
        description: asked.description.clone(),
        acceptance_criteria: asked.brief.acceptance_criteria.clone(),
        context: TaskContext {
            related_files: asked.brief.related_files.clone(),
            notes: asked.brief.notes.clone(),
        },
        continues: asked.continues.clone(),
        handoff: asked.handoff.clone(),
        requested_by: asked.requested_by.clone(),
        priority: asked.queue.priority,
        branch: issue.branch.clone(),
        base: issue.base.clone(),
        model: plan.model.clone(),
        limits: plan.limits.clone(),
        verify: plan.verify.clone(),
        verify_rounds: plan.verify_rounds,
        commit: plan.commit.clone(),
    }
}
