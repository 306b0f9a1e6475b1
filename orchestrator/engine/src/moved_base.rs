//! A base that moved, held against the published work of many issues: fetched once, with one credential, for all of them.

use cloud_code_model::{Issue, ProjectName, RepositoryName};
use cloud_code_task_schema::BranchName;
use cloud_code_workspace::{RebaseError, Source};

use crate::catch_up::Conflict;
use crate::forges::credential;
use crate::git::{Repo, commit};
use crate::{Engine, EngineError, blocking};

/// A repository as it was fetched just now.
pub(crate) struct Fetched {
    repo: Repo,
}

impl Engine {
    /// Fetches all branches of a repository.
    pub(crate) async fn fetch_now(
        &self,
        repository: &RepositoryName,
        project: &ProjectName,
        base: &BranchName,
    ) -> Result<Fetched, EngineError> {
        let forge = self.forge(repository).await?;
        let known = forge.repository().await?;
        let repo = self.repo(project, &known.clone_url)?;
        let source = Source::parse(&known.clone_url)?;
        let lent = credential(forge.as_ref()).await?;
        let (fetched, base) = (repo.clone(), base.clone());
        blocking(move || Ok(fetched.mirror()?.fetch(&source, &base, Some(&lent))?)).await?;
        Ok(Fetched { repo })
    }

    /// How the published work of an issue conflicts with its base. `None` as well when somebody else has pushed to the branch,
    /// who then has it in hand, and when both are too large to compare: the forge will say what it thinks of them.
    pub(crate) async fn conflict_in(
        &self,
        fetched: &Fetched,
        issue: &Issue,
        head: &str,
    ) -> Result<Option<Conflict>, EngineError> {
        let (repo, issue, head) = (fetched.repo.clone(), issue.clone(), commit(head)?);
        blocking(move || {
            let mirror = repo.mirror()?;
            let Some(tip) = mirror.base(&issue.base)? else { return Ok(None) };
            let is_ours = mirror.base(&issue.branch)?.is_some_and(|published| published == head);
            if !is_ours || !mirror.is_behind(&head, &tip)? {
                return Ok(None);
            }
            let paths = match mirror.conflicts_with(&head, &tip) {
                Ok(paths) => paths,
                Err(RebaseError::TooLarge { .. }) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            Ok((!paths.is_empty()).then(|| Conflict { tip: tip.to_string(), paths }))
        })
        .await
    }
}
