//! The grammar of commands, as one table. The parser, the help and the reference in the documentation are all made from
//! it, so none of them can promise what another does not keep.

use std::fmt::Write as _;

use cloud_code_model::ConfigKey;

/// A verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Run,
    Plan,
    Approve,
    Reject,
    Cancel,
    Retry,
    Status,
    Handoff,
    Ask,
    Config,
    Cost,
    Logs,
    Help,
}

/// What may follow a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// Nothing more on its line.
    None,
    /// Text or none.
    Text(&'static str),
    /// Text, which must be there.
    NeededText(&'static str),
    /// Perhaps a CLI, options, perhaps a text.
    CliOptionsText,
    /// A CLI, perhaps a text.
    NeededCliText,
    /// A setting and its value.
    KeyValue,
}

/// An option of `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunOption {
    Model,
    Base,
    Budget,
}

impl RunOption {
    pub(crate) const ALL: [Self; 3] = [Self::Model, Self::Base, Self::Budget];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Model => "--model",
            Self::Base => "--base",
            Self::Budget => "--budget",
        }
    }

    const fn value(self) -> &'static str {
        match self {
            Self::Model => "M",
            Self::Base => "B",
            Self::Budget => "USD",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Model => "the model, by the name that the CLI knows it by",
            Self::Base => "the branch to start from",
            Self::Budget => "the most that the task may cost, in US dollars",
        }
    }
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) verb: Verb,
    pub(crate) name: &'static str,
    pub(crate) arguments: Arguments,
    /// One sentence without a full stop.
    pub(crate) help: &'static str,
    /// What follows the prefix in an example.
    pub(crate) example: &'static str,
}

const fn row(
    verb: Verb,
    name: &'static str,
    arguments: Arguments,
    help: &'static str,
    example: &'static str,
) -> Row {
    Row { verb, name, arguments, help, example }
}

/// Every verb, in the order people read them.
pub(crate) const TABLE: [Row; 13] = [
    row(
        Verb::Run,
        "run",
        Arguments::CliOptionsText,
        "Work on the issue, and open or update its pull request",
        "run claude-code --budget 2 Keep the public API as it is",
    ),
    row(
        Verb::Plan,
        "plan",
        Arguments::Text("text"),
        "Say what would be done, and change nothing",
        "plan Look at the parser first",
    ),
    row(Verb::Approve, "approve", Arguments::None, "Say yes to what waits for a yes", "approve"),
    row(
        Verb::Reject,
        "reject",
        Arguments::Text("reason"),
        "Say no to what waits for a yes",
        "reject This belongs in the client",
    ),
    row(Verb::Cancel, "cancel", Arguments::None, "Stop the work, and keep what is done", "cancel"),
    row(
        Verb::Retry,
        "retry",
        Arguments::None,
        "Do the last task again, after it failed or was stopped",
        "retry",
    ),
    row(Verb::Status, "status", Arguments::None, "Say where the work stands", "status"),
    row(
        Verb::Handoff,
        "handoff",
        Arguments::NeededCliText,
        "Let another CLI take over the work",
        "handoff codex Finish the tests",
    ),
    row(
        Verb::Ask,
        "ask",
        Arguments::NeededText("text"),
        "Answer a question about the code or the work, and change nothing",
        "ask Why is the cache cleared here?",
    ),
    row(
        Verb::Config,
        "config",
        Arguments::KeyValue,
        "Set something for the later tasks of this issue; the value `default` takes it back",
        "config timeout 45m",
    ),
    row(Verb::Cost, "cost", Arguments::None, "Say what the issue has cost so far", "cost"),
    row(Verb::Logs, "logs", Arguments::None, "Show what the agent did last", "logs"),
    row(Verb::Help, "help", Arguments::None, "Show this list", "help"),
];

impl Verb {
    pub(crate) const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    pub(crate) const fn name(self) -> &'static str {
        self.row().name
    }

    pub(crate) fn named(word: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name.eq_ignore_ascii_case(word)).map(|row| row.verb)
    }
}

