//! What killed processes of ours left in an issue's folders. Under the issue's lock, so whatever is found has no owner: each
//! writer of these names holds it.

use std::fs;
use std::io;
use std::path::Path;

use crate::fsops::{self, WRITING_PREFIX};
use crate::import::STAGE_PREFIX;
use crate::layout::IssuePaths;
use crate::lock::{Held, LockError};

/// Why nothing could be swept.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Another process works on this issue: the next look finds it free.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Something could not be removed.
    #[error("cannot tidy the workspace {}", path.display())]
    Io {
        /// The issue's folder.
        path: std::path::PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Removes half-written files and the stages of broken-off imports, and ends a removal that was broken off. Returns how many
/// there were. Does not wait for an issue that somebody works on. No agent of the issue may be running.
pub fn sweep_issue(paths: &IssuePaths) -> Result<usize, SweepError> {
    let doomed = paths.doomed();
    if !paths.root.is_dir() && !doomed.is_dir() {
        return Ok(0);
    }
    let _held = Held::take(&paths.lock, std::time::Duration::ZERO)?;
    let io = |source| SweepError::Io { path: paths.root.clone(), source };
    let mut swept = 0;
    if doomed.is_dir() {
        fsops::remove_tree(&doomed).map_err(io)?;
        swept += 1;
    }
    let is_stage = |name: &str| name.starts_with(STAGE_PREFIX) || name.starts_with(WRITING_PREFIX);
    swept += remove_those(&paths.root, is_stage).map_err(io)?;
    let is_unfinished = |name: &str| name.starts_with(WRITING_PREFIX);
    swept += remove_those(&paths.info(), is_unfinished).map_err(io)?;
    swept += sweep_objects(&paths.objects).map_err(io)?;
    // What else lies in the folders that an agent writes is its own, whatever it is called. The contract's writers name theirs `.tasking.yaml.….tmp`.
    let is_temp = |name: &str| name.starts_with('.') && name.ends_with(".tmp");
    swept += remove_those(&paths.control, is_temp).map_err(io)?;
    Ok(swept)
}

/// Objects that a git of the agent's could not finish: the disk was full, or it was killed. git itself forgets them.
fn sweep_objects(objects: &Path) -> io::Result<usize> {
    let mut removed = 0;
    if !fs::symlink_metadata(objects).is_ok_and(|meta| meta.is_dir()) {
        return Ok(0);
    }
    for entry in fs::read_dir(objects)? {
        let entry = entry?;
        let is_objects = entry.file_name().len() == 2 || entry.file_name() == "pack";
        if is_objects {
            removed += remove_those(&entry.path(), |name| name.starts_with("tmp_"))?;
        }
    }
    Ok(removed)
}

/// Of the folder itself: nothing is looked into, and no link is followed.
pub(crate) fn remove_those(folder: &Path, is_one: impl Fn(&str) -> bool) -> io::Result<usize> {
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir());
    if !is_folder {
        return Ok(0);
    }
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&is_one) {
            fsops::remove_tree(&entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use cloud_code_model::{IssueKey, ProjectName};

    use super::*;
    use crate::layout::Layout;

    fn paths(home: &Path) -> IssuePaths {
        Layout::new(home).issue(&"shop".parse::<ProjectName>().unwrap(), &"42".parse::<IssueKey>().unwrap())
    }

    #[test]
    fn what_a_killed_process_left_goes_and_an_agents_files_stay() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        let stays = [
            paths.tree.join(".writing-notes"),
            paths.tree.join(".x.tmp"),
            paths.home.join(".session.tmp"),
            paths.control.join("tasking.yaml"),
            paths.marker(),
        ];
        let goes = [
            paths.root.join(".writing-abc"),
            paths.root.join("import-x/copied/pack/a.pack"),
            paths.info().join(".writing-def"),
            paths.control.join(".tasking.yaml.0123456789abcdef.tmp"),
            paths.objects.join("a0/tmp_obj_mYzd94"),
            paths.doomed().join("tree/deep/file"),
        ];
        for file in stays.iter().chain(&goes) {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        assert_eq!(sweep_issue(&paths).unwrap(), goes.len());
        assert!(stays.iter().all(|file| file.is_file()));
        assert!(!goes.iter().any(|file| file.exists()));
        assert_eq!(sweep_issue(&paths).unwrap(), 0);
    }

    #[test]
    fn an_issue_that_somebody_works_on_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        fs::create_dir_all(paths.root.join("import-x")).unwrap();
        let held = Held::take(&paths.lock, std::time::Duration::ZERO).unwrap();
        assert!(matches!(sweep_issue(&paths), Err(SweepError::Lock(_))));
        drop(held);
        assert_eq!(sweep_issue(&paths).unwrap(), 1);
    }
}
