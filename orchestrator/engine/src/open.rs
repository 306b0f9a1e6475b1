//! Checks a request and makes the issue and its first task. Until the row is written nothing exists that would have to
//! be undone, apart from the mirror, which is a cache; so every refusal here leaves nothing half-made.

use std::collections::BTreeMap;

use cloud_code_model::{
    Brief, Issue, IssueKey, NewTask, Project, ProjectName, ProjectPlan, QueuePlace, RuntimeKind, TaskRecord,
    reads_only, slug,
};
use cloud_code_store::StoreError;
use cloud_code_task_schema::{BranchName, CliManifest, MAX_YAML_BYTES, Mode, parse_tasking, to_yaml};

use crate::catalog::CliError;
use crate::git::Repo;
use crate::tasking::next_tasking;
use crate::{Engine, EngineError, blocking, prompts};

/// What a person asks for.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The project it belongs to.
    pub project: ProjectName,
    /// What it runs with.
    pub plan: ProjectPlan,
    /// What to do; the first line is the title.
    pub text: String,
    /// May it edit, or only read?
    pub mode: Mode,
    /// The branch to leave the work on; refused when it exists. Chosen from the title when absent.
    pub branch: Option<BranchName>,
    /// What a forge says of the issue; nothing for a task of the command line.
    pub origin: Option<Origin>,
    /// Start although the repository has uncommitted changes.
    pub uncommitted: Uncommitted,
    /// Who asks.
    pub requested_by: Option<String>,
    /// Its place among those that wait.
    pub queue: QueuePlace,
}

/// An issue of a forge.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its number. Names the workspace, and the branch as `issue-NUMBER`.
    pub number: u64,
    /// Its title, if people who may command wrote it.
    pub title: Option<String>,
    /// What it says in sections of its own.
    pub brief: Brief,
    /// The key of the intent that asks.
    pub intent: String,
    /// The commit that work must start from, when one was looked at: a branch that moved since is refused.
    pub base_sha: Option<String>,
    /// The branch whose settings for CLIs count instead of those of the commit that work starts from.
    pub settings_from: Option<BranchName>,
}

/// What to do about uncommitted changes in the user's repository. They are never part of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncommitted {
    /// Refuse: most people expect that what they see is what the agent sees.
    Refuse,
    /// Start from the last commit all the same.
    LeaveOut,
}

/// Longest title, in characters: it becomes a commit's first line and a pull request's title.
const MAX_TITLE: usize = 120;
/// How many numbers are tried after a taken slug before giving up. A thousand issues of one title are a mistake.
const MAX_NUMBER: u32 = 1000;

impl Engine {
    /// Checks everything that can be known before the start, then opens the issue with its first task.
    pub async fn open(&self, request: RunRequest) -> Result<TaskRecord, EngineError> {
        self.check_and_open(request).await.map_err(|error| error.or_shortage(self.settings.layout.home()))
    }

