//! One installation, put together: settings, store, runtimes, engine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use cloud_code_engine::{CliCatalog, Engine, EngineSettings, Forges};
use cloud_code_forge::Scrubber;
use cloud_code_history::{Caps, History};
use cloud_code_model::{
    Clock, GlobalSettings, IdSource, InstanceId, Issue, QueueLimits, RuntimeKind, TaskRecord,
};
use cloud_code_runtime::{DockerRuntime, DockerSettings, LocalRuntime, LocalSettings, Runtime};
use cloud_code_store::{Database, Store};
use cloud_code_task_schema::TaskId;
use cloud_code_workspace::{Layout, disk_is_full};
use jiff::Timestamp;
use secrecy::SecretString;

use crate::args::GlobalArgs;
use crate::{catalog, github, settings, shared};

/// The database, below the home folder.
pub(crate) const DATABASE: &str = "cloud-code.db";
/// The id of this installation, below the home folder. Made once.
const INSTANCE_FILE: &str = "instance";
/// The agent's program, beside this one.
const AGENT_NAME: &str = "cloud-code-agent";
/// Digits of a new instance id: enough that two installations on one Docker engine never meet.
const INSTANCE_DIGITS: usize = 8;
/// How many issues are looked through when an issue is named by its key alone.
const MAX_SEARCH: u32 = 10_000;

/// What every command starts from.
pub(crate) struct App {
    pub(crate) home: PathBuf,
    pub(crate) settings: GlobalSettings,
    pub(crate) catalog: CliCatalog,
    pub(crate) layout: Layout,
    /// What must stand in no log and no text of ours.
    pub(crate) scrubber: Scrubber,
}

/// The machine's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // Files and rows are read by people: a nanosecond tells them nothing.
        let now = Timestamp::now();
        now.round(jiff::Unit::Millisecond).unwrap_or(now)
    }
}

/// ULIDs from the machine's clock and randomness.
struct SystemIds;

impl IdSource for SystemIds {
    fn task_id(&self) -> TaskId {
        new_task_id()
    }
}

fn new_task_id() -> TaskId {
    // A ULID is 26 letters and digits, which every task id may be.
    loop {
        if let Ok(id) = ulid::Ulid::generate().to_string().parse() {
            return id;
        }
    }
}

impl App {
    /// Reads and validates everything; makes nothing.
    pub(crate) fn load(global: &GlobalArgs, scrubber: Scrubber) -> Result<Self> {
        let home = settings::home(global.home.clone())?;
        let loaded = settings::global(&home)?;
        let folders: Vec<PathBuf> =
            loaded.cli_dirs.iter().map(PathBuf::from).chain(global.cli_dir.iter().cloned()).collect();
        let catalog = catalog::load(&loaded.docker, &folders)?;
        let layout = Layout::new(&home);
        Ok(Self { home, settings: loaded, catalog, layout, scrubber })
    }

    /// The store; made when it is not there.
    pub(crate) async fn store(&self) -> Result<Database> {
        make_home(&self.home)?;
        if let Some(url) = shared::url(self)? {
            let connected = Database::connect(&url).await;
            return connected
                .context("cannot use the PostgreSQL server that `store.url` or CLOUD_CODE_STORE_URL names");
        }
        let path = self.home.join(DATABASE);
        Database::open(&path).await.map_err(|error| match disk_is_full(&self.home) {
            true => anyhow!(error).context(format!(
                "the disk that holds {} is full\n  hint: free some space there",
                self.home.display()
            )),
            false => anyhow!(error).context(format!("cannot open {}", path.display())),
        })
    }

    /// How many tasks may run in `serve`.
    pub(crate) fn queue_limits(&self) -> Result<QueueLimits> {
        let own = self.settings.defaults.queue.concurrency;
        let mut per_project = BTreeMap::new();
        for name in settings::projects(&self.home)? {
            let Some(project) = settings::project(&self.home, &name)? else { continue };
            if let Some(most) = project.queue.concurrency.or(own) {
                per_project.insert(name, most);
            }
        }
        Ok(self.settings.queue.limits(self.settings.server.concurrency, per_project))
    }

