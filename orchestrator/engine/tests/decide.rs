//! Every case of the reconciler's decision, as a table: what is so, and the one step that follows.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use cloud_code_engine::{
    CANCEL_PATIENCE, ContainerFact, ContainerPhase, Elapsed, Facts, HEARTBEAT_PATIENCE, OVERTIME, ReportFact,
    Step, WorkspaceFact, decide,
};
use cloud_code_model::{
    DEFAULT_CLI, Issue, NewTask, Outcome, OutcomeStatus, ProjectSettings, StopReason, TaskRecord, TaskState,
};
use cloud_code_task_schema::{Assignment, Failure, FailureKind, Mode, TaskReport, TaskReportStatus, Usage};
use jiff::Timestamp;

const START: Timestamp = Timestamp::UNIX_EPOCH;

/// Just longer than that.
fn past(time: Duration) -> Duration {
    time + Duration::from_millis(1)
}

fn facts(state: TaskState) -> Facts {
    let task = NewTask {
        id: "T1".parse().unwrap(),
        project: "shop".parse().unwrap(),
        issue: "login".parse().unwrap(),
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
        created_at: START,
    };
    let record = TaskRecord { state, ..TaskRecord::queued(task) };
    let issue = Issue {
        project: "shop".parse().unwrap(),
        key: "login".parse().unwrap(),
        title: "Fix".into(),
        branch: "cloud-code/login".parse().unwrap(),
        base: "main".parse().unwrap(),
        base_sha: "0".repeat(40),
        start_sha: None,
        settings_sha: None,
        created_at: START,
        cleaned_at: None,
    };
    Facts {
        record,
        issue,
        rest: Duration::ZERO,
        workspace: WorkspaceFact::Missing,
        tasking: None,
        report: ReportFact::NotYet { heartbeat_at: None },
        container: None,
        worktree_head: None,
        budget: Vec::new(),
        elapsed: Elapsed::default(),
    }
}

fn container(phase: ContainerPhase) -> Option<ContainerFact> {
    Some(ContainerFact { id: "c1".into(), phase })
}

fn running() -> Facts {
    let mut facts = facts(TaskState::Running { container: "c1".into(), started_at: START });
    facts.workspace = WorkspaceFact::Ready;
    facts.tasking = Some(Assignment::Assigned);
    facts.container = container(ContainerPhase::Running);
    facts
}

fn report(status: TaskReportStatus) -> ReportFact {
    let report = TaskReport {
        status,
        attempt: 1,
        started_at: None,
        finished_at: None,
        current_step: None,
        cli: None,
        base: None,
        session_id: None,
        conversation: cloud_code_task_schema::Conversation::default(),
        model: None,
        usage: Usage::default(),
        exit: None,
        failure: None,
        summary: None,
        commit_message: None,
        commits: vec![],
        head: Some("abc".into()),
        files_modified: vec![],
        verify: vec![],
        questions: vec![],
        progress: vec![],
    };
    ReportFact::Task { report: Box::new(report), heartbeat_at: START }
}

fn ended(step: Step) -> Outcome {
    match step {
        Step::RecordEnded { outcome } => outcome,
        other => panic!("expected an end, got {other:?}"),
    }
}

#[test]
fn a_task_is_made_ready_one_step_at_a_time() {
    let mut now = facts(TaskState::Queued);
    assert_eq!(decide(&now), Step::Take);
    now.record.state = TaskState::Preparing;
    assert_eq!(decide(&now), Step::PrepareWorkspace);
    now.workspace = WorkspaceFact::Ready;
    assert_eq!(decide(&now), Step::WriteTasking);
    now.tasking = Some(Assignment::Assigned);
    assert_eq!(decide(&now), Step::CreateContainer);
    now.container = container(ContainerPhase::Created);
    assert_eq!(decide(&now), Step::StartContainer { id: "c1".into() });
    now.container = container(ContainerPhase::Running);
    assert_eq!(decide(&now), Step::RecordStarted { id: "c1".into() });
}

