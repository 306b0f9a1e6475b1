//! The projects that the service looks after, found by what a forge says of their repositories.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cloud_code_forge::{Forge, ForgeError};
use cloud_code_intake::{RepositoryRef, Rules};
use cloud_code_model::{Access, ProjectName, ProjectPlan, RepositoryName, Triggers};
use cloud_code_store::{Deliveries, StoreError};
use cloud_code_task_schema::{CliName, Priority};

use crate::{EngineError, Forges, Rows};

/// A project on a forge, with everything that its settings say.
#[derive(Debug, Clone)]
pub struct ServedProject {
    /// Its name here.
    pub name: ProjectName,
    /// Its repository.
    pub repository: RepositoryName,
    /// What its tasks run with.
    pub plan: ProjectPlan,
    /// What starts work.
    pub triggers: Triggers,
    /// Who may command.
    pub access: Access,
    /// How urgent its tasks are unless one says otherwise.
    pub priority: Priority,
}

/// All of them.
pub struct Projects {
    served: Vec<Arc<ServedProject>>,
    clis: Vec<CliName>,
    forges: Arc<dyn Forges>,
    store: Arc<dyn Rows>,
    /// The forge's numbers of the repositories: names are changed and reused.
    ids: Mutex<HashMap<u64, ProjectName>>,
}

impl Projects {
    /// Puts them together; `clis` are the names that a command may use.
    pub fn new(
        served: Vec<ServedProject>,
        clis: Vec<CliName>,
        forges: Arc<dyn Forges>,
        store: impl Rows + 'static,
    ) -> Self {
        let served = served.into_iter().map(Arc::new).collect();
        Self { served, clis, forges, store: Arc::new(store), ids: Mutex::default() }
    }

    /// The number of the repository that a project had when it was served before, under the name it has in its settings
    /// now. Another name there is a person's decision, and begins anew.
    pub async fn number_before(
        store: &dyn Deliveries,
        project: &ServedProject,
    ) -> Result<Option<u64>, StoreError> {
        let noted = store.cursor(&cursor(&project.name)).await?;
        let noted = noted.as_deref().and_then(|noted| noted.split_once(' '));
        Ok(noted
            .filter(|(_, name)| *name == project.repository.to_string())
            .and_then(|(number, _)| number.parse().ok()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ServedProject>> {
        self.served.iter()
    }

    pub(crate) fn get(&self, name: &ProjectName) -> Option<Arc<ServedProject>> {
        self.served.iter().find(|project| project.name == *name).cloned()
    }

    /// The forge of a project. Its repository's number is learnt on the way.
    pub(crate) async fn forge(&self, project: &ServedProject) -> Result<Arc<dyn Forge>, ForgeError> {
        let forge = self.forges.of(&project.repository).await?;
        if !self.is_learnt(&project.name) {
            self.ids().insert(forge.number(), project.name.clone());
            let noted = format!("{} {}", forge.number(), project.repository);
            if let Err(error) = self.store.set_cursor(&cursor(&project.name), &noted).await {
                tracing::warn!(project = %project.name, error = %error, "the repository's number cannot be noted");
            }
        }
        Ok(forge)
    }

    /// The project of a repository that an event names. The number decides: after a rename the name in our settings is
    /// old, and another repository may have taken it. Where no number is known yet, the forge is asked; if it cannot
    /// answer, the event has to wait.
    pub(crate) async fn find(
        &self,
        repository: &RepositoryRef,
    ) -> Result<Option<Arc<ServedProject>>, EngineError> {
        if let Some(name) = self.ids().get(&repository.id).cloned() {
            return Ok(self.get(&name));
        }
        // A repository may have been renamed before its number was learnt, so those without one are all asked.
        let by_name = |project: &Arc<ServedProject>| {
            project.repository.to_string().eq_ignore_ascii_case(&repository.name.to_string())
        };
        for project in self.served.iter().filter(|project| !self.is_learnt(&project.name)) {
            match self.forge(project).await {
                Ok(_) => {}
                Err(error) if by_name(project) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(project = %project.name, error = %error, "the repository's number is not known");
                }
            }
        }
        let name = self.ids().get(&repository.id).cloned();
        Ok(name.and_then(|name| self.get(&name)))
    }

    fn is_learnt(&self, project: &ProjectName) -> bool {
        self.ids().values().any(|name| name == project)
    }

    /// What reading a text of this project needs to know.
    pub(crate) async fn rules(
        &self,
        project: &ServedProject,
        forge: &dyn Forge,
    ) -> Result<Rules, ForgeError> {
        let identity = forge.identity().await?;
        let triggers = &project.triggers;
        Ok(Rules {
            prefix: triggers.prefix.clone(),
            aliases: triggers.aliases.clone(),
            // With a token we write as a person, whose own comments are commands.
            bot: identity.app_id.is_some().then(|| identity.actor.clone()),
            account: identity.app_id.is_none().then_some(identity.actor),
            app_id: identity.app_id,
            listed_bots: project.access.bots.iter().copied().collect(),
            ready_labels: triggers.labels.clone(),
            on_assignment: triggers.assignment,
            on_mention: triggers.mention,
            on_changes_requested: triggers.changes_requested,
            on_failing_checks: triggers.failing_check_rounds > 0,
            branch_prefix: project.plan.branch_prefix.clone(),
            clis: self.clis.clone(),
        })
    }

    fn ids(&self) -> std::sync::MutexGuard<'_, HashMap<u64, ProjectName>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a project's number stands.
fn cursor(project: &ProjectName) -> String {
    format!("repository-{project}")
}
