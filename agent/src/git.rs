//! Commits and describes what the CLI left, with the `git` program, as the CLI's user.
//!
//! The program, not a library: it honours the quarantine's environment as the CLI's own git does, and a library would
//! double the binary. Hooks, signing, the file-system monitor and background maintenance are switched off: whatever a
//! CLI configured in the repository or its HOME must not run or wait now. Every call has a time limit.

mod output;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use cloud_code_task_schema::{CommitReport, FileChange};
use nix::unistd::{Gid, Uid};

use crate::capture::{Captured, Completeness, Keep, capture};
use crate::home::NEVER_COMMIT;
use crate::process::{Input, Launch};
use crate::reaper::Reaper;
use crate::secrets::Masker;
use crate::shared::Shared;
use crate::token_forms::without_tokens;

/// Longest single git command. Adding a large tree on a cold disk takes a minute; a hang must not hold the container.
const TIME_LIMIT: Duration = Duration::from_secs(180);
/// Cap of what is read from git: ten thousand changed files.
const MAX_OUTPUT_BYTES: usize = 2 * 1024 * 1024;
/// Most commits in a report; the host reads all of them from the repository anyway.
const MAX_COMMITS: usize = 200;
/// Most files in a report; the host computes its own diff.
const MAX_FILES: usize = 1_000;
/// The tree without files, from which the first commit of an empty repository differs.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
/// Before every command.
const NEUTRAL: [&str; 16] = [
    "git",
    "--no-optional-locks",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "commit.gpgSign=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "core.quotePath=false",
    "-c",
    "safe.directory=*",
];

/// Why git did not do its part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// The image has no git.
    #[error("git is not in the image; the work stands uncommitted in the worktree")]
    Missing,
    /// It could not be started.
    #[error("git could not be started: {0}")]
    Start(#[source] io::Error),
    /// It took too long.
    #[error("git {command} did not end within {} s", TIME_LIMIT.as_secs())]
    TimedOut {
        /// Its first word.
        command: String,
    },
    /// It refused.
    #[error("git {command} failed: {complaint}")]
    Refused {
        /// Its first word.
        command: String,
        /// Its last words.
        complaint: String,
    },
}

/// What stands between the task's start and HEAD.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Work {
    pub(crate) head: Option<String>,
    pub(crate) commits: Vec<CommitReport>,
    pub(crate) files: Vec<FileChange>,
    /// Commits and files that the lists leave out.
    pub(crate) left_out: usize,
}

/// A file that verify commands left in the tree, as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leftover {
    path: String,
    stamp: Option<Stamp>,
}

/// What changes when a file is written anew.
pub(crate) type Stamp = (u64, u64, i64, i64);

/// Of a file or folder itself, not of what it points to.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

/// Git in one worktree.
pub(crate) struct Git<'a> {
    pub(crate) workspace: &'a Path,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) user: Option<(Uid, Gid)>,
    pub(crate) reaper: &'a Reaper,
    pub(crate) masker: &'a Masker,
    shared: &'a Shared,
}

impl<'a> Git<'a> {
    /// In the workspace, as the CLI's user.
    pub(crate) fn of(shared: &'a Shared, env: &'a BTreeMap<String, String>) -> Self {
        let user = shared.user.switch_to;
        Git {
            workspace: &shared.options.workspace,
            env,
            user,
            reaper: &shared.reaper,
            masker: &shared.masker,
            shared,
        }
    }
}

