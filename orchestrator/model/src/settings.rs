//! Settings as people write them.
//!
//! `cloud-code.yaml` holds what is true of this machine and the defaults of all projects; `projects/<name>.yaml`
//! holds one project. Every key is optional; the later file wins key by key. Unknown keys are refused by the
//! reader, because a misspelt limit that is silently ignored is not a limit.

use std::collections::BTreeMap;

use cloud_code_task_schema::{BranchName, CliName, CommitSettings, HumanDuration, Limits, Usd};
use serde::{Deserialize, Serialize};

use crate::{
    AccessSettings, Age, BudgetSettings, ByteSize, GateSettings, GithubSettings, ImportPolicy, LogSettings,
    Network, ProjectPlan, ProjectQueueSettings, PublishPlan, PublishSettings, QueueSettings, RepositoryName,
    Retries, RuntimeKind, ServerSettings, TelemetrySettings, TriggerSettings,
};

/// The CLI of a project that names none.
pub const DEFAULT_CLI: &str = "claude-code";

/// What stands before the slug in a branch name.
pub const DEFAULT_BRANCH_PREFIX: &str = "cloud-code/";

/// `cloud-code.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct GlobalSettings {
    /// The Docker engine.
    pub docker: DockerSettings,
    /// The user that a CLI runs as when the orchestrator is root, `UID:GID`; default `1000:1000`. Never root.
    pub agent_user: Option<String>,
    /// Path of the static agent binary; default: beside this program.
    pub agent_binary: Option<String>,
    /// Folders with further CLIs, one folder each with a `cli.yaml`.
    pub cli_dirs: Vec<String>,
    /// GitHub.
    pub github: GithubSettings,
    /// `cloud-code serve`.
    pub server: ServerSettings,
    /// Whose turn it is in `cloud-code serve`.
    pub queue: QueueSettings,
    /// Where rows are kept.
    pub store: StoreSettings,
    /// What is written to standard error.
    pub log: LogSettings,
    /// Where traces of tasks go.
    pub telemetry: TelemetrySettings,
    /// What is kept of every attempt.
    pub history: HistorySettings,
    /// What holds for a project that says nothing else.
    pub defaults: ProjectSettings,
}

/// Where rows are kept, and how several installations share them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct StoreSettings {
    /// `postgres://user@host:5432/database` of a PostgreSQL server that several installations share; default: a file of this
    /// one. Without a password: with one it is the variable `CLOUD_CODE_STORE_URL`, which counts before this.
    pub url: Option<String>,
    /// How long an issue is a worker's without a word of it. Default 30s. Shorter, and a slow answer of the database ends
    /// what runs; longer, and a frozen worker keeps its issues.
    pub lease: Option<HumanDuration>,
    /// How long a worker is believed to live without a word of it; then its issues move to others. Default 2m. A restart for
    /// an upgrade has to fit.
    pub worker: Option<HumanDuration>,
}

/// What is kept of every attempt, after its workspace is gone. What is over a cap goes, the oldest first and that of open
/// issues last, and `cloud-code show` says so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct HistorySettings {
    /// Bytes of disk that all of it takes at most. Default `5GiB`: a month of 500 attempts a day at 350 KiB.
    pub max_size: Option<ByteSize>,
    /// How long an attempt is kept. Default `30d`.
    pub max_age: Option<Age>,
    /// Bytes of one attempt's files before they are compressed; above it their middle is cut out. Default `50MiB`: three
    /// times the longest log of an agent.
    pub max_attempt_size: Option<ByteSize>,
}

impl HistorySettings {
    /// Default of `history.max_size`.
    pub const MAX_SIZE: ByteSize = ByteSize::mebibytes(5 * 1024);
    /// Default of `history.max_age`.
    pub const MAX_AGE: Age = Age::days(30);
    /// Default of `history.max_attempt_size`.
    pub const MAX_ATTEMPT_SIZE: ByteSize = ByteSize::mebibytes(50);
}

/// The Docker engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct DockerSettings {
    /// `unix:///path/to/docker.sock`; default `DOCKER_HOST`, else `unix:///var/run/docker.sock`.
    pub host: Option<String>,
    /// What stands before an image's name; default `cloud-code`, as in `cloud-code/codex:0.169.0`.
    pub image_prefix: Option<String>,
    /// The image under every agent image; default `debian:bookworm-slim`.
    pub base_image: Option<String>,
    /// A file of extra CA certificates (PEM) that image builds and CLIs trust besides the system's.
    pub extra_ca: Option<String>,
}

