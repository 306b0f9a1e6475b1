//! Fetches what nobody brought. A forge never sends a delivery twice by itself and forgets it after days, so what came while
//! we were down is read from its log; what is older than the log, and what comes to a place that nobody can call, is found
//! by listing. All of it ends in the same requests with the same keys as a webhook, so finding a thing twice changes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cloud_code_forge::{
    Delivery, DeliveryLog, DeliveryPage, Forge, ForgeError, IssueFacts, PullState, RecentComment, ReviewState,
};
use cloud_code_intake::{
    Conclusion, Happening, Head, Notice, RepositoryRef, Said, SaidAt, Sender, SenderKind, Thing, Verdict,
};
use cloud_code_model::{Actor, PullState as Known, Subject};
use cloud_code_store::{
    Deliveries, DeliveryKey, DeliverySource, DeliveryState, ForgeStore, Forget, HookTarget, NewDelivery,
    Store,
};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::projects::ServedProject;
use super::receive::work_on;
use crate::EngineError;

/// How far back a forge's log goes: three days on github.com. What is missed for longer is found by listing.
const LOG_REACH: SignedDuration = SignedDuration::from_hours(72);
/// Most pages of the log in one look, of a hundred deliveries each.
const MAX_PAGES: usize = 100;
/// How far back a list is read from the first time: a deployment does not begin with old commands.
const FIRST_REACH: SignedDuration = SignedDuration::from_mins(5);
/// How far a list overlaps with the last one: a forge's index lags behind its answers.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);

/// How soon a sweep that failed is done again: whoever waits for a command of the downtime waits as long.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// How events are fetched that nobody brought.
#[derive(Clone, Default)]
pub enum SweepMode {
    /// Not at all.
    #[default]
    Off,
    /// From the log of what the forge sent, or tried to send; by listing what is older than that log.
    Log {
        /// The log.
        log: Arc<dyn DeliveryLog>,
        /// Whose hook it is of.
        target: HookTarget,
        /// How often.
        every: Duration,
    },
    /// By listing issues and comments.
    Poll {
        /// How often.
        every: Duration,
    },
}

impl std::fmt::Debug for SweepMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::Log { target, every, .. } => write!(f, "Log({target}, {every:?})"),
            Self::Poll { every } => write!(f, "Poll({every:?})"),
        }
    }
}

