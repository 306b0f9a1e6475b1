//! Brings an agent's commits into the mirror, as a forge takes a push: copied aside, checked, indexed strictly, and
//! only then seen by a ref.
//!
//! 1. The object files are copied out of the agent's reach; from here on nothing can change under the checks.
//! 2. Every new commit is checked against the policy. libgit2 verifies the hash of each commit and folder it reads.
//! 3. What the head reaches is packed anew and indexed with `--strict` into a second folder, which verifies every
//!    object's hash, form and links. Only this pack enters the mirror.
//! 4. The branch moves, if it still is where the caller saw it.
//!
//! Killed at any point, the mirror is as before or holds one more complete, checked pack; calling again ends it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use cloud_code_task_schema::BranchName;
use git2::{Oid, Repository};

use crate::diff::{self, ChangedFile, DiffError, Lines};
use crate::fsops;
use crate::ident::{CommitId, head_ref, origin_ref};
use crate::layout::IssuePaths;
use crate::leftovers;
use crate::lock::{Held, LOCK_WAIT, LockError};
use crate::mirror::{self, Mirror, MirrorError, imported_ref};
use crate::policy::{Check, CheckError, ImportPolicy, Refusal};
use crate::program::{Git, GitError};
use crate::quarantine::{self, Caps, QuarantineError};

/// What to bring in.
#[derive(Debug, Clone)]
pub struct ImportRequest<'a> {
    /// The project's mirror.
    pub mirror: &'a Mirror,
    /// The issue's folders.
    pub paths: &'a IssuePaths,
    /// The commit the issue's work started from.
    pub base: &'a CommitId,
    /// The source's branch that work is based on. What it says meanwhile about CI files may be merged in.
    pub base_branch: &'a BranchName,
    /// The agent's last commit, as reported or read from the worktree's HEAD.
    pub head: &'a CommitId,
    /// The branch to move.
    pub branch: &'a BranchName,
    /// Where the branch must be now; none if it must not exist.
    pub expected_old: Option<&'a CommitId>,
    /// Limits.
    pub policy: &'a ImportPolicy<'a>,
}

/// How an import ended when nothing was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The branch moved to the head.
    Imported(Imported),
    /// The branch was there already: an earlier call did it.
    AlreadyImported(Imported),
    /// The agent made no commit. The branch is as it was.
    NothingNew,
}

/// What the branch holds after an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Where the branch stands.
    pub head: CommitId,
    /// Commits that the base branch lacks, oldest first.
    pub commits: Vec<ImportedCommit>,
    /// Files that differ from the base. Empty if the commits undo each other: nothing to publish.
    pub files: Vec<ChangedFile>,
    /// Lines over all text files.
    pub lines: Lines,
    /// How the head relates to where the branch was.
    pub history: History,
}

/// How a branch's new head relates to its old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// The old commits are still part of it, or there were none.
    Continued,
    /// The agent amended or rebased: publishing needs a forced push.
    Rewritten,
}

/// A commit an agent made. Text in it is untrusted; control characters are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedCommit {
    /// Its id.
    pub id: CommitId,
    /// First line of its message, at most 200 characters.
    pub subject: String,
    /// Its author's name, as the commit claims.
    pub author_name: String,
    /// Its author's address, as the commit claims.
    pub author_email: String,
}

/// Why nothing was imported. In every case mirror and branch are as before.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The object folder holds what git never leaves there.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// A commit breaks the policy.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The head, or something it needs, is missing or broken.
    #[error("the commit {head} or an object it needs is missing or broken")]
    Objects {
        /// The head.
        head: CommitId,
        /// git2's reason.
        #[source]
        source: git2::Error,
    },
    /// The strict index refused the objects.
    #[error("the objects of {head} do not pass git's strict checks")]
    Strict {
        /// The head.
        head: CommitId,
        /// git's reason.
        #[source]
        source: GitError,
    },
    /// The head does not continue the base.
    #[error("the commit {head} does not descend from {base}, where the work began")]
    NotDescended {
        /// The head.
        head: CommitId,
        /// The base.
        base: CommitId,
    },
    /// There is a branch of that name which this issue did not make.
    #[error("the branch `{branch}` exists already, at {found}")]
    BranchExists {
        /// The branch.
        branch: BranchName,
        /// Where it is.
        found: CommitId,
    },
    /// The branch is not where the caller saw it.
    #[error("the branch `{branch}` has moved: expected {expected}, found {}", shown(found.as_ref()))]
    BranchMoved {
        /// The branch.
        branch: BranchName,
        /// Where it should be.
        expected: CommitId,
        /// Where it is, if it exists.
        found: Option<CommitId>,
    },
    /// The ref could not be written, such as `a/b` where a branch `a` exists.
    #[error("cannot move the branch `{branch}`")]
    Ref {
        /// The branch.
        branch: BranchName,
        /// git's reason.
        #[source]
        source: GitError,
    },
    /// Another process works on this issue or mirror.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The mirror failed.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The change could not be described.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// A folder of the host's own could not be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

