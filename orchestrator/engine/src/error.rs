//! What a caller of the engine can branch on.

use std::error::Error;
use std::path::{Path, PathBuf};

use cloud_code_forge::ForgeError;
use cloud_code_history::HistoryError;
use cloud_code_model::TaskStatus;
use cloud_code_runtime::RuntimeError;
use cloud_code_store::StoreError;
use cloud_code_task_schema::{BranchName, Diagnostics, FailureKind, TaskId};
use cloud_code_workspace::{
    DeliverError, DiffError, HeadError, ImportError, InvalidCommitId, InvalidSource, MirrorError, MoveError,
    PrepareError, PushError, RebaseError, RemoteError, RemoveError, Shortage, SourceError, disk_is_full,
    shortage,
};

use crate::catalog::CliError;
use crate::prompts::PromptError;

/// Why the engine could not go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Another process drives the task.
    #[error("the task {id} is already being driven by another cloud-code process")]
    Driven {
        /// The task.
        id: TaskId,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository's name cannot be used.
    #[error(transparent)]
    SourceName(#[from] InvalidSource),
    /// The repository cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The mirror failed.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The worktree could not be made.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The commits were refused or could not be taken.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The branch could not be handed over.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// The work could not be compared with a newer base, or put on it.
    #[error(transparent)]
    Rebase(#[from] RebaseError),
    /// The rebased branch could not be kept.
    #[error(transparent)]
    MoveBranch(#[from] MoveError),
    /// The branch could not be pushed.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The forge did not do what it was asked.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// What an attempt left could not be kept.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A diff could not be made.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// A workspace could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// What should be a commit's id is not.
    #[error(transparent)]
    Commit(InvalidCommitId),
    /// Containers.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The CLI is not known or not fit.
    #[error(transparent)]
    Cli(#[from] CliError),
    /// The project's own prompts cannot be used.
    #[error(transparent)]
    Prompts(#[from] PromptError),
    /// A file of ours does not read or cannot be written as YAML.
    #[error("{0}")]
    Document(Diagnostics),
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Where the worktree stands could not be read.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The agent's program is not there.
    #[error(
        "the agent's program is not at {path}\n  hint: `make build` puts it beside cloud-code; or set `agent_binary` in cloud-code.yaml"
    )]
    AgentMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No credentials for the CLI.
    #[error("the CLI `{cli}` has no credentials\n  hint: set one of {} in the environment of cloud-code", names.join(", "))]
    NoCredentials {
        /// Which CLI.
        cli: String,
        /// Any one of these would do.
        names: Vec<String>,
    },
    /// A secret that the project names is not set.
    #[error(
        "the project names the secret `{name}`, which is not set\n  hint: set it in the environment of cloud-code, or take it from the key `secrets`"
    )]
    SecretNotSet {
        /// Which variable.
        name: String,
    },
    /// The branch that work should start from moved after it was looked at.
    #[error(
        "the branch `{branch}` moved from {} to {} after the request\n  hint: look at what was pushed, and ask again",
        seen.get(..12).unwrap_or(seen), now.get(..12).unwrap_or(now)
    )]
    BaseMoved {
        /// Which.
        branch: BranchName,
        /// The commit that was looked at.
        seen: String,
        /// The commit it stands on now.
        now: String,
    },
    /// Somebody rewrote the branch that our work stands on.
    #[error(
        "the history of the branch `{branch}` was rewritten: it stands on {}, which does not hold {} of the last push\n  hint: \
         nothing of it is overwritten; put the branch back to {pushed} with what is to stay on top of it, or delete it, then \
         ask again",
        found.get(..12).unwrap_or(found), pushed.get(..12).unwrap_or(pushed)
    )]
    BranchRewritten {
        /// Which.
        branch: BranchName,
        /// The commit it stands on now.
        found: String,
        /// The commit that we pushed last.
        pushed: String,
    },
    /// The branch that work should start from is not there.
    #[error("there is no branch `{branch}` to start from\n  hint: name another one, or push it")]
    NoSuchBase {
        /// Which.
        branch: BranchName,
    },
    /// The pull request's branch lives where nothing can be pushed.
    #[error(
        "pull request #{number} comes from a fork, where nothing can be pushed\n  hint: push its branch to this repository, and open the pull request from there"
    )]
    PullFromFork {
        /// Which.
        number: u64,
    },
    /// Nobody who may command has said what to do.
    #[error(
        "nothing says what to do: the text of #{number} is empty, or of somebody without write access\n  hint: say it in the command itself"
    )]
    NothingSaid {
        /// Which issue.
        number: u64,
    },
    /// The branch is there already.
    #[error(
        "the branch `{branch}` exists already in {place}\n  hint: choose another with --branch, or delete it"
    )]
    BranchExists {
        /// Which.
        branch: String,
        /// Where.
        place: String,
    },
    /// The branch's name cannot be used.
    #[error("`{branch}` cannot be the task's branch: {why}\n  hint: choose another with --branch")]
    BranchUnfit {
        /// Which.
        branch: String,
        /// Why.
        why: String,
    },
    /// The title is empty.
    #[error(
        "the task is empty\n  hint: say what to do, as in `cloud-code run --repo . \"Fix the login check\"`"
    )]
    EmptyTask,
    /// The issue has a task that has not ended.
    #[error(
        "{issue} is still {status}\n  hint: wait for its end (`cloud-code logs --follow {issue}`), go on driving it (`cloud-code resume {issue}`), or stop it (`cloud-code cancel {issue}`)"
    )]
    StillOpen {
        /// As `project#key`.
        issue: String,
        /// Where its task is.
        status: TaskStatus,
    },
    /// The issue's task was told to stop and has not ended yet.
    #[error("{issue} is being stopped\n  hint: `cloud-code cancel {issue}` waits for its end")]
    BeingStopped {
        /// As `project#key`.
        issue: String,
    },
    /// The issue's workspace was removed.
    #[error(
        "{issue} was cleaned or its folder was lost, so its worktree and its conversation are gone\n  hint: start anew from its branch: `cloud-code run --repo {repo} --base {branch} \"…\"`"
    )]
    Cleaned {
        /// As `project#key`.
        issue: String,
        /// The project's repository.
        repo: String,
        /// The branch that stayed.
        branch: BranchName,
    },
    /// All tasks of the issue together do not fit into the file they are written to.
    #[error(
        "the texts of all tasks of the issue are larger than {limit_kib} KiB together\n  hint: say it shorter, or put long texts into files of the repository and name them"
    )]
    TooLong {
        /// The limit in KiB.
        limit_kib: u64,
    },
    /// The disk is full, and something failed of it.
    #[error(
        "the disk that holds {path} is full\n  hint: free some space there; `cloud-code clean --all` removes workspaces of ended issues"
    )]
    DiskFull {
        /// The home folder.
        path: PathBuf,
        /// What failed.
        source: Box<EngineError>,
    },
    /// There are no more descriptors, processes or memory to be had, and something failed of it.
    #[error(
        "this machine gives cloud-code nothing more to work with\n  hint: it goes on when there is more; \
         `LimitNOFILE=` and `TasksMax=` of its unit, and the free memory, say how much there is"
    )]
    Exhausted {
        /// What failed.
        source: Box<EngineError>,
    },
    /// A part of this program ended unexpectedly.
    #[error("a background job of cloud-code ended unexpectedly: {0}")]
    Job(String),
}