    /// The runtime of a kind.
    pub(crate) fn runtime(&self, kind: RuntimeKind) -> Result<Arc<dyn Runtime>> {
        Ok(match kind {
            RuntimeKind::Docker => Arc::new(self.docker()?),
            RuntimeKind::Local => {
                let settings = LocalSettings::new(self.instance()?, self.home.join("local"));
                Arc::new(LocalRuntime::new(settings)?)
            }
        })
    }

    /// The Docker engine.
    pub(crate) fn docker(&self) -> Result<DockerRuntime> {
        let settings = DockerSettings::from_environment(self.instance()?);
        let host = self.settings.docker.host.clone().or(settings.host);
        Ok(DockerRuntime::new(DockerSettings { host, ..settings }))
    }

    /// The engine, for tasks of one runtime.
    pub(crate) async fn engine(&self, kind: RuntimeKind) -> Result<Engine> {
        let forges = github::forges(self)?;
        self.engine_with(self.store().await?, kind, forges)
    }

    /// The engine, on a store and with forges that are there already.
    pub(crate) fn engine_with(
        &self,
        store: Database,
        kind: RuntimeKind,
        forges: Arc<dyn Forges>,
    ) -> Result<Engine> {
        let settings = EngineSettings {
            instance: self.instance()?,
            layout: self.layout.clone(),
            agent_binary: self.agent_binary()?,
            cli_user: settings::agent_user(self.settings.agent_user.as_deref())
                .map(|user| own_user().unwrap_or(user))?,
            runs_as_root: own_user().is_none(),
            catalog: self.catalog.clone(),
            forges,
            environment: {
                let scrubber = self.scrubber.clone();
                Arc::new(move |name| {
                    let value = std::env::var(name).ok().filter(|v| !v.is_empty()).map(SecretString::from)?;
                    scrubber.keep(value.clone());
                    Some(value)
                })
            },
            forge_secrets: {
                let scrubber = self.scrubber.clone();
                Arc::new(move || scrubber.values())
            },
        };
        let engine =
            Engine::new(settings, store, self.runtime(kind)?, Arc::new(SystemClock), Arc::new(SystemIds));
        Ok(engine.with_history(self.history()))
    }

    /// What is kept of every attempt.
    pub(crate) fn history(&self) -> History {
        History::new(self.layout.history(), Caps::of(&self.settings.history))
    }

    /// Where the agent's program is.
    pub(crate) fn agent_binary(&self) -> Result<PathBuf> {
        if let Some(path) = &self.settings.agent_binary {
            return Ok(PathBuf::from(path));
        }
        let own = std::env::current_exe().context("cannot find this program's own path")?;
        Ok(own.with_file_name(AGENT_NAME))
    }

