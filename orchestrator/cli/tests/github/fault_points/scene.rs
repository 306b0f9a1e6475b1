//! One cell: who asks, what happens at the moment, and how it must have ended.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cloud_code_fake_github::{Fault as AtForge, PullView};
use cloud_code_fault_points::Point;
use cloud_code_model::{TaskRecord, TaskState};
use cloud_code_store::{Database, ForgeStore as _, Store as _};

use super::engine::{Engine, IMAGE};
use super::worst::{Struck, There, Worst, is_of_merge, there};
use crate::cast;
use crate::stage::{SHOP, Setup, Stage};

/// The money that one run of the cast's CLI says it took.
const RUN_USD: f64 = 0.25;
/// How long `serve` can open nothing: longer than the pause between two looks.
const LACK: Duration = Duration::from_secs(2);
/// What `serve` logs when the disk is full, in the words of the system, of SQLite and of our own.
const FULL: [&str; 3] = ["No space left", "is full", "disk_full"];
/// What it logs when Docker does not answer.
const NO_DOCKER: [&str; 3] =
    ["no Docker engine answers", "the engine failed", "the connection to the Docker engine broke"];

pub(super) struct Scene<'a> {
    stage: Stage,
    engine: Option<&'a Engine>,
    point: Point,
    worst: Worst,
    struck: Struck,
    /// The issue whose moment it is, and the comment that asks.
    issue: u64,
    comment: u64,
    neighbour: Option<(u64, u64)>,
}

impl<'a> Scene<'a> {
    pub(super) fn set(point: Point, worst: Worst, struck: Struck, engine: Option<&'a Engine>) -> Self {
        let project = match is_of_merge(point) {
            true => "retries: {attempts: 3, first_wait: 1s, longest_wait: 2s}\npublish: {merge: merge}",
            false => "retries: {attempts: 3, first_wait: 1s, longest_wait: 2s}",
        };
        let stage = cast::set(Setup { project, small_disk: worst == Worst::DiskFull, ..Setup::default() });
        if let Some(engine) = engine {
            runs_in(&stage, engine);
        }
        if worst == Worst::DiskFull {
            // The queue begins nothing on a disk as small as this one, unless it is told that it is enough.
            stage.rewrite("cloud-code.yaml", |text| format!("queue: {{min_free_disk: 1}}\n{text}"));
        }
        Self { stage, engine, point, worst, struck, issue: 0, comment: 0, neighbour: None }
    }

    /// `serve` is held at the moment, with whoever is to be struck at work.
    pub(super) fn comes_to_the_moment(&mut self) {
        if self.struck == Struck::Neighbour {
            self.stage.serves();
            let (issue, comment) = self.asks("/cloud-code run", self.neighbours_text());
            self.neighbour = Some((issue, comment));
            self.works_on(issue, 1);
            self.stage.becomes(issue, "working");
            self.stage.stops();
        }
        self.stage.arms(self.point);
        self.stage.serves();
        let command = match self.point {
            Point::NoteWritten => "/cloud-code help",
            _ => "/cloud-code run",
        };
        // The agent waits for us where it must be at work when it happens.
        let waits = there(self.point) == There::Agent && self.worst != Worst::AnswerLost;
        let text = match (self.point, waits) {
            (Point::TaskWoken, _) => "Counting is broken. BUSY-ONCE",
            (_, true) => "WAIT-FOR-GO, then count.",
            (_, false) => "Counting is broken.",
        };
        (self.issue, self.comment) = self.asks(command, text);
        if is_of_merge(self.point) {
            self.is_said_yes_to();
        }
        self.stage.is_held();
        if waits {
            self.works_on(self.issue, 1);
        }
    }

