//! Looks at a source before anything is made: every refusal here costs the user nothing.
//!
//! A local repository is read by git2 alone, which runs no hook, filter or monitor of it.

use std::path::{Path, PathBuf};

use cloud_code_task_schema::BranchName;
use git2::{ErrorClass, ErrorCode, Repository, Status, StatusOptions};

use crate::ident::CommitId;
use crate::program::{Git, GitError};
use crate::source::Source;

/// Whether uncommitted work in the source is a reason to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UncommittedWork {
    /// It stops: the agent would not see it. The default of every command.
    Refused,
    /// It is left out, as the user was told.
    LeftOut,
}

/// What the caller means to do with the source.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// What to do about uncommitted work.
    pub uncommitted: UncommittedWork,
    /// The branch to work from; none means the one the source stands on.
    pub base: Option<BranchName>,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// What to fetch from: for a folder inside a repository, that repository's top.
    pub source: Source,
    /// The branch to work from: the one asked for, else the one the source stands on.
    pub base: BranchName,
    /// The commit `base` stands on now.
    pub head: CommitId,
    /// True for a local repository without a worktree.
    pub is_bare: bool,
}

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The path does not exist.
    #[error("there is nothing at {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The path is in no git repository.
    #[error("{} is not a git repository", path.display())]
    NotARepository {
        /// The path.
        path: PathBuf,
    },
    /// There is no commit to work from.
    #[error("{source_name} has no commits")]
    Empty {
        /// The source.
        source_name: String,
    },
    /// Uncommitted work that the agent would not see.
    #[error("{} has uncommitted work: {changed} changed and {untracked} untracked files", path.display())]
    Dirty {
        /// The repository.
        path: PathBuf,
        /// Files that differ from the last commit.
        changed: usize,
        /// Files and folders git does not know.
        untracked: usize,
    },
    /// A shallow clone lacks the history that a worktree and a push need.
    #[error("{} is a shallow clone", path.display())]
    Shallow {
        /// The repository.
        path: PathBuf,
    },
    /// No branch to work from is known.
    #[error("{source_name} is on a detached HEAD, so the branch to work from is not known")]
    DetachedHead {
        /// The source.
        source_name: String,
    },
    /// The asked-for branch is not there.
    #[error("{source_name} has no branch `{branch}`")]
    NoSuchBranch {
        /// The source.
        source_name: String,
        /// The branch.
        branch: BranchName,
    },
    /// The source stands on a branch whose name the file contract does not carry.
    #[error("{source_name} is on the branch `{name}`, a name that cannot be used")]
    BranchName {
        /// The source.
        source_name: String,
        /// The branch.
        name: String,
    },
    /// Another user owns it: git would refuse to read it, and so do we.
    #[error("{} belongs to another user (git calls this dubious ownership)", path.display())]
    OwnerDiffers {
        /// The repository.
        path: PathBuf,
    },
    /// A repository with SHA-256 object ids.
    #[error("{} stores objects by SHA-256, which is not supported", path.display())]
    ObjectFormat {
        /// The repository.
        path: PathBuf,
    },
    /// It is a repository, but cannot be read.
    #[error("cannot read the repository {}", path.display())]
    Unreadable {
        /// The repository.
        path: PathBuf,
        /// git2's reason.
        #[source]
        source: git2::Error,
    },
    /// A remote did not answer as a repository.
    #[error("cannot reach {url}")]
    Unreachable {
        /// The URL.
        url: String,
        /// git's reason.
        #[source]
        source: GitError,
    },
}

impl SourceError {
    /// What to do about it, as a command where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("check the path, or give a URL".into()),
            Self::NotARepository { path } => Some(format!(
                "make it one: git -C {0} init && git -C {0} add -A && git -C {0} commit -m \"Start\"",
                quoted(path)
            )),
            Self::Empty { .. } => Some("make a first commit: git add -A && git commit -m \"Start\"".into()),
            Self::Dirty { path, .. } => Some(format!(
                "commit or stash it (git -C {} stash -u), or pass --allow-dirty to work from the last commit",
                quoted(path)
            )),
            Self::Shallow { path } => Some(format!("complete it: git -C {} fetch --unshallow", quoted(path))),
            Self::DetachedHead { .. } => Some("name the branch to work from with --base".into()),
            Self::NoSuchBranch { .. } => Some("list its branches with `git branch -a`".into()),
            Self::BranchName { .. } => Some("name another branch with --base".into()),
            Self::OwnerDiffers { path } => {
                Some(format!("if you trust it: git config --global --add safe.directory {}", quoted(path)))
            }
            Self::ObjectFormat { .. } => Some("convert it to SHA-1, the default of git".into()),
            Self::Unreadable { path, .. } => Some(format!("look at it with: git -C {} fsck", quoted(path))),
            Self::Unreachable { url, .. } => {
                Some(format!("try it by hand: GIT_TERMINAL_PROMPT=0 git ls-remote {url}"))
            }
        }
    }
}

