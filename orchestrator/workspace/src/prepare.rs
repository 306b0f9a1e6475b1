//! Makes an issue's worktree ready for an agent: folders, link files, checkout, ownership, mounts.
//!
//! The checkout runs as the user who will own the tree. Running it as root and changing owners afterwards costs
//! one more pass over every file and makes git inside distrust its whole index, for the owner is part of it.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::fsops;
use crate::ident::CommitId;
use crate::layout::{IssuePaths, inside};
use crate::lock::{Held, LOCK_WAIT, LockError};
use crate::mark::Mark;
use crate::mirror::{Mirror, MirrorError};
use crate::overlay::{self, Overlaid, OverlayError};
use crate::program::{Git, GitError};
use crate::worktree;

/// Where git runs for this issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitView {
    /// In a container, at fixed places. On the host, the tree's `.git` file leads nowhere.
    Container,
    /// On the host itself, unsandboxed: the local runtime.
    Host,
}

/// The user and group that own the tree and run the CLI. Never root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// None for root: a CLI that runs as root could forge its own reports.
    pub fn new(uid: u32, gid: u32) -> Option<Self> {
        (uid != 0 && gid != 0).then_some(Self { uid, gid })
    }

    /// The user's id.
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// The group's id.
    pub fn gid(self) -> u32 {
        self.gid
    }

    pub(crate) fn raw(self) -> (u32, u32) {
        (self.uid, self.gid)
    }
}

/// What to prepare.
#[derive(Debug, Clone)]
pub struct PrepareRequest<'a> {
    /// The project's mirror, fetched.
    pub mirror: &'a Mirror,
    /// The issue's folders.
    pub paths: &'a IssuePaths,
    /// The commit to start from.
    pub base: &'a CommitId,
    /// Whose files with settings for CLIs stand in the worktree, when `base` is a stranger's: the tip of the project's
    /// own branch. None if `base` itself is trusted. Counts when the worktree is made; a kept one stands as it was made.
    pub settings_from: Option<&'a CommitId>,
    /// Where git will run.
    pub view: GitView,
    /// Who owns the tree. Must be given when this process is root, and must be none otherwise.
    pub owner: Option<Owner>,
}

/// One folder for the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The folder on the host.
    pub source: PathBuf,
    /// Its place inside.
    pub target: PathBuf,
    /// Whether writing fails inside.
    pub read_only: bool,
}

/// A workspace that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What to mount, parents before children. Empty for [`GitView::Host`]. Control folder and HOME are the engine's.
    pub mounts: Vec<Mount>,
    /// What git needs in its environment. Empty for [`GitView::Container`].
    pub env: Vec<(String, String)>,
    /// Whether this call made the worktree, or found it.
    pub worktree: Worktree,
    /// Paths that were made to stand otherwise than in `base`; odd bytes are replaced. No commit made with
    /// `git add -A` or `git commit -a` holds a change to them.
    pub overlaid: Vec<String>,
}

/// How `prepare` found the worktree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worktree {
    /// It was made now.
    Made,
    /// It was there, whole, with whatever the agent left in it.
    Kept,
}

