//! Removes an issue's workspace as what it is: a tree that an agent wrote.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::fsops;
use crate::layout::IssuePaths;
use crate::lock::{Held, LOCK_WAIT, LockError};
use crate::mirror::{Mirror, MirrorError};

/// Why a workspace could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Another process works on this issue.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The mirror failed.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// Something could not be removed.
    #[error("cannot remove the workspace {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Removes the issue's folder with all it holds, and the ref that kept its base. Imported branches stay. A missing
/// workspace is success. No container of the issue may be running.
///
/// The folder is renamed first, so that a killed removal leaves nothing that looks prepared; the next call ends it.
pub fn remove(mirror: &Mirror, paths: &IssuePaths) -> Result<(), RemoveError> {
    let held = Held::take(&paths.lock, LOCK_WAIT)?;
    let doomed = paths.doomed();
    let io = |path: &PathBuf| {
        let path = path.clone();
        move |source| RemoveError::Io { path, source }
    };
    fsops::remove_tree(&doomed).map_err(io(&doomed))?;
    match fs::rename(&paths.root, &doomed) {
        Ok(()) => fsops::remove_tree(&doomed).map_err(io(&doomed))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(&paths.root)(error)),
    }
    mirror.forget_base(paths)?;
    held.is_spent(&paths.lock).map_err(io(&paths.lock))
}