    async fn check_and_open(&self, request: RunRequest) -> Result<TaskRecord, EngineError> {
        let origin = request.origin.as_ref();
        let title = title(origin.and_then(|origin| origin.title.as_deref()).unwrap_or(&request.text))?;
        let plan = &request.plan;
        self.check_plan(plan, request.mode)?;
        let repo = self.repo(&request.project, &plan.repo)?;
        if plan.runtime == RuntimeKind::Docker {
            self.check_image(plan).await?;
        }
        let is_of_pull =
            origin.is_some_and(|origin| origin.base_sha.is_some() || origin.settings_from.is_some());
        let mut is_fetched = true;
        let (base, base_sha) = match &plan.publish.github {
            // Two branches of it count, and neither may be of earlier.
            Some(repository) if is_of_pull => {
                self.fetch_from_forge(&repo, repository, plan.base.clone()).await?
            }
            Some(repository) => {
                let found = self.base_on_forge(&repo, repository, plan.base.clone()).await?;
                is_fetched = found.is_fetched;
                (found.base, found.sha)
            }
            None => {
                let (repo, base, uncommitted) = (repo.clone(), plan.base.clone(), request.uncommitted);
                blocking(move || repo.fetch(&repo.inspect(base.as_ref(), uncommitted)?)).await?
            }
        };
        if let Some(seen) = origin.and_then(|origin| origin.base_sha.as_deref())
            && seen != base_sha
        {
            return Err(EngineError::BaseMoved { branch: base, seen: seen.to_owned(), now: base_sha });
        }
        let settings_sha = match origin.and_then(|origin| origin.settings_from.clone()) {
            Some(branch) => {
                let (repo, named) = (repo.clone(), branch.clone());
                let tip = blocking(move || repo.tip(&named)).await?;
                Some(tip.ok_or(EngineError::NoSuchBase { branch })?)
            }
            None => None,
        };
        self.check_prompts(plan, &repo, settings_sha.as_ref().unwrap_or(&base_sha)).await?;
        let (key, branch) = self.choose_branch(&request, &repo, &title, is_fetched).await?;
        let at = self.clock.now();
        let issue = Issue {
            project: request.project.clone(),
            key: key.clone(),
            title: title.clone(),
            branch,
            base,
            base_sha,
            start_sha: None,
            settings_sha,
            created_at: at,
            cleaned_at: None,
        };
        let task = NewTask {
            id: self.ids.task_id(),
            project: request.project.clone(),
            issue: key,
            title,
            description: request.text.trim().to_owned(),
            brief: origin.map(|origin| origin.brief.clone()).unwrap_or_default(),
            mode: request.mode,
            continues: None,
            handoff: None,
            plan: request.plan,
            requested_by: request.requested_by,
            intent: origin.map(|origin| origin.intent.clone()),
            queue: request.queue,
            created_at: at,
        };
        let thread = origin.map(|origin| origin.number);
        check_tasking(&issue, &[TaskRecord::queued(task.clone())])?;
        let project = Project { name: request.project, repo: task.plan.repo.clone(), created_at: at };
        self.store.put_project(&project).await?;
        cloud_code_fault_points::reach(cloud_code_fault_points::Point::MirrorFetched).await;
        self.store.open_issue(&issue, &task, thread).await?;
        self.store
            .task(&task.id)
            .await?
            .ok_or_else(|| EngineError::Store(StoreError::Missing { what: "task", id: task.id.to_string() }))
    }

    /// Whether a task could be started now, as far as can be seen without its repository.
    pub(crate) async fn check_startable(&self, plan: &ProjectPlan, mode: Mode) -> Result<(), EngineError> {
        self.check_plan(plan, mode)?;
        match plan.runtime {
            RuntimeKind::Docker => self.check_image(plan).await,
            RuntimeKind::Local => Ok(()),
        }
    }

    /// Whether the project's own prompts can be used.
    pub(crate) async fn check_prompts(
        &self,
        plan: &ProjectPlan,
        repo: &Repo,
        base_sha: &str,
    ) -> Result<(), EngineError> {
        let Some(folder) = plan.prompts.clone() else { return Ok(()) };
        let (repo, base_sha) = (repo.clone(), base_sha.to_owned());
        blocking(move || prompts::read(&folder, &repo, &base_sha)).await?;
        Ok(())
    }

    fn check_plan(&self, plan: &ProjectPlan, mode: Mode) -> Result<(), EngineError> {
        let manifest = self.settings.catalog.manifest_for(plan)?;
        check_mode(mode, &manifest, plan.runtime)?;
        self.check_credentials(&manifest, plan)?;
        match self.settings.agent_binary.is_file() {
            true => Ok(()),
            false => Err(EngineError::AgentMissing { path: self.settings.agent_binary.clone() }),
        }
    }

    pub(crate) fn check_credentials(
        &self,
        manifest: &CliManifest,
        plan: &ProjectPlan,
    ) -> Result<(), EngineError> {
        let has = |name: &String| (self.settings.environment)(name).is_some();
        if let Some(name) = plan.secrets.iter().find(|name| !has(name)) {
            return Err(EngineError::SecretNotSet { name: name.clone() });
        }
        let any = manifest.credentials.iter().chain(&plan.secrets).any(has);
        if manifest.credentials.is_empty() || any {
            return Ok(());
        }
        Err(EngineError::NoCredentials {
            cli: manifest.name.to_string(),
            names: manifest.credentials.clone(),
        })
    }

    async fn check_image(&self, plan: &ProjectPlan) -> Result<(), EngineError> {
        let image = self.settings.catalog.image_for(plan)?;
        if self.runtime.image(&image).await?.is_some() {
            return Ok(());
        }
        let hint = match &plan.image {
            Some(_) => format!("`docker pull {image}`, or build it"),
            None => format!("`cloud-code images build {}`", plan.cli),
        };
        Err(cloud_code_runtime::RuntimeError::ImageMissing { image, hint }.into())
    }

