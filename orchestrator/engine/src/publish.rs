//! Hands work over to a forge: branch, then pull request. Every step looks before it writes, so it can be done again
//! after any interruption and ends with one branch and one pull request.

use cloud_code_fault_points::{Point, reach};
use cloud_code_forge::{Forge, ForgeError, PullNote, PullSpec, PullUpdate, RepositoryFacts};
use cloud_code_model::{
    Ask, Intent, IssueKey, Place, Published, Pull, PullState, RepositoryName, Subject, TaskEvent, TaskState,
    Thread,
};
use cloud_code_task_schema::{BranchName, ControlDir};
use cloud_code_workspace::{CommitId, Credential, Source};

use crate::catch_up::{Seen, Standing};
use crate::facts::Facts;
use crate::follow_up::heard;
use crate::forges::{credential, marker};
use crate::git::{Repo, commit};
use crate::host_git::Handover;
use crate::observe::{Notice, Observer};
use crate::public::Places;
use crate::pull_request::{Origin, PullText, pull_text, replace_section};
use crate::theirs::{THEIRS, Target, target};
use crate::{Engine, EngineError, blocking};

/// Where repositories keep the text that every pull request starts from.
const TEMPLATES: [&str; 4] = [
    ".github/pull_request_template.md",
    ".github/PULL_REQUEST_TEMPLATE.md",
    "pull_request_template.md",
    "docs/pull_request_template.md",
];

/// How the remark begins that a branch was rebased. The next work that is pushed takes it away: it was verified there.
const REBASED: &str = "The branch was rebased onto";

/// A branch of a forge.
pub(crate) struct OnForge {
    pub(crate) base: BranchName,
    pub(crate) sha: String,
    /// Whether the mirror knows of every other branch too what was so a moment ago.
    pub(crate) is_fetched: bool,
}

fn default_branch(known: &RepositoryFacts) -> Result<BranchName, EngineError> {
    known.default_branch.parse().map_err(|_| EngineError::BranchUnfit {
        branch: known.default_branch.clone(),
        why: "the default branch's name holds what git and shells could misread".to_owned(),
    })
}

impl Engine {
    /// Brings the branch up to date with its base if nobody has seen it yet, pushes it and finds or opens its pull request.
    pub(crate) async fn publish_to_forge(
        &self,
        facts: &Facts,
        repository: &RepositoryName,
        observer: &mut dyn Observer,
    ) -> Result<(), EngineError> {
        let TaskState::Publishing { head, .. } = &facts.record.state else { return Ok(()) };
        let asked = &facts.record.task;
        let forge = self.forge(repository).await?;
        let known = forge.repository().await?;
        if known.archived {
            return Err(ForgeError::Archived.into());
        }
        let source = Source::parse(&known.clone_url)?;
        let repo = self.repo(&asked.project, &asked.plan.repo)?;
        let mut thread = self.store.thread_of_issue(&asked.project, &asked.issue).await?;
        let (here, branch) = (repo.clone(), facts.issue.branch.clone());
        let pushed = blocking(move || Ok(here.mirror()?.pushed(&branch)?)).await?;
        let seen = if pushed.is_some() { Seen::Pushed } else { Seen::NotYet };
        let found = self.catch_up(forge.as_ref(), &repo, &source, &facts.issue, head, seen).await?;
        if let Standing::Rebased { tip, head } = &found {
            let remark = format!(
                "{REBASED} {}, the newest of `{}`, after it was verified: the base had moved meanwhile.",
                short(tip),
                facts.issue.base
            );
            self.note_remark(thread.as_mut(), &asked.issue, remark, observer).await?;
            // The next look publishes it, as it stands then.
            return self.advance(facts, TaskEvent::Rebased { head: head.clone() }, observer).await;
        }
        if found != Standing::Empty {
            let (here, branch, wanted) = (repo.clone(), facts.issue.branch.clone(), head.clone());
            match blocking(move || target(here.mirror()?.as_ref(), &branch, &wanted)).await? {
                Target::There => {}
                Target::PutOn { tip, head } => {
                    let remark = format!(
                        "{THEIRS} {} to the branch while this was worked on. It stays; the work was put on top of it after it \
                         was verified.",
                        short(tip.as_str())
                    );
                    self.note_remark(thread.as_mut(), &asked.issue, remark, observer).await?;
                    return self
                        .advance(facts, TaskEvent::Rebased { head: head.to_string() }, observer)
                        .await;
                }
                Target::Expected { old, theirs } => {
                    // Of a rebase that this very task went through, the words stay.
                    let is_put_on = facts.worktree_head.as_ref().is_some_and(|standing| standing != head);
                    if let Some(thread) = thread.as_mut().filter(|_| seen == Seen::Pushed && !is_put_on) {
                        thread.published.remarks.retain(|old| is_lasting(old));
                    }
                    if let Some(theirs) = theirs.filter(|_| !is_put_on) {
                        let remark = format!(
                            "{THEIRS} {} to the branch. It stays, and this work builds on it.",
                            short(theirs.as_str())
                        );
                        self.note_remark(thread.as_mut(), &asked.issue, remark, observer).await?;
                    }
                    reach(Point::BaseCaughtUp).await;
                    self.push_to_forge(&repo, facts, forge.as_ref(), source, head, old).await?;
                    reach(Point::Pushed).await;
                    observer.notice(Notice::Pushed { url: &known.web_url, branch: &facts.issue.branch });
                }
            }
        }
        let mut published =
            thread.as_ref().map(|thread| thread.published.of_issue(&asked.issue)).unwrap_or_default();
        if found != Standing::Empty {
            published = match self
                .put_pull(facts, forge.as_ref(), thread.as_ref(), published.clone(), &known)
                .await
            {
                Ok(published) => published,
                // The base has all of it already: nothing is left to review.
                Err(EngineError::Forge(ForgeError::NothingToMerge)) => published,
                Err(error) => return Err(error),
            };
        }
        reach(Point::PullWritten).await;
        if let Some(pull) = &published.pull {
            observer.notice(Notice::PullRequest { url: &pull.url });
        }
        if let Some(mut thread) = thread {
            thread.published = self.note_published(&thread, published).await?;
            self.ask_for_failed_checks(forge.as_ref(), facts, &thread, head).await?;
            if let Standing::Conflict(conflict) = &found {
                self.hand_over_conflict(&thread, &facts.issue, &facts.record, head, conflict).await?;
            }
        }
        if let Standing::Conflict(conflict) = &found {
            observer.notice(Notice::Warning(format!(
                "the pull request conflicts with {} in {}",
                facts.issue.base,
                conflict.paths.join(", ")
            )));
        }
        self.note_base(facts, head, &found).await?;
        reach(Point::PullNoted).await;
        self.advance(facts, TaskEvent::Published, observer).await
    }

