//! Several workers on one store, as a story.

use std::sync::mpsc;
use std::time::Duration;

use cloud_code_model::{Attempt, IssueKey, ProjectName, StopReason, TaskEvent, ThreadWritten};
use cloud_code_store::{
    Claim, Database, ForgeStore as _, Lease, Leases as _, Member, Store as _, StoreError, Terms,
};
use cloud_code_task_schema::Usage;
use futures_util::future::join_all;

use crate::forge::thread_facts;
use crate::home::{DatabaseHome, Home as _, on_both};
use crate::{at, issue, project, task};

on_both!(
    an_issue_has_one_holder_and_stays_with_its_worker_while_that_lives,
    an_issue_moves_when_its_worker_is_dead_and_its_lease_has_lapsed,
    of_eight_who_claim_at_once_one_wins,
    a_stale_holder_writes_nothing,
    a_worker_that_was_started_anew_has_its_issues_at_once,
    a_beat_renews_what_is_held_and_nothing_else,
    a_move_that_was_not_finished_is_remembered,
);

const TERMS: Terms = Terms { lease: Duration::from_secs(30), worker: Duration::from_secs(60) };

fn member(worker: &str, process: &str) -> Member {
    Member { worker: worker.parse().unwrap(), process: process.to_owned().into() }
}

fn shop() -> ProjectName {
    "shop".parse().unwrap()
}

fn login() -> IssueKey {
    "login".parse().unwrap()
}

async fn enrolled(store: &Database, worker: &str) -> Member {
    let member = member(worker, "1");
    store.enrol(&member, "a host", TERMS).await.unwrap();
    member
}

async fn won(store: &Database, member: &Member, issue: &IssueKey) -> Lease {
    match store.claim(member, &shop(), issue, TERMS).await.unwrap() {
        Claim::Won(lease) => lease,
        Claim::Held { by } => panic!("{by} holds it"),
    }
}

async fn holder(store: &Database, member: &Member) -> Option<String> {
    match store.claim(member, &shop(), &login(), TERMS).await.unwrap() {
        Claim::Won(_) => None,
        Claim::Held { by } => Some(by.to_string()),
    }
}

/// So much later, for every lease, or for every worker.
async fn later_for_leases(home: &DatabaseHome) {
    home.meddle("UPDATE leases SET expires_at = expires_at - 31000 WHERE expires_at > 0").await;
}

async fn later_for_workers(home: &DatabaseHome) {
    home.meddle("UPDATE workers SET expires_at = expires_at - 61000").await;
}

fn is_lost<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::LeaseLost { .. }))
}

async fn an_issue_has_one_holder_and_stays_with_its_worker_while_that_lives(home: DatabaseHome) {
    let store = home.open().await;
    let (one, other) = (enrolled(&store, "one").await, enrolled(&store, "other").await);
    let first = won(&store, &one, &login()).await;
    assert_eq!((first.token, &first.member, &first.moved_from), (1, &one, &None));
    store.hold_on(&first, Duration::from_secs(20)).await.unwrap();
    assert!(is_lost(store.hold_on(&first, Duration::from_secs(40)).await), "it does not last that long");
    assert_eq!(holder(&store, &other).await.as_deref(), Some("one"));

    let second = won(&store, &one, &login()).await;
    assert_eq!(second.token, 2);
    assert!(is_lost(store.hold_on(&first, Duration::ZERO).await), "its own older claim is stale");

    store.release(&second).await.unwrap();
    assert!(is_lost(store.hold_on(&second, Duration::ZERO).await));
    store.release(&first).await.unwrap();
    assert_eq!(
        holder(&store, &other).await.as_deref(),
        Some("one"),
        "between two tasks it stays where it is"
    );
    let third = won(&store, &one, &login()).await;
    assert!(third.token > second.token);

    store.leave(&one).await.unwrap();
    assert!(is_lost(store.hold_on(&third, Duration::ZERO).await));
    let moved = won(&store, &other, &login()).await;
    assert!(moved.token > third.token);
    assert_eq!(moved.moved_from, Some(one.worker.clone()));
    let standing = store.standing(&shop(), &login()).await.unwrap().unwrap();
    assert_eq!(standing.lease, moved);
    let workers = store.workers().await.unwrap();
    let alive: Vec<_> =
        workers.iter().map(|it| (it.member.worker.as_str(), it.remaining.is_some())).collect();
    assert_eq!(alive, [("one", false), ("other", true)]);
    assert_eq!(workers[0].host, "a host");
}

