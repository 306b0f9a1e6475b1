//! The options of a command and their values.

use cloud_code_task_schema::{BranchName, Usd};

use crate::command_error::{CommandError, echo};
use crate::grammar::RunOption;

/// An option as it was written, known or not.
pub(crate) struct GivenOption<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Option<&'a str>,
}

/// `--name` or `--name=value`. Telephones make one long dash of two hyphens.
pub(crate) fn as_option(word: &str) -> Option<GivenOption<'_>> {
    let body = word.strip_prefix("--").or_else(|| word.strip_prefix(['—', '–']))?;
    if !body.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
    Some(GivenOption { name, value })
}

/// The first of our options that stands as a word of its own in a text, outside of backticks.
pub(crate) fn option_within(line: &str) -> Option<RunOption> {
    let outside_of_code = line.split('`').step_by(2);
    outside_of_code.flat_map(str::split_whitespace).take_while(|word| *word != "--").find_map(|word| {
        let given = as_option(word)?;
        RunOption::ALL.into_iter().find(|option| option.name()[2..] == *given.name)
    })
}

pub(crate) fn set<T>(slot: &mut Option<T>, option: RunOption, value: T) -> Result<(), CommandError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(CommandError::OptionTwice { option: option.name() }),
    }
}

/// Without one pair of quotes or backticks around it.
pub(crate) fn unquoted(word: &str) -> &str {
    ['`', '"', '\'']
        .into_iter()
        .find_map(|quote| word.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(word)
}

/// Longest name of a model. The longest in use name a provider, an account and a date: under 150.
const MAX_MODEL: usize = 200;

pub(crate) fn read_model(word: &str) -> Result<String, CommandError> {
    let is_name = word.len() <= MAX_MODEL
        && !word.starts_with('-')
        && !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@+-[]".contains(&byte));
    if is_name { Ok(word.to_owned()) } else { Err(CommandError::BadModel { word: echo(word) }) }
}

pub(crate) fn read_branch(word: &str) -> Result<BranchName, CommandError> {
    word.parse().map_err(|_| CommandError::BadBranch { word: echo(word) })
}

/// `2`, `2.50`, `$2.50`, `2.50usd`. Nothing that a float also reads: `1e3`, `inf`.
pub(crate) fn read_budget(word: &str) -> Result<Usd, CommandError> {
    let bad = || CommandError::BadBudget { word: echo(word) };
    let lower = word.to_ascii_lowercase();
    let number = lower.strip_prefix('$').unwrap_or(&lower);
    let number = number.strip_suffix("usd").or_else(|| number.strip_suffix('$')).unwrap_or(number).trim_end();
    let is_plain = number.starts_with(|first: char| first.is_ascii_digit())
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let amount = number.parse::<f64>().ok().filter(|_| is_plain).ok_or_else(bad)?;
    let usd = Usd::new(amount).map_err(|_| bad())?;
    // Nothing can be done for nothing.
    if usd.as_f64() > 0.0 { Ok(usd) } else { Err(bad()) }
}
