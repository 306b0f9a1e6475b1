//! The store's story.

use cloud_code_model::{
    Attempt, Gate, Issue, NewTask, Next, Outcome, OutcomeStatus, StopReason, TaskEvent, TaskStatus,
};
use cloud_code_store::{Store, StoreError};
use cloud_code_task_schema::{Failure, FailureKind, Handoff, Usage};

use crate::home::{Home, Whole as _, on_all};
use crate::{at, issue, project, task};

on_all!(
    a_task_lives_its_life_and_survives_reopening,
    a_stale_writer_is_refused_and_changes_nothing,
    an_illegal_move_is_refused_and_changes_nothing,
    an_issue_and_its_branch_are_opened_once,
    a_task_is_added_when_the_last_one_has_ended_and_comes_after_it,
    a_cancel_request_is_kept_once_and_does_not_disturb_the_driver,
    figures_and_attempts_are_kept,
    eight_writers_in_two_processes_worth_of_pools_lose_nothing,
    a_failure_keeps_its_kind,
    words_with_a_nul_are_kept_as_far_as_they_can_be,
    two_who_add_a_task_or_clean_at_once_are_one,
    another_attempt_has_a_number_of_its_own_and_forgets_who_ended_the_last,
);

pub(crate) async fn with_task(store: &impl Store) {
    store.put_project(&project()).await.unwrap();
    store.open_issue(&issue("login"), &task("T1", "login"), None).await.unwrap();
}

