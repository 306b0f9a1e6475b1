//! Settings of a project that lives on a forge: what starts work, who may, what waits for a yes, and how it is published.

use serde::{Deserialize, Serialize};

use crate::{MergeMethod, RepositoryName};

/// What begins a command.
pub const DEFAULT_PREFIX: &str = "/cloud-code";
/// The label that starts work on an issue.
pub const DEFAULT_READY_LABEL: &str = "ready-for-agent";
/// How often a failing check of our own pull request goes back to the CLI. Each round costs a whole task; a check that
/// fails for a third time will not be mended by a fourth.
const DEFAULT_CHECK_ROUNDS: u32 = 2;
/// How often a conflict of our own pull request with its base goes back to the CLI before a person is told. A base that
/// moves faster than work is merged would buy a task with every push.
const DEFAULT_CONFLICT_ROUNDS: u32 = 2;

/// How events of the forge reach this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntakeMode {
    /// The forge calls `server.public_url`; the delivery log heals what was missed.
    #[default]
    Webhook,
    /// Nobody calls: the App's delivery log is read every `poll_interval`. Needs no reachable address.
    Deliveries,
    /// Issues and comments are listed every `poll_interval`. For a token without a webhook.
    Polling,
}

/// GitHub, in `cloud-code.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct GithubSettings {
    /// Address of the API. Default `https://api.github.com`; on an Enterprise Server `https://HOST/api/v3`.
    pub api_url: Option<String>,
    /// The GitHub App. Either this or a token.
    pub app: Option<GithubAppSettings>,
    /// A file with a fine-grained personal access token, readable by this user alone; relative to the home folder.
    pub token_file: Option<String>,
    /// Files with webhook secrets. All are accepted, so that one can be changed without a gap; the first is the current
    /// one. Relative to the home folder.
    pub webhook_secret_files: Vec<String>,
    /// How events reach this machine. Default `webhook`.
    pub intake: Option<IntakeMode>,
    /// How often the delivery log or the lists are read; default `60s`, and `5m` for the healing sweep of `webhook`.
    pub poll_interval: Option<cloud_code_task_schema::HumanDuration>,
    /// Shortest distance between two writes, in milliseconds; default 1000, as GitHub asks. Lower only for a server of your
    /// own.
    pub write_interval_ms: Option<u32>,
}

/// The GitHub App that acts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GithubAppSettings {
    /// Its number.
    pub id: u64,
    /// Its name in addresses: `https://github.com/apps/SLUG`.
    pub slug: String,
    /// A file with its private key (PEM), readable by this user alone; relative to the home folder.
    pub private_key_file: String,
}

/// The server, in `cloud-code.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct ServerSettings {
    /// Where `cloud-code serve` listens. Default `127.0.0.1:8642`.
    pub listen: Option<String>,
    /// How GitHub and people reach it: `https://cloud-code.example.com`. Without it nobody can call.
    pub public_url: Option<String>,
    /// How many tasks run at one time. Default 2: a CLI with its build takes two processors and up to 4 GiB.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: Option<u32>,
    /// Where `/metrics` is served, apart from what a proxy shows to the world. Default: `127.0.0.1` with the port after
    /// that of `listen`, so `127.0.0.1:8643`. `off` serves none.
    pub metrics_listen: Option<String>,
}

/// Least access that lets a person command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequiredAccess {
    /// May push.
    #[default]
    Write,
    /// May manage issues and pull requests besides.
    Maintain,
    /// May change the repository's settings.
    Admin,
}

/// Who may command, in a project's file. Numbers, because names are changed and reused:
/// `https://api.github.com/users/NAME` shows them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct AccessSettings {
    /// Least access. Default `write`.
    pub require: Option<RequiredAccess>,
    /// Only these users, when the list is not empty. They need the access as well.
    pub allow: Option<Vec<u64>>,
    /// Never these users.
    pub deny: Option<Vec<u64>>,
    /// Programs (GitHub Apps' users) that may command like people. None by default: bots answering bots cost money.
    pub bots: Option<Vec<u64>>,
}

/// What starts work, in a project's file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct TriggerSettings {
    /// What begins a command. Default `/cloud-code`.
    pub prefix: Option<String>,
    /// Further beginnings, as `@agent` or `@claude`.
    pub aliases: Option<Vec<String>>,
    /// Labels that start work on an issue. Default `[ready-for-agent]`; `[]` turns it off.
    pub labels: Option<Vec<String>>,
    /// Assigning an issue to the bot starts work. Default true.
    pub assignment: Option<bool>,
    /// `@name-of-the-bot text` is a command. Default true.
    pub mention: Option<bool>,
    /// A review of our pull request that asks for changes starts the next task. Default true.
    pub changes_requested: Option<bool>,
    /// How often a failing check of our own pull request starts a task; default 2, 0 turns it off.
    #[schemars(range(max = 20))]
    pub failing_check_rounds: Option<u32>,
    /// How often a conflict of our pull request with its base starts a task; default 2, 0 turns it off.
    #[schemars(range(max = 20))]
    pub conflict_rounds: Option<u32>,
}