#[test]
fn a_container_that_started_and_ended_before_it_was_recorded_is_not_started_twice() {
    let mut now = facts(TaskState::Preparing);
    now.workspace = WorkspaceFact::Ready;
    now.tasking = Some(Assignment::Assigned);
    now.container = container(ContainerPhase::Exited { code: Some(0), oom: false });
    assert_eq!(decide(&now), Step::RecordStarted { id: "c1".into() });
}

#[test]
fn a_running_task_is_waited_for() {
    assert_eq!(decide(&running()), Step::Wait);
    let mut now = running();
    now.report = report(TaskReportStatus::InProgress);
    assert_eq!(decide(&now), Step::Wait);
    now.report = report(TaskReportStatus::Verifying);
    assert_eq!(decide(&now), Step::Wait);
}

#[test]
fn the_agents_word_ends_a_task() {
    for (said, outcome) in [
        (TaskReportStatus::Completed, OutcomeStatus::Completed),
        (TaskReportStatus::Blocked, OutcomeStatus::Blocked),
        (TaskReportStatus::Cancelled, OutcomeStatus::Cancelled),
        (TaskReportStatus::Failed, OutcomeStatus::Failed),
        (TaskReportStatus::TimedOut, OutcomeStatus::Failed),
    ] {
        let mut now = running();
        now.report = report(said);
        let ended = ended(decide(&now));
        assert_eq!((ended.status, ended.head.as_deref()), (outcome, Some("abc")));
        assert_eq!(ended.failure.is_some(), outcome == OutcomeStatus::Failed);
    }
}

#[test]
fn an_end_without_a_word_is_a_crash_and_keeps_the_work() {
    let mut now = running();
    now.worktree_head = Some("def".into());
    now.container = container(ContainerPhase::Exited { code: Some(139), oom: false });
    let crashed = ended(decide(&now));
    assert_eq!(crashed.failure.map(|f| f.kind), Some(FailureKind::Crashed));
    assert_eq!(crashed.head.as_deref(), Some("def"));

    now.container = container(ContainerPhase::Exited { code: Some(137), oom: true });
    assert_eq!(ended(decide(&now)).failure.map(|f| f.kind), Some(FailureKind::Oom));

    now.container = None;
    assert_eq!(ended(decide(&now)).failure.map(|f| f.kind), Some(FailureKind::Crashed));
}

#[test]
fn a_report_that_cannot_be_read_is_a_failure_with_a_reason() {
    let mut now = running();
    now.report = ReportFact::Unreadable { reason: "it is a link".into() };
    assert_eq!(decide(&now), Step::Wait, "running work is left alone");
    now.container = container(ContainerPhase::Exited { code: Some(0), oom: false });
    let failure = ended(decide(&now)).failure.unwrap();
    assert_eq!(
        failure,
        Failure::new(FailureKind::Internal, "the agent's report cannot be read: it is a link")
    );
}

#[test]
fn a_cancel_is_written_then_waited_for_then_enforced() {
    let mut now = facts(TaskState::Queued);
    now.record.cancel_requested_at = Some(START);
    assert_eq!(decide(&now), Step::Withdraw);
    now.record.state = TaskState::Preparing;
    assert_eq!(decide(&now), Step::Withdraw);
    now.container = container(ContainerPhase::Created);
    assert_eq!(decide(&now), Step::RemoveContainer { id: "c1".into() });

    let mut now = running();
    now.record.cancel_requested_at = Some(START);
    assert_eq!(decide(&now), Step::WriteTasking);
    now.tasking = Some(Assignment::Cancelled);
    assert_eq!(decide(&now), Step::Wait);
    now.elapsed.cancelling = past(CANCEL_PATIENCE);
    assert_eq!(decide(&now), Step::StopContainer { id: "c1".into(), reason: StopReason::CancelIgnored });
    now.record.stop_reason = Some(StopReason::CancelIgnored);
    now.container = container(ContainerPhase::Exited { code: Some(137), oom: false });
    assert_eq!(ended(decide(&now)).status, OutcomeStatus::Cancelled);
}

