//! A bare repository, read and written through git's plumbing. Every call is short, so it runs under the world's lock.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;

/// One repository on disk.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    dir: PathBuf,
}

/// A commit's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) sha: String,
    pub(crate) tree: String,
    pub(crate) parents: Vec<String>,
    pub(crate) author: String,
    pub(crate) author_email: String,
    pub(crate) authored_at: Timestamp,
    pub(crate) committer: String,
    pub(crate) committer_email: String,
    pub(crate) committed_at: Timestamp,
    pub(crate) message: String,
}

/// A file of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileChange {
    pub(crate) path: String,
    /// GitHub's word: `added`, `removed`, `modified`.
    pub(crate) status: &'static str,
    pub(crate) blob: String,
    pub(crate) additions: u64,
    pub(crate) deletions: u64,
    pub(crate) patch: String,
}

/// What a commit does to a file.
#[derive(Debug, Clone)]
pub(crate) enum Change<'a> {
    Write(&'a str, &'a str),
}

/// How two histories are joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joined<'a> {
    /// `merge`, `squash` or `rebase`.
    pub(crate) method: &'a str,
    pub(crate) author: &'a str,
    pub(crate) message: &'a str,
}

impl Git {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// A git command in this repository that sees no configuration of the machine.
    fn command(&self) -> Command {
        let mut command = Command::new("git");
        isolate(&mut command);
        command.arg("--git-dir").arg(&self.dir);
        command
    }

    /// Runs git; `None` when it says no. What it says is of no use to an answer of GitHub's.
    fn run(&self, args: &[&str]) -> Option<String> {
        let output = self.command().args(args).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn line(&self, args: &[&str]) -> Option<String> {
        self.run(args).map(|text| text.trim_end().to_owned()).filter(|text| !text.is_empty())
    }

    pub(crate) fn init(&self, default_branch: &str) -> std::io::Result<()> {
        let mut command = Command::new("git");
        isolate(&mut command);
        let output = command
            .args(["init", "--quiet", "--bare", "--initial-branch", default_branch])
            .arg(&self.dir)
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(std::io::Error::other(format!("git init: {said}")));
        }
        for (key, value) in [
            ("http.receivepack", "true"),
            ("receive.advertisePushOptions", "true"),
            ("uploadpack.allowReachableSHA1InWant", "true"),
            ("gc.auto", "0"),
        ] {
            self.run(&["config", key, value]);
        }
        Ok(())
    }

    /// Copies another repository's branches: a fork.
    pub(crate) fn copy_from(&self, other: &Git) -> Option<()> {
        self.run(&["fetch", "--quiet", &other.dir.to_string_lossy(), "refs/heads/*:refs/heads/*"]).map(drop)
    }

    /// Takes one commit from another repository, for a pull request from a fork.
    pub(crate) fn take(&self, other: &Git, sha: &str) -> Option<()> {
        if self.dir == other.dir || self.commit(sha).is_some() {
            return Some(());
        }
        other.run(&["update-ref", "refs/fake/take", sha])?;
        self.run(&["fetch", "--quiet", &other.dir.to_string_lossy(), "refs/fake/take"]).map(drop)
    }

