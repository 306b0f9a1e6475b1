//! Finding the engine. The connection is made at the first request, not when the runtime is built: the orchestrator
//! must come up, and say what is missing, on a machine without Docker.

use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use cloud_code_model::InstanceId;
use tokio::sync::OnceCell;

use super::failure::Failure;
use crate::RuntimeError;

/// Where a local engine listens when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Seconds until the engine's answer to one request must begin. A loaded disk makes `create` take many seconds; higher
/// only delays the news of an engine that hangs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// The oldest API that has all that is used here (one-shot statistics came last). Docker 20.10 speaks it.
const OLDEST_API: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };
const OLDEST_API_TEXT: &str = "1.41";

/// How to reach the engine, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSettings {
    /// The installation; only its containers are seen and touched.
    pub instance: InstanceId,
    /// `unix:///path` or a path; [`DEFAULT_SOCKET`] when `None`.
    pub host: Option<String>,
}

impl DockerSettings {
    /// Takes the address from `DOCKER_HOST`, as the `docker` program does.
    pub fn from_environment(instance: InstanceId) -> Self {
        Self { instance, host: std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) }
    }
}

pub(super) struct Connection {
    host: Option<String>,
    client: OnceCell<Docker>,
}

impl Connection {
    pub(super) fn new(host: Option<String>) -> Self {
        Self { host, client: OnceCell::new() }
    }

    /// The socket as a person would name it.
    pub(super) fn socket(&self) -> &str {
        let host = self.host.as_deref().unwrap_or(DEFAULT_SOCKET);
        host.strip_prefix("unix://").unwrap_or(host)
    }

    /// The client; connects and learns the engine's version the first time it succeeds.
    pub(super) async fn client(&self) -> Result<&Docker, RuntimeError> {
        self.client.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Docker, RuntimeError> {
        let socket = self.socket();
        if socket.contains("://") {
            return Err(RuntimeError::EngineAddress { host: socket.to_owned() });
        }
        let doing = "connecting";
        let failed = |error| Failure { error, doing, socket }.into_runtime_error();
        let client = Docker::connect_with_unix(socket, REQUEST_TIMEOUT.as_secs(), API_DEFAULT_VERSION)
            .map_err(failed)?
            .negotiate_version()
            .await
            .map_err(failed)?;
        let spoken = client.client_version();
        if spoken < OLDEST_API {
            return Err(RuntimeError::EngineTooOld { found: spoken.to_string(), needed: OLDEST_API_TEXT });
        }
        Ok(client)
    }
}
