//! The bare mirror of a project. Only the host writes it, and everything in it was either fetched from the
//! user's own source or passed the import's checks.
//!
//! Fetched branches live in `refs/remotes/origin/*` and tags in `refs/tags/*`; both follow the source. Branches
//! that agents made live in `refs/heads/*`, each with a twin in `refs/cloud-code/imported/*` which says that a
//! fetch must not touch it. Where a push left such a branch at the source stands in `refs/cloud-code/pushed/*`: what is
//! found there later and is not this, somebody else pushed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cloud_code_model::ProjectName;
use cloud_code_task_schema::BranchName;
use git2::{ErrorCode, Repository};

use crate::credential::Credential;
use crate::fsops;
use crate::ident::{CommitId, head_ref, origin_ref};
use crate::layout::{IssuePaths, Layout};
use crate::lock::{Held, LOCK_WAIT, LockError};
use crate::program::{Git, GitError};
use crate::remote::{self, RemoteError, STALL_LIMIT};
use crate::source::Source;

/// A project's mirror that is known to be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    path: PathBuf,
    lock: PathBuf,
}

/// Why the mirror could not be made, fetched or changed.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Another process holds it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Something that is no repository stands in its place.
    #[error("{} is not a mirror made by cloud-code; move it away", path.display())]
    NotAMirror {
        /// The path.
        path: PathBuf,
        /// git2's reason.
        #[source]
        source: git2::Error,
    },
    /// A file could not be made or removed.
    #[error("cannot write {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The git program failed.
    #[error("cannot make the mirror {}", path.display())]
    Make {
        /// The mirror.
        path: PathBuf,
        /// git's reason.
        #[source]
        source: GitError,
    },
    /// The source could not be fetched.
    #[error("cannot fetch {source_name}")]
    Fetch {
        /// The source.
        source_name: String,
        /// Why.
        #[source]
        source: RemoteError,
    },
    /// The source has no such pull request, or no longer has its commits.
    #[error("{source_name} has no pull request {number}")]
    NoSuchPull {
        /// The source.
        source_name: String,
        /// Its number.
        number: u64,
    },
    /// A ref or object could not be read or written.
    #[error("cannot read or change refs of the mirror {}", path.display())]
    Refs {
        /// The mirror.
        path: PathBuf,
        /// git2's reason.
        #[source]
        source: git2::Error,
    },
}

/// The mirror's whole configuration. No remote: its URL would be readable in every container.
/// `sharedRepository` makes objects readable for the container's user whatever the umask.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\tsharedRepository = 0644\n\
                      \tlogAllRefUpdates = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";

/// The one entry under `worktrees/`: the empty folder over which each container mounts its own admin folder.
const MOUNT_POINT: &str = "worktrees/workspace";
/// The empty folder over which each container mounts its own `info/`. git reads it from here for all worktrees.
const INFO: &str = "info";

impl Mirror {
    /// Opens the project's mirror, making it if it is not there. Making happens aside and ends with a rename, so
    /// a mirror that is there is whole; what a killed process left aside is removed.
    pub fn ensure(layout: &Layout, project: &ProjectName) -> Result<Self, MirrorError> {
        let mirror = Self { path: layout.mirror(project), lock: layout.mirror_lock(project) };
        let _held = mirror.hold()?;
        let aside = layout.repos().join(format!(".making-{project}.git"));
        fsops::remove_tree(&aside).map_err(|source| MirrorError::Io { path: aside.clone(), source })?;
        if fs::symlink_metadata(&mirror.path).is_err() {
            mirror.make(&aside)?;
        }
        mirror.open()?;
        // Mirrors made by earlier versions lack it.
        let info = mirror.path.join(INFO);
        fsops::make_dir(&info, 0o755, None).map_err(|source| MirrorError::Io { path: info, source })?;
        Ok(mirror)
    }

