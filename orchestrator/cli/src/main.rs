//! The program `cloud-code`: reads the command line, runs one command, and says how it went by its exit code.

mod app;
mod args;
mod catalog;
mod commands;
mod github;
mod http;
mod operate;
mod plan;
mod progress;
mod provider;
mod settings;
mod shared;
mod support;
mod ui;

use std::process::ExitCode;

use clap::Parser;
use cloud_code_forge::Scrubber;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let scrubber = Scrubber::default();
    operate::logging::start(&cli, &scrubber);
    // Only the service has work for more than one thread.
    let runtime = match cli.command {
        Command::Serve(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build(),
    };
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(commands::run(cli, scrubber));
            // A blocked file or git job must not hold up the exit; what it does is idempotent.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(anyhow::Error::new(error).context("cannot start the async runtime")),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            ui::failed(&error_text(&error));
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