    /// The id of this installation, made on first use.
    pub(crate) fn instance(&self) -> Result<InstanceId> {
        let path = self.home.join(INSTANCE_FILE);
        let read = |path: &Path| -> Result<InstanceId> {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            text.trim().parse().with_context(|| format!("{} does not hold an instance id", path.display()))
        };
        if path.exists() {
            return read(&path);
        }
        make_home(&self.home)?;
        let ulid = ulid::Ulid::generate().to_string().to_ascii_lowercase();
        // The end of a ulid is its random part.
        let id = ulid.get(ulid.len() - INSTANCE_DIGITS..).unwrap_or(&ulid).to_owned();
        // Linked into place, so that of two first processes one wins and both read the same id.
        let temp = self.home.join(format!(".{INSTANCE_FILE}.{}", std::process::id()));
        fs::write(&temp, format!("{id}\n")).with_context(|| format!("cannot write {}", temp.display()))?;
        let linked = fs::hard_link(&temp, &path);
        fs::remove_file(&temp).with_context(|| format!("cannot remove {}", temp.display()))?;
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("cannot write {}", path.display()))
            }
            Ok(()) | Err(_) => read(&path),
        }
    }

    /// The issue a person names: `key`, `project#key`, or the newest.
    pub(crate) async fn find_issue(&self, store: &Database, named: Option<&str>) -> Result<Issue> {
        let issues = store.issues(None, MAX_SEARCH).await?;
        let Some(named) = named else {
            return issues.into_iter().next().ok_or_else(|| {
                anyhow!("there is no issue yet\n  hint: cloud-code run --repo . \"Fix the login check\"")
            });
        };
        let known: Vec<String> = issues.iter().map(full_name).collect();
        let matches: Vec<Issue> = issues
            .into_iter()
            .filter(|issue| match named.split_once('#') {
                Some((project, key)) => issue.project.as_str() == project && issue.key.as_str() == key,
                None => issue.key.as_str() == named,
            })
            .collect();
        match <[Issue; 1]>::try_from(matches) {
            Ok([issue]) => Ok(issue),
            Err(none) if none.is_empty() => {
                let hint = match near_names(named, &known).as_slice() {
                    [] => String::new(),
                    near => format!(", did you mean `{}`?", near.join("` or `")),
                };
                bail!("there is no issue `{named}`{hint}\n  hint: `cloud-code list` shows them all")
            }
            Err(several) => {
                let names: Vec<String> = several.iter().map(full_name).collect();
                bail!("`{named}` is the key of several issues\n  hint: name one of {}", names.join(", "))
            }
        }
    }

    /// The shortest name by which a person finds the issue again: its key, when no other project has it too.
    pub(crate) async fn shortest_name(&self, store: &dyn Store, issue: &Issue) -> Result<String> {
        let issues = store.issues(None, MAX_SEARCH).await?;
        Ok(match issues.iter().filter(|other| other.key == issue.key).count() {
            0 | 1 => issue.key.to_string(),
            _ => full_name(issue),
        })
    }

    /// The newest task of an issue.
    pub(crate) async fn newest_task(&self, store: &Database, issue: &Issue) -> Result<TaskRecord> {
        let mut tasks = store.tasks_of(&issue.project, &issue.key).await?;
        tasks.pop().ok_or_else(|| anyhow!("the issue {}#{} has no task", issue.project, issue.key))
    }
}

/// The name that every command finds, whatever other projects have.
pub(crate) fn full_name(issue: &Issue) -> String {
    format!("{}#{}", issue.project, issue.key)
}

/// Least similarity (0 to 1) of a name that is proposed: a swapped or missing letter passes, another word does not.
const NEAR: f64 = 0.8;
/// How many names are proposed.
const MAX_NEAR: usize = 3;

/// The known names that are most like the one that was given, the key alone counting as well.
fn near_names(given: &str, known: &[String]) -> Vec<String> {
    let score = |name: &String| {
        let key = name.split_once('#').map_or(name.as_str(), |(_, key)| key);
        strsim::jaro_winkler(name, given).max(strsim::jaro_winkler(key, given))
    };
    let mut scored: Vec<(f64, &String)> = known.iter().map(|name| (score(name), name)).collect();
    scored.retain(|(score, _)| *score >= NEAR);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(MAX_NEAR).map(|(_, name)| name.clone()).collect()
}

/// Makes the home folder. Others may look through it to the worktrees, but not list or change it.
fn make_home(home: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(home)
        .with_context(|| format!("cannot make the home folder {}", home.display()))
}

/// This process's user and group, unless it is root.
fn own_user() -> Option<(u32, u32)> {
    let uid = nix::unistd::geteuid();
    (!uid.is_root()).then(|| (uid.as_raw(), nix::unistd::getegid().as_raw()))
}
