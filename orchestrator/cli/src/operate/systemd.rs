//! What a service manager is told: ready, stopping, still alive. Nothing where none asks.

use std::time::Duration;

use cloud_code_metrics::pulses;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The service takes work in.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It was told to end; agents go on.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Gives the manager's watchdog a sign of life as long as every loop gives one of its own: a service that hangs is started
/// anew, and what it did goes on from the store.
pub(crate) fn watch(tracker: &TaskTracker, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    tracker.spawn(async move {
        // Twice in its time, as the manual of sd_watchdog_enabled asks.
        let every = (limit / 2).max(Duration::from_millis(1));
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            match pulses().late().as_slice() {
                [] => tell(&[NotifyState::Watchdog]),
                [late, ..] => {
                    tracing::error!(
                        service.r#loop = late.name,
                        "a loop hangs; the service manager will start anew"
                    );
                }
            }
        }
    });
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "the service manager cannot be told");
    }
}
