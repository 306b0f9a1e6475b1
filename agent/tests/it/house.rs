//! One workspace with an agent: folders, a repository, a scripted CLI, and waiting for conditions.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cloud_code_task_schema::{Event, EventKind, Reporting, TaskReport, parse_event, parse_reporting};

/// Longest wait for any condition; far more than a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(40);
/// The CLI's user when the test runs as root.
const CLI_UID: u32 = 1000;

pub(crate) struct House {
    root: tempfile::TempDir,
    pub(crate) extra: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

/// A started agent; killed when the test ends.
pub(crate) struct Agent {
    pub(crate) child: Child,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub(crate) fn exit_code(&mut self) -> i32 {
        wait("the agent to exit", || self.child.try_wait().unwrap()).code().expect("ended by a signal")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Waits for a condition.
pub(crate) fn wait<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {LIMIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One task of a list, with the keys that a test cares about.
pub(crate) fn task(id: &str, keys: &str) -> String {
    let keys = if keys.is_empty() { String::new() } else { format!(", {keys}") };
    let status = if keys.contains("status:") { "" } else { ", status: assigned" };
    format!(
        "  - {{id: {id}, title: Title of {id}, description: Do {id}, branch: cloud-code/{id}, base: main{status}{keys}}}\n"
    )
}

impl House {
    /// A repository with one commit, and a CLI that runs `script` with `sh`.
    pub(crate) fn new(script: &str) -> Self {
        Self::with_manifest(script, "")
    }

    /// The same with further keys of `cli.yaml`.
    pub(crate) fn with_manifest(script: &str, keys: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let house = Self { root, extra: Vec::new(), env: Vec::new() };
        for folder in ["", "bin", "control", "home", "tree", "notes"] {
            let path = house.path(folder);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(house.path("control"), fs::Permissions::from_mode(0o700)).unwrap();
        let text = format!("#!/bin/sh\nNOTES={}\n{script}\n", house.path("notes").display());
        fs::write(house.path("bin/cli"), text).unwrap();
        fs::set_permissions(house.path("bin/cli"), fs::Permissions::from_mode(0o755)).unwrap();
        let cli = house.path("bin/cli");
        house.write("control/cli.yaml", &format!("name: command\ncommand: [{}]\n{keys}\n", cli.display()));
        house.git(&["init", "-q", "-b", "main"]);
        house.write("tree/README.md", "hello\n");
        house.git(&["add", "."]);
        house.git(&["commit", "-q", "-m", "start"]);
        house.give_away();
        house
    }

    /// Makes the tree a worktree beside another one of the same repository.
    pub(crate) fn becomes_linked(&self) {
        let main = self.path("home/main");
        fs::rename(self.path("tree"), &main).unwrap();
        let tree = self.path("tree");
        let add = ["-c", "safe.directory=*", "worktree", "add", "-q", "--detach"];
        let done = Command::new("git").arg("-C").arg(&main).args(add).arg(&tree).status();
        assert!(done.unwrap().success());
        self.give_away();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path("notes").join(name)).ok()
    }

    fn give_away(&self) {
        if is_root() {
            let owner = format!("{CLI_UID}:{CLI_UID}");
            let done = Command::new("chown")
                .args(["-R", &owner])
                .args(["tree", "home", "notes"].map(|name| self.path(name)))
                .status();
            assert!(done.unwrap().success());
        }
    }

    /// Git in the worktree, with discovery and identity of the test.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.path("tree"))
            .args(["-c", "safe.directory=*", "-c", "user.name=t", "-c", "user.email=t@t"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Writes `tasking.yaml` as the contract wants it: temp file, rename.
    pub(crate) fn assign(&self, generation: u64, tasks: &[String]) {
        let mut text = format!(
            "version: 1\ngeneration: {generation}\nupdated_at: 2026-11-20T10:00:00Z\nworkspace: acme/shop#42\ncli: command\n"
        );
        let _ = write!(text, "tasks:\n{}", tasks.concat());
        self.publish(&text);
    }

    pub(crate) fn publish(&self, text: &str) {
        self.write("control/.tasking.next", text);
        fs::rename(self.path("control/.tasking.next"), self.path("control/tasking.yaml")).unwrap();
    }

    /// The agent's arguments.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![];
        for (option, folder) in [("--control", "control"), ("--workspace", "tree"), ("--home", "home")] {
            arguments.extend([option.to_owned(), self.path(folder).display().to_string()]);
        }
        if is_root() && !self.extra.iter().any(|argument| argument == "--as-root") {
            arguments.extend(["--user".to_owned(), format!("{CLI_UID}:{CLI_UID}")]);
        }
        arguments.extend(self.extra.iter().filter(|argument| *argument != "--as-root").cloned());
        arguments
    }

    pub(crate) fn command(&self, wrapper: &[&str]) -> Command {
        let mut words = wrapper.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        words.push(env!("CARGO_BIN_EXE_cloud-code-agent").to_owned());
        words.extend(self.arguments());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        // What the agent passes on would differ from machine to machine.
        for name in [
            "TZ",
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        ] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().cloned()).stdin(Stdio::null());
        command
    }

    /// Starts the agent.
    pub(crate) fn start(&self) -> Agent {
        Agent { child: self.command(&[]).spawn().unwrap() }
    }

    /// Runs the agent with `--once` to its end.
    pub(crate) fn run_once(&self) -> Output {
        let output = self.command(&["timeout", "60"]).arg("--once").output().unwrap();
        let told: String = self.read("control/events.jsonl").chars().take(4_000).collect();
        assert!(output.status.success(), "{}\n{told}", String::from_utf8_lossy(&output.stderr));
        output
    }

    pub(crate) fn reporting(&self) -> Option<Reporting> {
        let text = fs::read_to_string(self.path("control/reporting.yaml")).ok()?;
        Some(parse_reporting("reporting.yaml", &text).unwrap())
    }

    /// What stands in HOME beside the list of what is never committed.
    pub(crate) fn home_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("home")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".cloud-code-never-commit").collect()
    }

    pub(crate) fn report(&self, id: &str) -> TaskReport {
        let reporting = self.reporting().expect("no reporting.yaml");
        reporting.tasks.get(&id.parse().unwrap()).cloned().unwrap_or_else(|| panic!("no report of {id}"))
    }

    pub(crate) fn wait_report(&self, what: &str, condition: impl Fn(&Reporting) -> bool) -> Reporting {
        wait(&format!("{what}; report: {}", self.read("control/reporting.yaml")), || {
            self.reporting().filter(&condition)
        })
    }

    /// Waits until a task ended.
    pub(crate) fn wait_ended(&self, id: &str) -> TaskReport {
        let id = id.parse().unwrap();
        self.wait_report("the task to end", |reporting| {
            reporting.tasks.get(&id).is_some_and(|report| report.status.is_ended())
        });
        self.report(id.as_str())
    }

    pub(crate) fn wait_note(&self, name: &str) -> String {
        wait(&format!("the CLI's note {name}"), || self.note(name))
    }

    /// Every event, checked for gaps.
    pub(crate) fn events(&self) -> Vec<Event> {
        let text = self.read("control/events.jsonl");
        let events: Vec<Event> = text
            .lines()
            .enumerate()
            .map(|(at, line)| parse_event("events.jsonl", at + 1, line).unwrap())
            .collect();
        let expected: Vec<u64> = (1..=events.len() as u64).collect();
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), expected);
        events
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let text = |event: Event| match event.kind {
            EventKind::Warning { message } => Some(message),
            _ => None,
        };
        self.events().into_iter().filter_map(text).collect()
    }

    pub(crate) fn has_warning(&self, part: &str) -> bool {
        self.warnings().iter().any(|warning| warning.contains(part))
    }

    /// How often a task's CLI was started.
    pub(crate) fn starts(&self) -> usize {
        self.events().iter().filter(|event| matches!(event.kind, EventKind::CliStarted { .. })).count()
    }
}

pub(crate) fn process_is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    !matches!(state, None | Some('Z' | 'X'))
}

pub(crate) fn transcript(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name)
}
