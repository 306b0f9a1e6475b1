//! One CLI's place to be tried: an installation, a repository, and a scripted model that all its runs share.

use std::fs;
use std::process::Command;

use cloud_code_task_schema::{Reporting, TaskReport, Tasking, parse_reporting, parse_tasking};

use crate::clis::Cli;
use crate::support::{Ended, House, MODEL_URL, Model, Running, done, git};

/// Not a key, but long enough to be masked like one.
const KEY: &str = "sk-matrix-no-real-key-1";

pub(crate) struct Bench {
    pub(crate) cli: &'static Cli,
    pub(crate) house: House,
    pub(crate) model: Model,
}

/// How a run ended, and what stands in its two files.
pub(crate) struct Run {
    pub(crate) ended: Ended,
    pub(crate) tasking: Tasking,
    pub(crate) reporting: Reporting,
}

impl Run {
    /// The report of the last task.
    pub(crate) fn report(&self) -> &TaskReport {
        &self.reporting.tasks[&self.tasking.tasks.last().unwrap().id]
    }

    /// For messages: everything one wants to know first.
    pub(crate) fn told(&self) -> String {
        let report = self.report();
        format!(
            "{:?} {:?}, summary {:?}, exit {:?}\n{}{}",
            report.status,
            report.failure,
            report.summary,
            report.exit,
            clip(&self.ended.out),
            clip(&self.ended.err)
        )
    }
}

fn clip(text: &str) -> &str {
    text.get(text.len().saturating_sub(1500)..).unwrap_or(text)
}

impl Bench {
    pub(crate) fn new(cli: &'static Cli) -> Self {
        let house = House::new();
        fs::create_dir_all(house.home().join("projects")).unwrap();
        Self { cli, house, model: Model::start("matrix.yaml") }
    }

    /// Arguments of a run on the scenario of a marker; the issue is named after it.
    pub(crate) fn arguments(&self, marker: &str, settings: &str, more: &[&str]) -> Vec<String> {
        let project = self.project(marker);
        let repo = self.house.repo().display().to_string();
        let file = self.house.home().join("projects").join(format!("{project}.yaml"));
        // A situation is one attempt: what comes after it is told elsewhere.
        fs::write(file, format!("repo: {repo}\nretries: {{attempts: 1}}\n{settings}")).unwrap();
        let (network, task) = (self.model.network(), Self::title(marker));
        let mut arguments: Vec<String> = ["run", "--project", &project, "--cli", self.cli.name, "--network"]
            .into_iter()
            .chain([network.as_str(), "--base-url", MODEL_URL])
            .map(str::to_owned)
            .collect();
        arguments.extend(self.cli.model.iter().flat_map(|model| ["--model".to_owned(), (*model).to_owned()]));
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        arguments.push(task);
        arguments
    }

    fn branch(marker: &str) -> String {
        format!("cloud-code/{}", Self::issue(marker))
    }

    /// A marker, or `word/marker` where a scenario is met a second time.
    fn title(marker: &str) -> String {
        match marker.split_once('/') {
            Some((word, marker)) => format!("Say hello {word} [{marker}]"),
            None => format!("Say hello [{marker}]"),
        }
    }

    fn slug(marker: &str) -> String {
        marker.replace('/', "-")
    }

    /// The issue that a run with this marker makes.
    fn issue(marker: &str) -> String {
        format!("say-hello-{}", Self::slug(marker))
    }

    fn project(&self, marker: &str) -> String {
        format!("p-{}-{}", Self::slug(marker), self.cli.name)
    }

    /// `project#issue`, as commands take it.
    pub(crate) fn full_name(&self, marker: &str) -> String {
        format!("{}#{}", self.project(marker), Self::issue(marker))
    }

    pub(crate) fn command(&self, arguments: &[String]) -> Command {
        let mut command = self.house.command(arguments);
        command.env(self.cli.key, KEY);
        command
    }

    /// Runs the scenario of a marker to its end.
    pub(crate) fn run(&self, marker: &str, settings: &str, more: &[&str]) -> Run {
        let ended = Ended::of(&self.command(&self.arguments(marker, settings, more)).output().unwrap());
        self.files(marker, ended)
    }

    /// Starts it only.
    pub(crate) fn start(&self, marker: &str, settings: &str) -> Running {
        Running::of(&mut self.command(&self.arguments(marker, settings, &[])))
    }

    /// Another command on an issue that is there.
    pub(crate) fn go_on(&self, marker: &str, arguments: &[&str]) -> Run {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let ended = Ended::of(&self.command(&arguments).output().unwrap());
        self.files(marker, ended)
    }

    /// The control directory of a marker's issue.
    pub(crate) fn control(&self, marker: &str) -> std::path::PathBuf {
        self.house
            .home()
            .join("workspaces")
            .join(self.project(marker))
            .join(Self::issue(marker))
            .join(".cloud-code")
    }

    /// The worktree of a marker's issue.
    pub(crate) fn tree(&self, marker: &str) -> std::path::PathBuf {
        self.control(marker).parent().unwrap().join("tree")
    }

    pub(crate) fn files(&self, marker: &str, ended: Ended) -> Run {
        let control = self.control(marker);
        let read = |name: &str| {
            fs::read_to_string(control.join(name)).unwrap_or_else(|error| {
                panic!("{}: {error}\n{}{}", control.join(name).display(), clip(&ended.out), clip(&ended.err))
            })
        };
        let tasking = parse_tasking("tasking.yaml", &read("tasking.yaml")).unwrap();
        let reporting = parse_reporting("reporting.yaml", &read("reporting.yaml")).unwrap();
        Run { ended, tasking, reporting }
    }

    /// A file on the branch of a marker.
    pub(crate) fn on_branch(&self, marker: &str, file: &str) -> String {
        git(&self.house.repo(), ["show", &format!("{}:{file}", Self::branch(marker))])
    }

    /// First lines of the commits of a marker's branch.
    pub(crate) fn commits(&self, marker: &str) -> String {
        git(&self.house.repo(), ["log", "--format=%s", &format!("main..{}", Self::branch(marker))])
    }

    /// Whether the work of an issue that did not end well is there to be looked at.
    pub(crate) fn keeps_half(&self, issue: &str) -> Result<(), String> {
        let shown = self.house.run(["diff", issue]);
        let kept = shown.code == 0 && shown.out.contains("hello.txt") && shown.out.contains("+half");
        if kept { Ok(()) } else { Err(format!("cloud-code diff: {}{}", shown.out, shown.err)) }
    }

    /// The container that runs now.
    pub(crate) fn container(&self) -> String {
        crate::support::wait_for("the container", || self.house.containers().into_iter().next())
    }

    /// Whether nothing of the installation runs or stands in the engine.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        self.house.containers()
    }

    pub(crate) fn docker(arguments: &[&str]) -> String {
        done(Command::new("docker").args(arguments))
    }
}
