//! From a text to the command in it.
//!
//! Words after the prefix that begin with no verb are work to do, so a mistyped verb would cost money. What looks like
//! one is answered with a question instead, as is everything else that would lose a part of what was meant.

use cloud_code_model::Command;

use crate::characters::without_hidden_characters;
use crate::command_error::CommandError;
use crate::grammar::Verb;
use crate::markdown::command_lines;
use crate::reader::Reader;
use crate::rules::Rules;

/// A command, and how it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The command.
    pub command: Command,
    /// Whether its verb was written.
    pub verb: Spelling,
}

/// Whether somebody wrote the verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// They did.
    Written,
    /// `/cloud-code fix the parser`: `run` is meant.
    Implied,
}

/// Reads the command of a text; nothing when nobody speaks to us.
pub fn parse(text: &str, rules: &Rules) -> Result<Option<Found>, CommandError> {
    // Hidden characters stay until the prefix is found: with them it is another word.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines = command_lines(&text, &rules.prefixes());
    let line = match *lines.as_slice() {
        [] => return Ok(None),
        [line] => line,
        [..] => return Err(CommandError::SeveralCommands { count: lines.len() }),
    };
    let on_line = text.get(line.after_prefix..line.line_end).unwrap_or_default();
    let below = text.get(line.line_end..).unwrap_or_default();
    let (on_line, _) = without_hidden_characters(on_line);
    Reader { rest: on_line.trim_start_matches([',', ':']).trim(), below, rules }.read().map(Some)
}

/// A text as if nobody had been commanded in it: what stands above the command, then the command's own words. Nothing when
/// there is no command, or none that can be read.
pub fn without_command(text: &str, rules: &Rules) -> Option<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let found = parse(&text, rules).ok()??;
    let line = command_lines(&text, &rules.prefixes()).into_iter().next()?;
    let above = text.get(..line.after_prefix)?.rsplit_once('\n').map_or("", |(above, _)| above).trim_end();
    let said = match &found.command {
        Command::Run { text, .. } | Command::Plan { text } | Command::Ask { text } => text.as_str(),
        Command::Handoff { text, .. } | Command::Reject { reason: text } => text.as_str(),
        Command::Approve | Command::Cancel | Command::Retry | Command::Status => "",
        Command::Config { .. } | Command::Cost | Command::Logs | Command::Help => "",
    };
    Some([above, said].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n"))
}

/// The command as somebody could have written it. The text goes into a paragraph of its own, where nothing in it can be
/// taken for a CLI or an option. A text with a command in it makes two of one.
pub fn render(command: &Command, prefix: &str) -> String {
    let mut line = format!("{prefix} {}", verb_of(command).name());
    let mut text = "";
    match command {
        Command::Run { cli, model, base, budget, text: run_text } => {
            if let Some(cli) = cli {
                line.extend([" ", cli.as_str()]);
            }
            if let Some(model) = model {
                line.extend([" --model ", model]);
            }
            if let Some(base) = base {
                line.extend([" --base ", base.as_str()]);
            }
            if let Some(budget) = budget {
                line.push_str(&format!(" --budget {}", budget.as_f64()));
            }
            text = run_text;
        }
        Command::Plan { text: given } | Command::Ask { text: given } | Command::Reject { reason: given } => {
            text = given;
        }
        Command::Handoff { cli, text: given } => {
            line.extend([" ", cli.as_str()]);
            text = given;
        }
        Command::Config { key, value } => line.extend([" ", key.as_str(), " ", value]),
        Command::Approve
        | Command::Cancel
        | Command::Retry
        | Command::Status
        | Command::Cost
        | Command::Logs
        | Command::Help => {}
    }
    if !text.is_empty() {
        line.extend(["\n\n", text]);
    }
    line
}

const fn verb_of(command: &Command) -> Verb {
    match command {
        Command::Run { .. } => Verb::Run,
        Command::Plan { .. } => Verb::Plan,
        Command::Approve => Verb::Approve,
        Command::Reject { .. } => Verb::Reject,
        Command::Cancel => Verb::Cancel,
        Command::Retry => Verb::Retry,
        Command::Status => Verb::Status,
        Command::Handoff { .. } => Verb::Handoff,
        Command::Ask { .. } => Verb::Ask,
        Command::Config { .. } => Verb::Config,
        Command::Cost => Verb::Cost,
        Command::Logs => Verb::Logs,
        Command::Help => Verb::Help,
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