/// Why a workspace could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Root must say who owns the tree.
    #[error("cloud-code runs as root, so the user who owns the worktree must be given")]
    OwnerMissing,
    /// Only root can give files away.
    #[error("cloud-code does not run as root, so it cannot give the worktree to uid {uid}")]
    OwnerNotPossible {
        /// The user asked for.
        uid: u32,
    },
    /// The base commit is not in the mirror.
    #[error("the commit {base} is not in the mirror; fetch it first")]
    NoSuchBase {
        /// The commit.
        base: CommitId,
    },
    /// There is a worktree from another commit, maybe with work in it.
    #[error("the workspace {} was prepared from {prepared}, not from {asked}; clean it first", path.display())]
    OtherBase {
        /// The issue's folder.
        path: PathBuf,
        /// The commit it was made from.
        prepared: String,
        /// The commit asked for.
        asked: CommitId,
    },
    /// There is a worktree with the commit's own settings, which are not trusted.
    #[error("the workspace {} was prepared with the settings of {base} itself; clean it first", path.display())]
    OwnSettings {
        /// The issue's folder.
        path: PathBuf,
        /// The commit it was made from.
        base: CommitId,
    },
    /// More files than any real repository has: a tree that nests itself.
    #[error("the commit {commit} holds too many files to be checked out")]
    TooManyFiles {
        /// The commit.
        commit: CommitId,
    },
    /// The settings of two commits could not be compared.
    #[error("cannot compare the settings in {base} with those in {trusted}")]
    Settings {
        /// The commit to start from.
        base: CommitId,
        /// The trusted one.
        trusted: CommitId,
        /// git2's reason.
        #[source]
        source: git2::Error,
    },
    /// Another process works on this issue.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The mirror failed.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The files could not be written out.
    #[error("cannot check out {base} into {}", path.display())]
    Checkout {
        /// The commit.
        base: CommitId,
        /// The tree.
        path: PathBuf,
        /// git's reason.
        #[source]
        source: GitError,
    },
    /// A folder or file could not be made.
    #[error("cannot write in the workspace {}", path.display())]
    Io {
        /// The issue's folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Prepares a workspace. Calling it again changes nothing in an intact one, repairs link files that were tampered
/// with, and makes a half-made one anew; so it does one that [`crate::settle`] never saw before a power cut. No agent may be running in it while link files are repaired.
pub fn prepare(request: &PrepareRequest<'_>) -> Result<Prepared, PrepareError> {
    check_owner(request.owner)?;
    let _held = Held::take(&request.paths.lock, LOCK_WAIT)?;
    if !request.mirror.keep_base(request.paths, request.base)? {
        return Err(PrepareError::NoSuchBase { base: request.base.clone() });
    }
    let path = request.paths.root.clone();
    let io = |source| PrepareError::Io { path: path.clone(), source };
    if let Some(trusted) = request.settings_from
        && !request.mirror.has(trusted)?
    {
        return Err(PrepareError::NoSuchBase { base: trusted.clone() });
    }
    let (worktree, overlaid) = match Mark::read(request.paths).map_err(io)? {
        Some(mark) => (Worktree::Kept, keep(request, &mark)?),
        None => (Worktree::Made, make(request)?),
    };
    let shown = |one: &Overlaid| String::from_utf8_lossy(&one.path).into_owned();
    Ok(describe(request, worktree, overlaid.iter().map(shown).collect()))
}

fn check_owner(owner: Option<Owner>) -> Result<(), PrepareError> {
    match (rustix::process::geteuid().is_root(), owner) {
        (true, None) => Err(PrepareError::OwnerMissing),
        (false, Some(owner)) if owner.uid != rustix::process::geteuid().as_raw() => {
            Err(PrepareError::OwnerNotPossible { uid: owner.uid })
        }
        _ => Ok(()),
    }
}

fn mark_of(request: &PrepareRequest<'_>, settings: Option<&CommitId>) -> Mark {
    let owner =
        request.owner.map_or_else(|| "self".to_owned(), |owner| format!("{}:{}", owner.uid, owner.gid));
    Mark { base: request.base.to_string(), owner, settings: settings.cloned(), boot: None }
}

fn keep(request: &PrepareRequest<'_>, mark: &Mark) -> Result<Vec<Overlaid>, PrepareError> {
    let paths = request.paths;
    let io = |source| PrepareError::Io { path: paths.root.clone(), source };
    if mark.base != request.base.as_str() {
        return Err(PrepareError::OtherBase {
            path: paths.root.clone(),
            prepared: mark.base.clone(),
            asked: request.base.clone(),
        });
    }
    let settings = mark.settings.as_ref();
    if settings.is_none() && request.settings_from.is_some_and(|trusted| trusted != request.base) {
        return Err(PrepareError::OwnSettings { path: paths.root.clone(), base: request.base.clone() });
    }
    worktree::tie(request.mirror, paths, request.view, request.owner).map_err(io)?;
    let wanted = Mark { boot: mark.boot.clone(), ..mark_of(request, settings) };
    if wanted != *mark {
        if let Some(owner) = request.owner {
            for folder in [&paths.tree, &paths.home, &paths.objects, &paths.admin] {
                fsops::chown_tree(folder, owner.raw()).map_err(io)?;
            }
        }
        wanted.write(paths).map_err(io)?;
    }
    let overlaid = overlaid(request, settings)?;
    look_away(request, &overlaid).map_err(io)?;
    Ok(overlaid)
}

/// Writes what git inside ignores: files that only the trusted commit has.
fn look_away(request: &PrepareRequest<'_>, overlaid: &[Overlaid]) -> io::Result<()> {
    let info = request.paths.info();
    fsops::make_dir(&info, 0o755, None)?;
    let (exclude, list) = (info.join("exclude"), overlay::exclude_list(overlaid));
    if fs::read(&exclude).is_ok_and(|found| found == list) {
        return Ok(());
    }
    fsops::write_whole(&exclude, &list, None, fsops::Sync::Later)
}

/// What differs in the worktree from the base, for the settings to be those of a trusted commit.
fn overlaid(
    request: &PrepareRequest<'_>,
    settings_from: Option<&CommitId>,
) -> Result<Vec<Overlaid>, PrepareError> {
    let Some(trusted) = settings_from else { return Ok(Vec::new()) };
    let repository = request.mirror.open()?;
    overlay::overlay(&repository, request.base, trusted).map_err(|error| match error {
        OverlayError::TooManyEntries { commit } => PrepareError::TooManyFiles { commit },
        OverlayError::Git(source) => {
            PrepareError::Settings { base: request.base.clone(), trusted: trusted.clone(), source }
        }
    })
}

fn make(request: &PrepareRequest<'_>) -> Result<Vec<Overlaid>, PrepareError> {
    let paths = request.paths;
    let overlaid = overlaid(request, request.settings_from)?;
    let owner = request.owner.map(Owner::raw);
    let io = |source| PrepareError::Io { path: paths.root.clone(), source };
    // Without the marker nothing was ever handed to an agent: what is there is half-made.
    for folder in [&paths.tree, &paths.objects, &paths.admin] {
        fsops::remove_tree(folder).map_err(io)?;
    }
    fs::create_dir_all(&paths.root).map_err(io)?;
    fsops::make_dir(&paths.tree, 0o755, owner).map_err(io)?;
    fsops::make_dir(&paths.admin, 0o755, owner).map_err(io)?;
    fsops::make_dir(&paths.home, 0o700, owner).map_err(io)?;
    fsops::make_dir(&paths.objects, 0o755, owner).map_err(io)?;
    for folder in ["info", "pack"] {
        fsops::make_dir(&paths.objects.join(folder), 0o755, owner).map_err(io)?;
    }
    let head = format!("{}\n", request.base);
    fsops::write_whole(&paths.admin.join("HEAD"), head.as_bytes(), owner, fsops::Sync::Later).map_err(io)?;
    // The checkout happens on the host, whatever the view afterwards.
    worktree::tie(request.mirror, paths, GitView::Host, request.owner).map_err(io)?;
    check_out(request, &overlaid)?;
    worktree::tie(request.mirror, paths, request.view, request.owner).map_err(io)?;
    look_away(request, &overlaid).map_err(io)?;
    mark_of(request, request.settings_from).write_fresh(paths).map_err(io)?;
    Ok(overlaid)
}

/// Git on the host in a worktree that no agent has touched yet.
struct Checkout<'a> {
    request: &'a PrepareRequest<'a>,
    owner: Option<(u32, u32)>,
}

