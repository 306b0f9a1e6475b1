//! A forge in memory: issues, comments, pull requests, and the log of what it sent. Every call may be slow, refused or
//! limited, and every write may lose its answer after its effect.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cloud_code_engine::Forges;
use cloud_code_forge::{
    Access, BotIdentity, BranchFacts, CheckFacts, CheckHandle, CheckSpec, CommentFacts, CommentHandle,
    Delivery, DeliveryLog, DeliveryPage, DeliveryPayload, Effect, FailedCheck, Forge, ForgeError,
    GitCredential, Grants, IssueEvent, IssueFacts, LabelSpec, LineComment, Listing, Marker, Mergeable,
    Merged, OpenState, Permission, PermissionFact, Priority, PullFacts, PullSpec, PullState, PullUpdate,
    PutPull, Readiness, RecentComment, RepositoryFacts, ReviewFacts, TextEdits, TextId,
};
use cloud_code_model::{Actor, MergeMethod, Place, RepositoryName};
use cloud_code_workspace::CommitId;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::world::{Event, Fault, State, World};

/// Our App, and the account that it writes with.
pub(crate) const APP: u64 = 77;
const BOT: u64 = 9_000;
/// The repository's number.
pub(crate) const REPOSITORY: u64 = 5;
/// Who asks.
pub(crate) const ALICE: u64 = 1;

/// Something said.
#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) author: u64,
    pub(crate) body: String,
    pub(crate) created_at: Timestamp,
}

/// An issue, or the conversation of a pull request.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) title: String,
    pub(crate) is_open: bool,
    pub(crate) labels: BTreeSet<String>,
    pub(crate) comments: Vec<Comment>,
    created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A pull request.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    pub(crate) branch: String,
    base: String,
    title: String,
    body: String,
    pub(crate) state: PullState,
    draft: bool,
}

/// A delivery as the forge remembers it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) guid: String,
    pub(crate) event: &'static str,
    pub(crate) body: String,
    at: Timestamp,
    pub(crate) has_arrived: bool,
}

/// The forge's memory.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    pub(crate) issues: BTreeMap<u64, Issue>,
    pub(crate) pulls: BTreeMap<u64, Pull>,
    pub(crate) sent: BTreeMap<u64, Sent>,
    /// How often each place got a reaction.
    pub(crate) reactions: BTreeMap<String, u32>,
    checks: BTreeMap<(String, String), u64>,
    numbers: u64,
}

fn alice() -> Actor {
    Actor { id: ALICE, login: "alice".to_owned() }
}

fn bot() -> Actor {
    Actor { id: BOT, login: "cloud-code[bot]".to_owned() }
}

fn who(id: u64) -> Actor {
    if id == BOT { bot() } else { alice() }
}

/// What a person does, as the forge tells it to those who listen.
impl State {
    fn number(&mut self) -> u64 {
        self.hub.numbers += 1;
        self.hub.numbers
    }

