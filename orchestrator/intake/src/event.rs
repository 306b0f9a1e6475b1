//! From a webhook's body to a [`Notice`].
//!
//! Events and actions that we have no use for are no errors: GitHub adds new ones whenever it likes, and a webhook that
//! answers with an error is one that people go and look at. Only an event of ours that lacks what it must have is
//! [`Unreadable`].

use cloud_code_model::Subject;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::notice::{Conclusion, Happening, InstallationChange, Notice, Said, SaidAt, Thing};
use crate::wire;

/// An event of ours that is not as GitHub describes it. Carries no text of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or a field is missing or has another type.
    #[error("a delivery of the event `{event}` cannot be read at line {line}, column {column}: {what}")]
    Body {
        /// The event.
        event: String,
        /// Where in the body.
        line: usize,
        /// Where in the line.
        column: usize,
        /// What kind of trouble.
        what: &'static str,
    },
}

/// Reads the body of one delivery.
pub fn read(event: &str, body: &[u8]) -> Result<Notice, Unreadable> {
    let envelope: wire::Envelope = parse(event, body)?;
    let action = envelope.action.unwrap_or_default();
    let (happening, via_app) = happening(event, &action, body)?;
    Ok(Notice {
        installation: envelope.installation.map(|installation| installation.id),
        repository: envelope.repository.map(Into::into),
        sender: envelope.sender.map(wire::User::into_sender),
        via_app,
        happening,
    })
}

pub(crate) fn parse<T: DeserializeOwned>(event: &str, body: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable::Body {
        event: event.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect(),
        line: error.line(),
        column: error.column(),
        // serde's own message may quote the value it stumbled over.
        what: match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Syntax => "it is not JSON",
            serde_json::error::Category::Data | serde_json::error::Category::Io => {
                "a field is missing or has another type than GitHub's description gives it"
            }
        },
    })
}

type Read = (Happening, Option<u64>);

fn happening(event: &str, action: &str, body: &[u8]) -> Result<Read, Unreadable> {
    match event {
        "ping" => Ok((Happening::Ping, None)),
        "issues" => issues(action, body),
        "issue_comment" => issue_comment(action, body),
        "pull_request" => pull_request(action, body),
        "pull_request_review" => review(action, body),
        "pull_request_review_comment" => line_comment(action, body),
        "check_suite" => check_suite(action, body),
        "push" => push(body),
        "repository" => Ok((repository(action), None)),
        "installation" => installation(action, body),
        "installation_repositories" => installation_repositories(body),
        _ => Ok((Happening::Ignored { why: format!("the event `{event}` is of no use here") }, None)),
    }
}

fn unused(event: &str, action: &str) -> Read {
    (Happening::Ignored { why: format!("`{event}` with the action `{action}` is of no use here") }, None)
}

#[derive(Deserialize)]
struct IssuesBody {
    issue: wire::Issue,
    label: Option<wire::Label>,
    assignee: Option<wire::User>,
    changes: Option<Changes>,
}

#[derive(Deserialize)]
struct Changes {
    /// There when the issue was moved here; what is in it is not read.
    old_issue: Option<serde::de::IgnoredAny>,
}

fn issues(action: &str, body: &[u8]) -> Result<Read, Unreadable> {
    if !matches!(
        action,
        "opened"
            | "labeled"
            | "unlabeled"
            | "assigned"
            | "unassigned"
            | "closed"
            | "reopened"
            | "deleted"
            | "transferred"
            | "edited"
    ) {
        return Ok(unused("issues", action));
    }
    let IssuesBody { issue, label, assignee, changes } = parse("issues", body)?;
    if action == "opened" {
        // What its text asked for, it asked of the repository that it came from.
        if changes.is_some_and(|changes| changes.old_issue.is_some()) {
            return Ok((Happening::Ignored { why: "the issue was moved here".to_owned() }, None));
        }
        return Ok(issue_opened(issue));
    }
    // Through which App the *issue* was opened says nothing of who labels it now.
    Ok((on_thing("issues", action, issue_thing(issue), label, assignee), None))
}