impl overlay::Run for Checkout<'_> {
    fn git(&self, step: &'static str, args: &[&str], input: Vec<u8>) -> Result<Vec<u8>, GitError> {
        let paths = self.request.paths;
        Git::neutral(step, &paths.admin)
            .env("GIT_WORK_TREE", &paths.tree)
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_OBJECT_DIRECTORY", &paths.objects)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.request.mirror.objects())
            .setting("checkout.workers", CHECKOUT_WORKERS)
            .args(args)
            .input(input)
            .owner(self.owner)
            .run()
    }
}

/// Writes the files out. Smudge filters do not run: no configuration names a program for them.
fn check_out(request: &PrepareRequest<'_>, overlaid: &[Overlaid]) -> Result<(), PrepareError> {
    use overlay::Run;
    let paths = request.paths;
    let as_owner = request.owner.filter(|owner| {
        let raw = owner.raw();
        [request.mirror.objects(), paths.tree.clone(), paths.admin.clone(), paths.objects.clone()]
            .iter()
            .all(|path| fsops::reachable_by(path, raw))
    });
    let checkout = Checkout { request, owner: as_owner.map(Owner::raw) };
    let done = if overlaid.is_empty() {
        let args = ["--hard", "--quiet", "--no-recurse-submodules", request.base.as_str()];
        checkout.git("reset", &args, Vec::new()).map(drop)
    } else {
        let way = match request.view {
            GitView::Container => overlay::LookAway::Excluded,
            GitView::Host => overlay::LookAway::Entered,
        };
        overlay::check_out(&checkout, request.base, overlaid, way)
    };
    done.map_err(|source| PrepareError::Checkout {
        base: request.base.clone(),
        path: paths.tree.clone(),
        source,
    })?;
    if let (Some(owner), None) = (request.owner, as_owner) {
        // A folder above is closed to that user (a home of mode 0700): root writes, then gives away.
        let io = |source| PrepareError::Io { path: paths.root.clone(), source };
        for folder in [&paths.tree, &paths.admin, &paths.objects] {
            fsops::chown_tree(folder, owner.raw()).map_err(io)?;
        }
    }
    Ok(())
}

/// Checkout processes: 0 means one a core. Small trees use one regardless (git's own threshold).
const CHECKOUT_WORKERS: &str = "0";

fn describe(request: &PrepareRequest<'_>, worktree: Worktree, overlaid: Vec<String>) -> Prepared {
    let (mirror, paths) = (request.mirror, request.paths);
    match request.view {
        GitView::Container => {
            let mount = |source: &PathBuf, target: &str, read_only| Mount {
                source: source.clone(),
                target: PathBuf::from(target),
                read_only,
            };
            let mounts = vec![
                mount(&paths.tree, inside::WORKSPACE, false),
                mount(&mirror.objects(), inside::BASE_OBJECTS, true),
                mount(&mirror.path().to_owned(), inside::MIRROR, true),
                mount(&paths.objects, inside::OBJECTS, false),
                mount(&paths.admin, inside::ADMIN, false),
                mount(&paths.info(), inside::INFO, true),
            ];
            Prepared { mounts, env: Vec::new(), worktree, overlaid }
        }
        GitView::Host => {
            let text = |path: PathBuf| path.to_string_lossy().into_owned();
            let env = vec![
                ("GIT_OBJECT_DIRECTORY".to_owned(), text(paths.objects.clone())),
                ("GIT_ALTERNATE_OBJECT_DIRECTORIES".to_owned(), text(mirror.objects())),
            ];
            Prepared { mounts: Vec::new(), env, worktree, overlaid }
        }
    }
}