impl Row {
    /// `run [cli] [--model M] … [text]`.
    pub(crate) fn usage(&self) -> String {
        let mut usage = self.name.to_owned();
        match self.arguments {
            Arguments::None => {}
            Arguments::Text(what) => usage.extend([" [", what, "]"]),
            Arguments::NeededText(what) => usage.extend([" <", what, ">"]),
            Arguments::NeededCliText => usage.push_str(" <cli> [text]"),
            Arguments::KeyValue => usage.push_str(" <key> <value>"),
            Arguments::CliOptionsText => {
                usage.push_str(" [cli]");
                for option in RunOption::ALL {
                    usage.extend([" [", option.name(), " ", option.value(), "]"]);
                }
                usage.push_str(" [text]");
            }
        }
        usage
    }
}

/// The answer to `help`, as Markdown. It never has the prefix at the start of a line: our own words are no commands.
pub fn help_text(prefix: &str) -> String {
    let mut text = String::from("| Write | and the agent will |\n| --- | --- |\n");
    for row in &TABLE {
        let _ = writeln!(text, "| `{prefix} {}` | {} |", row.usage(), row.help);
    }
    let _ = write!(
        text,
        "\nAnything else after `{prefix}` is work to do, as with `{prefix} run`. A command stands at the start of a line \
         of plain text, one in a comment; quotes, lists and code are not read. Changing a comment starts nothing: write \
         a new one.\n"
    );
    text
}

/// The commands' page of the documentation, as Markdown.
pub fn command_reference(prefix: &str) -> String {
    let mut page = format!(
        "# Commands\n\n\
         <!-- Made from the grammar. Change it there. -->\n\n\
         A command is a line of a comment, of an issue's first text or of a review that begins with `{prefix}`.\n\n\
         - The line stands in a plain paragraph. Quotes, lists, tables, headings, code, HTML and links are not read.\n\
         - There is one command in a comment. The verb, the CLI and the options stand on its line; the text goes on to \
         the end of the comment and keeps its Markdown.\n\
         - `{prefix}` alone, or with a text that begins with no verb, means `{prefix} run`.\n\
         - Capital or small letters are the same in the prefix and the verb.\n\
         - Options stand before the text. `--` ends them: what follows is text, whatever it looks like.\n\
         - Changing or deleting a comment starts nothing. Write a new comment.\n\
         - What looks like a mistyped command starts nothing either. The answer says what to write.\n\n"
    );
    for row in &TABLE {
        let _ = write!(
            page,
            "## `{}`\n\n{}.\n\n```text\n{prefix} {}\n```\n\n",
            row.usage(),
            row.help,
            row.example
        );
        match row.arguments {
            Arguments::CliOptionsText => {
                page.push_str("| option | |\n| --- | --- |\n");
                for option in RunOption::ALL {
                    let _ = writeln!(page, "| `{} {}` | {} |", option.name(), option.value(), option.help());
                }
                page.push('\n');
            }
            Arguments::KeyValue => {
                page.push_str("| key | value |\n| --- | --- |\n");
                for key in ConfigKey::ALL {
                    let _ = writeln!(page, "| `{key}` | {} |", config_help(key));
                }
                page.push('\n');
            }
            Arguments::None | Arguments::Text(_) | Arguments::NeededText(_) | Arguments::NeededCliText => {}
        }
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// What a setting's value is.
pub(crate) const fn config_help(key: ConfigKey) -> &'static str {
    match key {
        ConfigKey::Cli => "a coding CLI, as `claude-code`",
        ConfigKey::Model => "a model, by the name that the CLI knows it by",
        ConfigKey::Base => "the branch to start from; only before the first task",
        ConfigKey::Budget => "the most that a task may cost, in US dollars, as `2.50`",
        ConfigKey::Timeout => "the longest that a task may take, as `30m` or `1h30m`",
        ConfigKey::Draft => "whether the pull request is a draft: `true` or `false`",
        ConfigKey::Priority => "how urgent it is: `critical`, `high`, `medium` or `low`",
        ConfigKey::After => "issues whose work must be merged first, as `12, 34`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_its_own_row() {
        for row in &TABLE {
            assert_eq!(row.verb.row().name, row.name);
            assert_eq!(row.example.split(' ').next(), Some(row.name), "the example of `{}`", row.name);
            assert!(!row.help.ends_with('.'), "{}", row.help);
        }
    }
}
