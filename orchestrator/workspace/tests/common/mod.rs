//! Real repositories for the tests: a user's source, a mirror, and an issue whose agent is played by plain git.

#![allow(dead_code, clippy::allow_attributes, reason = "every test file uses another part")]

pub(crate) mod forge;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cloud_code_model::{IssueKey, ProjectName};
use cloud_code_task_schema::BranchName;
use cloud_code_workspace::{
    CommitId, Expectations, GitView, ImportError, ImportOutcome, ImportPolicy, ImportRequest, IssuePaths,
    Layout, Mirror, Owner, PrepareRequest, Prepared, Source, SourceFacts, UncommittedWork, import, inspect,
    prepare,
};

/// Who owns worktrees when the tests run as root. Nobody on any machine.
const OWNER_UNDER_ROOT: u32 = 4321;

/// The user that owns worktrees and runs git in containers.
pub(crate) fn uid() -> u32 {
    if am_root() { OWNER_UNDER_ROOT } else { my_uid() }
}

fn my_uid() -> u32 {
    fs::metadata("/proc/self").expect("proc").uid()
}

/// Gives a tree away. Without root, Docker does it.
pub(crate) fn chown(path: &Path, uid: u32) {
    let mut command = if am_root() {
        Command::new("chown")
    } else {
        let mut docker = Command::new("docker");
        docker.args(["run", "--rm", "--network=none", "-v"]);
        docker.arg(format!("{0}:{0}", path.display())).args(["debian:bookworm-slim", "chown"]);
        docker
    };
    check(command.args(["-R", &format!("{uid}:{uid}")]).arg(path));
}

/// One `$CLOUD_CODE_HOME`, one user's repository, one project.
pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) layout: Layout,
    pub(crate) project: ProjectName,
    pub(crate) source: PathBuf,
    pub(crate) mirror: Mirror,
    pub(crate) base: CommitId,
}

/// A git that no configuration of this machine can change.
pub(crate) fn git_command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([("GIT_AUTHOR_NAME", "Ann"), ("GIT_AUTHOR_EMAIL", "ann@example.org")])
        .envs([("GIT_COMMITTER_NAME", "Ann"), ("GIT_COMMITTER_EMAIL", "ann@example.org")])
        .args([
            "-c",
            "safe.directory=*",
            "-c",
            "protocol.file.allow=always",
            "-c",
            "init.defaultBranch=main",
        ]);
    command
}

pub(crate) fn check(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    assert!(
        status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).expect("UTF-8").trim_end().to_owned()
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    check(git_command(dir).args(args))
}

pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    fs::write(path, content).expect("a file");
}

/// A repository with a first commit on `main`.
pub(crate) fn source(dir: &Path) -> PathBuf {
    let path = dir.join("shop");
    fs::create_dir_all(&path).expect("a folder");
    git(&path, &["init", "-q"]);
    write(&path.join("README.md"), "# Shop\n");
    write(&path.join("src/login.rs"), "fn login() {}\n");
    write(&path.join(".github/workflows/ci.yml"), "on: push\n");
    git(&path, &["add", "-A"]);
    git(&path, &["commit", "-qm", "Start"]);
    path
}

pub(crate) fn branch(name: &str) -> BranchName {
    BranchName::try_from(name.to_owned()).expect("a branch name")
}

pub(crate) fn id(text: &str) -> CommitId {
    text.parse().expect("a commit id")
}

pub(crate) fn owner() -> Option<Owner> {
    am_root().then(|| Owner::new(uid(), uid()).expect("not root"))
}

pub(crate) fn am_root() -> bool {
    my_uid() == 0
}

pub(crate) fn expectations(base: Option<&str>, uncommitted: UncommittedWork) -> Expectations {
    Expectations { uncommitted, base: base.map(branch) }
}

pub(crate) fn facts(path: &Path) -> SourceFacts {
    inspect(&Source::Path(path.to_owned()), &expectations(None, UncommittedWork::Refused))
        .expect("a good source")
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(source)
    }

    pub(crate) fn with(make: impl FnOnce(&Path) -> PathBuf) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        // As a service's home would be: others may pass, not list.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("mode");
        let source = make(dir.path());
        let layout = Layout::new(dir.path().join("home"));
        let project: ProjectName = "shop".parse().expect("a name");
        let mirror = Mirror::ensure(&layout, &project).expect("a mirror");
        let facts = facts(&source);
        mirror.fetch(&facts.source, &facts.base, None).expect("a fetch");
        let base = mirror.base(&facts.base).expect("refs").expect("a base");
        Self { dir, layout, project, source, mirror, base }
    }

    pub(crate) fn paths(&self, issue: &str) -> IssuePaths {
        self.layout.issue(&self.project, &issue.parse::<IssueKey>().expect("a key"))
    }

    pub(crate) fn prepare(&self, issue: &str, view: GitView) -> Prepared {
        let paths = self.paths(issue);
        prepare(&PrepareRequest {
            mirror: &self.mirror,
            paths: &paths,
            base: &self.base,
            settings_from: None,
            view,
            owner: owner(),
        })
        .expect("a workspace")
    }

    /// An agent that works with the plain git program in a prepared workspace.
    pub(crate) fn agent(&self, issue: &str) -> Agent {
        let prepared = self.prepare(issue, GitView::Host);
        Agent { paths: self.paths(issue), env: prepared.env, mirror: self.mirror.path().to_owned() }
    }

    pub(crate) fn import(&self, issue: &str, head: &str) -> Result<ImportOutcome, ImportError> {
        self.import_with(issue, head, None, &ImportPolicy::default())
    }

    pub(crate) fn import_with(
        &self,
        issue: &str,
        head: &str,
        expected_old: Option<&str>,
        policy: &ImportPolicy,
    ) -> Result<ImportOutcome, ImportError> {
        let (paths, head, old) = (self.paths(issue), id(head), expected_old.map(id));
        let name = branch(&format!("cloud-code/{issue}"));
        import(&ImportRequest {
            mirror: &self.mirror,
            paths: &paths,
            base: &self.base,
            base_branch: &branch("main"),
            head: &head,
            branch: &name,
            expected_old: old.as_ref(),
            policy,
        })
    }

    /// Everything the host trusts: the mirror, and all other issues' folders.
    pub(crate) fn snapshot(&self, except: &str) -> BTreeMap<PathBuf, String> {
        let mut all = digest(self.mirror.path());
        let workspaces = self.layout.home().join("workspaces/shop");
        if let Ok(entries) = fs::read_dir(workspaces) {
            for entry in entries.flatten().filter(|entry| entry.file_name() != except) {
                all.extend(digest(&entry.path()));
            }
        }
        all
    }
}

