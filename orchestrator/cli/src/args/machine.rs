//! What this machine needs, and its connection to GitHub.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cloud_code_model::{ProjectName, RepositoryName};
use cloud_code_task_schema::CliName;

pub(super) const INIT_HELP: &str = "Examples:
  cloud-code init                                            asks what it needs
  cloud-code init --non-interactive --owner acme --public-url https://agents.example.com --repo acme/shop
  cloud-code init --non-interactive --token-file ~/token --repo acme/shop --intake polling

With a GitHub App (recommended) a browser makes it: `init` prints an address to open, GitHub shows what the App may,
and its key comes back to this machine. On a machine without a browser, forward the port as `init` says, or pass
--manual and paste the address that the browser ends at.

A second run changes nothing that is right already, and replaces nothing without a yes (--replace).";

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Ask nothing; take flags and defaults.
    #[arg(long)]
    pub(crate) non_interactive: bool,
    /// Where GitHub is: `https://github.com` or the address of your Enterprise Server.
    #[arg(long, value_name = "URL")]
    pub(crate) github_url: Option<String>,
    /// Name of the App; unique on GitHub [default: cloud-code-ID of this installation].
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    pub(crate) app_name: Option<String>,
    /// The organisation that the App belongs to [default: yourself].
    #[arg(long, value_name = "ORG", conflicts_with = "token_file")]
    pub(crate) owner: Option<String>,
    /// Take an App that is there already, by its number.
    #[arg(long, value_name = "NUMBER", requires = "app_key", conflicts_with_all = ["token_file", "app_name", "owner"])]
    pub(crate) app_id: Option<u64>,
    /// The private key of that App, a PEM file. It is copied.
    #[arg(long, value_name = "FILE", requires = "app_id")]
    pub(crate) app_key: Option<PathBuf>,
    /// The short name that the App must have, as in `https://github.com/apps/NAME` [default: what GitHub says].
    #[arg(long, value_name = "NAME", requires = "app_id")]
    pub(crate) app_slug: Option<String>,
    /// Work with a fine-grained token from this file instead of an App; `-` reads standard input.
    #[arg(long, value_name = "PATH")]
    pub(crate) token_file: Option<PathBuf>,
    /// How GitHub reaches `cloud-code serve`. Without it, deliveries are read from GitHub's log.
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// A repository to work in. Can be given several times.
    #[arg(long = "repo", value_name = "OWNER/NAME")]
    pub(crate) repos: Vec<RepositoryName>,
    /// The coding CLI of new projects.
    #[arg(long, value_name = "NAME")]
    pub(crate) cli: Option<CliName>,
    /// How events reach this machine [default: webhook with --public-url, else deliveries (App) or polling (token)].
    #[arg(long, value_enum)]
    pub(crate) intake: Option<IntakeArg>,
    /// Name of the project; needs exactly one repository [default: the repository's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<ProjectName>,
    /// Replace what stands in the settings and make the App anew.
    #[arg(long)]
    pub(crate) replace: bool,
    /// No listener on loopback: paste the address that the browser ends at.
    #[arg(long, conflicts_with = "port")]
    pub(crate) manual: bool,
    /// Port of the page on loopback [default: any free one].
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,
}

/// How events reach this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IntakeArg {
    /// GitHub calls.
    Webhook,
    /// The App's log of deliveries is read.
    Deliveries,
    /// Issues and comments are listed.
    Polling,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Mend what can be mended from here, such as missing labels.
    #[arg(long)]
    pub(crate) fix: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
