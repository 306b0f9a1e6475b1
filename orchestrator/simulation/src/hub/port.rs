//! The forge as the engine knows it. Every call may be slow, refused or limited, and every write may lose its answer after its
//! effect.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use cloud_code_engine::Forges;
use cloud_code_forge::{
    Access, BotIdentity, BranchFacts, CheckFacts, CheckHandle, CheckSpec, CommentFacts, CommentHandle,
    Delivery, DeliveryLog, DeliveryPage, DeliveryPayload, Effect, FailedCheck, Forge, ForgeError,
    GitCredential, Grants, IssueEvent, IssueFacts, LabelSpec, LineComment, Listing, Marker, Mergeable,
    Merged, OpenState, Permission, PermissionFact, Priority, PullFacts, PullSpec, PullState, PullUpdate,
    PutPull, Readiness, RecentComment, RepositoryFacts, ReviewFacts, TextEdits, TextId,
};
use cloud_code_model::{Actor, MergeMethod, Place, RepositoryName, Thread};
use cloud_code_workspace::CommitId;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use super::{ALICE, APP, BOT, Comment, Pull, REPOSITORY, Sent, alice, bot, who};
use crate::memory::MemoryStore;
use crate::world::{Fault, State, World};

/// The forge of a world.
#[derive(Clone)]
pub(crate) struct SimForge(pub(crate) World, pub(crate) MemoryStore);

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
    // What is pushed after its end is no part of it.
    let head = match &pull.end {
        Some((head, _)) => head.clone(),
        None => state.repositories.branches.get(&pull.branch).map(ToString::to_string).unwrap_or_default(),
    };
    let merged_by = pull.end.as_ref().filter(|_| pull.state == PullState::Merged).map(|(_, by)| who(*by));
    Ok(PullFacts {
        number,
        url: format!("https://forge.test/acme/shop/pull/{number}"),
        title: pull.title.clone(),
        body: pull.body.clone(),
        author: Some(bot()),
        state: pull.state,
        draft: pull.draft,
        head_sha: head,
        head_branch: pull.branch.clone(),
        head_repository: repository_name().ok(),
        same_repository: true,
        base: pull.base.clone(),
        mergeable: Mergeable::Clean,
        merged_by,
        readiness: Readiness::Clear,
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
                end: None,
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
        // What was said by now, as far as it was heard. What is said while the call is on its way comes too late.
        let word = {
            let tables = self.1.tables();
            let is_its =
                |thread: &&Thread| thread.published.pull.as_ref().is_some_and(|pull| pull.number == number);
            let thread = tables.threads.values().find(is_its);
            let merging = thread.and_then(|thread| thread.published.merging.as_ref());
            merging
                .filter(|known| known.head_sha == head_sha)
                .and_then(|known| known.verdict.as_ref()?.word.into())
        };
        self.write("forge.merge_pull", |state| {
            let pull = pull_facts(state, number)?;
            Ok(state.merge(&pull, head_sha, word))
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

    async fn checks(&self, sha: &str) -> Result<CheckFacts, ForgeError> {
        // Drawn at the first question, so it is no look alone.
        self.0.call("forge.checks", LATENCY, READ, error, |state| Ok(state.checks_of_others(sha))).await
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
