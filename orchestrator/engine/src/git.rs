//! Git on the host, in the engine's terms: one project's repository, and one issue's workspace in it. Blocking.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cloud_code_model::{IssueKey, ProjectName, RuntimeKind, StopReason, TaskRecord};
use cloud_code_runtime::Labels;
use cloud_code_task_schema::{BranchName, TaskId};
use cloud_code_workspace::{
    CiChanges, CommitId, Credential, Expectations, GitView, ImportOutcome, ImportPolicy, IssuePaths, Layout,
    Lines, Owner, Prepared, Source, SourceFacts, UncommittedWork, WorktreeHead, shortage,
};

use secrecy::SecretString;

use crate::host_git::{Git, GitMirror, Handover, HostGit, Intake, Preparation};
use crate::open::Uncommitted;
use crate::perform::STOP_GRACE;
use crate::{Engine, EngineError, Facts};

/// A project's repository: where it is, and its mirror here.
#[derive(Debug, Clone)]
pub struct Repo {
    git: Arc<dyn Git>,
    layout: Layout,
    project: ProjectName,
    source: Source,
}

impl Repo {
    /// Names it; nothing is read or made.
    pub fn new(layout: &Layout, project: &ProjectName, repo: &str) -> Result<Self, EngineError> {
        Self::with(Arc::new(HostGit), layout, project, repo)
    }

    fn with(
        git: Arc<dyn Git>,
        layout: &Layout,
        project: &ProjectName,
        repo: &str,
    ) -> Result<Self, EngineError> {
        Ok(Self { git, layout: layout.clone(), project: project.clone(), source: Source::parse(repo)? })
    }

    pub(crate) fn inspect(
        &self,
        base: Option<&BranchName>,
        uncommitted: Uncommitted,
    ) -> Result<SourceFacts, EngineError> {
        let uncommitted = match uncommitted {
            Uncommitted::Refuse => UncommittedWork::Refused,
            Uncommitted::LeaveOut => UncommittedWork::LeftOut,
        };
        Ok(self.git.inspect(&self.source, &Expectations { uncommitted, base: base.cloned() })?)
    }

    /// Brings the mirror up to date and returns the base branch with the commit to start from.
    pub(crate) fn fetch(&self, facts: &SourceFacts) -> Result<(BranchName, String), EngineError> {
        let mirror = self.mirror()?;
        mirror.fetch(&facts.source, &facts.base, None)?;
        let base = mirror.base(&facts.base)?.unwrap_or_else(|| facts.head.clone());
        Ok((facts.base.clone(), base.to_string()))
    }

    /// The same from a forge, with a credential that is lent for it.
    pub(crate) fn fetch_lent(
        &self,
        source: &Source,
        base: &BranchName,
        credential: &Credential,
    ) -> Result<(BranchName, String), EngineError> {
        let mirror = self.mirror()?;
        mirror.fetch(source, base, Some(credential))?;
        let sha = mirror.base(base)?.ok_or_else(|| EngineError::NoSuchBase { branch: base.clone() })?;
        Ok((base.clone(), sha.to_string()))
    }

    /// Where a branch of that name stands already, if it does. Of the source as it was at the last fetch: asking it once
    /// more for each name would cost a connection each, and the push is guarded anyway.
    pub(crate) fn place_of(&self, branch: &BranchName) -> Result<Option<String>, EngineError> {
        let mirror = self.mirror()?;
        if mirror.base(branch)?.is_some() {
            return Ok(Some(self.source.to_string()));
        }
        Ok(mirror.branch(branch)?.map(|_| format!("the mirror {}", mirror.path().display())))
    }

    /// The commit of a branch of the source at the last fetch.
    pub(crate) fn tip(&self, branch: &BranchName) -> Result<Option<String>, EngineError> {
        Ok(self.mirror()?.base(branch)?.map(|tip| tip.to_string()))
    }

    pub(crate) fn mirror(&self) -> Result<Box<dyn GitMirror>, EngineError> {
        Ok(self.git.mirror(&self.layout, &self.project)?)
    }