/// `projects/<name>.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct ProjectSettings {
    /// Path or URL of the repository.
    pub repo: Option<String>,
    /// The coding CLI: the name of a folder below `docker/agents` or a `cli_dirs` folder. Default `claude-code`.
    pub cli: Option<CliName>,
    /// The program and arguments of the CLI `command`; the prompt comes on its standard input.
    pub command: Option<Vec<String>>,
    /// The model's name; default: the CLI's own.
    pub model: Option<String>,
    /// The provider's address, for a gateway or a proxy; default: the CLI's own.
    pub base_url: Option<String>,
    /// The branch that work starts from; default: the repository's own.
    pub base: Option<BranchName>,
    /// What stands before the slug in a branch name. Default `cloud-code/`.
    pub branch_prefix: Option<String>,
    /// How an agent is started. Default `docker`.
    pub runtime: Option<RuntimeKind>,
    /// The image to run in; default: the CLI's own.
    pub image: Option<String>,
    /// The container's limits and network.
    pub container: ContainerSettings,
    /// When to stop a task.
    pub limits: LimitSettings,
    /// Shell commands that must succeed after the CLI.
    pub verify: Option<Vec<String>>,
    /// How often a failing verify goes back to the CLI, 0 to 10; default 2.
    #[schemars(range(max = 10))]
    pub verify_rounds: Option<u32>,
    /// Folder of the project's own prompts: a relative path is one in the repository, at the commit work starts from; an
    /// absolute one lies on this machine.
    pub prompts: Option<String>,
    /// Set in the CLI's environment. Not for secrets: it stands in files.
    pub env: BTreeMap<String, String>,
    /// Names of variables in the orchestrator's environment that the CLI gets as secrets, besides its manifest's.
    pub secrets: Vec<String>,
    /// Whose name stands on commits the agent makes.
    pub commit: Option<CommitSettings>,
    /// What an import refuses.
    pub import: ImportSettings,
    /// How often and when a failed attempt is followed by another.
    pub retries: RetrySettings,
    /// What it may use.
    pub budget: BudgetSettings,
    /// Its part of the queue.
    pub queue: ProjectQueueSettings,
    /// The CLI that takes over in `serve` when the provider of the project's own one wants us to wait longer than
    /// `retries.longest_wait`, still refuses when the attempts are used up, or does not accept its keys.
    pub fallback_cli: Option<CliName>,
    /// The repository on GitHub, as `owner/name`. Its issues then start work, and work ends in pull requests.
    pub github: Option<RepositoryName>,
    /// What starts work.
    pub triggers: TriggerSettings,
    /// Who may command.
    pub access: AccessSettings,
    /// What waits for a person's yes.
    pub gates: GateSettings,
    /// How work is published.
    pub publish: PublishSettings,
}

/// When to stop a task; each key overrides the same key of a less special file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct LimitSettings {
    /// Wall clock of a task. Default `1h`.
    pub timeout: Option<HumanDuration>,
    /// Longest silence. Default `15m`.
    pub idle_timeout: Option<HumanDuration>,
    /// Longest wait for the first output. Default `2m`.
    pub start_timeout: Option<HumanDuration>,
    /// Longest run of one verify command. Default `10m`.
    pub verify_timeout: Option<HumanDuration>,
    /// Most money; no limit when absent.
    pub max_cost_usd: Option<Usd>,
    /// Most turns of the model.
    #[schemars(range(min = 1, max = 10000))]
    pub max_turns: Option<u32>,
}

/// How often and when a failed attempt is followed by another, where that can help; each key overrides the same key of a
/// less special file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct RetrySettings {
    /// Most attempts at a task in all, 1 to 20; 1 is never again. Default 3. An agent that dies in the middle of its work is
    /// given two at most.
    #[schemars(range(min = 1, max = 20))]
    pub attempts: Option<u32>,
    /// The wait before the second attempt; each further one is three times as long. Default `10s`. Where the provider names
    /// a time, that counts when it is later.
    pub first_wait: Option<HumanDuration>,
    /// The longest such wait. Default `10m`.
    pub longest_wait: Option<HumanDuration>,
}

/// The container's limits and network; each key overrides the same key of a less special file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct ContainerSettings {
    /// Most memory. Default `4GiB`: the largest real CLI was seen at 2 GiB with a build beside it.
    pub memory: Option<ByteSize>,
    /// Most processors. Default 2.
    #[schemars(range(min = 0.1, max = 1024.0))]
    pub cpus: Option<f64>,
    /// Most processes and threads. Default 1024: a Node build takes hundreds, a fork bomb takes them all.
    #[schemars(range(min = 32, max = 1_000_000))]
    pub pids: Option<u32>,
    /// `bridge` (default), `none`, `host`, a network's name, or `container:NAME`.
    pub network: Option<Network>,
}

