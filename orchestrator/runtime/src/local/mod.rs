//! The local adapter: a detached child process for each agent, for machines without an engine and for development.
//! Unsandboxed, and never chosen silently. Everything needed to find an agent again lies in one folder for each
//! container, so that an orchestrator which was killed finds what it left running.

mod mark;
mod process;
mod record;
mod spawn;
mod sweep;

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cloud_code_model::InstanceId;
use nix::sys::signal::Signal;
use tokio::sync::watch;

use self::process::ProcessTable;
use self::record::{Folder, Phase, Record};
use crate::tail::Tail;
use crate::{
    ContainerExit, ContainerFacts, ContainerId, ContainerSpec, ContainerState, ContainerUsage, Exit,
    ImageFacts, Labels, Runtime, RuntimeError, RuntimeInfo, RuntimeKind, Secrets, Stdin,
};

/// Variables of the orchestrator that a local agent gets: what a program needs to run at all. The rest, where tokens
/// tend to be, stays out.
pub const INHERITED_ENVIRONMENT: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

/// How often an agent that another orchestrator started is looked at. Nobody tells us of its end: shorter burns
/// processor time for nothing, longer delays the news.
const ADOPTED_POLL: Duration = Duration::from_millis(200);

/// How often an agent of this orchestrator is looked at although its reaper tells of its end at once: seldom, as every look
/// reads files and the kernel's word on the process, for each agent that runs.
const OWN_POLL: Duration = Duration::from_secs(10);

/// How often an agent is looked at while it is being stopped.
const STOP_POLL: Duration = Duration::from_millis(10);

const WARNINGS: &[&str] = &[
    "the local runtime is no sandbox: the CLI can read and change whatever this user can",
    "the local runtime applies no limits, mounts, network modes or capabilities",
    "the local runtime keeps all that an agent prints, without a cap",
];

/// Where and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSettings {
    /// The installation; only its containers are seen and touched.
    pub instance: InstanceId,
    /// Folder for records and output; made when missing, readable by this user only.
    pub state_dir: PathBuf,
    /// Names of the orchestrator's variables that agents get; [`INHERITED_ENVIRONMENT`] is the usual list.
    pub inherit: Vec<String>,
}

impl LocalSettings {
    /// The usual settings.
    pub fn new(instance: InstanceId, state_dir: impl Into<PathBuf>) -> Self {
        let inherit = INHERITED_ENVIRONMENT.iter().map(|&name| name.to_owned()).collect();
        Self { instance, state_dir: state_dir.into(), inherit }
    }
}

/// Ends of agents this object started, as its reaper threads learn of them.
type Ends = Arc<Mutex<HashMap<ContainerId, watch::Receiver<Option<Exit>>>>>;

/// Starts agents as child processes of the orchestrator.
#[derive(Clone)]
pub struct LocalRuntime {
    settings: Arc<LocalSettings>,
    ends: Ends,
    /// One start at a time: two starts of one container would be two agents.
    starting: Arc<Mutex<()>>,
}

impl LocalRuntime {
    /// Makes the adapter and its folder.
    pub fn new(mut settings: LocalSettings) -> Result<Self, RuntimeError> {
        settings.state_dir = record::prepare(&settings.state_dir)?;
        record::sweep(&settings.state_dir)?;
        Ok(Self { settings: Arc::new(settings), ends: Ends::default(), starting: Arc::default() })
    }