/// What waits for a person's yes, in a project's file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct GateSettings {
    /// Work begins with a plan, and goes on after `approve`. Default false.
    pub plan: Option<bool>,
    /// Finished work waits for `approve` before it is pushed. Default false.
    pub publish: Option<bool>,
    /// With `publish.merge`: a pull request waits for `approve` before it is merged. Default true.
    pub merge: Option<bool>,
}

/// How work is published, in a project's file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct PublishSettings {
    /// Open pull requests as drafts. Default false.
    pub draft: Option<bool>,
    /// Logins that are asked to review.
    pub reviewers: Option<Vec<String>>,
    /// Merge our own pull requests into the project's base, in this way. Default: never, people do. `gates.merge` says
    /// whether somebody has to say yes to each.
    pub merge: Option<MergeMethod>,
}

/// What starts work in a project, with every default in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triggers {
    /// What begins a command.
    pub prefix: String,
    /// Further beginnings.
    pub aliases: Vec<String>,
    /// Labels that start work.
    pub labels: Vec<String>,
    /// Does an assignment start work?
    pub assignment: bool,
    /// Is a mention a command?
    pub mention: bool,
    /// Does a review that asks for changes start work?
    pub changes_requested: bool,
    /// How often a failing check starts a task.
    pub failing_check_rounds: u32,
    /// How often a conflict with the base starts a task.
    pub conflict_rounds: u32,
}

impl TriggerSettings {
    /// With every default in place.
    pub fn resolved(&self) -> Triggers {
        Triggers {
            prefix: self.prefix.clone().unwrap_or_else(|| DEFAULT_PREFIX.to_owned()),
            aliases: self.aliases.clone().unwrap_or_default(),
            labels: self.labels.clone().unwrap_or_else(|| vec![DEFAULT_READY_LABEL.to_owned()]),
            assignment: self.assignment.unwrap_or(true),
            mention: self.mention.unwrap_or(true),
            changes_requested: self.changes_requested.unwrap_or(true),
            failing_check_rounds: self.failing_check_rounds.unwrap_or(DEFAULT_CHECK_ROUNDS),
            conflict_rounds: self.conflict_rounds.unwrap_or(DEFAULT_CONFLICT_ROUNDS),
        }
    }

    pub(crate) fn over(self, base: Self) -> Self {
        Self {
            prefix: self.prefix.or(base.prefix),
            aliases: self.aliases.or(base.aliases),
            labels: self.labels.or(base.labels),
            assignment: self.assignment.or(base.assignment),
            mention: self.mention.or(base.mention),
            changes_requested: self.changes_requested.or(base.changes_requested),
            failing_check_rounds: self.failing_check_rounds.or(base.failing_check_rounds),
            conflict_rounds: self.conflict_rounds.or(base.conflict_rounds),
        }
    }
}

/// Who may command in a project, with every default in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Least access.
    pub require: RequiredAccess,
    /// Only these, when not empty.
    pub allow: Vec<u64>,
    /// Never these.
    pub deny: Vec<u64>,
    /// Programs that may command.
    pub bots: Vec<u64>,
}

impl AccessSettings {
    /// With every default in place.
    pub fn resolved(&self) -> Access {
        Access {
            require: self.require.unwrap_or_default(),
            allow: self.allow.clone().unwrap_or_default(),
            deny: self.deny.clone().unwrap_or_default(),
            bots: self.bots.clone().unwrap_or_default(),
        }
    }

    pub(crate) fn over(self, base: Self) -> Self {
        Self {
            require: self.require.or(base.require),
            allow: self.allow.or(base.allow),
            deny: self.deny.or(base.deny),
            bots: self.bots.or(base.bots),
        }
    }
}

impl GateSettings {
    pub(crate) fn over(self, base: Self) -> Self {
        Self {
            plan: self.plan.or(base.plan),
            publish: self.publish.or(base.publish),
            merge: self.merge.or(base.merge),
        }
    }
}

impl PublishSettings {
    pub(crate) fn over(self, base: Self) -> Self {
        Self {
            draft: self.draft.or(base.draft),
            reviewers: self.reviewers.or(base.reviewers),
            merge: self.merge.or(base.merge),
        }
    }
}

/// Where and how a task's work is published, stored with the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishPlan {
    /// The repository on GitHub; absent: the branch is handed to the repository it came from.
    pub github: Option<RepositoryName>,
    /// Finished work waits for a person's yes before it is pushed.
    pub approval: bool,
    /// Work begins with a plan that waits for a person's yes.
    pub plan_first: bool,
    /// Open the pull request as a draft.
    pub draft: bool,
    /// Logins that are asked to review.
    pub reviewers: Vec<String>,
    /// How often a failing check starts a task by itself.
    pub failing_check_rounds: u32,
    /// How often a conflict with the base starts a task by itself.
    pub conflict_rounds: u32,
    /// How its pull request is merged; absent: people do.
    pub merge: Option<MergeMethod>,
    /// A pull request waits for a person's yes before it is merged.
    pub merge_approval: bool,
}

impl Default for PublishPlan {
    fn default() -> Self {
        Self {
            github: None,
            approval: false,
            plan_first: false,
            draft: false,
            reviewers: Vec::new(),
            failing_check_rounds: DEFAULT_CHECK_ROUNDS,
            conflict_rounds: DEFAULT_CONFLICT_ROUNDS,
            merge: None,
            merge_approval: true,
        }
    }
}
