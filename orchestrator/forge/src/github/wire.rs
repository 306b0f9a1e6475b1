//! The parts of GitHub's JSON that we read. Anything that GitHub may send as `null` is an `Option` here.

use cloud_code_model::{Actor, RepositoryName};
use jiff::Timestamp;
use serde::Deserialize;

use crate::facts::{
    CommentFacts, CommentHandle, IssueEvent, IssueFacts, LineComment, Mergeable, OpenState, PullFacts,
    PullState, Readiness, ReviewFacts, ReviewState, TextId,
};

#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) login: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

impl User {
    pub(super) fn actor(&self) -> Actor {
        Actor { id: self.id, login: self.login.clone() }
    }

    fn is_bot(&self) -> bool {
        self.kind.as_deref() == Some("Bot")
    }
}

fn actor(user: Option<&User>) -> Option<Actor> {
    user.map(User::actor)
}

fn is_bot(user: Option<&User>) -> bool {
    user.is_some_and(User::is_bot)
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AppRef {
    pub(super) id: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    number: u64,
    node_id: String,
    title: String,
    body: Option<String>,
    user: Option<User>,
    state: String,
    #[serde(default)]
    labels: Vec<IssueLabel>,
    #[serde(default)]
    assignees: Option<Vec<User>>,
    pull_request: Option<serde::de::IgnoredAny>,
    created_at: Timestamp,
    updated_at: Timestamp,
    html_url: String,
    #[serde(default)]
    locked: bool,
}

/// GitHub's description allows a bare name as well.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum IssueLabel {
    Name(String),
    Whole { name: Option<String> },
}

