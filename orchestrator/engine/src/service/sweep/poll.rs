//! Lists what is new in a repository.

use std::collections::{BTreeSet, HashMap};

use cloud_code_forge::{
    Forge, ForgeError, IssueFacts, Listing, PullFacts, PullState, RecentComment, ReviewFacts, ReviewState,
    TextEdits, TextId,
};
use cloud_code_intake::{
    Conclusion, Happening, Head, Notice, RepositoryRef, Said, SaidAt, Sender, SenderKind, Thing, Verdict,
};
use cloud_code_model::{Actor, Pull, PullState as Known, Subject, Thread};
use jiff::{SignedDuration, Timestamp};

use super::{FIRST_REACH, SWEPT, read_time};
use crate::EngineError;
use crate::service::projects::ServedProject;
use crate::service::receive::{lasts, work_on};
use crate::service::{Inner, bases};

/// How far a list overlaps with the last one: a forge's index lags behind its answers.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);

/// A pull request of ours.
struct Ours {
    pull: Pull,
    branch: String,
    base: String,
}

/// One look. `failures` is how often it failed just before.
pub(super) async fn poll(inner: &Inner, project: &ServedProject, failures: u32) -> Result<(), EngineError> {
    let forge = inner.projects.forge(project).await?;
    let forge = forge.as_ref();
    let facts = forge.repository().await?;
    let repository = RepositoryRef {
        id: facts.id,
        name: facts.name,
        default_branch: Some(facts.default_branch),
        archived: facts.archived,
        private: facts.private,
        fork: facts.fork,
    };
    let name = format!("polled-{}", project.name);
    let swept = read_time(inner, SWEPT).await?;
    let now = inner.clock.now();
    // The later of the two: an old list was followed by reading the log.
    let since = read_time(inner, &name).await?.max(swept).unwrap_or(now - FIRST_REACH) - OVERLAP;
    let mut newest = since;
    let mut complete_until = Timestamp::MAX;
    let mut happened: Vec<Happened> = Vec::new();
    let issues = match forge.recent_issues(since).await {
        // Issues are switched off here; pull requests are found by their own list.
        Err(ForgeError::Gone { .. }) => Listing { items: Vec::new(), more: false },
        issues => issues?,
    };
    if let Some(last) = issues.items.last().filter(|_| issues.more) {
        complete_until = last.updated_at;
    }
    let is_new = |issue: &&IssueFacts| issue.created_at >= since && !issue.body.trim().is_empty();
    let opened = issues.items.iter().filter(is_new).map(|issue| issue.text_id.clone()).collect();
    let edits = edits(forge, opened).await?;
    for issue in issues.items {
        newest = newest.max(issue.updated_at);
        let number = issue.number;
        happened.extend(past(of_issue(forge, issue, &edits, since).await, number, failures)?);
    }
    let comments = forge.recent_comments(since).await?;
    if let Some(last) = comments.items.last().filter(|_| comments.more) {
        complete_until = complete_until.min(last.updated_at());
    }
    for comment in comments.items {
        newest = newest.max(comment.updated_at());
        let head = match &comment {
            RecentComment::Line { number, .. } => {
                match inner.store.thread_of_pull(&project.name, *number).await? {
                    Some(thread) => with_branches(inner, thread).await?.map(|ours| Head {
                        branch: ours.branch,
                        sha: ours.pull.head_sha,
                        repository: Some(repository.id),
                    }),
                    None => None,
                }
            }
            RecentComment::Conversation { .. } => None,
        };
        happened.extend(of_comment(comment, head, since));
    }
    let mut unmerged = Vec::new();
    for thread in inner.store.unmerged_threads(&project.name).await? {
        unmerged.extend(with_branches(inner, thread).await?);
    }
    if !unmerged.is_empty() {
        let changed = match forge.recent_pulls(since).await.map_err(EngineError::from) {
            // Without the right to read them nothing is known of any.
            Err(error) if lasts(&error, failures) => {
                tracing::warn!(project = %project.name, error = %error.chain(), "pull requests cannot be listed");
                Listing { items: Vec::new(), more: false }
            }
            changed => changed?,
        };
        for Ours { pull, .. } in &unmerged {
            let found = of_pull(inner, project, forge, pull, &changed, repository.id, since).await;
            happened.extend(past(found, pull.number, failures)?);
        }
        match bases_moved(inner, project, forge, &unmerged).await {
            Err(error) if lasts(&error, failures) => {
                tracing::warn!(project = %project.name, error = %error.chain(), "branches cannot be looked at");
            }
            looked => looked?,
        }
    }
    for (sender, via_app, happening) in happened {
        let repository = Some(repository.clone());
        let notice = Notice { installation: None, repository, sender, via_app, happening };
        match work_on(inner, &notice).await {
            Ok(_) => {}
            // One that will never go through does not keep those behind it from being heard.
            Err(error) if lasts(&error, failures) => tracing::warn!(
                project = %project.name, error = %error.chain(), "what was found in a list could not be worked on"
            ),
            Err(error) => return Err(error),
        }
    }
    // Where one list was cut, the next look goes on from there, whatever the other one reached.
    let newest = newest.min(complete_until);
    Ok(inner.store.set_cursor(&name, &newest.to_string()).await?)
}

