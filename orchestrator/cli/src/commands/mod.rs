//! One file a command. Each reads what it needs, asks the engine or the store, and prints.

mod approve;
mod backup;
mod cancel;
mod clean;
mod cli;
mod diff;
mod doctor;
mod doctor_github;
mod drive;
mod export;
mod images;
mod init;
mod inspect;
mod list;
mod logs;
mod merge_gate;
mod queue;
mod run;
mod schema;
mod serve;
mod show;
mod status;
mod token_triggers;
mod validate;

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use cloud_code_forge::Scrubber;

use crate::app::App;
use crate::args::{Cli, Command};
use crate::settings;

/// The command could not do its work.
pub(crate) const EXIT_ERROR: u8 = 1;
/// The task failed.
pub(crate) const EXIT_FAILED: u8 = 3;
/// The task ended with a question.
pub(crate) const EXIT_NEEDS_INPUT: u8 = 4;
/// The task was cancelled.
pub(crate) const EXIT_CANCELLED: u8 = 5;
/// The command could not go on, and the task has not ended: `resume` goes on with it.
pub(crate) const EXIT_OPEN: u8 = 6;

/// Runs the command that was asked for.
pub(crate) async fn run(cli: Cli, scrubber: Scrubber) -> Result<ExitCode> {
    // These need no installation, so they work where none can be made.
    match &cli.command {
        Command::Completions { shell } => return completions(*shell),
        Command::Schema(args) => return schema::run(args),
        Command::Validate(args) => return validate::run(args),
        // The settings come with what is restored.
        Command::Restore(args) => {
            return backup::restore(settings::home(cli.global.home)?, args.clone()).await;
        }
        _ => {}
    }
    let app = App::load(&cli.global, scrubber)?;
    match cli.command {
        Command::Init(args) => init::run(&app, *args).await,
        Command::Serve(args) => serve::run(&app, args).await,
        Command::Approve(args) => approve::approve(&app, args).await,
        Command::Reject(args) => approve::reject(&app, args).await,
        Command::Run(args) => run::run(&app, *args).await,
        Command::Continue(args) => run::follow_up(&app, *args).await,
        Command::Handoff(args) => run::hand_off(&app, *args).await,
        Command::Resume(args) => run::resume(&app, args).await,
        Command::Status(args) => status::run(&app, args).await,
        Command::Queue(args) => queue::run(&app, args).await,
        Command::Show(args) => show::run(&app, args).await,
        Command::Export(args) => export::run(&app, args).await,
        Command::List(args) => list::run(&app, args).await,
        Command::Logs(args) => logs::run(&app, args).await,
        Command::Diff(args) => diff::run(&app, args).await,
        Command::Cancel(args) => cancel::run(&app, args).await,
        Command::Clean(args) => clean::run(&app, args).await,
        Command::Backup(args) => backup::backup(&app, args).await,
        Command::Restore(args) => backup::restore(app.home, args).await,
        Command::Inspect(args) => inspect::run(&app, args).await,
        Command::Cli(command) => cli::run(&app, command).await,
        Command::Images(command) => images::run(&app, command).await,
        Command::Doctor(args) => doctor::run(&app, args).await,
        Command::Completions { shell } => completions(shell),
        Command::Schema(args) => schema::run(&args),
        Command::Validate(args) => validate::run(&args),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cloud-code", &mut script);
    crate::ui::out_raw(script);
    Ok(ExitCode::SUCCESS)
}