async fn a_task_lives_its_life_and_survives_reopening(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let queued = store.task(&"T1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(queued.task, task("T1", "login"));

    let preparing = store.transition(&queued, TaskEvent::Taken, at(4)).await.unwrap();
    let started = TaskEvent::Started { container: "c1".into(), at: at(5) };
    let running = store.transition(&preparing, started, at(5)).await.unwrap();
    store.close().await;

    let store = home.open().await;
    assert_eq!(store.task(&running.task.id).await.unwrap(), Some(running.clone()));
    let outcome = Outcome { status: OutcomeStatus::Completed, failure: None, head: Some("abc".into()) };
    let importing = store.transition(&running, TaskEvent::Ended { outcome }, at(6)).await.unwrap();
    let imported = TaskEvent::Imported { head: Some("abc".into()), gate: Gate::Open, next: Next::End };
    let publishing = store.transition(&importing, imported, at(7)).await.unwrap();
    assert_eq!(store.open_tasks().await.unwrap(), vec![publishing.clone()]);
    let done = store.transition(&publishing, TaskEvent::Published, at(8)).await.unwrap();
    assert_eq!((done.state.status(), done.state.head()), (TaskStatus::Done, Some("abc")));
    assert_eq!(store.open_tasks().await.unwrap(), vec![]);
}

async fn a_stale_writer_is_refused_and_changes_nothing(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let read = store.task(&"T1".parse().unwrap()).await.unwrap().unwrap();
    let moved = store.transition(&read, TaskEvent::Taken, at(4)).await.unwrap();
    let again = store.transition(&read, TaskEvent::Withdrawn, at(5)).await;
    assert!(matches!(again, Err(StoreError::Stale { .. })), "{again:?}");
    assert_eq!(store.task(&read.task.id).await.unwrap(), Some(moved));
}

async fn an_illegal_move_is_refused_and_changes_nothing(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let read = store.task(&"T1".parse().unwrap()).await.unwrap().unwrap();
    let refused = store.transition(&read, TaskEvent::Published, at(4)).await;
    assert!(matches!(refused, Err(StoreError::Illegal(_))), "{refused:?}");
    assert_eq!(store.task(&read.task.id).await.unwrap(), Some(read));
}

async fn an_issue_and_its_branch_are_opened_once(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let twice = store.open_issue(&issue("login"), &task("T2", "login"), None).await;
    assert!(matches!(twice, Err(StoreError::Exists { .. })), "{twice:?}");
    assert_eq!(
        store.task(&"T2".parse().unwrap()).await.unwrap(),
        None,
        "the task of a refused issue was kept"
    );

    let other = Issue { branch: "cloud-code/login".parse().unwrap(), ..issue("other") };
    let same_branch = store.open_issue(&other, &task("T3", "other"), None).await;
    assert!(matches!(same_branch, Err(StoreError::Exists { .. })), "{same_branch:?}");
    assert!(store.is_taken(&other.project, &other.key, &other.branch).await.unwrap());

    let login = "login".parse().unwrap();
    let refused = store.mark_cleaned(&other.project, &login, at(9)).await;
    assert!(
        matches!(refused, Err(StoreError::NotOpen { .. })),
        "an open task loses its worktree: {refused:?}"
    );
    let queued = store.task(&"T1".parse().unwrap()).await.unwrap().unwrap();
    store.transition(&queued, TaskEvent::Withdrawn, at(9)).await.unwrap();
    store.mark_cleaned(&other.project, &login, at(9)).await.unwrap();
    store.open_issue(&other, &task("T3", "other"), None).await.unwrap();
    let keys: Vec<_> = store.issues(None, 10).await.unwrap().into_iter().map(|i| i.key.to_string()).collect();
    assert_eq!(keys, ["login", "other"]);
}

async fn a_task_is_added_when_the_last_one_has_ended_and_comes_after_it(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let handoff = Handoff { goal: Some("Fix the login".into()), ..Handoff::default() };
    // An id that sorts before the first one's: a clock was set back in between.
    let next = NewTask { continues: "T1".parse().ok(), handoff: Some(handoff), ..task("A2", "login") };
    let refused = store.add_task(&next).await;
    assert!(matches!(refused, Err(StoreError::NotOpen { .. })), "{refused:?}");

    let queued = store.task(&"T1".parse().unwrap()).await.unwrap().unwrap();
    store.transition(&queued, TaskEvent::Withdrawn, at(4)).await.unwrap();
    store.add_task(&next).await.unwrap();
    let tasks = store.tasks_of(&next.project, &next.issue).await.unwrap();
    assert_eq!(tasks.iter().map(|t| t.task.id.as_str()).collect::<Vec<_>>(), ["T1", "A2"]);
    assert_eq!(tasks[1].task, next);

    store.transition(&tasks[1], TaskEvent::Withdrawn, at(5)).await.unwrap();
    store.mark_cleaned(&next.project, &next.issue, at(6)).await.unwrap();
    let refused = store.add_task(&task("T3", "login")).await;
    assert!(matches!(refused, Err(StoreError::NotOpen { .. })), "{refused:?}");
}

async fn a_cancel_request_is_kept_once_and_does_not_disturb_the_driver(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let read = store.task(&"T1".parse().unwrap()).await.unwrap().unwrap();
    store.request_cancel(&read.task.id, at(4)).await.unwrap();
    store.request_cancel(&read.task.id, at(9)).await.unwrap();
    let moved = store.transition(&read, TaskEvent::Taken, at(5)).await.unwrap();
    assert_eq!(moved.state.status(), TaskStatus::Preparing);
    let now = store.task(&read.task.id).await.unwrap().unwrap();
    assert_eq!(now.cancel_requested_at, Some(at(4)));
}

async fn figures_and_attempts_are_kept(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let id = "T1".parse().unwrap();
    let usage = Usage { input_tokens: Some(7), ..Usage::default() };
    store.record_report(&id, &usage, Some("It works"), &["Which one?".into()]).await.unwrap();
    store.record_report(&id, &usage, None, &["Which one?".into()]).await.unwrap();
    let read = store.task(&id).await.unwrap().unwrap();
    assert_eq!((read.usage, read.summary.as_deref()), (usage, Some("It works")));
    assert_eq!(read.questions, ["Which one?"]);
    store.record_stop(&id, StopReason::Overtime).await.unwrap();
    store.record_stop(&id, StopReason::Killed).await.unwrap();
    assert_eq!(store.task(&id).await.unwrap().unwrap().stop_reason, Some(StopReason::Overtime));

    let attempt = Attempt {
        task: id.clone(),
        number: 1,
        container: None,
        started_at: at(4),
        finished_at: None,
        result: None,
    };
    store.begin_attempt(&attempt).await.unwrap();
    store.begin_attempt(&Attempt { started_at: at(5), ..attempt.clone() }).await.unwrap();
    store.attempt_container(&id, 1, "c1").await.unwrap();
    store.finish_attempt(&id, 1, at(6), "completed").await.unwrap();
    store.finish_attempt(&id, 1, at(7), "crashed").await.unwrap();
    let expected = Attempt {
        container: Some("c1".into()),
        finished_at: Some(at(6)),
        result: Some("completed".into()),
        ..attempt
    };
    assert_eq!(store.attempts(&id).await.unwrap(), vec![expected]);
}

async fn eight_writers_in_two_processes_worth_of_pools_lose_nothing(home: impl Home) {
    let (one, two) = (home.open().await, home.open().await);
    one.put_project(&project()).await.unwrap();
    let mut writers = Vec::new();
    for n in 0..8 {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        writers.push(tokio::spawn(async move {
            for m in 0..10 {
                let key = format!("issue-{n}-{m}");
                store.open_issue(&issue(&key), &task(&format!("T-{n}-{m}"), &key), None).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(one.open_tasks().await.unwrap().len(), 80);
}

async fn a_failure_keeps_its_kind(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let read = store.task(&"T1".parse().unwrap()).await.unwrap().unwrap();
    let failure = Failure::new(FailureKind::DiskFull, "no space left");
    store.transition(&read, TaskEvent::HostFailed { failure: failure.clone() }, at(5)).await.unwrap();
    let failed = store.task(&read.task.id).await.unwrap().unwrap();
    assert_eq!(failed.state.failure(), Some(&failure));
}

async fn words_with_a_nul_are_kept_as_far_as_they_can_be(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let id = "T1".parse().unwrap();
    store.record_report(&id, &Usage::default(), Some("one\0two"), &["a\0b".into()]).await.unwrap();
    let read = store.task(&id).await.unwrap().unwrap();
    let kept = if home.keeps_a_nul() { "one\0two" } else { "one\u{fffd}two" };
    assert_eq!((read.summary.as_deref(), read.questions.as_slice()), (Some(kept), &["a\0b".to_owned()][..]));
}

async fn two_who_add_a_task_or_clean_at_once_are_one(home: impl Home) {
    let (one, other) = (home.open().await, home.open().await);
    with_task(&one).await;
    for round in 0..10 {
        let open = one.open_tasks().await.unwrap();
        for task in &open {
            one.transition(task, TaskEvent::Withdrawn, at(4)).await.unwrap();
        }
        let adding = (0..8).map(|n| {
            let store = if n % 2 == 0 { one.clone() } else { other.clone() };
            let task = task(&format!("N-{round}-{n}"), "login");
            tokio::spawn(async move { store.add_task(&task).await.is_ok() })
        });
        let added = futures_util::future::join_all(adding).await;
        assert_eq!(added.into_iter().filter(|added| *added.as_ref().unwrap()).count(), 1);
    }
    let last = one.open_tasks().await.unwrap().remove(0);
    one.transition(&last, TaskEvent::Withdrawn, at(5)).await.unwrap();
    let (project, key) = (last.task.project.clone(), last.task.issue.clone());
    let next = task("N-last", "login");
    let (cleaned, added) = tokio::join!(one.mark_cleaned(&project, &key, at(6)), other.add_task(&next));
    assert_ne!(cleaned.is_ok(), added.is_ok(), "a task lost its worktree: {cleaned:?} {added:?}");
}

async fn another_attempt_has_a_number_of_its_own_and_forgets_who_ended_the_last(home: impl Home) {
    let store = home.open().await;
    with_task(&store).await;
    let id = "T1".parse().unwrap();
    let mut record = store.task(&id).await.unwrap().unwrap();
    let failure = Failure::new(FailureKind::Internal, "silent");
    let outcome = Outcome { status: OutcomeStatus::Failed, failure: Some(failure), head: None };
    let next = Next::Again { until: at(60), attempt: 3 };
    for event in [
        TaskEvent::Taken,
        TaskEvent::Started { container: "c".into(), at: at(4) },
        TaskEvent::Ended { outcome },
        TaskEvent::Imported { head: None, gate: Gate::Open, next },
    ] {
        record = store.transition(&record, event, at(5)).await.unwrap();
        store.record_stop(&id, StopReason::HeartbeatLost).await.unwrap();
    }
    let resting = store.open_tasks().await.unwrap();
    assert_eq!(resting.first().map(|task| task.state.status()), Some(TaskStatus::BackingOff));
    assert_eq!((resting[0].attempt, resting[0].stop_reason), (1, Some(StopReason::HeartbeatLost)));

    let woken = store.transition(&record, TaskEvent::Woken, at(60)).await.unwrap();
    assert_eq!(store.task(&id).await.unwrap().unwrap(), woken);
    assert_eq!((woken.attempt, woken.stop_reason, woken.state.status()), (3, None, TaskStatus::Preparing));
}