async fn an_issue_moves_when_its_worker_is_dead_and_its_lease_has_lapsed(home: DatabaseHome) {
    let store = home.open().await;
    let (one, other) = (enrolled(&store, "one").await, enrolled(&store, "other").await);
    let first = won(&store, &one, &login()).await;

    later_for_leases(&home).await;
    assert_eq!(store.standing(&shop(), &login()).await.unwrap().unwrap().remaining, None);
    assert_eq!(holder(&store, &other).await.as_deref(), Some("one"), "its worker lives");
    store.under(&first).put_project(&project()).await.unwrap();

    later_for_workers(&home).await;
    assert_eq!(store.beat(&one, TERMS).await.unwrap(), std::slice::from_ref(&first), "lapsed, and not taken");
    later_for_workers(&home).await;
    store.enrol(&other, "a host", TERMS).await.unwrap();
    assert_eq!(holder(&store, &other).await.as_deref(), Some("one"), "its lease has not lapsed");

    later_for_leases(&home).await;
    let refused = store.claim(&one, &shop(), &login(), TERMS).await;
    assert!(matches!(refused, Err(StoreError::Superseded { .. })), "the dead claim nothing: {refused:?}");
    let moved = won(&store, &other, &login()).await;
    assert!(moved.token > first.token);
    assert_eq!(moved.moved_from, Some(one.worker.clone()));
    assert_eq!(store.beat(&one, TERMS).await.unwrap(), [], "it comes back, and has lost it");
    assert_eq!(holder(&store, &one).await.as_deref(), Some("other"));
}

async fn of_eight_who_claim_at_once_one_wins(home: DatabaseHome) {
    let stores = join_all((0..8).map(|_| home.open())).await;
    let members = join_all((0..8).map(|n| {
        let store = stores[n].clone();
        async move { enrolled(&store, &format!("w{n}")).await }
    }))
    .await;
    for round in 0..20 {
        let issue: IssueKey = format!("i{round}").parse().unwrap();
        let is_taken_over = round % 2 == 1;
        if is_taken_over {
            let gone = enrolled(&stores[0], "gone").await;
            won(&stores[0], &gone, &issue).await;
            stores[0].leave(&gone).await.unwrap();
        }
        let claims = stores.iter().zip(&members).map(|(store, member)| {
            let (store, member, issue) = (store.clone(), member.clone(), issue.clone());
            tokio::spawn(async move { store.claim(&member, &shop(), &issue, TERMS).await.unwrap() })
        });
        let claims: Vec<Claim> = join_all(claims).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<&Lease> = claims
            .iter()
            .filter_map(|claim| match claim {
                Claim::Won(lease) => Some(lease),
                Claim::Held { .. } => None,
            })
            .collect();
        assert_eq!(winners.len(), 1, "{claims:?}");
        assert_eq!(winners[0].token > 1, is_taken_over);
        let standing = stores[0].standing(&shop(), &issue).await.unwrap().unwrap();
        assert_eq!(standing.lease, *winners[0]);
    }
}

async fn a_stale_holder_writes_nothing(home: DatabaseHome) {
    let store = home.open().await;
    store.put_project(&project()).await.unwrap();
    store.open_issue(&issue("login"), &task("T1", "login"), None).await.unwrap();
    store.make_thread(&shop(), 42, &thread_facts()).await.unwrap();
    let (one, other) = (enrolled(&store, "one").await, enrolled(&store, "other").await);
    let lease = won(&store, &one, &login()).await;
    let stale = store.under(&lease);
    let id = "T1".parse().unwrap();
    let attempt =
        Attempt { task: id, number: 1, container: None, started_at: at(4), finished_at: None, result: None };
    let id = &attempt.task;
    let queued = stale.task(id).await.unwrap().unwrap();
    let taken = stale.transition(&queued, TaskEvent::Taken, at(4)).await.unwrap();
    stale.begin_attempt(&attempt).await.unwrap();

    store.leave(&one).await.unwrap();
    let newer = won(&store, &other, &login()).await;
    let before = (stale.task(id).await.unwrap(), stale.attempts(id).await.unwrap());
    let started = TaskEvent::Started { container: "c".into(), at: at(5) };
    let usage = Usage { input_tokens: Some(7), ..Usage::default() };
    let withdrawn = TaskEvent::Withdrawn;
    assert!(is_lost(stale.transition(&taken, started.clone(), at(5)).await));
    assert!(is_lost(stale.decide(&taken, withdrawn, "comment-5", "withdrawn", at(5)).await));
    assert!(is_lost(stale.record_report(id, &usage, Some("done"), &[]).await));
    assert!(is_lost(stale.record_stop(id, StopReason::Killed).await));
    assert!(is_lost(stale.begin_attempt(&Attempt { number: 2, ..attempt.clone() }).await));
    assert!(is_lost(stale.attempt_container(id, 1, "c").await));
    assert!(is_lost(stale.finish_attempt(id, 1, at(6), "completed").await));
    assert!(is_lost(stale.move_base(&shop(), &login(), "abc", None).await));
    let written = ThreadWritten { comment: Some(9), ..ThreadWritten::default() };
    assert!(is_lost(stale.put_written(&shop(), 42, &written).await));
    assert!(is_lost(stale.change_thread(&shop(), 42, &mut |facts| facts.is_closed = true).await));
    assert_eq!((stale.task(id).await.unwrap(), stale.attempts(id).await.unwrap()), before);
    let thread = store.thread(&shop(), 42).await.unwrap().unwrap();
    assert_eq!((thread.facts.is_closed, thread.written), (false, ThreadWritten::default()));

    let next = store.under(&newer).transition(&taken, started, at(5)).await.unwrap();
    assert_eq!(store.task(id).await.unwrap(), Some(next));
}

