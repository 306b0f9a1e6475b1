//! The port: what the reconciler needs from whatever starts agents, and nothing an engine happens to offer beside it.
//!
//! A wider trait (exec, copy, networks) was left out on purpose: killing an `exec` does not end the work it started,
//! and everything the agent says goes through the control directory.

use std::time::Duration;

use async_trait::async_trait;
pub use cloud_code_model::RuntimeKind;

use crate::{
    ContainerExit, ContainerFacts, ContainerId, ContainerSpec, ContainerUsage, ImageFacts, Labels,
    RuntimeError, RuntimeInfo, Secrets,
};

/// Starts agents and says what became of them.
///
/// Every call states a wish about the world and may be repeated: after a crash the caller reads the facts and asks
/// again. An implementation is made for one instance and refuses ([`RuntimeError::NotOurs`]) what is not labelled so.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Which adapter this is.
    fn kind(&self) -> RuntimeKind;

    /// Asks the runtime who it is and what it cannot do. The first call a `doctor` makes; needs no image.
    async fn check(&self) -> Result<RuntimeInfo, RuntimeError>;

    /// What is known of an image on this machine; `None` when it is missing. The local runtime has no images.
    async fn image(&self, name: &str) -> Result<Option<ImageFacts>, RuntimeError>;

    /// Makes a container that does not run yet.
    ///
    /// Idempotent by name: if one of that name carries the same labels, its id is returned and it stays as it is, in
    /// whatever state; if it carries others the answer is [`RuntimeError::NameTaken`]. One exception: a container for
    /// secrets that another process made and never started is replaced, as its stdin may be spent.
    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError>;

    /// Starts it. A container that already runs is left alone, and receives no secrets a second time.
    ///
    /// A container created with [`crate::Stdin::Secrets`] reads one JSON document `{"env": {…}}` from its stdin and
    /// then sees the end of file; that is so even when `secrets` is empty. One created with [`crate::Stdin::Closed`]
    /// has no stdin: secrets for it are refused. [`RuntimeError::StdinSpent`] asks for another `create`.
    async fn start(&self, id: &ContainerId, secrets: &Secrets) -> Result<(), RuntimeError>;

    /// What is so now; `None` when there is no such container.
    async fn facts(&self, id: &ContainerId) -> Result<Option<ContainerFacts>, RuntimeError>;

    /// All containers whose labels match: the instance must, each further field must where the selector has it.
    /// Ended ones are included. Order: by name.
    async fn find(&self, selector: &Labels) -> Result<Vec<ContainerFacts>, RuntimeError>;

    /// Resolves when the container has ended, also if it ended long ago or is gone. Never resolves for one that is
    /// never started; dropping the future is free.
    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError>;

    /// TERM to the agent, then after `grace` (rounded up to whole seconds) KILL to everything in the container.
    /// Returns when it no longer runs. One that does not run, or is gone, is success.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError>;

    /// KILL to everything in the container, now. One that does not run, or is gone, is success.
    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Kills it if it runs and forgets it, its output included. A missing one is success.
    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// The end of what the agent itself printed (stdout and stderr, in order where the runtime knows it), at most
    /// `max_bytes`, with terminal control sequences taken out. Empty when the container is gone.
    async fn output_tail(&self, id: &ContainerId, max_bytes: usize) -> Result<String, RuntimeError>;

    /// What it uses now; `None` when it does not run.
    async fn usage(&self, id: &ContainerId) -> Result<Option<ContainerUsage>, RuntimeError>;
}