/// What was found about one number; nothing, where it is gone or will never be told.
fn past(
    found: Result<Vec<Happened>, EngineError>,
    number: u64,
    failures: u32,
) -> Result<Vec<Happened>, EngineError> {
    match found {
        // Deleted since it was listed.
        Err(EngineError::Forge(ForgeError::NotFound { .. } | ForgeError::Gone { .. })) => Ok(Vec::new()),
        Err(error) if lasts(&error, failures) => {
            tracing::warn!(issue.number = number, error = %error.chain(), "what happened here cannot be read");
            Ok(Vec::new())
        }
        found => found,
    }
}

/// Who changed these texts. Where the forge refuses to tell, none is known to be as it was.
async fn edits(forge: &dyn Forge, texts: Vec<TextId>) -> Result<HashMap<TextId, TextEdits>, EngineError> {
    if texts.is_empty() {
        return Ok(HashMap::new());
    }
    match forge.edits(&texts).await {
        Err(error) if !error.can_pass() => {
            tracing::warn!(error = %error, "who changed these texts cannot be known; they start nothing");
            Ok(HashMap::new())
        }
        edits => Ok(edits?),
    }
}

/// The pull request of a thread, with what a list does not carry.
async fn with_branches(inner: &Inner, thread: Thread) -> Result<Option<Ours>, EngineError> {
    let (Some(pull), Some(key)) = (thread.published.pull, thread.facts.issue) else { return Ok(None) };
    let issue = inner.store.issue(&thread.project, &key).await?;
    Ok(issue.map(|issue| Ours { pull, branch: issue.branch.to_string(), base: issue.base.to_string() }))
}

/// Nobody tells of a push where everything is listed, so the bases of open pull requests are looked at: one question each,
/// which costs no limit while it has not moved.
async fn bases_moved(
    inner: &Inner,
    project: &ServedProject,
    forge: &dyn Forge,
    ours: &[Ours],
) -> Result<(), EngineError> {
    let open = ours.iter().filter(|ours| ours.pull.state == Known::Open);
    let branches: BTreeSet<&str> = open.map(|ours| ours.base.as_str()).collect();
    for branch in branches {
        let Some(facts) = forge.branch(branch).await? else { continue };
        let cursor = format!("base-{} {branch}", project.name);
        let known = inner.store.cursor(&cursor).await?;
        if known.as_ref() == Some(&facts.sha) {
            continue;
        }
        bases::moved(inner, &project.name, branch, &facts.sha).await?;
        inner.store.set_cursor(&cursor, &facts.sha).await?;
    }
    Ok(())
}

type Happened = (Option<Sender>, Option<u64>, Happening);