    /// The commit that a name means.
    pub(crate) fn resolve(&self, name: &str) -> Option<String> {
        if name.starts_with('-') {
            return None;
        }
        self.line(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])
    }

    pub(crate) fn branch(&self, name: &str) -> Option<String> {
        self.resolve(&format!("refs/heads/{name}"))
    }

    /// Every ref below `prefix` with what it points at.
    pub(crate) fn refs(&self, prefix: &str) -> BTreeMap<String, String> {
        let text =
            self.run(&["for-each-ref", "--format=%(refname) %(objectname)", prefix]).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, sha)| (name.to_owned(), sha.to_owned()))
            .collect()
    }

    pub(crate) fn set_ref(&self, name: &str, sha: &str) -> Option<()> {
        self.run(&["update-ref", name, sha]).map(drop)
    }

    pub(crate) fn delete_ref(&self, name: &str) -> Option<()> {
        self.run(&["update-ref", "-d", name]).map(drop)
    }

    pub(crate) fn merge_base(&self, one: &str, other: &str) -> Option<String> {
        self.line(&["merge-base", one, other])
    }

    pub(crate) fn is_ancestor(&self, old: &str, new: &str) -> bool {
        self.run(&["merge-base", "--is-ancestor", old, new]).is_some()
    }

    pub(crate) fn commit(&self, name: &str) -> Option<Commit> {
        let sha = self.resolve(name)?;
        self.commits(&["--no-walk", &sha]).into_iter().next()
    }

    /// The commits of `head` that `base` lacks, oldest first.
    pub(crate) fn log(&self, base: &str, head: &str) -> Vec<Commit> {
        self.commits(&["--reverse", "--topo-order", head, &format!("^{base}")])
    }

    /// All commits of a history, oldest first.
    pub(crate) fn history(&self, head: &str) -> Vec<Commit> {
        self.commits(&["--reverse", "--topo-order", head])
    }

    fn commits(&self, what: &[&str]) -> Vec<Commit> {
        let format = "--format=%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%at%x1f%cn%x1f%ce%x1f%ct%x1f%B%x1e";
        let mut args = vec!["log", format];
        args.extend(what);
        args.push("--");
        let text = self.run(&args).unwrap_or_default();
        text.split('\u{1e}').filter_map(|record| parse_commit(record.trim_start_matches('\n'))).collect()
    }

    /// The files that differ between the merge base of two commits and the second, as GitHub compares.
    pub(crate) fn changed_files(&self, base: &str, head: &str) -> Vec<FileChange> {
        let from = self.merge_base(base, head).unwrap_or_else(|| base.to_owned());
        let raw = self.run(&["diff-tree", "-r", "--no-renames", "--raw", "--no-abbrev", &from, head]);
        let numbers =
            self.run(&["diff-tree", "-r", "--no-renames", "--numstat", &from, head]).unwrap_or_default();
        let counts: BTreeMap<&str, (u64, u64)> = numbers
            .lines()
            .filter_map(|line| {
                let mut parts = line.splitn(3, '\t');
                let (added, removed) = (parts.next()?, parts.next()?);
                Some((parts.next()?, (added.parse().unwrap_or(0), removed.parse().unwrap_or(0))))
            })
            .collect();
        let raw = raw.unwrap_or_default();
        raw.lines()
            .filter_map(|line| {
                let (facts, path) = line.split_once('\t')?;
                let facts: Vec<&str> = facts.split(' ').collect();
                let (old, new, letter) = (facts.get(2)?, facts.get(3)?, facts.get(4)?);
                let (status, blob) = match *letter {
                    "A" => ("added", new),
                    "D" => ("removed", old),
                    _ => ("modified", new),
                };
                let (additions, deletions) = counts.get(path).copied().unwrap_or((0, 0));
                let diff = self
                    .run(&["diff-tree", "-p", "--no-renames", &from, head, "--", path])
                    .unwrap_or_default();
                let patch = diff.find("@@").map(|at| diff[at..].trim_end().to_owned()).unwrap_or_default();
                Some(FileChange {
                    path: path.to_owned(),
                    status,
                    blob: (*blob).to_owned(),
                    additions,
                    deletions,
                    patch,
                })
            })
            .collect()
    }

    /// A file's blob and content at a commit.
    pub(crate) fn file(&self, commit: &str, path: &str) -> Option<(String, Vec<u8>)> {
        let blob = self.line(&["rev-parse", "--verify", "--quiet", &format!("{commit}:{path}")])?;
        let output = self.command().args(["cat-file", "blob", &blob]).output().ok()?;
        output.status.success().then_some((blob, output.stdout))
    }

    /// The entries of a folder: kind (`blob`, `tree`), object, path.
    pub(crate) fn folder(&self, commit: &str, path: &str) -> Option<Vec<(String, String, String)>> {
        let spec = if path.is_empty() { format!("{commit}^{{tree}}") } else { format!("{commit}:{path}") };
        let text = self.run(&["ls-tree", &spec])?;
        Some(
            text.lines()
                .filter_map(|line| {
                    let (facts, name) = line.split_once('\t')?;
                    let mut facts = facts.split(' ').skip(1);
                    let full = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
                    Some((facts.next()?.to_owned(), facts.next()?.to_owned(), full))
                })
                .collect(),
        )
    }

    /// Whether a branch takes a commit without a conflict; `None` when they cannot be compared.
    pub(crate) fn merges_cleanly(&self, base: &str, head: &str) -> Option<bool> {
        let base = self.branch(base)?;
        let output = self.command().args(["merge-tree", "--write-tree", &base, head]).output().ok()?;
        match output.status.code() {
            Some(0) => Some(true),
            Some(1) => Some(false),
            _ => None,
        }
    }

    /// Merges into a branch; the commit that it then stands at, or `None` for a conflict.
    pub(crate) fn merge(&self, branch: &str, head: &str, how: &Joined<'_>, now: Timestamp) -> Option<String> {
        let base = self.branch(branch)?;
        let tree = self.line(&["merge-tree", "--write-tree", &base, head])?;
        let sha = match how.method {
            "squash" => self.commit_tree(&tree, &[&base], how.author, how.message, now)?,
            "rebase" => {
                let mut tip = base.clone();
                for commit in self.log(&base, head) {
                    let tree = self.line(&["merge-tree", "--write-tree", &base, &commit.sha])?;
                    tip = self.commit_tree(&tree, &[&tip], &commit.author, &commit.message, now)?;
                }
                tip
            }
            _ => self.commit_tree(&tree, &[&base, head], how.author, how.message, now)?,
        };
        self.set_ref(&format!("refs/heads/{branch}"), &sha)?;
        Some(sha)
    }

    /// A commit on top of a branch (made when it is not there, from `from`).
    pub(crate) fn commit_on(
        &self,
        branch: &str,
        from: Option<&str>,
        changes: &[Change<'_>],
        author: &str,
        message: &str,
        now: Timestamp,
    ) -> Option<String> {
        let parent = self.branch(branch).or_else(|| from.and_then(|name| self.resolve(name)));
        let index = tempfile::Builder::new().prefix("index").tempdir_in(&self.dir).ok()?;
        let index = index.path().join("index");
        let with_index = |args: &[&str], input: Option<&str>| -> Option<String> {
            let mut command = self.command();
            command.env("GIT_INDEX_FILE", &index).args(args).stdout(Stdio::piped());
            command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
            let mut child = command.spawn().ok()?;
            if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
                stdin.write_all(input.as_bytes()).ok()?;
            }
            let output = child.wait_with_output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        };
        if let Some(parent) = &parent {
            with_index(&["read-tree", parent], None)?;
        }
        for change in changes {
            let Change::Write(path, content) = change;
            let blob = with_index(&["hash-object", "-w", "--stdin"], Some(content))?;
            with_index(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")], None)?;
        }
        let tree = with_index(&["write-tree"], None)?;
        let parents: Vec<&str> = parent.as_deref().into_iter().collect();
        let sha = self.commit_tree(&tree, &parents, author, message, now)?;
        self.set_ref(&format!("refs/heads/{branch}"), &sha)?;
        Some(sha)
    }

    fn commit_tree(
        &self,
        tree: &str,
        parents: &[&str],
        author: &str,
        message: &str,
        now: Timestamp,
    ) -> Option<String> {
        let mut command = self.command();
        let email = format!("{author}@users.noreply.example");
        let date = format!("{} +0000", now.as_second());
        command.args(["commit-tree", tree, "-m", message]);
        for parent in parents {
            command.args(["-p", parent]);
        }
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), author);
            command.env(format!("GIT_{role}_EMAIL"), &email);
            command.env(format!("GIT_{role}_DATE"), &date);
        }
        let output = command.output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Takes the machine's git configuration away from a command.
pub(crate) fn isolate(command: &mut Command) {
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"] {
        command.env_remove(name);
    }
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
}

fn parse_commit(record: &str) -> Option<Commit> {
    let mut parts = record.splitn(10, '\u{1f}');
    let mut next = || parts.next();
    let at = |text: &str| text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    Some(Commit {
        sha: next()?.to_owned(),
        tree: next()?.to_owned(),
        parents: next()?.split_whitespace().map(str::to_owned).collect(),
        author: next()?.to_owned(),
        author_email: next()?.to_owned(),
        authored_at: at(next()?)?,
        committer: next()?.to_owned(),
        committer_email: next()?.to_owned(),
        committed_at: at(next()?)?,
        message: next()?.trim_end().to_owned(),
    })
}
