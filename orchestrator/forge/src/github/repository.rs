//! One repository, as an installation of an App or as the owner of a token.
//!
//! Calls go to the repository's name of today. A rename shows as a redirection, which has no effect: the name is asked
//! for again by the number that does not change, and the call repeated there.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use cloud_code_model::{Actor, MergeMethod, Place, RepositoryName};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::body;
use crate::error::{Effect, ForgeError};
use crate::facts::{
    Access, BotIdentity, BranchFacts, CheckFacts, CheckHandle, CheckSpec, CommentFacts, CommentHandle,
    FailedCheck, GitCredential, Grants, IssueEvent, IssueFacts, LabelSpec, LineComment, Listing, Merged,
    Permission, PermissionFact, PullFacts, PullSpec, PullUpdate, PutPull, RecentComment, RepositoryFacts,
    ReviewFacts, TextEdits, TextId,
};
use crate::marker::Marker;
use crate::port::{Forge, Priority};

use super::account::{Account, Installation};
use super::client::{Answer, Client, PER_PAGE, Pages};
use super::path::{path, segment};
use super::wire;

/// Pages of one conversation or review: 3,000 comments, more than GitHub takes on an issue.
const MAX_PAGES: usize = 30;
/// Pages of what is new in the whole repository. The rest comes with the next call.
const RECENT_PAGES: usize = 10;
/// How old an answer about a permission may be. Older would let somebody command who was shown the door.
const PERMISSION_AGE: Duration = Duration::from_secs(60);
/// Accounts whose permission is remembered.
const MAX_PERMISSIONS: usize = 1000;
/// Largest file that is read: settings and templates.
const MAX_FILE: u64 = 256 * 1024;
/// What GitHub needs to show in its lists what it just took.
pub(super) const SETTLE: Duration = Duration::from_millis(500);

pub(super) struct Repository {
    pub(super) client: Arc<Client>,
    pub(super) account: Arc<Account>,
    /// Missing for a token.
    pub(super) installation: Option<Installation>,
    pub(super) id: u64,
    pub(super) name: RwLock<RepositoryName>,
    pub(super) permissions: Mutex<HashMap<String, (Timestamp, PermissionFact)>>,
    /// Labels that are known to exist here.
    pub(super) labels: Mutex<HashSet<String>>,
}