    /// What the neighbour works on. What is merged beside it is in its base when it is done.
    fn neighbours_text(&self) -> &'static str {
        match is_of_merge(self.point) {
            true => "WAIT-FOR-GO, then count ELSEWHERE.",
            false => "WAIT-FOR-GO, then count.",
        }
    }

    /// The work is done, its check is green, and alice says yes.
    fn is_said_yes_to(&self) {
        let (stage, alice) = (&self.stage, self.stage.user("alice"));
        let head = format!("acme:cloud-code/issue-{}", self.issue);
        let pull = stage.wait_for("the pull request", || {
            stage.github.pull_requests(SHOP).into_iter().find(|pull| pull.head == head)
        });
        alice.sees_check_suite(SHOP, &pull.head_sha, "success");
        stage.status_says(self.issue, "waits for a yes to be merged");
        stage.a_moment_later();
        alice.comments_on(SHOP, self.issue, "/cloud-code approve");
    }

    fn asks(&self, command: &str, text: &str) -> (u64, u64) {
        let alice = self.stage.user("alice");
        let issue = alice.opens_issue(SHOP, "Count once more", text);
        (issue, alice.comments_on(SHOP, issue, command))
    }

    /// Does it, and lets `serve` go on.
    pub(super) fn is_struck(&mut self) {
        match self.worst {
            Worst::ServeKilled => {
                self.stage.is_killed();
                self.stage.serves();
            }
            Worst::AgentKilled => {
                let struck = self.struck_issue();
                assert_eq!(self.stage.kills_the_agent_alone(struck), 1, "one agent works");
                self.stage.goes_on();
                // What the dead agent left running is ended before the next attempt begins.
                self.works_on(struck, 2);
                // A shell counts twice in the moment before what it starts has its own name.
                self.stage.wait_for("one CLI to work", || (self.stage.clis(struck) == 1).then_some(()));
            }
            Worst::ContainerRemoved => {
                let struck = self.struck_issue();
                let engine = self.engine();
                let containers = engine.containers(&self.instance(), Some(struck));
                assert_eq!(containers.len(), 1, "{containers:?}");
                engine.removes(&containers[0]);
                self.stage.goes_on();
            }
            Worst::DockerRestarted => {
                self.engine().stops();
                self.stage.goes_on();
                self.is_noticed(&NO_DOCKER, || false);
                self.engine().starts_again();
            }
            Worst::AnswerLost => {
                for method in ["POST", "PATCH", "PUT"] {
                    self.stage.github.fault(method, "/repos/**", AtForge::EffectThenCut);
                }
                self.stage.goes_on();
            }
            Worst::DiskFull => {
                self.stage.disk().fills();
                self.stage.goes_on();
                if self.struck == Struck::Agent {
                    self.stage.go();
                    self.stage
                        .wait_for("the CLI to fail", || (self.stage.clis(self.issue) == 0).then_some(()));
                }
                // Late in a task what little is left to write may find its room in what is there already.
                self.is_noticed(&FULL, || self.is_told_as_done() || self.waits_in_queue());
                self.stage.disk().empties();
            }
            Worst::NoDescriptors => {
                self.stage.may_open(0);
                self.stage.goes_on();
                self.goes_to_work();
                std::thread::sleep(LACK);
                let is_met = self.stage.log().contains("Too many open files");
                assert!(is_met || self.is_told_as_done(), "{}", self.stage.log());
                self.stage.may_open(1024);
            }
        }
        self.goes_to_work();
    }

    /// Whoever waits at work for us goes on.
    fn goes_to_work(&self) {
        for issue in [Some(self.issue), self.neighbour.map(|(issue, _)| issue)].into_iter().flatten() {
            let home = self.home_of(issue);
            if home.is_dir() {
                fs::write(home.join("go"), "").unwrap();
            }
        }
    }

    /// Whose agent or container it is.
    fn struck_issue(&self) -> u64 {
        self.neighbour.map_or(self.issue, |(issue, _)| issue)
    }

    /// Waits until `serve` says one of these words, or has got through without a need to.
    #[track_caller]
    fn is_noticed(&self, words: &[&str], or: impl Fn() -> bool) {
        self.stage.wait_for("it to be noticed", || {
            let log = self.stage.log();
            (words.iter().any(|words| log.contains(words)) || or()).then_some(())
        });
    }

    fn is_told_as_done(&self) -> bool {
        if self.point == Point::NoteWritten {
            let path = self.stage.home().join("cloud-code.db");
            // The disk is full: the database may not even be opened.
            let waiting = async { Database::open(&path).await.ok()?.waiting_notes().await.ok() };
            return self.stage.block_on("the database", waiting).is_some_and(|waiting| waiting.is_empty());
        }
        let labels = self.stage.github.labels(SHOP, self.issue);
        if is_of_merge(self.point) {
            return labels == ["cloud-code: done"];
        }
        labels == ["cloud-code: in-review"] && self.pull_of(self.issue).is_some()
    }

    /// The queue holds it back for want of room, and would for as long as there is none.
    fn waits_in_queue(&self) -> bool {
        let is_queued = |task: &TaskRecord| matches!(task.state, TaskState::Queued);
        let path = self.stage.home().join("cloud-code.db");
        let open = async { Database::open(&path).await.ok()?.open_tasks().await.ok() };
        let open = self.stage.block_on("the database", open);
        open.is_some_and(|tasks| tasks.iter().any(is_queued))
    }

    /// The pull request of an issue, when its check says that it is done.
    fn pull_of(&self, issue: u64) -> Option<PullView> {
        let branch = format!("cloud-code/issue-{issue}");
        let github = &self.stage.github;
        let pulls = github.pull_requests(SHOP);
        let pull = pulls.iter().find(|pull| pull.head.ends_with(&branch))?;
        // Two issues that are done in the same second end on the same commit.
        let wanted = pulls.iter().filter(|other| other.head_sha == pull.head_sha).count();
        let checks = github.checks(&pull.head_sha);
        let is_done = checks.iter().all(|check| check.conclusion.as_deref() == Some("success"));
        (checks.len() == wanted && is_done).then(|| pull.clone())
    }

    /// What must be so at the end of every cell.
    pub(super) fn ends_once(&self) {
        let is_help = self.point == Point::NoteWritten;
        if is_help {
            self.stage.wait_for("the answer to be noted", || {
                let waiting = self.stage.stored(|store| async move { store.waiting_notes().await.unwrap() });
                (waiting.is_empty() && self.stage.answers(self.issue).len() == 1).then_some(())
            });
        } else if is_of_merge(self.point) {
            self.is_merged_once();
        } else {
            let own = usize::from(self.struck == Struck::Agent);
            let failed = usize::from(self.point == Point::TaskWoken);
            self.is_done_once(self.issue, self.comment, 1 + own + failed);
        }
        if let Some((issue, comment)) = self.neighbour {
            self.is_done_once(issue, comment, 2);
        }
        if self.worst == Worst::AnswerLost {
            assert!(self.stage.github.faults_waiting() < 3, "nothing was written whose answer could be lost");
        }
        let issues = usize::from(!is_help) + usize::from(self.neighbour.is_some());
        assert_eq!(self.stage.github.branches(SHOP).len(), issues + 1);
        assert_eq!(self.stage.github.pull_requests(SHOP).len(), issues);
        assert_eq!(self.stage.tasks().len(), issues);
        self.stage.is_quiet();
        if let Some(engine) = self.engine {
            let instance = self.instance();
            self.stage.wait_for("no container to be left", || {
                engine.containers(&instance, None).is_empty().then_some(())
            });
        }
        self.stage.leaves_nothing();
        self.stage.holds();
    }

    /// What alice said yes to is in the base, once; the issue has ended as after a merge by hand, and was paid for once.
    #[track_caller]
    fn is_merged_once(&self) {
        let (stage, github) = (&self.stage, &self.stage.github);
        stage.becomes(self.issue, "done");
        stage.status_says(self.issue, "cloud-code merged it: alice said yes to");
        let head = format!("acme:cloud-code/issue-{}", self.issue);
        let pulls: Vec<PullView> =
            github.pull_requests(SHOP).into_iter().filter(|pull| pull.head == head).collect();
        assert_eq!(pulls.iter().map(|pull| pull.merged).collect::<Vec<_>>(), [true], "{pulls:#?}");
        assert_eq!(
            github.history(SHOP, "main").iter().filter(|said| said.starts_with("Merge pull")).count(),
            1
        );
        assert_eq!(github.file(SHOP, "main", "count.txt").as_deref(), Some("1\n"));
        assert!(!github.is_open(SHOP, self.issue), "its pull request says that it fixes the issue");
        stage.status(self.issue);
        assert_eq!((stage.answers(self.issue), stage.answers(pulls[0].number)), (Vec::new(), Vec::new()));
        let workspace = stage.home().join(format!("workspaces/shop/{}", self.issue));
        stage.wait_for("the workspace to go", || (!workspace.join("tree").exists()).then_some(()));
        let is_of = |task: &TaskRecord| task.task.issue.as_str() == self.issue.to_string();
        let tasks: Vec<TaskRecord> = stage.tasks().into_iter().filter(is_of).collect();
        assert_eq!(tasks.len(), 1, "{tasks:#?}");
        assert_eq!(tasks[0].usage.cost_usd.map(|usd| usd.as_f64()), Some(RUN_USD));
    }

    /// One task, one branch, one commit, one pull request, one status comment and no other, one reaction, one check; as many
    /// runs of the CLI as were needed, each paid for once.
    #[track_caller]
    fn is_done_once(&self, issue: u64, comment: u64, runs: usize) {
        let (stage, branch) = (&self.stage, format!("cloud-code/issue-{issue}"));
        let github = &stage.github;
        stage.becomes(issue, "in-review");
        let pull = stage.wait_for("the pull request's check", || self.pull_of(issue));
        let own = github.pull_requests(SHOP).into_iter().filter(|found| found.head == pull.head);
        assert_eq!(own.count(), 1, "{pull:?}");
        assert_eq!(github.commits(SHOP, &branch), ["Count once more"]);
        let is_elsewhere = is_of_merge(self.point);
        let file = if is_elsewhere { "elsewhere.txt" } else { "count.txt" };
        assert_eq!(github.file(SHOP, &branch, file).as_deref(), Some("1\n"));
        stage.status(issue);
        let bot = "cloud-code[bot]".to_owned();
        let told = github.comments(SHOP, issue);
        let ours = told.iter().filter(|said| said.author == bot && said.id != comment).count();
        assert_eq!(ours, 1, "{told:#?}");
        assert_eq!(github.comment_reactions(SHOP, comment), [(bot, "eyes".to_owned())]);
        assert_eq!(self.runs(issue), runs, "runs of the CLI\n{}", stage.log());
        let is_of = |task: &TaskRecord| task.task.issue.as_str() == issue.to_string();
        let tasks: Vec<TaskRecord> = stage.tasks().into_iter().filter(is_of).collect();
        assert_eq!(tasks.len(), 1, "{tasks:#?}");
        let paid = tasks[0].usage.cost_usd.map(|usd| usd.as_f64());
        #[expect(clippy::cast_precision_loss, reason = "two or three")]
        let due = runs as f64 * RUN_USD;
        assert_eq!(paid, Some(due), "the cost of {runs} runs");
    }

    fn engine(&self) -> &'a Engine {
        self.engine.unwrap()
    }

    fn instance(&self) -> String {
        self.stage.instance()
    }

    /// The private HOME of an issue's CLIs, on the host.
    fn home_of(&self, issue: u64) -> PathBuf {
        self.stage.home().join(format!("workspaces/shop/{issue}/home"))
    }

    /// How often the CLI was started for an issue, by its own count.
    fn runs(&self, issue: u64) -> usize {
        fs::read_to_string(self.home_of(issue).join("scribe.runs")).unwrap_or_default().lines().count()
    }

    /// Waits until the CLI was started this often, and its agent has told of it.
    #[track_caller]
    fn works_on(&self, issue: u64, runs: usize) {
        let report = self.home_of(issue).with_file_name(".cloud-code").join("reporting.yaml");
        self.stage.wait_for("the CLI to run", || {
            let told = fs::read_to_string(&report).unwrap_or_default().contains("session_id: s-scribe");
            (told && self.runs(issue) == runs).then_some(())
        });
    }
}

