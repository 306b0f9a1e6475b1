//! The admin folder that makes `tree/` a git worktree, written by hand in git's documented layout
//! (gitrepository-layout: `gitdir`, `commondir`, `HEAD`, `locked`), and read back as hostile.
//!
//! `git worktree add` was rejected: it picks the folder's name itself, writes host paths that mean nothing in a
//! container, and puts the folder into the mirror, where agents would then write.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::fsops::{self, ReadError};
use crate::ident::CommitId;
use crate::layout::{IssuePaths, inside};
use crate::mirror::Mirror;
use crate::prepare::{GitView, Owner};

/// What the worktree's HEAD says. Written by the agent: evidence of what it claims, never proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorktreeHead {
    /// A commit, as the host left it and as `git commit` keeps it.
    Commit(CommitId),
    /// A ref: something inside attached HEAD. Commits cannot have followed, as refs are read-only there.
    Attached(String),
}

/// Why the worktree's HEAD says nothing.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The admin folder is missing or no folder.
    #[error("the worktree's admin folder {} cannot be opened", path.display())]
    NoAdminFolder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// HEAD itself cannot be read as a small file.
    #[error("the worktree's HEAD in {} cannot be read", path.display())]
    Unreadable {
        /// The admin folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// It holds neither a commit id nor a ref.
    #[error("the worktree's HEAD in {} holds neither a commit id nor a ref", path.display())]
    Garbage {
        /// The admin folder.
        path: PathBuf,
    },
}

/// Cap on HEAD, in bytes: a ref name has at most 255 a component; git itself reads no more.
const MAX_HEAD: u64 = 4096;

/// Cap on the link files, in bytes: one path and a word.
const MAX_LINK_FILE: u64 = 8192;

/// Reads the worktree's HEAD without following links: the fact that remains when an agent died without a report.
pub fn worktree_head(paths: &IssuePaths) -> Result<WorktreeHead, HeadError> {
    let path = paths.admin.clone();
    let folder = fsops::open_dir_path(&path)
        .map_err(|errno| HeadError::NoAdminFolder { path: path.clone(), source: errno.into() })?;
    let bytes = fsops::read_small(&folder, c"HEAD", MAX_HEAD)
        .map_err(|source| HeadError::Unreadable { path: path.clone(), source })?;
    let garbage = || HeadError::Garbage { path: path.clone() };
    let text = str::from_utf8(&bytes).map_err(|_| garbage())?.trim_end();
    if let Some(name) = text.strip_prefix("ref:") {
        let name = name.trim_start();
        return if git2::Reference::is_valid_name(name) {
            Ok(WorktreeHead::Attached(name.to_owned()))
        } else {
            Err(garbage())
        };
    }
    text.parse().map(WorktreeHead::Commit).map_err(|_| garbage())
}

/// One of the files that tie tree, admin folder, mirror and quarantine together.
struct LinkFile {
    folder: PathBuf,
    name: &'static CStr,
    content: Vec<u8>,
}

/// The link files as they must be for a view. All but `HEAD` and the index, which are the agent's to change.
fn link_files(mirror: &Mirror, paths: &IssuePaths, view: GitView) -> Vec<LinkFile> {
    let line = |text: &OsStr| [text.as_bytes(), b"\n"].concat();
    let (git_dir, git_file, common, objects) = match view {
        GitView::Container => (
            PathBuf::from(inside::ADMIN),
            Path::new(inside::WORKSPACE).join(".git"),
            PathBuf::from("../.."),
            PathBuf::from(inside::BASE_OBJECTS),
        ),
        GitView::Host => {
            (paths.admin.clone(), paths.tree.join(".git"), mirror.path().to_owned(), mirror.objects())
        }
    };
    let file = |folder: &Path, name, content| LinkFile { folder: folder.to_owned(), name, content };
    vec![
        file(&paths.tree, c".git", [b"gitdir: ", &line(git_dir.as_os_str())[..]].concat()),
        file(&paths.admin, c"gitdir", line(git_file.as_os_str())),
        file(&paths.admin, c"commondir", line(common.as_os_str())),
        // Keeps `git worktree prune` away, inside and outside.
        file(&paths.admin, c"locked", b"in use by cloud-code\n".to_vec()),
        file(&paths.objects.join("info"), c"alternates", line(objects.as_os_str())),
    ]
}

/// Makes every link file what it must be; files that are right stay untouched. What stands in a file's place (a
/// link, a pipe) is replaced; a folder is kept aside under `displaced/`, for it may hold work.
pub(crate) fn tie(
    mirror: &Mirror,
    paths: &IssuePaths,
    view: GitView,
    owner: Option<Owner>,
) -> io::Result<()> {
    let raw = owner.map(Owner::raw);
    for file in link_files(mirror, paths, view) {
        if file.name == c"alternates" && fsops::open_dir_path(&file.folder).is_err() {
            displace(paths, &file.folder)?;
            fsops::make_dir(&file.folder, 0o755, raw)?;
        }
        let folder = fsops::open_dir_path(&file.folder)?;
        if fsops::read_small(&folder, file.name, MAX_LINK_FILE).is_ok_and(|bytes| bytes == file.content) {
            continue;
        }
        let path = file.folder.join(OsStr::from_bytes(file.name.to_bytes()));
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            displace(paths, &path)?;
        }
        fsops::write_whole_from(&paths.root, &path, &file.content, raw, fsops::Sync::Later)?;
    }
    Ok(())
}

/// Moves what stands at `path` out of the agent's reach, into the issue's own folder.
fn displace(paths: &IssuePaths, path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let shelf = paths.root.join("displaced");
    fsops::make_dir(&shelf, 0o700, None)?;
    let place = tempfile::Builder::new().prefix("").tempdir_in(&shelf)?.keep();
    fs::rename(path, place.join(path.file_name().unwrap_or_else(|| OsStr::new("displaced"))))
}
