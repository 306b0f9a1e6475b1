//! What can be wrong with a command, and what to write instead.
//!
//! The words of the comment are repeated in our answer, so they are cut to one short line that can neither leave its
//! code span nor mention anybody.

use cloud_code_model::ConfigKey;

/// Why a text that begins as a command is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A CLI was meant, but there is none of that name.
    #[error("unknown CLI `{word}`{}", did_you_mean(suggestion.as_deref()))]
    UnknownCli {
        /// What was written.
        word: String,
        /// What may have been meant.
        suggestion: Option<String>,
        /// Those there are.
        known: Vec<String>,
    },
    /// `handoff` to whom?
    #[error("`handoff` needs the CLI that takes over")]
    MissingCli {
        /// Those there are.
        known: Vec<String>,
    },
    /// `--model` at the end of the line, or before another option.
    #[error("the option `{option}` has no value")]
    OptionWithoutValue {
        /// Which.
        option: &'static str,
    },
    /// The verb has no such option.
    #[error("`{verb}` has no option `{word}`{}", did_you_mean(suggestion.as_deref()))]
    UnknownOption {
        /// The verb.
        verb: &'static str,
        /// What was written.
        word: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// Which of the two?
    #[error("the option `{option}` is there twice")]
    OptionTwice {
        /// Which.
        option: &'static str,
    },
    /// `fix it --budget 2`: taken as text, the limit would be lost.
    #[error("the option `{option}` stands within the text")]
    OptionAfterText {
        /// Which.
        option: &'static str,
    },
    /// Not the name of a model.
    #[error("`{word}` is not the name of a model")]
    BadModel {
        /// What was written.
        word: String,
    },
    /// Not the name of a branch.
    #[error("`{word}` is not the name of a git branch")]
    BadBranch {
        /// What was written.
        word: String,
    },
    /// Not an amount of money.
    #[error("`{word}` is not an amount of US dollars")]
    BadBudget {
        /// What was written.
        word: String,
    },
    /// `ask` what?
    #[error("`{verb}` needs a text")]
    MissingText {
        /// The verb.
        verb: &'static str,
    },
    /// `approve the plan but…`: the rest would be lost.
    #[error("`{verb}` takes no more words, and `{words}` follows")]
    ExtraWords {
        /// The verb.
        verb: &'static str,
        /// What follows.
        words: String,
    },
    /// Which one?
    #[error("there are {count} commands in one text")]
    SeveralCommands {
        /// How many.
        count: usize,
    },
    /// Nearly a verb, or another word for one. Taken as work it would cost money and do nothing that was meant.
    #[error("`{word}` is not a command, did you mean `{verb}`?")]
    MistypedVerb {
        /// What was written.
        word: String,
        /// What may have been meant.
        verb: &'static str,
    },
    /// `config` what?
    #[error("`config` needs a setting and its value")]
    MissingKey,
    /// No such setting.
    #[error("there is no setting `{word}`{}", did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// What was written.
        word: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// Set to what?
    #[error("the setting `{key}` needs a value")]
    MissingValue {
        /// Which.
        key: ConfigKey,
    },
    /// It cannot be that.
    #[error("the setting `{key}` cannot be `{word}`")]
    BadValue {
        /// Which.
        key: ConfigKey,
        /// What was written.
        word: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|word| format!(", did you mean `{word}`?")).unwrap_or_default()
}

impl CommandError {
    /// What to write.
    pub fn hint(&self, prefix: &str) -> Option<String> {
        let line = |rest: &str| format!("write `{prefix} {rest}`");
        Some(match self {
            Self::UnknownCli { known, .. } => {
                format!("{}; to have it read as text, write `{prefix} run -- …`", known_clis(known))
            }
            Self::MissingCli { known } => format!("{}; {}", line("handoff <cli> [text]"), known_clis(known)),
            Self::OptionWithoutValue { option } => line(&format!("run {option} VALUE")),
            Self::UnknownOption { verb: "run", .. } => {
                "the options are `--model`, `--base` and `--budget`; what follows `--` is text".to_owned()
            }
            Self::UnknownOption { verb, .. } => {
                format!("only `run` has options; begin the text of `{verb}` with another word")
            }
            Self::OptionTwice { option } => format!("write `{option}` once"),
            Self::OptionAfterText { option } => {
                format!("write options before the text; to have `{option}` read as text, put it in backticks")
            }
            Self::BadModel { .. } => {
                "write the model's name as its CLI knows it, without spaces, at most 200 characters"
                    .to_owned()
            }
            Self::BadBranch { .. } => "write the branch as git lists it, such as `main`".to_owned(),
            Self::BadBudget { .. } => line("run --budget 2.50"),
            Self::MissingText { verb } => line(&format!("{verb} <text>")),
            Self::ExtraWords { verb, .. } => {
                format!(
                    "for the command, write `{prefix} {verb}` alone; for work, write `{prefix} run <text>`"
                )
            }
            Self::SeveralCommands { .. } => "write one command in a comment".to_owned(),
            Self::MistypedVerb { verb, .. } => {
                format!("for the command, write `{prefix} {verb}`; for work, write `{prefix} run <text>`")
            }
            Self::MissingKey | Self::UnknownKey { .. } => {
                let keys: Vec<_> = ConfigKey::ALL.iter().map(|key| format!("`{key}`")).collect();
                format!("{}; the settings are {}", line("config <key> <value>"), keys.join(", "))
            }
            Self::MissingValue { key } | Self::BadValue { key, .. } => {
                format!("its value is {}; `default` takes it back", crate::grammar::config_help(*key))
            }
        })
    }
}

fn known_clis(known: &[String]) -> String {
    if known.is_empty() {
        return "no CLI is set up".to_owned();
    }
    let quoted: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("the CLIs are {}", quoted.join(", "))
}

/// Longest piece of a comment that an answer repeats.
const MAX_ECHO: usize = 40;

/// A stranger's words, fit for a code span.
pub(crate) fn echo(words: &str) -> String {
    let shown: String = words
        .chars()
        .filter(|character| !character.is_control() && *character != '`')
        .take(MAX_ECHO + 1)
        .collect();
    match shown.char_indices().nth(MAX_ECHO) {
        Some((cut, _)) => format!("{}…", &shown[..cut]),
        None if shown.trim().is_empty() => "?".to_owned(),
        None => shown,
    }
}
