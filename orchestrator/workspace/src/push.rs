//! Pushes a branch to a forge: compare-and-swap, and safe to call again after a cut connection.
//!
//! git2's push was rejected: it reports success when the server refused the ref.

use cloud_code_task_schema::BranchName;

use crate::credential::Credential;
use crate::ident::{CommitId, head_ref};
use crate::mirror::{Mirror, MirrorError};
use crate::program::{Git, GitError};
use crate::remote::{self, RemoteError, STALL_LIMIT, remote_branch};
use crate::source::Source;

/// What to push.
#[derive(Debug, Clone)]
pub struct PushRequest<'a> {
    /// The project's mirror, which holds the commit.
    pub mirror: &'a Mirror,
    /// Where to push. For a folder on this machine, `deliver` also looks at what is checked out there.
    pub target: &'a Source,
    /// The token, if one is needed.
    pub credential: Option<&'a Credential>,
    /// The branch to make or move there.
    pub branch: &'a BranchName,
    /// The commit it shall stand on.
    pub head: &'a CommitId,
    /// Where it must be there now; none if it must not exist.
    pub expected_old: Option<&'a CommitId>,
}

/// How a push ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushOutcome {
    /// The branch was made or moved.
    Pushed,
    /// It was there already: an earlier call did it, maybe one whose answer was lost.
    AlreadyThere,
}

/// Why a branch was not pushed. Unless the remote was unreachable or it is [`PushError::Mirror`], the remote's branch is as
/// before. The words of a server are untrusted: cleaned of control characters and cut.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Someone else made, moved or removed the branch.
    #[error("the branch `{branch}` in {target} is not where it was expected: found {}", found(actual.as_ref()))]
    Moved {
        /// The branch.
        branch: BranchName,
        /// The remote.
        target: String,
        /// Where it is, if it exists.
        actual: Option<CommitId>,
    },
    /// The remote could not be spoken to, or let us in. When it is [`RemoteError::Unreachable`], the push may have taken effect:
    /// call again, which finds out.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A branch rule or ruleset of the repository forbids it.
    #[error("{target} protects the branch `{branch}`{}", said(words))]
    ProtectedBranch {
        /// The remote.
        target: String,
        /// The branch.
        branch: BranchName,
        /// What the server said.
        words: String,
    },
    /// The token may not change workflow files, and the commits do.
    #[error("{target} does not let this token change workflow files{}", said(words))]
    WorkflowRefused {
        /// The remote.
        target: String,
        /// What the server said.
        words: String,
        /// The file it named, if it named one.
        file: Option<String>,
    },
    /// A hook or rule of the server refused the branch for another reason.
    #[error("{target} refused the branch `{branch}`{}", said(words))]
    Refused {
        /// The remote.
        target: String,
        /// The branch.
        branch: BranchName,
        /// What the server said.
        words: String,
    },
    /// The branch is there, and the mirror could not keep note of it. Call again.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

fn found(actual: Option<&CommitId>) -> &str {
    actual.map_or("no such branch", CommitId::as_str)
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// Pushes the branch if it is where it is expected, and keeps note of where it stands then. Hooks of the server run; none of
/// ours do.
pub fn push(request: &PushRequest<'_>) -> Result<PushOutcome, PushError> {
    let outcome = send(request)?;
    // A process killed before this line pushes again, finds it there, and comes by here.
    request.mirror.note_pushed(request.branch, request.head)?;
    Ok(outcome)
}

fn send(request: &PushRequest<'_>) -> Result<PushOutcome, PushError> {
    let found = remote_branch(request.target, request.credential, request.branch)?;
    if found.as_ref() == Some(request.head) {
        return Ok(PushOutcome::AlreadyThere);
    }
    if found.as_ref() != request.expected_old {
        return Err(request.moved(found));
    }
    let name = head_ref(request.branch);
    let expected = request.expected_old.map_or("", CommitId::as_str);
    let pushed = Git::transport("push", Some(request.mirror.path()))
        .lend(remote::lend(request.target, request.credential)?)
        .stalled_after(STALL_LIMIT)
        .args(["--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--no-signed"])
        .arg(format!("--force-with-lease={name}:{expected}"))
        .arg("--")
        .arg(request.target.as_git_argument())
        .arg(format!("{}:{name}", request.head))
        .run();
    match pushed {
        Ok(_) => Ok(PushOutcome::Pushed),
        Err(source) => request.refused(source),
    }
}

impl PushRequest<'_> {
    fn moved(&self, actual: Option<CommitId>) -> PushError {
        PushError::Moved { branch: self.branch.clone(), target: self.target.to_string(), actual }
    }

    /// Tells why git's push failed. Where the server's own compare-and-swap failed, the ref is looked at once more.
    fn refused(&self, source: GitError) -> Result<PushOutcome, PushError> {
        let GitError::Failed { stdout, stderr, .. } = &source else {
            return Err(RemoteError::of(self.target, source).into());
        };
        let Some(reason) = rejection(&String::from_utf8_lossy(stdout)) else {
            return Err(RemoteError::of(self.target, source).into());
        };
        let words = remote::clean(&format!("{reason} {}", remote::words(stderr)));
        match Rejection::of(&words) {
            Rejection::Stale => {
                let actual = remote_branch(self.target, self.credential, self.branch)?;
                if actual.as_ref() == Some(self.head) {
                    return Ok(PushOutcome::AlreadyThere);
                }
                if actual.as_ref() != self.expected_old {
                    return Err(self.moved(actual));
                }
                Err(self.refusal(words))
            }
            Rejection::Workflow { file } => {
                Err(PushError::WorkflowRefused { target: self.target.to_string(), words, file })
            }
            Rejection::Protected => Err(PushError::ProtectedBranch {
                target: self.target.to_string(),
                branch: self.branch.clone(),
                words,
            }),
            Rejection::Archived => Err(RemoteError::Archived { target: self.target.to_string() }.into()),
            Rejection::Other => Err(self.refusal(words)),
        }
    }

    fn refusal(&self, words: String) -> PushError {
        PushError::Refused { target: self.target.to_string(), branch: self.branch.clone(), words }
    }
}

