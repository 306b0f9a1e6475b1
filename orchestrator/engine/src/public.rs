//! What people may read of a failure where everybody can read it.
//!
//! An error of ours is written for whoever looks after this machine: it names files, folders and sockets, and what to type
//! there. On a forge all of that is a leak, and no help. So the words for a forge are chosen here, error by error; the log
//! and `cloud-code status` keep the whole. What a coding CLI or an agent says passes through [`Places`] besides, because it
//! may have seen where it runs.

use std::path::{Path, PathBuf};

use cloud_code_forge::ForgeError;
use cloud_code_task_schema::{Failure, FailureKind};

use crate::catalog::CliError;
use crate::error::{CAUSE, HINT};
use crate::{EngineError, EngineSettings};

/// What is said of trouble that is the machine's own.
const ON_THE_MACHINE: &str = "something is wrong on the machine that runs cloud-code; its log says what";
const ITS_OPERATOR: &str = "whoever looks after that machine can mend it; then ask again";

/// Words for everybody: what is so, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// What happened.
    pub(crate) why: String,
    /// What helps, without an end.
    pub(crate) helps: Vec<String>,
}

impl Words {
    fn new(why: impl Into<String>, helps: &str) -> Self {
        Self { why: why.into(), helps: vec![helps.to_owned()] }
    }

    /// What an error says itself, with its own hint.
    fn of(error: &EngineError) -> Self {
        let text = error.to_string();
        let mut parts = text.split(HINT);
        let why = parts.next().unwrap_or_default().to_owned();
        Self { why, helps: parts.map(str::to_owned).chain(error.hint()).collect() }
    }

    fn without_hints(self) -> Self {
        Self { helps: Vec::new(), ..self }
    }
}

/// Of work that could not be begun.
pub(crate) fn not_begun(error: &EngineError) -> Words {
    match error {
        // Written for whoever asks on a forge.
        EngineError::BaseMoved { .. }
        | EngineError::BranchRewritten { .. }
        | EngineError::NoSuchBase { .. }
        | EngineError::PullFromFork { .. }
        | EngineError::NothingSaid { .. }
        | EngineError::TooLong { .. }
        | EngineError::Cli(CliError::Unknown { .. })
        | EngineError::Forge(
            ForgeError::Archived
            | ForgeError::Locked
            | ForgeError::NoAccess { .. }
            | ForgeError::NotFound { .. }
            | ForgeError::Gone { .. }
            | ForgeError::Forbidden { .. }
            | ForgeError::Moved { .. }
            | ForgeError::TooLong { .. }
            | ForgeError::NothingToMerge
            | ForgeError::Invalid { .. },
        ) => Words::of(error),
        // Their hints are about the command line and the settings.
        EngineError::Cli(CliError::NoCommand | CliError::NoReadOnlyMode { .. })
        | EngineError::BranchUnfit { .. } => Words::of(error).without_hints(),
        EngineError::StillOpen { .. } | EngineError::BeingStopped { .. } => Words::of(error).without_hints(),
        EngineError::EmptyTask => {
            Words::new("the request says nothing", "say what to do in the command itself")
        }
        EngineError::Cleaned { branch, .. } => Words::new(
            format!("the workspace of this work is gone; its branch `{branch}` is kept"),
            "open an issue of its own for what comes next",
        ),
        EngineError::Prompts(_) => Words::new("the project's own prompts cannot be used", ITS_OPERATOR),
        EngineError::NoCredentials { cli, .. } => {
            Words::new(format!("the coding CLI `{cli}` has no credentials"), ITS_OPERATOR)
        }
        EngineError::DiskFull { .. } => {
            Words::new("the disk of the machine that runs cloud-code is full", ITS_OPERATOR)
        }
        EngineError::Exhausted { .. } => {
            Words::new("the machine that runs cloud-code has too much to do", ITS_OPERATOR)
        }
        EngineError::Forge(ForgeError::Auth { .. } | ForgeError::Limited { .. })
        | EngineError::Forge(ForgeError::Unreachable { .. } | ForgeError::Unexpected { .. })
        | EngineError::Driven { .. }
        | EngineError::Store(_)
        | EngineError::SourceName(_)
        | EngineError::Source(_)
        | EngineError::Mirror(_)
        | EngineError::Prepare(_)
        | EngineError::Import(_)
        | EngineError::Deliver(_)
        | EngineError::Rebase(_)
        | EngineError::MoveBranch(_)
        | EngineError::History(_)
        | EngineError::Push(_)
        | EngineError::Diff(_)
        | EngineError::Remove(_)
        | EngineError::Commit(_)
        | EngineError::Runtime(_)
        | EngineError::Document(_)
        | EngineError::Io { .. }
        | EngineError::Head(_)
        | EngineError::AgentMissing { .. }
        | EngineError::SecretNotSet { .. }
        | EngineError::BranchExists { .. }
        | EngineError::Job(_) => Words::new(ON_THE_MACHINE, ITS_OPERATOR),
    }
}

