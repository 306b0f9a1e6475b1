//! Hands work over to a forge: branch, then pull request. Every step looks before it writes, so it can be done again
//! after any interruption and ends with one branch and one pull request.

use cloud_code_forge::{Forge, ForgeError, PullNote, PullSpec, PullUpdate};
use cloud_code_model::{Published, Pull, PullState, RepositoryName, Subject, TaskEvent, TaskState, Thread};
use cloud_code_store::{ForgeStore, Store};
use cloud_code_task_schema::{BranchName, ControlDir};
use cloud_code_workspace::{Credential, Mirror, PushError, PushRequest, Source, push};
use jiff::SignedDuration;

use crate::facts::Facts;
use crate::follow_up::heard;
use crate::forges::{credential, marker};
use crate::git::Repo;
use crate::observe::{Notice, Observer};
use crate::perform::delivered_head;
use crate::pull_request::{Origin, PullText, pull_text, replace_section};
use crate::{Engine, EngineError, blocking};

/// Where repositories keep the text that every pull request starts from.
const TEMPLATES: [&str; 4] = [
    ".github/pull_request_template.md",
    ".github/PULL_REQUEST_TEMPLATE.md",
    "pull_request_template.md",
    "docs/pull_request_template.md",
];

/// How long a push waits after a limit. git shows no header that says it; without one GitHub asks for a minute.
const GIT_LIMIT_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// Whether a push was refused for a limit. git has the status 403 for this and for a lack of rights; the words differ.
fn is_limit(words: &str) -> bool {
    words.to_lowercase().contains("rate limit")
}

impl Engine {
    /// Pushes the branch and finds or opens its pull request.
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
        let earlier = self.tasks_before(facts).await?;
        let delivered = delivered_head(&earlier).map(str::to_owned);
        let (head, delivered) = (head.clone(), delivered);
        self.push_to_forge(facts, forge.as_ref(), source, &head, delivered.as_deref()).await?;
        observer.notice(Notice::Pushed { url: &known.web_url, branch: &facts.issue.branch });
        let thread = self.store.thread_of_issue(&asked.project, &asked.issue).await?;
        let published =
            match self.put_pull(facts, forge.as_ref(), thread.as_ref(), &known.default_branch).await {
                Ok(published) => published,
                // The base has all of it already: nothing is left to review.
                Err(EngineError::Forge(ForgeError::NothingToMerge)) => Published::default(),
                Err(error) => return Err(error),
            };
        if let Some(pull) = &published.pull {
            observer.notice(Notice::PullRequest { url: &pull.url });
        }
        if let Some(thread) = thread {
            self.store.put_published(&thread.project, thread.number, &published).await?;
        }
        self.advance(facts, TaskEvent::Published, observer).await
    }

    /// Brings the mirror up to date with the forge; returns the base and its newest commit.
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
            None => known.default_branch.parse().map_err(|_| EngineError::BranchUnfit {
                branch: known.default_branch.clone(),
                why: "the default branch's name holds what git and shells could misread".to_owned(),
            })?,
        };
        let source = Source::parse(&known.clone_url)?;
        let lent = credential(forge.as_ref()).await?;
        let repo = repo.clone();
        blocking(move || repo.fetch_lent(&source, &base, &lent)).await
    }

    async fn push_to_forge(
        &self,
        facts: &Facts,
        forge: &dyn Forge,
        source: Source,
        head: &str,
        delivered: Option<&str>,
    ) -> Result<(), EngineError> {
        let lent: Credential = credential(forge).await?;
        let layout = self.settings.layout.clone();
        let (project, branch) = (facts.record.task.project.clone(), facts.issue.branch.clone());
        let head = head.parse().map_err(EngineError::Commit)?;
        let expected_old = delivered.map(str::parse).transpose().map_err(EngineError::Commit)?;
        let now = self.clock.now();
        blocking(move || {
            let mirror = Mirror::ensure(&layout, &project)?;
            let pushed = push(&PushRequest {
                mirror: &mirror,
                target: &source,
                credential: Some(&lent),
                branch: &branch,
                head: &head,
                expected_old: expected_old.as_ref(),
            });
            match pushed {
                Ok(_) => Ok(()),
                Err(PushError::Denied { words, .. }) if is_limit(&words) => {
                    Err(ForgeError::Limited { until: now + GIT_LIMIT_WAIT }.into())
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn put_pull(
        &self,
        facts: &Facts,
        forge: &dyn Forge,
        thread: Option<&Thread>,
        default_branch: &str,
    ) -> Result<Published, EngineError> {
        let asked = &facts.record.task;
        let issue = &facts.issue;
        let TaskState::Publishing { head, .. } = &facts.record.state else { return Ok(Published::default()) };
        let mut records = self.tasks_before(facts).await?;
        records.push(facts.record.clone());
        let control = ControlDir::new(self.paths(&facts.record).control);
        let reports = blocking(move || Ok(heard(&control).reports)).await?;
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
        let title = thread.map_or(issue.title.as_str(), |thread| thread.facts.title.as_str());
        let marker =
            marker("pull", self.settings.instance.as_str(), &format!("{}-{}", asked.project, issue.key))?;
        let before = thread.map(|thread| thread.published.clone()).unwrap_or_default();
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
        Ok(Published { pull: Some(pull), remarks })
    }

    async fn tasks_before(&self, facts: &Facts) -> Result<Vec<cloud_code_model::TaskRecord>, EngineError> {
        let asked = &facts.record.task;
        let tasks = self.store.tasks_of(&asked.project, &asked.issue).await?;
        Ok(tasks.into_iter().take_while(|task| task.task.id != asked.id).collect())
    }
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