    /// Somebody opens an issue.
    pub(crate) fn open_issue(&mut self, title: &str) -> u64 {
        let number = self.number();
        let now = self.second();
        let issue = Issue {
            title: title.to_owned(),
            is_open: true,
            labels: BTreeSet::new(),
            comments: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        self.hub.issues.insert(number, issue);
        number
    }

    /// Alice says something.
    pub(crate) fn say(&mut self, number: u64, body: &str) -> u64 {
        let id = 1_000 + self.fresh();
        let now = self.second();
        self.note(|| format!("alice on #{number}: {body}"));
        let Some(issue) = self.hub.issues.get_mut(&number) else { return id };
        issue.updated_at = now;
        issue.comments.push(Comment { id, author: ALICE, body: body.to_owned(), created_at: now });
        let comment = json!({
            "id": id, "user": person(ALICE), "body": body, "created_at": now.to_string(),
        });
        let body = json!({"action": "created", "issue": self.issue_wire(number), "comment": comment});
        self.send("issue_comment", body);
        id
    }

    /// Alice takes a comment back.
    pub(crate) fn unsay(&mut self, number: u64, id: u64) {
        let Some(issue) = self.hub.issues.get_mut(&number) else { return };
        let Some(at) = issue.comments.iter().position(|comment| comment.id == id) else { return };
        let gone = issue.comments.remove(at);
        self.note(|| format!("alice deletes comment {id} of #{number}"));
        let comment = json!({
            "id": id, "user": person(ALICE), "body": gone.body, "created_at": gone.created_at.to_string(),
        });
        let body = json!({"action": "deleted", "issue": self.issue_wire(number), "comment": comment});
        self.send("issue_comment", body);
    }

    /// Alice closes an issue, or opens it again.
    pub(crate) fn set_open(&mut self, number: u64, is_open: bool) {
        let now = self.second();
        let Some(issue) = self.hub.issues.get_mut(&number).filter(|issue| issue.is_open != is_open) else {
            return;
        };
        issue.is_open = is_open;
        issue.updated_at = now;
        let action = if is_open { "reopened" } else { "closed" };
        self.note(|| format!("#{number} is {action}"));
        let body = json!({"action": action, "issue": self.issue_wire(number)});
        self.send("issues", body);
    }

    /// Alice ends a pull request, with a merge or without.
    pub(crate) fn end_pull(&mut self, number: u64, merged: bool) {
        let now = self.second();
        let Some(pull) = self.hub.pulls.get_mut(&number).filter(|pull| pull.state == PullState::Open) else {
            return;
        };
        pull.state = if merged { PullState::Merged } else { PullState::Closed };
        let (branch, base) = (pull.branch.clone(), pull.base.clone());
        self.note(|| format!("pull request #{number} ends, merged: {merged}"));
        let head = self.repositories.branches.get(&branch).cloned();
        if merged && let (Some(head), Some(tip)) = (&head, self.repositories.branches.get(&base).cloned()) {
            let salt = self.fresh();
            let merge = self.repositories.commit(&[tip, head.clone()], "merge", salt);
            self.repositories.branches.insert(base, merge);
        }
        let head = head.map(|head| head.to_string()).unwrap_or_default();
        let body = json!({"action": "closed", "pull_request": {
            "number": number, "user": person(BOT), "body": "", "created_at": now.to_string(),
            "updated_at": now.to_string(), "merged": merged,
            "head": {"ref": branch, "sha": head, "repo": {"id": REPOSITORY}},
        }});
        self.send("pull_request", body);
    }

    /// Somebody pushes to a branch.
    pub(crate) fn push_by_others(&mut self, branch: &str) {
        let (file, salt) = (format!("f{}", self.chance.below(6)), self.fresh());
        let before = self.repositories.branches.get(branch).cloned();
        let (Some(before), Some(after)) = (before, self.repositories.push_by_others(branch, &file, salt))
        else {
            return;
        };
        self.note(|| format!("somebody pushes {file} to {branch}"));
        let body = json!({
            "ref": format!("refs/heads/{branch}"), "before": before.as_str(), "after": after.as_str(),
        });
        self.send("push", body);
    }

    fn issue_wire(&self, number: u64) -> Value {
        let Some(issue) = self.hub.issues.get(&number) else { return Value::Null };
        let mut wire = json!({
            "number": number, "user": person(ALICE), "body": "Empty passwords must be refused.",
            "created_at": issue.created_at.to_string(), "updated_at": issue.updated_at.to_string(),
        });
        if self.hub.pulls.contains_key(&number) {
            wire["pull_request"] = json!({});
        }
        wire
    }

    /// Sends an event: soon, late, twice, or never.
    fn send(&mut self, event: &'static str, mut body: Value) {
        body["repository"] = json!({"id": REPOSITORY, "full_name": "acme/shop", "default_branch": "main"});
        body["sender"] = person(ALICE);
        body["installation"] = json!({"id": 3});
        let id = self.fresh();
        let sent = Sent {
            guid: format!("guid-{id}"),
            event,
            body: body.to_string(),
            at: self.second(),
            has_arrived: false,
        };
        self.hub.sent.insert(id, sent);
        let soon = Duration::from_millis(self.chance.between(20, 900));
        let dice = self.chance.below(100);
        let is_odd = self.faults.given > 0 || self.faults.left > 0;
        match dice {
            0..6 if is_odd => {
                self.count("deliveries lost");
                self.note(|| format!("delivery {id} is lost"));
            }
            6..16 if is_odd => {
                self.count("deliveries late");
                let wait = Duration::from_secs(self.chance.between(1, 300));
                self.later(wait, Event::Deliver { id });
            }
            16..26 if is_odd => {
                self.count("deliveries twice");
                let wait = Duration::from_secs(self.chance.between(1, 120));
                self.later(soon, Event::Deliver { id });
                self.later(wait, Event::Deliver { id });
            }
            _ => self.later(soon, Event::Deliver { id }),
        }
    }
}

fn person(id: u64) -> Value {
    let actor = who(id);
    json!({"id": actor.id, "login": actor.login, "type": if id == BOT { "Bot" } else { "User" }})
}

/// The forge of a world.
#[derive(Clone)]
pub(crate) struct SimForge(pub(crate) World);

const READ: &[Fault] = &[Fault::CrashBefore, Fault::Refuse, Fault::Slow, Fault::Limit];
const WRITE: &[Fault] = &[
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::Refuse,
    Fault::Lose,
    Fault::Lose,
    Fault::Slow,
    Fault::Limit,
];
/// Longest answer in good times, in milliseconds.
const LATENCY: u64 = 150;

fn error(fault: Fault, state: &State) -> ForgeError {
    let unreachable = |effect| ForgeError::Unreachable { message: "simulated".to_owned(), effect };
    match fault {
        Fault::Lose => unreachable(Effect::Unknown),
        Fault::Limit => {
            let until = state.time().checked_add(SignedDuration::from_secs(45)).unwrap_or(Timestamp::MAX);
            ForgeError::Limited { until }
        }
        _ => unreachable(Effect::None),
    }
}

fn missing(what: impl Into<String>) -> ForgeError {
    ForgeError::NotFound { what: what.into() }
}

fn address(number: u64) -> String {
    format!("https://forge.test/acme/shop/issues/{number}")
}

fn handle(number: u64, id: u64) -> CommentHandle {
    CommentHandle { id, url: format!("{}#issuecomment-{id}", address(number)) }
}

fn comment_facts(number: u64, comment: &Comment) -> CommentFacts {
    CommentFacts {
        text_id: TextId::new(format!("C{}", comment.id)),
        id: comment.id,
        author: Some(who(comment.author)),
        author_is_bot: comment.author == BOT,
        via_app: (comment.author == BOT).then_some(APP),
        body: comment.body.clone(),
        created_at: comment.created_at,
        updated_at: comment.created_at,
        url: handle(number, comment.id).url,
    }
}

fn pull_facts(state: &State, number: u64) -> Result<PullFacts, ForgeError> {
    let pull = state.hub.pulls.get(&number).ok_or_else(|| missing(format!("pull request #{number}")))?;
    let head = state.repositories.branches.get(&pull.branch);
    Ok(PullFacts {
        number,
        url: format!("https://forge.test/acme/shop/pull/{number}"),
        title: pull.title.clone(),
        body: pull.body.clone(),
        author: Some(bot()),
        state: pull.state,
        draft: pull.draft,
        head_sha: head.map(ToString::to_string).unwrap_or_default(),
        head_branch: pull.branch.clone(),
        head_repository: repository_name().ok(),
        same_repository: true,
        base: pull.base.clone(),
        mergeable: Mergeable::Unknown,
        merged_by: None,
        readiness: Readiness::Other,
        updated_at: state.second(),
    })
}

pub(crate) fn repository_name() -> Result<RepositoryName, ForgeError> {
    "acme/shop".parse().map_err(|_| missing("the repository"))
}

impl SimForge {
    async fn read<T>(
        &self,
        what: &'static str,
        look: impl FnOnce(&State) -> Result<T, ForgeError>,
    ) -> Result<T, ForgeError> {
        self.0.call(what, LATENCY, READ, error, |state| look(state)).await
    }

