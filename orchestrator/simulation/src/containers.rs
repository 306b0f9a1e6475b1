//! Containers, and the runtime that speaks of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use cloud_code_model::RuntimeKind;
use cloud_code_runtime::{
    CONTROL_DIR_TARGET, ContainerExit, ContainerFacts, ContainerId, ContainerSpec, ContainerState,
    ContainerUsage, Exit, ImageFacts, Labels, Runtime, RuntimeError, RuntimeInfo, Secrets,
};
use cloud_code_task_schema::TaskId;

use crate::agent::{Agent, Ended, Ledger};
use crate::world::{Event, Fault, State, World};

/// A container.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    control: PathBuf,
    pub(crate) state: ContainerState,
    agent: Option<Agent>,
}

/// All of them, and what the agents did.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    pub(crate) all: BTreeMap<String, Container>,
    pub(crate) ledger: BTreeMap<TaskId, Ledger>,
    /// How often a container was made for each attempt.
    pub(crate) made: BTreeMap<(TaskId, u32), u32>,
}

impl State {
    /// An agent does the next thing.
    pub(crate) fn step_agent(&mut self, id: &str) {
        let Some(container) = self.containers.all.get_mut(id) else { return };
        let Some(mut agent) = container.agent.take() else { return };
        let labelled = container.labels.task.clone();
        match agent.step(self, id, labelled.as_ref()) {
            Some(ended) => self.end_container(id, ended),
            None => {
                if let Some(container) = self.containers.all.get_mut(id) {
                    container.agent = Some(agent);
                }
            }
        }
    }

    /// The container ends.
    pub(crate) fn end_container(&mut self, id: &str, Ended { code, oom }: Ended) {
        let finished_at = Some(self.time());
        if let Some(container) = self.containers.all.get_mut(id)
            && container.state.is_running()
        {
            container.agent = None;
            container.state = ContainerState::Exited(Exit { code: Some(code), oom_killed: oom, finished_at });
            self.note(|| format!("{id} ended with {code}"));
        }
    }

    pub(crate) fn running(&self) -> Vec<String> {
        let running = self.containers.all.iter().filter(|(_, container)| container.state.is_running());
        running.map(|(id, _)| id.clone()).collect()
    }
}

/// The runtime of a world.
#[derive(Clone)]
pub(crate) struct SimRuntime(pub(crate) World);

fn error(fault: Fault, _: &State) -> RuntimeError {
    match fault {
        Fault::Full => RuntimeError::DiskFull { message: "no space left on device".to_owned() },
        Fault::Refuse => RuntimeError::EngineFault { doing: "asked", message: "simulated".to_owned() },
        _ => RuntimeError::EngineTimeout { doing: "asked" },
    }
}

const READ: &[Fault] = &[Fault::CrashBefore, Fault::Refuse, Fault::Slow];
const WRITE: &[Fault] =
    &[Fault::CrashBefore, Fault::CrashAfter, Fault::Refuse, Fault::Lose, Fault::Slow, Fault::Full];
/// Longest answer in good times, in milliseconds.
const LATENCY: u64 = 40;

fn facts(id: &str, container: &Container) -> ContainerFacts {
    ContainerFacts {
        id: ContainerId::new(id),
        name: container.name.clone(),
        image: "simulated".to_owned(),
        labels: container.labels.clone(),
        state: container.state.clone(),
        started_at: None,
    }
}

impl SimRuntime {
    fn start_agent(state: &mut State, id: &str) -> Result<(), RuntimeError> {
        let gone = || RuntimeError::Gone { id: id.to_owned() };
        let container = state.containers.all.get(id).ok_or_else(gone)?.clone();
        if container.state != ContainerState::Created {
            return match container.state {
                ContainerState::Running => Ok(()),
                _ => Err(RuntimeError::Conflict { message: "it has ended".to_owned() }),
            };
        }
        let is_neighbour = |other: &&Container| {
            other.state.is_running()
                && other.labels.project == container.labels.project
                && other.labels.issue == container.labels.issue
        };
        if let Some(other) = state.containers.all.values().find(is_neighbour) {
            let what =
                format!("{} was started beside {}: two agents in one worktree", container.name, other.name);
            state.breaks(what);
        }
        let Some(cli) = container.labels.cli.clone() else { return Err(gone()) };
        let root = container.control.parent().unwrap_or(&container.control).to_owned();
        if let Some(container) = state.containers.all.get_mut(id) {
            container.agent = Some(Agent::new(&container.control, &root, cli));
            container.state = ContainerState::Running;
        }
        state.note(|| format!("{id} runs"));
        let wait = Duration::from_millis(state.chance.between(20, 800));
        state.later(wait, Event::Agent { container: id.to_owned() });
        Ok(())
    }
}