impl EngineError {
    /// The message with its causes in one text, and what to do about it on lines of their own.
    pub fn chain(&self) -> String {
        let mut text = String::new();
        let mut hints: Vec<String> = Vec::new();
        let mut error: Option<&dyn Error> = Some(self);
        while let Some(current) = error {
            let message = current.to_string();
            let (said, hint) = match message.split_once(HINT) {
                Some((said, hint)) => (said.to_owned(), Some(hint.to_owned())),
                None => (message, None),
            };
            if text.is_empty() {
                text = said;
            } else if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            hints.extend(hint.filter(|h| !hints.contains(h)));
            error = current.source();
        }
        hints.extend(self.hint());
        for hint in hints {
            text.push_str(HINT);
            text.push_str(&hint);
        }
        text
    }

    /// What is kept of a task that ends by this error: as [`Self::chain`], but the causes of a verdict on the work stand on
    /// lines of their own, because people on a forge read what is before them.
    pub(crate) fn for_record(&self) -> String {
        if !matches!(self.failure_kind(), FailureKind::Rejected | FailureKind::PublishRefused) {
            return self.chain();
        }
        let message = self.to_string();
        let mut hints = message.split(HINT).map(str::to_owned);
        let mut text = hints.next().unwrap_or_default();
        let mut cause = self.source();
        while let Some(current) = cause {
            let said = current.to_string();
            if !text.contains(&said) {
                text.push_str(CAUSE);
                text.push_str(&said);
            }
            cause = current.source();
        }
        for hint in hints.chain(self.hint()) {
            text.push_str(HINT);
            text.push_str(&hint);
        }
        text
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Deliver(error) => error.hint(),
            Self::Push(error) => push_hint(error).map(str::to_owned),
            Self::Forge(ForgeError::Archived) => Some(UNARCHIVE.to_owned()),
            Self::Forge(ForgeError::NoAccess { .. }) => Some(GIVE_ACCESS.to_owned()),
            _ => None,
        }
    }

    /// What a task that ends by this error failed of.
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            error if error.is_limit_of_git() => FailureKind::RateLimited,
            Self::Store(StoreError::DiskFull) | Self::Runtime(RuntimeError::DiskFull { .. }) => {
                FailureKind::DiskFull
            }
            Self::Import(
                ImportError::Refused(_)
                | ImportError::Quarantine(_)
                | ImportError::Objects { .. }
                | ImportError::Strict { .. }
                | ImportError::NotDescended { .. },
            ) => FailureKind::Rejected,
            Self::DiskFull { .. } => FailureKind::DiskFull,
            Self::Push(error) => push_failure(error),
            Self::Forge(error) => forge_failure(error),
            Self::Runtime(RuntimeError::ImageMissing { .. }) | Self::Cli(_) => FailureKind::CliMissing,
            Self::NoCredentials { .. } | Self::SecretNotSet { .. } => FailureKind::Auth,
            Self::Driven { .. } | Self::Store(_) | Self::Runtime(_) | Self::Commit(_) => {
                FailureKind::Internal
            }
            Self::SourceName(_) | Self::Source(_) | Self::Mirror(_) | Self::Prepare(_) => {
                FailureKind::Internal
            }
            Self::Rebase(_) | Self::MoveBranch(_) | Self::History(_) => FailureKind::Internal,
            Self::Import(_) | Self::Deliver(_) | Self::Diff(_) | Self::Remove(_) => FailureKind::Internal,
            Self::Document(_) | Self::Io { .. } | Self::Head(_) | Self::Exhausted { .. } => {
                FailureKind::Internal
            }
            Self::AgentMissing { .. } => FailureKind::Internal,
            Self::Prompts(_)
            | Self::StillOpen { .. }
            | Self::BaseMoved { .. }
            | Self::BranchRewritten { .. }
            | Self::PullFromFork { .. }
            | Self::NoSuchBase { .. }
            | Self::NothingSaid { .. }
            | Self::BeingStopped { .. }
            | Self::Cleaned { .. }
            | Self::TooLong { .. } => FailureKind::Internal,
            Self::BranchExists { .. } | Self::BranchUnfit { .. } | Self::EmptyTask | Self::Job(_) => {
                FailureKind::Internal
            }
        }
    }

    /// Whether it is a matter of reaching the repository's server, which may be reached later.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self {
            Self::Mirror(MirrorError::Fetch { source, .. }) => {
                matches!(source, RemoteError::Unreachable { .. } | RemoteError::Auth { .. })
            }
            Self::Mirror(MirrorError::Lock(_)) => true,
            error => error.is_limit_of_git(),
        }
    }

    /// Whether the machine lacks something that it will have again: room, descriptors, or its Docker engine. No fault of the
    /// task, and no other task would fare better, so it waits where it is. A wrong address or a lack of rights is not of this
    /// kind.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::DiskFull { .. } | Self::Exhausted { .. } => true,
            Self::Store(StoreError::DiskFull | StoreError::Busy { .. }) => true,
            Self::Runtime(error) => matches!(
                error,
                RuntimeError::DiskFull { .. }
                    | RuntimeError::EngineUnreachable { .. }
                    | RuntimeError::EngineTimeout { .. }
                    | RuntimeError::EngineLost { .. }
            ),
            _ => false,
        }
    }

    /// Whether git was refused for a limit. It shows one status for this and for a lack of rights; the words differ.
    fn is_limit_of_git(&self) -> bool {
        match self {
            Self::Mirror(MirrorError::Fetch { source: RemoteError::Denied { words, .. }, .. })
            | Self::Push(PushError::Remote(RemoteError::Denied { words, .. })) => {
                words.to_lowercase().contains("rate limit")
            }
            _ => false,
        }
    }

    /// How long there is no use in trying again, when somebody said so.
    pub(crate) fn not_before(&self, now: jiff::Timestamp) -> Option<std::time::Duration> {
        match self {
            Self::Forge(ForgeError::Limited { until }) => until.duration_since(now).try_into().ok(),
            error => error.is_limit_of_git().then_some(GIT_LIMIT_WAIT),
        }
    }

    /// The same error, told as a shortage of this machine when that is what it is. Programs and libraries say it in many words
    /// or not at all, so the disk itself is asked too.
    pub(crate) fn or_shortage(self, home: &Path) -> Self {
        let is_full = match (&self, shortage(&self)) {
            (Self::DiskFull { .. } | Self::Exhausted { .. }, _) => return self,
            (_, Some(Shortage::System)) => return Self::Exhausted { source: Box::new(self) },
            (_, Some(Shortage::Disk)) => true,
            (_, None) => disk_is_full(home),
        };
        if is_full { Self::DiskFull { path: home.to_owned(), source: Box::new(self) } } else { self }
    }
}

