//! From a command's line to the command: the verb, its arguments, and what is wrong with them.

use cloud_code_model::{Command, ConfigKey};
use cloud_code_task_schema::{CliName, HumanDuration, Priority};

use crate::command::{Found, Spelling};
use crate::command_error::{CommandError, echo};
use crate::grammar::{Arguments, RunOption, TABLE, Verb};
use crate::near::{LONG_NAME, is_near, nearest};
use crate::rules::Rules;
use crate::values::{
    GivenOption, as_option, option_within, read_branch, read_budget, read_model, set, unquoted,
};
use crate::visible::visible;

/// What is left of a command line, and the text below it.
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a str,
    pub(crate) below: &'a str,
    pub(crate) rules: &'a Rules,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.rest.split_whitespace().next()
    }

    fn take(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.rest = self.rest.trim_start().get(word.len()..).unwrap_or_default().trim_start();
        Some(word)
    }

    /// What follows, to the end of the comment, as a person sees it.
    fn text(&self) -> String {
        let whole = format!("{}\n{}", self.rest, self.below.strip_prefix('\n').unwrap_or(self.below));
        seen_after_prefix(&whole)
    }

    pub(crate) fn read(mut self) -> Result<Found, CommandError> {
        let verb = self.peek().and_then(|word| Verb::named(word.trim_end_matches(END_OF_SENTENCE)));
        let Some(verb) = verb else {
            self.refuse_mistyped_verb()?;
            let command = self.run(Spelling::Implied)?;
            return Ok(Found { command, verb: Spelling::Implied });
        };
        let _ = self.take();
        let command = self.command(verb)?;
        Ok(Found { command, verb: Spelling::Written })
    }

    fn command(&mut self, verb: Verb) -> Result<Command, CommandError> {
        match verb.row().arguments {
            Arguments::None => self.nothing_more(verb)?,
            Arguments::Text(_) => self.no_options(verb)?,
            Arguments::NeededText(_) => {
                self.no_options(verb)?;
                if self.text().is_empty() {
                    return Err(CommandError::MissingText { verb: verb.name() });
                }
            }
            Arguments::CliOptionsText | Arguments::NeededCliText | Arguments::KeyValue => {}
        }
        Ok(match verb {
            Verb::Run => self.run(Spelling::Written)?,
            Verb::Plan => Command::Plan { text: self.text() },
            Verb::Approve => Command::Approve,
            Verb::Reject => Command::Reject { reason: self.text() },
            Verb::Cancel => Command::Cancel,
            Verb::Retry => Command::Retry,
            Verb::Status => Command::Status,
            Verb::Handoff => {
                let cli = self.needed_cli()?;
                self.no_options(verb)?;
                Command::Handoff { cli, text: self.text() }
            }
            Verb::Ask => Command::Ask { text: self.text() },
            Verb::Config => self.config()?,
            Verb::Cost => Command::Cost,
            Verb::Logs => Command::Logs,
            Verb::Help => Command::Help,
        })
    }

    /// What stands on later lines is a greeting or a signature; what stands on the same line was meant.
    fn nothing_more(&self, verb: Verb) -> Result<(), CommandError> {
        if self
            .rest
            .chars()
            .all(|character| character.is_whitespace() || END_OF_SENTENCE.contains(&character))
        {
            return Ok(());
        }
        Err(CommandError::ExtraWords { verb: verb.name(), words: echo(self.rest) })
    }

    fn no_options(&mut self, verb: Verb) -> Result<(), CommandError> {
        match self.peek() {
            Some("--") => {
                let _ = self.take();
                Ok(())
            }
            Some(word) if as_option(word).is_some() => {
                Err(CommandError::UnknownOption { verb: verb.name(), word: echo(word), suggestion: None })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn run(&mut self, spelling: Spelling) -> Result<Command, CommandError> {
        let (mut cli, mut model, mut base, mut budget) = (None, None, None, None);
        while let Some(word) = self.peek() {
            if word == "--" {
                let _ = self.take();
                return Ok(Command::Run { cli, model, base, budget, text: self.text() });
            }
            if let Some(option) = as_option(word) {
                let _ = self.take();
                match self.option(option)? {
                    (RunOption::Model, value) => set(&mut model, RunOption::Model, read_model(&value)?)?,
                    (RunOption::Base, value) => set(&mut base, RunOption::Base, read_branch(&value)?)?,
                    (RunOption::Budget, value) => set(&mut budget, RunOption::Budget, read_budget(&value)?)?,
                }
                continue;
            }
            if cli.is_some() {
                break;
            }
            match self.known_cli(word) {
                Some(known) => {
                    let _ = self.take();
                    cli = Some(known);
                }
                None => {
                    if let Some(error) = self.mistyped_cli(word, spelling) {
                        return Err(error);
                    }
                    break;
                }
            }
        }
        if let Some(option) = option_within(self.rest) {
            return Err(CommandError::OptionAfterText { option: option.name() });
        }
        Ok(Command::Run { cli, model, base, budget, text: self.text() })
    }

    /// The option and its value, from `--model M` and `--model=M`.
    fn option(&mut self, option: GivenOption<'_>) -> Result<(RunOption, String), CommandError> {
        let Some(known) =
            RunOption::ALL.into_iter().find(|known| known.name()[2..].eq_ignore_ascii_case(option.name))
        else {
            let names = RunOption::ALL.map(|known| &known.name()[2..]);
            let suggestion = nearest(option.name, names, 2).map(|name| format!("--{name}"));
            let word = echo(&format!("--{}", option.name));
            return Err(CommandError::UnknownOption { verb: Verb::Run.name(), word, suggestion });
        };
        let value = match option.value {
            Some(value) => value.to_owned(),
            None => match self.peek() {
                Some(next) if as_option(next).is_none() && next != "--" => {
                    let _ = self.take();
                    next.to_owned()
                }
                Some(_) | None => String::new(),
            },
        };
        let value = unquoted(&value);
        if value.is_empty() {
            return Err(CommandError::OptionWithoutValue { option: known.name() });
        }
        Ok((known, value.to_owned()))
    }

    fn known_cli(&self, word: &str) -> Option<CliName> {
        self.rules.clis.iter().find(|cli| cli.as_str().eq_ignore_ascii_case(unquoted(word))).cloned()
    }

    fn needed_cli(&mut self) -> Result<CliName, CommandError> {
        let Some(word) = self.peek() else {
            return Err(CommandError::MissingCli { known: self.known_clis() });
        };
        let Some(cli) = self.known_cli(word) else {
            let suggestion = self.nearest_cli(word, 2);
            return Err(CommandError::UnknownCli { word: echo(word), suggestion, known: self.known_clis() });
        };
        let _ = self.take();
        Ok(cli)
    }

    fn known_clis(&self) -> Vec<String> {
        self.rules.clis.iter().map(ToString::to_string).collect()
    }

    /// The CLI that a word nearly is, or that it is the first part of: `claude` for `claude-code`.
    fn nearest_cli(&self, word: &str, limit_of_short: usize) -> Option<String> {
        let word = word.to_ascii_lowercase();
        let longer = self.rules.clis.iter().find(|cli| {
            cli.as_str()
                .strip_prefix(word.as_str())
                .is_some_and(|tail| tail.starts_with('-') && tail.len() > 1)
        });
        let names = self.rules.clis.iter().map(CliName::as_str);
        longer.map(ToString::to_string).or_else(|| {
            let name = names
                .filter(|name| is_near(&word, name, limit_of_short))
                .min_by_key(|name| strsim::damerau_levenshtein(&word, name))?;
            Some(name.to_owned())
        })
    }

    /// After a written `run` a name is expected, and `cde` is worth a question. Without it, short names are too near to
    /// ordinary words: "code", "line", "goods".
    fn mistyped_cli(&self, word: &str, spelling: Spelling) -> Option<CommandError> {
        let limit_of_short = match spelling {
            Spelling::Written => 1,
            Spelling::Implied => 0,
        };
        let suggestion = self.nearest_cli(word.trim_end_matches(END_OF_SENTENCE), limit_of_short)?;
        Some(CommandError::UnknownCli {
            word: echo(word),
            suggestion: Some(suggestion),
            known: self.known_clis(),
        })
    }

    fn refuse_mistyped_verb(&self) -> Result<(), CommandError> {
        let Some(word) = self.peek() else { return Ok(()) };
        let bare = word.trim_end_matches(END_OF_SENTENCE).to_ascii_lowercase();
        if self.known_cli(&bare).is_some() {
            return Ok(());
        }
        let text = self.text();
        let words = text.split_whitespace().take(SHORT_TEXT + 1).count();
        let other_word =
            OTHER_WORDS.iter().find(|(other, _)| words == 1 && *other == bare).map(|(_, verb)| *verb);
        let near = TABLE
            .iter()
            .filter(|row| is_near(&bare, row.name, 1))
            .filter(|row| words <= SHORT_TEXT || row.name.len() >= LONG_NAME)
            .min_by_key(|row| strsim::damerau_levenshtein(&bare, row.name))
            .map(|row| row.verb);
        match other_word.or(near) {
            Some(verb) => Err(CommandError::MistypedVerb { word: echo(word), verb: verb.name() }),
            None => Ok(()),
        }
    }

    fn config(&mut self) -> Result<Command, CommandError> {
        let Some(word) = self.take() else { return Err(CommandError::MissingKey) };
        let given = unquoted(word);
        let key = ConfigKey::ALL.into_iter().find(|key| key.as_str().eq_ignore_ascii_case(given));
        let Some(key) = key else {
            let suggestion = nearest(given, ConfigKey::ALL.map(ConfigKey::as_str), 2).map(ToOwned::to_owned);
            return Err(CommandError::UnknownKey { word: echo(word), suggestion });
        };
        let value = unquoted(self.rest.trim());
        if value.is_empty() {
            return Err(CommandError::MissingValue { key });
        }
        let value = self.config_value(key, value)?;
        Ok(Command::Config { key, value })
    }

    fn config_value(&self, key: ConfigKey, value: &str) -> Result<String, CommandError> {
        if value.eq_ignore_ascii_case("default") {
            return Ok("default".to_owned());
        }
        let bad = || CommandError::BadValue { key, word: echo(value) };
        match key {
            ConfigKey::Cli => self.known_cli(value).map(|cli| cli.to_string()).ok_or_else(|| {
                let suggestion = self.nearest_cli(value, 2);
                CommandError::UnknownCli { word: echo(value), suggestion, known: self.known_clis() }
            }),
            ConfigKey::Model => read_model(value).map_err(|_| bad()),
            ConfigKey::Base => read_branch(value).map(|branch| branch.to_string()).map_err(|_| bad()),
            ConfigKey::Budget => read_budget(value).map(|usd| usd.as_f64().to_string()).map_err(|_| bad()),
            ConfigKey::Timeout => {
                value.parse::<HumanDuration>().map(|timeout| timeout.to_string()).map_err(|_| bad())
            }
            ConfigKey::Draft => match value.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Ok("true".to_owned()),
                "false" | "no" | "off" => Ok("false".to_owned()),
                _ => Err(bad()),
            },
            ConfigKey::Priority => value
                .to_ascii_lowercase()
                .parse::<Priority>()
                .map(|priority| priority.to_string())
                .map_err(|_| bad()),
            ConfigKey::After => read_numbers(value).ok_or_else(bad),
        }
    }
}

/// Numbers of issues, as `12, #34`; written back as `12,34`.
fn read_numbers(value: &str) -> Option<String> {
    let words = value.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    let number = |word: &str| word.trim_start_matches('#').parse::<u64>().ok().filter(|number| *number > 0);
    let numbers: Vec<String> = words.map(|word| Some(number(word)?.to_string())).collect::<Option<_>>()?;
    (1..=MAX_NUMBERS).contains(&numbers.len()).then(|| numbers.join(","))
}

/// Most issues that one waits for.
const MAX_NUMBERS: usize = 20;

/// What a person sees of the text behind a prefix. Behind it the text goes on with a paragraph, and in a prompt it begins
/// one: what is hidden in either place goes.
fn seen_after_prefix(whole: &str) -> String {
    let within = visible(&format!("{STAND_IN} {whole}")).text;
    let mut text = within.strip_prefix(STAND_IN).unwrap_or(&within).trim().to_owned();
    for _ in 0..MAX_ROUNDS {
        let next = visible(&text).text.trim().to_owned();
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// Taking the edges off may change what the first line is, and so what is hidden in it. Two rounds are the rule.
const MAX_ROUNDS: usize = 8;

/// A word where the prefix was.
const STAND_IN: &str = "x";

/// What people put behind a word that ends their sentence.
const END_OF_SENTENCE: &[char] = &['.', ',', '!', '?', ':', ';'];

/// A text of more words than this is work, even if its first word is near to a short verb: "post the figures of…".
const SHORT_TEXT: usize = 4;

/// Words that people write alone when they mean a verb. As work they would cost money: "stop" above all.
const OTHER_WORDS: [(&str, Verb); 16] = [
    ("stop", Verb::Cancel),
    ("abort", Verb::Cancel),
    ("halt", Verb::Cancel),
    ("kill", Verb::Cancel),
    ("quit", Verb::Cancel),
    ("yes", Verb::Approve),
    ("ok", Verb::Approve),
    ("okay", Verb::Approve),
    ("lgtm", Verb::Approve),
    ("no", Verb::Reject),
    ("deny", Verb::Reject),
    ("again", Verb::Retry),
    ("redo", Verb::Retry),
    ("rerun", Verb::Retry),
    ("log", Verb::Logs),
    ("costs", Verb::Cost),
];
