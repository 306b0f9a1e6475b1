//! An agent outside of any container, in surroundings like those it has inside: a control directory, a worktree on a
//! detached HEAD that belongs to the CLI's user, and a home.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cloud_code_task_schema::{
    Assignment, CommitSettings, ControlDir, Limits, MAX_YAML_BYTES, Mode, PROTOCOL_VERSION, Priority,
    ReadError, Reporting, TASKING_FILE, Task, TaskContext, TaskReport, Tasking, parse_reporting, read_capped,
    to_yaml,
};
use cloud_code_workspace::Owner;

use crate::clock;
use crate::proc::Guarded;
use crate::repository;
use crate::scene::Scene;
use crate::wait;

/// How long an agent may take until its first report stands. It takes milliseconds; a loaded machine takes more.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// The manifest's file in a control directory.
const MANIFEST_FILE: &str = "cli.yaml";

/// The surroundings of one agent.
pub(crate) struct Ground {
    root: PathBuf,
    control: ControlDir,
    owner: Option<Owner>,
    tasks: Vec<Task>,
}

impl Ground {
    /// Makes them in `root`. The CLI is `command`, started as it stands, with the prompt on its standard input.
    pub(crate) fn prepare(root: PathBuf, owner: Option<Owner>, command: &[String]) -> Result<Self> {
        let control = ControlDir::new(root.join("control"));
        fs::create_dir_all(control.logs())?;
        // JSON strings are YAML strings.
        let manifest = format!("name: command\ncommand: {}\noutput: text\n", serde_json::to_string(command)?);
        fs::write(control.path().join(MANIFEST_FILE), manifest)?;
        let tree = root.join("tree");
        repository::small(&tree)?;
        crate::proc::run(repository::git(&tree).args(["checkout", "--quiet", "--detach"]))?;
        fs::create_dir_all(root.join("home"))?;
        repository::give(&tree, owner)?;
        repository::give(&root.join("home"), owner)?;
        Ok(Self { root, control, owner, tasks: Vec::new() })
    }

    /// Starts the agent and waits for its first report.
    pub(crate) fn start(&self, scene: &Scene) -> Result<Guarded> {
        let said = self.root.join("agent.log");
        let mut command = Command::new(scene.agent()?);
        command.arg("--control").arg(self.control.path());
        command.arg("--workspace").arg(self.root.join("tree")).arg("--home").arg(self.root.join("home"));
        if let Some(owner) = self.owner {
            command.arg("--user").arg(format!("{}:{}", owner.uid(), owner.gid()));
        }
        command
            .stdin(Stdio::null())
            .stdout(File::create(&said)?)
            .stderr(File::options().append(true).open(&said)?);
        let mut agent = Guarded::start(&mut command)?;
        wait::until(START_DEADLINE, "the agent's first report", || {
            self.must_live(&mut agent)?;
            self.report()
        })?;
        Ok(agent)
    }

    /// An error with the agent's last words when it has ended.
    pub(crate) fn must_live(&self, agent: &mut Guarded) -> Result<()> {
        if let Some(status) = agent.ended()? {
            let said = fs::read_to_string(self.root.join("agent.log")).unwrap_or_default();
            bail!("the agent ended ({status}): {}", said.trim());
        }
        Ok(())
    }

    /// `reporting.yaml`, where it is when its times are of interest.
    pub(crate) fn reporting_file(&self) -> PathBuf {
        self.control.reporting()
    }

    /// Appends a task and returns the moment its file was renamed into place, in nanoseconds of the shared clock.
    pub(crate) fn assign(&mut self) -> Result<i64> {
        self.tasks.push(task(self.tasks.len() + 1)?);
        publish(self.control.path(), &self.tasking()?)
    }

    fn tasking(&self) -> Result<String> {
        Ok(to_yaml(&Tasking {
            version: PROTOCOL_VERSION,
            generation: self.tasks.len() as u64,
            updated_at: jiff::Timestamp::now(),
            workspace: "bench#1".to_owned(),
            cli: "command".parse()?,
            tasks: self.tasks.clone(),
        })?)
    }

    /// How the newest task ended, once it has.
    pub(crate) fn ended(&self) -> Result<Option<TaskReport>> {
        let Some(task) = self.tasks.last() else { return Ok(None) };
        let report = self.report()?.and_then(|mut report| report.tasks.remove(&task.id));
        Ok(report.filter(|report| report.finished_at.is_some()))
    }

    fn report(&self) -> Result<Option<Reporting>> {
        let path = self.control.reporting();
        match read_capped(&path, MAX_YAML_BYTES) {
            Ok(text) => Ok(Some(parse_reporting(&path.display().to_string(), &text)?)),
            Err(ReadError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes `tasking.yaml` as the orchestrator does: temp file, fsync, rename, fsync of the folder. Returns the moment
/// just before the rename.
pub(crate) fn publish(folder: &Path, text: &str) -> Result<i64> {
    let temp = folder.join(".tasking.yaml.bench.tmp");
    let mut file = File::create(&temp).with_context(|| format!("cannot write in {}", folder.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let at = clock::now_nanos()?;
    fs::rename(&temp, folder.join(TASKING_FILE))?;
    File::open(folder)?.sync_all()?;
    Ok(at)
}

fn task(number: usize) -> Result<Task> {
    Ok(Task {
        id: format!("bench-{number}").parse()?,
        status: Assignment::Assigned,
        attempt: 1,
        title: format!("Note the time, {number}"),
        mode: Mode::Edit,
        description: "Note when you were started.".to_owned(),
        acceptance_criteria: Vec::new(),
        context: TaskContext::default(),
        continues: None,
        handoff: None,
        requested_by: None,
        priority: Priority::default(),
        branch: "cloud-code/bench".parse()?,
        base: repository::BRANCH.parse()?,
        model: None,
        limits: Limits::default(),
        verify: Vec::new(),
        verify_rounds: 0,
        commit: CommitSettings::default(),
    })
}