async fn a_worker_that_was_started_anew_has_its_issues_at_once(home: DatabaseHome) {
    let store = home.open().await;
    let first = enrolled(&store, "one").await;
    let held = won(&store, &first, &login()).await;
    let second = member("one", "2");
    store.enrol(&second, "a host", TERMS).await.unwrap();
    for refused in [
        store.beat(&first, TERMS).await.map(drop),
        store.claim(&first, &shop(), &login(), TERMS).await.map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::Superseded { .. })), "{refused:?}");
    }
    assert_eq!(store.beat(&second, TERMS).await.unwrap(), [], "it has to claim them");
    let again = won(&store, &second, &login()).await;
    assert_eq!((again.token, &again.moved_from), (held.token + 1, &None));
    assert!(is_lost(store.under(&held).put_project(&project()).await));
    store.leave(&first).await.unwrap();
    assert_eq!(
        store.beat(&second, TERMS).await.unwrap(),
        [again],
        "who is gone cannot leave for who is there"
    );
}

async fn a_beat_renews_what_is_held_and_nothing_else(home: DatabaseHome) {
    let store = home.open().await;
    let (one, other) = (enrolled(&store, "one").await, enrolled(&store, "other").await);
    let kept = won(&store, &one, &login()).await;
    let released = won(&store, &one, &"released".parse().unwrap()).await;
    let theirs = won(&store, &other, &"theirs".parse().unwrap()).await;
    store.release(&released).await.unwrap();
    later_for_leases(&home).await;
    later_for_workers(&home).await;

    assert_eq!(store.beat(&one, TERMS).await.unwrap(), std::slice::from_ref(&kept));
    let left = |issue: IssueKey| {
        let store = store.clone();
        async move { store.standing(&shop(), &issue).await.unwrap().unwrap().remaining }
    };
    assert!(left(login()).await.is_some_and(|left| left > Duration::from_secs(20) && left <= TERMS.lease));
    assert_eq!(left(released.issue).await, None);
    assert_eq!(left(theirs.issue).await, None);
    let alive: Vec<bool> =
        store.workers().await.unwrap().iter().map(|worker| worker.remaining.is_some()).collect();
    assert_eq!(alive, [true, false]);
}

async fn a_move_that_was_not_finished_is_remembered(home: DatabaseHome) {
    let store = home.open().await;
    let members =
        [enrolled(&store, "one").await, enrolled(&store, "two").await, enrolled(&store, "three").await];
    let [one, two, three] = &members;
    won(&store, one, &login()).await;
    store.leave(one).await.unwrap();
    let moved = won(&store, two, &login()).await;
    assert_eq!(moved.moved_from, Some(one.worker.clone()));
    let restarted = member("two", "2");
    store.enrol(&restarted, "a host", TERMS).await.unwrap();
    let moved = won(&store, &restarted, &login()).await;
    assert_eq!(moved.moved_from, Some(one.worker.clone()), "it died before the workspace was there");
    store.leave(&restarted).await.unwrap();
    let moved = won(&store, three, &login()).await;
    assert_eq!(moved.moved_from, Some(one.worker.clone()), "the second never had it");
    store.arrived(&moved, None).await.unwrap();
    let settled = won(&store, three, &login()).await;
    assert_eq!(settled.moved_from, None);
    assert!(is_lost(store.arrived(&moved, None).await));

    store.leave(three).await.unwrap();
    store.enrol(one, "a host", TERMS).await.unwrap();
    let back = won(&store, one, &login()).await;
    assert_eq!(back.moved_from, Some(three.worker.clone()), "what the first one has is old by now");
    store.leave(one).await.unwrap();
    store.enrol(three, "a host", TERMS).await.unwrap();
    let returned = won(&store, three, &login()).await;
    assert_eq!(returned.moved_from, None, "nothing came of the move; the workspace is where it was");
}