    async fn write<T>(
        &self,
        what: &'static str,
        change: impl FnOnce(&mut State) -> Result<T, ForgeError>,
    ) -> Result<T, ForgeError> {
        self.0.call(what, LATENCY, WRITE, error, change).await
    }
}

#[async_trait]
impl Forge for SimForge {
    async fn identity(&self) -> Result<BotIdentity, ForgeError> {
        Ok(BotIdentity { actor: bot(), app_id: Some(APP), mention: "cloud-code".to_owned() })
    }

    fn has_lost_access(&self) -> bool {
        false
    }

    fn number(&self) -> u64 {
        REPOSITORY
    }

    async fn repository(&self) -> Result<RepositoryFacts, ForgeError> {
        let name = repository_name()?;
        let all = Access::Write;
        self.read("forge.repository", |_| {
            Ok(RepositoryFacts {
                id: REPOSITORY,
                name,
                default_branch: "main".to_owned(),
                clone_url: "https://forge.test/acme/shop.git".to_owned(),
                web_url: "https://forge.test/acme/shop".to_owned(),
                archived: false,
                private: false,
                fork: false,
                grants: Grants {
                    contents: all,
                    issues: all,
                    pull_requests: all,
                    checks: all,
                    statuses: all,
                    workflows: Access::None,
                },
            })
        })
        .await
    }

