//! Takes away what stands in the way of a worktree at another commit. The CLI's HOME and the control files stay, so a
//! session goes on.

use std::fs;
use std::io;

use crate::fsops;
use crate::layout::IssuePaths;
use crate::lock::{Held, LOCK_WAIT};
use crate::remove::RemoveError;

/// Removes tree, admin folder and objects, so that the next `prepare` makes them anew from whatever commit it is given.
/// What was not imported is lost. No container of the issue may be running.
///
/// The mark of a prepared workspace goes first: killed at any point, `prepare` starts anew.
pub fn reset_worktree(paths: &IssuePaths) -> Result<(), RemoveError> {
    let _held = Held::take(&paths.lock, LOCK_WAIT)?;
    let marker = paths.marker();
    match fs::remove_file(&marker) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(RemoveError::Io { path: marker, source });
        }
        _ => {}
    }
    for folder in [&paths.tree, &paths.admin, &paths.objects] {
        fsops::remove_tree(folder).map_err(|source| RemoveError::Io { path: folder.clone(), source })?;
    }
    Ok(())
}
