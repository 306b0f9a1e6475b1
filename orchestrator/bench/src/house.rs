//! An installation that serves a repository of a fake GitHub with the local runtime: `cloud-code serve` as people run it,
//! its agents, and a coding CLI of the figure's choice. Nothing of it outlives the figure, also when a figure fails half-way.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cloud_code_fake_github::{AppSeed, FakeGithub, Person, RepoSeed, Role};
use cloud_code_model::{Issue, IssueKey, NewTask, TaskStatus};
use cloud_code_store::{Database, Figures as _, OpenFigures, Store as _};
use tokio::runtime::Runtime;

use crate::proc::{self, Guarded};
use crate::scene::{self, Scene};
use crate::{interrupt, wait};

/// The repository on the fake GitHub.
pub(crate) const SHOP: &str = "acme/shop";
/// The first issue's number. Long, so that it stands in no other number by chance when rows are copied.
pub(crate) const FIRST_ISSUE: u64 = 424_201;
/// Signs webhooks between the two.
const SECRET: &str = "a secret of the bench";
/// The variable by which the local runtime marks what it started; its value is a path below the home folder.
const MARK: &str = "CLOUD_CODE_LOCAL_CONTAINER";
/// How long `serve` may take to listen. It takes milliseconds; a loaded machine takes more.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long the one task may take that others are made like.
const PATTERN_DEADLINE: Duration = Duration::from_secs(60);
/// Letters of a task's id that are the same in those made like it; the rest of its 26 is a number.
const KEPT_OF_ID: usize = 18;
/// How long an answer of `/readyz` may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Who may read and write a key.
const PRIVATE_FILE: u32 = 0o600;
/// Mode of a folder that the CLI's user writes in.
const SHARED_FOLDER: u32 = 0o777;

/// A GitHub, and the installation that serves one of its repositories.
pub(crate) struct House {
    // Nobody may serve any more when the agents are ended, and they use the folder.
    serving: Option<Serving>,
    pub(crate) github: FakeGithub,
    alice: Person,
    program: PathBuf,
    root: PathBuf,
    runtime: Runtime,
}

/// A task that was done, to make others like it.
pub(crate) struct Pattern {
    issue: Issue,
    task: NewTask,
}