const UNARCHIVE: &str = "unarchive it, then try again; the work is kept";
const GIVE_ACCESS: &str = "see that the App is installed there, or that the token may use it, then try again";

/// What whoever looks after the repository can do.
const fn push_hint(error: &PushError) -> Option<&'static str> {
    match error {
        PushError::Moved { .. } => Some(
            "somebody else pushed to it what this work does not go on top of by itself, and nothing of theirs is \
             overwritten; another task is told to bring both together; or put the branch back to where it was, or delete \
             it, then try again",
        ),
        PushError::ProtectedBranch { .. } => {
            Some("let cloud-code push to such branches, or set another `branch_prefix`, then try again")
        }
        PushError::WorkflowRefused { .. } => Some(
            "give the App the permission `workflows` (a token the scope `workflow`), or have somebody else change those \
             files",
        ),
        PushError::Remote(RemoteError::Archived { .. }) => Some(UNARCHIVE),
        PushError::Remote(RemoteError::NotFound { .. } | RemoteError::Denied { .. }) => Some(GIVE_ACCESS),
        PushError::Remote(
            RemoteError::Auth { .. }
            | RemoteError::Redirected { .. }
            | RemoteError::NotForTokens { .. }
            | RemoteError::Unreachable { .. }
            | RemoteError::Git { .. },
        ) => None,
        PushError::Refused { .. } | PushError::Mirror(_) => None,
    }
}