/// An issue or pull request that was touched: its text if it is new, and what was done to it.
async fn of_issue(
    forge: &dyn Forge,
    issue: IssueFacts,
    edits: &HashMap<TextId, TextEdits>,
    since: Timestamp,
) -> Result<Vec<Happened>, EngineError> {
    let subject = if issue.is_pull_request { Subject::PullRequest } else { Subject::Issue };
    let author = issue.author.clone().map(|actor| sender(actor, issue.author_is_bot));
    let thing = |at: Timestamp| Thing {
        number: issue.number,
        subject,
        opened_by: issue.author.clone(),
        updated_at: at,
    };
    let mut happened = Vec::new();
    if issue.created_at >= since {
        let said = Said {
            at: SaidAt::Opening,
            number: issue.number,
            subject,
            author: author.clone(),
            opened_by: issue.author.clone(),
            text: issue.body.clone(),
            created_at: issue.created_at,
            changed_at: match edits.get(&issue.text_id) {
                Some(edits) => edits.text.as_ref().map(|edited| edited.at),
                None => Some(issue.updated_at),
            },
            head: None,
        };
        happened.push((author, None, Happening::Said(said)));
    }
    for event in forge.issue_events(issue.number).await?.into_iter().filter(|event| event.at >= since) {
        let by = event.actor.map(|actor| sender(actor, event.actor_is_bot));
        let happening = match (event.kind.as_str(), event.label, event.assignee) {
            ("labeled", Some(label), _) => Happening::Labeled { thing: thing(event.at), label },
            ("assigned", _, Some(assignee)) => Happening::Assigned { thing: thing(event.at), assignee },
            ("closed", ..) if subject == Subject::Issue => Happening::IssueClosed(thing(event.at)),
            ("reopened", ..) if subject == Subject::Issue => Happening::IssueReopened(thing(event.at)),
            _ => continue,
        };
        happened.push((by, event.via_app, happening));
    }
    Ok(happened)
}

/// A new comment. An old one that was changed starts nothing.
fn of_comment(comment: RecentComment, head: Option<Head>, since: Timestamp) -> Option<Happened> {
    match comment {
        RecentComment::Conversation { number, is_pull_request, comment, .. } => {
            let author = comment.author.map(|actor| sender(actor, comment.author_is_bot));
            let said = Said {
                at: SaidAt::Comment { id: comment.id },
                number,
                subject: if is_pull_request { Subject::PullRequest } else { Subject::Issue },
                author: author.clone(),
                opened_by: None,
                text: comment.body,
                created_at: comment.created_at,
                changed_at: changed(comment.created_at, comment.updated_at),
                head: None,
            };
            (comment.created_at >= since).then_some((author, comment.via_app, Happening::Said(said)))
        }
        RecentComment::Line { number, comment, .. } => {
            let author = comment.author.map(|actor| sender(actor, comment.author_is_bot));
            let said = Said {
                at: SaidAt::Line {
                    id: comment.id,
                    thread: comment.in_reply_to.unwrap_or(comment.id),
                    review: comment.review_id,
                    path: comment.path,
                    line: comment.line,
                    diff_hunk: comment.diff_hunk,
                },
                number,
                subject: Subject::PullRequest,
                author: author.clone(),
                opened_by: None,
                text: comment.body,
                created_at: comment.created_at,
                changed_at: changed(comment.created_at, comment.updated_at),
                head,
            };
            (comment.created_at >= since).then_some((author, None, Happening::Said(said)))
        }
    }
}