impl From<Issue> for IssueFacts {
    fn from(issue: Issue) -> Self {
        let labels = issue.labels.into_iter().filter_map(|label| match label {
            IssueLabel::Name(name) => Some(name),
            IssueLabel::Whole { name } => name,
        });
        Self {
            text_id: TextId::new(issue.node_id),
            number: issue.number,
            title: issue.title,
            body: issue.body.unwrap_or_default(),
            author: actor(issue.user.as_ref()),
            author_is_bot: is_bot(issue.user.as_ref()),
            state: if issue.state == "open" { OpenState::Open } else { OpenState::Closed },
            labels: labels.collect(),
            assignees: issue.assignees.unwrap_or_default().iter().map(User::actor).collect(),
            is_pull_request: issue.pull_request.is_some(),
            created_at: issue.created_at,
            updated_at: issue.updated_at,
            url: issue.html_url,
            locked: issue.locked,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Comment {
    pub(super) id: u64,
    node_id: String,
    user: Option<User>,
    body: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    html_url: String,
    issue_url: Option<String>,
    performed_via_github_app: Option<AppRef>,
}

impl Comment {
    /// The number at the end of the issue's address.
    pub(super) fn number(&self) -> Option<u64> {
        self.issue_url.as_deref()?.rsplit('/').next()?.parse().ok()
    }

    pub(super) fn is_on_pull_request(&self) -> bool {
        self.html_url.contains("/pull/")
    }
}

impl From<Comment> for CommentFacts {
    fn from(comment: Comment) -> Self {
        Self {
            text_id: TextId::new(comment.node_id),
            id: comment.id,
            author: actor(comment.user.as_ref()),
            author_is_bot: is_bot(comment.user.as_ref()),
            via_app: comment.performed_via_github_app.map(|app| app.id),
            body: comment.body.unwrap_or_default(),
            created_at: comment.created_at,
            updated_at: comment.updated_at,
            url: comment.html_url,
        }
    }
}

/// A comment of either kind, as a write answers it.
#[derive(Debug, Deserialize)]
pub(super) struct Written {
    id: u64,
    html_url: String,
}

impl From<Written> for CommentHandle {
    fn from(written: Written) -> Self {
        Self { id: written.id, url: written.html_url }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ReviewComment {
    id: u64,
    node_id: String,
    pull_request_review_id: Option<u64>,
    path: String,
    line: Option<u32>,
    body: Option<String>,
    user: Option<User>,
    #[serde(default)]
    diff_hunk: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    in_reply_to_id: Option<u64>,
    html_url: String,
    pull_request_url: Option<String>,
}

impl ReviewComment {
    pub(super) fn number(&self) -> Option<u64> {
        self.pull_request_url.as_deref()?.rsplit('/').next()?.parse().ok()
    }
}

impl From<ReviewComment> for LineComment {
    fn from(comment: ReviewComment) -> Self {
        Self {
            text_id: TextId::new(comment.node_id),
            id: comment.id,
            review_id: comment.pull_request_review_id,
            path: comment.path,
            line: comment.line,
            body: comment.body.unwrap_or_default(),
            author: actor(comment.user.as_ref()),
            author_is_bot: is_bot(comment.user.as_ref()),
            diff_hunk: comment.diff_hunk,
            created_at: comment.created_at,
            updated_at: comment.updated_at,
            in_reply_to: comment.in_reply_to_id,
            url: comment.html_url,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    id: u64,
    event: String,
    actor: Option<User>,
    label: Option<EventLabel>,
    assignee: Option<User>,
    created_at: Timestamp,
    performed_via_github_app: Option<AppRef>,
}

#[derive(Debug, Deserialize)]
struct EventLabel {
    name: Option<String>,
}

impl From<Event> for IssueEvent {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            kind: event.event,
            actor_is_bot: is_bot(event.actor.as_ref()),
            actor: actor(event.actor.as_ref()),
            via_app: event.performed_via_github_app.map(|app| app.id),
            label: event.label.and_then(|label| label.name),
            assignee: actor(event.assignee.as_ref()),
            at: event.created_at,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RepositoryRef {
    id: u64,
    full_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Head {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
    repo: Option<RepositoryRef>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pull {
    pub(super) number: u64,
    pub(super) node_id: String,
    html_url: String,
    title: String,
    body: Option<String>,
    user: Option<User>,
    state: String,
    #[serde(default)]
    pub(super) draft: Option<bool>,
    merged_at: Option<Timestamp>,
    pub(super) updated_at: Timestamp,
    head: Head,
    base: Head,
    #[serde(default)]
    mergeable: Option<bool>,
    #[serde(default)]
    mergeable_state: Option<String>,
    #[serde(default)]
    merged_by: Option<User>,
    #[serde(default)]
    pub(super) requested_reviewers: Option<Vec<User>>,
    #[serde(default)]
    pub(super) requested_teams: Option<Vec<Team>>,
    #[serde(default)]
    pub(super) labels: Vec<Label>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Team {
    pub(super) slug: String,
}

impl Pull {
    pub(super) fn is_open(&self) -> bool {
        self.state == "open"
    }
}

impl From<Pull> for PullFacts {
    fn from(pull: Pull) -> Self {
        let same_repository = match (&pull.head.repo, &pull.base.repo) {
            (Some(head), Some(base)) => head.id == base.id,
            _ => false,
        };
        Self {
            number: pull.number,
            url: pull.html_url,
            title: pull.title,
            body: pull.body.unwrap_or_default(),
            author: actor(pull.user.as_ref()),
            state: match (pull.merged_at, pull.state.as_str()) {
                (Some(_), _) => PullState::Merged,
                (None, "open") => PullState::Open,
                (None, _) => PullState::Closed,
            },
            draft: pull.draft.unwrap_or_default(),
            head_sha: pull.head.sha,
            head_branch: pull.head.branch,
            head_repository: pull
                .head
                .repo
                .and_then(|repository| repository.full_name.parse::<RepositoryName>().ok()),
            same_repository,
            base: pull.base.branch,
            updated_at: pull.updated_at,
            mergeable: match pull.mergeable {
                Some(true) => Mergeable::Clean,
                Some(false) => Mergeable::Conflict,
                None => Mergeable::Unknown,
            },
            merged_by: actor(pull.merged_by.as_ref()),
            // GitHub's description calls it a string and says no more; the words are those of its GraphQL `MergeStateStatus`.
            readiness: match pull.mergeable_state.as_deref() {
                Some("clean" | "has_hooks") => Readiness::Clear,
                Some("unstable") => Readiness::Unstable,
                Some("blocked") => Readiness::Blocked,
                Some("behind") => Readiness::Behind,
                Some(_) | None => Readiness::Other,
            },
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Review {
    id: u64,
    node_id: String,
    body: Option<String>,
    state: String,
    pub(super) user: Option<User>,
    submitted_at: Option<Timestamp>,
    commit_id: Option<String>,
    html_url: String,
}

impl From<Review> for ReviewFacts {
    fn from(review: Review) -> Self {
        Self {
            text_id: TextId::new(review.node_id),
            id: review.id,
            body: review.body.unwrap_or_default(),
            // Upper case here, lower case in webhooks.
            state: match review.state.to_ascii_uppercase().as_str() {
                "APPROVED" => ReviewState::Approved,
                "CHANGES_REQUESTED" => ReviewState::ChangesRequested,
                "DISMISSED" => ReviewState::Dismissed,
                "PENDING" => ReviewState::Pending,
                _ => ReviewState::Commented,
            },
            author: actor(review.user.as_ref()),
            author_is_bot: is_bot(review.user.as_ref()),
            submitted_at: review.submitted_at,
            head_sha: review.commit_id,
            url: review.html_url,
            comments: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) full_name: String,
    pub(super) default_branch: String,
    pub(super) clone_url: String,
    pub(super) html_url: String,
    #[serde(default)]
    pub(super) archived: bool,
    pub(super) private: bool,
    pub(super) fork: bool,
    pub(super) permissions: Option<UserPermissions>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UserPermissions {
    #[serde(default)]
    pub(super) push: bool,
    #[serde(default)]
    pub(super) pull: bool,
}
