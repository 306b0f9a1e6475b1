//! What one process alone may do: take in what the forge sent, and speak. Of several that share a store the others stand by,
//! and one of them goes on when it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cloud_code_store::{Database, Front};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{FINISH_WITHIN, Inner, OnStop, bases, merges, receive, repeat, sweep, talk};

/// How often who stands by asks, and who speaks makes sure that nobody else does.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Runs until `stop`; what is said to people until `silence`, which comes later when agents are waited for.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken, silence: CancellationToken) {
    loop {
        let Some(mut front) = becomes(&inner, &stop).await else { return };
        inner.is_front.store(true, Ordering::Release);
        // What waited for somebody to do it.
        inner.wakes.requests.notify_one();
        inner.touch_all();
        inner.missed.begin();
        let (heard, said) = (stop.child_token(), silence.child_token());
        let loops = begin(&inner, &heard, &said);
        let is_lost = tokio::select! {
            () = loops.wait() => false,
            () = is_lost(front.as_mut()) => true,
        };
        inner.is_front.store(false, Ordering::Release);
        if !is_lost {
            last_words(&inner).await;
            if let Some(front) = front {
                front.release().await;
            }
            return;
        }
        heard.cancel();
        said.cancel();
        loops.wait().await;
    }
}

fn begin(inner: &Arc<Inner>, stop: &CancellationToken, silence: &CancellationToken) -> TaskTracker {
    let loops = TaskTracker::new();
    let (stop, silence) = (|| stop.clone(), || silence.clone());
    loops.spawn(repeat("receive", stop(), inner.clone(), |s| &s.wakes.received, receive::look));
    loops.spawn(repeat("react", stop(), inner.clone(), |s| &s.wakes.reactions, talk::react));
    loops.spawn(repeat("bases", stop(), inner.clone(), |s| &s.wakes.bases, bases::look));
    loops.spawn(repeat("merges", stop(), inner.clone(), |s| &s.wakes.merges, merges::look));
    loops.spawn(repeat("talk", silence(), inner.clone(), |s| &s.wakes.talk, talk::look));
    loops.spawn(sweep::run(inner.clone(), stop()));
    loops.close();
    loops
}

/// Waits to be the one. The inner nothing: nobody shares the store. The outer: it is to stop.
async fn becomes(inner: &Inner, stop: &CancellationToken) -> Option<Option<Front>> {
    let Some(membership) = &inner.membership else { return Some(None) };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        front = stands_by(membership.store()) => Some(Some(front)),
    }
}

async fn stands_by(store: &Database) -> Front {
    let mut is_told = false;
    loop {
        match store.front().await {
            Ok(Some(front)) => {
                tracing::info!("this process speaks with the forge now");
                return front;
            }
            Ok(None) if !is_told => {
                tracing::info!("another process speaks with the forge; this one stands by for it");
                is_told = true;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = %error, "whether another process speaks with the forge is not known")
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Ends when another process may have become the one.
async fn is_lost(front: Option<&mut Front>) {
    let Some(front) = front else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = front.holds().await {
            tracing::warn!(error = %error, "another process may speak with the forge now; this one stops doing so");
            return;
        }
    }
}

/// The last task may have ended after the last look.
async fn last_words(inner: &Arc<Inner>) {
    if inner.settings.on_stop == OnStop::LeaveAgents {
        return;
    }
    let looked = tokio::time::timeout(FINISH_WITHIN, talk::look(inner.clone())).await;
    if let Ok(Err(error)) = looked {
        tracing::warn!(error = %error.chain(), "the next start says how it ended");
    }
}