/// What both issues and pull requests have in common, beside being opened.
fn on_thing(
    event: &str,
    action: &str,
    thing: Thing,
    label: Option<wire::Label>,
    assignee: Option<wire::User>,
) -> Happening {
    match (action, label, assignee) {
        ("labeled", Some(label), _) => Happening::Labeled { thing, label: label.name },
        ("unlabeled", Some(label), _) => Happening::Unlabeled { thing, label: label.name },
        ("assigned", _, Some(user)) => Happening::Assigned { thing, assignee: user.into_actor() },
        ("unassigned", _, Some(user)) => Happening::Unassigned { thing, assignee: user.into_actor() },
        ("closed", ..) => Happening::IssueClosed(thing),
        ("reopened", ..) => Happening::IssueReopened(thing),
        ("deleted", ..) => Happening::IssueDeleted(thing),
        ("transferred", ..) => Happening::IssueTransferred(thing),
        ("edited", ..) => Happening::IssueEdited(thing),
        // The label was deleted, or the account: GitHub leaves the field out.
        _ => Happening::Ignored {
            why: format!("`{event}` with the action `{action}` does not say what or whom"),
        },
    }
}

pub(crate) fn issue_opened(issue: wire::Issue) -> Read {
    let subject = subject(issue.pull_request.is_some());
    let author = issue.user.map(wire::User::into_sender);
    let said = Said {
        at: SaidAt::Opening,
        number: issue.number,
        subject,
        opened_by: author.as_ref().map(|sender| sender.actor.clone()),
        author,
        text: issue.body.unwrap_or_default(),
        created_at: issue.created_at,
        changed_at: None,
        head: None,
    };
    (Happening::Said(said), issue.performed_via_github_app.map(|app| app.id))
}

pub(crate) fn issue_thing(issue: wire::Issue) -> Thing {
    Thing {
        number: issue.number,
        subject: subject(issue.pull_request.is_some()),
        opened_by: issue.user.map(wire::User::into_actor),
        updated_at: issue.updated_at,
    }
}

pub(crate) const fn subject(is_pull_request: bool) -> Subject {
    if is_pull_request { Subject::PullRequest } else { Subject::Issue }
}

#[derive(Deserialize)]
struct IssueCommentBody {
    issue: wire::Issue,
    comment: wire::Comment,
}

fn issue_comment(action: &str, body: &[u8]) -> Result<Read, Unreadable> {
    if !matches!(action, "created" | "edited" | "deleted") {
        return Ok(unused("issue_comment", action));
    }
    let IssueCommentBody { issue, comment } = parse("issue_comment", body)?;
    let (id, number) = (comment.id, issue.number);
    Ok(match action {
        "edited" => (Happening::CommentEdited { id, number }, None),
        "deleted" => (Happening::CommentDeleted { id, number }, None),
        _ => {
            let via_app = comment.performed_via_github_app.map(|app| app.id);
            let said = Said {
                at: SaidAt::Comment { id },
                number,
                subject: subject(issue.pull_request.is_some()),
                author: comment.user.map(wire::User::into_sender),
                opened_by: issue.user.map(wire::User::into_actor),
                text: comment.body.unwrap_or_default(),
                created_at: comment.created_at,
                changed_at: None,
                head: None,
            };
            (Happening::Said(said), via_app)
        }
    })
}

#[derive(Deserialize)]
struct PullBody {
    pull_request: wire::Pull,
    label: Option<wire::Label>,
    assignee: Option<wire::User>,
}

