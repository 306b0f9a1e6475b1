//! The Docker adapter. A request is made once and its answer believed; what an answer cannot tell (an exit code, an
//! OOM kill) is read from the container itself. Rejected: the engine's event stream as the source of truth, because
//! events are lost whenever nobody listens, and a look at the container is needed after each anyway.

mod connection;
mod context;
mod failure;
mod handover;
mod images;
mod inspect;
mod ownership;
mod pull;
mod request;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StatsOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use self::connection::Connection;
use self::failure::{Failure, is_conflict, is_not_found};
use self::inspect::Seen;
use self::ownership::Ownership;
use crate::tail::Tail;
use crate::{
    ContainerExit, ContainerFacts, ContainerId, ContainerSpec, ContainerState, ContainerUsage, ImageFacts,
    Labels, Runtime, RuntimeError, RuntimeInfo, RuntimeKind, Secrets, Stdin,
};

pub use self::connection::{DEFAULT_SOCKET, DockerSettings};
pub use self::images::{BuildCache, BuildFile, BuildProgress, ImageBuild};
pub use self::pull::PullProgress;

/// Containers looked at side by side in a listing: enough to hide the round trips, few enough not to crowd the socket.
const INSPECTIONS_AT_ONCE: usize = 8;

/// How often a wait looks again at a container that nobody has started yet. The engine has no "first exit" condition
/// that covers a start before the request arrived, so the level is read again.
const UNSTARTED_POLL: Duration = Duration::from_millis(200);

/// Between two looks at a container whose removal is under way, and how long to go on looking.
const REMOVAL_POLL: Duration = Duration::from_millis(50);
const REMOVAL_DEADLINE: Duration = Duration::from_secs(30);

/// Beyond the grace of a stop: what the engine itself takes to kill and to clean up.
const STOP_MARGIN: Duration = Duration::from_secs(60);

const CREATING: &str = "creating a container";

/// Lines asked of the engine for a tail. It counts lines, we count bytes: fewer lines would cut short tails of short
/// lines, more would be read only to be thrown away.
const TAIL_LINES: &str = "500";

/// Starts agents as containers of a Docker engine on this machine.
pub struct DockerRuntime {
    connection: Connection,
    ownership: Ownership,
}

impl DockerRuntime {
    /// Makes the adapter. Nothing is connected yet, so this never fails; [`Runtime::check`] does.
    pub fn new(settings: DockerSettings) -> Self {
        Self { connection: Connection::new(settings.host), ownership: Ownership::new(settings.instance) }
    }

    async fn client(&self) -> Result<&Docker, RuntimeError> {
        self.connection.client().await
    }

