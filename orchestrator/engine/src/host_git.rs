//! What the engine asks of git on the host, and who answers.
//!
//! A port, because a life cycle is proven by many thousand of them, and each with real repositories takes seconds. The
//! cut is where `workspace` ends: what a branch means to a task (caught up, put on top, conflicting) is decided above it,
//! so that these decisions run as they are whoever answers. Rejected: a cut at the engine's own questions, which would
//! leave them out. All of it blocks.

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;

use cloud_code_model::ProjectName;
use cloud_code_task_schema::BranchName;
use cloud_code_workspace::{
    ChangedFile, CommitId, Credential, DeliverError, DeliverRequest, Delivery, DiffError, Expectations,
    FolderError, FolderFile, GitView, HeadError, ImportError, ImportOutcome, ImportPolicy, ImportRequest,
    IssuePaths, Layout, Mirror, MirrorError, MoveError, Owner, PrepareError, PrepareRequest, Prepared,
    PushError, PushOutcome, PushRequest, RebaseError, Rebased, RemoveError, SettleError, Source, SourceError,
    SourceFacts, WorktreeHead,
};

/// Git on this machine. What a call promises is said where it is done, in `cloud-code-workspace`.
pub trait Git: Send + Sync + Debug {
    /// Looks at a source before anything is made.
    fn inspect(&self, source: &Source, expected: &Expectations) -> Result<SourceFacts, SourceError>;
    /// A project's mirror, made if it is not there.
    fn mirror(&self, layout: &Layout, project: &ProjectName) -> Result<Box<dyn GitMirror>, MirrorError>;
    /// Whether a branch could be handed to the source now. `delivered` is where an earlier task left it there.
    fn check_delivery(
        &self,
        source: &Source,
        branch: &BranchName,
        delivered: Option<&CommitId>,
    ) -> Result<(), DeliverError>;
    /// Whether an issue's worktree was once made whole.
    fn is_prepared(&self, paths: &IssuePaths) -> io::Result<bool>;
    /// The commit that an issue's worktree was made from; none where it is not whole.
    fn prepared_from(&self, paths: &IssuePaths) -> io::Result<Option<CommitId>>;
    /// Whether there is anything of an issue's worktree.
    fn has_tree(&self, paths: &IssuePaths) -> bool;
    /// What the worktree's HEAD says.
    fn worktree_head(&self, paths: &IssuePaths) -> Result<WorktreeHead, HeadError>;
    /// Waits until the disk has what was prepared, so that it outlives a power cut.
    fn settle(&self, workspaces: &[IssuePaths]) -> Result<(), SettleError>;
    /// Takes the worktree away so that it is made anew; HOME and control directory stay.
    fn reset_worktree(&self, paths: &IssuePaths) -> Result<(), RemoveError>;
}

/// What a worktree is made of.
#[derive(Debug, Clone, Copy)]
pub struct Preparation<'a> {
    /// The issue's folders.
    pub paths: &'a IssuePaths,
    /// The commit to start from.
    pub base: &'a CommitId,
    /// Whose files with settings for CLIs stand in it, when `base` is a stranger's.
    pub settings_from: Option<&'a CommitId>,
    /// Where git will run.
    pub view: GitView,
    /// Who owns the tree.
    pub owner: Option<Owner>,
}

/// Commits to be taken through the quarantine.
#[derive(Debug, Clone, Copy)]
pub struct Intake<'a> {
    /// The issue's folders.
    pub paths: &'a IssuePaths,
    /// The commit the issue's work started from.
    pub base: &'a CommitId,
    /// The source's branch that work is based on.
    pub base_branch: &'a BranchName,
    /// The agent's last commit.
    pub head: &'a CommitId,
    /// The branch to move.
    pub branch: &'a BranchName,
    /// Where it must be now; none if it must not exist.
    pub expected_old: Option<&'a CommitId>,
    /// Limits.
    pub policy: &'a ImportPolicy<'a>,
}

/// A branch to be handed over.
#[derive(Debug, Clone, Copy)]
pub struct Handover<'a> {
    /// Where to.
    pub target: &'a Source,
    /// Which branch to make or move there.
    pub branch: &'a BranchName,
    /// The commit it shall stand on.
    pub head: &'a CommitId,
    /// Where it must be there now; none if it must not exist.
    pub expected_old: Option<&'a CommitId>,
}