    async fn issue(&self, number: u64) -> Result<IssueFacts, ForgeError> {
        self.read("forge.issue", |state| {
            let issue = state.hub.issues.get(&number).ok_or_else(|| missing(format!("#{number}")))?;
            Ok(IssueFacts {
                text_id: TextId::new(format!("I{number}")),
                number,
                title: issue.title.clone(),
                body: "Empty passwords must be refused.".to_owned(),
                author: Some(alice()),
                author_is_bot: false,
                state: if issue.is_open { OpenState::Open } else { OpenState::Closed },
                labels: issue.labels.iter().cloned().collect(),
                assignees: Vec::new(),
                is_pull_request: state.hub.pulls.contains_key(&number),
                created_at: issue.created_at,
                updated_at: issue.updated_at,
                url: address(number),
                locked: false,
            })
        })
        .await
    }

    async fn comments(&self, number: u64, since: Option<Timestamp>) -> Result<Vec<CommentFacts>, ForgeError> {
        self.read("forge.comments", |state| {
            let issue = state.hub.issues.get(&number).ok_or_else(|| missing(format!("#{number}")))?;
            let all = issue.comments.iter();
            let new = all.filter(|comment| since.is_none_or(|since| comment.created_at >= since));
            Ok(new.map(|comment| comment_facts(number, comment)).collect())
        })
        .await
    }

    async fn has_comment(&self, id: u64) -> Result<bool, ForgeError> {
        self.read("forge.has_comment", |state| {
            Ok(state.hub.issues.values().any(|issue| issue.comments.iter().any(|comment| comment.id == id)))
        })
        .await
    }

    async fn issue_events(&self, _: u64) -> Result<Vec<IssueEvent>, ForgeError> {
        Ok(Vec::new())
    }

    async fn recent_comments(&self, _: Timestamp) -> Result<Listing<RecentComment>, ForgeError> {
        Ok(Listing { items: Vec::new(), more: false })
    }

    async fn recent_issues(&self, _: Timestamp) -> Result<Listing<IssueFacts>, ForgeError> {
        Ok(Listing { items: Vec::new(), more: false })
    }

    async fn recent_pulls(&self, _: Timestamp) -> Result<Listing<PullFacts>, ForgeError> {
        Ok(Listing { items: Vec::new(), more: false })
    }

    async fn edits(&self, texts: &[TextId]) -> Result<HashMap<TextId, TextEdits>, ForgeError> {
        self.read("forge.edits", |_| {
            Ok(texts.iter().map(|text| (text.clone(), TextEdits::default())).collect())
        })
        .await
    }

    async fn permission(&self, actor: &Actor) -> Result<PermissionFact, ForgeError> {
        self.read("forge.permission", |_| {
            let permission = if actor.id == ALICE { Permission::Write } else { Permission::Read };
            Ok(PermissionFact { user_id: Some(actor.id), permission, role_name: None })
        })
        .await
    }

    async fn react(&self, number: u64, place: &Place) -> Result<(), ForgeError> {
        self.write("forge.react", |state| {
            let known = match place {
                Place::Comment { id } => {
                    let issue = state.hub.issues.get(&number);
                    issue.is_some_and(|issue| issue.comments.iter().any(|comment| comment.id == *id))
                }
                Place::Issue | Place::Review { .. } | Place::ReviewComment { .. } | Place::Check { .. } => {
                    true
                }
            };
            if !known {
                return Err(missing("the comment"));
            }
            *state.hub.reactions.entry(format!("{number} {place:?}")).or_default() += 1;
            Ok(())
        })
        .await
    }

