//! The commit a worktree stands on, read from its files: a `git` process before the CLI starts would cost its latency.
//!
//! Everything here was possibly written by an earlier CLI, so files are opened like any untrusted file and nothing
//! but a commit id comes out.

use std::path::{Path, PathBuf};

use cloud_code_task_schema::read_capped;

/// Cap of HEAD, a ref and a `.git` file.
const MAX_REF_BYTES: u64 = 4 * 1024;
/// Cap of `packed-refs`; a repository with more refs than this answers through git later.
const MAX_PACKED_BYTES: u64 = 4 * 1024 * 1024;

/// The commit of HEAD; `None` when it cannot be told (no repository, an unborn branch).
pub(crate) fn read(workspace: &Path) -> Option<String> {
    let git_dir = git_dir(workspace)?;
    let head = read_capped(&git_dir.join("HEAD"), MAX_REF_BYTES).ok()?;
    let Some(name) = head.trim().strip_prefix("ref: ") else { return commit_id(&head) };
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    let common = common_dir(&git_dir);
    let loose =
        [&git_dir, &common].into_iter().find_map(|dir| read_capped(&dir.join(name), MAX_REF_BYTES).ok());
    match loose {
        Some(text) => commit_id(&text),
        None => packed(&common, name),
    }
}

/// The folder that holds HEAD and the index of a worktree.
pub(crate) fn git_dir(workspace: &Path) -> Option<PathBuf> {
    let dot_git = workspace.join(".git");
    if std::fs::symlink_metadata(&dot_git).ok()?.is_dir() {
        return Some(dot_git);
    }
    let text = read_capped(&dot_git, MAX_REF_BYTES).ok()?;
    Some(workspace.join(text.strip_prefix("gitdir: ")?.trim_end()))
}

/// Whether branches and tags are those of other worktrees too.
pub(crate) fn shares_refs(workspace: &Path) -> bool {
    git_dir(workspace).is_some_and(|git_dir| common_dir(&git_dir) != git_dir)
}

fn common_dir(git_dir: &Path) -> PathBuf {
    let named = read_capped(&git_dir.join("commondir"), MAX_REF_BYTES).ok();
    named.map_or_else(|| git_dir.to_owned(), |name| git_dir.join(name.trim_end()))
}

fn packed(common: &Path, name: &str) -> Option<String> {
    let text = read_capped(&common.join("packed-refs"), MAX_PACKED_BYTES).ok()?;
    let line = text.lines().find(|line| line.split_once(' ').is_some_and(|(_, packed)| packed == name))?;
    commit_id(line.split_once(' ')?.0)
}

fn commit_id(text: &str) -> Option<String> {
    let id = text.trim();
    // SHA-1 or SHA-256.
    let sound = matches!(id.len(), 40 | 64) && id.bytes().all(|b| b.is_ascii_hexdigit());
    sound.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn a_detached_worktree_a_branch_and_a_packed_branch_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join("mirror.git/worktrees/tree");
        std::fs::create_dir_all(git.join("refs/heads")).unwrap();
        std::fs::write(dir.path().join(".git"), format!("gitdir: {}\n", git.display())).unwrap();
        std::fs::write(git.join("HEAD"), format!("{ID}\n")).unwrap();
        assert_eq!(read(dir.path()).as_deref(), Some(ID));
        std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(read(dir.path()), None);
        std::fs::write(git.join("commondir"), "../..\n").unwrap();
        let packed = format!("# pack-refs with: peeled\n{ID} refs/heads/main\n");
        std::fs::write(dir.path().join("mirror.git/packed-refs"), packed).unwrap();
        assert_eq!(read(dir.path()).as_deref(), Some(ID));
    }

    #[test]
    fn a_head_that_points_out_of_the_repository_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        std::fs::write(dir.path().join("secret"), ID).unwrap();
        std::fs::write(dir.path().join(".git/HEAD"), "ref: ../secret\n").unwrap();
        assert_eq!(read(dir.path()), None);
    }
}