    /// Notes what was published. Where the pull request is may have been learnt meanwhile: it was merged while we wrote.
    async fn note_published(&self, thread: &Thread, mut found: Published) -> Result<Published, EngineError> {
        let before = thread.published.pull.clone();
        let mut note = |published: &mut Published| {
            if let (Some(ours), Some(now)) = (&mut found.pull, &published.pull)
                && ours.number == now.number
                && before
                    .as_ref()
                    .is_some_and(|before| before.number == now.number && before.state != now.state)
            {
                ours.state = now.state;
            }
            // What is said of merging is said by others, and may have been just now.
            if published.of == found.of {
                found.merging.clone_from(&published.merging);
            }
            *published = found.clone();
        };
        let changed = self.store.change_published(&thread.project, thread.number, &mut note).await?;
        Ok(changed.map(|thread| thread.published).unwrap_or_default())
    }

    /// Checks that ended before their pull request was noted found nobody who knew it: they are asked for once.
    async fn ask_for_failed_checks(
        &self,
        forge: &dyn Forge,
        facts: &Facts,
        thread: &Thread,
        head: &str,
    ) -> Result<(), EngineError> {
        let (Some(pull), Some(requester)) = (&thread.published.pull, &thread.facts.requester) else {
            return Ok(());
        };
        if facts.record.task.plan.publish.failing_check_rounds == 0 {
            return Ok(());
        }
        let failed = match forge.failed_checks(head).await {
            Ok(failed) => failed,
            // The work is published all the same.
            Err(error) if !error.can_pass() => {
                tracing::debug!(task.id = %facts.record.task.id, error = %error, "the checks cannot be read");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if failed.is_empty() {
            return Ok(());
        }
        // Their own delivery may have come, and have been put aside as that of a commit we did not know yet.
        let key = format!("checks-{head}");
        let key = match self.store.intent(&thread.project, &key).await? {
            None => key,
            Some(known) if known.outcome.is_none() => return Ok(()),
            Some(_) if self.store.task_of_intent(&thread.project, &key).await?.is_some() => return Ok(()),
            Some(_) => format!("{key}-published"),
        };
        let now = self.clock.now();
        let intent = Intent {
            key,
            number: pull.number,
            subject: Subject::PullRequest,
            actor: requester.clone(),
            at: now,
            place: Place::Check { head_sha: head.to_owned() },
            ask: Ask::ChecksFailed { names: failed.into_iter().map(|check| check.name).collect() },
            head_sha: None,
        };
        self.store.put_intent(&thread.project, &intent, now).await?;
        Ok(())
    }

    /// Says where the status comment finds it that the commits are not the ones that were verified, or not ours alone.
    /// Said before the task moves on, so that no kill leaves it out.
    /// It takes the place of what was said so of earlier work.
    async fn note_remark(
        &self,
        thread: Option<&mut Thread>,
        issue: &IssueKey,
        remark: String,
        observer: &mut dyn Observer,
    ) -> Result<(), EngineError> {
        if let Some(thread) = thread {
            let mut note = |published: &mut Published| {
                *published = published.of_issue(issue);
                published.remarks.retain(|old| is_lasting(old));
                published.remarks.push(remark.clone());
            };
            let changed = self.store.change_published(&thread.project, thread.number, &mut note).await?;
            if let Some(changed) = changed {
                *thread = changed;
            }
        }
        observer.notice(Notice::Warning(remark));
        Ok(())
    }

    /// Notes what the work stands on now, and where the next task's worktree begins: at the branch's newest commit, which
    /// after a rebase on the host is not the one that the agent left.
    async fn note_base(&self, facts: &Facts, head: &str, found: &Standing) -> Result<(), EngineError> {
        let issue = &facts.issue;
        let base_sha = match found {
            Standing::Current { tip: Some(tip) } => tip,
            _ => &issue.base_sha,
        };
        let made_at = issue.start_sha.as_ref().unwrap_or(&issue.base_sha);
        let is_left_behind = facts.worktree_head.as_ref().is_some_and(|standing| standing != head);
        let start = if is_left_behind { head } else { made_at.as_str() };
        let start_sha = Some(start).filter(|start| *start != base_sha);
        if *base_sha != issue.base_sha || start_sha != issue.start_sha.as_deref() {
            self.store.move_base(&issue.project, &issue.key, base_sha, start_sha).await?;
        }
        Ok(())
    }

    /// Brings the mirror up to date with the forge; returns the base and its newest commit.
    /// Where a branch of the forge stands, with its commits in the mirror. One question to the forge spares the fetch of
    /// what is there already: most work begins where the work before it began.
    pub(crate) async fn base_on_forge(
        &self,
        repo: &Repo,
        repository: &RepositoryName,
        base: Option<BranchName>,
    ) -> Result<OnForge, EngineError> {
        let forge = self.forge(repository).await?;
        let base = match base {
            Some(base) => base,
            None => default_branch(&forge.repository().await?)?,
        };
        if let Some(facts) = forge.branch(base.as_str()).await? {
            let (repo, branch, tip) = (repo.clone(), base.clone(), commit(&facts.sha)?);
            if blocking(move || Ok(repo.mirror()?.follows(&branch, &tip)?)).await? {
                return Ok(OnForge { base, sha: facts.sha, is_fetched: false });
            }
        }
        let (base, sha) = self.fetch_from_forge(repo, repository, Some(base)).await?;
        Ok(OnForge { base, sha, is_fetched: true })
    }

    pub(crate) async fn fetch_from_forge(
        &self,
        repo: &Repo,
        repository: &RepositoryName,
        base: Option<BranchName>,
    ) -> Result<(BranchName, String), EngineError> {
        let forge = self.forge(repository).await?;
        let known = forge.repository().await?;
        let base = match base {
            Some(base) => base,
            None => default_branch(&known)?,
        };
        let source = Source::parse(&known.clone_url)?;
        let lent = credential(forge.as_ref()).await?;
        let repo = repo.clone();
        blocking(move || repo.fetch_lent(&source, &base, &lent)).await
    }

    async fn push_to_forge(
        &self,
        repo: &Repo,
        facts: &Facts,
        forge: &dyn Forge,
        source: Source,
        head: &str,
        expected_old: Option<CommitId>,
    ) -> Result<(), EngineError> {
        let lent: Credential = credential(forge).await?;
        let (repo, branch) = (repo.clone(), facts.issue.branch.clone());
        let head = head.parse().map_err(EngineError::Commit)?;
        self.may_write().await?;
        blocking(move || {
            let expected_old = expected_old.as_ref();
            let handover = Handover { target: &source, branch: &branch, head: &head, expected_old };
            repo.mirror()?.push(&handover, Some(&lent))?;
            Ok(())
        })
        .await
    }

    async fn put_pull(
        &self,
        facts: &Facts,
        forge: &dyn Forge,
        thread: Option<&Thread>,
        before: Published,
        known: &RepositoryFacts,
    ) -> Result<Published, EngineError> {
        let asked = &facts.record.task;
        let issue = &facts.issue;
        let default_branch = known.default_branch.as_str();
        let TaskState::Publishing { head, .. } = &facts.record.state else { return Ok(Published::default()) };
        let mut records = self.tasks_before(facts).await?;
        records.push(facts.record.clone());
        let control = ControlDir::new(self.paths(&facts.record).control);
        let reports = blocking(move || Ok(heard(&control)?.reports)).await?;
        let text = pull_text(&PullText {
            origin: match thread.map(|thread| (thread.facts.subject, thread.number)) {
                Some((Subject::Issue, number)) if issue.base.as_str() == default_branch => {
                    Origin::Fixes(number)
                }
                Some((Subject::Issue | Subject::PullRequest, number)) => Origin::PartOf(number),
                None => Origin::CommandLine,
            },
            records: &records,
            reports: &reports,
        });
        let text = Places::of(&self.settings).hide(&text);
        let title = thread.map_or(issue.title.as_str(), |thread| thread.facts.title.as_str());
        let marker =
            marker("pull", self.settings.instance.as_str(), &format!("{}-{}", asked.project, issue.key))?;
        let body = match before.pull {
            Some(_) => text.clone(),
            None => match template(forge, default_branch).await? {
                Some(template) => format!("{}\n\n{text}", template.trim_end()),
                None => text.clone(),
            },
        };
        let draft = thread
            .and_then(|thread| thread.facts.config.get(&cloud_code_model::ConfigKey::Draft))
            .map_or(asked.plan.publish.draft, |value| value == "true");
        self.may_write().await?;
        let put = forge
            .put_pull(&PullSpec {
                branch: issue.branch.to_string(),
                base: issue.base.to_string(),
                title: title.to_owned(),
                body,
                draft,
                marker: marker.clone(),
                reviewers: asked.plan.publish.reviewers.clone(),
                labels: Vec::new(),
            })
            .await?;
        if !put.created {
            // Only our own section: what people wrote around it is theirs.
            if let Some(body) = replace_section(&put.pull.body, &text)
                && body != put.pull.body
            {
                let update = PullUpdate { body: Some((body, marker)), ..PullUpdate::default() };
                self.may_write().await?;
                forge.update_pull(put.pull.number, &update).await?;
            }
        }
        let mut remarks = before.remarks;
        for note in put.notes {
            let remark = match note {
                PullNote::NoDraft => {
                    "Drafts are not available in this repository, so the pull request is a plain one."
                        .to_owned()
                }
                PullNote::Reviewers { refused, message } => {
                    format!("Not asked to review: {} ({message}).", refused.join(", "))
                }
                PullNote::Labels { message } => format!("The pull request has no labels ({message})."),
            };
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
        }
        let pull = Pull {
            number: put.pull.number,
            url: put.pull.url,
            state: PullState::Open,
            head_sha: head.clone(),
        };
        Ok(Published { pull: Some(pull), remarks, of: Some(issue.key.clone()), merging: before.merging })
    }

    async fn tasks_before(&self, facts: &Facts) -> Result<Vec<cloud_code_model::TaskRecord>, EngineError> {
        let asked = &facts.record.task;
        let tasks = self.store.tasks_of(&asked.project, &asked.issue).await?;
        Ok(tasks.into_iter().take_while(|task| task.task.id != asked.id).collect())
    }
}

/// Whether a remark is about the pull request, and not about how one task's commits came to stand where they do.
fn is_lasting(remark: &str) -> bool {
    !remark.starts_with(REBASED) && !remark.starts_with(THEIRS)
}

/// A commit, for people.
fn short(commit: &str) -> String {
    format!("`{}`", commit.get(..12).unwrap_or(commit))
}

async fn template(forge: &dyn Forge, default_branch: &str) -> Result<Option<String>, EngineError> {
    for path in TEMPLATES {
        match forge.file(path, default_branch).await {
            Ok(Some(text)) => return Ok(Some(text)),
            Ok(None) => {}
            // Too long to be a text that people fill in.
            Err(ForgeError::TooLong { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
