//! A worktree, a HOME and a control directory for one agent, and the images it is put into.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use cloud_code_task_schema::{Event, EventKind, Reporting, TaskReport, parse_event, parse_reporting};

use crate::support::{built, done, git, top};

/// Whom the CLI runs as when the tests are root's. No image here has a user of that number.
const CLI_USER: u32 = 10001;
/// In the container: HOME of the CLI.
pub(crate) const HOME: &str = "/home/cloud-code";
/// The only task.
const TASK: &str = "T1";

/// Builds a stage of the Dockerfile beside this file, once for all tests, and gives the image's name.
pub(crate) fn image(stage: &str) -> String {
    static BUILT: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    // A test that fails while it builds must not spoil the others' message.
    let mut images = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    images.entry(stage.to_owned()).or_insert_with(|| build(stage)).clone()
}

fn build(stage: &str) -> String {
    let name = format!("cloud-code-test/images-{stage}:latest");
    let codex = fs::read_to_string(top().join("docker/versions.env")).unwrap();
    let codex = codex.lines().find_map(|line| line.strip_prefix("CODEX_VERSION=")).unwrap();
    for needed in ["cloud-code/base:latest".to_owned(), format!("cloud-code/codex:{codex}")] {
        let found = Command::new("docker").args(["image", "inspect", &needed]).output().unwrap();
        assert!(found.status.success(), "the image {needed} is missing: run `make images`");
    }
    // The context is the Dockerfile alone, on standard input.
    let file = top().join("orchestrator/cli/tests/images/Dockerfile");
    let mut command = Command::new("docker");
    command.args(["build", "--quiet", "--target", stage, "--tag", &name]);
    command.args(["--build-arg", &format!("CODEX_IMAGE=cloud-code/codex:{codex}"), "-"]);
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        if std::env::var_os(proxy).is_some() {
            command.args(["--build-arg", proxy]);
        }
    }
    done(command.stdin(File::open(file).unwrap()));
    name
}

/// Whose the worktree and HOME are: whoever runs the tests, but never root.
fn owner() -> u32 {
    let own = nix::unistd::getuid();
    if own.is_root() { CLI_USER } else { own.as_raw() }
}

/// One agent's folders on the host.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    owner: u32,
    extra: String,
}

impl Place {
    /// A worktree with one commit, and a task for the program `argv`, which is the CLI.
    pub(crate) fn new(argv: &[&str]) -> Self {
        let argv = serde_json::to_string(argv).unwrap();
        Self::with_manifest(&format!("name: command\ncommand: {argv}\nprompt: stdin\noutput: text\n"))
    }