/// `cloud-code serve`.
pub(crate) struct Serving {
    child: Guarded,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl House {
    /// Sets it up in a folder of its own; nobody serves yet. `cli` is what each task runs, `concurrency` how many at once.
    pub(crate) fn set(scene: &Scene, name: &str, concurrency: u32, cli: &[String]) -> Result<Self> {
        // Unchecked: a check of each call against GitHub's description would cost more processor time than what is measured.
        let github = FakeGithub::try_start(SocketAddr::from(([127, 0, 0, 1], 0)), false)?;
        github.repo(
            RepoSeed::new(SHOP)
                .first_number(FIRST_ISSUE)
                .collaborator("alice", Role::Write)
                .file("README.md", "# Shop\n"),
        );
        let alice = github.user("alice");
        let app = github.app(AppSeed::new("cloud-code").installed_on("acme"));
        let root = scene.folder(name)?;
        let house = Self {
            serving: None,
            github,
            alice,
            program: scene.cloud_code()?,
            root,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        };
        scene.agent()?;
        for folder in ["home/projects", "home/secrets", "clis/bench"] {
            fs::create_dir_all(house.root.join(folder))?;
        }
        house.secret("app.pem", house.github.app_key())?;
        house.secret("webhook", SECRET)?;
        fs::write(
            house.home().join("cloud-code.yaml"),
            format!(
                "cli_dirs: [{}]\ngithub:\n  api_url: {}\n  app: {{id: {app}, slug: cloud-code, private_key_file: secrets/app.pem}}\n  \
                 webhook_secret_files: [secrets/webhook]\n  write_interval_ms: 0\n\
                 server: {{listen: '127.0.0.1:0', metrics_listen: 'off', concurrency: {concurrency}}}\n",
                house.root.join("clis").display(),
                house.github.api_url(),
            ),
        )?;
        // JSON strings are YAML strings. Its read-only mode lets it answer a question without a sandbox.
        let command = serde_json::to_string(cli)?;
        fs::write(
            house.root.join("clis/bench/cli.yaml"),
            format!("name: bench\ncommand: {command}\nprompt: stdin\nplan: [--plan]\noutput: text\n"),
        )?;
        fs::write(
            house.home().join("projects/shop.yaml"),
            format!("github: {SHOP}\ncli: bench\nruntime: local\n"),
        )?;
        Ok(house)
    }

    fn secret(&self, name: &str, text: &str) -> Result<()> {
        let path = self.home().join("secrets").join(name);
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, Permissions::from_mode(PRIVATE_FILE))?)
    }

    /// The installation's folder.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Its database.
    pub(crate) fn database(&self) -> PathBuf {
        self.home().join("cloud-code.db")
    }

    fn log(&self) -> PathBuf {
        self.root.join("serve.log")
    }

    /// Starts `serve` and returns when it listens, with the moment before its start. `log` is as RUST_LOG.
    pub(crate) fn serve(&mut self, log: &str) -> Result<Instant> {
        let path = self.log();
        // The last start's words would be taken for this one's.
        let file = File::create(&path)?;
        let mut command = Command::new(&self.program);
        command.arg("serve").env_clear().env("CLOUD_CODE_HOME", self.home()).env("RUST_LOG", log);
        command
            .env("PATH", std::env::var_os("PATH").context("PATH is not set")?)
            .env("HOME", &self.root)
            .env("NO_COLOR", "1");
        command.current_dir(&self.root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let started = Instant::now();
        let mut child = Guarded::start(&mut command)?;
        let address = wait::closely(START_DEADLINE, "`serve` listening", || {
            if let Some(status) = child.ended()? {
                bail!("serve ended ({status}): {}", self.said().trim());
            }
            let said = self.said();
            let line = said.lines().find_map(|line| line.strip_prefix("listening on http://"));
            // Without its line's end it may be half an address.
            Ok(line.filter(|_| said.ends_with('\n')).map(str::parse).transpose()?)
        })?;
        self.github.deliver_to(&format!("http://{address}/webhooks/github"), SECRET);
        self.serving = Some(Serving { child, address });
        Ok(started)
    }

    /// What `serve` said since its start.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The `serve` that runs.
    pub(crate) fn serving(&self) -> Result<&Serving> {
        self.serving.as_ref().context("nobody serves")
    }

    /// Ends `serve` in good order. Agents go on.
    pub(crate) fn stop(&mut self) {
        drop(self.serving.take());
    }

    /// kill -9 of `serve`. Agents go on.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.serving.take().map_or(Ok(()), |serving| serving.child.kill())
    }

    /// Opens so many issues, and gives their numbers.
    pub(crate) fn issues(&self, count: u32) -> Vec<u64> {
        let open = |number| self.alice.opens_issue(SHOP, &format!("Question {number}"), "It is not clear.");
        (0..count).map(open).collect()
    }

    /// Says something on an issue.
    pub(crate) fn comment(&self, issue: u64, text: &str) {
        self.alice.comments_on(SHOP, issue, text);
    }

    /// Whether the thread says that its work is done, by its label. An error when it says that the work failed.
    pub(crate) fn is_done(&self, issue: u64) -> Result<bool> {
        let labels = self.github.labels(SHOP, issue);
        let says = |phases: &[&str]| labels.iter().any(|label| phases.contains(&label.as_str()));
        if says(&["cloud-code: failed", "cloud-code: needs-input"]) {
            bail!("the work on issue {issue} was not done: {}", self.said().trim());
        }
        Ok(says(&["cloud-code: done", "cloud-code: in-review"]))
    }

    /// What has not ended, asked beside `serve`.
    pub(crate) fn open_figures(&self, store: &Database) -> Result<OpenFigures> {
        Ok(self.runtime.block_on(store.open_figures())?)
    }

    /// How many tasks have this status.
    pub(crate) fn tasks(&self, store: &Database, status: &str) -> Result<u64> {
        let open = self.open_figures(store)?;
        Ok(open.tasks.iter().filter(|tasks| tasks.status == status).map(|tasks| tasks.count).sum())
    }

    /// Lets `serve` do one task from a comment to the answer on GitHub, and gives its rows: what is queued after it is like it.
    pub(crate) fn pattern(&self, store: &Database) -> Result<Pattern> {
        let number = self.issues(1).first().copied().context("no issue was opened")?;
        self.comment(number, "/cloud-code ask What is this?");
        wait::until(PATTERN_DEADLINE, "one task from a comment to its answer", || {
            Ok(self.is_done(number)?.then_some(()))
        })?;
        let mut issues = self.runtime.block_on(store.issues(None, 1))?;
        let issue = issues.pop().context("there is no issue in the store")?;
        let mut tasks = self.runtime.block_on(store.tasks_of(&issue.project, &issue.key))?;
        let task = tasks.pop().context("there is no task in the store")?.task;
        Ok(Pattern { issue, task })
    }

    /// Puts tasks into the queue, numbered from `first`, each of an issue of its own that GitHub knows nothing of. GitHub
    /// bears 80 writes a minute: through it a thousand tasks take hours, whoever does them.
    pub(crate) fn queue(&self, store: &Database, pattern: &Pattern, numbers: Range<u32>) -> Result<()> {
        for number in numbers {
            interrupt::check()?;
            let key: IssueKey = format!("bench-{number}").parse()?;
            let (branch, created_at) = (format!("bench/{number}").parse()?, jiff::Timestamp::now());
            let issue = Issue { key: key.clone(), branch, created_at, ..pattern.issue.clone() };
            let id = pattern.task.id.as_str();
            let id = format!("{}{number:08}", id.get(..KEPT_OF_ID).unwrap_or(id)).parse()?;
            // `serve` does what was asked for by a request; what has none is another command's.
            let intent = Some(key.to_string());
            let task = NewTask { id, issue: key, intent, created_at, ..pattern.task.clone() };
            self.runtime.block_on(store.open_issue(&issue, &task, None))?;
        }
        Ok(())
    }

    /// How many tasks have not ended.
    pub(crate) fn open_tasks(&self, store: &Database) -> Result<u64> {
        Ok(self.open_figures(store)?.tasks.iter().map(|tasks| tasks.count).sum())
    }

    /// An error unless each of these tasks is done.
    pub(crate) fn must_be_done(
        &self,
        store: &Database,
        pattern: &Pattern,
        numbers: Range<u32>,
    ) -> Result<()> {
        for number in numbers {
            let key = format!("bench-{number}").parse()?;
            let tasks = self.runtime.block_on(store.tasks_of(&pattern.issue.project, &key))?;
            let is_done = matches!(tasks.as_slice(), [task] if task.state.status() == TaskStatus::Done);
            ensure!(is_done, "a task was not done: {:?}", tasks.last().map(|task| &task.state));
        }
        Ok(())
    }

    /// The database, for questions beside `serve`.
    pub(crate) fn store(&self) -> Result<Database> {
        Ok(self.runtime.block_on(Database::open(&self.database()))?)
    }

    /// Waits for what is asked of the database or the network.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A folder that the CLI's user may write in.
    pub(crate) fn shared_folder(&self) -> Result<PathBuf> {
        let path = self.root.join("shared");
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(SHARED_FOLDER))?;
        Ok(path)
    }
}

impl Serving {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether it says that it is ready.
    pub(crate) fn is_ready(&self) -> Result<bool> {
        let Ok(mut stream) = TcpStream::connect_timeout(&self.address, ANSWER_DEADLINE) else {
            return Ok(false);
        };
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200 "))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop();
        proc::kill_marked(MARK, &self.home().to_string_lossy());
        // Killed processes may still hold it for a moment; the scene removes what is left.
        let _ = scene::remove(&self.root);
    }
}

/// A command of a figure as the settings want it.
pub(crate) fn words(program: &Path, arguments: &[&str]) -> Vec<String> {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned());
    std::iter::once(program.to_string_lossy().into_owned()).chain(arguments).collect()
}
