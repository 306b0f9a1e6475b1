//! Why a runtime refused, one variant for each decision a caller can make. No engine's own error type passes.

use std::io;
use std::path::PathBuf;

/// Why a runtime could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nothing answers at the engine's socket: not installed, or not running. Wait, or ask a person.
    #[error("no Docker engine answers at {socket}\n  hint: {hint}")]
    EngineUnreachable {
        /// Where it was looked for.
        socket: String,
        /// What to install or start.
        hint: String,
        /// What the system said, if it got that far.
        #[source]
        source: Option<io::Error>,
    },
    /// The engine runs but this user may not talk to it.
    #[error(
        "this user may not use the Docker engine at {socket}\n  hint: run `sudo usermod -aG docker $USER` and log in again"
    )]
    EngineForbidden {
        /// Its socket.
        socket: String,
    },
    /// The engine address is of a kind this crate does not speak.
    #[error(
        "DOCKER_HOST is `{host}`, but only a local engine is supported\n  hint: unset it, or set it to unix:///path/to/docker.sock"
    )]
    EngineAddress {
        /// The address given.
        host: String,
    },
    /// The engine is too old to be driven safely.
    #[error(
        "the Docker engine speaks API {found}, at least {needed} is needed\n  hint: upgrade to Docker 20.10 or later"
    )]
    EngineTooOld {
        /// What it speaks.
        found: String,
        /// What is needed.
        needed: &'static str,
    },
    /// The connection broke in the middle: most likely the engine was stopped. Whether what was asked for happened is not
    /// known.
    #[error("the connection to the Docker engine broke while {doing}: {message}")]
    EngineLost {
        /// What for.
        doing: &'static str,
        /// The library's words.
        message: String,
    },
    /// The engine did not answer in time. It may still do what was asked: look before asking again.
    #[error("the Docker engine did not answer in time while {doing}")]
    EngineTimeout {
        /// What was asked.
        doing: &'static str,
    },
    /// The image is not on this machine.
    #[error("the image `{image}` is not on this machine\n  hint: {hint}")]
    ImageMissing {
        /// Its name.
        image: String,
        /// The command that makes it.
        hint: String,
    },
    /// Another container, with other labels, has that name.
    #[error(
        "the container name `{name}` is taken by {holder}\n  hint: remove that container, or give this installation another instance id"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        holder: String,
    },
    /// The container is of another installation, or of nobody we know. It is not touched.
    #[error("the container {id} does not belong to this installation, it is left alone")]
    NotOurs {
        /// Its id.
        id: String,
    },
    /// The engine's disk is full.
    #[error(
        "the disk is full: {message}\n  hint: `docker system df` shows what fills it, `docker system prune` frees what nothing uses"
    )]
    DiskFull {
        /// What the engine said.
        message: String,
    },
    /// It is in a state in which this cannot be done, now. Look at the facts and decide anew.
    #[error("the engine is in the middle of something else: {message}")]
    Conflict {
        /// What the engine said.
        message: String,
    },
    /// The container is not there any more.
    #[error("the container {id} is gone")]
    Gone {
        /// Its id.
        id: String,
    },
    /// The request is wrong or the engine cannot serve it; asking again changes nothing.
    #[error("the engine refused while {doing}: {message}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// What it said.
        message: String,
    },
    /// The engine failed or its answer made no sense; asking again may help.
    #[error("the engine failed while {doing}: {message}")]
    EngineFault {
        /// What was asked.
        doing: &'static str,
        /// What it said.
        message: String,
    },
    /// The secrets are larger than a pipe holds.
    #[error("the secrets are {bytes} bytes, at most {limit} can be handed over")]
    SecretsTooLarge {
        /// Their size as a document.
        bytes: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The secrets could not be handed over. The agent does not run: it was not started, or was ended again.
    #[error("the secrets could not be written to the agent's stdin, so it does not run")]
    SecretsNotDelivered {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An earlier orchestrator made the container and may have died while handing it secrets; started now, its agent
    /// could read none. Create it again: that replaces it.
    #[error("the container {id} was left unstarted and may have lost its secrets\n  hint: create it again")]
    StdinSpent {
        /// Its id.
        id: String,
    },
    /// A build step failed.
    #[error("building the image `{image}` failed: {message}\n{tail}")]
    BuildFailed {
        /// The tag asked for.
        image: String,
        /// The builder's reason.
        message: String,
        /// The last lines it printed.
        tail: String,
    },
    /// The build context cannot be used.
    #[error("the build context at {path} cannot be used: {reason}")]
    BuildContext {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An image cannot be fetched from a registry.
    #[error("the image `{image}` cannot be pulled: {message}")]
    PullFailed {
        /// Its name.
        image: String,
        /// What the registry or engine said.
        message: String,
    },
    /// The image is in use and was left.
    #[error("the image `{image}` is in use by a container, it is left")]
    ImageInUse {
        /// Its name.
        image: String,
    },
    /// The local runtime could not read or write its own records.
    #[error("cannot use {path}")]
    State {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A record of the local runtime does not read as one.
    #[error(
        "{path} is not a record of the local runtime: {reason}\n  hint: if nothing of it runs any more, remove its folder"
    )]
    StateCorrupt {
        /// The file.
        path: PathBuf,
        /// Where it went wrong.
        reason: String,
    },
    /// The agent's program could not be started.
    #[error("cannot start `{program}`")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Processes of the agent were seen and could not be ended.
    #[error(
        "processes of the agent are still alive and cannot be ended from here: {pids:?}\n  hint: end them by hand, they may still change the workspace"
    )]
    Survivors {
        /// Their process ids.
        pids: Vec<i32>,
    },
}