    async fn put_comment(
        &self,
        number: u64,
        marker: &Marker,
        known: Option<u64>,
        body: &str,
        _: Priority,
    ) -> Result<CommentHandle, ForgeError> {
        let text = format!("{body}\n\n{marker}");
        // As the adapter does: looked for first, in a call of its own.
        let found = self
            .read("forge.put_comment.look", |state| {
                let issue = state.hub.issues.get(&number).ok_or_else(|| missing(format!("#{number}")))?;
                let is_it = |comment: &&Comment| {
                    comment.author == BOT && (Some(comment.id) == known || marker.is_in(&comment.body))
                };
                Ok(issue.comments.iter().find(is_it).map(|comment| comment.id))
            })
            .await?;
        self.write("forge.put_comment", |state| {
            let now = state.second();
            let fresh = 1_000 + state.fresh();
            let issue = state.hub.issues.get_mut(&number).ok_or_else(|| missing(format!("#{number}")))?;
            issue.updated_at = now;
            let there = issue.comments.iter_mut().find(|comment| Some(comment.id) == found);
            if let Some(comment) = there {
                comment.body = text;
                return Ok(handle(number, comment.id));
            }
            issue.comments.push(Comment { id: fresh, author: BOT, body: text, created_at: now });
            state.note(|| format!("comment {fresh} on #{number}: {}", marker.name()));
            Ok(handle(number, fresh))
        })
        .await
    }

    async fn put_reply(
        &self,
        pull: u64,
        _: u64,
        marker: &Marker,
        body: &str,
        priority: Priority,
    ) -> Result<CommentHandle, ForgeError> {
        self.put_comment(pull, marker, None, body, priority).await
    }

    async fn set_labels(
        &self,
        number: u64,
        family: &[LabelSpec],
        wanted: Option<&str>,
        _: Priority,
    ) -> Result<(), ForgeError> {
        self.write("forge.set_labels", |state| {
            let issue = state.hub.issues.get_mut(&number).ok_or_else(|| missing(format!("#{number}")))?;
            issue.labels.retain(|label| !family.iter().any(|spec| spec.name == *label));
            issue.labels.extend(wanted.map(str::to_owned));
            Ok(())
        })
        .await
    }

    async fn has_label(&self, _: &str) -> Result<bool, ForgeError> {
        Ok(true)
    }

    async fn make_label(&self, _: &LabelSpec) -> Result<(), ForgeError> {
        Ok(())
    }

    async fn find_pull(&self, branch: &str) -> Result<Option<PullFacts>, ForgeError> {
        self.read("forge.find_pull", |state| {
            let mut of_branch = state.hub.pulls.iter().filter(|(_, pull)| pull.branch == branch).rev();
            let open = of_branch.clone().find(|(_, pull)| pull.state == PullState::Open);
            open.or_else(|| of_branch.next()).map(|(number, _)| pull_facts(state, *number)).transpose()
        })
        .await
    }

    async fn pull(&self, number: u64) -> Result<PullFacts, ForgeError> {
        self.read("forge.pull", |state| pull_facts(state, number)).await
    }

    async fn put_pull(&self, spec: &PullSpec) -> Result<PutPull, ForgeError> {
        let open = |state: &State| {
            let mut pulls = state.hub.pulls.iter();
            let is_it =
                |(_, pull): &(&u64, &Pull)| pull.branch == spec.branch && pull.state == PullState::Open;
            pulls.find(is_it).map(|(number, _)| *number)
        };
        let found = self.read("forge.put_pull.look", |state| Ok(open(state))).await?;
        self.write("forge.put_pull", |state| {
            if let Some(number) = found.or_else(|| open(state)) {
                return Ok(PutPull { pull: pull_facts(state, number)?, created: false, notes: Vec::new() });
            }
            let branches = &state.repositories.branches;
            let head = branches
                .get(&spec.branch)
                .cloned()
                .ok_or_else(|| ForgeError::Invalid { message: "the branch does not exist".to_owned() })?;
            let base: Option<CommitId> = branches.get(&spec.base).cloned();
            if base.is_some_and(|base| state.repositories.holds(&base, &head)) {
                return Err(ForgeError::NothingToMerge);
            }
            let number = state.open_issue(&spec.title);
            let pull = Pull {
                branch: spec.branch.clone(),
                base: spec.base.clone(),
                title: spec.title.clone(),
                body: format!("{}\n\n{}", spec.body, spec.marker),
                state: PullState::Open,
                draft: spec.draft,
            };
            state.hub.pulls.insert(number, pull);
            state.note(|| format!("pull request #{number} of {}", spec.branch));
            Ok(PutPull { pull: pull_facts(state, number)?, created: true, notes: Vec::new() })
        })
        .await
    }