    fn make(&self, aside: &Path) -> Result<(), MirrorError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| MirrorError::Io { path, source }
        };
        Git::bare("init")
            .args(["--bare", "--quiet", "--template=", "--initial-branch=main", "--object-format=sha1"])
            .arg(aside)
            .run()
            .map_err(|source| MirrorError::Make { path: self.path.clone(), source })?;
        fs::write(aside.join("config"), CONFIG).map_err(io(&aside.join("config")))?;
        for folder in ["", "objects", "objects/pack", "objects/info", "refs", "worktrees", MOUNT_POINT, INFO]
        {
            let folder = aside.join(folder);
            fsops::make_dir(&folder, 0o755, None).map_err(io(&folder))?;
        }
        // Without it, `git worktree prune` (also run by `git gc`) would remove the empty mount point.
        let locked = aside.join(MOUNT_POINT).join("locked");
        fs::write(&locked, "a mount point of cloud-code\n").map_err(io(&locked))?;
        fs::rename(aside, &self.path).map_err(io(&self.path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its objects.
    pub fn objects(&self) -> PathBuf {
        self.path.join("objects")
    }

    pub(crate) fn hold(&self) -> Result<Held, LockError> {
        Held::take(&self.lock, LOCK_WAIT)
    }

    pub(crate) fn open(&self) -> Result<Repository, MirrorError> {
        Repository::open_bare(&self.path)
            .map_err(|source| MirrorError::NotAMirror { path: self.path.clone(), source })
    }

    /// Changes refs under the mirror's lock. A process that was killed in the middle of this leaves a lock file of its own,
    /// which nobody would ever remove.
    fn change_refs<T>(
        &self,
        change: impl Fn(&Repository) -> Result<T, git2::Error>,
    ) -> Result<T, MirrorError> {
        let _held = self.hold()?;
        let repository = self.open()?;
        let changed = match change(&repository) {
            Err(error) if error.code() == ErrorCode::Locked => {
                sweep(&self.path).map_err(|source| MirrorError::Io { path: self.path.clone(), source })?;
                change(&repository)
            }
            changed => changed,
        };
        changed.map_err(self.refs_error())
    }

    fn refs_error(&self) -> impl Fn(git2::Error) -> MirrorError {
        let path = self.path.clone();
        move |source| MirrorError::Refs { path: path.clone(), source }
    }

    /// Brings `refs/remotes/origin/*` and tags up to date with the source; branches gone there go here. Branches
    /// that agents made are never touched. `base` becomes also a plain branch, so that `git log main` works in
    /// containers.
    pub fn fetch(
        &self,
        source: &Source,
        base: &BranchName,
        credential: Option<&Credential>,
    ) -> Result<(), MirrorError> {
        let refspecs = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        self.bring(source, credential, |git| git.arg("--prune"), &refspecs)?;
        self.follow_base(base)
    }

    /// Brings the head of a pull request into `refs/remotes/pull/<number>` and returns it. Strangers write these
    /// commits, so git checks their form as a forge does.
    pub fn fetch_pull(
        &self,
        source: &Source,
        number: u64,
        credential: Option<&Credential>,
    ) -> Result<CommitId, MirrorError> {
        let gone = || MirrorError::NoSuchPull { source_name: source.to_string(), number };
        let name = format!("refs/remotes/pull/{number}");
        let refspec = format!("+refs/pull/{number}/head:{name}");
        let checked = |git: Git| git.setting("fetch.fsckObjects", "true");
        match self.bring(source, credential, checked, &[&refspec]) {
            Err(MirrorError::Fetch {
                source: RemoteError::Git { source: GitError::Failed { stderr, .. }, .. },
                ..
            }) if stderr.contains("couldn't find remote ref refs/pull/") => {
                return Err(gone());
            }
            other => other?,
        }
        self.look_up(&name)?.ok_or_else(gone)
    }

    fn bring(
        &self,
        source: &Source,
        credential: Option<&Credential>,
        more: impl FnOnce(Git) -> Git,
        refspecs: &[&str],
    ) -> Result<(), MirrorError> {
        let failed = |error| MirrorError::Fetch { source_name: source.to_string(), source: error };
        let lent = remote::lend(source, credential).map_err(failed)?;
        let held = self.hold()?;
        let io = |source| MirrorError::Io { path: self.path.clone(), source };
        sweep(&self.path).map_err(io)?;
        let git = Git::transport("fetch", Some(&self.path))
            .lend(lent)
            .stalled_after(STALL_LIMIT)
            .args(["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"])
            .args(["--no-recurse-submodules", "--no-show-forced-updates"]);
        let fetched = more(git)
            .arg("--")
            .arg(source.as_git_argument())
            .args(refspecs)
            .hold(held.share().map_err(io)?)
            .run();
        // It ended by itself, so nobody writes any more. What it leaves on a full disk is the room that others wait for.
        if let Err(GitError::Failed { .. }) = &fetched
            && let Err(error) = sweep(&self.path)
        {
            tracing::warn!(mirror = %self.path.display(), error = %error, "what a failed fetch left stays until the next one");
        }
        fetched.map_err(|error| failed(RemoteError::of(source, error)))?;
        Ok(())
    }

    /// Points `refs/heads/<base>` and HEAD at the fetched branch, unless an import made a branch of that name.
    fn follow_base(&self, base: &BranchName) -> Result<(), MirrorError> {
        let repository = self.open()?;
        let refs = self.refs_error();
        let Some(tip) = lookup(&repository, &origin_ref(base)).map_err(&refs)? else { return Ok(()) };
        if lookup(&repository, &imported_ref(base)).map_err(&refs)?.is_some() {
            return Ok(());
        }
        self.change_refs(|repository| {
            match repository.reference(&head_ref(base), tip, true, "cloud-code: follow the source") {
                Ok(_) => repository.set_head(&head_ref(base)),
                Err(error) if error.code() == ErrorCode::Locked => Err(error),
                Err(error) => {
                    // A branch `a` and a branch `a/b` cannot both exist; the plain name is a convenience, not a need.
                    tracing::debug!(branch = base.as_str(), %error, "The base branch has no plain name in the mirror");
                    Ok(())
                }
            }
        })
    }

    /// The commit that the source's branch stood on at the last fetch.
    pub fn base(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError> {
        self.look_up(&origin_ref(branch))
    }

    /// Whether the source's branch stood on `tip` at the last fetch already. Where that is so, nothing of it needs to be
    /// fetched, and the branch is the plain one as after a fetch.
    pub fn follows(&self, base: &BranchName, tip: &CommitId) -> Result<bool, MirrorError> {
        if self.base(base)?.as_ref() != Some(tip) {
            return Ok(false);
        }
        if self.look_up(&head_ref(base))?.as_ref() != Some(tip) {
            self.follow_base(base)?;
        }
        Ok(true)
    }

    /// The commit that a branch made by an import stands on.
    pub fn branch(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError> {
        self.look_up(&imported_ref(branch))
    }

    /// The commit that our last push left the branch on at the source.
    pub fn pushed(&self, branch: &BranchName) -> Result<Option<CommitId>, MirrorError> {
        self.look_up(&pushed_ref(branch))
    }

    /// Notes where a push left the branch.
    pub(crate) fn note_pushed(&self, branch: &BranchName, head: &CommitId) -> Result<(), MirrorError> {
        let (oid, name) = (head.oid().map_err(self.refs_error())?, pushed_ref(branch));
        self.change_refs(|repository| {
            repository.reference(&name, oid, true, "cloud-code: note a push").map(drop)
        })
    }

    /// Notes of a branch what the mirror of another host knew: where an import and our last push left it. Both commits have to
    /// be here.
    pub fn take_up(
        &self,
        branch: &BranchName,
        imported: &CommitId,
        pushed: Option<&CommitId>,
    ) -> Result<(), MirrorError> {
        let oid = imported.oid().map_err(self.refs_error())?;
        for name in [head_ref(branch), imported_ref(branch)] {
            self.change_refs(|repository| {
                repository.reference(&name, oid, true, "cloud-code: take up what another host did").map(drop)
            })?;
        }
        pushed.map_or(Ok(()), |head| self.note_pushed(branch, head))
    }

    /// Whether a commit is in the mirror: fetched from the source, or imported.
    pub fn has(&self, commit: &CommitId) -> Result<bool, MirrorError> {
        let oid = commit.oid().map_err(self.refs_error())?;
        Ok(self.open()?.find_commit(oid).is_ok())
    }

    fn look_up(&self, name: &str) -> Result<Option<CommitId>, MirrorError> {
        let found = lookup(&self.open()?, name).map_err(self.refs_error())?;
        Ok(found.map(CommitId::from_oid))
    }

    /// Keeps an issue's base commit alive, whatever the source forgets later. False if there is no such commit.
    pub(crate) fn keep_base(&self, paths: &IssuePaths, base: &CommitId) -> Result<bool, MirrorError> {
        let refs = self.refs_error();
        let oid = base.oid().map_err(&refs)?;
        let repository = self.open()?;
        if repository.find_commit(oid).is_err() {
            return Ok(false);
        }
        if lookup(&repository, &paths.base_ref()).map_err(&refs)? != Some(oid) {
            self.change_refs(|repository| {
                repository.reference(&paths.base_ref(), oid, true, "cloud-code: keep the base").map(drop)
            })?;
        }
        Ok(true)
    }

    /// Lets an issue's base commit go.
    pub(crate) fn forget_base(&self, paths: &IssuePaths) -> Result<(), MirrorError> {
        self.change_refs(|repository| match repository.find_reference(&paths.base_ref()) {
            Ok(mut reference) => reference.delete(),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(()),
            Err(error) => Err(error),
        })
    }
}

pub(crate) fn imported_ref(branch: &BranchName) -> String {
    format!("refs/cloud-code/imported/{}", branch.as_str())
}

fn pushed_ref(branch: &BranchName) -> String {
    format!("refs/cloud-code/pushed/{}", branch.as_str())
}

pub(crate) fn lookup(repository: &Repository, name: &str) -> Result<Option<git2::Oid>, git2::Error> {
    match repository.refname_to_id(name) {
        Ok(oid) => Ok(Some(oid)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes what a killed git left: lock files of refs and half-received packs. Only under the mirror's lock, which
/// even an orphaned fetch still holds, so nothing found here has an owner.
pub(crate) fn sweep(mirror: &Path) -> io::Result<()> {
    for name in ["HEAD.lock", "config.lock", "packed-refs.lock", "packed-refs.new", "shallow.lock"] {
        remove_if_there(&mirror.join(name))?;
    }
    let mut folders = vec![mirror.join("refs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "lock") {
                remove_if_there(&entry.path())?;
            }
        }
    }
    let objects = mirror.join("objects");
    for folder in fs::read_dir(&objects)? {
        let folder = folder?;
        if folder.file_name().len() != 2 || !folder.file_type()?.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder.path())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("tmp_obj_") {
                remove_if_there(&entry.path())?;
            }
        }
    }
    for entry in fs::read_dir(objects.join("pack"))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let unfinished = name.starts_with("tmp_") || name.starts_with(".tmp-");
        // A pack whose index never came: the rename of the index is the last step of receiving one.
        let headless = name.ends_with(".pack") && !entry.path().with_extension("idx").exists();
        if unfinished || headless {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
