//! What the store keeps of a forge, as a story.

use std::collections::BTreeMap;

use cloud_code_model::{
    Actor, Ask, Brief, Command, ConfigKey, Intent, NewTask, Note, Place, Published, Pull, PullState, Subject,
    TaskEvent, TaskState, ThreadFacts, ThreadWritten,
};
use cloud_code_store::{ForgeStore, Store, StoreError};

use crate::home::{Home, on_all};
use crate::{at, issue, with_project};

on_all!(
    one_request_is_stored_once_and_settled_once,
    one_request_makes_one_task,
    a_thread_keeps_apart_what_its_three_writers_say,
    a_note_waits_until_it_is_written_or_given_up,
    two_who_change_a_thread_at_once_both_have_their_way,
    a_task_moves_and_its_request_is_settled_together_or_not_at_all,
    a_request_that_was_settled_makes_no_task_any_more,
    an_issue_is_opened_and_its_thread_names_it_together_or_not_at_all,
    of_a_task_and_the_end_of_its_request_one_is_first,
);

/// A task that a request made.
fn task(id: &str, key: &str) -> NewTask {
    let brief = Brief { acceptance_criteria: vec!["It works".into()], ..Brief::default() };
    NewTask { brief, intent: Some("comment-123".into()), ..crate::task(id, key) }
}

fn intent(key: &str) -> Intent {
    Intent {
        key: key.to_owned(),
        number: 42,
        subject: Subject::Issue,
        actor: Actor { id: 7, login: "alice".into() },
        at: at(1),
        place: Place::Comment { id: 123 },
        ask: Ask::Command { command: Command::Plan { text: "first".into() } },
        head_sha: None,
    }
}

pub(crate) fn thread_facts() -> ThreadFacts {
    ThreadFacts {
        subject: Subject::Issue,
        title: "Fix".into(),
        url: "https://github.com/acme/shop/issues/42".into(),
        issue: None,
        requester: None,
        config: BTreeMap::new(),
        declined: None,
        is_closed: false,
        left_out: Vec::new(),
    }
}

async fn one_request_is_stored_once_and_settled_once(home: impl Home) {
    let store = home.open().await;
    let shop = "shop".parse().unwrap();
    assert!(store.put_intent(&shop, &intent("comment-123"), at(2)).await.unwrap());
    assert!(!store.put_intent(&shop, &intent("comment-123"), at(3)).await.unwrap(), "a second delivery");
    assert!(store.put_intent(&"other".parse().unwrap(), &intent("comment-123"), at(3)).await.unwrap());

    let waiting = store.waiting_intents().await.unwrap();
    let first = &waiting[0];
    assert_eq!((waiting.len(), &first.intent, first.received_at), (2, &intent("comment-123"), at(2)));
    assert_eq!(store.unreacted_intents().await.unwrap().len(), 2);
    store.mark_reacted(&shop, "comment-123", at(4)).await.unwrap();
    assert_eq!(store.unreacted_intents().await.unwrap().len(), 1);

    store.settle_intent(&shop, "comment-123", "task T1", at(5)).await.unwrap();
    store.settle_intent(&shop, "comment-123", "something else", at(6)).await.unwrap();
    let settled = store.intent(&shop, "comment-123").await.unwrap().unwrap();
    assert_eq!((settled.outcome.as_deref(), settled.is_reacted), (Some("task T1"), true));
    assert_eq!(store.waiting_intents().await.unwrap().len(), 1);
}

async fn one_request_makes_one_task(home: impl Home) {
    let store = home.open().await;
    let project = with_project(&store).await;
    store.open_issue(&issue("42"), &task("T1", "42"), None).await.unwrap();
    let again = store.open_issue(&issue("42-2"), &task("T2", "42-2"), None).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    let found = store.task_of_intent(&project, "comment-123").await.unwrap().unwrap();
    assert_eq!(found.task, task("T1", "42"));
    assert_eq!(store.issue(&project, &"42-2".parse().unwrap()).await.unwrap(), None, "both or neither");
}

