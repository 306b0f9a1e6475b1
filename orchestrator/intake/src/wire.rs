//! GitHub's JSON, as far as we use it. Nothing outside this crate sees these types.
//!
//! Own thin structs instead of a library's whole models: GitHub adds fields and relaxes others to `null` at any time,
//! and what is not read cannot fail.

use cloud_code_model::{Actor, RepositoryName};
use jiff::Timestamp;
use serde::Deserialize;

use crate::notice::{Head, RepositoryRef, Sender, SenderKind, Verdict};

#[derive(Deserialize)]
pub(crate) struct Id {
    pub(crate) id: u64,
}

#[derive(Deserialize)]
pub(crate) struct User {
    id: u64,
    login: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl User {
    pub(crate) fn into_actor(self) -> Actor {
        Actor { id: self.id, login: self.login }
    }

    pub(crate) fn into_sender(self) -> Sender {
        // An App's login ends in `[bot]`, which no person's can. Either sign is enough.
        let kind = match self.kind.as_deref() {
            _ if self.login.ends_with("[bot]") => SenderKind::Bot,
            Some("User") => SenderKind::User,
            Some("Bot") => SenderKind::Bot,
            Some(_) | None => SenderKind::Other,
        };
        Sender { actor: self.into_actor(), kind }
    }
}

#[derive(Deserialize)]
pub(crate) struct Repository {
    id: u64,
    full_name: RepositoryName,
    default_branch: Option<String>,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    fork: bool,
}

impl From<Repository> for RepositoryRef {
    fn from(wire: Repository) -> Self {
        Self {
            id: wire.id,
            name: wire.full_name,
            default_branch: wire.default_branch,
            archived: wire.archived,
            private: wire.private,
            fork: wire.fork,
        }
    }
}

/// What every event has.
#[derive(Deserialize)]
pub(crate) struct Envelope {
    pub(crate) action: Option<String>,
    pub(crate) installation: Option<Id>,
    pub(crate) repository: Option<Repository>,
    pub(crate) sender: Option<User>,
}

#[derive(Deserialize)]
pub(crate) struct Issue {
    pub(crate) number: u64,
    pub(crate) user: Option<User>,
    pub(crate) body: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// There for a pull request only; what is in it is not read.
    pub(crate) pull_request: Option<serde::de::IgnoredAny>,
    pub(crate) performed_via_github_app: Option<Id>,
}

#[derive(Deserialize)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) user: Option<User>,
    pub(crate) body: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) performed_via_github_app: Option<Id>,
}

#[derive(Deserialize)]
pub(crate) struct Review {
    pub(crate) id: u64,
    pub(crate) user: Option<User>,
    pub(crate) body: Option<String>,
    pub(crate) state: String,
    /// Absent while it is a draft that only its author sees.
    pub(crate) submitted_at: Option<Timestamp>,
    pub(crate) performed_via_github_app: Option<Id>,
}

impl Review {
    /// Lower case in webhooks, upper case in REST.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.state.to_ascii_lowercase().as_str() {
            "approved" => Verdict::Approved,
            "changes_requested" => Verdict::ChangesRequested,
            _ => Verdict::Commented,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct LineComment {
    pub(crate) id: u64,
    pub(crate) in_reply_to_id: Option<u64>,
    pub(crate) pull_request_review_id: Option<u64>,
    pub(crate) user: Option<User>,
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) path: String,
    pub(crate) line: Option<u32>,
    #[serde(default)]
    pub(crate) diff_hunk: String,
    pub(crate) created_at: Timestamp,
    pub(crate) performed_via_github_app: Option<Id>,
}

#[derive(Deserialize)]
pub(crate) struct Pull {
    pub(crate) number: u64,
    pub(crate) user: Option<User>,
    pub(crate) body: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    #[serde(default)]
    pub(crate) merged: bool,
    pub(crate) merged_at: Option<Timestamp>,
    pub(crate) merge_commit_sha: Option<String>,
    pub(crate) head: PullHead,
    pub(crate) performed_via_github_app: Option<Id>,
}

#[derive(Deserialize)]
pub(crate) struct PullHead {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
    repo: Option<Id>,
}

impl From<PullHead> for Head {
    fn from(wire: PullHead) -> Self {
        Self { branch: wire.branch, sha: wire.sha, repository: wire.repo.map(|repo| repo.id) }
    }
}

#[derive(Deserialize)]
pub(crate) struct Label {
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct CheckSuite {
    pub(crate) head_sha: String,
    pub(crate) head_branch: Option<String>,
    pub(crate) conclusion: Option<String>,
    pub(crate) app: App,
    pub(crate) updated_at: Timestamp,
    #[serde(default)]
    pub(crate) pull_requests: Vec<Number>,
}

#[derive(Deserialize)]
pub(crate) struct App {
    pub(crate) id: u64,
    #[serde(default)]
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct Number {
    pub(crate) number: u64,
}

#[derive(Deserialize)]
pub(crate) struct Push {
    #[serde(rename = "ref")]
    pub(crate) name: String,
    pub(crate) before: String,
    pub(crate) after: String,
    #[serde(default)]
    pub(crate) forced: bool,
    #[serde(default)]
    pub(crate) deleted: bool,
}

#[derive(Deserialize)]
pub(crate) struct Installation {
    pub(crate) account: Option<User>,
}
