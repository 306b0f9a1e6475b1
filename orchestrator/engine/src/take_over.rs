//! An issue that comes from a worker that is dead. What that one had on its disk (worktree, HOME, conversation, commits
//! that were not pushed) is out of reach, and so are its containers: an agent that goes on there works for nobody, since
//! it has no key of the forge and nobody fetches from it. What was pushed is fetched, and the work begins there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cloud_code_model::{InstanceId, Issue, IssueKey, ProjectName, TaskEvent, TaskRecord, TaskState};
use cloud_code_runtime::Labels;
use cloud_code_store::{Leases as _, StoreError};
use cloud_code_task_schema::{ControlDir, Failure, FailureKind, Handoff, TaskId};
use cloud_code_workspace::CommitId;

use crate::git::{Repo, commit};
use crate::held::Held;
use crate::packet::packet;
use crate::perform::{delivered_head, make_dir};
use crate::{Engine, EngineError, blocking};

/// Where a branch stands as far as this host can know.
struct Found {
    /// The newest commit of ours that was pushed.
    tip: Option<CommitId>,
    diff_stat: Option<String>,
}

async fn host_of(held: &Held, worker: &InstanceId) -> Result<String, EngineError> {
    let workers = held.store.workers().await?;
    let host = workers.into_iter().find(|known| known.member.worker == *worker).map(|known| known.host);
    Ok(host.unwrap_or_else(|| "an unknown host".to_owned()))
}

impl Engine {
    /// Makes an issue this host's own. May be done again: a process that is killed in the middle of it finds the same lease,
    /// which says still that the issue is on its way.
    pub(crate) async fn take_over(&self, held: &Arc<Held>, from: &InstanceId) -> Result<(), EngineError> {
        let (project, key) = (&held.lease.project, &held.lease.issue);
        let issue = self.store.issue(project, key).await?.ok_or_else(|| {
            EngineError::Store(StoreError::Missing { what: "issue", id: held.lease.to_string() })
        })?;
        let records = self.store.tasks_of(project, key).await?;
        let Some(last) = records.last() else { return self.arrived(held, None).await };
        let host = host_of(held, from).await?;
        tracing::warn!(
            project = %project, issue = %key, worker = %from, host,
            "the worker is dead and its issue was taken over; containers that it left run on there until somebody stops them"
        );
        self.clear(&issue, &last.task.plan.repo).await?;
        let found = self.find_again(&issue, &records).await?;
        if let Some(tip) = &found.tip {
            let start = Some(tip.as_str()).filter(|start| *start != issue.base_sha);
            self.store.move_base(project, key, &issue.base_sha, start).await?;
            self.make_again(last, project, key).await?;
        } else if issue.start_sha.is_some() {
            self.store.move_base(project, key, &issue.base_sha, None).await?;
        }
        let is_open = !last.state.status().is_terminal();
        let was_before = records.len() > 1 || last.task.continues.is_some();
        let told = packet(&records, &BTreeMap::new(), found.diff_stat.as_deref());
        let told = (is_open && was_before).then_some((&last.task.id, &told));
        self.begin_anew(last, from, &host).await?;
        self.arrived(held, told).await
    }

    async fn arrived(&self, held: &Arc<Held>, told: Option<(&TaskId, &Handoff)>) -> Result<(), EngineError> {
        Ok(held.store.arrived(&held.lease, told).await?)
    }

    /// Ends what this host itself runs for an issue that is another worker's by now: its work would be for nothing, and paid
    /// for.
    pub(crate) async fn end_strays(&self, project: &ProjectName, key: &IssueKey) -> Result<(), EngineError> {
        let ours = Labels::of_issue(self.settings.instance.clone(), project.clone(), key.clone());
        for container in self.runtime.find(&ours).await? {
            if container.state.is_running() {
                self.runtime.kill(&container.id).await?;
            }
            self.runtime.remove(&container.id).await?;
        }
        Ok(())
    }

    /// The issues that this host has containers of.
    pub(crate) async fn issues_here(&self) -> Result<BTreeSet<(ProjectName, IssueKey)>, EngineError> {
        let all = self.runtime.find(&Labels::of_instance(self.settings.instance.clone())).await?;
        let issue = |labels: Labels| Some((labels.project?, labels.issue?));
        Ok(all.into_iter().filter_map(|container| issue(container.labels)).collect())
    }

    /// Takes away what this host itself has of the issue, from a time when it was here.
    async fn clear(&self, issue: &Issue, repo: &str) -> Result<(), EngineError> {
        self.end_strays(&issue.project, &issue.key).await?;
        let repo = self.repo(&issue.project, repo)?;
        let key = issue.key.clone();
        blocking(move || repo.remove(&key)).await
    }