    fn failure(&self, error: Error, doing: &'static str) -> Failure<'_> {
        Failure { error, doing, socket: self.connection.socket() }
    }

    /// Looks at one container; `None` when it is not there, [`RuntimeError::NotOurs`] when it is not ours.
    async fn look(&self, id: &str) -> Result<Option<Seen>, RuntimeError> {
        let answer = self.client().await?.inspect_container(id, None::<InspectContainerOptions>).await;
        match answer {
            Ok(answer) => self.ownership.claim(id, inspect::read(answer)).map(Some),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(self.failure(error, "looking at a container").into_runtime_error()),
        }
    }

    /// Makes sure that `id` is ours before anything is done to it; false when it is not there. Costs a request only
    /// for a container this object has not met.
    async fn is_ours(&self, id: &ContainerId) -> Result<bool, RuntimeError> {
        if self.ownership.knows(id) {
            return Ok(true);
        }
        Ok(self.look(id.as_str()).await?.is_some())
    }

    /// One request to create it; the inner error is the engine's own answer.
    async fn create_new(
        &self,
        spec: &ContainerSpec,
        body: ContainerCreateBody,
    ) -> Result<Result<ContainerId, Error>, RuntimeError> {
        let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
        Ok(self.client().await?.create_container(Some(options), body).await.map(|answer| {
            for warning in &answer.warnings {
                tracing::warn!(container.id = %answer.id, "the Docker engine warns: {warning}");
            }
            let id = ContainerId::new(answer.id);
            self.ownership.remember_fresh(&id, spec.stdin);
            id
        }))
    }

    /// The container that holds the name we wanted: ours with the same labels, or an obstacle.
    async fn adopt(&self, spec: &ContainerSpec, conflict: Error) -> Result<ContainerId, RuntimeError> {
        let taken = |holder: String| RuntimeError::NameTaken { name: spec.name.clone(), holder };
        match self.look(&spec.name).await {
            Ok(Some(seen)) if spec.labels.selects(&seen.facts.labels) => {
                if self.ownership.is_fresh(&seen.facts.id) || !handover::may_be_spent(&seen) {
                    return Ok(seen.facts.id);
                }
                self.remove(&seen.facts.id).await?;
                let created = self.create_new(spec, request::create_body(spec)?).await?;
                created.map_err(|error| self.failure(error, CREATING).into_runtime_error())
            }
            Ok(Some(Seen { facts, .. })) => {
                Err(taken(format!("another container of this installation, {}", facts.id)))
            }
            // It went away between the two requests: the caller may ask again.
            Ok(None) => Err(self.failure(conflict, CREATING).into_runtime_error()),
            Err(RuntimeError::NotOurs { id }) => Err(taken(format!("a container that is not ours, {id}"))),
            Err(error) => Err(error),
        }
    }

    /// A 404 to a create may mean the image, the network or the container whose network is shared. Only a look tells.
    async fn explain_missing(&self, spec: &ContainerSpec, error: Error) -> RuntimeError {
        match self.image(&spec.image).await {
            Ok(None) => {
                let hint = match &spec.labels.cli {
                    Some(cli) => format!("run `cloud-code images build {cli}`"),
                    None => format!("run `docker pull {}`", spec.image),
                };
                RuntimeError::ImageMissing { image: spec.image.clone(), hint }
            }
            Ok(Some(_)) => self.failure(error, CREATING).into_runtime_error(),
            Err(error) => error,
        }
    }

    /// Waits until a removal that someone else began is over.
    async fn until_gone(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let looking = async {
            while self.look(id.as_str()).await?.is_some() {
                tokio::time::sleep(REMOVAL_POLL).await;
            }
            Ok(())
        };
        tokio::time::timeout(REMOVAL_DEADLINE, looking)
            .await
            .unwrap_or(Err(RuntimeError::EngineTimeout { doing: "removing a container" }))
    }

    /// Waits for one end, or for the answer that it does not run; says nothing about which.
    async fn until_not_running(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut answers = std::pin::pin!(self.client().await?.wait_container(id.as_str(), Some(options)));
        match answers.next().await {
            // The library turns every code but zero into an error.
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) if is_not_found(&error) => Ok(()),
            Some(Err(error)) => Err(self.failure(error, "waiting for a container").into_runtime_error()),
            None => Err(RuntimeError::EngineFault {
                doing: "waiting for a container",
                message: "the engine ended the answer before the container ended".to_owned(),
            }),
        }
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Docker
    }

    async fn check(&self) -> Result<RuntimeInfo, RuntimeError> {
        let client = self.client().await?;
        let info = client
            .info()
            .await
            .map_err(|e| self.failure(e, "asking for its settings").into_runtime_error())?;
        Ok(inspect::read_info(info, client.client_version().to_string()))
    }

    async fn image(&self, name: &str) -> Result<Option<ImageFacts>, RuntimeError> {
        match self.client().await?.inspect_image(name).await {
            Ok(answer) => Ok(inspect::read_image(answer)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(self.failure(error, "looking at an image").into_runtime_error()),
        }
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        self.ownership.require(&spec.labels, &spec.name)?;
        let body = request::create_body(spec)?;
        match self.create_new(spec, body).await? {
            Ok(id) => Ok(id),
            Err(error) if is_conflict(&error) => self.adopt(spec, error).await,
            Err(error) if is_not_found(&error) => Err(self.explain_missing(spec, error).await),
            Err(error) => Err(self.failure(error, CREATING).into_runtime_error()),
        }
    }

    async fn start(&self, id: &ContainerId, secrets: &Secrets) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        let stdin = match self.ownership.take_fresh(id) {
            Some(stdin) => stdin,
            None => match self.look(id.as_str()).await? {
                None => return Err(RuntimeError::Gone { id: id.to_string() }),
                Some(seen) if seen.facts.state.is_running() => return Ok(()),
                Some(seen) if handover::may_be_spent(&seen) => {
                    return Err(RuntimeError::StdinSpent { id: id.to_string() });
                }
                Some(seen) => seen.stdin,
            },
        };
        match stdin {
            Stdin::Secrets => self.start_with_secrets(client, id, secrets).await,
            Stdin::Closed if secrets.is_empty() => client
                .start_container(id.as_str(), None::<StartContainerOptions>)
                .await
                .map_err(|error| self.failure(error, "starting a container").about(id)),
            Stdin::Closed => Err(RuntimeError::Refused {
                doing: "starting a container",
                message: "it was created without stdin, so secrets cannot be handed to it".to_owned(),
            }),
        }
    }

