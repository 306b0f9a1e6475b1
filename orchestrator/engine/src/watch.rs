//! Word of changed files. A hint and never needed: whoever waits for one looks by itself after a while.

use std::fmt;
use std::path::Path;

use notify::{RecursiveMode, Watcher};
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

/// The kernel's own word.
#[derive(Debug, Clone, Copy)]
pub struct Inotify;

impl Watches for Inotify {
    fn watch(&self, folder: &Path, wake: mpsc::Sender<()>) -> std::io::Result<Watch> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let reading = matches!(&event, Ok(event) if event.kind.is_access());
            if !reading {
                let _ = wake.try_send(());
            }
        })
        .map_err(std::io::Error::other)?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(std::io::Error::other)?;
        Ok(Watch::new(watcher))
    }
}