fn pull_request(action: &str, body: &[u8]) -> Result<Read, Unreadable> {
    if !matches!(
        action,
        "opened"
            | "labeled"
            | "unlabeled"
            | "assigned"
            | "unassigned"
            | "closed"
            | "reopened"
            | "synchronize"
            | "ready_for_review"
            | "edited"
    ) {
        return Ok(unused("pull_request", action));
    }
    let PullBody { pull_request: pull, label, assignee } = parse("pull_request", body)?;
    if action == "opened" {
        let author = pull.user.map(wire::User::into_sender);
        let said = Said {
            at: SaidAt::Opening,
            number: pull.number,
            subject: Subject::PullRequest,
            opened_by: author.as_ref().map(|sender| sender.actor.clone()),
            author,
            text: pull.body.unwrap_or_default(),
            created_at: pull.created_at,
            changed_at: None,
            head: Some(pull.head.into()),
        };
        return Ok((Happening::Said(said), pull.performed_via_github_app.map(|app| app.id)));
    }
    let merged = pull.merged || pull.merged_at.is_some();
    let thing = Thing {
        number: pull.number,
        subject: Subject::PullRequest,
        opened_by: pull.user.map(wire::User::into_actor),
        updated_at: pull.updated_at,
    };
    let head = pull.head.into();
    let happening = match action {
        // `merge_commit_sha` of an open or refused pull request is a trial merge that nobody keeps.
        "closed" => {
            Happening::PullClosed { thing, merged, head, merge_sha: pull.merge_commit_sha.filter(|_| merged) }
        }
        "reopened" => Happening::PullReopened { thing, head },
        "synchronize" => Happening::PullSynchronized { thing, head },
        "ready_for_review" => Happening::PullReadyForReview { thing, head },
        "edited" => Happening::PullEdited(thing),
        _ => on_thing("pull_request", action, thing, label, assignee),
    };
    Ok((happening, None))
}

/// The short form of a pull request in events about reviews.
#[derive(Deserialize)]
struct ReviewedPull {
    number: u64,
    user: Option<wire::User>,
    head: wire::PullHead,
}

#[derive(Deserialize)]
struct ReviewBody {
    review: wire::Review,
    pull_request: ReviewedPull,
}

fn review(action: &str, body: &[u8]) -> Result<Read, Unreadable> {
    if !matches!(action, "submitted" | "edited" | "dismissed") {
        return Ok(unused("pull_request_review", action));
    }
    let ReviewBody { review, pull_request: pull } = parse("pull_request_review", body)?;
    let (id, number) = (review.id, pull.number);
    match (action, review.submitted_at) {
        ("edited", _) => Ok((Happening::ReviewEdited { id, number }, None)),
        ("dismissed", _) => Ok((Happening::ReviewDismissed { id, number }, None)),
        (_, None) => Ok((Happening::Ignored { why: "the review is not submitted yet".to_owned() }, None)),
        (_, Some(submitted_at)) => {
            let verdict = review.verdict();
            let via_app = review.performed_via_github_app.map(|app| app.id);
            let said = Said {
                at: SaidAt::Review { id, verdict },
                number,
                subject: Subject::PullRequest,
                author: review.user.map(wire::User::into_sender),
                opened_by: pull.user.map(wire::User::into_actor),
                text: review.body.unwrap_or_default(),
                created_at: submitted_at,
                changed_at: None,
                head: Some(pull.head.into()),
            };
            Ok((Happening::Said(said), via_app))
        }
    }
}

#[derive(Deserialize)]
struct LineCommentBody {
    comment: wire::LineComment,
    pull_request: ReviewedPull,
}

fn line_comment(action: &str, body: &[u8]) -> Result<Read, Unreadable> {
    if !matches!(action, "created" | "edited" | "deleted") {
        return Ok(unused("pull_request_review_comment", action));
    }
    let LineCommentBody { comment, pull_request: pull } = parse("pull_request_review_comment", body)?;
    let (id, number) = (comment.id, pull.number);
    Ok(match action {
        "edited" => (Happening::LineEdited { id, number }, None),
        "deleted" => (Happening::LineDeleted { id, number }, None),
        _ => {
            let opened_by = pull.user.map(wire::User::into_actor);
            let (mut said, via_app) = line_said(comment, number);
            said.opened_by = opened_by;
            said.head = Some(pull.head.into());
            (Happening::Said(said), via_app)
        }
    })
}