#[test]
fn a_cancel_does_not_hide_what_went_wrong_by_itself() {
    let mut now = running();
    now.record.cancel_requested_at = Some(START);
    now.tasking = Some(Assignment::Cancelled);
    let mut end = |phase: Option<ContainerPhase>| {
        now.container = phase.and_then(container);
        let outcome = ended(decide(&now));
        (outcome.status, outcome.failure.map(|f| f.kind))
    };
    let exited = |code, oom| Some(ContainerPhase::Exited { code, oom });
    assert_eq!(end(exited(Some(137), true)), (OutcomeStatus::Failed, Some(FailureKind::Oom)));
    assert_eq!(end(exited(Some(139), false)), (OutcomeStatus::Failed, Some(FailureKind::Crashed)));
    assert_eq!(end(exited(Some(0), false)), (OutcomeStatus::Cancelled, None));
    assert_eq!(end(None), (OutcomeStatus::Cancelled, None));
}

#[test]
fn a_container_that_the_host_ended_is_no_crash() {
    for (reason, kind) in [
        (StopReason::Killed, None),
        (StopReason::CancelIgnored, None),
        (StopReason::Overtime, Some(FailureKind::Timeout)),
        (StopReason::HeartbeatLost, Some(FailureKind::Internal)),
        (StopReason::ServiceStopped, Some(FailureKind::Internal)),
    ] {
        let mut now = running();
        now.record.stop_reason = Some(reason);
        now.worktree_head = Some("def".into());
        now.container = container(ContainerPhase::Exited { code: Some(137), oom: false });
        let outcome = ended(decide(&now));
        assert_eq!(outcome.failure.map(|f| f.kind), kind, "{reason:?}");
        assert_eq!(outcome.head.as_deref(), Some("def"), "the work of {reason:?} was lost");
    }
}

#[test]
fn nothing_is_imported_of_a_task_that_may_only_read() {
    for mode in [Mode::Plan, Mode::Review] {
        let mut now = running();
        now.record.task.mode = mode;
        now.report = report(TaskReportStatus::Completed);
        now.worktree_head = Some("def".into());
        assert_eq!(ended(decide(&now)).head, None);
        now.report = ReportFact::NotYet { heartbeat_at: None };
        now.container = None;
        assert_eq!(ended(decide(&now)).head, None);
    }
}

#[test]
fn an_agent_that_hangs_is_ended_by_the_host() {
    let mut now = running();
    now.elapsed.silent = past(HEARTBEAT_PATIENCE);
    assert_eq!(decide(&now), Step::StopContainer { id: "c1".into(), reason: StopReason::HeartbeatLost });

    let mut now = running();
    now.elapsed.running = past(now.record.task.plan.limits.timeout.as_duration() + OVERTIME);
    now.report = report(TaskReportStatus::InProgress);
    assert_eq!(decide(&now), Step::StopContainer { id: "c1".into(), reason: StopReason::Overtime });
}

#[test]
fn an_ended_task_loses_its_container_and_nothing_else() {
    for state in [
        TaskState::Done { head: None },
        TaskState::NeedsInput { head: None },
        TaskState::Cancelled { head: None },
        TaskState::Failed { failure: Failure::new(FailureKind::Crashed, "x"), head: None },
    ] {
        let mut now = facts(state);
        assert_eq!(decide(&now), Step::Finished);
        now.container = container(ContainerPhase::Running);
        assert_eq!(decide(&now), Step::RemoveContainer { id: "c1".into() });
    }
}

#[test]
fn another_attempt_waits_for_its_time_with_nothing_left_of_the_last() {
    let mut waits = facts(TaskState::BackingOff {
        failure: Failure::new(FailureKind::Overloaded, "busy"),
        head: None,
        until: START,
        attempt: 2,
    });
    waits.rest = Duration::from_secs(9);
    waits.container = container(ContainerPhase::Exited { code: Some(0), oom: false });
    assert_eq!(decide(&waits), Step::RemoveContainer { id: "c1".into() });
    waits.container = None;
    assert_eq!(decide(&waits), Step::Rest);
    let come = Facts { rest: Duration::ZERO, ..waits.clone() };
    assert_eq!(decide(&come), Step::Wake);
    let mut unwanted = waits;
    unwanted.record.cancel_requested_at = Some(START);
    assert_eq!(decide(&unwanted), Step::Withdraw);
}