/// What no list of issues and comments shows of a pull request of ours: how it ended, reviews, checks. It is in
/// the list when anything about it changed; checks change nothing about it.
async fn of_pull(
    inner: &Inner,
    project: &ServedProject,
    forge: &dyn Forge,
    ours: &Pull,
    changed: &Listing<PullFacts>,
    repository: u64,
    since: Timestamp,
) -> Result<Vec<Happened>, EngineError> {
    let mut happened = Vec::new();
    let facts = match changed.items.iter().find(|facts| facts.number == ours.number) {
        Some(facts) => Some(facts.clone()),
        // The list was cut, so it may have changed all the same.
        None if changed.more => Some(forge.pull(ours.number).await?),
        None => None,
    };
    let is_open = match facts.as_ref().map(|facts| facts.state) {
        Some(state) => state == PullState::Open,
        None => ours.state == Known::Open,
    };
    if is_open && project.triggers.failing_check_rounds > 0 {
        let head_sha = facts.as_ref().map_or(&ours.head_sha, |facts| &facts.head_sha);
        happened.extend(of_checks(inner, project, forge, ours.number, head_sha, since).await?);
    }
    let Some(facts) = facts else { return Ok(happened) };
    let at = facts.same_repository.then_some(repository);
    let head = Head { branch: facts.head_branch.clone(), sha: facts.head_sha.clone(), repository: at };
    let thing = Thing {
        number: facts.number,
        subject: Subject::PullRequest,
        opened_by: facts.author.clone(),
        updated_at: since,
    };
    let changed = match (facts.state, ours.state) {
        (PullState::Merged, _) | (PullState::Closed, Known::Open) => {
            let merged = facts.state == PullState::Merged;
            Some(Happening::PullClosed { thing, merged, head: head.clone(), merge_sha: None })
        }
        (PullState::Open, Known::Closed) => Some(Happening::PullReopened { thing, head: head.clone() }),
        (PullState::Open | PullState::Closed, _) => None,
    };
    happened.extend(changed.map(|happening| (None, None, happening)));
    let mut reviews = forge.reviews(ours.number).await?;
    reviews.retain(|review| review.submitted_at.is_some_and(|at| at >= since));
    let with_text = reviews.iter().filter(|review| !review.body.trim().is_empty());
    let edits = edits(forge, with_text.map(|review| review.text_id.clone()).collect()).await?;
    for review in reviews {
        let Some(submitted_at) = review.submitted_at else { continue };
        let changed_at = match (review.body.trim().is_empty(), edits.get(&review.text_id)) {
            (true, _) => None,
            (false, Some(edits)) => was_meddled_with(&review, edits, submitted_at),
            (false, None) => Some(submitted_at),
        };
        let author = review.author.map(|actor| sender(actor, review.author_is_bot));
        let verdict = match review.state {
            ReviewState::Approved => Verdict::Approved,
            ReviewState::ChangesRequested => Verdict::ChangesRequested,
            ReviewState::Commented | ReviewState::Dismissed | ReviewState::Pending => Verdict::Commented,
        };
        let said = Said {
            at: SaidAt::Review { id: review.id, verdict },
            number: ours.number,
            subject: Subject::PullRequest,
            author: author.clone(),
            opened_by: facts.author.clone(),
            text: review.body,
            created_at: submitted_at,
            changed_at,
            head: Some(head.clone()),
        };
        happened.push((author, None, Happening::Said(said)));
    }
    Ok(happened)
}

/// When a review was changed after it was sent. What its author changed before that, nobody else has seen.
fn was_meddled_with(review: &ReviewFacts, edits: &TextEdits, submitted_at: Timestamp) -> Option<Timestamp> {
    let edited = edits.text.as_ref()?;
    let is_own =
        review.author.is_some() && edited.by.as_ref().map(|by| by.id) == review.author.as_ref().map(|a| a.id);
    (!is_own || edited.at > submitted_at).then_some(edited.at)
}

/// A check that fails on the head of a pull request. There is one request for a commit, and it is not asked about again.
async fn of_checks(
    inner: &Inner,
    project: &ServedProject,
    forge: &dyn Forge,
    number: u64,
    head_sha: &str,
    since: Timestamp,
) -> Result<Option<Happened>, EngineError> {
    if inner.store.intent(&project.name, &format!("checks-{head_sha}")).await?.is_some() {
        return Ok(None);
    }
    let failed = match forge.failed_checks(head_sha).await {
        // Not every token may read checks.
        Err(ForgeError::Forbidden { .. }) => Vec::new(),
        failed => failed?,
    };
    let branch = inner.store.thread_of_pull(&project.name, number).await?;
    let issue = match branch.and_then(|thread| thread.facts.issue) {
        Some(key) => inner.store.issue(&project.name, &key).await?,
        None => None,
    };
    Ok(failed.into_iter().next().map(|check| {
        let happening = Happening::ChecksCompleted {
            app_id: check.app_id.unwrap_or_default(),
            app: check.name,
            head_sha: head_sha.to_owned(),
            head_branch: issue.map(|issue| issue.branch.to_string()),
            conclusion: Conclusion::Failure,
            pulls: vec![number],
            completed_at: since,
        };
        (None, None, happening)
    }))
}

fn sender(actor: Actor, is_bot: bool) -> Sender {
    Sender { actor, kind: if is_bot { SenderKind::Bot } else { SenderKind::User } }
}

fn changed(created_at: Timestamp, updated_at: Timestamp) -> Option<Timestamp> {
    (updated_at > created_at).then_some(updated_at)
}