fn shown(id: Option<&CommitId>) -> &str {
    id.map_or("no such branch", CommitId::as_str)
}

/// Most names looked at in a quarantine: a repack leaves few, a day of commits some ten thousand.
const MAX_ENTRIES: u64 = 500_000;
/// What git children may allocate above four times the largest file: a file, its base, their delta, and git itself.
const CHILD_MEMORY: u64 = 512 << 20;
/// Longest subject kept, in characters.
const MAX_SUBJECT: usize = 200;

/// Imports. The agent must have ended: what it writes while the copy runs may be missed.
pub fn import(request: &ImportRequest<'_>) -> Result<ImportOutcome, ImportError> {
    let _held = Held::take(&request.paths.lock, LOCK_WAIT)?;
    remove_stale(request.paths)?;
    if request.head == request.base {
        return Ok(ImportOutcome::NothingNew);
    }
    let import = Import { request, mirror: request.mirror.open()? };
    let current = import.current()?;
    if current.as_ref() == Some(request.head) {
        return Ok(ImportOutcome::AlreadyImported(import.describe(History::Continued)?));
    }
    import.expect_branch(current)?;
    let known = import.mirror.odb().map_err(|source| import.objects(source))?;
    let head = import.oid(request.head)?;
    if known.exists(head) {
        // An earlier call was killed after the pack came in, or the agent moved to a commit the source has.
        import.check_history(&import.mirror, &known)?;
        if import.new_commits()?.is_empty() {
            return Ok(ImportOutcome::NothingNew);
        }
        import.move_branch(None)?;
    } else {
        let stage = Stage::new(request.paths, request.mirror)?;
        import.receive(&stage)?;
        import.check(&stage, &known)?;
        let pack = import.repack(&stage, head)?;
        import.move_branch(Some(&pack))?;
    }
    Ok(ImportOutcome::Imported(import.describe(import.history()?)?))
}

struct Import<'a> {
    request: &'a ImportRequest<'a>,
    mirror: Repository,
}

