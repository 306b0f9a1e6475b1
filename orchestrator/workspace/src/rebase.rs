//! Moves an issue's commits onto another base, in memory: no worktree, no hooks, no merge driver and no attribute that
//! a commit brings. Whatever conflicts is left to an agent.
//!
//! libgit2 merges the trees; the commits are written by hand, byte for byte as they were but for tree, parent and
//! signature. What comes out enters the mirror as one pack with a strict index, or nothing does.

use std::collections::HashSet;
use std::io;

use cloud_code_task_schema::BranchName;
use git2::{Commit, Delta, Index, MergeOptions, ObjectType, Oid, Repository, Sort, Tree};

use crate::ident::{CommitId, head_ref};
use crate::mirror::{self, Mirror, MirrorError, imported_ref};
use crate::program::{Git, GitError};

/// Most commits that are rebased: as many as an import lets in.
const MAX_COMMITS: usize = 1000;
/// Largest file that is merged line by line, in bytes. Comparing lines costs far more than the file's size when all
/// lines differ; source files stay below 1 MiB.
const MAX_MERGED_BYTES: usize = 8 << 20;
/// Most conflicting paths that are named.
const MAX_PATHS: usize = 1000;

/// How a rebase ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebased {
    /// The head holds the new base already.
    UpToDate,
    /// The commits stand on the new base. They are in the mirror; no ref has moved.
    Clean {
        /// The last of them; the new base itself if it holds all their changes.
        head: CommitId,
    },
    /// A commit does not apply.
    Conflict {
        /// The files of the first commit that does not.
        paths: Vec<String>,
    },
}