/// One project's mirror.
pub trait GitMirror: Send + Sync {
    /// Where it is.
    fn path(&self) -> PathBuf;
    /// Brings it up to date with the source.
    fn fetch(
        &self,
        source: &Source,
        base: &BranchName,
        credential: Option<&Credential>,
    ) -> Result<(), MirrorError>;
    /// The commit that the source's branch stood on at the last fetch.
    fn base(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError>;
    /// Whether the last fetch found the source's branch on this commit already.
    fn follows(&self, base: &BranchName, tip: &CommitId) -> Result<bool, MirrorError>;
    /// The commit that a branch made by an import stands on.
    fn branch(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError>;
    /// The commit that our last push left the branch on at the source.
    fn pushed(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError>;
    /// Notes of a branch what the mirror of another host knew.
    fn take_up(
        &self,
        branch: &BranchName,
        imported: &CommitId,
        pushed: Option<&CommitId>,
    ) -> Result<(), MirrorError>;
    /// Whether a commit is in it.
    fn has(&self, commit: &CommitId) -> Result<bool, MirrorError>;
    /// Whether the base holds anything that the head lacks.
    fn is_behind(&self, head: &CommitId, base: &CommitId) -> Result<bool, RebaseError>;
    /// Puts the commits of `old_base..head` onto `new_base`, in memory.
    fn rebase(
        &self,
        old_base: &CommitId,
        head: &CommitId,
        new_base: &CommitId,
    ) -> Result<Rebased, RebaseError>;
    /// The files in which both do not go together.
    fn conflicts_with(&self, head: &CommitId, base: &CommitId) -> Result<Vec<String>, RebaseError>;
    /// Moves a branch that an import made, if it is where it is expected.
    fn move_branch(
        &self,
        branch: &BranchName,
        to: &CommitId,
        expected: Option<&CommitId>,
    ) -> Result<(), MoveError>;
    /// Makes an issue's worktree ready.
    fn prepare(&self, request: &Preparation<'_>) -> Result<Prepared, PrepareError>;
    /// Brings an agent's commits in.
    fn import(&self, request: &Intake<'_>) -> Result<ImportOutcome, ImportError>;
    /// Hands a branch to a repository on this machine.
    fn deliver(&self, request: &Handover<'_>) -> Result<Delivery, DeliverError>;
    /// Pushes a branch to a forge.
    fn push(&self, request: &Handover<'_>, credential: Option<&Credential>)
    -> Result<PushOutcome, PushError>;
    /// Removes an issue's workspace. Its branch stays.
    fn remove(&self, paths: &IssuePaths) -> Result<(), RemoveError>;
    /// What changed between two commits.
    fn changed_files(&self, base: &CommitId, head: &CommitId) -> Result<Vec<ChangedFile>, DiffError>;
    /// The patch between two commits.
    fn diff(&self, base: &CommitId, head: &CommitId) -> Result<Vec<u8>, DiffError>;
    /// The plain files of a folder at a commit.
    fn folder_files(
        &self,
        commit: &CommitId,
        folder: &str,
        max_bytes: u64,
    ) -> Result<Vec<FolderFile>, FolderError>;
}

/// Git as it is installed on this host.
#[derive(Debug, Clone, Copy)]
pub struct HostGit;

impl Git for HostGit {
    fn inspect(&self, source: &Source, expected: &Expectations) -> Result<SourceFacts, SourceError> {
        cloud_code_workspace::inspect(source, expected)
    }

    fn mirror(&self, layout: &Layout, project: &ProjectName) -> Result<Box<dyn GitMirror>, MirrorError> {
        Ok(Box::new(Mirror::ensure(layout, project)?))
    }

    fn check_delivery(
        &self,
        source: &Source,
        branch: &BranchName,
        delivered: Option<&CommitId>,
    ) -> Result<(), DeliverError> {
        cloud_code_workspace::check_delivery(source, branch, delivered)
    }

    fn is_prepared(&self, paths: &IssuePaths) -> io::Result<bool> {
        paths.is_prepared()
    }

    fn prepared_from(&self, paths: &IssuePaths) -> io::Result<Option<CommitId>> {
        paths.prepared_from()
    }

    fn has_tree(&self, paths: &IssuePaths) -> bool {
        paths.tree.exists()
    }

    fn worktree_head(&self, paths: &IssuePaths) -> Result<WorktreeHead, HeadError> {
        cloud_code_workspace::worktree_head(paths)
    }

    fn settle(&self, workspaces: &[IssuePaths]) -> Result<(), SettleError> {
        cloud_code_workspace::settle(workspaces)
    }

    fn reset_worktree(&self, paths: &IssuePaths) -> Result<(), RemoveError> {
        cloud_code_workspace::reset_worktree(paths)
    }
}

impl GitMirror for Mirror {
    fn path(&self) -> PathBuf {
        self.path().to_owned()
    }

    fn fetch(
        &self,
        source: &Source,
        base: &BranchName,
        credential: Option<&Credential>,
    ) -> Result<(), MirrorError> {
        self.fetch(source, base, credential)
    }

    fn base(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError> {
        self.base(branch)
    }

    fn follows(&self, base: &BranchName, tip: &CommitId) -> Result<bool, MirrorError> {
        self.follows(base, tip)
    }

    fn branch(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError> {
        self.branch(branch)
    }

    fn pushed(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError> {
        self.pushed(branch)
    }

    fn take_up(
        &self,
        branch: &BranchName,
        imported: &CommitId,
        pushed: Option<&CommitId>,
    ) -> Result<(), MirrorError> {
        self.take_up(branch, imported, pushed)
    }

    fn has(&self, commit: &CommitId) -> Result<bool, MirrorError> {
        self.has(commit)
    }

    fn is_behind(&self, head: &CommitId, base: &CommitId) -> Result<bool, RebaseError> {
        cloud_code_workspace::is_behind(self, head, base)
    }

    fn rebase(
        &self,
        old_base: &CommitId,
        head: &CommitId,
        new_base: &CommitId,
    ) -> Result<Rebased, RebaseError> {
        cloud_code_workspace::rebase(self, old_base, head, new_base)
    }

    fn conflicts_with(&self, head: &CommitId, base: &CommitId) -> Result<Vec<String>, RebaseError> {
        cloud_code_workspace::conflicts_with(self, head, base)
    }

    fn move_branch(
        &self,
        branch: &BranchName,
        to: &CommitId,
        expected: Option<&CommitId>,
    ) -> Result<(), MoveError> {
        cloud_code_workspace::move_branch(self, branch, to, expected)
    }

    fn prepare(&self, request: &Preparation<'_>) -> Result<Prepared, PrepareError> {
        let Preparation { paths, base, settings_from, view, owner } = *request;
        let mirror = self;
        cloud_code_workspace::prepare(&PrepareRequest { mirror, paths, base, settings_from, view, owner })
    }

    fn import(&self, request: &Intake<'_>) -> Result<ImportOutcome, ImportError> {
        let Intake { paths, base, base_branch, head, branch, expected_old, policy } = *request;
        let mirror = self;
        cloud_code_workspace::import(&ImportRequest {
            mirror,
            paths,
            base,
            base_branch,
            head,
            branch,
            expected_old,
            policy,
        })
    }

    fn deliver(&self, request: &Handover<'_>) -> Result<Delivery, DeliverError> {
        let Handover { target, branch, head, expected_old } = *request;
        cloud_code_workspace::deliver(&DeliverRequest { mirror: self, target, branch, head, expected_old })
    }

    fn push(
        &self,
        request: &Handover<'_>,
        credential: Option<&Credential>,
    ) -> Result<PushOutcome, PushError> {
        let Handover { target, branch, head, expected_old } = *request;
        let mirror = self;
        cloud_code_workspace::push(&PushRequest { mirror, target, credential, branch, head, expected_old })
    }

    fn remove(&self, paths: &IssuePaths) -> Result<(), RemoveError> {
        cloud_code_workspace::remove(self, paths)
    }

    fn changed_files(&self, base: &CommitId, head: &CommitId) -> Result<Vec<ChangedFile>, DiffError> {
        cloud_code_workspace::changed_files(self, base, head)
    }

    fn diff(&self, base: &CommitId, head: &CommitId) -> Result<Vec<u8>, DiffError> {
        cloud_code_workspace::diff(self, base, head)
    }

    fn folder_files(
        &self,
        commit: &CommitId,
        folder: &str,
        max_bytes: u64,
    ) -> Result<Vec<FolderFile>, FolderError> {
        cloud_code_workspace::folder_files(self, commit, folder, max_bytes)
    }
}