/// Looks at a source. Changes nothing in it.
pub fn inspect(source: &Source, expectations: &Expectations) -> Result<SourceFacts, SourceError> {
    match source {
        Source::Path(path) => inspect_path(path, expectations),
        Source::Url(url) => inspect_url(url, expectations),
    }
}

/// The commit a branch of the source stands on, or none if there is no such branch.
pub fn branch_in_source(source: &Source, branch: &BranchName) -> Result<Option<CommitId>, SourceError> {
    match source {
        Source::Path(path) => {
            let repository = open(path)?;
            Ok(branch_of(&repository, branch))
        }
        Source::Url(url) => Ok(ls_remote(url)?.branch(branch)),
    }
}

pub(crate) fn open(path: &Path) -> Result<Repository, SourceError> {
    let path_buf = path.to_owned();
    if !path.exists() {
        return Err(SourceError::Missing { path: path_buf });
    }
    Repository::discover(path).map_err(|error| match (error.code(), error.class()) {
        (ErrorCode::NotFound, _) => SourceError::NotARepository { path: path_buf },
        (ErrorCode::Owner, _) => SourceError::OwnerDiffers { path: path_buf },
        (_, ErrorClass::Repository) if uses_sha256(path) => SourceError::ObjectFormat { path: path_buf },
        _ => SourceError::Unreadable { path: path_buf, source: error },
    })
}

/// git2 cannot open such a repository, so its config file is read on its own.
fn uses_sha256(path: &Path) -> bool {
    [path.join(".git/config"), path.join("config")].iter().filter(|file| file.is_file()).any(|file| {
        git2::Config::open(file)
            .and_then(|config| config.get_string("extensions.objectformat"))
            .is_ok_and(|format| format.eq_ignore_ascii_case("sha256"))
    })
}

fn branch_of(repository: &Repository, branch: &BranchName) -> Option<CommitId> {
    let reference = repository.find_reference(&crate::ident::head_ref(branch)).ok()?;
    reference.peel_to_commit().ok().map(|commit| CommitId::from_oid(commit.id()))
}

fn inspect_path(path: &Path, expectations: &Expectations) -> Result<SourceFacts, SourceError> {
    let repository = open(path)?;
    let top = repository.workdir().unwrap_or_else(|| repository.path());
    let top = PathBuf::from(top.to_string_lossy().trim_end_matches('/'));
    let unreadable = |source| SourceError::Unreadable { path: top.clone(), source };
    let source_name = top.display().to_string();
    if repository.is_shallow() {
        return Err(SourceError::Shallow { path: top });
    }
    let (base, head) = match &expectations.base {
        Some(base) => {
            let Some(head) = branch_of(&repository, base) else {
                let has_commits = repository.references().map_err(unreadable)?.next().is_some();
                return Err(if has_commits {
                    SourceError::NoSuchBranch { source_name, branch: base.clone() }
                } else {
                    SourceError::Empty { source_name }
                });
            };
            (base.clone(), head)
        }
        None => standing_on(&repository, &source_name, &top)?,
    };
    let is_bare = repository.is_bare();
    if !is_bare && expectations.uncommitted == UncommittedWork::Refused {
        let (changed, untracked) = uncommitted(&repository).map_err(unreadable)?;
        if changed + untracked > 0 {
            return Err(SourceError::Dirty { path: top, changed, untracked });
        }
    }
    Ok(SourceFacts { source: Source::Path(top), base, head, is_bare })
}