    /// How a person gets at a branch.
    pub fn where_to_find(&self, branch: &BranchName, delivered: bool) -> String {
        match (&self.source, delivered) {
            (Source::Path(path), true) => {
                format!("in {}: git -C {} log {branch}", path.display(), path.display())
            }
            (Source::Path(_) | Source::Url(_), _) => {
                let mirror = self.layout.mirror(&self.project);
                format!("in the mirror: git fetch {} {branch}:{branch}", mirror.display())
            }
        }
    }

    /// Whether a branch could be handed to the user's repository now. `delivered` is where an earlier task left it there.
    pub(crate) fn check_delivery(
        &self,
        branch: &BranchName,
        delivered: Option<&str>,
    ) -> Result<(), EngineError> {
        match &self.source {
            Source::Path(_) => {
                let delivered = delivered.map(commit).transpose()?;
                Ok(self.git.check_delivery(&self.source, branch, delivered.as_ref())?)
            }
            // Nothing is pushed to a URL: the branch stays in the mirror.
            Source::Url(_) => Ok(()),
        }
    }

    /// File names and counts between two commits, one line each, and a line with the sum.
    pub fn diff_stat(&self, base: &str, head: &str) -> Result<String, EngineError> {
        let files = self.mirror()?.changed_files(&commit(base)?, &commit(head)?)?;
        let width = files.iter().map(|f| f.path.chars().count()).max().unwrap_or(0);
        let mut total = Lines::default();
        let mut text = String::new();
        for file in &files {
            let counts = match file.lines {
                Some(lines) => {
                    total.added += lines.added;
                    total.removed += lines.removed;
                    format!("+{} -{}", lines.added, lines.removed)
                }
                None => "binary".to_owned(),
            };
            let name = &file.path;
            text.push_str(&format!("{name:<width$}  {counts}\n"));
        }
        let count = files.len();
        let noun = if count == 1 { "file" } else { "files" };
        text.push_str(&format!("{count} {noun} changed, +{} -{}\n", total.added, total.removed));
        Ok(text)
    }

    /// The plain files of a folder at a commit: name and content.
    pub(crate) fn folder_files(
        &self,
        sha: &str,
        folder: &str,
        max_bytes: u64,
    ) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let files = self.mirror()?.folder_files(&commit(sha)?, folder, max_bytes);
        let files = files.map_err(crate::PromptError::InRepository)?;
        Ok(files.into_iter().map(|file| (file.name, file.content)).collect())
    }

    /// The patch between two commits, as bytes: files need not be UTF-8.
    pub fn diff_patch(&self, base: &str, head: &str) -> Result<Vec<u8>, EngineError> {
        Ok(self.mirror()?.diff(&commit(base)?, &commit(head)?)?)
    }

    /// The commit that an issue's worktree stands on and that never came into the mirror; an error text where its HEAD
    /// cannot be read.
    pub(crate) fn unimported_head(&self, issue: &IssueKey) -> Result<Option<String>, EngineError> {
        let paths = self.layout.issue(&self.project, issue);
        if !self.git.is_prepared(&paths).map_err(unread(&paths))? {
            return Ok(None);
        }
        Ok(match self.git.worktree_head(&paths) {
            Ok(WorktreeHead::Commit(id)) if self.mirror()?.has(&id)? => None,
            Ok(WorktreeHead::Commit(id)) => Some(format!("its last commit {id} was not imported")),
            Ok(WorktreeHead::Attached(name)) => Some(format!("its worktree was moved to {name}")),
            Err(error) => Some(format!("its worktree cannot be read: {error}")),
        })
    }

    /// Removes an issue's workspace. Its branch stays.
    pub fn remove(&self, issue: &IssueKey) -> Result<(), EngineError> {
        Ok(self.mirror()?.remove(&self.layout.issue(&self.project, issue))?)
    }
}

fn unread(paths: &IssuePaths) -> impl FnOnce(io::Error) -> EngineError {
    let path = paths.root.clone();
    move |source| EngineError::Io { path, source }
}