impl Git<'_> {
    /// Stages everything but those leftovers that nobody wrote to since. What is never committed is ignored by the
    /// environment (`home.rs`): an excluded path of this command fails it when the path is ignored too.
    pub(crate) async fn stage(&self, leftovers: &[Leftover]) -> Result<(), GitError> {
        self.renew_ignores()?;
        let mut paths = String::from(".\0");
        for left in leftovers.iter().filter(|left| left.stamp == stamp(&self.workspace.join(&left.path))) {
            paths.push_str(&format!(":(exclude,top,literal){}\0", left.path));
        }
        let arguments = ["add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul"];
        match self.run(&arguments, paths.as_bytes()).await {
            Err(GitError::Refused { .. }) if self.lock_is_left() => {
                self.remove_lock().await;
                self.run(&arguments, paths.as_bytes()).await.map(drop)
            }
            result => result.map(drop),
        }
    }

    /// Files that are neither tracked nor ignored, at most `MAX_FILES`.
    pub(crate) async fn untracked(&self) -> Result<Vec<Leftover>, GitError> {
        let listed =
            self.run(&["ls-files", "--others", "--exclude-standard", "-z", "--full-name"], b"").await?;
        let paths = listed.output.split('\0').filter(|path| !path.is_empty()).take(MAX_FILES);
        let left = |path: &str| Leftover { path: path.to_owned(), stamp: stamp(&self.workspace.join(path)) };
        Ok(paths.map(left).collect())
    }

    /// Whether anything is staged.
    pub(crate) async fn has_staged(&self) -> Result<bool, GitError> {
        let staged = self.raw(&["diff", "--cached", "--quiet", "--no-ext-diff"], b"").await?;
        Ok(!staged.succeeded())
    }

    /// Commits what is staged; `false` when that is nothing.
    pub(crate) async fn commit(&self, message: &str) -> Result<bool, GitError> {
        if !self.has_staged().await? {
            return Ok(false);
        }
        // The host refuses the whole work for a token in a message.
        let message = without_tokens(message);
        self.run(&["commit", "--quiet", "--no-verify", "--no-gpg-sign", "--file=-"], message.as_bytes())
            .await?;
        Ok(true)
    }

    /// How files differ from HEAD, untracked ones included: two letters, a blank and a path, each ended by NUL.
    pub(crate) async fn status(&self) -> Result<String, GitError> {
        self.renew_ignores()?;
        let every = ["--untracked-files=all", "--ignore-submodules=none", "--no-renames"];
        self.whole(&[&["status", "--porcelain", "-z"], every.as_slice()].concat()).await
    }

    /// Every branch and tag, with what it stands on.
    pub(crate) async fn refs(&self) -> Result<String, GitError> {
        self.whole(&["for-each-ref", "--format=%(objectname) %(refname)"]).await
    }

    /// Output that may not be cut: two cut ones would look the same.
    async fn whole(&self, arguments: &[&str]) -> Result<String, GitError> {
        let captured = self.run(arguments, b"").await?;
        if captured.completeness == Completeness::Whole {
            return Ok(captured.output);
        }
        let command = arguments.first().copied().unwrap_or_default().to_owned();
        Err(GitError::Refused { command, complaint: "its output is too long to be compared".to_owned() })
    }

    /// The CLI may have changed the list since it was written.
    fn renew_ignores(&self) -> Result<(), GitError> {
        self.shared.renew_never_commit().map_err(GitError::Start)
    }

    /// Where it stands, when nothing was done.
    pub(crate) fn standing(&self) -> Work {
        Work { head: crate::head::read(self.workspace), ..Work::default() }
    }

    /// Describes what was done since `base`.
    pub(crate) async fn work_since(&self, base: Option<&str>) -> Result<Work, GitError> {
        let Some(head) = crate::head::read(self.workspace).or(self.resolve("HEAD").await) else {
            return Ok(Work::default());
        };
        if base == Some(head.as_str()) {
            return Ok(Work { head: Some(head), ..Work::default() });
        }
        let range = base.map_or_else(|| head.clone(), |base| format!("{base}..{head}"));
        let log = self
            .run(&["log", "--reverse", "--topo-order", "-z", "--format=%H %s", &range, "--"], b"")
            .await?;
        let from = base.unwrap_or(EMPTY_TREE);
        let diff = [
            "diff",
            "--raw",
            "--numstat",
            "-z",
            "--no-abbrev",
            "--find-renames",
            "--no-ext-diff",
            "--no-textconv",
            from,
            &head,
            "--",
        ];
        let diff = self.run(&diff, b"").await?;
        let mut commits = output::commits(&log.output);
        let mut files = output::files(&diff.output);
        let mut left_out = commits.len().saturating_sub(MAX_COMMITS) + files.len().saturating_sub(MAX_FILES);
        left_out +=
            usize::from(diff.completeness == Completeness::Cut || log.completeness == Completeness::Cut);
        commits.drain(..commits.len().saturating_sub(MAX_COMMITS));
        files.truncate(MAX_FILES);
        Ok(Work { head: Some(head), commits, files, left_out })
    }

    /// The commit a name stands for.
    pub(crate) async fn resolve(&self, name: &str) -> Option<String> {
        let name = format!("{name}^{{commit}}");
        let found =
            self.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name], b"").await.ok()?;
        Some(found.output.trim().to_owned()).filter(|id| !id.is_empty())
    }

    fn lock_is_left(&self) -> bool {
        crate::head::git_dir(self.workspace).is_some_and(|dir| dir.join("index.lock").exists())
    }

    /// A git that was killed leaves its lock. Nothing else runs now, so it is stale. It is removed as the CLI's user:
    /// the path comes from a file that user can write.
    async fn remove_lock(&self) {
        let Some(dir) = crate::head::git_dir(self.workspace) else { return };
        let argv = ["rm", "-f", "--", &dir.join("index.lock").to_string_lossy()].map(str::to_owned);
        // A lock that stays makes the next command fail with git's own message.
        let _ = self.capture(&argv, b"").await;
    }

    async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Captured, GitError> {
        let captured = self.raw(arguments, input).await?;
        if captured.succeeded() {
            return Ok(captured);
        }
        let command = arguments.first().copied().unwrap_or_default().to_owned();
        let complaint = match (captured.complaint.as_str(), captured.exit) {
            ("", Some(exit)) => format!("exit code {:?}, signal {:?}", exit.code, exit.signal),
            (complaint, _) => complaint.to_owned(),
        };
        Err(GitError::Refused { command, complaint })
    }

    async fn raw(&self, arguments: &[&str], input: &[u8]) -> Result<Captured, GitError> {
        // In the environment too, for the CLI's own commits; git before 2.31 does not look there.
        let ignores = format!("core.excludesFile={}", self.shared.options.home.join(NEVER_COMMIT).display());
        let setting = ["-c", ignores.as_str()];
        let words = NEUTRAL.iter().chain(&setting).chain(arguments);
        let argv: Vec<String> = words.map(|part| (*part).to_owned()).collect();
        let captured = self.capture(&argv, input).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::Missing,
            _ => GitError::Start(error),
        })?;
        if captured.exit.is_none() {
            return Err(GitError::TimedOut {
                command: arguments.first().copied().unwrap_or_default().to_owned(),
            });
        }
        Ok(captured)
    }

    async fn capture(&self, argv: &[String], input: &[u8]) -> io::Result<Captured> {
        let launch =
            Launch { argv, env: self.env, directory: self.workspace, user: self.user, input: Input::Nothing };
        capture(&launch, input, Keep::Stdout(MAX_OUTPUT_BYTES), TIME_LIMIT, self.reaper, self.masker).await
    }
}
