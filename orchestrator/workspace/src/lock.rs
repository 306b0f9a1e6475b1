//! One lock file a mirror and one an issue, so that several processes take turns (peers lost work to racing
//! `git` runs on one repository). `flock` dies with its holder: a killed orchestrator leaves nothing to clean.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for another process's turn. A first fetch of a very large repository may hold a mirror for
/// minutes; beyond this the holder hangs and a person should look.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(15 * 60);

/// Pause between two tries. Lower burns CPU while a fetch runs; higher delays the next task by as much.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process held it for the whole wait.
    #[error("another cloud-code process has held {} for {} s", path.display(), waited.as_secs())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long this process waited.
        waited: Duration,
    },
    /// The lock file could not be made or opened.
    #[error("cannot use the lock file {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// A held lock; released on drop, or at the holder's death.
#[derive(Debug)]
pub(crate) struct Held(File);

impl Held {
    /// Waits for the lock at most `wait`.
    pub(crate) fn take(path: &Path, wait: Duration) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let open =
            || File::options().create(true).truncate(false).write(true).read(true).open(path).map_err(io);
        let mut file = open()?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) if is_still(&file, path).map_err(io)? => return Ok(Self(file)),
                // Whoever had it removed it between our opening and our locking: what we hold has no name any more.
                Ok(()) => file = open()?,
                Err(TryLockError::WouldBlock) if start.elapsed() >= wait => {
                    return Err(LockError::Busy { path: path.to_owned(), waited: wait });
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_POLL),
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
    }

    /// Nobody will need the lock again: its file goes, and then the lock.
    pub(crate) fn is_spent(self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A second handle on the same lock, for a long git child's stdin: if this process is killed, the lock
    /// stays held until that orphan has ended too.
    pub(crate) fn share(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let held = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
