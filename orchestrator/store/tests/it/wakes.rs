//! What another process is told, and what it finds out by itself.

use std::time::Duration;

use cloud_code_model::{Note, Place, TaskEvent};
use cloud_code_store::{
    Claim, Database, Deliveries as _, DeliveryKey, DeliverySource, DeliveryState, ForgeStore as _,
    HookTarget, Leases as _, Member, NewDelivery, Store as _, Terms, Wake, Wakes,
};
use futures_util::FutureExt as _;

use crate::home::{DatabaseHome, Home as _};
use crate::{at, issue, project, task};

const PATIENCE: Duration = Duration::from_secs(20);

async fn heard(wakes: &mut Wakes) -> Wake {
    tokio::time::timeout(PATIENCE, wakes.next()).await.unwrap()
}

fn delivery(state: DeliveryState, guid: &str) -> NewDelivery {
    NewDelivery {
        key: DeliveryKey { target: HookTarget { kind: "integration".into(), id: 7 }, guid: guid.into() },
        event: "issue_comment".into(),
        body: b"{}".to_vec(),
        received_at: at(1),
        source: DeliverySource::Webhook,
        state,
    }
}

async fn with_task(store: &Database) {
    store.put_project(&project()).await.unwrap();
    store.open_issue(&issue("login"), &task("T1", "login"), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_server_another_process_is_told_of_work_and_of_nothing_else() {
    let home = DatabaseHome::server();
    let (store, other) = (home.open().await, home.open().await);
    let mut wakes = other.wakes().await.unwrap();
    store.put(&[delivery(DeliveryState::Waiting, "a"), delivery(DeliveryState::Waiting, "b")]).await.unwrap();
    assert_eq!(heard(&mut wakes).await, Wake::Deliveries);
    store.put(&[delivery(DeliveryState::Ignored, "c"), delivery(DeliveryState::Waiting, "a")]).await.unwrap();
    with_task(&store).await;
    assert_eq!(heard(&mut wakes).await, Wake::Tasks, "added");
    let queued = store.open_tasks().await.unwrap().remove(0);
    store.record_report(&queued.task.id, &queued.usage, Some("words"), &[]).await.unwrap();
    store.request_cancel(&queued.task.id, at(5)).await.unwrap();
    assert_eq!(heard(&mut wakes).await, Wake::Tasks, "to be cancelled");

    let terms = Terms { lease: Duration::from_secs(30), worker: Duration::from_secs(60) };
    let member = Member { worker: "one".parse().unwrap(), process: "1".to_owned().into() };
    store.enrol(&member, "a host", terms).await.unwrap();
    let (shop, login) = (&queued.task.project, &queued.task.issue);
    let Claim::Won(lease) = store.claim(&member, shop, login, terms).await.unwrap() else { panic!() };
    store.beat(&member, terms).await.unwrap();
    let note = Note {
        project: shop.clone(),
        key: "comment-1".into(),
        number: 42,
        place: Place::Issue,
        body: "help".into(),
        created_at: at(1),
    };
    store.put_note(&note).await.unwrap();
    assert_eq!(heard(&mut wakes).await, Wake::Notes, "a claim and its renewal are no news");
    store.release(&lease).await.unwrap();
    assert_eq!(heard(&mut wakes).await, Wake::Leases);
    store.transition(&queued, TaskEvent::Withdrawn, at(6)).await.unwrap();
    assert_eq!(heard(&mut wakes).await, Wake::Tasks, "moved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listener_that_was_cut_off_looks_at_everything_and_listens_again() {
    let home = DatabaseHome::server();
    let (store, other) = (home.open().await, home.open().await);
    let mut wakes = other.wakes().await.unwrap();
    home.meddle(
        "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid(); END $$",
    )
    .await;
    assert_eq!(heard(&mut wakes).await, Wake::Everything);
    with_task(&store).await;
    while heard(&mut wakes).await != Wake::Tasks {}
    assert_eq!(store.open_tasks().await.unwrap().len(), 1, "the pool has new connections too");
}

#[tokio::test]
async fn a_file_tells_nothing_and_is_looked_at() {
    let home = DatabaseHome::file();
    let (store, other) = (home.open().await, home.open().await);
    let mut wakes = other.wakes().await.unwrap();
    with_task(&store).await;
    assert_eq!(wakes.next().now_or_never(), None);
    assert_eq!(other.open_tasks().await.unwrap().len(), 1);
}
