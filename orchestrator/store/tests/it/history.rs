//! How tasks came where they are.

use cloud_code_model::{Gate, Next, Outcome, OutcomeStatus, TaskEvent, TaskRecord};
use cloud_code_store::{HistoryStore, Store, StoreError};
use cloud_code_task_schema::{Failure, FailureKind};

use crate::home::{Home, on_all};
use crate::{at, issue, project, task};

on_all!(every_move_is_told_once_and_a_refused_one_never);

pub(crate) async fn queued(store: &impl Store) -> TaskRecord {
    store.put_project(&project()).await.unwrap();
    store.open_issue(&issue("login"), &task("T1", "login"), None).await.unwrap();
    store.task(&"T1".parse().unwrap()).await.unwrap().unwrap()
}

async fn every_move_is_told_once_and_a_refused_one_never(home: impl Home) {
    let store = home.open().await;
    let read = queued(&store).await;
    let preparing = store.transition(&read, TaskEvent::Taken, at(4)).await.unwrap();
    let stale = store.transition(&read, TaskEvent::Withdrawn, at(5)).await;
    assert!(matches!(stale, Err(StoreError::Stale { .. })), "{stale:?}");
    let illegal = store.transition(&preparing, TaskEvent::Published, at(5)).await;
    assert!(matches!(illegal, Err(StoreError::Illegal(_))), "{illegal:?}");
    let started = TaskEvent::Started { container: "c1".into(), at: at(6) };
    let running = store.transition(&preparing, started, at(6)).await.unwrap();
    let failure = Failure::new(FailureKind::Network, "x".repeat(4_000));
    let outcome = Outcome { status: OutcomeStatus::Failed, failure: Some(failure), head: Some("abc".into()) };
    let importing = store.transition(&running, TaskEvent::Ended { outcome }, at(7)).await.unwrap();
    let next = Next::Again { until: at(60), attempt: 2 };
    let imported = TaskEvent::Imported { head: Some("abc".into()), gate: Gate::Open, next };
    let resting = store.transition(&importing, imported, at(8)).await.unwrap();
    store.transition(&resting, TaskEvent::Woken, at(61)).await.unwrap();

    let moves = store.moves(&read.task.id).await.unwrap();
    let told: Vec<_> =
        moves.iter().map(|m| (m.seq, m.event.as_str(), m.status.as_str(), m.detail.attempt, m.at)).collect();
    assert_eq!(
        told,
        [
            (2, "taken", "preparing", Some(1), at(4)),
            (3, "started", "running", Some(1), at(6)),
            (4, "ended", "importing", Some(1), at(7)),
            (5, "imported", "backing_off", Some(1), at(8)),
            (6, "woken", "preparing", Some(2), at(61)),
        ]
    );
    let rest = &moves[3].detail;
    assert_eq!((rest.head.as_deref(), rest.until), (Some("abc"), Some(at(60))));
    let failure = rest.failure.as_ref().unwrap();
    assert_eq!((failure.kind, failure.message.chars().count()), (FailureKind::Network, 301));
    assert_eq!(store.moves_of_issue(&read.task.project, &read.task.issue).await.unwrap(), moves);
}