impl Repository {
    pub(super) fn name(&self) -> RepositoryName {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn at(&self, rest: &str) -> String {
        format!("/repos/{}{rest}", self.name())
    }

    /// Asks for the name of today. The old name leads there.
    async fn fetch(&self) -> Result<wire::Repository, ForgeError> {
        let facts: wire::Repository = match self.client.read(&self.at("")).await {
            Err(ForgeError::NotFound { .. }) => return Err(self.no_access()),
            other => other?,
        };
        let facts = if facts.id == self.id { facts } else { self.fetch_by_number().await? };
        if let Ok(name) = facts.full_name.parse() {
            *self.name.write().unwrap_or_else(PoisonError::into_inner) = name;
        }
        Ok(facts)
    }

    /// The name was given to another repository. GitHub's own redirections lead to addresses with the number.
    async fn fetch_by_number(&self) -> Result<wire::Repository, ForgeError> {
        let what =
            || format!("the repository with the number {}: `{}` is another one now", self.id, self.name());
        match self.client.read::<wire::Repository>(&format!("/repositories/{}", self.id)).await {
            Ok(facts) if facts.id == self.id => Ok(facts),
            Ok(_) | Err(ForgeError::NotFound { .. }) => Err(ForgeError::NoAccess { what: what() }),
            Err(error) => Err(error),
        }
    }

    fn no_access(&self) -> ForgeError {
        ForgeError::NoAccess { what: format!("`{}`", self.name()) }
    }

    /// What is missing may be the one thing or all of the repository; the repository itself tells.
    async fn tell_apart<T>(&self, got: Result<T, ForgeError>) -> Result<T, ForgeError> {
        if let Err(ForgeError::NotFound { .. }) = &got {
            self.fetch().await?;
        }
        got
    }

    pub(super) async fn get(&self, rest: &str) -> Result<Answer, ForgeError> {
        let got = self.client.get(&self.at(rest)).await;
        let answer = self.tell_apart(got).await?;
        if answer.redirected {
            self.fetch().await?;
        }
        Ok(answer)
    }

    pub(super) async fn read<T: DeserializeOwned>(&self, rest: &str) -> Result<T, ForgeError> {
        self.get(rest).await?.json()
    }

    /// `None` for what is not there.
    pub(super) async fn find<T: DeserializeOwned>(&self, rest: &str) -> Result<Option<T>, ForgeError> {
        match self.read(rest).await {
            Err(ForgeError::NotFound { .. } | ForgeError::Gone { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        rest: &str,
        key: Option<&str>,
        max: usize,
    ) -> Result<Pages<T>, ForgeError> {
        let got = self.client.pages(&self.at(rest), key, max).await;
        self.tell_apart(got).await
    }

    /// The whole of a list that belongs to one issue or pull request.
    pub(super) async fn all<T: DeserializeOwned>(&self, rest: &str) -> Result<Vec<T>, ForgeError> {
        let pages = self.pages(rest, None, MAX_PAGES).await?;
        if pages.more {
            tracing::warn!(path = rest, read = pages.items.len(), "the list is longer than we read");
        }
        Ok(pages.items)
    }

    pub(super) async fn send(
        &self,
        method: Method,
        rest: &str,
        body: Option<&Value>,
        priority: Priority,
    ) -> Result<Answer, ForgeError> {
        let sent = self.client.send(&method, &self.at(rest), body, priority).await;
        let answer = self.tell_apart(sent).await?;
        if !answer.status.is_redirection() {
            return Ok(answer);
        }
        self.fetch().await?;
        let sent = self.client.send(&method, &self.at(rest), body, priority).await;
        let answer = self.tell_apart(sent).await?;
        if answer.status.is_redirection() { Err(ForgeError::Moved { to: self.name() }) } else { Ok(answer) }
    }

    /// Whether one of our own accounts wrote it.
    pub(super) fn is_ours(identity: &BotIdentity, author: Option<&Actor>, via_app: Option<u64>) -> bool {
        author.is_some_and(|author| author.id == identity.actor.id)
            || via_app.is_some_and(|app| identity.app_id == Some(app))
    }

    async fn identity_of(&self) -> Result<BotIdentity, ForgeError> {
        self.account.identity(&self.client).await
    }

    fn grants(&self, seen: Option<&wire::UserPermissions>) -> Grants {
        match (&self.installation, seen) {
            (Some(installation), _) => installation.grants,
            (None, Some(seen)) => Grants {
                contents: match (seen.push, seen.pull) {
                    (true, _) => Access::Write,
                    (false, true) => Access::Read,
                    (false, false) => Access::None,
                },
                // Check runs are for Apps only; of the rest a token says nothing.
                checks: Access::None,
                issues: Access::Unknown,
                pull_requests: Access::Unknown,
                statuses: Access::Unknown,
                workflows: Access::Unknown,
            },
            (None, None) => Grants {
                contents: Access::Unknown,
                checks: Access::None,
                issues: Access::Unknown,
                pull_requests: Access::Unknown,
                statuses: Access::Unknown,
                workflows: Access::Unknown,
            },
        }
    }
}

/// A time as GitHub takes it: whole seconds.
fn moment(at: Timestamp) -> String {
    segment(&Timestamp::from_second(at.as_second()).unwrap_or(at).to_string())
}

/// Whether a write may have happened without our knowing.
pub(super) const fn is_uncertain(error: &ForgeError) -> bool {
    matches!(error, ForgeError::Unreachable { effect: Effect::Unknown, .. })
}

#[derive(Deserialize)]
struct PermissionAnswer {
    permission: String,
    role_name: Option<String>,
    user: Option<wire::User>,
}

#[derive(Deserialize)]
struct BranchAnswer {
    name: String,
    commit: CommitRef,
    protected: bool,
}

#[derive(Deserialize)]
struct CommitRef {
    sha: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    content: Option<String>,
    encoding: Option<String>,
}

#[async_trait]
impl Forge for Repository {
    async fn identity(&self) -> Result<BotIdentity, ForgeError> {
        self.identity_of().await
    }

    fn has_lost_access(&self) -> bool {
        self.client.is_gone.load(Ordering::Relaxed)
    }

    fn number(&self) -> u64 {
        self.id
    }

    async fn repository(&self) -> Result<RepositoryFacts, ForgeError> {
        let facts = self.fetch().await?;
        Ok(RepositoryFacts {
            id: facts.id,
            name: self.name(),
            default_branch: facts.default_branch,
            clone_url: facts.clone_url,
            web_url: facts.html_url,
            archived: facts.archived,
            private: facts.private,
            fork: facts.fork,
            grants: self.grants(facts.permissions.as_ref()),
        })
    }

    async fn issue(&self, number: u64) -> Result<IssueFacts, ForgeError> {
        let issue: wire::Issue = self.read(&format!("/issues/{number}")).await?;
        Ok(issue.into())
    }

    async fn comments(&self, number: u64, since: Option<Timestamp>) -> Result<Vec<CommentFacts>, ForgeError> {
        let since = since.map(|since| format!("?since={}", moment(since))).unwrap_or_default();
        let comments: Vec<wire::Comment> = self.all(&format!("/issues/{number}/comments{since}")).await?;
        Ok(comments.into_iter().map(Into::into).collect())
    }

    async fn has_comment(&self, id: u64) -> Result<bool, ForgeError> {
        Ok(self.find::<wire::Comment>(&format!("/issues/comments/{id}")).await?.is_some())
    }

    async fn issue_events(&self, number: u64) -> Result<Vec<IssueEvent>, ForgeError> {
        let events: Vec<wire::Event> = self.all(&format!("/issues/{number}/events")).await?;
        Ok(events.into_iter().map(Into::into).collect())
    }

    async fn recent_comments(&self, since: Timestamp) -> Result<Listing<RecentComment>, ForgeError> {
        let query = format!("since={}&sort=updated&direction=asc", moment(since));
        let talk: Pages<wire::Comment> =
            self.pages(&format!("/issues/comments?{query}"), None, RECENT_PAGES).await?;
        let lines: Pages<wire::ReviewComment> =
            self.pages(&format!("/pulls/comments?{query}"), None, RECENT_PAGES).await?;
        let mut items = Vec::with_capacity(talk.items.len() + lines.items.len());
        for comment in talk.items {
            if let Some(number) = comment.number() {
                let is_pull_request = comment.is_on_pull_request();
                let comment = comment.into();
                items.push(RecentComment::Conversation { number, is_pull_request, comment });
            }
        }
        // Where one of the lists is cut, nothing of the other beyond the cut may pass: the next call starts at the last.
        let talk_until = items.last().filter(|_| talk.more).map(RecentComment::updated_at);
        let mut lines_until = None;
        for comment in lines.items {
            if let Some(number) = comment.number() {
                let comment: LineComment = comment.into();
                lines_until = Some(comment.updated_at).filter(|_| lines.more);
                items.push(RecentComment::Line { number, comment });
            }
        }
        items.sort_by_key(RecentComment::updated_at);
        if let Some(until) = talk_until.into_iter().chain(lines_until).min() {
            items.retain(|item| item.updated_at() <= until);
        }
        Ok(Listing { items, more: talk.more || lines.more })
    }

    async fn recent_issues(&self, since: Timestamp) -> Result<Listing<IssueFacts>, ForgeError> {
        let rest = format!("/issues?state=all&sort=updated&direction=asc&since={}", moment(since));
        let pages: Pages<wire::Issue> = self.pages(&rest, None, RECENT_PAGES).await?;
        Ok(Listing { items: pages.items.into_iter().map(Into::into).collect(), more: pages.more })
    }

    async fn recent_pulls(&self, since: Timestamp) -> Result<Listing<PullFacts>, ForgeError> {
        let mut items: Vec<PullFacts> = Vec::new();
        // This list knows no `since`, so it is read until it is older; its first page is mostly all of it.
        for page in 1..=RECENT_PAGES {
            let rest =
                format!("/pulls?state=all&sort=updated&direction=desc&per_page={PER_PAGE}&page={page}");
            let pulls: Vec<wire::Pull> = self.read(&rest).await?;
            let is_last = pulls.len() < PER_PAGE || pulls.last().is_none_or(|pull| pull.updated_at < since);
            items.extend(pulls.into_iter().filter(|pull| pull.updated_at >= since).map(Into::into));
            if is_last {
                return Ok(Listing { items, more: false });
            }
        }
        Ok(Listing { items, more: true })
    }

    async fn edits(&self, texts: &[TextId]) -> Result<HashMap<TextId, TextEdits>, ForgeError> {
        self.edits_of(texts).await
    }

    async fn permission(&self, actor: &Actor) -> Result<PermissionFact, ForgeError> {
        let now = self.client.clock.now();
        let key = format!("{}/{}", actor.id, actor.login);
        let fresh = |(at, _): &(Timestamp, PermissionFact)| {
            Duration::try_from(now.duration_since(*at)).is_ok_and(|age| age < PERMISSION_AGE)
        };
        {
            let mut known = self.permissions.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, fact)) = known.get(&key).filter(|entry| fresh(entry)) {
                return Ok(fact.clone());
            }
            if known.len() >= MAX_PERMISSIONS {
                known.retain(|_, entry| fresh(entry));
            }
            if known.len() >= MAX_PERMISSIONS {
                known.clear();
            }
        }
        // A permission must not be older than a minute, so this answer never comes from a 304 of before: that is a
        // fresh answer as well.
        let rest = format!("/collaborators/{}/permission", segment(&actor.login));
        let answer: Option<PermissionAnswer> = match self.find(&rest).await {
            // Who may not even be asked about may nothing. One report says that GitHub wants `contents: write` for this.
            Err(ForgeError::Forbidden { message, permission }) => {
                tracing::warn!(
                    actor.id = actor.id,
                    message,
                    permission,
                    "nobody may be asked about; so nobody may command"
                );
                None
            }
            answer => answer?,
        };
        let nobody = PermissionFact { user_id: None, permission: Permission::None, role_name: None };
        let fact = answer.map_or(nobody, |answer| {
            let user_id = answer.user.map(|user| user.id);
            let granted = match answer.permission.as_str() {
                "admin" => Permission::Admin,
                "write" | "maintain" => Permission::Write,
                "read" | "triage" => Permission::Read,
                _ => Permission::None,
            };
            // The login may be somebody else's by now; without an id nobody can tell.
            let permission = if user_id == Some(actor.id) { granted } else { Permission::None };
            PermissionFact { user_id, permission, role_name: answer.role_name }
        });
        self.permissions.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (now, fact.clone()));
        Ok(fact)
    }

    async fn react(&self, number: u64, place: &Place) -> Result<(), ForgeError> {
        self.put_reaction(number, place).await
    }

    async fn put_comment(
        &self,
        number: u64,
        marker: &Marker,
        known: Option<u64>,
        body: &str,
        priority: Priority,
    ) -> Result<CommentHandle, ForgeError> {
        let body = body::marked(body, marker, &self.client.scrubber);
        self.put_conversation_comment(number, marker, known, &body, priority).await
    }

    async fn put_reply(
        &self,
        pull: u64,
        thread: u64,
        marker: &Marker,
        body: &str,
        priority: Priority,
    ) -> Result<CommentHandle, ForgeError> {
        let body = body::marked(body, marker, &self.client.scrubber);
        self.put_thread_reply(pull, thread, marker, &body, priority).await
    }

    async fn set_labels(
        &self,
        number: u64,
        family: &[LabelSpec],
        wanted: Option<&str>,
        priority: Priority,
    ) -> Result<(), ForgeError> {
        self.put_label_of(number, family, wanted, priority).await
    }

    async fn has_label(&self, name: &str) -> Result<bool, ForgeError> {
        let known: Option<wire::Label> = self.find(&format!("/labels/{}", segment(name))).await?;
        Ok(known.is_some())
    }

    async fn make_label(&self, label: &LabelSpec) -> Result<(), ForgeError> {
        self.ensure_label(label, Priority::Reply).await
    }

    async fn find_pull(&self, branch: &str) -> Result<Option<PullFacts>, ForgeError> {
        match self.pull_of_branch(branch).await? {
            // The list leaves out whether it can be merged.
            Some(pull) => self.pull(pull.number).await.map(Some),
            None => Ok(None),
        }
    }

    async fn pull(&self, number: u64) -> Result<PullFacts, ForgeError> {
        let pull: wire::Pull = self.read(&format!("/pulls/{number}")).await?;
        Ok(pull.into())
    }

    async fn put_pull(&self, spec: &PullSpec) -> Result<PutPull, ForgeError> {
        self.open_pull(spec).await
    }

    async fn update_pull(&self, number: u64, update: &PullUpdate) -> Result<PullFacts, ForgeError> {
        self.change_pull(number, update).await
    }

    async fn merge_pull(
        &self,
        number: u64,
        head_sha: &str,
        method: MergeMethod,
    ) -> Result<Merged, ForgeError> {
        self.merge(number, head_sha, method).await
    }

    async fn review(&self, pull: u64, review_id: u64) -> Result<ReviewFacts, ForgeError> {
        let review: wire::Review = self.read(&format!("/pulls/{pull}/reviews/{review_id}")).await?;
        let mut review = ReviewFacts::from(review);
        // The review's own list of comments leaves out their lines.
        review.comments = self.review_comments(pull).await?;
        review.comments.retain(|comment| comment.review_id == Some(review_id));
        Ok(review)
    }

    async fn reviews(&self, pull: u64) -> Result<Vec<ReviewFacts>, ForgeError> {
        let reviews: Vec<wire::Review> = self.all(&format!("/pulls/{pull}/reviews")).await?;
        Ok(reviews.into_iter().map(Into::into).collect())
    }

    async fn review_comments(&self, pull: u64) -> Result<Vec<LineComment>, ForgeError> {
        let comments: Vec<wire::ReviewComment> = self.all(&format!("/pulls/{pull}/comments")).await?;
        Ok(comments.into_iter().map(Into::into).collect())
    }

    async fn put_check(
        &self,
        spec: &CheckSpec,
        known: Option<&CheckHandle>,
        priority: Priority,
    ) -> Result<CheckHandle, ForgeError> {
        match &self.installation {
            Some(installation) => self.put_check_run(spec, known, installation.app_id, priority).await,
            None => self.put_status(spec, priority).await,
        }
    }

    async fn failed_checks(&self, head_sha: &str) -> Result<Vec<FailedCheck>, ForgeError> {
        self.failures_of(head_sha).await
    }

    async fn checks(&self, head_sha: &str) -> Result<CheckFacts, ForgeError> {
        self.checks_of(head_sha).await
    }

    async fn file(&self, file: &str, reference: &str) -> Result<Option<String>, ForgeError> {
        if file.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Ok(None);
        }
        let rest = format!("/contents/{}?ref={}", path(file), segment(reference));
        // A folder is answered as a list.
        let found: Option<Value> = self.find(&rest).await?;
        let entry = found.and_then(|found| serde_json::from_value::<Entry>(found).ok());
        let Some(Entry { size, content, encoding, .. }) = entry.filter(|entry| entry.kind == "file") else {
            return Ok(None);
        };
        if size > MAX_FILE {
            return Err(ForgeError::TooLong { what: format!("`{file}`") });
        }
        let (Some(content), Some("base64")) = (content, encoding.as_deref()) else { return Ok(None) };
        let encoded: String = content.chars().filter(|character| !character.is_whitespace()).collect();
        let unreadable =
            |error: base64::DecodeError| ForgeError::Unexpected { message: format!("`{file}`: {error}") };
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(unreadable)?;
        Ok(String::from_utf8(bytes).ok())
    }

    async fn branch(&self, name: &str) -> Result<Option<BranchFacts>, ForgeError> {
        let found: Option<BranchAnswer> = self.find(&format!("/branches/{}", segment(name))).await?;
        // A renamed branch is answered under its new name.
        let found = found.filter(|branch| branch.name == name);
        Ok(found.map(|branch| BranchFacts { sha: branch.commit.sha, protected: branch.protected }))
    }

    async fn git_credential(&self) -> Result<GitCredential, ForgeError> {
        let minted = self.account.git_credential(self.installation.as_ref(), self.id).await;
        if let Err(ForgeError::NoAccess { .. }) = &minted {
            self.client.is_gone.store(true, Ordering::Relaxed);
        }
        minted
    }
}