async fn a_thread_keeps_apart_what_its_three_writers_say(home: impl Home) {
    let store = home.open().await;
    let shop = "shop".parse().unwrap();
    let mut facts = ThreadFacts {
        subject: Subject::Issue,
        title: "Fix".into(),
        url: "https://github.com/acme/shop/issues/42".into(),
        issue: None,
        requester: Some(Actor { id: 7, login: "alice".into() }),
        config: BTreeMap::from([(ConfigKey::Model, "opus".into())]),
        declined: None,
        is_closed: false,
        left_out: vec!["1 comment".into()],
    };
    assert!(store.make_thread(&shop, 42, &facts).await.unwrap());
    let other = ThreadFacts { is_closed: true, ..facts.clone() };
    assert!(!store.make_thread(&shop, 42, &other).await.unwrap(), "the first one stands");
    let url = "https://github.com/acme/shop/pull/43".to_owned();
    let pull = Pull { number: 43, url, state: PullState::Open, head_sha: "abc".into() };
    let remarks = vec!["rebased".into()];
    let published = Published { pull: Some(pull), remarks, ..Published::default() };
    let changed = store.change_published(&shop, 42, &mut |it| *it = published.clone()).await.unwrap();
    assert_eq!(changed.map(|thread| thread.published).as_ref(), Some(&published));
    let written = ThreadWritten { comment: Some(9), ..ThreadWritten::default() };
    store.put_written(&shop, 42, &written).await.unwrap();
    facts.issue = "42".parse().ok();
    store.change_thread(&shop, 42, &mut |it| it.issue = facts.issue.clone()).await.unwrap();
    assert_eq!(store.change_thread(&shop, 43, &mut |it| it.is_closed = true).await.unwrap(), None);

    let thread = store.thread(&shop, 42).await.unwrap().unwrap();
    assert_eq!((&thread.facts, &thread.published, &thread.written), (&facts, &published, &written));
    assert_eq!(store.thread_of_pull(&shop, 43).await.unwrap().as_ref(), Some(&thread));
    assert_eq!(store.thread_of_issue(&shop, &"42".parse().unwrap()).await.unwrap().as_ref(), Some(&thread));
    assert_eq!(store.thread_of_pull(&shop, 42).await.unwrap(), None);
    assert_eq!(store.unmerged_threads(&shop).await.unwrap(), [thread]);
    assert_eq!(store.unmerged_threads(&"else".parse().unwrap()).await.unwrap(), []);
    for (state, left) in [(PullState::Closed, 1), (PullState::Merged, 0), (PullState::Open, 1)] {
        let put = &mut |it: &mut Published| it.pull.as_mut().unwrap().state = state;
        store.change_published(&shop, 42, put).await.unwrap();
        assert_eq!(store.unmerged_threads(&shop).await.unwrap().len(), left, "{state:?}");
    }

    for number in [7, 100] {
        assert!(store.make_thread(&shop, number, &facts).await.unwrap());
    }
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let page = store.threads_after(after.map(|number| (&shop, number)), 2).await.unwrap();
        let numbers: Vec<u64> = page.iter().map(|thread| thread.number).collect();
        after = numbers.last().copied();
        pages.push(numbers);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![7, 42], vec![100], vec![]]);
}

async fn a_note_waits_until_it_is_written_or_given_up(home: impl Home) {
    let store = home.open().await;
    let note = |key: &str, body: &str| Note {
        project: "shop".parse().unwrap(),
        key: key.into(),
        number: 42,
        place: Place::ReviewComment { id: 5, thread: 4 },
        body: body.into(),
        created_at: at(1),
    };
    store.put_note(&note("comment-1", "no such CLI")).await.unwrap();
    store.put_note(&note("comment-1", "another text")).await.unwrap();
    store.put_note(&note("comment-2", "help")).await.unwrap();
    assert_eq!(
        store.waiting_notes().await.unwrap(),
        [note("comment-1", "no such CLI"), note("comment-2", "help")]
    );
    let shop = "shop".parse().unwrap();
    store.note_written(&shop, "comment-1", 99).await.unwrap();
    store.note_given_up(&shop, "comment-2", "the conversation is locked").await.unwrap();
    assert_eq!(store.waiting_notes().await.unwrap(), []);
    assert_eq!(store.written_note(&shop, "comment-1").await.unwrap(), Some(99));
    assert_eq!(store.written_note(&shop, "comment-2").await.unwrap(), None);
}

