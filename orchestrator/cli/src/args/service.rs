//! The service, and copies of all that it keeps.

use std::path::PathBuf;

use clap::Args;

pub(super) const SERVE_HELP: &str = "It serves every project whose file names a repository (`github: owner/name`), until Ctrl-C or SIGTERM.
Agents that work then go on in their containers; the next `serve` finds them (--drain waits for them, --stop-agents
ends them).

  POST /webhooks/github   what GitHub sends
  GET  /healthz, /readyz  whether it lives, whether it can work, and which part cannot
  GET  /metrics           for Prometheus, on a port of its own: 127.0.0.1:8643

Settings: `github` and `server` in cloud-code.yaml; `cloud-code init` writes them. docs/GITHUB.md says the rest, and
docs/OPERATIONS.md how to run it.";

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen [default: `server.listen` in cloud-code.yaml, else 127.0.0.1:8642].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// What this process does of it, where several share a PostgreSQL store (`store.url`).
    #[arg(long, value_enum, default_value_t = RoleArg::All)]
    pub(crate) role: RoleArg,
    /// When told to stop, wait for agents that work, each to the end of its task. A second signal leaves them.
    #[arg(long, conflicts_with = "stop_agents")]
    pub(crate) drain: bool,
    /// When told to stop, end agents that work, with their work committed; the next start goes on with it.
    #[arg(long)]
    pub(crate) stop_agents: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleArg {
    /// Both.
    All,
    /// Take webhooks and requests in, and speak on the forge; one at a time.
    Front,
    /// Drive tasks; any number of them.
    Worker,
}

impl From<RoleArg> for cloud_code_engine::Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::All => Self::All,
            RoleArg::Front => Self::Front,
            RoleArg::Worker => Self::Worker,
        }
    }
}

pub(super) const BACKUP_HELP: &str =
    "In it: the database, mirrors, workspaces with their logs, settings, and the secrets of GitHub.
Not in it: the keys of providers, which come from the environment; images; containers, and what runs in them.

  cloud-code backup /srv/backup/$(date +%F)
  cloud-code --home /var/lib/cloud-code restore /srv/backup/2026-01-31";

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// A folder that is not there yet, or is empty.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Leave the folder `secrets` out: the App's key, the token, the webhook's secret.
    #[arg(long)]
    pub(crate) without_secrets: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RestoreArgs {
    /// What `backup` made.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}