pub(crate) fn line_said(comment: wire::LineComment, number: u64) -> (Said, Option<u64>) {
    let via_app = comment.performed_via_github_app.map(|app| app.id);
    let said = Said {
        at: SaidAt::Line {
            id: comment.id,
            thread: comment.in_reply_to_id.unwrap_or(comment.id),
            review: comment.pull_request_review_id,
            path: comment.path,
            line: comment.line,
            diff_hunk: comment.diff_hunk,
        },
        number,
        subject: Subject::PullRequest,
        author: comment.user.map(wire::User::into_sender),
        opened_by: None,
        text: comment.body.unwrap_or_default(),
        created_at: comment.created_at,
        changed_at: None,
        head: None,
    };
    (said, via_app)
}

#[derive(Deserialize)]
struct CheckSuiteBody {
    check_suite: wire::CheckSuite,
}

fn check_suite(action: &str, body: &[u8]) -> Result<Read, Unreadable> {
    if action != "completed" {
        return Ok(unused("check_suite", action));
    }
    let CheckSuiteBody { check_suite: suite } = parse("check_suite", body)?;
    let conclusion = match suite.conclusion.as_deref() {
        Some("success") => Conclusion::Success,
        Some("failure") => Conclusion::Failure,
        Some("timed_out") => Conclusion::TimedOut,
        Some("startup_failure") => Conclusion::StartupFailure,
        Some(_) | None => Conclusion::Other,
    };
    let happening = Happening::ChecksCompleted {
        app_id: suite.app.id,
        app: suite.app.name,
        head_sha: suite.head_sha,
        head_branch: suite.head_branch,
        conclusion,
        pulls: suite.pull_requests.into_iter().map(|pull| pull.number).collect(),
        completed_at: suite.updated_at,
    };
    Ok((happening, None))
}

fn push(body: &[u8]) -> Result<Read, Unreadable> {
    let push: wire::Push = parse("push", body)?;
    let happening = match push.name.strip_prefix("refs/heads/") {
        Some(branch) => Happening::Pushed {
            branch: branch.to_owned(),
            before: push.before,
            after: push.after,
            forced: push.forced,
            deleted: push.deleted,
        },
        None => Happening::Ignored { why: "what was pushed is no branch".to_owned() },
    };
    Ok((happening, None))
}

fn repository(action: &str) -> Happening {
    match action {
        "renamed" => Happening::RepositoryRenamed,
        "archived" => Happening::RepositoryArchived,
        "unarchived" => Happening::RepositoryUnarchived,
        "transferred" => Happening::RepositoryTransferred,
        "deleted" => Happening::RepositoryDeleted,
        "privatized" => Happening::RepositoryPrivatized,
        "publicized" => Happening::RepositoryPublicized,
        _ => unused("repository", action).0,
    }
}

#[derive(Deserialize)]
struct InstallationBody {
    installation: wire::Installation,
    repositories: Option<Vec<wire::Repository>>,
}

fn installation(action: &str, body: &[u8]) -> Result<Read, Unreadable> {
    let change = match action {
        "created" => InstallationChange::Created,
        "deleted" => InstallationChange::Deleted,
        "suspend" => InstallationChange::Suspended,
        "unsuspend" => InstallationChange::Unsuspended,
        "new_permissions_accepted" => InstallationChange::NewPermissions,
        _ => return Ok(unused("installation", action)),
    };
    let InstallationBody { installation, repositories } = parse("installation", body)?;
    let happening = Happening::Installation {
        change,
        account: installation.account.map(wire::User::into_actor),
        repositories: repositories.unwrap_or_default().into_iter().map(Into::into).collect(),
    };
    Ok((happening, None))
}

#[derive(Deserialize)]
struct InstallationRepositoriesBody {
    #[serde(default)]
    repositories_added: Vec<wire::Repository>,
    #[serde(default)]
    repositories_removed: Vec<wire::Repository>,
}

fn installation_repositories(body: &[u8]) -> Result<Read, Unreadable> {
    let lists: InstallationRepositoriesBody = parse("installation_repositories", body)?;
    let happening = Happening::InstallationRepositories {
        added: lists.repositories_added.into_iter().map(Into::into).collect(),
        removed: lists.repositories_removed.into_iter().map(Into::into).collect(),
    };
    Ok((happening, None))
}
