//! What a remote says, and how its refusals are told apart.
//!
//! git reports over http by words alone. They are stable for a program that runs with `LC_ALL=C`; lines that the
//! server wrote (`remote: …`) are kept apart from git's own, so that a server cannot pass for git.

use std::time::Duration;

use cloud_code_task_schema::BranchName;

use crate::credential::{Credential, Lent};
use crate::ident::{CommitId, head_ref};
use crate::program::{Git, GitError};
use crate::source::Source;

/// Longest time to ask where a branch stands: the answer is one short list, so more means that the server hangs.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// How long a transfer may stand still. A forge that checks a large push sends a sign of life every few seconds.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(120);
/// Most characters kept of what a server says.
const MAX_WORDS: usize = 2000;

/// Why a remote gave or took nothing. Its words are untrusted: cleaned of control characters and cut.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The token was refused: it is wrong, expired, or there is none and one is needed.
    #[error("{target} did not accept the token{}", said(words))]
    Auth {
        /// The remote.
        target: String,
        /// What it said.
        words: String,
    },
    /// The token is good, but may not do this.
    #[error("{target} does not permit this{}", said(words))]
    Denied {
        /// The remote.
        target: String,
        /// What it said.
        words: String,
    },
    /// It is gone, or is hidden from whoever owns the token.
    #[error("there is no repository at {target}, or no access to it")]
    NotFound {
        /// The remote.
        target: String,
    },
    /// It is archived, and so read-only.
    #[error("{target} is archived and cannot be changed")]
    Archived {
        /// The remote.
        target: String,
    },
    /// It answers from another address: renamed or transferred. A token is never sent after a redirect.
    #[error("{target} has moved to another address")]
    Redirected {
        /// The remote.
        target: String,
    },
    /// A token may go over https, or to this machine, and nowhere else.
    #[error("a token cannot be sent to {target}; use an https URL")]
    NotForTokens {
        /// The remote.
        target: String,
    },
    /// No answer, or none that was whole. It may be tried again.
    #[error("cannot reach {target}")]
    Unreachable {
        /// The remote.
        target: String,
        /// git's reason.
        #[source]
        source: GitError,
    },
    /// git failed for another reason.
    #[error("git cannot work with {target}")]
    Git {
        /// The remote.
        target: String,
        /// git's reason.
        #[source]
        source: GitError,
    },
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// Lends a credential to a run against `target`.
pub(crate) fn lend(target: &Source, credential: Option<&Credential>) -> Result<Option<Lent>, RemoteError> {
    let Some(credential) = credential else { return Ok(None) };
    match credential.lend(target) {
        Some(lent) => Ok(Some(lent)),
        None => Err(RemoteError::NotForTokens { target: target.to_string() }),
    }
}

impl RemoteError {
    /// Tells a failed run's reason.
    pub(crate) fn of(target: &Source, source: GitError) -> Self {
        let target = target.to_string();
        let GitError::Failed { stderr, .. } = &source else {
            return match source {
                GitError::TimedOut { .. } => Self::Unreachable { target, source },
                _ => Self::Git { target, source },
            };
        };
        let words = words(stderr);
        if words.to_ascii_lowercase().contains("repository was archived") {
            return Self::Archived { target };
        }
        match Reason::of(stderr) {
            Reason::Auth => Self::Auth { target, words },
            Reason::Denied => Self::Denied { target, words },
            Reason::NotFound => Self::NotFound { target },
            Reason::Redirected => Self::Redirected { target },
            Reason::Unreachable => Self::Unreachable { target, source },
            Reason::Unknown => Self::Git { target, source },
        }
    }
}

enum Reason {
    Auth,
    Denied,
    NotFound,
    Redirected,
    Unreachable,
    Unknown,
}