impl Import<'_> {
    fn objects(&self, source: git2::Error) -> ImportError {
        ImportError::Objects { head: self.request.head.clone(), source }
    }

    fn refs(&self, source: git2::Error) -> ImportError {
        MirrorError::Refs { path: self.request.mirror.path().to_owned(), source }.into()
    }

    fn strict(&self, source: GitError) -> ImportError {
        ImportError::Strict { head: self.request.head.clone(), source }
    }

    fn oid(&self, id: &CommitId) -> Result<Oid, ImportError> {
        id.oid().map_err(|source| self.objects(source))
    }

    fn current(&self) -> Result<Option<CommitId>, ImportError> {
        let found = mirror::lookup(&self.mirror, &head_ref(self.request.branch));
        Ok(found.map_err(|source| self.refs(source))?.map(CommitId::from_oid))
    }

    fn expect_branch(&self, found: Option<CommitId>) -> Result<(), ImportError> {
        let branch = self.request.branch.clone();
        match (self.request.expected_old, found) {
            (None, None) => Ok(()),
            (None, Some(found)) => Err(ImportError::BranchExists { branch, found }),
            (Some(expected), Some(found)) if *expected == found => Ok(()),
            (Some(expected), found) => {
                Err(ImportError::BranchMoved { branch, expected: expected.clone(), found })
            }
        }
    }

    /// Copies the quarantine and indexes its packs, so that git2 can read them.
    fn receive(&self, stage: &Stage) -> Result<(), ImportError> {
        let policy = self.request.policy;
        if !quarantine::is_folder(&self.request.paths.objects) {
            return Err(QuarantineError::NotAFile { name: "objects".to_owned() }.into());
        }
        let caps = Caps { bytes: policy.max_total_bytes, entries: MAX_ENTRIES };
        let packs = quarantine::copy(&self.request.paths.objects, &stage.copied, caps)?;
        for name in fs::read_dir(&stage.copied).map_err(stage.io())? {
            let from = name.map_err(stage.io())?.path();
            if !from.ends_with("pack") {
                fs::rename(&from, stage.raw.join("objects").join(from.file_name().unwrap_or_default()))
                    .map_err(stage.io())?;
            }
        }
        for pack in packs {
            let file = File::open(&pack).map_err(stage.io())?;
            let run = self.index_pack(&stage.raw, file).run();
            run.map_err(|source| self.strict(source))?;
        }
        Ok(())
    }

    fn index_pack(&self, git_dir: &Path, pack: File) -> Git {
        let policy = self.request.policy;
        Git::neutral("index-pack", git_dir)
            .setting("pack.threads", "1")
            .setting("core.bigFileThreshold", "8m")
            .args(["--stdin"])
            .arg(format!("--max-input-size={}", policy.max_total_bytes))
            .pump(pack)
            .bounded(self.child_memory(), policy.max_total_bytes.saturating_mul(2))
    }

    fn child_memory(&self) -> u64 {
        CHILD_MEMORY.saturating_add(self.request.policy.max_file_bytes.saturating_mul(4))
    }

    fn check(&self, stage: &Stage, known: &git2::Odb<'_>) -> Result<(), ImportError> {
        let raw = Repository::open_bare(&stage.raw).map_err(|source| self.objects(source))?;
        self.check_history(&raw, known)
    }

    fn check_history(&self, repository: &Repository, known: &git2::Odb<'_>) -> Result<(), ImportError> {
        let request = self.request;
        let failed = |error| match error {
            CheckError::Refused(refusal) => ImportError::Refused(refusal),
            CheckError::Git(source) => self.objects(source),
        };
        let (head, base) = (self.oid(request.head)?, self.oid(request.base)?);
        let odb = repository.odb().map_err(|source| self.objects(source))?;
        let mut allowed = vec![base];
        allowed.extend(self.upstream()?);
        // What others pushed to the branch is theirs to answer for.
        allowed.extend(self.at_source(request.branch)?);
        let mut check = Check::new(repository, &odb, known, request.policy, allowed.clone());
        check.new_commits(head).map_err(failed)?;
        if !repository.graph_descendant_of(head, base).map_err(|source| self.objects(source))? {
            return Err(ImportError::NotDescended { head: request.head.clone(), base: request.base.clone() });
        }
        check.ci_untouched(head, &allowed).map_err(failed)
    }

    fn upstream(&self) -> Result<Option<Oid>, ImportError> {
        self.at_source(self.request.base_branch)
    }

    fn at_source(&self, branch: &BranchName) -> Result<Option<Oid>, ImportError> {
        mirror::lookup(&self.mirror, &origin_ref(branch)).map_err(|source| self.refs(source))
    }

    /// Packs what the head reaches and the mirror lacks, and indexes that pack strictly in a folder of its own.
    fn repack(&self, stage: &Stage, head: Oid) -> Result<PathBuf, ImportError> {
        let policy = self.request.policy;
        let path = stage.root.join("new.pack");
        let mut revisions = format!("{head}\n^{}\n", self.request.base);
        if let Some(upstream) = self.upstream()? {
            revisions.push_str(&format!("^{upstream}\n"));
        }
        Git::neutral("pack-objects", &stage.raw)
            .setting("pack.threads", "1")
            .setting("core.bigFileThreshold", "8m")
            .args(["--revs", "--local", "--stdout", "--quiet", "--delta-base-offset"])
            .input(revisions)
            .output(fsops::create_new(&path, 0o644).map_err(stage.io())?)
            .bounded(self.child_memory(), policy.max_total_bytes.saturating_mul(2))
            .run()
            .map_err(|source| self.strict(source))?;
        let pack = File::open(&path).map_err(stage.io())?;
        self.index_pack(&stage.clean, pack).args(["--strict"]).run().map_err(|source| self.strict(source))?;
        let clean = Repository::open_bare(&stage.clean).map_err(|source| self.objects(source))?;
        clean.find_commit(head).map_err(|source| self.objects(source))?;
        Ok(stage.clean.join("objects/pack"))
    }

    /// Moves a checked pack into the mirror, and then the branch, all under the mirror's lock.
    fn move_branch(&self, pack: Option<&Path>) -> Result<(), ImportError> {
        let request = self.request;
        let _held = request.mirror.hold()?;
        let into = request.mirror.objects().join("pack");
        let io = |source| ImportError::Io { path: into.clone(), source };
        self.expect_branch(self.current()?)?;
        mirror::sweep(request.mirror.path()).map_err(io)?;
        if let Some(from) = pack {
            migrate(from, &into).map_err(io)?;
        }
        let absent = "0".repeat(40);
        let old = request.expected_old.map_or(absent.as_str(), CommitId::as_str);
        let (branch, twin) = (head_ref(request.branch), imported_ref(request.branch));
        let script = format!("update {branch} {0} {old}\nupdate {twin} {0}\n", request.head);
        Git::neutral("update-ref", request.mirror.path())
            .args(["--stdin"])
            .input(script)
            .run()
            .map_err(|source| ImportError::Ref { branch: request.branch.clone(), source })?;
        Ok(())
    }

    fn history(&self) -> Result<History, ImportError> {
        let Some(old) = self.request.expected_old else { return Ok(History::Continued) };
        let (head, old) = (self.oid(self.request.head)?, self.oid(old)?);
        let continued = self.mirror.graph_descendant_of(head, old).map_err(|source| self.objects(source))?;
        Ok(if continued { History::Continued } else { History::Rewritten })
    }

    fn new_commits(&self) -> Result<Vec<ImportedCommit>, ImportError> {
        let objects = |source| self.objects(source);
        let mut walk = self.mirror.revwalk().map_err(objects)?;
        walk.set_sorting(git2::Sort::TOPOLOGICAL | git2::Sort::REVERSE).map_err(objects)?;
        walk.push(self.oid(self.request.head)?).map_err(objects)?;
        walk.hide(self.oid(self.request.base)?).map_err(objects)?;
        if let Some(upstream) = self.upstream()? {
            walk.hide(upstream).map_err(objects)?;
        }
        let mut commits = Vec::new();
        for oid in walk.take(self.request.policy.max_commits) {
            let commit = self.mirror.find_commit(oid.map_err(objects)?).map_err(objects)?;
            let author = commit.author();
            commits.push(ImportedCommit {
                id: CommitId::from_oid(commit.id()),
                subject: plain(commit.summary_bytes().unwrap_or_default()),
                author_name: plain(author.name_bytes()),
                author_email: plain(author.email_bytes()),
            });
        }
        Ok(commits)
    }

    fn describe(&self, history: History) -> Result<Imported, ImportError> {
        let files = diff::changed_files(self.request.mirror, self.request.base, self.request.head)?;
        let lines = files.iter().filter_map(|file| file.lines).fold(Lines::default(), |sum, lines| Lines {
            added: sum.added + lines.added,
            removed: sum.removed + lines.removed,
        });
        Ok(Imported { head: self.request.head.clone(), commits: self.new_commits()?, files, lines, history })
    }
}