/// Who waits for a lock, by the text that its statement begins with.
async fn waits_for_a_lock(home: &DatabaseHome, beginning: &str) {
    let mut raw = home.raw_server().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND starts_with(query, $1) \
             AND datname = current_database()",
        )
        .bind(beginning)
        .fetch_one(&mut raw)
        .await
        .unwrap();
        if waiting > 0 {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A write and a take-over at the same moment: either the write is before it, or it is refused. SQLite has one writer at a
/// time in any case.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_waits_for_the_write_that_is_on_its_way() {
    let home = DatabaseHome::server();
    let store = home.open().await;
    store.make_thread(&shop(), 42, &thread_facts()).await.unwrap();
    let one = enrolled(&store, "one").await;
    let lease = won(&store, &one, &login()).await;
    let (go, gone) = mpsc::channel::<()>();
    let (entered, inside) = tokio::sync::oneshot::channel();
    let writing = {
        let stale = store.under(&lease);
        tokio::spawn(async move {
            let mut told = Some((entered, gone));
            let changed = stale
                .change_thread(&shop(), 42, &mut |facts| {
                    if let Some((entered, gone)) = told.take() {
                        entered.send(()).unwrap();
                        tokio::task::block_in_place(|| gone.recv_timeout(Duration::from_secs(20))).unwrap();
                    }
                    facts.is_closed = true;
                })
                .await;
            changed.map(drop)
        })
    };
    inside.await.unwrap();
    let restarted = Member { process: "2".to_owned().into(), ..one };
    store.enrol(&restarted, "a host", TERMS).await.unwrap();
    let claiming = {
        let store = store.clone();
        tokio::spawn(async move { won(&store, &restarted, &login()).await })
    };
    waits_for_a_lock(&home, "INSERT INTO leases").await;
    go.send(()).unwrap();
    writing.await.unwrap().unwrap();
    let newer = claiming.await.unwrap();
    assert!(newer.token > lease.token);
    assert!(store.thread(&shop(), 42).await.unwrap().unwrap().facts.is_closed);
    assert!(is_lost(store.under(&lease).change_thread(&shop(), 42, &mut |_| ()).await));
}

/// The database's clock is set forward by an hour, and no host's is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn time_is_what_the_database_says_it_is() {
    let home = DatabaseHome::server();
    home.open().await.close().await;
    for statement in [
        "CREATE TABLE ahead (by INTERVAL)",
        "INSERT INTO ahead VALUES ('0')",
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
         'SELECT pg_catalog.clock_timestamp() + by FROM public.ahead'",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$",
    ] {
        home.meddle(statement).await;
    }
    let store = home.open().await;
    let (one, other) = (enrolled(&store, "one").await, member("other", "1"));
    let lease = won(&store, &one, &login()).await;
    store.hold_on(&lease, Duration::from_secs(20)).await.unwrap();

    home.meddle("UPDATE ahead SET by = '1 hour'").await;
    assert!(is_lost(store.hold_on(&lease, Duration::ZERO).await));
    store.enrol(&other, "a host", TERMS).await.unwrap();
    let moved = won(&store, &other, &login()).await;
    assert_eq!(moved.moved_from, Some(one.worker));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_process_is_the_front_and_the_next_one_follows() {
    let home = DatabaseHome::server();
    let (first, second) = (home.open().await, home.open().await);
    let mut front = first.front().await.unwrap().unwrap();
    assert!(second.front().await.unwrap().is_none());
    assert!(first.front().await.unwrap().is_none(), "not even the same process twice");
    front.holds().await.unwrap();
    front.release().await;
    let next = second.front().await.unwrap().unwrap();
    // As when the process ends in the middle of something.
    drop(next);
    let taken = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match first.front().await.unwrap() {
                Some(front) => return front,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    taken.await.unwrap().holds().await.unwrap();
}

#[tokio::test]
async fn a_front_whose_session_the_server_ended_knows_it() {
    let home = DatabaseHome::server();
    let store = home.open().await;
    let mut front = store.front().await.unwrap().unwrap();
    home.meddle(
        "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid(); END $$",
    )
    .await;
    assert!(front.holds().await.is_err());
    assert!(store.front().await.unwrap().is_some(), "and may be it again");
}

#[tokio::test]
async fn on_a_file_nobody_else_can_be_the_front() {
    let store = DatabaseHome::file().open().await;
    let mut front = store.front().await.unwrap().unwrap();
    front.holds().await.unwrap();
}
