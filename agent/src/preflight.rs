//! What must be there before the CLI is started, because afterwards it has cost money: the worktree, a HOME and a
//! worktree that its user may write to, git to commit with, a shell for the project's checks.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cloud_code_task_schema::{Failure, FailureKind, Mode, Task};

use crate::shared::Shared;

/// Why the CLI need not even start.
pub(crate) fn look(shared: &Shared, task: &Task) -> Result<(), Failure> {
    let (workspace, home) = (&shared.options.workspace, &shared.options.home);
    if !workspace.is_dir() {
        return Err(unfit(format!("the workspace {} is not there", workspace.display())));
    }
    let owner = shared.home();
    let whom = shared.user.switch_to.map_or_else(|| "the CLI".to_owned(), |(uid, _)| format!("uid {uid}"));
    let may_write = |folder: &Path| {
        owner.try_writing(folder).map_err(|error| {
            let kind = match error.raw_os_error() {
                Some(nix::libc::ENOSPC | nix::libc::EDQUOT) => FailureKind::DiskFull,
                _ => FailureKind::Internal,
            };
            Failure::new(kind, format!("{whom} cannot write to {}: {error}", folder.display()))
        })
    };
    may_write(home)?;
    if task.mode != Mode::Edit {
        return Ok(());
    }
    may_write(workspace)?;
    let path = shared.plain_env(&task.commit).remove("PATH").unwrap_or_default();
    if !is_on_path("git", &path) {
        let message = "git is not in the image, and nothing could be committed: add it to the image";
        return Err(Failure::new(FailureKind::CliMissing, message));
    }
    if !task.verify.is_empty() && !is_on_path("sh", &path) {
        let message =
            "sh is not in the image, and the verify commands need it: add it, or leave `verify` out";
        return Err(Failure::new(FailureKind::CliMissing, message));
    }
    Ok(())
}

fn unfit(message: String) -> Failure {
    Failure::new(FailureKind::Internal, message)
}

fn is_on_path(program: &str, path: &str) -> bool {
    let is_program = |folder: &str| {
        let file = Path::new(folder).join(program);
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    path.split(':').filter(|folder| !folder.is_empty()).any(is_program)
}

/// Whether the system's folder for temporary files is one: images made by hand forget it, and a read-only root has none.
pub(crate) fn has_temp_folder() -> bool {
    const EVERYBODY_WRITES: u32 = 0o002;
    let folder = Path::new("/tmp");
    let is_open = folder
        .metadata()
        .is_ok_and(|meta| meta.is_dir() && meta.permissions().mode() & EVERYBODY_WRITES != 0);
    is_open && !crate::read_only::is_read_only(folder)
}

/// Makes it where that is possible: as PID 1 the whole file system is the container's own.
pub(crate) fn make_temp_folder() -> io::Result<()> {
    if has_temp_folder() || std::process::id() != 1 {
        return Ok(());
    }
    std::fs::create_dir_all("/tmp")?;
    std::fs::set_permissions("/tmp", std::fs::Permissions::from_mode(0o1777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_a_file_that_may_be_executed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("git")).unwrap();
        std::fs::write(dir.path().join("sh"), "").unwrap();
        let path = format!(":/nonexistent:{}", dir.path().display());
        assert!(!is_on_path("git", &path) && !is_on_path("sh", &path));
        std::fs::set_permissions(dir.path().join("sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(is_on_path("sh", &path));
    }
}