pub(crate) fn commit(text: &str) -> Result<CommitId, EngineError> {
    text.parse().map_err(EngineError::Commit)
}

/// One issue's workspace.
pub(crate) struct IssueWorkspace {
    repo: Repo,
    paths: IssuePaths,
    base: CommitId,
    /// Where the worktree is made.
    start: CommitId,
    settings_from: Option<CommitId>,
    base_branch: BranchName,
    branch: BranchName,
    view: GitView,
    owner: Option<Owner>,
}

impl IssueWorkspace {
    pub(crate) const fn paths(&self) -> &IssuePaths {
        &self.paths
    }

    pub(crate) fn is_ready(&self) -> Result<bool, EngineError> {
        let is_made = self.prepared_from()?.as_ref() == Some(&self.start);
        Ok(is_made && self.paths.control.join("logs").is_dir())
    }

    /// What cannot be read for another reason than a shortage is made anew, or says why not.
    fn prepared_from(&self) -> Result<Option<CommitId>, EngineError> {
        match self.repo.git.prepared_from(&self.paths) {
            Err(error) if shortage(&error).is_none() => Ok(None),
            read => read.map_err(unread(&self.paths)),
        }
    }

    pub(crate) fn prepare(&self) -> Result<Prepared, EngineError> {
        let mirror = self.repo.mirror()?;
        if self.prepared_from()?.is_some_and(|made_at| made_at != self.start) {
            // The branch was put on a newer base after the last task, all of whose commits are in the mirror.
            self.repo.git.reset_worktree(&self.paths)?;
        }
        Ok(mirror.prepare(&Preparation {
            paths: &self.paths,
            base: &self.start,
            settings_from: self.settings_from.as_ref(),
            view: self.view,
            owner: self.owner,
        })?)
    }

    /// The commit the worktree says it stands on; `None` when it cannot say. That this machine cannot read it says nothing.
    pub(crate) fn worktree_head(&self) -> Result<Option<String>, EngineError> {
        match self.repo.git.worktree_head(&self.paths) {
            Ok(WorktreeHead::Commit(id)) if id != self.start => Ok(Some(id.to_string())),
            Err(error) if shortage(&error).is_some() => Err(error.into()),
            Ok(WorktreeHead::Commit(_) | WorktreeHead::Attached(_)) | Err(_) => Ok(None),
        }
    }

    /// The commit that an import put the issue's branch on last.
    pub(crate) fn imported(&self) -> Result<Option<String>, EngineError> {
        Ok(self.repo.mirror()?.branch(&self.branch)?.map(|head| head.to_string()))
    }

    /// Takes commits through the quarantine. `None` when there is nothing new. `earlier` is where this issue's branch
    /// stands from an earlier task.
    pub(crate) fn import(
        &self,
        head: &str,
        earlier: Option<&str>,
        policy: &cloud_code_model::ImportPolicy,
        forbidden: &[SecretString],
    ) -> Result<Option<String>, EngineError> {
        let mirror = self.repo.mirror()?;
        let (head, earlier) = (commit(head)?, earlier.map(commit).transpose()?);
        let ci_changes = if policy.allow_workflow_changes { CiChanges::Allowed } else { CiChanges::Refused };
        let outcome = mirror.import(&Intake {
            paths: &self.paths,
            base: &self.base,
            base_branch: &self.base_branch,
            head: &head,
            branch: &self.branch,
            expected_old: earlier.as_ref(),
            policy: &ImportPolicy {
                ci_changes,
                max_file_bytes: policy.max_file_size.bytes(),
                forbidden,
                secret_patterns: !policy.allow_secret_patterns,
                ..ImportPolicy::default()
            },
        })?;
        Ok(match outcome {
            ImportOutcome::NothingNew => None,
            ImportOutcome::Imported(imported) | ImportOutcome::AlreadyImported(imported) => {
                Some(imported.head.to_string())
            }
        })
    }