async fn two_who_change_a_thread_at_once_both_have_their_way(home: impl Home) {
    let store = home.open().await;
    let shop = "shop".parse().unwrap();
    let facts = thread_facts();
    store.make_thread(&shop, 42, &facts).await.unwrap();
    let said = |n: usize| {
        let (store, shop) = (store.clone(), shop.clone());
        async move {
            store.change_thread(&shop, 42, &mut |facts| facts.left_out.push(n.to_string())).await.unwrap();
        }
    };
    futures_util::future::join_all((0..50).map(said)).await;
    let mut left_out = store.thread(&shop, 42).await.unwrap().unwrap().facts.left_out;
    left_out.sort_by_key(|n| n.parse::<usize>().unwrap());
    assert_eq!(left_out, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn a_task_moves_and_its_request_is_settled_together_or_not_at_all(home: impl Home) {
    let store = home.open().await;
    with_project(&store).await;
    let first = task("T1", "42");
    store.open_issue(&issue("42"), &first, None).await.unwrap();
    let record = store.task(&first.id).await.unwrap().unwrap();
    store.put_intent(&first.project, &intent("comment-5"), at(4)).await.unwrap();

    let moved = store.decide(&record, TaskEvent::Withdrawn, "comment-5", "withdrawn", at(5)).await.unwrap();
    assert_eq!(moved.state, TaskState::Cancelled { head: None });
    let settled = store.intent(&first.project, "comment-5").await.unwrap().unwrap();
    assert_eq!(settled.outcome.as_deref(), Some("withdrawn"));

    store.put_intent(&first.project, &intent("comment-6"), at(4)).await.unwrap();
    let stale = store.decide(&record, TaskEvent::Taken, "comment-6", "taken", at(6)).await;
    assert!(matches!(stale, Err(StoreError::Stale { .. })), "{stale:?}");
    let waits = store.intent(&first.project, "comment-6").await.unwrap().unwrap();
    assert_eq!(waits.outcome, None);
}

async fn a_request_that_was_settled_makes_no_task_any_more(home: impl Home) {
    let store = home.open().await;
    let shop = with_project(&store).await;
    store.make_thread(&shop, 42, &thread_facts()).await.unwrap();
    store.put_intent(&shop, &intent("comment-123"), at(2)).await.unwrap();
    store.settle_intent(&shop, "comment-123", "cancelled by alice", at(3)).await.unwrap();
    let opened = store.open_issue(&issue("42"), &task("T1", "42"), Some(42)).await;
    assert!(matches!(opened, Err(StoreError::Settled { .. })), "{opened:?}");
    assert_eq!(store.issue(&shop, &"42".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.thread(&shop, 42).await.unwrap().unwrap().facts.issue, None);

    let first = crate::task("T1", "42");
    store.open_issue(&issue("42"), &first, None).await.unwrap();
    let queued = store.task(&first.id).await.unwrap().unwrap();
    store.transition(&queued, TaskEvent::Withdrawn, at(4)).await.unwrap();
    let added = store.add_task(&task("T2", "42")).await;
    assert!(matches!(added, Err(StoreError::Settled { .. })), "{added:?}");
    assert_eq!(store.open_tasks().await.unwrap(), []);
    // Another project's request of the same name is another one.
    let other = "other".parse().unwrap();
    store.put_intent(&other, &intent("comment-124"), at(2)).await.unwrap();
    store.settle_intent(&other, "comment-124", "cancelled by alice", at(3)).await.unwrap();
    store.add_task(&NewTask { intent: Some("comment-124".into()), ..task("T2", "42") }).await.unwrap();
}

async fn an_issue_is_opened_and_its_thread_names_it_together_or_not_at_all(home: impl Home) {
    let store = home.open().await;
    let shop = with_project(&store).await;
    let named = |number| {
        let (store, shop) = (store.clone(), shop.clone());
        async move { store.thread(&shop, number).await.unwrap().unwrap().facts.issue }
    };
    for number in [42, 43] {
        store.make_thread(&shop, number, &thread_facts()).await.unwrap();
    }
    store.open_issue(&issue("42"), &crate::task("T1", "42"), Some(42)).await.unwrap();
    assert_eq!(named(42).await, "42".parse().ok());
    assert_eq!(store.thread_of_issue(&shop, &"42".parse().unwrap()).await.unwrap().unwrap().number, 42);
    let twice = store.open_issue(&issue("42"), &crate::task("T2", "42"), Some(43)).await;
    assert!(matches!(twice, Err(StoreError::Exists { .. })), "{twice:?}");
    assert_eq!(named(43).await, None);
    // A thread that is not known is nobody's to name it.
    store.open_issue(&issue("44"), &crate::task("T4", "44"), Some(44)).await.unwrap();
    assert_eq!(store.thread(&shop, 44).await.unwrap(), None);
}

/// Whoever takes a request back looks for its task afterwards: it is there then, or never will be.
async fn of_a_task_and_the_end_of_its_request_one_is_first(home: impl Home) {
    let (one, other) = (home.open().await, home.open().await);
    let shop = with_project(&one).await;
    for round in 0..20 {
        let (request, key) = (format!("comment-{round}"), format!("{round}"));
        one.put_intent(&shop, &intent(&request), at(2)).await.unwrap();
        let (issue, task) =
            (issue(&key), NewTask { intent: Some(request.clone()), ..task(&format!("T{round}"), &key) });
        let take_back = async {
            other.settle_intent(&shop, &request, "cancelled by alice", at(3)).await.unwrap();
            other.task_of_intent(&shop, &request).await.unwrap()
        };
        let (opened, found) = tokio::join!(one.open_issue(&issue, &task, None), take_back);
        assert_eq!(opened.is_ok(), found.is_some(), "round {round}: {opened:?}");
    }
}
