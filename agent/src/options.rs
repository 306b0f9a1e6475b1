//! The command line: a fixed contract, called by the orchestrator's runtimes and by hand.
//!
//! lexopt rather than clap: the binary is mounted into every container, and clap alone is a quarter of its size.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use cloud_code_task_schema::HumanDuration;
use nix::unistd::{Gid, Uid};

/// Printed by `--help`.
pub(crate) const HELP: &str = "\
cloud-code-agent: watches tasking.yaml, runs the coding CLI, writes reporting.yaml

Usage: cloud-code-agent --control DIR --workspace DIR --home DIR [options]

  --control DIR        the control directory: tasking.yaml, reporting.yaml, events.jsonl, logs/, cli.yaml
  --workspace DIR      the git worktree the CLI works in
  --home DIR           HOME of the CLI
  --user UID:GID       run the CLI as this user (needs root)
  --once               exit 0 as soon as every task of the list has ended
  --secrets-stdin      read {\"env\": {\"NAME\": \"value\"}} from stdin; it reaches only the CLI's environment
  --base-url URL       address of the provider, passed on as cli.yaml says
  --poll DURATION      how often to look without being told (default 5s)
  --grace DURATION     from TERM to KILL (default 10s)
  --max-log-bytes N    cap of each raw log; its beginning and end are kept (default 16777216)
  --version, --help

Without --secrets-stdin the credentials that cli.yaml names are taken from the agent's own environment.
";

/// How often the poll looks when nobody announces a change. Lower costs wake-ups in every idle container;
/// higher delays a task whose announcement was lost.
const DEFAULT_POLL: Duration = Duration::from_secs(5);
/// From TERM to KILL. Claude needs 1.6 s to end its tools; the default of `docker stop` is 10 s as well.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// Cap of a raw log, 16 MiB: hours of a talkative CLI, and a hundred of them fit a small disk.
const DEFAULT_MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;
/// Lowest cap of a raw log; below this there is no room for a beginning, a marker and an end.
const MIN_LOG_BYTES: u64 = 4 * 1024;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Run the loop.
    Run(Options),
    /// Print the version.
    Version,
    /// Print the help.
    Help,
}

/// Settings of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) control: PathBuf,
    pub(crate) workspace: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) user: Option<(Uid, Gid)>,
    pub(crate) lifetime: Lifetime,
    pub(crate) credentials: CredentialSource,
    pub(crate) base_url: Option<String>,
    pub(crate) poll: Duration,
    pub(crate) grace: Duration,
    pub(crate) max_log_bytes: u64,
}

/// When the agent ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// When every task of the list has ended.
    Once,
    /// Never.
    Lingering,
}

/// Where credentials come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialSource {
    /// A JSON document on stdin.
    Stdin,
    /// The agent's own environment.
    Environment,
}

/// Why the command line was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    /// An argument that does not fit.
    #[error("{0}; see cloud-code-agent --help")]
    Syntax(#[from] lexopt::Error),
    /// A needed option is absent.
    #[error("{0} is missing; see cloud-code-agent --help")]
    Missing(&'static str),
    /// A value that cannot be used.
    #[error("{option}: {problem}")]
    Value {
        /// Which option.
        option: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// Reads the arguments, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, OptionsError> {
    use lexopt::prelude::{Long, ValueExt as _};
    let mut parser = lexopt::Parser::from_args(args);
    let (mut control, mut workspace, mut home) = (None, None, None);
    let (mut user, mut base_url) = (None, None);
    let (mut poll, mut grace, mut max_log_bytes) = (DEFAULT_POLL, DEFAULT_GRACE, DEFAULT_MAX_LOG_BYTES);
    let (mut lifetime, mut credentials) = (Lifetime::Lingering, CredentialSource::Environment);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("control") => control = Some(PathBuf::from(parser.value()?)),
            Long("workspace") => workspace = Some(PathBuf::from(parser.value()?)),
            Long("home") => home = Some(PathBuf::from(parser.value()?)),
            Long("user") => user = Some(parse_user(&parser.value()?.string()?)?),
            Long("once") => lifetime = Lifetime::Once,
            Long("secrets-stdin") => credentials = CredentialSource::Stdin,
            // What is joined to it brings its own slash.
            Long("base-url") => base_url = Some(parser.value()?.string()?.trim_end_matches('/').to_owned()),
            Long("poll") => poll = parse_duration("--poll", &parser.value()?.string()?)?,
            Long("grace") => grace = parse_duration("--grace", &parser.value()?.string()?)?,
            Long("max-log-bytes") => max_log_bytes = parser.value()?.parse()?,
            Long("version") => return Ok(Request::Version),
            Long("help") => return Ok(Request::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    if max_log_bytes < MIN_LOG_BYTES {
        let problem = format!("{max_log_bytes} is too small: give at least {MIN_LOG_BYTES} bytes");
        return Err(OptionsError::Value { option: "--max-log-bytes", problem });
    }
    Ok(Request::Run(Options {
        control: absolute("--control", control)?,
        workspace: absolute("--workspace", workspace)?,
        home: absolute("--home", home)?,
        user,
        lifetime,
        credentials,
        base_url,
        poll,
        grace,
        max_log_bytes,
    }))
}

fn absolute(option: &'static str, path: Option<PathBuf>) -> Result<PathBuf, OptionsError> {
    let path = path.ok_or(OptionsError::Missing(option))?;
    std::path::absolute(path).map_err(|error| OptionsError::Value { option, problem: error.to_string() })
}

fn parse_duration(option: &'static str, text: &str) -> Result<Duration, OptionsError> {
    text.parse::<HumanDuration>()
        .map(HumanDuration::as_duration)
        .map_err(|error| OptionsError::Value { option, problem: error.to_string() })
}

fn parse_user(text: &str) -> Result<(Uid, Gid), OptionsError> {
    let bad = || OptionsError::Value {
        option: "--user",
        problem: format!("`{}` is not UID:GID with two numbers, such as 1000:1000", text.escape_debug()),
    };
    let (uid, gid) = text.split_once(':').ok_or_else(bad)?;
    let uid: u32 = uid.parse().map_err(|_| bad())?;
    let gid: u32 = gid.parse().map_err(|_| bad())?;
    if uid == 0 {
        let problem = "the CLI never runs as root: give the uid that owns the worktree".to_owned();
        return Err(OptionsError::Value { option: "--user", problem });
    }
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Request, OptionsError> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn root_is_refused_as_the_user_of_the_cli() {
        let error =
            read(&["--control", "/c", "--workspace", "/w", "--home", "/h", "--user", "0:0"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--user: the CLI never runs as root: give the uid that owns the worktree"
        );
    }

    #[test]
    fn a_missing_option_is_named() {
        assert_eq!(read(&[]).unwrap_err().to_string(), "--control is missing; see cloud-code-agent --help");
    }

    #[test]
    fn durations_are_written_as_in_the_contract() {
        let args = ["--control=/c", "--workspace=/w", "--home=/h", "--grace", "500ms", "--once", "--poll=1m"];
        let Ok(Request::Run(options)) = read(&args) else { panic!("refused") };
        assert_eq!((options.grace, options.poll), (Duration::from_millis(500), Duration::from_secs(60)));
        assert_eq!(options.lifetime, Lifetime::Once);
    }
}
