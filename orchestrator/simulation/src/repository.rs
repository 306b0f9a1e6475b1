//! Git without files: commits are ids with parents and the names of the files they change. Two lines of work conflict
//! where both changed one file. A mirror, the forge's branches, worktrees and their quarantine are maps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;

use cloud_code_engine::{Git, GitMirror, Handover, Intake, Preparation};
use cloud_code_model::{ProjectName, fnv1a};
use cloud_code_task_schema::BranchName;
use cloud_code_workspace::{
    ChangedFile, CommitId, Credential, DeliverError, Delivery, DiffError, Expectations, FolderError,
    FolderFile, HeadError, History, ImportError, ImportOutcome, Imported, IssuePaths, Layout, Lines,
    MirrorError, MoveError, PrepareError, Prepared, PushError, PushOutcome, RebaseError, Rebased,
    RemoteError, RemoveError, SettleError, Source, SourceError, SourceFacts, Worktree, WorktreeHead,
};

use crate::world::{Fault, State, World};

/// A commit.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) parents: Vec<CommitId>,
    pub(crate) files: BTreeSet<String>,
}

/// A worktree.
#[derive(Debug, Clone)]
struct Tree {
    from: CommitId,
    head: CommitId,
}

/// Everything that git knows, here and at the forge.
#[derive(Debug, Default)]
pub(crate) struct Repositories {
    pub(crate) commits: BTreeMap<CommitId, Commit>,
    /// The forge's branches.
    pub(crate) branches: BTreeMap<String, CommitId>,
    /// The mirror: the source's branches at the last fetch, those of imports, and where pushes left them.
    origin: BTreeMap<String, CommitId>,
    imported: BTreeMap<String, CommitId>,
    pushed: BTreeMap<String, CommitId>,
    has: BTreeSet<CommitId>,
    trees: BTreeMap<PathBuf, Tree>,
    /// Every branch that was ever made at the forge by us.
    pub(crate) made_by_us: BTreeSet<String>,
}

impl Repositories {
    /// A repository with one commit on `main`.
    pub(crate) fn new() -> Self {
        let mut all = Self::default();
        let first = all.commit(&[], "README", 0);
        all.branches.insert("main".to_owned(), first);
        all
    }

    /// Makes a commit, the same for the same words.
    pub(crate) fn commit(&mut self, parents: &[CommitId], file: &str, salt: u64) -> CommitId {
        self.commit_of(parents, BTreeSet::from([file.to_owned()]), salt)
    }

    fn commit_of(&mut self, parents: &[CommitId], files: BTreeSet<String>, salt: u64) -> CommitId {
        let words = format!("{parents:?} {files:?} {salt}");
        let (one, two) = (fnv1a(words.as_bytes()), fnv1a(format!("{words}.").as_bytes()));
        let text = format!("{one:016x}{two:016x}{:08x}", (one ^ two) >> 32);
        let Ok(id) = text.parse::<CommitId>() else { unreachable!("40 hexadecimal digits") };
        self.commits.insert(id.clone(), Commit { parents: parents.to_vec(), files });
        id
    }

    /// A commit of somebody else on a branch of the forge.
    pub(crate) fn push_by_others(&mut self, branch: &str, file: &str, salt: u64) -> Option<CommitId> {
        let tip = self.branches.get(branch)?.clone();
        let new = self.commit(&[tip], file, salt);
        self.branches.insert(branch.to_owned(), new.clone());
        Some(new)
    }

    /// A commit of an agent in its worktree.
    pub(crate) fn work(&mut self, root: &std::path::Path, file: &str, salt: u64) -> Option<CommitId> {
        let head = self.trees.get(root)?.head.clone();
        let new = self.commit(&[head], file, salt);
        self.trees.get_mut(root)?.head = new.clone();
        Some(new)
    }

    /// Where a worktree stands.
    pub(crate) fn head(&self, root: &std::path::Path) -> Option<String> {
        self.trees.get(root).map(|tree| tree.head.to_string())
    }

