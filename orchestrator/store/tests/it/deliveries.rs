//! The story of deliveries.

use std::collections::HashSet;
use std::sync::Arc;

use cloud_code_store::{
    Deliveries, DeliveryKey, DeliverySource, DeliveryState, Forget, Forgotten, HookTarget, NewDelivery, Put,
    StoreError,
};
use jiff::{SignedDuration, Timestamp};

use crate::home::{Home, Whole as _, on_all};

on_all!(
    a_delivery_is_kept_whole_until_it_is_settled_and_survives_reopening,
    a_key_is_stored_once_and_the_guid_alone_is_no_key,
    five_equal_deliveries_at_once_are_one_row,
    two_intakes_that_put_the_same_in_another_order_do_not_block_each_other,
    a_sweep_learns_what_is_known_and_where_it_was,
    what_was_noted_goes_only_as_it_was_read,
    what_waits_is_read_once_in_a_look,
    bodies_go_after_a_day_keys_after_eight_and_what_waits_stays,
);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + second).unwrap()
}

fn app() -> HookTarget {
    HookTarget { kind: "integration".into(), id: 7 }
}

fn key(guid: &str) -> DeliveryKey {
    DeliveryKey { target: app(), guid: guid.into() }
}

pub(crate) fn delivery(guid: &str, second: i64) -> NewDelivery {
    NewDelivery {
        key: key(guid),
        event: "issue_comment".into(),
        body: format!("{{\"guid\":\"{guid}\",\"text\":\"\u{1f440} '\\\"\"}}").into_bytes(),
        received_at: at(second),
        source: DeliverySource::Webhook,
        state: DeliveryState::Waiting,
    }
}

pub(crate) async fn waiting(store: &impl Deliveries) -> Vec<String> {
    store.next(100).await.unwrap().into_iter().map(|d| d.delivery.key.guid).collect()
}

async fn a_delivery_is_kept_whole_until_it_is_settled_and_survives_reopening(home: impl Home) {
    let store = home.open().await;
    let put = store.put(&[delivery("b", 1), delivery("a", 2)]).await.unwrap();
    assert_eq!(put, [Put::Stored, Put::Stored]);
    store.close().await;

    let store = home.open().await;
    let next = store.next(1).await.unwrap();
    assert_eq!(next.len(), 1);
    let first = next.first().unwrap();
    assert_eq!(first.delivery, delivery("b", 1), "the oldest comes first, byte for byte");
    assert_eq!((first.attempts, &first.note, first.done_at), (0, &None, None));

    store.settle(&key("b"), DeliveryState::Waiting, Some("GitHub is down"), at(3)).await.unwrap();
    let again = store.delivery(&key("b")).await.unwrap().unwrap();
    assert_eq!((again.attempts, again.note.as_deref(), again.done_at), (1, Some("GitHub is down"), None));

    store.settle(&key("b"), DeliveryState::Done, None, at(4)).await.unwrap();
    let done = store.delivery(&key("b")).await.unwrap().unwrap();
    assert_eq!((done.attempts, done.note, done.done_at), (2, None, Some(at(4))));
    assert_eq!(waiting(&store).await, ["a"]);

    store.settle(&key("b"), DeliveryState::Failed, Some("late"), at(5)).await.unwrap();
    let kept = store.delivery(&key("b")).await.unwrap().unwrap();
    assert_eq!((kept.delivery.state, kept.attempts), (DeliveryState::Done, 2), "what is settled stays so");
    let missing = store.settle(&key("z"), DeliveryState::Done, None, at(5)).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })), "{missing:?}");
}

async fn a_key_is_stored_once_and_the_guid_alone_is_no_key(home: impl Home) {
    let store = home.open().await;
    let twice = store.put(&[delivery("a", 1), delivery("a", 2), delivery("b", 2)]).await.unwrap();
    assert_eq!(twice, [Put::Stored, Put::Duplicate, Put::Stored]);
    store.settle(&key("a"), DeliveryState::Done, None, at(3)).await.unwrap();
    assert_eq!(store.put(&[delivery("a", 3600)]).await.unwrap(), [Put::Duplicate], "an hour later");
    assert_eq!(waiting(&store).await, ["b"]);

    let mut repository = delivery("a", 4);
    repository.key.target = HookTarget { kind: "repository".into(), id: 7 };
    let mut other_app = delivery("a", 4);
    other_app.key.target.id = 8;
    assert_eq!(store.put(&[repository, other_app]).await.unwrap(), [Put::Stored, Put::Stored]);
}

async fn five_equal_deliveries_at_once_are_one_row(home: impl Home) {
    let (one, other) = (Arc::new(home.open().await), Arc::new(home.open().await));
    let puts: Vec<_> = (0..5)
        .map(|n| {
            let store = if n % 2 == 0 { one.clone() } else { other.clone() };
            tokio::spawn(async move { store.put(&[delivery("a", 1)]).await.unwrap() })
        })
        .collect();
    let mut stored = 0;
    for put in puts {
        stored += put.await.unwrap().into_iter().filter(|put| *put == Put::Stored).count();
    }
    assert_eq!(stored, 1);
    assert_eq!(waiting(one.as_ref()).await, ["a"]);
}