impl Reason {
    fn of(stderr: &str) -> Self {
        let own: Vec<&str> = stderr.lines().filter(|line| !line.starts_with(REMOTE)).collect();
        // With neither helper nor terminal, a 401 ends in a question that nobody answers.
        let questions = [
            "terminal prompts disabled",
            "Authentication failed for",
            "could not read Username",
            "could not read Password",
        ];
        let broken = [
            "Could not resolve host",
            "Could not resolve proxy",
            "Failed to connect",
            "Couldn't connect",
            "Connection refused",
            "Connection reset",
            "Connection timed out",
            "Operation timed out",
            "Operation too slow",
            "Recv failure",
            "Send failure",
            "Empty reply from server",
            "hung up unexpectedly",
            "unexpected disconnect",
            "early EOF",
            "transfer closed with",
            "Network is unreachable",
            "No route to host",
            "SSL connection timeout",
            "unexpected eof while reading",
            "invalid index-pack output",
        ];
        let says = |words: &[&str]| own.iter().any(|line| words.iter().any(|word| line.contains(word)));
        match own.iter().find_map(|line| status(line)) {
            Some(401) => return Self::Auth,
            // The server had let us in when it listed its refs, so this is no lack of rights but a limit: GitHub has one
            // status for both, and git keeps what the server said here to itself.
            Some(403) if own.iter().any(|line| line.contains("RPC failed; HTTP 403")) => {
                return Self::Unreachable;
            }
            Some(403) => return Self::Denied,
            Some(404 | 410) => return Self::NotFound,
            Some(300..=399) => return Self::Redirected,
            Some(408 | 429 | 500..) => return Self::Unreachable,
            _ => {}
        }
        if says(&questions) {
            Self::Auth
        } else if own.iter().any(|line| {
            (line.starts_with("fatal: repository '") && line.ends_with("' not found"))
                || line.contains("does not appear to be a git repository")
        }) {
            Self::NotFound
        } else if says(&broken) {
            Self::Unreachable
        } else {
            Self::Unknown
        }
    }
}

const REMOTE: &str = "remote:";

/// The http status in one of git's own lines.
fn status(line: &str) -> Option<u16> {
    let rest = ["The requested URL returned error: ", "RPC failed; HTTP "]
        .iter()
        .find_map(|mark| line.split_once(mark).map(|(_, rest)| rest))?;
    rest.get(..3)?.parse().ok()
}

/// What the server said, as one line of printable text.
pub(crate) fn words(stderr: &str) -> String {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix(REMOTE));
    let text = lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    clean(&text)
}

/// Printable text of bounded length.
pub(crate) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect::<String>().trim().to_owned()
}

/// The commit a remote's branch stands on, or none if there is no such branch. Waits a minute at most.
pub fn remote_branch(
    target: &Source,
    credential: Option<&Credential>,
    branch: &BranchName,
) -> Result<Option<CommitId>, RemoteError> {
    look(target, credential, branch, LOOK_LIMIT)
}

fn look(
    target: &Source,
    credential: Option<&Credential>,
    branch: &BranchName,
    limit: Duration,
) -> Result<Option<CommitId>, RemoteError> {
    let name = head_ref(branch);
    let out = Git::transport("ls-remote", None)
        .lend(lend(target, credential)?)
        .stalled_after(limit / 2)
        .limit(limit)
        .args(["--refs", "--"])
        .arg(target.as_git_argument())
        .arg(&name)
        .run()
        .map_err(|source| RemoteError::of(target, source))?;
    let text = String::from_utf8_lossy(&out);
    // git takes the name for a pattern that also fits the end of a longer name.
    let line = text.lines().filter_map(|line| line.split_once('\t')).find(|(_, found)| *found == name);
    Ok(line.and_then(|(id, _)| id.parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_server_that_never_answers_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = Source::parse(&format!("http://{}/o/r", listener.local_addr().expect("an address")))
            .expect("a URL");
        let branch = BranchName::try_from("main".to_owned()).expect("a name");
        let start = Instant::now();
        let error = look(&target, None, &branch, Duration::from_millis(300)).expect_err("no answer");
        assert!(
            matches!(error, RemoteError::Unreachable { source: GitError::TimedOut { .. }, .. }),
            "{error:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }

    #[test]
    fn a_refusal_after_the_refs_were_listed_can_pass() {
        let limited = "error: RPC failed; HTTP 403 curl 22 The requested URL returned error: 403\nsend-pack: unexpected disconnect while reading sideband packet";
        assert!(matches!(Reason::of(limited), Reason::Unreachable));
        let denied = "remote: Permission to acme/shop.git denied to bob.\nfatal: unable to access 'x': The requested URL returned error: 403";
        assert!(matches!(Reason::of(denied), Reason::Denied));
    }

    #[test]
    fn a_server_cannot_pass_for_git() {
        let said = "remote: fatal: The requested URL returned error: 403\nfatal: unable to access 'x': The requested URL returned error: 503";
        assert!(matches!(Reason::of(said), Reason::Unreachable));
        assert_eq!(words("remote: a\u{1b}[31mb\nremote:\nfatal: c\nremote:   d\n"), "a[31mb d");
    }
}
