//! The scripted model server as a program, for containers and for a look by hand.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use cloud_code_testkit::{Script, ScriptedModel, ServeOptions};
use std::io::Write as _;
use tokio::signal::unix::{SignalKind, signal};

/// A scripted model: it answers coding CLIs as a YAML script says
#[derive(Debug, Parser)]
#[command(name = "cloud-code-testkit", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the APIs of Anthropic, OpenAI and Gemini until SIGTERM or SIGINT
    Serve {
        /// The script
        #[arg(long, value_name = "FILE")]
        script: PathBuf,
        /// Where to listen; port 0 takes a free one
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Write the port to this file once the server listens
        #[arg(long, value_name = "FILE")]
        port_file: Option<PathBuf>,
        /// Write one JSON line a request to this file
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
    /// Read a script and say what is wrong with it
    Check {
        /// The script
        #[arg(value_name = "FILE")]
        script: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when not even this can be said.
            let _written = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check { script } => {
            Script::load(&script).with_context(|| script.display().to_string())?;
            Ok(())
        }
        Command::Serve { script, listen, port_file, journal } => {
            let script = Script::load(&script).with_context(|| script.display().to_string())?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start the signal loop")?;
            // Before the server: as process 1 a signal without a handler is ignored.
            let signals = runtime.block_on(async {
                anyhow::Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
            });
            let (mut terminate, mut interrupt) = signals.context("cannot listen for signals")?;
            let model = ScriptedModel::start_with(script, ServeOptions { listen, journal })?;
            if let Some(path) = port_file {
                write_port(&path, model.address().port())?;
            }
            writeln!(std::io::stdout(), "{}", model.url()).context("cannot say the address")?;
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            });
            match model.journal_problem() {
                None => Ok(()),
                Some(problem) => Err(anyhow::anyhow!("the journal is not complete: {problem}")),
            }
        }
    }
}

/// By rename, so that who waits for the file never reads half a number.
fn write_port(path: &Path, port: u16) -> anyhow::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    std::fs::write(&new, format!("{port}\n"))
        .and_then(|()| std::fs::rename(&new, path))
        .with_context(|| format!("cannot write the port file {}", path.display()))
}
