//! What only a database can be told of: its schema, its limits, and rows that the store would not write.

use cloud_code_model::{Gate, Next, Outcome, OutcomeStatus, TaskEvent};
use cloud_code_store::{Deliveries as _, HistoryStore as _, Put, Store as _, StoreError};
use cloud_code_task_schema::{Failure, FailureKind};

use crate::deliveries::{delivery, waiting};
use crate::history::queued;
use crate::home::{DatabaseHome, Home as _, on_both};
use crate::story::with_task;
use crate::{at, project};

on_both!(
    a_row_that_does_not_read_is_named,
    eight_first_openers_make_one_schema,
    a_refused_delivery_leaves_nothing_of_its_batch,
    a_task_that_is_moved_for_ever_does_not_fill_the_store,
);

async fn a_row_that_does_not_read_is_named(home: DatabaseHome) {
    let store = home.open().await;
    with_task(&store).await;
    home.meddle("UPDATE tasks SET state = '{\"status\":\"dreaming\"}'").await;
    let error = store.task(&"T1".parse().unwrap()).await.unwrap_err();
    assert!(
        error.to_string().starts_with("the row of task `T1` cannot be read: state: unknown variant"),
        "{error}"
    );
}

async fn eight_first_openers_make_one_schema(home: DatabaseHome) {
    let open = || async {
        let store = home.open().await;
        store.put_project(&project()).await.unwrap();
        store
    };
    let stores = futures_util::future::join_all((0..8).map(|_| open())).await;
    assert_eq!(stores[7].project(&"shop".parse().unwrap()).await.unwrap(), Some(project()));
}

async fn a_refused_delivery_leaves_nothing_of_its_batch(home: DatabaseHome) {
    let store = home.open().await;
    let mut impossible = delivery("b", 1);
    impossible.key.target.id = u64::MAX;
    let refused = store.put(&[delivery("a", 1), impossible]).await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    assert_eq!(waiting(&store).await, Vec::<String>::new());
    assert_eq!(store.put(&[delivery("a", 1)]).await.unwrap(), [Put::Stored]);
}

async fn a_task_that_is_moved_for_ever_does_not_fill_the_store(home: DatabaseHome) {
    let store = home.open().await;
    let mut record = store.transition(&queued(&store).await, TaskEvent::Taken, at(4)).await.unwrap();
    for round in 0..200_i64 {
        let started = TaskEvent::Started { container: "c".into(), at: at(5) };
        record = store.transition(&record, started, at(5)).await.unwrap();
        let failure = Some(Failure::new(FailureKind::Network, "down"));
        let outcome = Outcome { status: OutcomeStatus::Failed, failure, head: None };
        record = store.transition(&record, TaskEvent::Ended { outcome }, at(6)).await.unwrap();
        let next = Next::Again { until: at(7), attempt: u32::try_from(round).unwrap() + 2 };
        let imported = TaskEvent::Imported { head: None, gate: Gate::Open, next };
        record = store.transition(&record, imported, at(7)).await.unwrap();
        record = store.transition(&record, TaskEvent::Woken, at(8)).await.unwrap();
    }
    let seqs: Vec<i64> = store.moves(&record.task.id).await.unwrap().iter().map(|m| m.seq).collect();
    let expected: Vec<i64> = (2..=50).chain(record.version - 149..=record.version).collect();
    assert_eq!(seqs, expected, "the beginning and the end are kept");
}