    /// Runs file and process work off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(this)).await.unwrap_or_else(|error| {
            Err(RuntimeError::EngineFault { doing: "working on a local agent", message: error.to_string() })
        })
    }

    /// The folder and record of a container of ours; `None` when there is none.
    fn open(&self, id: &ContainerId) -> Result<Option<(Folder, Record)>, RuntimeError> {
        let Some(folder) = Folder::named(&self.settings.state_dir, id.as_str()) else { return Ok(None) };
        let Some(record) = folder.read()? else { return Ok(None) };
        if record.labels.instance != self.settings.instance {
            return Err(RuntimeError::NotOurs { id: id.to_string() });
        }
        Ok(Some((folder, record)))
    }

    fn read_facts(&self, id: &ContainerId) -> Result<Option<ContainerFacts>, RuntimeError> {
        let Some((folder, record)) = self.open(id)? else { return Ok(None) };
        let state = match record.running_or_orphaned(&folder) {
            None => ContainerState::Created,
            Some(run) => match folder.read_exit(&run)? {
                Some(exit) => ContainerState::Exited(exit),
                // A zombie counts as running: its parent is about to write down how it ended.
                None if run.process.exists() => ContainerState::Running,
                // The exit may have been written between the two looks.
                None => ContainerState::Exited(folder.read_exit(&run)?.unwrap_or(Exit {
                    code: None,
                    oom_killed: false,
                    finished_at: None,
                })),
            },
        };
        let started_at = record.started_at();
        Ok(Some(ContainerFacts {
            id: id.clone(),
            name: record.name,
            image: String::new(),
            labels: record.labels,
            state,
            started_at,
        }))
    }

    fn start_now(&self, id: &ContainerId, secrets: &Secrets) -> Result<(), RuntimeError> {
        let _one_at_a_time = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((folder, mut record)) = self.open(id)? else {
            return Err(RuntimeError::Gone { id: id.to_string() });
        };
        if let Some(run) = record.running_or_orphaned(&folder)
            && run.process.is_alive()
        {
            record.phase = Phase::Started(run);
            return folder.write(&record);
        }
        let document = match record.stdin {
            Stdin::Secrets => Some(secrets.document()?),
            Stdin::Closed if secrets.is_empty() => None,
            Stdin::Closed => {
                return Err(RuntimeError::Refused {
                    doing: "starting a local agent",
                    message: "it was created without stdin, so secrets cannot be handed to it".to_owned(),
                });
            }
        };
        // Whatever an earlier run left must not work beside the new one.
        if !folder.is_over(&record)? {
            sweep::end_all(None, &folder.mark())?;
        }
        record.phase = Phase::Starting;
        folder.forget_exit()?;
        folder.write(&record)?;
        let started = spawn::spawn(&folder, &record, &self.settings.inherit)?;
        record.phase = Phase::Started(started.run.clone());
        if let Err(error) = folder.write(&record) {
            // An agent that is not written down would be found only by its mark: better not to have it.
            sweep::end_all(Some(&started.run.process), &folder.mark())?;
            return Err(error);
        }
        let handed_over = started.hand_over(document);
        let end = started.reap(&folder);
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), end);
        if let Err(source) = handed_over {
            sweep::end_all(record.process(), &folder.mark())?;
            return Err(RuntimeError::SecretsNotDelivered { source });
        }
        Ok(())
    }

    /// Ends the agent and all it started. True for a container that exists.
    fn end_now(&self, id: &ContainerId) -> Result<bool, RuntimeError> {
        let Some((folder, record)) = self.open(id)? else { return Ok(false) };
        if folder.is_over(&record)? {
            return Ok(true);
        }
        let run = record.running_or_orphaned(&folder);
        sweep::end_all(run.as_ref().map(|run| &run.process), &folder.mark())?;
        Ok(true)
    }
}

