//! Pushes a branch from the mirror to where the project's code comes from: the user's own repository, or a remote.

use std::fs;
use std::path::{Path, PathBuf};

use cloud_code_task_schema::BranchName;
use git2::Repository;

use crate::ident::{CommitId, head_ref};
use crate::inspect::{self, SourceError};
use crate::mirror::Mirror;
use crate::program::{Git, GitError};
use crate::source::Source;

/// What to push.
#[derive(Debug, Clone)]
pub struct DeliverRequest<'a> {
    /// The project's mirror, which holds the commit.
    pub mirror: &'a Mirror,
    /// Where to push.
    pub target: &'a Source,
    /// The branch to make or move there.
    pub branch: &'a BranchName,
    /// The commit it shall stand on.
    pub head: &'a CommitId,
    /// Where it must be there now; none if it must not exist.
    pub expected_old: Option<&'a CommitId>,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The branch was made or moved.
    Pushed,
    /// It was there already: an earlier call did it.
    AlreadyThere,
}

/// Why a branch was not delivered. The target is as before.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The target cannot be used.
    #[error(transparent)]
    Target(#[from] SourceError),
    /// There is a branch of that name which this issue did not make.
    #[error("the branch `{branch}` exists already in {target_name}, at {found}")]
    BranchExists {
        /// The branch.
        branch: BranchName,
        /// The target.
        target_name: String,
        /// Where it is.
        found: CommitId,
    },
    /// Someone moved or removed the branch since it was last seen.
    #[error("the branch `{branch}` in {target_name} has {} since it was last seen at {expected}", moved_how(found.as_ref()))]
    BranchMoved {
        /// The branch.
        branch: BranchName,
        /// The target.
        target_name: String,
        /// Where it was seen last.
        expected: CommitId,
        /// Where it is, if it exists.
        found: Option<CommitId>,
    },
    /// Moving it would pull the files from under the user.
    #[error("the branch `{branch}` is checked out in {}", path.display())]
    CheckedOut {
        /// The branch.
        branch: BranchName,
        /// The repository.
        path: PathBuf,
    },
    /// The target cannot be written.
    #[error("{} cannot be written by this user", path.display())]
    ReadOnly {
        /// The folder that cannot be written.
        path: PathBuf,
    },
    /// The target said no: a hook, a protected branch, missing rights.
    #[error("{target_name} refused the branch `{branch}`: {reason}")]
    Refused {
        /// The branch.
        branch: BranchName,
        /// The target.
        target_name: String,
        /// What it said.
        reason: String,
    },
    /// The push itself failed.
    #[error("cannot push `{branch}` to {target_name}")]
    Push {
        /// The branch.
        branch: BranchName,
        /// The target.
        target_name: String,
        /// git's reason.
        #[source]
        source: GitError,
    },
}

impl DeliverError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Target(error) => error.hint(),
            Self::BranchExists { branch, .. } => {
                Some(format!("choose another branch, or remove it: git branch -D {branch}"))
            }
            Self::BranchMoved { branch, expected, found: None, .. } => {
                Some(format!("put it back: git branch {branch} {expected}"))
            }
            Self::BranchMoved { branch, .. } => {
                Some(format!("keep what is there under another name: git branch -m {branch} {branch}-mine"))
            }
            Self::CheckedOut { .. } => Some("switch that worktree to another branch first".into()),
            Self::ReadOnly { .. } => Some("make it writable, or read the branch from the mirror".into()),
            Self::Refused { .. } => Some("see what the target's hooks or branch rules ask for".into()),
            Self::Push { .. } => None,
        }
    }
}

fn moved_how(found: Option<&CommitId>) -> &'static str {
    match found {
        Some(_) => "moved",
        None => "been removed",
    }
}

/// Whether the branch could be delivered now, as far as can be seen without pushing: what a person changed meanwhile is
/// told before work is paid for that could not be handed over.
pub fn check_delivery(
    target: &Source,
    branch: &BranchName,
    expected_old: Option<&CommitId>,
) -> Result<(), DeliverError> {
    let found = inspect::branch_in_source(target, branch)?;
    match (expected_old, found) {
        (None, Some(found)) => {
            let target_name = target.to_string();
            return Err(DeliverError::BranchExists { branch: branch.clone(), target_name, found });
        }
        (Some(expected), found) if found.as_ref() != Some(expected) => {
            let (target_name, expected) = (target.to_string(), expected.clone());
            return Err(DeliverError::BranchMoved { branch: branch.clone(), target_name, expected, found });
        }
        _ => {}
    }
    if let Source::Path(path) = target {
        let repository = inspect::open(path)?;
        writable(&repository)?;
        not_checked_out(&repository, branch)?;
    }
    Ok(())
}

