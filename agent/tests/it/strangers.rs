//! The file contract is enough: `examples/third-party` plays both sides in shell, and each side gets on with ours and
//! with the other stranger. What either of them writes is held against the committed schemas.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cloud_code_task_schema::{
    AgentStatus, EventKind, FailureKind, Reporting, TaskReport, TaskReportStatus, findings, parse_event,
    parse_reporting, parse_tasking, to_yaml,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::house::wait;

/// Text that has broken readers: quotes of both kinds, backslashes, a comment, keys, several lines.
const TITLE: &str = r#"Say "it's": [hi] # now \ then"#;
const DESCRIPTION: &str = "First line \\ \"two\"\n  status: failed\n- not: a task\n\nlast: 'line'";

fn stranger(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/third-party").join(name)
}

fn agents() -> [PathBuf; 2] {
    [PathBuf::from(env!("CARGO_BIN_EXE_cloud-code-agent")), stranger("agent.sh")]
}

/// A repository, a CLI, and the folder of one run.
struct Stage(tempfile::TempDir);

impl Stage {
    fn new(cli: &str) -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        let script = format!("#!/bin/sh\nNOTES={}\n{cli}\n", stage.path("").display());
        fs::write(stage.path("cli"), script).unwrap();
        fs::set_permissions(stage.path("cli"), fs::Permissions::from_mode(0o755)).unwrap();
        let manifest =
            format!("name: stranger\ncommand: [\"{}\", 'an argument']\n", stage.path("cli").display());
        fs::write(stage.path("cli.yaml"), manifest).unwrap();
        stage.git(&["init", "-q", "-b", "main"]);
        stage.git(&["commit", "-q", "--allow-empty", "-m", "start"]);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn git(&self, arguments: &[&str]) -> String {
        fs::create_dir_all(self.path("repository")).unwrap();
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
        let mut command = Command::new("git");
        command.arg("-C").arg(self.path("repository")).args(identity).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Starts the stranger's orchestrator with an agent.
    fn orchestrate(&self, agent: &Path) -> Child {
        let mut command = Command::new("timeout");
        command
            .arg("50")
            .arg(stranger("orchestrator.sh"))
            .arg(self.path("repository"))
            .arg(self.path("cli.yaml"));
        command
            .args([TITLE, DESCRIPTION])
            .env("AGENT", agent)
            .env("RUN", self.path("run"))
            .env("BRANCH", "work");
        command.env("TMPDIR", self.path(""));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    /// Reads what both sides wrote, as strictly as anybody may.
    fn outcome(&self) -> (Reporting, TaskReport) {
        let reporting = assert_contract(&self.path("run/control"));
        let report = reporting.tasks.values().next().unwrap().clone();
        (reporting, report)
    }
}

fn schema(kind: &str) -> jsonschema::Validator {
    let path = format!("{}/../task-schema/schemas/{kind}.v1.schema.json", env!("CARGO_MANIFEST_DIR"));
    jsonschema::validator_for(&serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()).unwrap()
}

fn assert_valid(kind: &str, document: &serde_json::Value) {
    let errors: Vec<String> = schema(kind).iter_errors(document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{kind}: {errors:?}\n{document:#}");
}

/// By the schemas, by our readers, and laid side by side.
fn assert_contract(control: &Path) -> Reporting {
    let text = |name: &str| fs::read_to_string(control.join(name)).unwrap();
    for kind in ["tasking", "reporting", "cli"] {
        let document: serde_json::Value = serde_yaml::from_str(&text(&format!("{kind}.yaml"))).unwrap();
        assert_valid(kind, &document);
    }
    let event_schema = schema("event");
    for (at, line) in text("events.jsonl").lines().enumerate() {
        let document = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event_schema.is_valid(&document), "{line}");
        assert_eq!(parse_event("events.jsonl", at + 1, line).unwrap().seq, at as u64 + 1);
    }
    let tasking = parse_tasking("tasking.yaml", &text("tasking.yaml")).unwrap();
    let reporting = parse_reporting("reporting.yaml", &text("reporting.yaml")).unwrap();
    let found = findings(Some(&tasking), Some(&reporting), jiff::Timestamp::now());
    assert!(found.is_empty(), "{found:?}");
    reporting
}

fn events(control: &Path) -> Vec<EventKind> {
    let text = fs::read_to_string(control.join("events.jsonl")).unwrap();
    text.lines().map(|line| parse_event("events.jsonl", 1, line).unwrap().kind).collect()
}

fn starts(control: &Path) -> usize {
    events(control).iter().filter(|kind| matches!(kind, EventKind::CliStarted { .. })).count()
}

#[test]
fn a_task_is_done_and_comes_back_as_a_branch() {
    for agent in agents() {
        let stage = Stage::new("cat > PROMPT.md; printf '%s' \"$1\" > argument; echo \"said: it's 'done'\"");
        let output = stage.orchestrate(&agent).wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        let (_, report) = stage.outcome();
        assert_eq!((report.status, report.failure), (TaskReportStatus::Completed, None));
        assert_eq!(report.summary.as_deref(), Some("said: it's 'done'"));
        assert_eq!(report.head.unwrap(), stage.git(&["rev-parse", "work"]));
        let subjects = report.commits.iter().map(|commit| commit.message.as_str()).collect::<Vec<_>>();
        assert_eq!(stage.git(&["log", "--format=%s", "main..work"]), subjects.join("\n"));
        let prompt = stage.git(&["show", "work:PROMPT.md"]);
        assert!(prompt.contains(TITLE) && prompt.contains(DESCRIPTION), "{prompt}");
        assert_eq!(stage.git(&["show", "work:argument"]), "an argument");
        assert!(told.contains("status: completed\n"), "{told}");
    }
}

#[test]
fn a_failure_is_told_with_its_kind() {
    for agent in agents() {
        let stage = Stage::new("echo half > half; echo 'no such thing' >&2; exit 3");
        let output = stage.orchestrate(&agent).wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        let (_, report) = stage.outcome();
        assert_eq!(report.status, TaskReportStatus::Failed);
        assert_eq!(report.failure.unwrap().kind, FailureKind::Crashed);
        assert_eq!(report.exit.unwrap().code, Some(3));
        assert!(told.contains("status: failed\n") && told.contains("failure: crashed: "), "{told}");
        assert_eq!(stage.git(&["show", "work:half"]), "half");
    }
}

#[test]
fn a_cancel_reaches_the_cli_and_its_work_is_kept() {
    for agent in agents() {
        let stage = Stage::new("echo half > half; echo begun; touch $NOTES/begun; exec sleep 600");
        let orchestrator = stage.orchestrate(&agent);
        wait("the CLI", || stage.note("begun"));
        // `timeout` hands the signal on to the script.
        kill(Pid::from_raw(i32::try_from(orchestrator.id()).unwrap()), Signal::SIGTERM).unwrap();
        let output = orchestrator.wait_with_output().unwrap();
        let (reporting, report) = stage.outcome();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((report.status, report.failure), (TaskReportStatus::Cancelled, None), "{told}");
        assert_eq!(reporting.observed_generation, 2);
        assert_eq!(stage.git(&["show", "work:half"]), "half");
    }
}

#[test]
fn another_agent_goes_on_after_a_killed_one() {
    for agent in agents() {
        let stage = Stage::new(
            "echo run >> $NOTES/runs; [ $(wc -l < $NOTES/runs) = 2 ] || { until grep -q in_progress $NOTES/run/control/reporting.yaml; do sleep 0.02; done; kill -9 $PPID; exit 1; }; echo x > file",
        );
        let output = stage.orchestrate(&agent).wait_with_output().unwrap();
        let (_, report) = stage.outcome();
        assert_eq!((report.status, report.attempt), (TaskReportStatus::Completed, 2));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(stage.note("runs").unwrap(), "run\nrun\n");
    }
}

/// The stranger's agent alone, on files as our orchestrator writes them.
struct Alone(Stage);

impl Alone {
    fn new(cli: &str, tasks: &str) -> Self {
        let stage = Stage::new(cli);
        fs::create_dir_all(stage.path("control")).unwrap();
        fs::create_dir_all(stage.path("home")).unwrap();
        fs::copy(stage.path("cli.yaml"), stage.path("control/cli.yaml")).unwrap();
        let alone = Self(stage);
        alone.assign(1, tasks);
        alone
    }

    /// Through our types and our writer.
    fn assign(&self, generation: u32, tasks: &str) {
        let text = format!(
            "version: 1\ngeneration: {generation}\nupdated_at: 2026-11-20T10:00:00Z\nworkspace: acme/shop#42\ncli: stranger\ntasks: {tasks}"
        );
        self.publish(&to_yaml(&parse_tasking("tasking.yaml", &text).unwrap()).unwrap());
    }

    fn publish(&self, text: &str) {
        fs::write(self.0.path("control/.next"), text).unwrap();
        fs::rename(self.0.path("control/.next"), self.0.path("control/tasking.yaml")).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command.arg("50").arg(stranger("agent.sh"));
        for (option, folder) in [("--control", "control"), ("--workspace", "repository"), ("--home", "home")]
        {
            command.arg(option).arg(self.0.path(folder));
        }
        command.args(["--grace", "1s"]).env("TMPDIR", self.0.path("")).stdin(Stdio::null());
        command
    }

    fn run_once(&self) -> Reporting {
        let output = self.command().arg("--once").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_contract(&self.0.path("control"))
    }
}

fn task(id: &str, keys: &str) -> String {
    let description = serde_json::Value::from(DESCRIPTION);
    format!(
        "{{id: {id}, status: assigned, title: Title of {id}, description: {description}, branch: work, base: main{keys}}}"
    )
}

#[test]
fn the_strangers_agent_reads_what_our_orchestrator_writes() {
    let tasks = [
        task("one", ""),
        task("two", "").replace("assigned", "cancelled"),
        task("three", ", verify: [cargo test]"),
        task("four", ", mode: plan"),
    ];
    let alone = Alone::new("cat >> PROMPT.md", &format!("[{}]", tasks.join(", ")));
    let reporting = alone.run_once();
    let ends: Vec<_> = ["one", "two", "three", "four"]
        .map(|id| &reporting.tasks[&id.parse().unwrap()])
        .map(|report| (report.status, report.failure.as_ref().map(|failure| failure.kind)))
        .into();
    let refused = (TaskReportStatus::Failed, Some(FailureKind::InvalidTasking));
    assert_eq!(
        ends,
        [(TaskReportStatus::Completed, None), (TaskReportStatus::Cancelled, None), refused, refused]
    );
    assert!(alone.0.git(&["show", "HEAD:PROMPT.md"]).ends_with(&format!("# Title of one\n\n{DESCRIPTION}")));
    // An ended task is never run again, and the numbers of the events go on.
    alone.assign(2, &format!("[{}]", tasks.join(", ")));
    assert_eq!(alone.run_once().tasks.len(), 4);
    assert_eq!(starts(&alone.0.path("control")), 1);
}

#[test]
fn the_strangers_agent_obeys_the_clocks() {
    let tasks = [
        task("one", ", limits: {timeout: 2s}"),
        task("two", ", limits: {idle_timeout: 2s}"),
        task("three", ", limits: {start_timeout: 2s}"),
    ];
    let script = "read title; echo \"$title\" > file; case $title in *three) ;; *) echo begun ;; esac\ncase $title in *one) while :; do echo tick; sleep 1; done ;; esac; sleep 600";
    let reporting = Alone::new(script, &format!("[{}]", tasks.join(", "))).run_once();
    let kinds = ["one", "two", "three"].map(|id| {
        let report = &reporting.tasks[&id.parse().unwrap()];
        assert_eq!((report.status, report.commits.len()), (TaskReportStatus::TimedOut, 1));
        report.failure.as_ref().unwrap().kind
    });
    assert_eq!(kinds, [FailureKind::Timeout, FailureKind::Idle, FailureKind::StartTimeout]);
}

/// Refused with a report that says why; a better file is taken up.
#[test]
fn the_strangers_agent_refuses_what_it_does_not_understand() {
    let alone = Alone::new("echo x > file", "[]");
    let control = alone.0.path("control");
    let good = fs::read_to_string(control.join("tasking.yaml")).unwrap();
    let wait_status = |status| {
        wait("the agent's status", || {
            let text = fs::read_to_string(control.join("reporting.yaml")).ok()?;
            let reporting = parse_reporting("reporting.yaml", &text).unwrap();
            assert_valid("reporting", &serde_yaml::from_str(&text).unwrap());
            (reporting.status == status).then_some(reporting)
        })
    };
    alone.publish(&good.replace("version: 1", "version: 2"));
    let mut agent = alone.command().spawn().unwrap();
    let refused = wait_status(AgentStatus::Error).failure.unwrap();
    assert_eq!(refused.kind, FailureKind::InvalidTasking);
    assert!(refused.message.contains("version 2 is not known"), "{}", refused.message);
    alone.publish(&good);
    wait_status(AgentStatus::Idle);
    kill(Pid::from_raw(i32::try_from(agent.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(agent.wait().unwrap().success());
    wait_status(AgentStatus::Stopping);
}