/// The agents run in containers of this engine; they have no network, and the CLI is the image's shell with the cast's script.
pub(crate) fn runs_in(stage: &Stage, engine: &Engine) {
    stage.rewrite("cloud-code.yaml", |text| format!("docker: {{host: '{}'}}\n{text}", engine.host()));
    let command = serde_json::to_string(&["sh", "-c", cast::SCRIPT, "sh", "scribe"]).unwrap();
    stage.rewrite("clis/scribe/cli.yaml", |text| {
        let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("command:")).collect();
        format!("{}\ncommand: {command}\n", rest.join("\n"))
    });
    stage.rewrite("projects/shop.yaml", |text| {
        let is_other = |line: &&str| !["runtime:", "env:"].iter().any(|key| line.starts_with(key));
        let rest: Vec<&str> = text.lines().filter(is_other).collect();
        format!(
            "runtime: docker\nimage: {IMAGE}\ncontainer: {{network: none, memory: 256MiB}}\n\
             env: {{PROMPTS: /home/cloud-code/prompts, GO: /home/cloud-code/go}}\n{}\n",
            rest.join("\n")
        )
    });
}

impl Stage {
    /// What its containers are labelled with.
    pub(crate) fn instance(&self) -> String {
        fs::read_to_string(self.home().join("instance")).unwrap().trim().to_owned()
    }

    /// How many descriptors `serve` may have. Those that it has it keeps.
    fn may_open(&self, count: usize) {
        let pid = self.serve_pid();
        let limit = format!("--nofile={count}:");
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    }

    /// kill -9 of an issue's agent, and of nothing that it started. How many there were.
    fn kills_the_agent_alone(&self, issue: u64) -> usize {
        let agents = self.pids(|command| {
            let program = command.split('\0').next().unwrap_or_default();
            program.ends_with("/cloud-code-agent") && command.contains(&format!("workspaces/shop/{issue}/"))
        });
        let kill = |pid: &String| Command::new("kill").args(["-KILL", pid]).status().unwrap().success();
        agents.iter().filter(|pid| kill(pid)).count()
    }

    /// How many CLIs work in an issue's worktree.
    fn clis(&self, issue: u64) -> usize {
        let tree = self.home().join(format!("workspaces/shop/{issue}/tree"));
        let in_tree =
            |pid: &String| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&tree));
        self.pids(|command| command.contains("scribe.sh")).iter().filter(|pid| in_tree(pid)).count()
    }

    /// Processes that work for this stage, by their command line.
    fn pids(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let home = self.home().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            if command.contains(&home) && wanted(&command) {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        found
    }
}
