//! Handing secrets to an agent: attach to its stdin, write the document, close, start, and see the engine take it.
//!
//! The order matters. Attached after the start, the agent could read an end of file before we arrive. Not seen through
//! to the end, a dropped connection could lose the document.
//!
//! A crash in between leaves a container that was attached once and never started. Its stdin is spent: a later start
//! succeeds and the agent reads nothing (a test holds on to that). Such a container is therefore never started by an
//! object that did not create it; `create` replaces it, nothing is lost with it.

use std::time::Duration;

use bollard::Docker;
use bollard::container::AttachContainerResults;
use bollard::query_parameters::{AttachContainerOptionsBuilder, StartContainerOptions};
use futures_util::StreamExt;
use secrecy::ExposeSecret;
use tokio::io::AsyncWriteExt;

use super::DockerRuntime;
use super::inspect::Seen;
use crate::{ContainerId, ContainerState, RuntimeError, Secrets, Stdin};

/// How long to watch the engine take a document once the agent runs. It closes its side at once, but on a loaded
/// machine it was seen to forget that after having passed the document on (1 of 200 starts). Longer only delays
/// those. Shorter drops a connection the engine may still read; dropping at once lost nothing in 200 starts, but that
/// rests on the engine reading to the end of a closed socket.
const HANDOVER_PATIENCE: Duration = Duration::from_millis(500);

/// True for a container that some other process made for secrets and did not start.
pub(super) fn may_be_spent(seen: &Seen) -> bool {
    matches!(seen.stdin, Stdin::Secrets) && matches!(seen.facts.state, ContainerState::Created)
}

impl DockerRuntime {
    pub(super) async fn start_with_secrets(
        &self,
        client: &Docker,
        id: &ContainerId,
        secrets: &Secrets,
    ) -> Result<(), RuntimeError> {
        let document = secrets.document()?;
        let options = AttachContainerOptionsBuilder::default().stdin(true).stream(true).build();
        let AttachContainerResults { mut output, mut input } = client
            .attach_container(id.as_str(), Some(options))
            .await
            .map_err(|error| self.failure(error, "attaching to a container").about(id))?;
        let written = async {
            input.write_all(document.expose_secret().as_bytes()).await?;
            input.shutdown().await
        };
        written.await.map_err(|source| RuntimeError::SecretsNotDelivered { source })?;
        client
            .start_container(id.as_str(), None::<StartContainerOptions>)
            .await
            .map_err(|error| self.failure(error, "starting a container").about(id))?;
        // The engine closes its side when the last byte is in the agent's pipe.
        let taken = async { while output.next().await.is_some_and(|chunk| chunk.is_ok()) {} };
        if tokio::time::timeout(HANDOVER_PATIENCE, taken).await.is_err() {
            tracing::debug!(container.id = %id, "the engine has not yet said that it passed the secrets on");
        }
        Ok(())
    }
}