fn standing_on(
    repository: &Repository,
    source_name: &str,
    top: &Path,
) -> Result<(BranchName, CommitId), SourceError> {
    let unreadable = |source| SourceError::Unreadable { path: top.to_owned(), source };
    let head = match repository.head() {
        Ok(head) => head,
        Err(error) if error.code() == ErrorCode::UnbornBranch || error.code() == ErrorCode::NotFound => {
            return Err(SourceError::Empty { source_name: source_name.to_owned() });
        }
        Err(error) => return Err(unreadable(error)),
    };
    let name = String::from_utf8_lossy(head.name_bytes()).into_owned();
    let Some(short) = name.strip_prefix("refs/heads/") else {
        return Err(SourceError::DetachedHead { source_name: source_name.to_owned() });
    };
    let base = BranchName::try_from(short.to_owned()).map_err(|_| SourceError::BranchName {
        source_name: source_name.to_owned(),
        name: short.escape_debug().to_string(),
    })?;
    let commit = head.peel_to_commit().map_err(unreadable)?;
    Ok((base, CommitId::from_oid(commit.id())))
}

/// Counts files that differ from the last commit, and what git does not know. A file under a filter (such as LFS)
/// is left out: telling whether it changed would mean running the filter.
fn uncommitted(repository: &Repository) -> Result<(usize, usize), git2::Error> {
    let mut options = StatusOptions::new();
    options.include_untracked(true).include_ignored(false).exclude_submodules(true).no_refresh(true);
    let (mut changed, mut untracked) = (0, 0);
    for entry in repository.statuses(Some(&mut options))?.iter() {
        let status = entry.status();
        if status == Status::WT_NEW {
            untracked += 1;
        } else if status != Status::CURRENT
            && !(status == Status::WT_MODIFIED && has_filter(repository, &entry))
        {
            changed += 1;
        }
    }
    Ok((changed, untracked))
}

fn has_filter(repository: &Repository, entry: &git2::StatusEntry<'_>) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(std::ffi::OsStr::from_bytes(entry.path_bytes()));
    let value = repository.get_attr_bytes(path, "filter", git2::AttrCheckFlags::default());
    matches!(
        git2::AttrValue::from_bytes(value.ok().flatten()),
        git2::AttrValue::String(_) | git2::AttrValue::Bytes(_)
    )
}

fn inspect_url(url: &str, expectations: &Expectations) -> Result<SourceFacts, SourceError> {
    let remote = ls_remote(url)?;
    let source_name = url.to_owned();
    if remote.lines.is_empty() {
        return Err(SourceError::Empty { source_name });
    }
    let base = match (&expectations.base, remote.default_branch()) {
        (Some(base), _) => base.clone(),
        (None, Some(Ok(base))) => base,
        (None, Some(Err(name))) => return Err(SourceError::BranchName { source_name, name }),
        (None, None) => return Err(SourceError::DetachedHead { source_name }),
    };
    let head = remote.branch(&base).ok_or(SourceError::NoSuchBranch { source_name, branch: base.clone() })?;
    Ok(SourceFacts { source: Source::Url(url.to_owned()), base, head, is_bare: true })
}

struct RemoteRefs {
    /// Value and name of each line; a symbolic ref's value starts with `ref: `.
    lines: Vec<(String, String)>,
}

impl RemoteRefs {
    fn branch(&self, branch: &BranchName) -> Option<CommitId> {
        let wanted = crate::ident::head_ref(branch);
        self.lines.iter().find(|(_, name)| *name == wanted).and_then(|(value, _)| value.parse().ok())
    }

    fn default_branch(&self) -> Option<Result<BranchName, String>> {
        let target = self.lines.iter().find(|(value, name)| name == "HEAD" && value.starts_with("ref: "))?;
        let short = target.0.strip_prefix("ref: refs/heads/")?;
        Some(BranchName::try_from(short.to_owned()).map_err(|_| short.escape_debug().to_string()))
    }
}

fn ls_remote(url: &str) -> Result<RemoteRefs, SourceError> {
    let out = Git::transport("ls-remote", None)
        .args(["--symref", "--", url, "HEAD", "refs/heads/*"])
        .run()
        .map_err(|source| SourceError::Unreachable { url: url.to_owned(), source })?;
    let text = String::from_utf8_lossy(&out);
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(RemoteRefs { lines: lines.map(|(value, name)| (value.to_owned(), name.to_owned())).collect() })
}

/// A path as a shell takes it in one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@:,=".contains(&b));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
