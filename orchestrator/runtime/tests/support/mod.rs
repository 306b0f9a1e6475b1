//! What both suites share: labels and deadlines.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cloud_code_model::InstanceId;
use cloud_code_runtime::{ContainerExit, Labels};

/// Far beyond what any step takes on a loaded machine; reaching it is a failure, never a pace.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// An instance of its own for each call, so that tests cannot see each other.
pub(crate) fn new_instance() -> InstanceId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    format!("test-{}-{nanos}-{count}", std::process::id()).parse().unwrap()
}

pub(crate) fn labels(instance: &InstanceId) -> Labels {
    Labels {
        project: Some("shop".parse().unwrap()),
        issue: Some("42".parse().unwrap()),
        task: Some("T1".parse().unwrap()),
        attempt: Some(1),
        cli: Some("command".parse().unwrap()),
        ..Labels::of_instance(instance.clone())
    }
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

/// Looks until `look` finds something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    in_time(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

pub(crate) fn code(exit: &ContainerExit) -> Option<i32> {
    match exit {
        ContainerExit::Exited(exit) => exit.code,
        ContainerExit::Gone => panic!("the container is gone"),
    }
}

pub(crate) fn sh(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}