/// Sweeps at once, then again and again.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let every = match &inner.settings.sweep {
        SweepMode::Off => return,
        SweepMode::Log { every, .. } | SweepMode::Poll { every } => *every,
    };
    loop {
        let swept = tokio::select! {
            () = stop.cancelled() => return,
            swept = look(&inner) => swept,
        };
        let wait = match swept {
            Ok(()) => every,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "what was missed cannot be fetched now");
                every.min(TRY_AGAIN)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn look(inner: &Inner) -> Result<(), EngineError> {
    let now = inner.clock.now();
    inner.store.forget(Forget::at(now)).await?;
    match &inner.settings.sweep {
        SweepMode::Off => Ok(()),
        SweepMode::Poll { .. } => poll_all(inner).await,
        SweepMode::Log { log, target, .. } => {
            let last = read_time(inner, SWEPT).await?;
            // Longer down than the log goes back: what it forgot is listed.
            let listed = match last {
                Some(last) if now.duration_since(last) > LOG_REACH => poll_all(inner).await,
                _ => Ok(()),
            };
            from_log(inner, log.as_ref(), target).await?;
            // What could not be listed is listed with the next sweep, from where this one began.
            listed?;
            Ok(inner.store.set_cursor(SWEPT, &now.to_string()).await?)
        }
    }
}

/// The cursor that says when the log was last read to its end.
const SWEPT: &str = "swept";

async fn read_time(inner: &Inner, cursor: &str) -> Result<Option<Timestamp>, EngineError> {
    Ok(inner.store.cursor(cursor).await?.and_then(|text| text.parse().ok()))
}

/// Stores every delivery of the log that never came. Whether the forge counts it as delivered does not matter: what we
/// do not have, we do not have.
async fn from_log(inner: &Inner, log: &dyn DeliveryLog, target: &HookTarget) -> Result<(), EngineError> {
    let newest_read = inner.store.cursor(NEWEST).await?.and_then(|id| id.parse::<u64>().ok());
    let first_reach = inner.clock.now() - FIRST_REACH;
    let mut cursor: Option<String> = None;
    let mut missed: Vec<Delivery> = Vec::new();
    let mut newest = newest_read;
    'pages: for _ in 0..MAX_PAGES {
        let DeliveryPage { deliveries, next } = log.list(cursor.as_deref()).await?;
        for delivery in deliveries {
            let is_read = match newest_read {
                Some(read) => delivery.id <= read,
                None => delivery.delivered_at < first_reach,
            };
            if is_read {
                break 'pages;
            }
            newest = newest.max(Some(delivery.id));
            missed.push(delivery);
        }
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let guids: Vec<String> = missed.iter().map(|delivery| delivery.guid.clone()).collect();
    let mut seen = inner.store.seen(target, &guids).await?;
    // Oldest first, as they happened.
    for delivery in missed.into_iter().rev() {
        if !seen.insert(delivery.guid.clone()) {
            continue;
        }
        let payload = match log.payload(delivery.id).await {
            Ok(payload) => payload,
            // The log forgot it since it was listed.
            Err(error @ (ForgeError::NotFound { .. } | ForgeError::Gone { .. })) => {
                tracing::warn!(delivery.guid, delivery.event, error = %error, "a delivery is lost");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let stored = NewDelivery {
            key: DeliveryKey { target: target.clone(), guid: delivery.guid.clone() },
            event: delivery.event.clone(),
            body: payload.body.into_bytes(),
            received_at: inner.clock.now(),
            source: DeliverySource::Sweep,
            state: DeliveryState::Waiting,
        };
        inner.store.put(&[stored]).await?;
        tracing::info!(delivery.guid, delivery.event, "a delivery that never came was fetched");
        inner.wakes.received.notify_one();
    }
    if let Some(newest) = newest {
        inner.store.set_cursor(NEWEST, &newest.to_string()).await?;
    }
    Ok(())
}

/// The cursor that says which delivery of the log was read last.
const NEWEST: &str = "newest-delivery";

/// Lists what is new everywhere. One repository that cannot be listed does not keep the others from it; the last such
/// error is handed on, so that nobody takes the lists for complete.
async fn poll_all(inner: &Inner) -> Result<(), EngineError> {
    let mut listed = Ok(());
    for project in inner.projects.iter() {
        if let Err(error) = poll(inner, project).await {
            tracing::warn!(project = %project.name, error = %error.chain(), "a repository cannot be listed now");
            listed = Err(error);
        }
    }
    listed
}

async fn poll(inner: &Inner, project: &ServedProject) -> Result<(), EngineError> {
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
    let mut happened: Vec<(Option<Sender>, Option<u64>, Happening)> = Vec::new();
    let issues = forge.recent_issues(since).await?;
    if let Some(last) = issues.items.last().filter(|_| issues.more) {
        complete_until = last.updated_at;
    }
    for issue in issues.items {
        newest = newest.max(issue.updated_at);
        match of_issue(forge, issue, since).await {
            // Deleted since it was listed.
            Err(EngineError::Forge(ForgeError::NotFound { .. } | ForgeError::Gone { .. })) => {}
            found => happened.extend(found?),
        }
    }
    let heads = heads(inner, project, repository.id).await?;
    let comments = forge.recent_comments(since).await?;
    if let Some(last) = comments.items.last().filter(|_| comments.more) {
        complete_until = complete_until.min(last.updated_at());
    }
    for comment in comments.items {
        newest = newest.max(comment.updated_at());
        let head = match &comment {
            RecentComment::Line { number, .. } => heads.get(number).cloned(),
            RecentComment::Conversation { .. } => None,
        };
        happened.extend(of_comment(comment, head, since));
    }
    for thread in inner.store.threads().await? {
        if let Some(pull) = thread.published.pull.filter(|_| thread.project == project.name) {
            happened.extend(of_pull(forge, pull, repository.id, since).await?);
        }
    }
    for (sender, via_app, happening) in happened {
        let repository = Some(repository.clone());
        work_on(inner, &Notice { installation: None, repository, sender, via_app, happening }).await?;
    }
    // Where one list was cut, the next look goes on from there, whatever the other one reached.
    let newest = newest.min(complete_until);
    Ok(inner.store.set_cursor(&name, &newest.to_string()).await?)
}

/// The heads of our own pull requests: a comment on a line does not carry it in a list.
async fn heads(
    inner: &Inner,
    project: &ServedProject,
    repository: u64,
) -> Result<HashMap<u64, Head>, EngineError> {
    let mut heads = HashMap::new();
    for thread in inner.store.threads().await? {
        let (Some(pull), Some(key)) = (thread.published.pull, thread.facts.issue) else { continue };
        if let Some(issue) =
            inner.store.issue(&project.name, &key).await?.filter(|_| thread.project == project.name)
        {
            let head =
                Head { branch: issue.branch.to_string(), sha: pull.head_sha, repository: Some(repository) };
            heads.insert(pull.number, head);
        }
    }
    Ok(heads)
}

type Happened = (Option<Sender>, Option<u64>, Happening);

/// An issue or pull request that was touched: its text if it is new, and what was done to it.
async fn of_issue(
    forge: &dyn Forge,
    issue: IssueFacts,
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
            changed_at: None,
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

/// What no list of issues and comments shows of a pull request of ours: how it ended, reviews, checks.
async fn of_pull(
    forge: &dyn Forge,
    ours: cloud_code_model::Pull,
    repository: u64,
    since: Timestamp,
) -> Result<Vec<Happened>, EngineError> {
    if ours.state == Known::Merged {
        return Ok(Vec::new());
    }
    let pull = forge.pull(ours.number).await?;
    let at = pull.same_repository.then_some(repository);
    let head = Head { branch: pull.head_branch.clone(), sha: pull.head_sha.clone(), repository: at };
    let thing = Thing {
        number: pull.number,
        subject: Subject::PullRequest,
        opened_by: pull.author.clone(),
        updated_at: since,
    };
    let mut happened = Vec::new();
    match (pull.state, ours.state) {
        (PullState::Merged, _) | (PullState::Closed, Known::Open) => {
            let merged = pull.state == PullState::Merged;
            happened.push((
                None,
                None,
                Happening::PullClosed { thing, merged, head: head.clone(), merge_sha: None },
            ));
        }
        (PullState::Open, Known::Closed) => {
            happened.push((None, None, Happening::PullReopened { thing, head: head.clone() }))
        }
        (PullState::Open, _) => {
            if let Some(check) = forge.failed_checks(&pull.head_sha).await?.into_iter().next() {
                let happening = Happening::ChecksCompleted {
                    app_id: check.app_id.unwrap_or_default(),
                    app: check.name,
                    head_sha: pull.head_sha.clone(),
                    head_branch: Some(pull.head_branch.clone()),
                    conclusion: Conclusion::Failure,
                    pulls: vec![pull.number],
                    completed_at: since,
                };
                happened.push((None, None, happening));
            }
        }
        (PullState::Closed, _) => {}
    }
    for review in forge.reviews(ours.number).await? {
        let Some(submitted_at) = review.submitted_at.filter(|at| *at >= since) else { continue };
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
            opened_by: pull.author.clone(),
            text: review.body,
            created_at: submitted_at,
            changed_at: None,
            head: Some(head.clone()),
        };
        happened.push((author, None, Happening::Said(said)));
    }
    Ok(happened)
}

fn sender(actor: Actor, is_bot: bool) -> Sender {
    Sender { actor, kind: if is_bot { SenderKind::Bot } else { SenderKind::User } }
}

fn changed(created_at: Timestamp, updated_at: Timestamp) -> Option<Timestamp> {
    (updated_at > created_at).then_some(updated_at)
}