    /// Sees to it that this host has the commits that work on an issue begins with: another process opened it.
    pub(crate) async fn bring(&self, record: &TaskRecord) -> Result<(), EngineError> {
        let asked = &record.task;
        let Some(issue) = self.store.issue(&asked.project, &asked.issue).await? else { return Ok(()) };
        let repo = self.repo(&asked.project, &asked.plan.repo)?;
        let needed =
            [Some(issue.base_sha.as_str()), issue.start_sha.as_deref(), issue.settings_sha.as_deref()];
        let needed: Vec<CommitId> = needed.into_iter().flatten().map(commit).collect::<Result<_, _>>()?;
        let has_all = blocking(move || {
            let mirror = repo.mirror()?;
            for commit in &needed {
                if !mirror.has(commit)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await?;
        match has_all {
            true => Ok(()),
            false => self.fetch_again(&issue, record).await.map(drop),
        }
    }

    async fn fetch_again(&self, issue: &Issue, record: &TaskRecord) -> Result<Repo, EngineError> {
        let plan = &record.task.plan;
        let repo = self.repo(&issue.project, &plan.repo)?;
        match &plan.publish.github {
            Some(repository) => {
                drop(self.fetch_from_forge(&repo, repository, Some(issue.base.clone())).await?);
            }
            None => {
                let (repo, base) = (repo.clone(), issue.base.clone());
                let fetch = move || repo.fetch(&repo.inspect(Some(&base), crate::Uncommitted::LeaveOut)?);
                drop(blocking(fetch).await?);
            }
        }
        Ok(repo)
    }

    /// Brings the repository here, and notes of the branch what the other mirror knew.
    async fn find_again(&self, issue: &Issue, records: &[TaskRecord]) -> Result<Found, EngineError> {
        let Some(last) = records.last() else { return Ok(Found { tip: None, diff_stat: None }) };
        let repo = self.fetch_again(issue, last).await?;
        let ours = records.iter().rev().find_map(|record| record.state.head()).map(commit).transpose()?;
        let delivered = delivered_head(records).map(commit).transpose()?;
        let (branch, base) = (issue.branch.clone(), issue.base_sha.clone());
        blocking(move || {
            let mirror = repo.mirror()?;
            // A pushed branch whose push was not noted is found by its name.
            let theirs = mirror.base(&branch)?;
            let here = |commit: Option<CommitId>| -> Result<Option<CommitId>, EngineError> {
                Ok(match commit {
                    Some(commit) if mirror.has(&commit)? => Some(commit),
                    Some(_) | None => None,
                })
            };
            let delivered = here(delivered)?;
            let Some(tip) = here(ours)?.or(delivered.clone()) else {
                return Ok(Found { tip: None, diff_stat: None });
            };
            let pushed = theirs.and(delivered);
            mirror.take_up(&branch, &tip, pushed.as_ref())?;
            let diff_stat = repo.diff_stat(&base, tip.as_str()).ok();
            Ok(Found { tip: Some(tip), diff_stat })
        })
        .await
    }

    /// The worktree, where the work stands: a task that comes next looks whether there is one.
    async fn make_again(
        &self,
        last: &TaskRecord,
        project: &ProjectName,
        key: &IssueKey,
    ) -> Result<(), EngineError> {
        let Some(issue) = self.store.issue(project, key).await? else { return Ok(()) };
        let workspaces = self.workspaces_of(last, &issue)?;
        let control = ControlDir::new(workspaces.paths().control.clone());
        blocking(move || {
            workspaces.prepare()?;
            make_dir(control.path())?;
            make_dir(&control.logs())
        })
        .await
    }

    /// An attempt that was under way is lost, with what it had not pushed. What waits goes on waiting.
    async fn begin_anew(&self, last: &TaskRecord, from: &InstanceId, host: &str) -> Result<(), EngineError> {
        let lost = match &last.state {
            TaskState::Running { .. } => "the agent that worked on it there",
            TaskState::Importing { .. } => "the work that was not taken in yet",
            TaskState::Publishing { head, .. } => {
                let repo = self.repo(&last.task.project, &last.task.plan.repo)?;
                let head = commit(head)?;
                if blocking(move || Ok(repo.mirror()?.has(&head)?)).await? {
                    return Ok(());
                }
                "its commits, which were not pushed yet"
            }
            _ => return Ok(()),
        };
        let message = format!("the worker {from} on {host} is dead, and {lost} with it");
        let failure = Failure::new(FailureKind::Crashed, message);
        let now = self.clock.now();
        let attempt = last.attempt.saturating_add(1);
        // A task that takes its worker with it must not go through all of them.
        let event = match last.attempt < last.task.plan.retries.attempts {
            true => TaskEvent::Moved { failure, until: now, attempt },
            false => TaskEvent::HostFailed { failure },
        };
        let result = FailureKind::Crashed.to_string();
        self.store.finish_attempt(&last.task.id, last.attempt, now, &result).await?;
        match self.store.transition(last, event, now).await {
            Ok(_) | Err(StoreError::Stale { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