#[async_trait]
impl Runtime for SimRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Docker
    }

    async fn check(&self) -> Result<RuntimeInfo, RuntimeError> {
        Err(RuntimeError::EngineFault { doing: "asked who it is", message: "it is simulated".to_owned() })
    }

    async fn image(&self, name: &str) -> Result<Option<ImageFacts>, RuntimeError> {
        let image = serde_json::json!({
            "id": "sha256:0", "tags": [name], "size_bytes": 1, "labels": {}, "created_at": null,
        });
        self.0.call("runtime.image", 0, READ, error, |_| Ok(serde_json::from_value(image).ok())).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        let made = |state: &mut State| {
            let known = state.containers.all.iter().find(|(_, known)| known.name == spec.name);
            if let Some((id, known)) = known {
                return match known.labels == spec.labels {
                    true => Ok(ContainerId::new(id.clone())),
                    false => {
                        let holder = "a container with other labels".to_owned();
                        Err(RuntimeError::NameTaken { name: spec.name.clone(), holder })
                    }
                };
            }
            let at = spec.mounts.iter().find(|mount| mount.target.as_os_str() == CONTROL_DIR_TARGET);
            let Some(control) = at.map(|mount| mount.source.clone()) else {
                return Err(RuntimeError::Refused {
                    doing: "created",
                    message: "no control directory".to_owned(),
                });
            };
            if !control.is_dir() {
                return Err(RuntimeError::Refused {
                    doing: "created",
                    message: "a mount is missing".to_owned(),
                });
            }
            let id = format!("c{}", state.fresh());
            if let (Some(task), Some(attempt)) = (&spec.labels.task, spec.labels.attempt) {
                *state.containers.made.entry((task.clone(), attempt)).or_default() += 1;
            }
            state.note(|| format!("{id} is made as {}", spec.name));
            let (name, labels) = (spec.name.clone(), spec.labels.clone());
            let container = Container { name, labels, control, state: ContainerState::Created, agent: None };
            state.containers.all.insert(id.clone(), container);
            Ok(ContainerId::new(id))
        };
        self.0.call("runtime.create", LATENCY, WRITE, error, made).await
    }

    async fn start(&self, id: &ContainerId, _: &Secrets) -> Result<(), RuntimeError> {
        let started = self
            .0
            .call("runtime.start", LATENCY, WRITE, error, |state| Self::start_agent(state, id.as_str()))
            .await;
        self.0.wake();
        started
    }

    async fn facts(&self, id: &ContainerId) -> Result<Option<ContainerFacts>, RuntimeError> {
        self.0
            .call("runtime.facts", 0, READ, error, |state| {
                Ok(state.containers.all.get(id.as_str()).map(|container| facts(id.as_str(), container)))
            })
            .await
    }

    async fn find(&self, selector: &Labels) -> Result<Vec<ContainerFacts>, RuntimeError> {
        self.0
            .call("runtime.find", LATENCY, READ, error, |state| {
                let all = state.containers.all.iter();
                let ours = all.filter(|(_, container)| selector.selects(&container.labels));
                let mut found: Vec<ContainerFacts> =
                    ours.map(|(id, container)| facts(id, container)).collect();
                found.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(found)
            })
            .await
    }

    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        loop {
            let moved = self.0.moved().notified();
            let found = self.0.state().containers.all.get(id.as_str()).map(|found| found.state.clone());
            match found {
                None => return Ok(ContainerExit::Gone),
                Some(ContainerState::Exited(exit)) => return Ok(ContainerExit::Exited(exit)),
                Some(_) => moved.await,
            }
        }
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let told = self
            .0
            .call("runtime.stop", LATENCY, WRITE, error, |state| {
                let Some(container) = state.containers.all.get_mut(id.as_str()) else { return Ok(true) };
                let hears = container.agent.as_mut().is_some_and(|agent| {
                    agent.end();
                    agent.hears()
                });
                Ok(!container.state.is_running() || !hears)
            })
            .await?;
        let left = grace.as_secs();
        let ended = || !self.0.state().running().contains(&id.to_string());
        if !told {
            for _ in 0..left {
                if ended() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        self.kill(id).await
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let killed = self
            .0
            .call("runtime.kill", 0, &[Fault::CrashBefore, Fault::CrashAfter], error, |state| {
                state.end_container(id.as_str(), Ended { code: 137, oom: false });
                Ok(())
            })
            .await;
        self.0.moved().notify_waiters();
        killed
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let removed = self
            .0
            .call("runtime.remove", LATENCY, WRITE, error, |state| {
                if state.containers.all.remove(id.as_str()).is_some() {
                    state.note(|| format!("{id} is removed"));
                }
                Ok(())
            })
            .await;
        self.0.moved().notify_waiters();
        removed
    }

    async fn output_tail(&self, _: &ContainerId, _: usize) -> Result<String, RuntimeError> {
        Ok(String::new())
    }

    async fn usage(&self, _: &ContainerId) -> Result<Option<ContainerUsage>, RuntimeError> {
        Ok(None)
    }
}