#[async_trait]
impl Runtime for LocalRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Local
    }

    async fn check(&self) -> Result<RuntimeInfo, RuntimeError> {
        let state_dir = self.settings.state_dir.clone();
        self.blocking(move |_| record::prepare(&state_dir)).await?;
        Ok(RuntimeInfo {
            kind: RuntimeKind::Local,
            version: process::kernel_release(),
            api_version: None,
            cgroup_version: None,
            storage: None,
            runtime_classes: Vec::new(),
            warnings: WARNINGS.iter().map(|&text| text.to_owned()).collect(),
        })
    }

    async fn image(&self, _name: &str) -> Result<Option<ImageFacts>, RuntimeError> {
        Ok(None)
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        if spec.labels.instance != self.settings.instance {
            return Err(RuntimeError::NotOurs { id: spec.name.clone() });
        }
        let record = Record::of(spec)?;
        let wanted = spec.labels.clone();
        self.blocking(move |this| {
            let id = ContainerId::new(record.name.clone());
            let Some(folder) = Folder::named(&this.settings.state_dir, &record.name) else {
                return Err(RuntimeError::Refused {
                    doing: "creating a local agent",
                    message: format!(
                        "`{}` is no container name: use 2 to 128 letters, digits, `_`, `.` or `-`, starting with a \
                         letter or digit",
                        record.name
                    ),
                });
            };
            if folder.create(&record)? {
                return Ok(id);
            }
            let taken = |holder: String| RuntimeError::NameTaken { name: record.name.clone(), holder };
            match this.open(&id) {
                Ok(Some((_, found))) if wanted.selects(&found.labels) => Ok(id),
                Ok(Some(_)) => Err(taken("another container of this installation".to_owned())),
                Ok(None) => Err(RuntimeError::Conflict { message: format!("`{}` was just removed", record.name) }),
                Err(RuntimeError::NotOurs { .. }) => Err(taken("a container of another installation".to_owned())),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn start(&self, id: &ContainerId, secrets: &Secrets) -> Result<(), RuntimeError> {
        let (id, secrets) = (id.clone(), secrets.clone());
        self.blocking(move |this| this.start_now(&id, &secrets)).await
    }

    async fn facts(&self, id: &ContainerId) -> Result<Option<ContainerFacts>, RuntimeError> {
        let id = id.clone();
        self.blocking(move |this| this.read_facts(&id)).await
    }

    async fn find(&self, selector: &Labels) -> Result<Vec<ContainerFacts>, RuntimeError> {
        if selector.instance != self.settings.instance {
            return Err(RuntimeError::NotOurs { id: "the selector".to_owned() });
        }
        let selector = selector.clone();
        self.blocking(move |this| {
            let mut found = Vec::new();
            for name in record::names(&this.settings.state_dir)? {
                match this.read_facts(&ContainerId::new(name)) {
                    Ok(Some(facts)) if selector.selects(&facts.labels) => found.push(facts),
                    Ok(_) | Err(RuntimeError::NotOurs { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(found)
        })
        .await
    }

    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        loop {
            match self.facts(id).await?.map(|facts| facts.state) {
                None => return Ok(ContainerExit::Gone),
                Some(ContainerState::Exited(exit)) => return Ok(ContainerExit::Exited(exit)),
                Some(ContainerState::Created | ContainerState::Running | ContainerState::Dead) => {}
            }
            let end = self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
            match end {
                // Ours: the reaper tells at once, and one that could not be started is gone and takes the other arm.
                Some(mut end) if end.borrow().is_none() && end.has_changed().is_ok() => {
                    tokio::select! {
                        _ = end.wait_for(Option::is_some) => {}
                        () = tokio::time::sleep(OWN_POLL) => {}
                    }
                }
                _ => tokio::time::sleep(ADOPTED_POLL).await,
            }
        }
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let id = id.clone();
        self.blocking(move |this| {
            if let Some((folder, record)) = this.open(&id)?
                && let Some(run) = record.running_or_orphaned(&folder)
                && run.process.signal(Signal::SIGTERM).is_ok()
            {
                let deadline = Instant::now() + grace;
                while run.process.is_alive() && Instant::now() < deadline {
                    std::thread::sleep(STOP_POLL);
                }
            }
            this.end_now(&id).map(|_| ())
        })
        .await
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let id = id.clone();
        self.blocking(move |this| this.end_now(&id).map(|_| ())).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let id = id.clone();
        self.blocking(move |this| {
            if this.end_now(&id)?
                && let Some(folder) = Folder::named(&this.settings.state_dir, id.as_str())
            {
                folder.remove()?;
            }
            this.ends.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            Ok(())
        })
        .await
    }

    async fn output_tail(&self, id: &ContainerId, max_bytes: usize) -> Result<String, RuntimeError> {
        let id = id.clone();
        self.blocking(move |this| {
            let Some((folder, _)) = this.open(&id)? else { return Ok(String::new()) };
            let path = folder.output();
            read_end(&path, max_bytes).map_err(|source| RuntimeError::State { path, source })
        })
        .await
    }

    async fn usage(&self, id: &ContainerId) -> Result<Option<ContainerUsage>, RuntimeError> {
        let id = id.clone();
        self.blocking(move |this| {
            let Some((folder, record)) = this.open(&id)? else { return Ok(None) };
            let Some(run) = record.running_or_orphaned(&folder) else { return Ok(None) };
            Ok(run.process.is_alive().then(|| ProcessTable::read().usage(run.process.pid)))
        })
        .await
    }
}

fn read_end(path: &Path, max_bytes: usize) -> io::Result<String> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(max_bytes as u64)))?;
    let mut bytes = Vec::new();
    file.take(max_bytes as u64).read_to_end(&mut bytes)?;
    let mut tail = Tail::new(max_bytes);
    tail.push(&bytes);
    Ok(tail.into_text())
}