/// Of a task that failed. Kinds that tell of the work show their message, without what lies behind it; kinds that tell of
/// the machine do not.
pub(crate) fn failed(failure: &Failure) -> Words {
    let told = |helps: &str| {
        let mut parts = failure.message.split(HINT);
        let why = parts.next().unwrap_or_default();
        let why = why.split(CAUSE).next().unwrap_or_default().to_owned();
        Words { why, helps: vec![helps.to_owned()] }
    };
    match failure.kind {
        FailureKind::Rejected => told("look at the named commit and path, and ask for the work without it"),
        // The hints are those of `push_hint` and name what the repository's people can do.
        FailureKind::PublishRefused => {
            let hints = failure.message.split(HINT).skip(1).map(str::to_owned);
            let again = "mend what it names, then try again; the work is kept".to_owned();
            let helps = hints.chain([again]).collect();
            Words { helps, ..told("") }
        }
        FailureKind::RateLimited => told("wait for the time it names, then try again"),
        FailureKind::UsageLimit => told("wait until the usage window opens again, or choose another CLI"),
        FailureKind::Overloaded => told("the provider is busy; try again later"),
        FailureKind::ContextTooLong => told("shorten the task, or choose a model with a larger window"),
        FailureKind::Refused => told("word the task differently, or choose another model"),
        FailureKind::ModelUnknown => told("correct the model's name, or leave it out"),
        FailureKind::Timeout => told("allow it more time or split the task; the work so far is kept"),
        FailureKind::Budget => told("allow it more money or split the task; the work so far is kept"),
        FailureKind::MaxTurns => told("split the task; the work so far is kept"),
        FailureKind::VerifyFailed => told("look at the failing command; the work is kept"),
        FailureKind::NoChanges => {
            told("say more precisely what should change, or check that it was not done already")
        }
        FailureKind::Idle | FailureKind::StartTimeout | FailureKind::Crashed => {
            told("try again; if it happens again, whoever looks after cloud-code finds more in its log")
        }
        FailureKind::Network => {
            told("try again; whoever looks after cloud-code can see whether the provider is reached")
        }
        FailureKind::Auth | FailureKind::LoginExpired => {
            told("whoever looks after cloud-code has to renew what the CLI logs in with; then try again")
        }
        FailureKind::Oom => {
            told("whoever looks after cloud-code can allow it more memory; or split the task")
        }
        FailureKind::NotReadOnly => told("ask for the change, if it is wanted"),
        FailureKind::CliMissing => {
            Words::new("the coding CLI cannot be started on the machine that runs cloud-code", ITS_OPERATOR)
        }
        FailureKind::DiskFull => {
            Words::new("the disk of the machine that runs cloud-code is full", ITS_OPERATOR)
        }
        FailureKind::Internal | FailureKind::InvalidTasking => Words::new(ON_THE_MACHINE, ITS_OPERATOR),
    }
}