    /// Hands the branch to the user's repository, when that is a folder. Returns it.
    pub(crate) fn deliver(&self, head: &str, earlier: Option<&str>) -> Result<Option<PathBuf>, EngineError> {
        let Source::Path(repository) = &self.repo.source else { return Ok(None) };
        let mirror = self.repo.mirror()?;
        let (head, earlier) = (commit(head)?, earlier.map(commit).transpose()?);
        mirror.deliver(&Handover {
            target: &self.repo.source,
            branch: &self.branch,
            head: &head,
            expected_old: earlier.as_ref(),
        })?;
        Ok(Some(repository.clone()))
    }
}

impl Engine {
    /// A project's repository, by its address.
    pub(crate) fn repo(&self, project: &ProjectName, repo: &str) -> Result<Repo, EngineError> {
        Repo::with(self.git.clone(), &self.settings.layout, project, repo)
    }

    /// The workspace of the facts' issue.
    pub(crate) fn workspaces(&self, facts: &Facts) -> Result<IssueWorkspace, EngineError> {
        self.workspaces_of(&facts.record, &facts.issue)
    }

    pub(crate) fn workspaces_of(
        &self,
        record: &TaskRecord,
        issue: &cloud_code_model::Issue,
    ) -> Result<IssueWorkspace, EngineError> {
        let plan = &record.task.plan;
        let (uid, gid) = self.settings.cli_user;
        Ok(IssueWorkspace {
            repo: self.repo(&issue.project, &plan.repo)?,
            paths: self.paths(record),
            base: commit(&issue.base_sha)?,
            start: commit(issue.start_sha.as_ref().unwrap_or(&issue.base_sha))?,
            settings_from: issue.settings_sha.as_deref().map(commit).transpose()?,
            base_branch: issue.base.clone(),
            branch: issue.branch.clone(),
            view: match plan.runtime {
                RuntimeKind::Docker => GitView::Container,
                RuntimeKind::Local => GitView::Host,
            },
            owner: self.settings.runs_as_root.then(|| Owner::new(uid, gid)).flatten(),
        })
    }

    /// Ends whatever container runs for the task, at once, as a person wants it: the task ends as cancelled. Found by
    /// its labels, since a container can run before the row says so.
    pub async fn end_now(&self, id: &TaskId) -> Result<(), EngineError> {
        self.store.request_cancel(id, self.clock.now()).await?;
        let selector =
            Labels { task: Some(id.clone()), ..Labels::of_instance(self.settings.instance.clone()) };
        for container in self.runtime.find(&selector).await? {
            if container.state.is_running() {
                // Noted first: whoever looks next must know who ended it.
                self.store.record_stop(id, StopReason::Killed).await?;
                self.runtime.kill(&container.id).await?;
            }
        }
        Ok(())
    }

    /// Ends the agent that works on a task, because the service stops with its agents: it commits what there is. The task
    /// goes on with another attempt when the service is there again.
    pub(crate) async fn end_with_service(&self, id: &TaskId) -> Result<(), EngineError> {
        let selector =
            Labels { task: Some(id.clone()), ..Labels::of_instance(self.settings.instance.clone()) };
        for container in self.runtime.find(&selector).await? {
            if container.state.is_running() {
                // Noted first, as above.
                self.store.record_stop(id, StopReason::ServiceStopped).await?;
                self.runtime.stop(&container.id, STOP_GRACE).await?;
            }
        }
        Ok(())
    }

    /// Removes what the runtime still keeps of a task that has ended.
    pub async fn remove_leftovers(&self, record: &TaskRecord) -> Result<(), EngineError> {
        let selector = Labels::of_issue(
            self.settings.instance.clone(),
            record.task.project.clone(),
            record.task.issue.clone(),
        );
        for container in self.runtime.find(&selector).await? {
            // Another process may have begun the issue's next task meanwhile.
            let is_over = match &container.labels.task {
                Some(task) => {
                    self.store.task(task).await?.is_none_or(|record| record.state.status().is_terminal())
                }
                None => true,
            };
            if is_over {
                self.runtime.remove(&container.id).await?;
            }
        }
        Ok(())
    }
}
