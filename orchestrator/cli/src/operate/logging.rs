//! The log on standard error: for people, or one JSON object a line.

use cloud_code_forge::{MakeScrubbed, Scrubber};
use cloud_code_model::LogFormat;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, LogFormatArg};
use crate::{settings, ui};

/// Sets the log up, for the whole process.
pub(crate) fn start(cli: &Cli, scrubber: &Scrubber) {
    let default = match (cli.global.verbose, &cli.command) {
        (0, Command::Serve(_)) => "warn,cloud_code=info,cloud_code_engine=info,cloud_code_server=info",
        (0, _) => "warn",
        (1, _) => "cloud_code=info,cloud_code_engine=debug,cloud_code_server=debug,warn",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let writer = MakeScrubbed::new(std::io::stderr, scrubber.clone());
    match format(cli) {
        LogFormat::Text => {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false).init();
        }
        LogFormat::Json => {
            let filter = match format!("{}=info", ui::SAID).parse() {
                Ok(said) => filter.add_directive(said),
                Err(_) => filter,
            };
            tracing_subscriber::fmt()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_env_filter(filter)
                .with_writer(writer)
                .init();
            ui::speak_json();
            std::panic::set_hook(Box::new(|panic| {
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                let message = panic.payload_as_str().unwrap_or("no message");
                tracing::error!(target: ui::SAID, place, "a part of the program broke: {message}");
            }));
        }
    }
}

/// As asked, else as set. Settings that cannot be read are told by whoever needs them, a moment later.
fn format(cli: &Cli) -> LogFormat {
    match cli.global.log_format {
        Some(LogFormatArg::Text) => LogFormat::Text,
        Some(LogFormatArg::Json) => LogFormat::Json,
        None => {
            let home = settings::home(cli.global.home.clone());
            let loaded = home.and_then(|home| settings::global(&home));
            loaded.ok().and_then(|settings| settings.log.format).unwrap_or_default()
        }
    }
}