/// The places of this machine that no text for a forge may name.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    home: String,
    /// With the home folder, longest first.
    all: Vec<String>,
}

/// What stands where a place of this machine stood.
const HIDDEN: &str = "(a place on the host)";

impl Places {
    pub(crate) fn of(settings: &EngineSettings) -> Self {
        let home = settings.layout.home();
        // Not through `environment`: what is read there counts as a secret, and the log has to name this place.
        let user = std::env::home_dir();
        let agent = settings.agent_binary.parent().map(Path::to_owned);
        Self::new(home, user.into_iter().chain(agent))
    }

    fn new(home: &Path, others: impl IntoIterator<Item = PathBuf>) -> Self {
        let home = home.to_string_lossy().trim_end_matches('/').to_owned();
        let others = others.into_iter().map(|path| path.to_string_lossy().trim_end_matches('/').to_owned());
        let mut all: Vec<String> = others.chain([home.clone()]).collect();
        // A lone `/` names nothing.
        all.retain(|place| place.len() > 1 && place.starts_with('/'));
        all.sort_by_key(|place| std::cmp::Reverse(place.len()));
        all.dedup();
        Self { home, all }
    }

    /// The text without those places. A file of a worktree keeps its name in the repository.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, place)) = self.next_in(rest, out.chars().last()) {
            let (before, found) = rest.split_at(at);
            let end = found.get(place.len()..).and_then(|tail| tail.find(ends_a_path));
            let end = end.map_or(found.len(), |end| place.len() + end);
            let (path, after) = found.split_at(end);
            out.push_str(before);
            out.push_str(self.in_repository(path).unwrap_or(HIDDEN));
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// Where the first of the places stands, if any.
    fn next_in(&self, text: &str, before: Option<char>) -> Option<(usize, &str)> {
        let found = self.all.iter().flat_map(|place| {
            text.match_indices(place.as_str()).filter_map(move |(at, _)| {
                let previous = text.get(..at).and_then(|text| text.chars().last()).or(before);
                let next = text.get(at + place.len()..).and_then(|text| text.chars().next());
                // A short one, as `/root`, could be a part of an address.
                let is_whole = place.matches('/').count() > 1 || !previous.is_some_and(is_in_name);
                let goes_on = next.is_some_and(|c| is_in_name(c) && c != '.');
                (is_whole && !goes_on).then_some((at, place.as_str()))
            })
        });
        found.min_by_key(|(at, place)| (*at, std::cmp::Reverse(place.len())))
    }

    /// `src/main.rs` of `HOME/workspaces/shop/42/tree/src/main.rs`.
    fn in_repository<'a>(&self, path: &'a str) -> Option<&'a str> {
        let below = path.strip_prefix(&self.home)?.strip_prefix("/workspaces/")?;
        let name = below.splitn(3, '/').nth(2)?.strip_prefix("tree/")?;
        (!name.is_empty()).then_some(name)
    }
}

const fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

const fn ends_a_path(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '`' | '\'' | '"' | '<' | '>' | '(' | ')' | '[' | ']' | '|' | ',' | ';' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_machine_are_hidden_and_files_of_the_repository_keep_their_names() {
        let places = Places::new(Path::new("/srv/cloud code/home"), ["/root".into(), "/opt/cc/bin".into()]);
        let cases = [
            ("cannot use /opt/cc/bin/agent: no", "cannot use (a place on the host): no"),
            ("see `/root/.ssh/id` and /rooted", "see `(a place on the host)` and /rooted"),
            ("https://example.com/root/shop stays", "https://example.com/root/shop stays"),
            ("unix:///root/x.sock", "unix://(a place on the host)"),
            ("/srv/cloud code/home/workspaces/shop/42/tree/src/a.rs:3", "src/a.rs:3"),
            ("-I/opt/cc/bin", "-I(a place on the host)"),
            ("in /srv/cloud code/home.", "in (a place on the host)"),
        ];
        for (text, expected) in cases {
            assert_eq!(places.hide(text), expected);
        }
    }
}
