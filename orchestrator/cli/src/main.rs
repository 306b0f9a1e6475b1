//! The program `cloud-code`: reads the command line, runs one command, and says how it went by its exit code.

mod app;
mod args;
mod catalog;
mod commands;
mod plan;
mod progress;
mod provider;
mod settings;
mod support;
mod ui;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, GlobalArgs};

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli.global);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(commands::run(cli));
            // A blocked file or git job must not hold up the exit; what it does is idempotent.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(anyhow::Error::new(error).context("cannot start the async runtime")),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            ui::err(format!("error: {}", error_text(&error)));
            ExitCode::from(commands::EXIT_ERROR)
        }
    }
}

/// The error with its causes on one line each; hints stay on their own lines.
fn error_text(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}\n  because: {cause}");
        }
    }
    // Names of files and words of a remote stand in it.
    ui::clean(&text)
}

fn start_logging(global: &GlobalArgs) {
    let default = match global.verbose {
        0 => "warn",
        1 => "cloud_code=info,cloud_code_engine=debug,warn",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