    /// The same for the CLI of a manifest.
    pub(crate) fn with_manifest(manifest: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("cloud-code-images-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["control", "control/logs", "home", "tree"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("control/cli.yaml"), manifest).unwrap();
        let place = Self { dir, owner: owner(), extra: String::new() };
        let tree = place.tree();
        git(&tree, ["init", "--quiet", "--initial-branch=main"]);
        fs::write(tree.join("README.md"), "# Sample\n\nA sample.\n").unwrap();
        git(&tree, ["add", "--all"]);
        git(&tree, ["commit", "--quiet", "--message", "Start"]);
        git(&tree, ["checkout", "--quiet", "--detach"]);
        place.give(&tree, place.owner);
        place.give(&place.path("home"), place.owner);
        place
    }

    /// More keys of the task, in YAML's flow style.
    pub(crate) fn with(mut self, extra: &str) -> Self {
        self.extra = format!(", {extra}");
        self
    }

    /// Makes everything somebody's; needs root, as everything here that is about other users.
    fn give(&self, path: &Path, owner: u32) {
        if owner == nix::unistd::getuid().as_raw() {
            return;
        }
        chown(path, Some(owner), Some(owner)).unwrap();
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                self.give(&entry.unwrap().path(), owner);
            }
        }
    }

    /// The tests' user may not give files away unless it is root.
    pub(crate) fn everything_belongs_to(mut self, owner: u32) -> Self {
        assert!(nix::unistd::getuid().is_root(), "this test gives files to another user: run it as root");
        self.owner = owner;
        for folder in ["control", "home", "tree"] {
            self.give(&self.path(folder), owner);
        }
        self
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.path("tree")
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    /// git in the worktree, whoever owns it.
    pub(crate) fn git<const N: usize>(&self, args: [&str; N]) -> String {
        git(&self.tree(), ["-c", "safe.directory=*"].into_iter().chain(args))
    }

    /// Runs the agent as the orchestrator does: as root with four capabilities, the CLI as another user, the image's
    /// own start program and user put aside. `docker` holds more arguments of `docker run`, `agent` of the agent.
    pub(crate) fn run(&self, image: &str, docker: &[&str], agent: &[&str]) -> Ended {
        let user = format!("{0}:{0}", self.owner);
        let mut options = vec!["--user", "0:0"];
        options.extend(["DAC_OVERRIDE", "KILL", "SETGID", "SETUID"].iter().flat_map(|c| ["--cap-add", *c]));
        options.extend(docker);
        let mut arguments = vec!["--user", user.as_str()];
        arguments.extend(agent);
        self.run_alone(image, &options, &arguments)
    }

    /// Runs the agent as whoever `docker` says, by default the image's own user.
    pub(crate) fn run_alone(&self, image: &str, docker: &[&str], agent: &[&str]) -> Ended {
        let cli = fs::read_to_string(self.path("control/cli.yaml")).unwrap();
        let cli = cli.lines().find_map(|line| line.strip_prefix("name: ")).unwrap();
        let tasking = format!(
            "version: 1\ngeneration: 1\nupdated_at: 2026-01-01T00:00:00Z\nworkspace: sample#1\ncli: {cli}\ntasks:\n- {{id: {TASK}, \
             status: assigned, title: Edit the heading, description: Edit it, branch: work, base: main{}}}\n",
            self.extra
        );
        fs::write(self.path("control/tasking.yaml"), tasking).unwrap();
        let volume = |from: &Path, to: &str| format!("{}:{to}", from.display());
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--interactive", "--cap-drop", "ALL"]);
        command.args(["--security-opt", "no-new-privileges", "--entrypoint", "/agent"]);
        command.args(["--volume", &volume(&built("cloud-code-agent"), "/agent:ro")]);
        for (folder, target) in [("control", "/control"), ("home", HOME), ("tree", "/workspace")] {
            command.args(["--volume", &volume(&self.path(folder), target)]);
        }
        command.args(["--workdir", "/workspace"]);
        if !docker.contains(&"--network") {
            command.args(["--network", "none"]);
        }
        command.args(docker).arg(image);
        command.args(["--control", "/control", "--workspace", "/workspace", "--home", HOME, "--once"]);
        done(command.args(agent));
        let read = |name: &str| fs::read_to_string(self.path("control").join(name)).unwrap();
        let report = parse_reporting("reporting.yaml", &read("reporting.yaml")).unwrap();
        let events = read("events.jsonl");
        let events = events.lines().enumerate();
        let events = events.map(|(n, line)| parse_event("events.jsonl", n + 1, line).unwrap()).collect();
        let log = fs::read(self.path(&format!("control/logs/{TASK}.1.log"))).unwrap_or_default();
        Ended { report, events, log: String::from_utf8_lossy(&log).into_owned() }
    }
}

/// What the agent left.
pub(crate) struct Ended {
    pub(crate) report: Reporting,
    pub(crate) events: Vec<Event>,
    /// The CLI's raw output.
    pub(crate) log: String,
}

impl Ended {
    pub(crate) fn task(&self) -> &TaskReport {
        self.report.tasks.iter().find(|(id, _)| id.as_str() == TASK).unwrap().1
    }
    /// Everything there is to read, for a test that fails.
    /// How often the CLI was started.
    pub(crate) fn starts(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.kind, EventKind::CliStarted { .. })).count()
    }

    pub(crate) fn told(&self) -> String {
        format!("{:#?}\n{:#?}\n{}", self.task(), self.events, self.log)
    }
}
