//! What a container is to be. Plain data, made by the engine from a project's settings and a CLI's manifest; the
//! defaults are the strict ones, so that forgetting a field never opens anything.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::Labels;

/// In the container: the folder that only root may enter. A tmpfs of mode 0700 is mounted here.
pub const CONTROL_PARENT: &str = "/cloud-code";
/// In the container: the control directory.
pub const CONTROL_DIR_TARGET: &str = "/cloud-code/control";
/// In the container: the agent binary, read-only.
pub const AGENT_PATH: &str = "/cloud-code/bin/cloud-code-agent";

/// Bytes: the tmpfs at [`CONTROL_PARENT`] holds mount points and nothing else. Lower leaves no room for them, higher
/// gives root a place to fill that no limit counts.
const CONTROL_PARENT_BYTES: u64 = 64 * 1024;

/// What the agent may do as root inside: write the control directory whoever owns it (`DAC_OVERRIDE`), become the
/// user of the tree (`SETUID`, `SETGID`) and end that user's processes (`KILL`). A test takes each away in turn and
/// shows what breaks.
pub const AGENT_CAPABILITIES: &[Capability] =
    &[Capability::DacOverride, Capability::Kill, Capability::SetGid, Capability::SetUid];

/// A Linux capability that a container may keep. A closed list: `SYS_ADMIN` and its like cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Change a file's owner.
    Chown,
    /// Read and write files whatever their mode says.
    DacOverride,
    /// Act as the owner of any file.
    FileOwner,
    /// Signal processes of any user.
    Kill,
    /// Bind ports below 1024.
    NetBindService,
    /// Become another group.
    SetGid,
    /// Become another user.
    SetUid,
}

impl Capability {
    /// The kernel's name without `CAP_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chown => "CHOWN",
            Self::DacOverride => "DAC_OVERRIDE",
            Self::FileOwner => "FOWNER",
            Self::Kill => "KILL",
            Self::NetBindService => "NET_BIND_SERVICE",
            Self::SetGid => "SETGID",
            Self::SetUid => "SETUID",
        }
    }
}

/// Whether what is inside may write to a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountAccess {
    /// Read only.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// A file or folder of the host shown inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On the host; absolute and existing. A missing one is an error, it is never made as an empty folder of root's.
    pub source: PathBuf,
    /// In the container; absolute.
    pub target: PathBuf,
    /// Whether it can be written.
    pub access: MountAccess,
}

impl Mount {
    /// A read-only mount.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), access: MountAccess::ReadOnly }
    }
    /// A writable mount.
    pub fn read_write(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), access: MountAccess::ReadWrite }
    }
}

/// A folder in memory, always `nosuid,nodev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// In the container; absolute. Mounts below it are laid over it.
    pub target: PathBuf,
    /// Permission bits, such as `0o700`.
    pub mode: u32,
    /// Bytes; counted against the memory limit.
    pub size_bytes: u64,
    /// Whether programs may be started from it.
    pub executable: Executable,
}

/// Whether programs may be started from a tmpfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executable {
    /// `exec`.
    Yes,
    /// `noexec`.
    No,
}

/// The door only root can open, and what lies behind it: the tmpfs and the two mounts that every agent needs.
pub fn control_mounts(control_dir: impl Into<PathBuf>, agent: impl Into<PathBuf>) -> (Tmpfs, [Mount; 2]) {
    let parent = Tmpfs {
        target: CONTROL_PARENT.into(),
        mode: 0o700,
        size_bytes: CONTROL_PARENT_BYTES,
        executable: Executable::No,
    };
    (parent, [Mount::read_write(control_dir, CONTROL_DIR_TARGET), Mount::read_only(agent, AGENT_PATH)])
}

/// What it may use. `None` is the engine's default, which is usually no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, swap included: none is granted beside it. At least 6 MiB.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a processor core.
    pub milli_cpus: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Bytes of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// Bytes the engine keeps of what the agent itself prints; the older half is dropped beyond it.
    pub log_bytes: Option<u64>,
}

/// What network it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// The engine's default bridge.
    Bridge,
    /// Loopback only.
    None,
    /// The host's own. No isolation; only on a person's explicit wish.
    Host,
    /// The network of another container, by id or name.
    Container(String),
    /// A network made beforehand, by name.
    Named(String),
}

/// Whether the image's files can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootFilesystem {
    /// Only mounts can be written.
    ReadOnly,
    /// Changes live as long as the container.
    Writable,
}

/// What the agent finds on its stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// Nothing: `/dev/null`.
    Closed,
    /// The secrets document, then the end of file.
    Secrets,
}

/// What a container is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Unique among all containers of the engine: 2 to 128 of `A-Z a-z 0-9 _ . -`, starting with a letter or digit.
    pub name: String,
    /// The image; ignored by the local runtime.
    pub image: String,
    /// Whose it is.
    pub labels: Labels,
    /// The agent and its arguments. It replaces the image's entrypoint and command both.
    pub command: Vec<String>,
    /// Environment of the agent. Anyone who may talk to the engine can read it: no secrets.
    pub env: BTreeMap<String, String>,
    /// Where it starts; the image's own when `None`.
    pub working_dir: Option<PathBuf>,
    /// `uid:gid` of the agent.
    pub user: String,
    /// What it finds on stdin.
    pub stdin: Stdin,
    /// Files of the host.
    pub mounts: Vec<Mount>,
    /// Folders in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// What it may use.
    pub limits: Limits,
    /// What network it sees.
    pub network: NetworkMode,
    /// `name:address` lines for `/etc/hosts`; the address may be `host-gateway`.
    pub extra_hosts: Vec<String>,
    /// What root keeps; all others are dropped.
    pub capabilities: Vec<Capability>,
    /// Whether the image's files can be changed.
    pub root_filesystem: RootFilesystem,
    /// How long `docker stop`, typed by a person, waits before it kills.
    pub stop_timeout: Duration,
    /// The cgroup to hang it below; the engine's when `None`.
    pub cgroup_parent: Option<String>,
    /// The runtime class, such as `runsc`; the engine's when `None`.
    pub runtime_class: Option<String>,
}

/// Seconds the agent has after a TERM typed by a person: enough to commit and write the last report, short of what
/// makes a shutting-down machine impatient.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

impl ContainerSpec {
    /// The strict defaults: root with [`AGENT_CAPABILITIES`], no mounts, no limits, a bridge, no stdin.
    pub fn new(
        name: impl Into<String>,
        image: impl Into<String>,
        labels: Labels,
        command: Vec<String>,
    ) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            labels,
            command,
            env: BTreeMap::new(),
            working_dir: None,
            user: "0:0".to_owned(),
            stdin: Stdin::Closed,
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            limits: Limits::default(),
            network: NetworkMode::Bridge,
            extra_hosts: Vec::new(),
            capabilities: AGENT_CAPABILITIES.to_vec(),
            root_filesystem: RootFilesystem::Writable,
            stop_timeout: DEFAULT_STOP_TIMEOUT,
            cgroup_parent: None,
            runtime_class: None,
        }
    }
}
