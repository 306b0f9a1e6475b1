//! Word of changed files. A hint and never needed: whoever waits for one looks by itself after a while.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Gives word of changed files.
pub trait Watches: Send + Sync {
    /// Puts something into `wake` whenever a file of the folder itself changes, until what this returns is dropped. A full
    /// channel holds a wake-up already and needs no second one.
    fn watch(&self, folder: &Path, wake: mpsc::Sender<()>) -> std::io::Result<Watch>;
}

/// A watch that lasts. It ends when it is dropped.
pub struct Watch(#[expect(dead_code, reason = "kept for what its end does")] Box<dyn std::any::Any + Send>);

impl Watch {
    /// Keeps what watches.
    pub fn new(keeps: impl Send + 'static) -> Self {
        Self(Box::new(keeps))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// The kernel's own word, of all folders through one inotify instance: a user has 128 of them on most machines, and each takes
/// a thread, while watches are plenty.
#[derive(Debug, Clone, Default)]
pub struct Inotify(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Made with the first watch. Held while a watch comes or goes, so that the kernel's list and ours agree.
    watcher: Mutex<Option<RecommendedWatcher>>,
    /// Never held while the watcher is asked for something: it answers from the thread that reads this.
    wakes: Mutex<Wakes>,
}

#[derive(Debug, Default)]
struct Wakes {
    last_id: u64,
    of: HashMap<PathBuf, Vec<(u64, mpsc::Sender<()>)>>,
}

impl Wakes {
    /// Wakes whom an event concerns; everybody when the kernel lost some.
    fn tell(&self, event: &Event) {
        if event.need_rescan() {
            self.of.values().flatten().for_each(wake);
            return;
        }
        for path in &event.paths {
            let folder = path.parent().and_then(|parent| self.of.get(parent));
            folder.or_else(|| self.of.get(path)).into_iter().flatten().for_each(wake);
        }
    }
}

fn wake((_, waiting): &(u64, mpsc::Sender<()>)) {
    // A full channel holds a wake-up already; a closed one is about to be taken off the list.
    let _ = waiting.try_send(());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new_watcher(self: &Arc<Self>) -> notify::Result<RecommendedWatcher> {
        let shared = Arc::downgrade(self);
        notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let (Some(shared), Ok(event)) = (shared.upgrade(), event)
                && !event.kind.is_access()
            {
                lock(&shared.wakes).tell(&event);
            }
        })
    }

    fn add(&self, folder: &Path, wake: mpsc::Sender<()>) -> u64 {
        let mut wakes = lock(&self.wakes);
        wakes.last_id += 1;
        let id = wakes.last_id;
        wakes.of.entry(folder.to_owned()).or_default().push((id, wake));
        id
    }

    /// Whether it was the folder's last.
    fn remove(&self, folder: &Path, id: u64) -> bool {
        let mut wakes = lock(&self.wakes);
        let Some(waiting) = wakes.of.get_mut(folder) else { return false };
        waiting.retain(|(other, _)| *other != id);
        let is_last = waiting.is_empty();
        if is_last {
            wakes.of.remove(folder);
        }
        is_last
    }
}

/// One folder's place in the list.
struct Entry {
    shared: Arc<Shared>,
    folder: PathBuf,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut watcher = lock(&self.shared.watcher);
        if self.shared.remove(&self.folder, self.id)
            && let Some(watcher) = watcher.as_mut()
        {
            // The kernel has forgotten a folder that was removed.
            let _ = watcher.unwatch(&self.folder);
        }
    }
}

impl Watches for Inotify {
    fn watch(&self, folder: &Path, wake: mpsc::Sender<()>) -> std::io::Result<Watch> {
        let mut watcher = lock(&self.0.watcher);
        let watcher = match &mut *watcher {
            Some(watcher) => watcher,
            none => none.insert(self.0.new_watcher().map_err(std::io::Error::other)?),
        };
        let id = self.0.add(folder, wake);
        // Also where somebody watches that path already: the folder may be another one by now.
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            self.0.remove(folder, id);
            return Err(std::io::Error::other(error));
        }
        Ok(Watch::new(Entry { shared: self.0.clone(), folder: folder.to_owned(), id }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    /// Long enough for a word that must not come.
    const A_WHILE: Duration = Duration::from_millis(150);

    fn instances() -> usize {
        let fds = fs::read_dir("/proc/self/fd").unwrap().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok())
            .filter(|path| path.to_string_lossy().contains("inotify"))
            .count()
    }

    #[tokio::test]
    async fn each_folder_wakes_its_own_through_one_instance() {
        let (dir, watches, before) = (tempfile::tempdir().unwrap(), Inotify::default(), instances());
        let folders: Vec<_> = (0..200).map(|n| dir.path().join(n.to_string())).collect();
        let mut all = Vec::new();
        for folder in &folders {
            fs::create_dir(folder).unwrap();
            let (wake, woken) = mpsc::channel(1);
            all.push((watches.watch(folder, wake).unwrap(), woken));
        }
        // Other tests have theirs.
        assert!(instances() < before + 20);
        fs::write(folders[7].join("reporting.yaml"), "x").unwrap();
        assert_eq!(timeout(SOON, all[7].1.recv()).await.unwrap(), Some(()));
        assert!(timeout(A_WHILE, all[8].1.recv()).await.is_err());
        // Reading is no change.
        while timeout(A_WHILE, all[7].1.recv()).await.is_ok() {}
        fs::read(folders[7].join("reporting.yaml")).unwrap();
        assert!(timeout(A_WHILE, all[7].1.recv()).await.is_err());
    }

    #[tokio::test]
    async fn a_second_watcher_of_a_folder_goes_on_when_the_first_has_gone() {
        let (dir, watches) = (tempfile::tempdir().unwrap(), Inotify::default());
        let (first_wake, mut first) = mpsc::channel(1);
        let (second_wake, mut second) = mpsc::channel(1);
        let gone = watches.watch(dir.path(), first_wake).unwrap();
        let stays = watches.watch(dir.path(), second_wake).unwrap();
        drop(gone);
        fs::write(dir.path().join("a"), "x").unwrap();
        assert_eq!(timeout(SOON, second.recv()).await.unwrap(), Some(()));
        assert_eq!(first.recv().await, None);
        drop(stays);
        assert!(lock(&watches.0.wakes).of.is_empty());
    }

    #[tokio::test]
    async fn a_folder_that_was_made_anew_is_watched_anew() {
        let (dir, watches) = (tempfile::tempdir().unwrap(), Inotify::default());
        let folder = dir.path().join("control");
        fs::create_dir(&folder).unwrap();
        let (old_wake, _old) = mpsc::channel(1);
        let old = watches.watch(&folder, old_wake).unwrap();
        fs::remove_dir(&folder).unwrap();
        let (nowhere, _) = mpsc::channel(1);
        assert!(watches.watch(&folder, nowhere).is_err());
        fs::create_dir(&folder).unwrap();
        let (wake, mut woken) = mpsc::channel(1);
        let _new = watches.watch(&folder, wake).unwrap();
        drop(old);
        while timeout(A_WHILE, woken.recv()).await.is_ok() {}
        fs::write(folder.join("a"), "x").unwrap();
        assert_eq!(timeout(SOON, woken.recv()).await.unwrap(), Some(()));
    }
}