/// The reason for the one ref. `--porcelain` writes a line a ref: flag, tab, `from:to`, tab, `[kind] (reason)`.
fn rejection(report: &str) -> Option<String> {
    let (_, why) = report.lines().find_map(|line| line.strip_prefix("!\t")?.split_once('\t'))?;
    Some(why.to_owned())
}

#[derive(Debug, PartialEq, Eq)]
enum Rejection {
    Stale,
    Workflow { file: Option<String> },
    Protected,
    Archived,
    Other,
}

impl Rejection {
    fn of(words: &str) -> Self {
        let lower = words.to_ascii_lowercase();
        let says = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
        if lower.contains("refusing to allow") && lower.contains("workflow") {
            // The name stands between backquotes in the words for Apps and tokens, and bare in the oldest ones.
            let quoted = words.split('`').nth(1).map(str::to_owned);
            let file = quoted.or_else(|| {
                let bare = words.split_whitespace().find(|word| word.contains(".github/workflows/"));
                bare.map(|word| word.trim_end_matches(')').to_owned())
            });
            Self::Workflow { file }
        } else if says(&["repository was archived"]) {
            Self::Archived
        } else if says(&["push cannot contain secrets"]) {
            Self::Other
        } else if says(&["gh006", "gh013", "protected branch hook declined", "repository rule violations"]) {
            Self::Protected
        } else if says(&[
            "(stale info)",
            "cannot lock ref",
            "failed to update ref",
            "reference already exists",
            "incorrect old value provided",
            "fetch first",
        ]) {
            Self::Stale
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_forges_are_told_apart() {
        let workflow = |file: &str| Rejection::Workflow { file: Some(file.to_owned()) };
        let ci = ".github/workflows/ci.yml";
        let cases = [
            (format!("[remote rejected] (refusing to allow a GitHub App to create or update workflow `{ci}` without `workflows` permission)"), workflow(ci)),
            (format!("[remote rejected] (refusing to allow a Personal Access Token to create or update workflow `{ci}` without `workflow` scope)"), workflow(ci)),
            (format!("[remote rejected] (refusing to allow an OAuth App to create or update workflow `{ci}` without `workflow` scope)"), workflow(ci)),
            (format!("[remote rejected] (refusing to allow an integration to create or update {ci})"), workflow(ci)),
            ("[remote rejected] (protected branch hook declined) error: GH006: Protected branch update failed for refs/heads/main.".to_owned(), Rejection::Protected),
            ("[remote rejected] (push declined due to repository rule violations) error: GH013: Repository rule violations found".to_owned(), Rejection::Protected),
            ("[remote rejected] (push declined due to repository rule violations) error: GH013: - Push cannot contain secrets".to_owned(), Rejection::Other),
            ("[remote rejected] (pre-receive hook declined)".to_owned(), Rejection::Other),
            ("[rejected] (stale info)".to_owned(), Rejection::Stale),
            ("[remote rejected] (cannot lock ref 'refs/heads/x': is at 1 but expected 2)".to_owned(), Rejection::Stale),
        ];
        for (words, expected) in cases {
            assert_eq!(Rejection::of(&words), expected, "{words}");
        }
        let report = "To http://x\n!\tabc:refs/heads/x\t[remote rejected] (no)\nDone\n";
        assert_eq!(rejection(report).as_deref(), Some("[remote rejected] (no)"));
    }
}