    /// The roots of the issues that have a worktree.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.trees.keys()
    }

    fn ancestors(&self, head: &CommitId) -> BTreeSet<CommitId> {
        let mut all = BTreeSet::new();
        let mut left = vec![head.clone()];
        while let Some(id) = left.pop() {
            if let Some(commit) = self.commits.get(&id)
                && all.insert(id)
            {
                left.extend(commit.parents.iter().cloned());
            }
        }
        all
    }

    pub(crate) fn holds(&self, head: &CommitId, ancestor: &CommitId) -> bool {
        self.ancestors(head).contains(ancestor)
    }

    /// The commits of `from..to`, oldest first.
    fn between(&self, from: &CommitId, to: &CommitId) -> Vec<CommitId> {
        let known = self.ancestors(from);
        let mut found: Vec<CommitId> = Vec::new();
        let mut left = vec![to.clone()];
        while let Some(id) = left.pop() {
            if !known.contains(&id)
                && !found.contains(&id)
                && let Some(commit) = self.commits.get(&id)
            {
                left.extend(commit.parents.iter().cloned());
                found.push(id);
            }
        }
        found.reverse();
        found
    }

    fn files_between(&self, from: &CommitId, to: &CommitId) -> BTreeSet<String> {
        let commits = self.between(from, to);
        commits.iter().filter_map(|id| self.commits.get(id)).flat_map(|commit| commit.files.clone()).collect()
    }

    fn conflicts(&self, one: &CommitId, other: &CommitId) -> Vec<String> {
        let (ours, theirs) = (self.files_between(other, one), self.files_between(one, other));
        ours.intersection(&theirs).cloned().collect()
    }

    fn put_on(&mut self, old: &CommitId, head: &CommitId, onto: &CommitId) -> Result<Rebased, RebaseError> {
        if self.holds(head, onto) {
            return Ok(Rebased::UpToDate);
        }
        if !self.holds(head, old) {
            return Err(RebaseError::NotDescended { head: head.clone(), base: old.clone() });
        }
        let commits = self.between(old, head);
        if let Some(merge) =
            commits.iter().find(|id| self.commits.get(id).is_some_and(|c| c.parents.len() > 1))
        {
            return Err(RebaseError::HoldsMerge { commit: merge.clone() });
        }
        let paths = self.conflicts(head, onto);
        if !paths.is_empty() {
            return Ok(Rebased::Conflict { paths });
        }
        let mut tip = onto.clone();
        for id in commits {
            let files = self.commits.get(&id).map(|commit| commit.files.clone()).unwrap_or_default();
            tip = self.commit_of(&[tip], files, fnv1a(id.as_str().as_bytes()));
        }
        self.has.extend(self.ancestors(&tip));
        Ok(Rebased::Clean { head: tip })
    }
}

/// Git of a world.
#[derive(Clone)]
pub(crate) struct SimGit(pub(crate) World);

impl fmt::Debug for SimGit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimGit")
    }
}

fn full() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::StorageFull)
}

fn mirror_error(_: Fault, _: &State) -> MirrorError {
    MirrorError::Io { path: PathBuf::from("/mirror"), source: full() }
}

fn unreachable_remote() -> RemoteError {
    let source = cloud_code_workspace_git_error();
    RemoteError::Unreachable { target: "the forge".to_owned(), source }
}

fn cloud_code_workspace_git_error() -> cloud_code_workspace::GitError {
    cloud_code_workspace::GitError::TimedOut { step: "fetch", limit: std::time::Duration::from_secs(120) }
}

fn remove_error(_: Fault, _: &State) -> RemoveError {
    RemoveError::Io { path: PathBuf::from("/workspace"), source: full() }
}

const LOCAL: &[Fault] = &[Fault::CrashBefore, Fault::CrashAfter, Fault::Full];
const READ: &[Fault] = &[Fault::CrashBefore];
const REMOTE: &[Fault] = &[Fault::CrashBefore, Fault::CrashAfter, Fault::Refuse, Fault::Lose];

impl Git for SimGit {
    fn inspect(&self, source: &Source, _: &Expectations) -> Result<SourceFacts, SourceError> {
        // Tasks of the command line are not played.
        Err(SourceError::NotARepository { path: PathBuf::from(source.to_string()) })
    }

    fn mirror(&self, _: &Layout, _: &ProjectName) -> Result<Box<dyn GitMirror>, MirrorError> {
        Ok(Box::new(self.clone()))
    }

    fn check_delivery(&self, _: &Source, _: &BranchName, _: Option<&CommitId>) -> Result<(), DeliverError> {
        Ok(())
    }

    fn is_prepared(&self, paths: &IssuePaths) -> io::Result<bool> {
        Ok(self.has_tree(paths))
    }

    fn prepared_from(&self, paths: &IssuePaths) -> io::Result<Option<CommitId>> {
        Ok(self.0.state().repositories.trees.get(&paths.root).map(|tree| tree.from.clone()))
    }

    fn has_tree(&self, paths: &IssuePaths) -> bool {
        self.0.state().repositories.trees.contains_key(&paths.root)
    }

    fn worktree_head(&self, paths: &IssuePaths) -> Result<WorktreeHead, HeadError> {
        let missing = || HeadError::Garbage { path: paths.admin.clone() };
        let state = self.0.state();
        let tree = state.repositories.trees.get(&paths.root).ok_or_else(missing)?;
        Ok(WorktreeHead::Commit(tree.head.clone()))
    }

