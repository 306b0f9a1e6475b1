//! Coding CLIs and their images.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cloud_code_task_schema::CliName;

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// List every CLI: version, image, what it supports, and whether there are credentials.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one CLI: its manifest as it is used, and where that comes from.
    Show {
        /// Which.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask each CLI in its image for its version, and its provider whether the credentials work.
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
}

const CHECK_HELP: &str = "Examples:
  cloud-code cli check claude-code
  cloud-code cli check codex --base-url https://api.openai.com
  cloud-code cli check claude-code --image acme/shop-claude:3

A key is tried with one request for the provider's list of models, which costs nothing, and only when the provider's
address is given (--base-url, or `base_url` in `defaults` of cloud-code.yaml). Whether a login works is not known.

Exit codes: 0 all is well, 1 something is wrong. Without names, a CLI that was never set up (no image, no
credentials) is told and not counted.";

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Which CLIs [default: all].
    pub(crate) names: Vec<String>,
    /// Ask in this image, such as a project's; needs exactly one name [default: the CLI's own].
    #[arg(long, value_name = "IMAGE", requires = "names")]
    pub(crate) image: Option<String>,
    /// The provider's address.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImagesCommand {
    /// Build the images of CLIs.
    #[command(after_help = "Examples:\n  cloud-code images build\n  \
        cloud-code images build codex --extra-ca /etc/ssl/company.pem\n  \
        cloud-code images build claude-code --project-image acme/shop-dev:3 --tag acme/shop-claude:3")]
    Build(BuildArgs),
    /// List the images of CLIs on this machine.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Which CLIs [default: all with an image of their own].
    pub(crate) clis: Vec<CliName>,
    /// The image under them all [default: `docker.base_image`, else debian:bookworm-slim].
    #[arg(long, value_name = "IMAGE", conflicts_with = "project_image")]
    pub(crate) base_image: Option<String>,
    /// Build upon this image of a project, with its tools in it; needs exactly one CLI.
    #[arg(long, value_name = "IMAGE", requires = "clis")]
    pub(crate) project_image: Option<String>,
    /// The name of the result; needs exactly one CLI [default: cloud-code/CLI:VERSION].
    #[arg(long, value_name = "NAME", requires = "clis")]
    pub(crate) tag: Option<String>,
    /// A PEM file of CA certificates to trust besides the system's [default: `docker.extra_ca`].
    #[arg(long, value_name = "FILE")]
    pub(crate) extra_ca: Option<PathBuf>,
    /// A build argument, such as a package mirror. Can be given several times.
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    pub(crate) build_args: Vec<String>,
    /// Print every line of the build.
    #[arg(long)]
    pub(crate) plain: bool,
}