/// One line of printable text.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(MAX_SUBJECT).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Renames the pack, then its index: git takes a pack for present when the index is.
fn migrate(from: &Path, into: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(from)? {
        files.push(entry?.path());
    }
    files.sort_by_key(|path| path.extension().is_some_and(|extension| extension == "idx"));
    for path in files {
        fs::rename(&path, into.join(path.file_name().unwrap_or_default()))?;
    }
    File::open(into)?.sync_all()
}

/// The host's own folders for one import; removed when it ends.
struct Stage {
    _removed_on_drop: tempfile::TempDir,
    root: PathBuf,
    /// Object files as they came.
    copied: PathBuf,
    /// A repository around them, with the mirror's objects as alternates.
    raw: PathBuf,
    /// A repository that receives the strict pack.
    clean: PathBuf,
}

/// How the folder of an import begins that is going on, or was broken off.
pub(crate) const STAGE_PREFIX: &str = "import-";

impl Stage {
    fn new(paths: &IssuePaths, mirror: &Mirror) -> Result<Self, ImportError> {
        let io = |source| ImportError::Io { path: paths.root.clone(), source };
        let folder = tempfile::Builder::new().prefix(STAGE_PREFIX).tempdir_in(&paths.root).map_err(io)?;
        let root = folder.path().to_owned();
        let stage = Self {
            copied: root.join("copied"),
            raw: root.join("raw.git"),
            clean: root.join("clean.git"),
            root,
            _removed_on_drop: folder,
        };
        fs::create_dir(&stage.copied).map_err(stage.io())?;
        for repository in [&stage.raw, &stage.clean] {
            stage.make(repository, mirror).map_err(stage.io())?;
        }
        Ok(stage)
    }

    fn make(&self, repository: &Path, mirror: &Mirror) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        for folder in ["objects/info", "objects/pack", "refs"] {
            fs::create_dir_all(repository.join(folder))?;
        }
        fs::write(repository.join("HEAD"), "ref: refs/heads/none\n")?;
        let config = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tsharedRepository = 0644\n";
        fs::write(repository.join("config"), config)?;
        let alternate = [mirror.objects().as_os_str().as_bytes(), b"\n"].concat();
        fs::write(repository.join("objects/info/alternates"), alternate)
    }

    fn io(&self) -> impl Fn(io::Error) -> ImportError {
        let path = self.root.clone();
        move |source| ImportError::Io { path: path.clone(), source }
    }
}

/// Removes what a killed import left.
fn remove_stale(paths: &IssuePaths) -> Result<(), ImportError> {
    let io = |source| ImportError::Io { path: paths.root.clone(), source };
    leftovers::remove_those(&paths.root, |name| name.starts_with(STAGE_PREFIX)).map_err(io)?;
    Ok(())
}