/// The played agent.
pub(crate) struct Agent {
    pub(crate) paths: IssuePaths,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mirror: PathBuf,
}

impl Agent {
    pub(crate) fn command(&self) -> Command {
        let mut command = git_command(&self.paths.tree);
        command.envs(self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        command
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        check(self.command().args(args))
    }

    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, content) in files {
            write(&self.paths.tree.join(path), content);
        }
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-qm", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes an object without any of git's own checks.
    pub(crate) fn object(&self, kind: &str, content: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), content).expect("content");
        let path = file.path().to_string_lossy().into_owned();
        self.git(&["hash-object", "-t", kind, "--literally", "-w", "--no-filters", &path])
    }

    /// A folder object with exactly these entries: mode, name, id.
    pub(crate) fn tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut content = Vec::new();
        for (mode, name, id) in entries {
            content.extend_from_slice(mode.as_bytes());
            content.push(b' ');
            content.extend_from_slice(name);
            content.push(0);
            content.extend((0..20).map(|i| u8::from_str_radix(&id[2 * i..2 * i + 2], 16).expect("hex")));
        }
        self.object("tree", &content)
    }

    pub(crate) fn commit_tree(&self, tree: &str, parents: &[&str]) -> String {
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            text.push_str(&format!("parent {parent}\n"));
        }
        text.push_str("author A <a@b> 1700000000 +0000\ncommitter A <a@b> 1700000000 +0000\n\nForged\n");
        self.object("commit", text.as_bytes())
    }

    /// A commit on `parent` whose root holds one more entry.
    pub(crate) fn commit_with_entry(&self, parent: &str, mode: &str, name: &[u8], id: &str) -> String {
        let listing = self.command().args(["ls-tree", "-z", parent]).output().expect("ls-tree").stdout;
        let mut entries: Vec<(String, Vec<u8>, String)> = listing
            .split(|b| *b == 0)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let tab = line.iter().position(|b| *b == b'\t').expect("a tab");
                let head = String::from_utf8_lossy(&line[..tab]).into_owned();
                let mut words = head.split(' ');
                let mode = words.next().expect("mode").trim_start_matches('0').to_owned();
                let id = words.nth(1).expect("id").to_owned();
                (mode, line[tab + 1..].to_vec(), id)
            })
            .collect();
        entries.retain(|(_, old, _)| old != name);
        entries.push((mode.to_owned(), name.to_vec(), id.to_owned()));
        entries.sort_by_key(|(mode, name, _)| {
            let mut key = name.clone();
            if mode == "40000" {
                key.push(b'/');
            }
            key
        });
        let entries: Vec<(&str, &[u8], &str)> =
            entries.iter().map(|(mode, name, id)| (mode.as_str(), name.as_slice(), id.as_str())).collect();
        let tree = self.tree(&entries);
        self.commit_tree(&tree, &[parent])
    }
}

/// Every path under `root` with its kind, mode, owner and content.
pub(crate) fn digest(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut stack = vec![root.to_owned()];
    while let Some(path) = stack.pop() {
        let meta = fs::symlink_metadata(&path).expect("metadata");
        let content = if meta.is_dir() {
            stack.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            "folder".to_owned()
        } else if meta.is_symlink() {
            format!("link to {}", fs::read_link(&path).expect("a link").display())
        } else if meta.is_file() {
            let bytes = fs::read(&path).expect("a file");
            git2::Oid::hash_object(git2::ObjectType::Blob, &bytes).expect("a hash").to_string()
        } else {
            "other".to_owned()
        };
        all.insert(path, format!("{:o} {} {content}", meta.mode(), meta.uid()));
    }
    all
}

pub(crate) fn loose_path(objects: &Path, id: &str) -> PathBuf {
    objects.join(&id[..2]).join(&id[2..])
}
