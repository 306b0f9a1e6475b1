//! Only one process drives a task at a time: `serve`, or a `run` beside it. The lock is a file's, so it ends with the
//! process that holds it; the file itself goes when its task is over, or one would be left of each task there ever was.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cloud_code_task_schema::TaskId;
use cloud_code_workspace::Layout;

use crate::EngineError;

/// How a lock file's name ends; it begins with the task.
const SUFFIX: &str = ".driver";

/// Held while it lives.
#[derive(Debug)]
pub(crate) struct DriverLock {
    path: PathBuf,
    _file: File,
}

impl DriverLock {
    /// Takes it, or says that another process has it.
    pub(crate) fn take(layout: &Layout, id: &TaskId) -> Result<Self, EngineError> {
        let path = folder(layout).join(format!("{id}{SUFFIX}"));
        let failed = |source| EngineError::Io { path: path.clone(), source };
        loop {
            fs::create_dir_all(folder(layout)).map_err(failed)?;
            let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_still(&file, &path).map_err(failed)? => return Ok(Self { path, _file: file }),
                // Whoever had it removed it between our opening and our locking: what we hold has no name any more.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(EngineError::Driven { id: id.clone() }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }

    /// The task is over: the file goes, and then the lock.
    pub(crate) fn is_spent(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), error = %error, "a spent lock file stays");
        }
    }
}

/// The tasks of which there is a lock file.
pub(crate) fn locked(layout: &Layout) -> Vec<TaskId> {
    let entries = fs::read_dir(folder(layout)).into_iter().flatten().flatten();
    let id = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(SUFFIX)?.parse().ok();
    entries.filter_map(id).collect()
}

fn folder(layout: &Layout) -> PathBuf {
    layout.home().join("locks")
}

fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_a_spent_one_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (layout, id) = (Layout::new(home.path()), "T1".parse::<TaskId>().unwrap());
        let held = DriverLock::take(&layout, &id).unwrap();
        assert!(matches!(DriverLock::take(&layout, &id), Err(EngineError::Driven { .. })));
        assert_eq!(locked(&layout), std::slice::from_ref(&id));
        held.is_spent();
        assert_eq!(locked(&layout), []);
        drop(DriverLock::take(&layout, &id).unwrap());
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_no_lock() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let file = File::create(&path).unwrap();
        assert!(is_still(&file, &path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_still(&file, &path).unwrap());
        File::create(&path).unwrap();
        assert!(!is_still(&file, &path).unwrap());
    }
}
