//! Tasks that may only read: where the worktree is mounted read only the kernel sees to it; elsewhere the CLI promises
//! it, and what it did is compared afterwards.

use std::collections::BTreeMap;
use std::path::Path;

use cloud_code_task_schema::{CliManifest, Failure, FailureKind, Mode};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::git::{Git, GitError, Stamp, stamp};

/// What keeps a CLI from changing files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing; it may.
    None,
    /// The mount.
    Mount,
    /// The CLI's own read-only mode.
    Cli,
}

/// Settles how a mode is kept, or why it cannot be.
pub(crate) fn guard(mode: Mode, manifest: &CliManifest, workspace: &Path) -> Result<Guard, Failure> {
    match (mode, is_read_only(workspace)) {
        (Mode::Edit, false) => Ok(Guard::None),
        (Mode::Edit, true) => {
            let message = format!(
                "the worktree {} is read only, and the task is to edit: mount it writable, or use mode plan or review",
                workspace.display()
            );
            Err(Failure::new(FailureKind::InvalidTasking, message))
        }
        (Mode::Plan | Mode::Review | Mode::Ask, true) => Ok(Guard::Mount),
        (Mode::Plan | Mode::Review | Mode::Ask, false) if manifest.plan.is_some() => Ok(Guard::Cli),
        (Mode::Plan | Mode::Review | Mode::Ask, false) => {
            let message = format!(
                "{} has no read-only mode (cli.yaml has no `plan`), and the worktree is not mounted read only: mount it \
                 so, use mode edit, or use another CLI",
                manifest.name
            );
            Err(Failure::new(FailureKind::InvalidTasking, message))
        }
    }
}

/// Whether the file system is mounted so.
pub(crate) fn is_read_only(folder: &Path) -> bool {
    statvfs(folder).is_ok_and(|file_system| file_system.flags().contains(FsFlags::ST_RDONLY))
}

/// The state of a worktree that must not change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    head: Option<String>,
    /// Branches and tags, where they are this worktree's alone.
    refs: String,
    /// What differs from HEAD, by path: how, and what changes when it is written anew.
    files: BTreeMap<String, (String, Option<Stamp>)>,
}

impl Snapshot {
    /// Takes it now.
    pub(crate) async fn take(git: &Git<'_>) -> Result<Self, GitError> {
        let head = match crate::head::read(git.workspace) {
            Some(head) => Some(head),
            None => git.resolve("HEAD").await,
        };
        let status = git.status().await?;
        // Where others share them, one that moved says nothing about this CLI: a host that imports another issue's work
        // moves them all the time.
        let refs = if crate::head::shares_refs(git.workspace) { String::new() } else { git.refs().await? };
        let seen = |line: &str| {
            let (how, path) = line.split_at_checked(3)?;
            Some((path.to_owned(), (how.to_owned(), stamp(&git.workspace.join(path)))))
        };
        Ok(Self { head, refs, files: status.split('\0').filter_map(seen).collect() })
    }

    /// What is wrong when `later` differs.
    pub(crate) fn compare(&self, later: &Self) -> Option<Failure> {
        if self == later {
            return None;
        }
        let (before, after) = (&self.files, &later.files);
        let changed = after.iter().filter(|(path, file)| before.get(*path) != Some(*file));
        let gone = before.keys().filter(|path| !after.contains_key(*path));
        let mut paths: Vec<&str> =
            changed.map(|(path, _)| path).chain(gone).map(String::as_str).take(MAX_PATHS_NAMED).collect();
        if self.head != later.head {
            paths.push("HEAD");
        }
        if self.refs != later.refs {
            paths.push("a branch or tag");
        }
        let what = if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
        let message = format!(
            "the task may only read, but the worktree changed{what}; nothing was committed, nothing taken back"
        );
        Some(Failure::new(FailureKind::NotReadOnly, message))
    }
}

/// How many changed files a message names.
const MAX_PATHS_NAMED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_named() {
        let of = |head: &str, files: &[(&str, u64)]| Snapshot {
            head: Some(head.to_owned()),
            refs: String::new(),
            files: files
                .iter()
                .map(|(path, size)| ((*path).to_owned(), (" M ".to_owned(), Some((1, *size, 0, 0)))))
                .collect(),
        };
        let before = of("a", &[("gone.rs", 1), ("old.rs", 1), ("same.rs", 1)]);
        assert_eq!(before.compare(&of("a", &[("gone.rs", 1), ("old.rs", 1), ("same.rs", 1)])), None);
        let failure = before.compare(&of("b", &[("new.rs", 1), ("old.rs", 2), ("same.rs", 1)])).unwrap();
        assert_eq!(failure.kind, FailureKind::NotReadOnly);
        let named = "changed: new.rs, old.rs, gone.rs, HEAD;";
        assert!(failure.message.contains(named), "{}", failure.message);
    }

    #[test]
    fn without_a_mount_the_cli_must_have_a_mode() {
        let manifest = |plan: &str| {
            let text = format!("{{name: x, command: [x]{plan}}}");
            cloud_code_task_schema::parse_manifest("cli.yaml", &text).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let plain = Path::new(dir.path());
        assert_eq!(guard(Mode::Plan, &manifest(", plan: [--plan]"), plain), Ok(Guard::Cli));
        assert_eq!(guard(Mode::Review, &manifest(""), plain).unwrap_err().kind, FailureKind::InvalidTasking);
        // `/proc/sys` is mounted read only in most containers, `/sys` too; neither is sure to be, so only the other way.
        assert_eq!(guard(Mode::Edit, &manifest(""), plain), Ok(Guard::None));
    }
}
