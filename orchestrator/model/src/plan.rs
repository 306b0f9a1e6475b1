//! What a task runs with: settings that were resolved when it was asked for.

use std::collections::BTreeMap;

use cloud_code_task_schema::{BranchName, CliName, CommitSettings, HumanDuration, Limits};
use serde::{Deserialize, Serialize};

use crate::{Allowance, BudgetSettings, ByteSize, PublishPlan, ScopeKind};

/// How an agent is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// In a container of its own.
    #[default]
    Docker,
    /// As a child process on this machine, without a sandbox.
    Local,
}

impl std::fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Local => "local",
        })
    }
}

/// Which network a container joins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Network {
    /// The engine's default bridge: the internet is reachable.
    #[default]
    Bridge,
    /// Loopback only.
    None,
    /// The host's own. The agent then reaches every service that listens on the host's loopback.
    Host,
    /// The network of another container.
    Container(String),
    /// A network made by the user.
    Named(String),
}

impl TryFrom<String> for Network {
    type Error = crate::InvalidName;
    fn try_from(text: String) -> Result<Self, crate::InvalidName> {
        Ok(match text.as_str() {
            "bridge" => Self::Bridge,
            "none" => Self::None,
            "host" => Self::Host,
            other => match other.strip_prefix("container:") {
                Some(name) => Self::Container(crate::ids::checked(name, "a container's name")?),
                None => Self::Named(crate::ids::checked(other, "a network's name")?),
            },
        })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(name) => write!(f, "container:{name}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl From<Network> for String {
    fn from(value: Network) -> String {
        value.to_string()
    }
}

impl schemars::JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(container:)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            "description": "`bridge`, `none`, `host`, `container:NAME`, or the name of a network."
        })
    }
}

/// What the host refuses to take from an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportPolicy {
    /// Take changes to CI workflow files.
    pub allow_workflow_changes: bool,
    /// Largest file in bytes.
    pub max_file_size: ByteSize,
    /// Take what looks like a well-known token. Tasks that were stored before there was a choice do not.
    #[serde(default)]
    pub allow_secret_patterns: bool,
}

/// Everything a task runs with, resolved from both files and the command line, and stored with the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectPlan {
    /// Path or URL of the repository.
    pub repo: String,
    /// The coding CLI.
    pub cli: CliName,
    /// The program of the CLI `command`.
    pub command: Option<Vec<String>>,
    /// The model's name.
    pub model: Option<String>,
    /// The provider's address.
    pub base_url: Option<String>,
    /// The branch that work starts from, when named.
    pub base: Option<BranchName>,
    /// What stands before the slug in a branch name.
    pub branch_prefix: String,
    /// How an agent is started.
    pub runtime: RuntimeKind,
    /// The image, when not the CLI's own.
    pub image: Option<String>,
    /// Most memory.
    pub memory: ByteSize,
    /// Most processors.
    pub cpus: f64,
    /// Most processes.
    pub pids: u32,
    /// The container's network.
    pub network: Network,
    /// When to stop.
    pub limits: Limits,
    /// Commands that must succeed.
    pub verify: Vec<String>,
    /// How often a failure goes back.
    pub verify_rounds: u32,
    /// Folder of the project's own prompts. Tasks that were stored before there were any have none.
    #[serde(default)]
    pub prompts: Option<String>,
    /// Set in the CLI's environment.
    pub env: BTreeMap<String, String>,
    /// Names of further secret variables. Names only: the values are read when the container starts.
    pub secrets: Vec<String>,
    /// Whose name stands on commits.
    pub commit: CommitSettings,
    /// What an import refuses.
    pub import: ImportPolicy,
    /// How often and when a failed attempt is followed by another. Tasks that were stored before there was a choice have the
    /// defaults.
    #[serde(default)]
    pub retries: Retries,
    /// What may be used. Tasks that were stored before there was a choice have no limits.
    #[serde(default)]
    pub budget: BudgetSettings,
    /// The CLI that takes over when this one cannot go on for long.
    #[serde(default)]
    pub fallback_cli: Option<CliName>,
    /// Where and how work is published. Tasks that were stored before there was a forge have none.
    #[serde(default)]
    pub publish: PublishPlan,
}

impl ProjectPlan {
    /// What a scope may use. What was said for the very task goes before the project's budget of a task.
    pub fn allowance(&self, scope: ScopeKind) -> Allowance {
        let mut allowance = *self.budget.of(scope);
        if scope == ScopeKind::Task {
            allowance.usd = self.limits.max_cost_usd.or(allowance.usd);
        }
        allowance
    }
}

/// How often and when a failed attempt is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Most attempts in all.
    pub attempts: u32,
    /// The wait before the second.
    pub first_wait: HumanDuration,
    /// The longest wait.
    pub longest_wait: HumanDuration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 3,
            first_wait: HumanDuration::from_secs(10),
            longest_wait: HumanDuration::from_secs(600),
        }
    }
}