async fn two_intakes_that_put_the_same_in_another_order_do_not_block_each_other(home: impl Home) {
    let stores = [home.open().await, home.open().await];
    for round in 0..10 {
        let forth: Vec<_> = (0..40).map(|n| delivery(&format!("{round}-{n}"), n)).collect();
        let back: Vec<_> = forth.iter().rev().cloned().collect();
        let (one, other) = tokio::join!(stores[0].put(&forth), stores[1].put(&back));
        let stored = one.unwrap().into_iter().chain(other.unwrap()).filter(|put| *put == Put::Stored).count();
        assert_eq!(stored, 40);
    }
}

async fn a_sweep_learns_what_is_known_and_where_it_was(home: impl Home) {
    let store = home.open().await;
    assert_eq!(store.last_received(&app()).await.unwrap(), None);
    let all: Vec<NewDelivery> = (0..1_200).map(|n| delivery(&format!("g{n}"), n)).collect();
    store.put(&all).await.unwrap();
    let asked: Vec<String> = (1_100..1_300).chain(0..700).map(|n| format!("g{n}")).collect();
    let expected: HashSet<String> = (1_100..1_200).chain(0..700).map(|n| format!("g{n}")).collect();
    assert_eq!(store.seen(&app(), &asked).await.unwrap(), expected);
    assert_eq!(store.seen(&app(), &[]).await.unwrap(), HashSet::new());
    let other = HookTarget { id: 8, ..app() };
    assert_eq!(store.seen(&other, &asked).await.unwrap(), HashSet::new());
    assert_eq!(store.last_received(&app()).await.unwrap(), Some(at(1_199)));
    assert_eq!(store.last_received(&other).await.unwrap(), None);

    assert_eq!(store.cursor("deliveries").await.unwrap(), None);
    store.set_cursor("deliveries", "v1_1").await.unwrap();
    store.set_cursor("deliveries", "v1_2").await.unwrap();
    assert_eq!(store.cursor("deliveries").await.unwrap().as_deref(), Some("v1_2"));
}

async fn what_was_noted_goes_only_as_it_was_read(home: impl Home) {
    let store = home.open().await;
    for (name, value) in [("moved shop main", "a"), ("moved shop next", "b"), ("moved", "c"), ("m%", "d")] {
        store.set_cursor(name, value).await.unwrap();
    }
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let noted = [pair("moved shop main", "a"), pair("moved shop next", "b")];
    assert_eq!(store.cursors("moved ").await.unwrap(), noted);
    assert_eq!(store.cursors("m%").await.unwrap(), [pair("m%", "d")]);
    // It moved on while it was looked at.
    store.set_cursor("moved shop main", "e").await.unwrap();
    store.drop_cursor("moved shop main", "a").await.unwrap();
    store.drop_cursor("moved shop next", "b").await.unwrap();
    store.drop_cursor("moved shop last", "b").await.unwrap();
    assert_eq!(store.cursors("moved ").await.unwrap(), [pair("moved shop main", "e")]);
}

async fn what_waits_is_read_once_in_a_look(home: impl Home) {
    let store = home.open().await;
    let all: Vec<NewDelivery> = (0..5).map(|n| delivery(&format!("g{n}"), n)).collect();
    store.put(&all).await.unwrap();
    store.settle(&key("g1"), DeliveryState::Done, None, at(10)).await.unwrap();
    let mut behind = 0;
    let mut seen = Vec::new();
    loop {
        let some = store.next_after(behind, 2).await.unwrap();
        let Some(last) = some.last() else { break };
        behind = last.seq;
        seen.extend(some.into_iter().map(|stored| stored.delivery.key.guid));
    }
    assert_eq!(seen, ["g0", "g2", "g3", "g4"]);
}

async fn bodies_go_after_a_day_keys_after_eight_and_what_waits_stays(home: impl Home) {
    let store = home.open().await;
    let ignored = NewDelivery { state: DeliveryState::Ignored, ..delivery("ignored", 0) };
    let mut all = vec![ignored, delivery("done", 0), delivery("waits", 0)];
    all.extend((0..450).map(|n| delivery(&format!("g{n}"), 0)));
    store.put(&all).await.unwrap();
    for new in all.iter().filter(|new| !["ignored", "waits"].contains(&new.key.guid.as_str())) {
        store.settle(&new.key, DeliveryState::Done, None, at(10)).await.unwrap();
    }
    let later = |hours| at(0) + SignedDuration::from_hours(hours);

    assert_eq!(store.forget(Forget::at(later(23))).await.unwrap(), Forgotten::default());
    let day = store.forget(Forget::at(later(25))).await.unwrap();
    assert_eq!(day, Forgotten { keys: 0, bodies: 452 });
    assert_eq!(store.delivery(&key("done")).await.unwrap().unwrap().delivery.body, Vec::<u8>::new());
    assert_eq!(store.put(&[delivery("done", 1)]).await.unwrap(), [Put::Duplicate]);
    assert_eq!(store.forget(Forget::at(later(7 * 24))).await.unwrap(), Forgotten::default());

    let week = store.forget(Forget::at(later(8 * 24 + 1))).await.unwrap();
    assert_eq!(week, Forgotten { keys: 452, bodies: 0 });
    assert_eq!(store.next(10).await.unwrap().first().unwrap().delivery, delivery("waits", 0));
}