/// Why commits could not be rebased or compared. The mirror is as before.
#[derive(Debug, thiserror::Error)]
pub enum RebaseError {
    /// The head does not continue the base it is said to stand on.
    #[error("the commit {head} does not descend from {base}")]
    NotDescended {
        /// The head.
        head: CommitId,
        /// The base.
        base: CommitId,
    },
    /// A merge: what it resolved would be lost, so it needs a hand that knows.
    #[error("the commit {commit} is a merge, which a rebase would drop; merge the base branch instead")]
    HoldsMerge {
        /// The merge.
        commit: CommitId,
    },
    /// More than is worth it.
    #[error("more than {cap} commits would have to be rebased")]
    TooManyCommits {
        /// The cap.
        cap: usize,
    },
    /// Both sides changed a file that is too large to merge.
    #[error("`{path}` is larger than {cap} bytes, which is too large to merge")]
    TooLarge {
        /// The file.
        path: String,
        /// The cap.
        cap: usize,
    },
    /// A commit or its files cannot be read or merged.
    #[error("cannot read or merge the commits of {head}")]
    Objects {
        /// The head.
        head: CommitId,
        /// git2's reason.
        #[source]
        source: git2::Error,
    },
    /// The new commits did not enter the mirror.
    #[error("cannot store the rebased commits of {head}")]
    Store {
        /// The head.
        head: CommitId,
        /// git's reason.
        #[source]
        source: GitError,
    },
    /// The mirror failed.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

/// Puts the commits of `old_base..head` onto `new_base`. Authors, committers and messages stay; signatures cannot.
/// A commit whose change the new base holds already is dropped.
pub fn rebase(
    mirror: &Mirror,
    old_base: &CommitId,
    head: &CommitId,
    new_base: &CommitId,
) -> Result<Rebased, RebaseError> {
    let merge = Merge::open(mirror, head)?;
    let (old, onto) = (merge.oid(old_base)?, merge.oid(new_base)?);
    if merge.holds(merge.head, onto)? {
        return Ok(Rebased::UpToDate);
    }
    if !merge.holds(merge.head, old)? {
        return Err(RebaseError::NotDescended { head: head.clone(), base: old_base.clone() });
    }
    let mut tip = onto;
    let mut made = Vec::new();
    for oid in merge.commits(old)? {
        match merge.pick(oid, tip)? {
            Picked::Commit(new) => {
                tip = new;
                made.push(new);
            }
            Picked::Nothing => {}
            Picked::Conflict(paths) => return Ok(Rebased::Conflict { paths }),
        }
    }
    if !made.is_empty() {
        merge.store(mirror, &made)?;
    }
    Ok(Rebased::Clean { head: CommitId::from_oid(tip) })
}

/// Whether `base_tip` holds commits that `head` lacks.
pub fn is_behind(mirror: &Mirror, head: &CommitId, base_tip: &CommitId) -> Result<bool, RebaseError> {
    let merge = Merge::open(mirror, head)?;
    let tip = merge.oid(base_tip)?;
    Ok(!merge.holds(merge.head, tip)?)
}

/// The files that would conflict if `head` were merged with `base_tip`. Empty if the merge is clean.
pub fn conflicts_with(
    mirror: &Mirror,
    head: &CommitId,
    base_tip: &CommitId,
) -> Result<Vec<String>, RebaseError> {
    let merge = Merge::open(mirror, head)?;
    let tip = merge.oid(base_tip)?;
    let failed = merge.failed();
    let base = match merge.repository.merge_base(merge.head, tip) {
        Ok(base) => merge.tree(base)?,
        Err(error) if error.code() == git2::ErrorCode::NotFound => {
            let empty = merge.repository.treebuilder(None).and_then(|tree| tree.write()).map_err(&failed)?;
            merge.repository.find_tree(empty).map_err(&failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    let index = merge.trees(&base, &merge.tree(tip)?, &merge.tree(merge.head)?)?;
    merge.conflicts(&index)
}

enum Picked {
    Commit(Oid),
    Nothing,
    Conflict(Vec<String>),
}

/// A repository whose new objects stay in memory.
struct Merge {
    repository: Repository,
    head: Oid,
    name: CommitId,
}

impl Merge {
    fn open(mirror: &Mirror, head: &CommitId) -> Result<Self, RebaseError> {
        let failed = |source| RebaseError::Objects { head: head.clone(), source };
        let repository = mirror.open()?;
        // Writes go to the backend of the highest priority. It lives as long as the repository.
        repository.odb().and_then(|odb| odb.add_new_mempack_backend(999).map(drop)).map_err(failed)?;
        let oid = head.oid().map_err(failed)?;
        Ok(Self { repository, head: oid, name: head.clone() })
    }

    fn failed(&self) -> impl Fn(git2::Error) -> RebaseError + use<> {
        let head = self.name.clone();
        move |source| RebaseError::Objects { head: head.clone(), source }
    }

    fn oid(&self, id: &CommitId) -> Result<Oid, RebaseError> {
        let oid = id.oid().map_err(self.failed())?;
        self.repository.find_commit(oid).map_err(self.failed())?;
        Ok(oid)
    }

    fn tree(&self, commit: Oid) -> Result<Tree<'_>, RebaseError> {
        self.repository.find_commit(commit).and_then(|commit| commit.tree()).map_err(self.failed())
    }

    fn holds(&self, commit: Oid, ancestor: Oid) -> Result<bool, RebaseError> {
        let descends = || self.repository.graph_descendant_of(commit, ancestor);
        Ok(commit == ancestor || descends().map_err(self.failed())?)
    }

    /// The commits after `base`, oldest first.
    fn commits(&self, base: Oid) -> Result<Vec<Oid>, RebaseError> {
        let failed = self.failed();
        let mut walk = self.repository.revwalk().map_err(&failed)?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE).map_err(&failed)?;
        walk.push(self.head).map_err(&failed)?;
        walk.hide(base).map_err(&failed)?;
        let mut commits = Vec::new();
        for oid in walk {
            let oid = oid.map_err(&failed)?;
            if commits.len() == MAX_COMMITS {
                return Err(RebaseError::TooManyCommits { cap: MAX_COMMITS });
            }
            if self.repository.find_commit(oid).map_err(&failed)?.parent_count() > 1 {
                return Err(RebaseError::HoldsMerge { commit: CommitId::from_oid(oid) });
            }
            commits.push(oid);
        }
        Ok(commits)
    }

    fn pick(&self, oid: Oid, onto: Oid) -> Result<Picked, RebaseError> {
        let failed = self.failed();
        let commit = self.repository.find_commit(oid).map_err(&failed)?;
        let before = commit.parent(0).and_then(|parent| parent.tree()).map_err(&failed)?;
        let (after, ours) = (commit.tree().map_err(&failed)?, self.tree(onto)?);
        let mut index = self.trees(&before, &ours, &after)?;
        if index.has_conflicts() {
            return Ok(Picked::Conflict(self.conflicts(&index)?));
        }
        let tree = index.write_tree_to(&self.repository).map_err(&failed)?;
        if tree == ours.id() && before.id() != after.id() {
            return Ok(Picked::Nothing);
        }
        let raw = rewritten(&commit, tree, onto);
        let odb = self.repository.odb().map_err(&failed)?;
        Ok(Picked::Commit(odb.write(ObjectType::Commit, &raw).map_err(&failed)?))
    }

    fn trees(&self, base: &Tree<'_>, ours: &Tree<'_>, theirs: &Tree<'_>) -> Result<Index, RebaseError> {
        self.guard_sizes(base, ours, theirs)?;
        let mut options = MergeOptions::new();
        options.find_renames(true);
        self.repository.merge_trees(base, ours, theirs, Some(&options)).map_err(self.failed())
    }

    /// Looks at the sizes of the files that would be merged line by line, before they are.
    fn guard_sizes(&self, base: &Tree<'_>, ours: &Tree<'_>, theirs: &Tree<'_>) -> Result<(), RebaseError> {
        let failed = self.failed();
        let odb = self.repository.odb().map_err(&failed)?;
        let diff = self.repository.diff_tree_to_tree(Some(base), Some(theirs), None).map_err(&failed)?;
        for delta in diff.deltas().filter(|delta| delta.status() == Delta::Modified) {
            let Some(path) = delta.new_file().path() else { continue };
            let Ok(other) = ours.get_path(path) else { continue };
            let (old, new) = (delta.old_file(), delta.new_file());
            if other.id() == old.id() || other.id() == new.id() || !is_file(new.mode()) {
                continue;
            }
            for oid in [old.id(), new.id(), other.id()] {
                if odb.read_header(oid).map_err(&failed)?.0 > MAX_MERGED_BYTES {
                    let path = path.to_string_lossy().escape_debug().to_string();
                    return Err(RebaseError::TooLarge { path, cap: MAX_MERGED_BYTES });
                }
            }
        }
        Ok(())
    }

    fn conflicts(&self, index: &Index) -> Result<Vec<String>, RebaseError> {
        let mut paths = Vec::new();
        for conflict in index.conflicts().map_err(self.failed())?.take(MAX_PATHS) {
            let conflict = conflict.map_err(self.failed())?;
            let entry = conflict.our.or(conflict.their).or(conflict.ancestor);
            paths.extend(entry.map(|entry| String::from_utf8_lossy(&entry.path).into_owned()));
        }
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// Packs what the new commits brought and the mirror lacks, and lets git index it into the mirror.
    fn store(&self, mirror: &Mirror, commits: &[Oid]) -> Result<(), RebaseError> {
        let failed = self.failed();
        let on_disk = mirror.open()?;
        let known = on_disk.odb().map_err(&failed)?;
        let mut pack = self.repository.packbuilder().map_err(&failed)?;
        let mut seen = HashSet::new();
        for oid in commits {
            pack.insert_object(*oid, None).map_err(&failed)?;
            let mut trees = vec![self.tree(*oid)?.id()];
            while let Some(tree) = trees.pop() {
                if known.exists(tree) || !seen.insert(tree) {
                    continue;
                }
                pack.insert_object(tree, None).map_err(&failed)?;
                for entry in &self.repository.find_tree(tree).map_err(&failed)? {
                    match entry.kind() {
                        Some(ObjectType::Tree) => trees.push(entry.id()),
                        Some(ObjectType::Blob) if !known.exists(entry.id()) && seen.insert(entry.id()) => {
                            pack.insert_object(entry.id(), None).map_err(&failed)?;
                        }
                        _ => {}
                    }
                }
            }
        }
        let mut bytes = git2::Buf::new();
        pack.write_buf(&mut bytes).map_err(&failed)?;
        let _held = mirror.hold().map_err(MirrorError::from)?;
        let io = |source: io::Error| MirrorError::Io { path: mirror.objects(), source };
        mirror::sweep(mirror.path()).map_err(io)?;
        Git::neutral("index-pack", mirror.path())
            .args(["--stdin", "--strict"])
            .input(bytes.to_vec())
            .run()
            .map_err(|source| RebaseError::Store { head: self.name.clone(), source })?;
        Ok(())
    }
}

fn is_file(mode: git2::FileMode) -> bool {
    matches!(mode, git2::FileMode::Blob | git2::FileMode::BlobExecutable | git2::FileMode::BlobGroupWritable)
}

/// The commit object with another tree and parent. Its signature, if any, no longer fits and goes.
fn rewritten(commit: &Commit<'_>, tree: Oid, parent: Oid) -> Vec<u8> {
    let mut raw = format!("tree {tree}\nparent {parent}\n").into_bytes();
    for line in commit.raw_header_bytes().split(|byte| *byte == b'\n') {
        if [&b"author "[..], b"committer ", b"encoding "].iter().any(|name| line.starts_with(name)) {
            raw.extend_from_slice(line);
            raw.push(b'\n');
        }
    }
    raw.push(b'\n');
    raw.extend_from_slice(commit.message_raw_bytes());
    raw
}

/// Why a branch of the mirror did not move.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The branch is not where the caller saw it.
    #[error("the branch `{branch}` has moved: found {}", actual.as_ref().map_or("no such branch", CommitId::as_str))]
    Moved {
        /// The branch.
        branch: BranchName,
        /// Where it is, if it exists.
        actual: Option<CommitId>,
    },
    /// The commit is not in the mirror.
    #[error("the commit {head} is not in the mirror")]
    NoSuchCommit {
        /// The commit.
        head: CommitId,
    },
    /// The ref could not be written.
    #[error("cannot move the branch `{branch}`")]
    Ref {
        /// The branch.
        branch: BranchName,
        /// git's reason.
        #[source]
        source: GitError,
    },
    /// The mirror failed.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

/// Moves an issue's branch in the mirror, if it is where it is expected (none: if it does not exist). A branch that is
/// there already is success.
pub fn move_branch(
    mirror: &Mirror,
    branch: &BranchName,
    head: &CommitId,
    expected_old: Option<&CommitId>,
) -> Result<(), MoveError> {
    let _held = mirror.hold().map_err(MirrorError::from)?;
    if !mirror.has(head)? {
        return Err(MoveError::NoSuchCommit { head: head.clone() });
    }
    let actual = mirror.branch(branch)?;
    if actual.as_ref() == Some(head) {
        return Ok(());
    }
    if actual.as_ref() != expected_old {
        return Err(MoveError::Moved { branch: branch.clone(), actual });
    }
    mirror::sweep(mirror.path())
        .map_err(|source| MirrorError::Io { path: mirror.path().to_owned(), source })?;
    let absent = "0".repeat(40);
    let old = expected_old.map_or(absent.as_str(), CommitId::as_str);
    let script =
        format!("update {} {head} {old}\nupdate {} {head}\n", head_ref(branch), imported_ref(branch));
    let moved = Git::neutral("update-ref", mirror.path()).args(["--stdin"]).input(script).run();
    moved.map_err(|source| MoveError::Ref { branch: branch.clone(), source })?;
    Ok(())
}