    /// Where a branch stands that the mirror may not know yet.
    async fn place_on_forge(
        &self,
        plan: &ProjectPlan,
        branch: &BranchName,
    ) -> Result<Option<String>, EngineError> {
        let Some(repository) = &plan.publish.github else { return Ok(None) };
        let found = self.forge(repository).await?.branch(branch.as_str()).await?;
        Ok(found.map(|_| repository.to_string()))
    }

    async fn choose_branch(
        &self,
        request: &RunRequest,
        repo: &Repo,
        title: &str,
        is_fetched: bool,
    ) -> Result<(IssueKey, BranchName), EngineError> {
        // The key and the branch differ only for issues of a forge, which people know by their number.
        let (stem, branch_stem) = match (&request.branch, &request.origin) {
            (Some(branch), _) => {
                let key = slug(branch.as_str().rsplit('/').next().unwrap_or_default());
                (key.clone(), key)
            }
            (None, Some(origin)) => (origin.number.to_string(), format!("issue-{}", origin.number)),
            (None, None) => (slug(title), slug(title)),
        };
        for number in 1..=MAX_NUMBER {
            let numbered = |stem: &str| match number {
                1 => stem.to_owned(),
                n => format!("{stem}-{n}"),
            };
            let key = numbered(&stem);
            let unfit = |why: String| EngineError::BranchUnfit { branch: key.clone(), why };
            let branch = match &request.branch {
                Some(branch) => branch.clone(),
                None => {
                    let name = format!("{}{}", request.plan.branch_prefix, numbered(&branch_stem));
                    name.parse().map_err(|e: cloud_code_task_schema::InvalidScalar| unfit(e.to_string()))?
                }
            };
            let key: IssueKey =
                key.parse().map_err(|e: cloud_code_model::InvalidName| unfit(e.to_string()))?;
            let (in_repo, checked) = (repo.clone(), branch.clone());
            let place = match blocking(move || in_repo.place_of(&checked)).await? {
                None if !is_fetched => self.place_on_forge(&request.plan, &branch).await?,
                place => place,
            };
            if request.branch.is_some()
                && let Some(place) = place
            {
                return Err(EngineError::BranchExists { branch: branch.to_string(), place });
            }
            let taken = self.store.is_taken(&request.project, &key, &branch).await?;
            if taken && request.branch.is_some() && number > 1 {
                // Another number changes the key, not the branch: a live issue holds it.
                let place = "an issue that was not cleaned".to_owned();
                return Err(EngineError::BranchExists { branch: branch.to_string(), place });
            }
            if place.is_none() && !taken {
                return Ok((key, branch));
            }
        }
        let why = format!("{MAX_NUMBER} tasks of this title exist already");
        Err(EngineError::BranchUnfit { branch: stem, why })
    }
}

/// Nothing is stored that the agent would refuse: such a task could never be driven to an end.
pub(crate) fn check_tasking(issue: &Issue, records: &[TaskRecord]) -> Result<(), EngineError> {
    let at = issue.created_at;
    if let Some(tasking) = next_tasking(issue, records, None, 0, &BTreeMap::new(), at) {
        let text = to_yaml(&tasking).map_err(EngineError::Document)?;
        if text.len() as u64 > MAX_YAML_BYTES {
            return Err(EngineError::TooLong { limit_kib: MAX_YAML_BYTES / 1024 });
        }
        parse_tasking("the task", &text).map_err(EngineError::Document)?;
    }
    Ok(())
}

/// In Docker the worktree is mounted read only for such tasks, so any CLI will do. Without a sandbox only the CLI's own
/// read-only mode stands between the task and the files.
fn check_mode(mode: Mode, manifest: &CliManifest, runtime: RuntimeKind) -> Result<(), CliError> {
    match (reads_only(mode), runtime, &manifest.plan) {
        (true, RuntimeKind::Local, None) => Err(CliError::NoReadOnlyMode { name: manifest.name.to_string() }),
        (true, RuntimeKind::Local, Some(_)) | (true, RuntimeKind::Docker, _) | (false, ..) => Ok(()),
    }
}

pub(crate) fn title(text: &str) -> Result<String, EngineError> {
    let line =
        text.trim().lines().next().map(str::trim).filter(|l| !l.is_empty()).ok_or(EngineError::EmptyTask)?;
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut title: String = clean.chars().take(MAX_TITLE).collect();
    if clean.chars().count() > MAX_TITLE {
        title.push('…');
    }
    Ok(title)
}
