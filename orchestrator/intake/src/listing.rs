//! From the pages of a REST listing to the same [`Notice`]s that webhooks lead to: for polling, and for what was missed
//! while nobody listened.
//!
//! A listing shows a text as it stands now. `since=` goes by the last change, so it also brings back what was written
//! years ago and touched today: only what was written at or after `since` is told on, or an old comment would start
//! work the day the App is installed. A comment that was changed since it was written is told on with the time of its
//! change; nothing starts from it.

use jiff::Timestamp;

use crate::event::{Unreadable, issue_opened, issue_thing, line_said, parse, subject};
use crate::notice::{Happening, Notice, RepositoryRef, Said, SaidAt, Sender};
use crate::wire;

/// A page of `GET /repos/{owner}/{repo}/issues?state=all&since=…`: issues and pull requests that were opened.
///
/// An issue's `updated_at` moves with every comment and label, so a changed text cannot be told from an unchanged one.
pub fn from_issue_listing(
    repository: &RepositoryRef,
    since: Timestamp,
    page: &[u8],
) -> Result<Vec<Notice>, Unreadable> {
    let issues: Vec<wire::Issue> = parse("listing of issues", page)?;
    let fresh = issues.into_iter().filter(|issue| issue.created_at >= since);
    Ok(fresh
        .map(|issue| {
            let (happening, via_app) = issue_opened(issue);
            let sender = match &happening {
                Happening::Said(said) => said.author.clone(),
                _ => None,
            };
            notice(repository, sender, via_app, happening)
        })
        .collect())
}

/// A page of `GET /repos/{owner}/{repo}/issues/comments?since=…`: comments on issues and on pull requests'
/// conversations.
pub fn from_comment_listing(
    repository: &RepositoryRef,
    since: Timestamp,
    page: &[u8],
) -> Result<Vec<Notice>, Unreadable> {
    let comments: Vec<wire::Comment> = parse("listing of comments", page)?;
    let fresh = comments.into_iter().filter(|comment| comment.created_at >= since);
    fresh
        .map(|comment| {
            let number = number_of(comment.issue_url.as_deref(), "comments")?;
            let is_pull_request = comment.html_url.as_deref().is_some_and(|url| url.contains("/pull/"));
            let via_app = comment.performed_via_github_app.map(|app| app.id);
            let author = comment.user.map(wire::User::into_sender);
            let said = Said {
                at: SaidAt::Comment { id: comment.id },
                number,
                subject: subject(is_pull_request),
                author: author.clone(),
                opened_by: None,
                text: comment.body.unwrap_or_default(),
                created_at: comment.created_at,
                changed_at: changed(comment.created_at, comment.updated_at),
                head: None,
            };
            Ok(notice(repository, author, via_app, Happening::Said(said)))
        })
        .collect()
}

/// A page of `GET /repos/{owner}/{repo}/pulls/comments?since=…`: comments on lines.
pub fn from_line_comment_listing(
    repository: &RepositoryRef,
    since: Timestamp,
    page: &[u8],
) -> Result<Vec<Notice>, Unreadable> {
    let comments: Vec<wire::LineComment> = parse("listing of line comments", page)?;
    let fresh = comments.into_iter().filter(|comment| comment.created_at >= since);
    fresh
        .map(|comment| {
            let number = number_of(comment.pull_request_url.as_deref(), "line comments")?;
            let changed_at = changed(comment.created_at, comment.updated_at);
            let (mut said, via_app) = line_said(comment, number);
            said.changed_at = changed_at;
            Ok(notice(repository, said.author.clone(), via_app, Happening::Said(said)))
        })
        .collect()
}

/// A page of `GET /repos/{owner}/{repo}/pulls/{number}/reviews`: submitted reviews. They carry no time of change.
pub fn from_review_listing(
    repository: &RepositoryRef,
    number: u64,
    since: Timestamp,
    page: &[u8],
) -> Result<Vec<Notice>, Unreadable> {
    let reviews: Vec<wire::Review> = parse("listing of reviews", page)?;
    let submitted = reviews.into_iter().filter_map(|review| Some((review.submitted_at?, review)));
    let fresh = submitted.filter(|(submitted_at, _)| *submitted_at >= since);
    Ok(fresh
        .map(|(created_at, review)| {
            let at = SaidAt::Review { id: review.id, verdict: review.verdict() };
            let via_app = review.performed_via_github_app.map(|app| app.id);
            let author = review.user.map(wire::User::into_sender);
            let said = Said {
                at,
                number,
                subject: cloud_code_model::Subject::PullRequest,
                author: author.clone(),
                opened_by: None,
                text: review.body.unwrap_or_default(),
                created_at,
                changed_at: None,
                head: None,
            };
            notice(repository, author, via_app, Happening::Said(said))
        })
        .collect())
}

/// A page of `GET /repos/{owner}/{repo}/issues/events`: labels, assignments, closing and reopening.
pub fn from_event_listing(
    repository: &RepositoryRef,
    since: Timestamp,
    page: &[u8],
) -> Result<Vec<Notice>, Unreadable> {
    let events: Vec<wire::IssueEvent> = parse("listing of issue events", page)?;
    let fresh = events.into_iter().filter(|event| event.created_at >= since);
    Ok(fresh
        .filter_map(|event| {
            let mut thing = issue_thing(event.issue?);
            thing.updated_at = event.created_at;
            let happening = match (event.event.as_str(), event.label, event.assignee) {
                ("labeled", Some(label), _) => Happening::Labeled { thing, label: label.name },
                ("unlabeled", Some(label), _) => Happening::Unlabeled { thing, label: label.name },
                ("assigned", _, Some(user)) => Happening::Assigned { thing, assignee: user.into_actor() },
                ("unassigned", _, Some(user)) => Happening::Unassigned { thing, assignee: user.into_actor() },
                ("closed", ..) if thing.subject == cloud_code_model::Subject::Issue => {
                    Happening::IssueClosed(thing)
                }
                ("reopened", ..) if thing.subject == cloud_code_model::Subject::Issue => {
                    Happening::IssueReopened(thing)
                }
                _ => return None,
            };
            let sender = event.assigner.or(event.actor).map(wire::User::into_sender);
            let via_app = event.performed_via_github_app.map(|app| app.id);
            Some(notice(repository, sender, via_app, happening))
        })
        .collect())
}

fn notice(
    repository: &RepositoryRef,
    sender: Option<Sender>,
    via_app: Option<u64>,
    happening: Happening,
) -> Notice {
    Notice { installation: None, repository: Some(repository.clone()), sender, via_app, happening }
}

fn changed(created_at: Timestamp, updated_at: Timestamp) -> Option<Timestamp> {
    (updated_at > created_at).then_some(updated_at)
}

fn number_of(url: Option<&str>, listing: &'static str) -> Result<u64, Unreadable> {
    url.and_then(|url| url.rsplit('/').next()?.parse().ok()).ok_or(Unreadable::NoNumber { listing })
}