/// What an import refuses; each key overrides the same key of a less special file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct ImportSettings {
    /// Take changes to CI workflow files, which run with the repository's secrets. Default false.
    pub allow_workflow_changes: Option<bool>,
    /// Largest file. Default `50MiB`.
    pub max_file_size: Option<ByteSize>,
    /// Take files that hold what looks like a well-known token, as test data does. Secrets that this installation knows
    /// are refused always. Default false.
    pub allow_secret_patterns: Option<bool>,
}

/// Default of `container.memory`.
const DEFAULT_MEMORY: ByteSize = ByteSize::mebibytes(4096);

/// Default of `container.cpus`.
const DEFAULT_CPUS: f64 = 2.0;

/// Default of `container.pids`.
const DEFAULT_PIDS: u32 = 1024;

/// Default of `verify_rounds`.
const DEFAULT_VERIFY_ROUNDS: u32 = 2;

/// Default of `import.max_file_size`: above it forges begin to warn and refuse.
const DEFAULT_MAX_FILE: ByteSize = ByteSize::mebibytes(50);

impl ProjectSettings {
    /// These settings, with every key that is absent here taken from `base`. Maps and lists are joined.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        let mut env = base.env;
        env.extend(self.env);
        let mut secrets = base.secrets;
        secrets.extend(self.secrets);
        secrets.sort();
        secrets.dedup();
        Self {
            repo: self.repo.or(base.repo),
            cli: self.cli.or(base.cli),
            command: self.command.or(base.command),
            model: self.model.or(base.model),
            base_url: self.base_url.or(base.base_url),
            base: self.base.or(base.base),
            branch_prefix: self.branch_prefix.or(base.branch_prefix),
            runtime: self.runtime.or(base.runtime),
            image: self.image.or(base.image),
            container: ContainerSettings {
                memory: self.container.memory.or(base.container.memory),
                cpus: self.container.cpus.or(base.container.cpus),
                pids: self.container.pids.or(base.container.pids),
                network: self.container.network.or(base.container.network),
            },
            limits: LimitSettings {
                timeout: self.limits.timeout.or(base.limits.timeout),
                idle_timeout: self.limits.idle_timeout.or(base.limits.idle_timeout),
                start_timeout: self.limits.start_timeout.or(base.limits.start_timeout),
                verify_timeout: self.limits.verify_timeout.or(base.limits.verify_timeout),
                max_cost_usd: self.limits.max_cost_usd.or(base.limits.max_cost_usd),
                max_turns: self.limits.max_turns.or(base.limits.max_turns),
            },
            verify: self.verify.or(base.verify),
            verify_rounds: self.verify_rounds.or(base.verify_rounds),
            prompts: self.prompts.or(base.prompts),
            env,
            secrets,
            commit: self.commit.or(base.commit),
            import: ImportSettings {
                allow_workflow_changes: self
                    .import
                    .allow_workflow_changes
                    .or(base.import.allow_workflow_changes),
                max_file_size: self.import.max_file_size.or(base.import.max_file_size),
                allow_secret_patterns: self
                    .import
                    .allow_secret_patterns
                    .or(base.import.allow_secret_patterns),
            },
            retries: RetrySettings {
                attempts: self.retries.attempts.or(base.retries.attempts),
                first_wait: self.retries.first_wait.or(base.retries.first_wait),
                longest_wait: self.retries.longest_wait.or(base.retries.longest_wait),
            },
            budget: self.budget.over(base.budget),
            queue: ProjectQueueSettings {
                priority: self.queue.priority.or(base.queue.priority),
                concurrency: self.queue.concurrency.or(base.queue.concurrency),
            },
            fallback_cli: self.fallback_cli.or(base.fallback_cli),
            github: self.github.or(base.github),
            triggers: self.triggers.over(base.triggers),
            access: self.access.over(base.access),
            gates: self.gates.over(base.gates),
            publish: self.publish.over(base.publish),
        }
    }

    /// The plan for a repository; absent keys take their defaults.
    pub fn plan(self, repo: String, default_cli: CliName) -> ProjectPlan {
        let (limits, retries) = (Limits::default(), Retries::default());
        let triggers = self.triggers.resolved();
        ProjectPlan {
            repo,
            cli: self.cli.unwrap_or(default_cli),
            command: self.command,
            model: self.model,
            base_url: self.base_url,
            base: self.base,
            branch_prefix: self.branch_prefix.unwrap_or_else(|| DEFAULT_BRANCH_PREFIX.to_owned()),
            runtime: self.runtime.unwrap_or_default(),
            image: self.image,
            memory: self.container.memory.unwrap_or(DEFAULT_MEMORY),
            cpus: self.container.cpus.unwrap_or(DEFAULT_CPUS),
            pids: self.container.pids.unwrap_or(DEFAULT_PIDS),
            network: self.container.network.unwrap_or_default(),
            limits: Limits {
                timeout: self.limits.timeout.unwrap_or(limits.timeout),
                idle_timeout: self.limits.idle_timeout.unwrap_or(limits.idle_timeout),
                start_timeout: self.limits.start_timeout.unwrap_or(limits.start_timeout),
                verify_timeout: self.limits.verify_timeout.unwrap_or(limits.verify_timeout),
                max_cost_usd: self.limits.max_cost_usd,
                max_turns: self.limits.max_turns,
            },
            verify: self.verify.unwrap_or_default(),
            verify_rounds: self.verify_rounds.unwrap_or(DEFAULT_VERIFY_ROUNDS),
            prompts: self.prompts,
            env: self.env,
            secrets: self.secrets,
            commit: self.commit.unwrap_or_default(),
            import: ImportPolicy {
                allow_workflow_changes: self.import.allow_workflow_changes.unwrap_or(false),
                max_file_size: self.import.max_file_size.unwrap_or(DEFAULT_MAX_FILE),
                allow_secret_patterns: self.import.allow_secret_patterns.unwrap_or(false),
            },
            retries: Retries {
                attempts: self.retries.attempts.unwrap_or(retries.attempts),
                first_wait: self.retries.first_wait.unwrap_or(retries.first_wait),
                longest_wait: self.retries.longest_wait.unwrap_or(retries.longest_wait),
            },
            budget: self.budget.resolved(),
            fallback_cli: self.fallback_cli,
            publish: PublishPlan {
                failing_check_rounds: triggers.failing_check_rounds,
                conflict_rounds: triggers.conflict_rounds,
                github: self.github,
                approval: self.gates.publish.unwrap_or(false),
                plan_first: self.gates.plan.unwrap_or(false),
                draft: self.publish.draft.unwrap_or(false),
                reviewers: self.publish.reviewers.unwrap_or_default(),
                merge: self.publish.merge,
                merge_approval: self.gates.merge.unwrap_or(true),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_overrides_the_defaults_key_by_key() {
        let defaults = ProjectSettings {
            cli: "codex".parse().ok(),
            limits: LimitSettings {
                timeout: "2h".parse().ok(),
                max_turns: Some(9),
                ..LimitSettings::default()
            },
            env: BTreeMap::from([("A".into(), "1".into()), ("B".into(), "1".into())]),
            ..ProjectSettings::default()
        };
        let project = ProjectSettings {
            limits: LimitSettings { timeout: "5m".parse().ok(), ..LimitSettings::default() },
            env: BTreeMap::from([("B".into(), "2".into())]),
            ..ProjectSettings::default()
        };
        let plan = project.over(defaults).plan("repo".into(), DEFAULT_CLI.parse().unwrap());
        assert_eq!(plan.cli.as_str(), "codex");
        assert_eq!(plan.limits.timeout.to_string(), "5m");
        assert_eq!(plan.limits.max_turns, Some(9));
        assert_eq!(plan.limits.idle_timeout, Limits::default().idle_timeout);
        assert_eq!(plan.env, BTreeMap::from([("A".into(), "1".into()), ("B".into(), "2".into())]));
    }

    #[test]
    fn nothing_is_merged_unless_a_project_says_how_and_then_not_without_a_yes() {
        let plan = |yaml: &str| {
            let project: ProjectSettings = serde_json::from_str(yaml).unwrap();
            let publish = project.plan("repo".into(), DEFAULT_CLI.parse().unwrap()).publish;
            (publish.merge, publish.merge_approval)
        };
        assert_eq!(plan("{}"), (None, true));
        let squash = r#"{"publish": {"merge": "squash"}}"#;
        assert_eq!(plan(squash), (Some(crate::MergeMethod::Squash), true));
        let open = r#"{"publish": {"merge": "rebase"}, "gates": {"merge": false}}"#;
        assert_eq!(plan(open), (Some(crate::MergeMethod::Rebase), false));
    }

    #[test]
    fn networks_are_named_safely() {
        for text in ["bridge", "none", "host", "my-net", "container:model"] {
            assert_eq!(Network::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for bad in ["", "container:", "a b", "container:../x"] {
            assert!(Network::try_from(bad.to_owned()).is_err(), "{bad:?} was accepted");
        }
    }
}