/// A verdict of the server on the work or on our rights ends the task; what can pass leaves it to be tried again.
const fn push_failure(error: &PushError) -> FailureKind {
    match error {
        PushError::Moved { .. }
        | PushError::ProtectedBranch { .. }
        | PushError::WorkflowRefused { .. }
        | PushError::Refused { .. } => FailureKind::PublishRefused,
        PushError::Remote(
            RemoteError::Denied { .. }
            | RemoteError::NotFound { .. }
            | RemoteError::Archived { .. }
            | RemoteError::NotForTokens { .. },
        ) => FailureKind::PublishRefused,
        PushError::Remote(RemoteError::Auth { .. }) => FailureKind::Auth,
        PushError::Remote(
            RemoteError::Redirected { .. } | RemoteError::Unreachable { .. } | RemoteError::Git { .. },
        )
        | PushError::Mirror(_) => FailureKind::Internal,
    }
}

const fn forge_failure(error: &ForgeError) -> FailureKind {
    match error {
        ForgeError::Forbidden { .. }
        | ForgeError::NotFound { .. }
        | ForgeError::Gone { .. }
        | ForgeError::Archived
        | ForgeError::Locked
        | ForgeError::TooLong { .. }
        | ForgeError::Invalid { .. }
        | ForgeError::NothingToMerge => FailureKind::PublishRefused,
        ForgeError::Auth { .. } | ForgeError::NoAccess { .. } => FailureKind::Auth,
        ForgeError::Limited { .. } => FailureKind::RateLimited,
        ForgeError::Moved { .. } | ForgeError::Unreachable { .. } | ForgeError::Unexpected { .. } => {
            FailureKind::Internal
        }
    }
}

/// How long git waits after a limit. It shows no header that says it, and GitHub asks for a minute where none does.
const GIT_LIMIT_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

/// What stands before a cause in a message of several lines.
pub(crate) const CAUSE: &str = "\n  cause: ";
/// What stands before the advice in a message of several lines.
pub(crate) const HINT: &str = "\n  hint: ";