    async fn update_pull(&self, number: u64, update: &PullUpdate) -> Result<PullFacts, ForgeError> {
        self.write("forge.update_pull", |state| {
            let pull = state.hub.pulls.get_mut(&number).ok_or_else(|| missing(format!("#{number}")))?;
            if let Some((body, marker)) = &update.body {
                pull.body = format!("{body}\n\n{marker}");
            }
            pull_facts(state, number)
        })
        .await
    }

    async fn merge_pull(&self, number: u64, head_sha: &str, _: MergeMethod) -> Result<Merged, ForgeError> {
        self.write("forge.merge_pull", |state| {
            let pull = pull_facts(state, number)?;
            match pull.state {
                PullState::Merged => Ok(Merged::Done),
                PullState::Open if pull.head_sha == head_sha => {
                    state.end_pull(number, true);
                    Ok(Merged::Done)
                }
                PullState::Open | PullState::Closed => Ok(Merged::HeadMoved),
            }
        })
        .await
    }

    async fn review(&self, _: u64, _: u64) -> Result<ReviewFacts, ForgeError> {
        Err(missing("the review"))
    }

    async fn reviews(&self, _: u64) -> Result<Vec<ReviewFacts>, ForgeError> {
        Ok(Vec::new())
    }

    async fn review_comments(&self, _: u64) -> Result<Vec<LineComment>, ForgeError> {
        Ok(Vec::new())
    }

    async fn put_check(
        &self,
        spec: &CheckSpec,
        _: Option<&CheckHandle>,
        _: Priority,
    ) -> Result<CheckHandle, ForgeError> {
        self.write("forge.put_check", |state| {
            let fresh = state.fresh();
            let key = (spec.head_sha.clone(), spec.external_id.clone());
            let id = *state.hub.checks.entry(key).or_insert(fresh);
            Ok(CheckHandle::Run { id, head_sha: spec.head_sha.clone() })
        })
        .await
    }

    async fn failed_checks(&self, _: &str) -> Result<Vec<FailedCheck>, ForgeError> {
        self.read("forge.failed_checks", |_| Ok(Vec::new())).await
    }

    async fn checks(&self, _: &str) -> Result<CheckFacts, ForgeError> {
        self.read("forge.checks", |_| Ok(CheckFacts { is_whole: true, ..CheckFacts::default() })).await
    }

    async fn file(&self, _: &str, _: &str) -> Result<Option<String>, ForgeError> {
        Ok(None)
    }

    async fn branch(&self, name: &str) -> Result<Option<BranchFacts>, ForgeError> {
        self.read("forge.branch", |state| {
            let found = state.repositories.branches.get(name);
            Ok(found.map(|sha| BranchFacts { sha: sha.to_string(), protected: false }))
        })
        .await
    }

    async fn git_credential(&self) -> Result<GitCredential, ForgeError> {
        self.read("forge.git_credential", |_| {
            Ok(GitCredential {
                username: "x-access-token".to_owned(),
                secret: SecretString::from("simulated"),
                expires_at: None,
            })
        })
        .await
    }
}

#[async_trait]
impl Forges for SimForge {
    async fn of(&self, _: &RepositoryName) -> Result<Arc<dyn Forge>, ForgeError> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl DeliveryLog for SimForge {
    async fn list(&self, _: Option<&str>) -> Result<DeliveryPage, ForgeError> {
        self.read("forge.deliveries", |state| {
            let of = |(id, sent): (&u64, &Sent)| Delivery {
                id: *id,
                guid: sent.guid.clone(),
                event: sent.event.to_owned(),
                action: None,
                delivered_at: sent.at,
                status: if sent.has_arrived { "OK" } else { "failed to connect" }.to_owned(),
                status_code: if sent.has_arrived { 202 } else { 0 },
                redelivery: false,
            };
            Ok(DeliveryPage { deliveries: state.hub.sent.iter().rev().map(of).collect(), next: None })
        })
        .await
    }

    async fn payload(&self, id: u64) -> Result<DeliveryPayload, ForgeError> {
        self.read("forge.delivery", |state| {
            let sent = state.hub.sent.get(&id).ok_or_else(|| missing("the delivery"))?;
            Ok(DeliveryPayload { headers: Vec::new(), body: sent.body.clone() })
        })
        .await
    }

    async fn redeliver(&self, _: u64) -> Result<(), ForgeError> {
        Ok(())
    }
}