    async fn facts(&self, id: &ContainerId) -> Result<Option<ContainerFacts>, RuntimeError> {
        Ok(self.look(id.as_str()).await?.map(|seen| seen.facts))
    }

    async fn find(&self, selector: &Labels) -> Result<Vec<ContainerFacts>, RuntimeError> {
        self.ownership.require(selector, "the selector")?;
        let labels: Vec<String> =
            selector.to_map().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([("label", labels)]))
            .build();
        let listed = self
            .client()
            .await?
            .list_containers(Some(options))
            .await
            .map_err(|error| self.failure(error, "listing containers").into_runtime_error())?;
        let ids: Vec<String> = listed.into_iter().filter_map(|summary| summary.id).collect();
        let looks: Vec<_> = ids.iter().map(|id| self.look(id)).collect();
        let seen: Vec<Option<Seen>> = stream::iter(looks).buffered(INSPECTIONS_AT_ONCE).try_collect().await?;
        let facts = seen.into_iter().flatten().map(|seen| seen.facts);
        let mut found: Vec<ContainerFacts> = facts.filter(|facts| selector.selects(&facts.labels)).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        loop {
            if !self.is_ours(id).await? {
                return Ok(ContainerExit::Gone);
            }
            self.until_not_running(id).await?;
            let Some(seen) = self.look(id.as_str()).await? else { return Ok(ContainerExit::Gone) };
            match seen.facts.state {
                ContainerState::Exited(exit) => return Ok(ContainerExit::Exited(exit)),
                ContainerState::Dead => return Ok(ContainerExit::Gone),
                ContainerState::Running => {}
                ContainerState::Created => tokio::time::sleep(UNSTARTED_POLL).await,
            }
        }
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        if !self.is_ours(id).await? {
            return Ok(());
        }
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options =
            StopContainerOptionsBuilder::default().t(i32::try_from(seconds).unwrap_or(i32::MAX)).build();
        let patient = self.client().await?.clone().with_timeout(grace + STOP_MARGIN);
        match patient.stop_container(id.as_str(), Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(self.failure(error, "stopping a container").into_runtime_error()),
        }
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        if !self.is_ours(id).await? {
            return Ok(());
        }
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        match self.client().await?.kill_container(id.as_str(), Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
            Err(error) => Err(self.failure(error, "killing a container").into_runtime_error()),
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        if !self.is_ours(id).await? {
            return Ok(());
        }
        // `v`: volumes an image declares and nobody named would outlive the container unseen.
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.client().await?.remove_container(id.as_str(), Some(options)).await {
            Ok(()) => {}
            Err(error) if is_not_found(&error) => {}
            Err(error) if is_conflict(&error) => self.until_gone(id).await?,
            Err(error) => return Err(self.failure(error, "removing a container").into_runtime_error()),
        }
        self.ownership.forget(id);
        Ok(())
    }

    async fn output_tail(&self, id: &ContainerId, max_bytes: usize) -> Result<String, RuntimeError> {
        if !self.is_ours(id).await? {
            return Ok(String::new());
        }
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(TAIL_LINES).build();
        let mut chunks = self.client().await?.logs(id.as_str(), Some(options));
        let mut tail = Tail::new(max_bytes);
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => tail.push(chunk.as_ref()),
                Err(error) if is_not_found(&error) => break,
                Err(error) => {
                    return Err(self.failure(error, "reading what the agent printed").into_runtime_error());
                }
            }
        }
        Ok(tail.into_text())
    }

    async fn usage(&self, id: &ContainerId) -> Result<Option<ContainerUsage>, RuntimeError> {
        if !self.is_ours(id).await? {
            return Ok(None);
        }
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut answers = std::pin::pin!(self.client().await?.stats(id.as_str(), Some(options)));
        match answers.next().await {
            Some(Ok(answer)) => Ok(inspect::read_usage(answer)),
            Some(Err(error)) if is_not_found(&error) || is_conflict(&error) => Ok(None),
            Some(Err(error)) => Err(self.failure(error, "measuring a container").into_runtime_error()),
            None => Ok(None),
        }
    }
}
