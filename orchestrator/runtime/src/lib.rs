#![doc = include_str!("../README.md")]

mod docker;
mod error;
mod facts;
mod labels;
mod local;
mod port;
mod secrets;
mod spec;
mod tail;

pub use docker::{BuildCache, BuildFile, BuildProgress, ImageBuild, PullProgress};
pub use docker::{DEFAULT_SOCKET, DockerRuntime, DockerSettings};
pub use error::RuntimeError;
pub use facts::{
    ContainerExit, ContainerFacts, ContainerId, ContainerState, ContainerUsage, Exit, ImageFacts, ImageId,
    RuntimeInfo,
};
pub use labels::{
    IMAGE_CLI, IMAGE_CLI_VERSION, LABEL_ATTEMPT, LABEL_CLI, LABEL_INSTANCE, LABEL_ISSUE, LABEL_PROJECT,
    LABEL_TASK, Labels,
};
pub use local::{INHERITED_ENVIRONMENT, LocalRuntime, LocalSettings};
pub use port::{Runtime, RuntimeKind};
pub use secrets::{MAX_SECRETS_BYTES, Secrets};
pub use spec::{
    AGENT_CAPABILITIES, AGENT_PATH, CONTROL_DIR_TARGET, CONTROL_PARENT, Capability, ContainerSpec,
    Executable, Limits, Mount, MountAccess, NetworkMode, RootFilesystem, Stdin, Tmpfs, control_mounts,
};