    /// Power is not cut here.
    fn settle(&self, _: &[IssuePaths]) -> Result<(), SettleError> {
        Ok(())
    }

    fn reset_worktree(&self, paths: &IssuePaths) -> Result<(), RemoveError> {
        self.0.call_blocking("git.reset_worktree", LOCAL, remove_error, |state| {
            state.repositories.trees.remove(&paths.root);
            Ok(())
        })
    }
}

impl GitMirror for SimGit {
    fn path(&self) -> PathBuf {
        PathBuf::from("/mirror")
    }

    fn fetch(&self, source: &Source, _: &BranchName, _: Option<&Credential>) -> Result<(), MirrorError> {
        let name = source.to_string();
        let error = |fault, state: &State| match fault {
            Fault::Full => mirror_error(fault, state),
            _ => MirrorError::Fetch { source_name: name.clone(), source: unreachable_remote() },
        };
        self.0.call_blocking("git.fetch", REMOTE, error, |state| {
            let all = &mut state.repositories;
            all.origin = all.branches.clone();
            let tips: Vec<CommitId> = all.origin.values().cloned().collect();
            for tip in tips {
                let reached = all.ancestors(&tip);
                all.has.extend(reached);
            }
            Ok(())
        })
    }

    fn base(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError> {
        self.0.call_blocking("git.base", READ, mirror_error, |state| {
            Ok(state.repositories.origin.get(branch.as_str()).cloned())
        })
    }

    fn follows(&self, base: &BranchName, tip: &CommitId) -> Result<bool, MirrorError> {
        Ok(self.base(base)?.as_ref() == Some(tip))
    }

    fn branch(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError> {
        self.0.call_blocking("git.branch", READ, mirror_error, |state| {
            Ok(state.repositories.imported.get(branch.as_str()).cloned())
        })
    }

    fn pushed(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError> {
        self.0.call_blocking("git.pushed", READ, mirror_error, |state| {
            Ok(state.repositories.pushed.get(branch.as_str()).cloned())
        })
    }

    fn take_up(
        &self,
        branch: &BranchName,
        imported: &CommitId,
        pushed: Option<&CommitId>,
    ) -> Result<(), MirrorError> {
        self.0.call_blocking("git.take_up", LOCAL, mirror_error, |state| {
            let repositories = &mut state.repositories;
            repositories.imported.insert(branch.as_str().to_owned(), imported.clone());
            if let Some(pushed) = pushed {
                repositories.pushed.insert(branch.as_str().to_owned(), pushed.clone());
            }
            Ok(())
        })
    }

    fn has(&self, commit: &CommitId) -> Result<bool, MirrorError> {
        Ok(self.0.state().repositories.has.contains(commit))
    }

    fn is_behind(&self, head: &CommitId, base: &CommitId) -> Result<bool, RebaseError> {
        Ok(!self.0.state().repositories.holds(head, base))
    }

    fn rebase(&self, old: &CommitId, head: &CommitId, onto: &CommitId) -> Result<Rebased, RebaseError> {
        let error = |fault, state: &State| RebaseError::Mirror(mirror_error(fault, state));
        self.0.call_blocking("git.rebase", LOCAL, error, |state| state.repositories.put_on(old, head, onto))
    }

    fn conflicts_with(&self, head: &CommitId, base: &CommitId) -> Result<Vec<String>, RebaseError> {
        Ok(self.0.state().repositories.conflicts(head, base))
    }

    fn move_branch(
        &self,
        branch: &BranchName,
        to: &CommitId,
        expected: Option<&CommitId>,
    ) -> Result<(), MoveError> {
        let error = |fault, state: &State| MoveError::Mirror(mirror_error(fault, state));
        self.0.call_blocking("git.move_branch", LOCAL, error, |state| {
            let all = &mut state.repositories;
            let actual = all.imported.get(branch.as_str()).cloned();
            if actual.as_ref() != Some(to) && actual.as_ref() != expected {
                return Err(MoveError::Moved { branch: branch.clone(), actual });
            }
            all.imported.insert(branch.to_string(), to.clone());
            Ok(())
        })
    }

    fn prepare(&self, request: &Preparation<'_>) -> Result<Prepared, PrepareError> {
        let error = |fault, state: &State| PrepareError::Mirror(mirror_error(fault, state));
        self.0.call_blocking("git.prepare", LOCAL, error, |state| {
            let all = &mut state.repositories;
            if !all.has.contains(request.base) {
                return Err(PrepareError::NoSuchBase { base: request.base.clone() });
            }
            let worktree = match all.trees.get(&request.paths.root) {
                Some(tree) if tree.from != *request.base => {
                    return Err(PrepareError::OtherBase {
                        path: request.paths.root.clone(),
                        prepared: tree.from.to_string(),
                        asked: request.base.clone(),
                    });
                }
                Some(_) => Worktree::Kept,
                None => {
                    let tree = Tree { from: request.base.clone(), head: request.base.clone() };
                    all.trees.insert(request.paths.root.clone(), tree);
                    Worktree::Made
                }
            };
            Ok(Prepared { mounts: Vec::new(), env: Vec::new(), worktree, overlaid: Vec::new() })
        })
    }

    fn import(&self, request: &Intake<'_>) -> Result<ImportOutcome, ImportError> {
        let error = |fault, state: &State| ImportError::Mirror(mirror_error(fault, state));
        self.0.call_blocking("git.import", LOCAL, error, |state| {
            let all = &mut state.repositories;
            if request.head == request.base {
                return Ok(ImportOutcome::NothingNew);
            }
            let imported = Imported {
                head: request.head.clone(),
                commits: Vec::new(),
                files: Vec::new(),
                lines: Lines::default(),
                history: History::Continued,
            };
            let current = all.imported.get(request.branch.as_str()).cloned();
            if current.as_ref() == Some(request.head) {
                return Ok(ImportOutcome::AlreadyImported(imported));
            }
            let branch = request.branch.clone();
            match (request.expected_old, current) {
                (None, None) => {}
                (None, Some(found)) => return Err(ImportError::BranchExists { branch, found }),
                (Some(expected), Some(found)) if *expected == found => {}
                (Some(expected), found) => {
                    return Err(ImportError::BranchMoved { branch, expected: expected.clone(), found });
                }
            }
            if !all.holds(request.head, request.base) {
                let (head, base) = (request.head.clone(), request.base.clone());
                return Err(ImportError::NotDescended { head, base });
            }
            let at_source: BTreeSet<CommitId> = [request.base_branch, request.branch]
                .iter()
                .filter_map(|branch| all.origin.get(branch.as_str()))
                .flat_map(|tip| all.ancestors(tip))
                .chain(all.ancestors(request.base))
                .collect();
            if at_source.contains(request.head) {
                return Ok(ImportOutcome::NothingNew);
            }
            let reached = all.ancestors(request.head);
            all.has.extend(reached);
            all.imported.insert(request.branch.to_string(), request.head.clone());
            Ok(ImportOutcome::Imported(imported))
        })
    }

    fn deliver(&self, _: &Handover<'_>) -> Result<Delivery, DeliverError> {
        Ok(Delivery::AlreadyThere)
    }

    fn push(&self, request: &Handover<'_>, _: Option<&Credential>) -> Result<PushOutcome, PushError> {
        let error = |_, _: &State| PushError::Remote(unreachable_remote());
        self.0.call_blocking("git.push", REMOTE, error, |state| {
            let all = &mut state.repositories;
            let name = request.branch.to_string();
            let found = all.branches.get(&name).cloned();
            let is_there = found.as_ref() == Some(request.head);
            if !is_there && found.as_ref() != request.expected_old {
                let (branch, target) = (request.branch.clone(), request.target.to_string());
                return Err(PushError::Moved { branch, target, actual: found });
            }
            all.branches.insert(name.clone(), request.head.clone());
            all.made_by_us.insert(name.clone());
            all.pushed.insert(name.clone(), request.head.clone());
            // As after a fetch: git notes where its push left a branch of the remote.
            let head = request.head.clone();
            state.note(|| format!("pushed {name} {:.8}", head.as_str()));
            Ok(if is_there { PushOutcome::AlreadyThere } else { PushOutcome::Pushed })
        })
    }

    fn remove(&self, paths: &IssuePaths) -> Result<(), RemoveError> {
        self.0.call_blocking("git.remove", LOCAL, remove_error, |state| {
            state.repositories.trees.remove(&paths.root);
            let root = &paths.root;
            match std::fs::remove_dir_all(root) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(RemoveError::Io { path: root.clone(), source })
                }
                _ => Ok(()),
            }
        })
    }

    fn changed_files(&self, base: &CommitId, head: &CommitId) -> Result<Vec<ChangedFile>, DiffError> {
        let files = self.0.state().repositories.files_between(base, head);
        let change = cloud_code_task_schema::ChangeKind::Modified;
        let of = |path| ChangedFile { path, renamed_from: None, change, lines: None };
        Ok(files.into_iter().map(of).collect())
    }

    fn diff(&self, _: &CommitId, _: &CommitId) -> Result<Vec<u8>, DiffError> {
        Ok(Vec::new())
    }

    fn folder_files(&self, _: &CommitId, _: &str, _: u64) -> Result<Vec<FolderFile>, FolderError> {
        Ok(Vec::new())
    }
}
