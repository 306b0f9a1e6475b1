//! A house of one's own for each story: a home folder, a repository, and containers that are removed afterwards.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a story waits for something that should come. Loaded machines are slow; a hang still ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// The top of the checkout.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A program that `make build` puts beside cloud-code.
pub(crate) fn built(name: &str) -> PathBuf {
    let path = top().join("target/release").join(name);
    assert!(path.is_file(), "{} is missing: run `make build`", path.display());
    path
}

/// Waits until `look` has an answer.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a program to its end; a failure is told with everything it printed.
pub(crate) fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// git in a repository of the story, with nobody's configuration.
pub(crate) fn git<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(args);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for (name, value) in [("GIT_AUTHOR_NAME", "Story"), ("GIT_COMMITTER_NAME", "Story")] {
        command.env(name, value);
    }
    for name in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
        command.env(name, "story@example.com");
    }
    done(&mut command)
}

/// How a command ended.
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
    /// Fails the story unless the command ended so.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
    /// The JSON lines of standard output.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// One installation with one repository.
pub(crate) struct House {
    dir: tempfile::TempDir,
}

impl House {
    /// A home folder, and a repository with one commit on `main`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cloud-code-story-").tempdir().unwrap();
        // A CLI of the local runtime runs as another user and must get through.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let house = Self { dir };
        fs::create_dir(house.home()).unwrap();
        let agent = built("cloud-code-agent");
        house.settings(&format!("agent_binary: {}\n", agent.display()));
        let repo = house.repo();
        fs::create_dir(&repo).unwrap();
        git(&repo, ["init", "--quiet", "--initial-branch=main"]);
        house.write("README.md", "# Sample\n\nA sample.\n");
        house.write("src/app.sh", "echo hello\n");
        git(&repo, ["add", "--all"]);
        git(&repo, ["commit", "--quiet", "--message", "Start"]);
        house
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }
    pub(crate) fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }
    /// Writes a file of the repository.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.repo().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    /// Writes `cloud-code.yaml`.
    pub(crate) fn settings(&self, text: &str) {
        fs::write(self.home().join("cloud-code.yaml"), text).unwrap();
    }
    /// Adds lines to `cloud-code.yaml`.
    pub(crate) fn more_settings(&self, text: &str) {
        let file = self.home().join("cloud-code.yaml");
        let old = fs::read_to_string(&file).unwrap();
        fs::write(file, format!("{old}{text}")).unwrap();
    }

    /// cloud-code, with a clean environment.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-code"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command.env_clear().env("CLOUD_CODE_HOME", self.home());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.path());
        if let Some(host) = std::env::var_os("DOCKER_HOST") {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    /// Runs cloud-code to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        Ended::of(&self.command(args).output().unwrap())
    }

    /// Starts cloud-code.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        Running::of(&mut self.command(args))
    }

    /// Arguments of a `run` of the CLI `command` in Docker, without a network.
    pub(crate) fn shell_task<'a>(&self, script: &'a str, task: &'a str) -> Vec<String> {
        let repo = self.repo().display().to_string();
        let quoted = format!("sh -euc '{script}'");
        assert!(!script.contains('\''), "the script stands in single quotes");
        ["run", "--repo", &repo, "--cli", "command", "--network", "none", "--command", &quoted, task]
            .map(str::to_owned)
            .to_vec()
    }

    /// The control directory of an issue.
    pub(crate) fn control(&self, issue: &str) -> PathBuf {
        self.issue(issue).join(".cloud-code")
    }
    /// The workspace of an issue.
    pub(crate) fn issue(&self, issue: &str) -> PathBuf {
        let projects = self.home().join("workspaces");
        let project = wait_for("the project's folder", || fs::read_dir(&projects).ok()?.next()?.ok());
        project.path().join(issue)
    }
    /// The mirror.
    pub(crate) fn mirror(&self) -> PathBuf {
        let mut found = fs::read_dir(self.home().join("repos")).unwrap().map(|e| e.unwrap().path());
        found.find(|p| p.extension().is_some_and(|e| e == "git")).unwrap()
    }
    /// Containers of this installation that are there, running or not.
    pub(crate) fn containers(&self) -> Vec<String> {
        let Ok(instance) = fs::read_to_string(self.home().join("instance")) else { return Vec::new() };
        let filter = format!("label=cloud-code.instance={}", instance.trim());
        let listed = done(Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &filter]));
        listed.lines().map(str::to_owned).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.run(["clean", "--all", "--force"]);
        if self.home().join("instance").exists() {
            for container in self.containers() {
                let _ = Command::new("docker").args(["rm", "--force", &container]).output();
            }
        }
    }
}

/// A cloud-code process that runs.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts a command of cloud-code, with its output kept.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }
    pub(crate) fn signal(&self, name: &str) {
        done(Command::new("kill").args(["-s", name, &self.child.id().to_string()]));
    }
    pub(crate) fn end(self) -> Ended {
        Ended::of(&self.child.wait_with_output().unwrap())
    }
}

/// A container that holds the scripted model server and a network of its own, with loopback only.
pub(crate) struct Model {
    container: String,
    dir: tempfile::TempDir,
}

/// Where the server listens inside its network.
pub(crate) const MODEL_URL: &str = "http://127.0.0.1:8080";

impl Model {
    /// Starts one with a script of the testkit.
    pub(crate) fn start(script: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("cloud-code-model-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let script = top().join("orchestrator/testkit/scripts").join(script);
        assert!(script.is_file(), "{} is missing", script.display());
        let volume = |from: &Path, to: &str| format!("{}:{to}", from.display());
        let container = done(
            Command::new("docker")
                .args(["run", "--detach", "--network", "none", "--volume"])
                .arg(volume(&built("cloud-code-testkit"), "/testkit:ro"))
                .arg("--volume")
                .arg(volume(&script, "/script.yaml:ro"))
                .arg("--volume")
                .arg(volume(dir.path(), "/model"))
                .args(["cloud-code/base:latest", "/testkit", "serve", "--script", "/script.yaml"])
                .args(["--listen", "127.0.0.1:8080", "--port-file", "/model/port"])
                .args(["--journal", "/model/journal.jsonl"]),
        );
        let model = Self { container: container.trim().to_owned(), dir };
        wait_for("the scripted model server", || {
            let runs = done(Command::new("docker").args([
                "inspect",
                "--format",
                "{{.State.Running}}",
                &model.container,
            ]));
            assert_eq!(runs.trim(), "true", "the scripted model server ended:\n{}", model.logs());
            model.dir.path().join("port").exists().then_some(())
        });
        model
    }
    /// What the server said.
    fn logs(&self) -> String {
        let output = Command::new("docker").args(["logs", &self.container]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
    /// The network to join.
    pub(crate) fn network(&self) -> String {
        format!("container:{}", self.container)
    }
    /// Requests so far, one JSON object each.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join("journal.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.container]).output();
    }
}
