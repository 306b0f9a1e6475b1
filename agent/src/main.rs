#![doc = include_str!("../README.md")]

mod activity;
mod agent;
mod capture;
mod clocks;
mod command_line;
mod commit_message;
mod desired;
mod drive;
mod environment;
mod event_log;
mod finish;
mod git;
mod head;
mod home;
mod identity;
mod journal;
mod lines;
mod memory;
mod oom;
mod options;
mod parse;
mod preflight;
mod probe;
mod process;
mod prompt;
mod prompt_log;
mod raw_log;
mod read_only;
mod reaper;
mod recovery;
mod secrets;
mod session;
mod shared;
mod start;
mod sweep;
mod token_forms;
mod turn;
mod usage;
mod verdict;
mod verify;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use cloud_code_task_schema::{MAX_YAML_BYTES, parse_manifest, read_capped};

use crate::options::{CredentialSource, Options, Request};
use crate::secrets::Secrets;

/// The manifest's file in the control directory, written by the orchestrator.
const MANIFEST_FILE: &str = "cli.yaml";
/// Exit code for a call that cannot work: bad options, manifest or secrets. The same call would fail again.
const EXIT_MISUSE: u8 = 2;
/// Exit code when the agent itself failed.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let request = match options::parse(std::env::args_os().skip(1)) {
        Ok(request) => request,
        Err(error) => return refuse(&error),
    };
    let options = match request {
        Request::Run(options) => options,
        Request::Version => return print(&format!("cloud-code-agent {}\n", env!("CARGO_PKG_VERSION"))),
        Request::Help => return print(options::HELP),
    };
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Agent(error)) => {
            say(&error.to_string());
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => refuse(&error),
    }
}

/// Why the agent did not run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("cannot read the manifest: {0}")]
    Manifest(#[from] cloud_code_task_schema::ReadError),
    #[error("{0}")]
    ManifestSyntax(#[from] cloud_code_task_schema::Diagnostics),
    #[error("{0}")]
    Secrets(#[from] secrets::SecretsError),
    #[error("{0}")]
    Identity(#[from] identity::IdentityError),
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] std::io::Error),
    #[error("{0}")]
    Agent(#[from] agent::AgentError),
}

fn start(options: Options) -> Result<(), StartError> {
    identity::take_role()?;
    let path = options.control.join(MANIFEST_FILE);
    let manifest = parse_manifest(&path.display().to_string(), &read_capped(&path, MAX_YAML_BYTES)?)?;
    let secrets = match options.credentials {
        CredentialSource::Stdin => Secrets::read(std::io::stdin().lock())?,
        CredentialSource::Environment => Secrets::from_environment(&manifest.credentials),
    };
    // Where it cannot be made, HOME serves (`environment.rs`).
    let _ = preflight::make_temp_folder();
    let user = identity::cli_user(options.user, &options.home)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    runtime.block_on(agent::run(options, manifest, user, secrets))?;
    Ok(())
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    say(&error.to_string());
    ExitCode::from(EXIT_MISUSE)
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILED),
    }
}

/// One line for whoever reads the container's own log.
fn say(message: &str) {
    // With stderr gone there is nobody left to tell.
    let _ = std::io::stderr().write_all(format!("cloud-code-agent: {message}\n").as_bytes());
}
