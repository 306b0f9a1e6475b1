//! Notices that `tasking.yaml` changed.
//!
//! The folder is watched, not the file: every write is a rename, which would leave a watch on the old inode. Events
//! are hints that mean "look again"; the callback only raises a flag and never blocks. Behind the watch stands a slow
//! poll of the file's identity. When it finds a change that nobody announced, the watch is broken (a network file
//! system, an exhausted limit, a replaced folder): the poll takes over, faster, and says so once.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cloud_code_task_schema::TASKING_FILE;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long an announcement may trail the change that the poll has already seen.
const ANNOUNCEMENT_GRACE: Duration = Duration::from_millis(250);
/// The poll's pace once the watch has failed. Faster costs wake-ups; slower delays every task.
const TAKEOVER_POLL: Duration = Duration::from_secs(1);

/// How a change was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The watch said so.
    Announced,
    /// The poll saw it.
    Polled,
    /// The poll saw it first and takes over.
    Missed {
        /// How often it looks from now on.
        poll: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The watch works as far as is known.
    Watch,
    /// Only the poll is believed; announcements are still welcome.
    Poll,
}

/// Device, inode, length and times: differs after every atomic write.
type Identity = (u64, u64, u64, i64, i64, i64, i64);

/// The watch and the poll behind it.
pub(crate) struct Watch {
    path: PathBuf,
    announced: Arc<Notify>,
    seen: Option<Identity>,
    poll: Duration,
    next_poll: Instant,
    suspected_at: Option<Instant>,
    trust: Trust,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// Watches a control directory. When the system refuses, the poll starts in charge and the reason is returned.
    pub(crate) fn start(control: &Path, poll: Duration) -> (Self, Option<notify::Error>) {
        let announced = Arc::new(Notify::new());
        match watch_folder(control, Arc::clone(&announced)) {
            Ok(watcher) => (Self::over(control, announced, poll, Some(watcher)), None),
            Err(error) => {
                let mut watch = Self::over(control, announced, poll, None);
                watch.distrust();
                (watch, Some(error))
            }
        }
    }

    /// A watch over any source of announcements.
    fn over(
        control: &Path,
        announced: Arc<Notify>,
        poll: Duration,
        watcher: Option<notify::RecommendedWatcher>,
    ) -> Self {
        Self {
            path: control.join(TASKING_FILE),
            announced,
            seen: None,
            poll,
            next_poll: Instant::now() + poll,
            suspected_at: None,
            trust: Trust::Watch,
            _watcher: watcher,
        }
    }

    /// Remembers the file as it stands. Call it before reading, so that a later write is noticed.
    pub(crate) fn mark_seen(&mut self) {
        self.seen = self.identity();
    }

    /// How often the poll looks now.
    pub(crate) const fn poll(&self) -> Duration {
        self.poll
    }

    /// Waits for a change. May be dropped and called again at any time.
    pub(crate) async fn changed(&mut self) -> Change {
        loop {
            let wake_at = self.suspected_at.map_or(self.next_poll, |at| at + ANNOUNCEMENT_GRACE);
            tokio::select! {
                biased;
                () = self.announced.notified() => {
                    if self.identity() != self.seen {
                        self.suspected_at = None;
                        self.mark_seen();
                        return Change::Announced;
                    }
                }
                () = sleep_until(wake_at) => {
                    if let Some(change) = self.look() {
                        return change;
                    }
                }
            }
        }
    }

    fn look(&mut self) -> Option<Change> {
        self.next_poll = Instant::now() + self.poll;
        if self.identity() == self.seen {
            self.suspected_at = None;
            return None;
        }
        if self.trust == Trust::Watch && self.suspected_at.is_none() {
            self.suspected_at = Some(Instant::now());
            return None;
        }
        self.suspected_at = None;
        self.mark_seen();
        match self.trust {
            Trust::Poll => Some(Change::Polled),
            Trust::Watch => {
                self.distrust();
                Some(Change::Missed { poll: self.poll })
            }
        }
    }

    fn distrust(&mut self) {
        self.trust = Trust::Poll;
        self.poll = self.poll.min(TAKEOVER_POLL);
        self.next_poll = Instant::now() + self.poll;
    }

    fn identity(&self) -> Option<Identity> {
        let meta = std::fs::symlink_metadata(&self.path).ok()?;
        Some((
            meta.dev(),
            meta.ino(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ))
    }
}

fn watch_folder(control: &Path, announced: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let concerns_tasking = match &event {
            // Opening and reading, our own included, change nothing.
            Ok(event) if matches!(event.kind, notify::EventKind::Access(_)) => false,
            Ok(event) => event.need_rescan() || event.paths.iter().any(|path| path.ends_with(TASKING_FILE)),
            Err(_) => true,
        };
        if concerns_tasking {
            announced.notify_one();
        }
    })?;
    watcher.watch(control, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn poll_takes_over_when_nobody_announces() {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let silence = Arc::new(Notify::new());
            let mut watch = Watch::over(dir.path(), silence, Duration::from_millis(20), None);
            watch.mark_seen();
            std::fs::write(dir.path().join(TASKING_FILE), "one").unwrap();
            assert_eq!(watch.changed().await, Change::Missed { poll: Duration::from_millis(20) });
            std::fs::write(dir.path().join(TASKING_FILE), "two, longer").unwrap();
            assert_eq!(watch.changed().await, Change::Polled);
        });
    }

    #[test]
    fn a_working_watch_is_never_blamed() {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (mut watch, trouble) = Watch::start(dir.path(), Duration::from_millis(1));
            assert!(trouble.is_none(), "{trouble:?}");
            watch.mark_seen();
            for round in 0..20 {
                std::fs::write(dir.path().join("temp"), format!("{round:>0$}", round + 1)).unwrap();
                std::fs::rename(dir.path().join("temp"), dir.path().join(TASKING_FILE)).unwrap();
                assert_eq!(watch.changed().await, Change::Announced);
            }
        });
    }

    #[test]
    fn a_folder_that_cannot_be_watched_is_polled_and_said() {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let control = dir.path().join("later");
            let (mut watch, trouble) = Watch::start(&control, Duration::from_millis(20));
            assert!(trouble.is_some());
            std::fs::create_dir(&control).unwrap();
            std::fs::write(control.join(TASKING_FILE), "one").unwrap();
            assert_eq!(watch.changed().await, Change::Polled);
        });
    }
}