/// Pushes the branch if it is where it is expected. Hooks of the target run, as for every push; none of ours do.
pub fn deliver(request: &DeliverRequest<'_>) -> Result<Delivery, DeliverError> {
    let found = inspect::branch_in_source(request.target, request.branch)?;
    if found.as_ref() == Some(request.head) {
        return Ok(Delivery::AlreadyThere);
    }
    check_delivery(request.target, request.branch, request.expected_old)?;
    push(request)
}

fn writable(repository: &Repository) -> Result<(), DeliverError> {
    for folder in ["objects", "refs", "refs/heads"] {
        let path = repository.commondir().join(folder);
        if path.exists() && rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err() {
            return Err(DeliverError::ReadOnly { path });
        }
    }
    Ok(())
}

/// Looks at HEAD of the main worktree and of every linked one. An unborn branch counts: the next commit makes it.
fn not_checked_out(repository: &Repository, branch: &BranchName) -> Result<(), DeliverError> {
    let wanted = format!("ref: {}", head_ref(branch));
    let common = repository.commondir();
    let stands_on = |head: &Path| fs::read_to_string(head).is_ok_and(|text| text.trim_end() == wanted);
    let refuse = |path: PathBuf| Err(DeliverError::CheckedOut { branch: branch.clone(), path });
    // commondir belongs to a worktree of it, or to the main one; a bare repository's HEAD is nobody's checkout.
    let main_is_bare = Repository::open(common).is_ok_and(|main| main.is_bare());
    if !main_is_bare && stands_on(&common.join("HEAD")) {
        return refuse(common.parent().unwrap_or(common).to_owned());
    }
    let Ok(worktrees) = fs::read_dir(common.join("worktrees")) else { return Ok(()) };
    for admin in worktrees.flatten() {
        if stands_on(&admin.path().join("HEAD")) {
            let file = fs::read_to_string(admin.path().join("gitdir")).unwrap_or_default();
            return refuse(Path::new(file.trim_end()).parent().map_or_else(|| admin.path(), Path::to_owned));
        }
    }
    Ok(())
}

fn push(request: &DeliverRequest<'_>) -> Result<Delivery, DeliverError> {
    let (branch, target_name) = (request.branch.clone(), request.target.to_string());
    let name = head_ref(request.branch);
    let expected = request.expected_old.map_or("", CommitId::as_str);
    let pushed = Git::transport("push", Some(request.mirror.path()))
        .args(["--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--no-signed"])
        .arg(format!("--force-with-lease={name}:{expected}"))
        .arg("--")
        .arg(request.target.as_git_argument())
        .arg(format!("{}:{name}", request.head))
        .run();
    let source = match pushed {
        Ok(_) => return Ok(Delivery::Pushed),
        Err(source) => source,
    };
    let GitError::Failed { stdout, stderr, .. } = &source else {
        return Err(DeliverError::Push { branch, target_name, source });
    };
    // `--porcelain` writes one line a ref: flag, tab, `from:to`, tab, `[kind] (reason)`.
    let report = String::from_utf8_lossy(stdout);
    let line = report.lines().find_map(|line| line.strip_prefix("!\t")?.split_once('\t'));
    match (line, request.expected_old) {
        (Some((_, "[rejected] (stale info)")), Some(expected)) => {
            let found = inspect::branch_in_source(request.target, request.branch)?;
            Err(DeliverError::BranchMoved { branch, target_name, expected: expected.clone(), found })
        }
        (Some((_, why)), _) => {
            let said = stderr.lines().filter_map(|line| line.strip_prefix("remote: ")).collect::<Vec<_>>();
            let reason =
                if said.is_empty() { why.to_owned() } else { format!("{why}: {}", said.join(" ").trim()) };
            Err(DeliverError::Refused { branch, target_name, reason })
        }
        (None, _) => Err(DeliverError::Push { branch, target_name, source }),
    }
}
