//! What a runtime reports: facts as they are now, never what we wished for.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Labels, RuntimeKind};

/// The runtime's own name of a container: Docker's 64 hex digits, or the local runtime's folder. Opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerId(String);

impl ContainerId {
    /// Takes an id that was stored earlier. An id nobody issued is simply not found.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The engine's digest of an image, `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageId(String);

impl ImageId {
    pub(crate) fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The agent's exit code; 128 + n when signal n ended it. `None` when nobody of ours was there to see it, which
    /// happens only in the local runtime. Absence is not success.
    pub code: Option<i32>,
    /// The kernel killed something in the container because it was out of its memory limit. Usually the CLI, so the
    /// agent's own code need not be 137. True is true; false is not proof: Docker 20.10 on a loaded machine loses the
    /// news of some kills (6 of 100 when measured). Inside, the agent reads its cgroup's own count; outside, see
    /// [`Exit::was_killed`].
    pub oom_killed: bool,
    /// When; `None` when the runtime does not know.
    pub finished_at: Option<Timestamp>,
}

/// What a shell reports for a program ended by signal n is 128 + n; this is SIGKILL.
const KILLED: i32 = 128 + 9;

impl Exit {
    /// True when SIGKILL ended the agent. PID 1 of a container cannot be killed from inside, so it was either asked
    /// for (a stop, a kill, a person) or it was the kernel, for memory. The caller knows which of the two it asked.
    pub fn was_killed(&self) -> bool {
        self.code == Some(KILLED)
    }
}

/// What [`crate::Runtime::wait`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerExit {
    /// It ended.
    Exited(Exit),
    /// It was removed before its end could be read. Not a success.
    Gone,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// It runs (paused counts: it will go on).
    Running,
    /// It ended.
    Exited(Exit),
    /// The engine could not remove it whole; only a removal makes sense.
    Dead,
}

impl ContainerState {
    /// True when processes of it may be alive.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }
    /// True when it ended and will not go on by itself.
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Exited(_) | Self::Dead)
    }
}

/// One container as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// The runtime's id.
    pub id: ContainerId,
    /// The name it was created with.
    pub name: String,
    /// The image name it was created from; empty in the local runtime.
    pub image: String,
    /// Whose it is.
    pub labels: Labels,
    /// Its state.
    pub state: ContainerState,
    /// When it last started; `None` before the first start.
    pub started_at: Option<Timestamp>,
}

/// One image on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// Its digest.
    pub id: ImageId,
    /// Names that point at it.
    pub tags: Vec<String>,
    /// Bytes, shared layers counted.
    pub size_bytes: u64,
    /// All labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// When it was built; `None` when the builder did not say.
    pub created_at: Option<Timestamp>,
}

impl ImageFacts {
    /// The CLI it carries, by [`crate::IMAGE_CLI`].
    pub fn cli(&self) -> Option<&str> {
        self.labels.get(crate::IMAGE_CLI).map(String::as_str)
    }
    /// That CLI's version, by [`crate::IMAGE_CLI_VERSION`].
    pub fn cli_version(&self) -> Option<&str> {
        self.labels.get(crate::IMAGE_CLI_VERSION).map(String::as_str)
    }
}

/// What a running container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUsage {
    /// Bytes of memory, reclaimable file cache left out.
    pub memory_bytes: u64,
    /// Processor time since its start, summed over all cores.
    pub cpu_time: Duration,
    /// Processes and threads; 0 when the runtime does not count them.
    pub pids: u64,
}

/// Who the runtime is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// Which adapter.
    pub kind: RuntimeKind,
    /// The engine's version, or the kernel's for the local runtime.
    pub version: String,
    /// The API version spoken, such as `1.41`; `None` in the local runtime.
    pub api_version: Option<String>,
    /// The cgroup version, `1` or `2`; `None` when not used.
    pub cgroup_version: Option<String>,
    /// The storage driver; `None` in the local runtime.
    pub storage: Option<String>,
    /// Runtime classes the engine offers (`runc`, `runsc`), in order.
    pub runtime_classes: Vec<String>,
    /// What will not work or not be enforced, one sentence each, for people.
    pub warnings: Vec<String>,
}
