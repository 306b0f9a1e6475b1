//! Projects, issues, tasks and attempts in memory.

use async_trait::async_trait;
use cloud_code_model::{
    Attempt, IntentRecord, Issue, IssueKey, Move, NewTask, Project, ProjectName, StopReason, TaskEvent,
    TaskRecord,
};
use cloud_code_store::{Store, StoreError};
use cloud_code_task_schema::{BranchName, TaskId, Usage};
use jiff::Timestamp;

use super::{MemoryStore, Tables};

impl Tables {
    pub(super) fn is_open(&self, project: &ProjectName, issue: &IssueKey) -> bool {
        let is_its = |record: &&TaskRecord| record.task.project == *project && record.task.issue == *issue;
        self.tasks.iter().filter(is_its).any(|record| !record.state.status().is_terminal())
    }

    fn issue_mut(&mut self, project: &ProjectName, key: &IssueKey) -> Option<&mut Issue> {
        self.issues.iter_mut().find(|issue| issue.project == *project && issue.key == *key)
    }

    fn task_mut(&mut self, id: &TaskId) -> Option<&mut TaskRecord> {
        self.tasks.iter_mut().find(|record| record.task.id == *id)
    }

    fn insert_task(&mut self, task: &NewTask) -> Result<(), StoreError> {
        let is_same = |known: &TaskRecord| {
            let is_same_intent = task.intent.is_some() && known.task.intent == task.intent;
            known.task.id == task.id || (known.task.project == task.project && is_same_intent)
        };
        let is_its = |record: &&IntentRecord| {
            record.project == task.project && Some(&record.intent.key) == task.intent.as_ref()
        };
        if let Some(record) = self.intents.iter().find(is_its).filter(|record| record.outcome.is_some()) {
            return Err(StoreError::Settled { id: record.intent.key.clone() });
        }
        if self.tasks.iter().any(is_same) {
            return Err(StoreError::Exists { what: "task", id: task.id.to_string() });
        }
        self.tasks.push(TaskRecord::queued(task.clone()));
        Ok(())
    }

    pub(super) fn move_task(
        &mut self,
        record: &TaskRecord,
        event: TaskEvent,
        at: Timestamp,
    ) -> Result<TaskRecord, StoreError> {
        let next = record.after(event.clone(), at)?;
        let stale = || StoreError::Stale { id: record.task.id.to_string() };
        let row = self.task_mut(&record.task.id).ok_or_else(stale)?;
        if row.version != record.version {
            return Err(stale());
        }
        if row.attempt != next.attempt {
            row.stop_reason = None;
        }
        row.state = next.state.clone();
        row.version = next.version;
        row.updated_at = at;
        row.attempt = next.attempt;
        self.moves.push(Move::between(record, &event, &next));
        Ok(next)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn put_project(&self, project: &Project) -> Result<(), StoreError> {
        self.write("put_project", |tables| {
            let row = tables.projects.entry(project.name.to_string()).or_insert_with(|| project.clone());
            row.repo.clone_from(&project.repo);
            Ok(())
        })
        .await
    }

    async fn project(&self, name: &ProjectName) -> Result<Option<Project>, StoreError> {
        self.read("project", |tables| tables.projects.get(name.as_str()).cloned()).await
    }

    async fn open_issue(
        &self,
        issue: &Issue,
        first: &NewTask,
        thread: Option<u64>,
    ) -> Result<(), StoreError> {
        self.write("open_issue", |tables| {
            let is_taken = |known: &Issue| {
                known.project == issue.project
                    && (known.key == issue.key
                        || (known.branch == issue.branch && known.cleaned_at.is_none()))
            };
            if tables.issues.iter().any(is_taken) {
                let what = "the issue or its branch";
                return Err(StoreError::Exists { what, id: issue.branch.to_string() });
            }
            tables.insert_task(first)?;
            tables.issues.push(issue.clone());
            let named = thread.map(|number| (issue.project.to_string(), number));
            if let Some(thread) = named.and_then(|place| tables.threads.get_mut(&place)) {
                thread.facts.issue = Some(issue.key.clone());
            }
            Ok(())
        })
        .await
    }

    async fn add_task(&self, task: &NewTask) -> Result<(), StoreError> {
        self.write("add_task", |tables| {
            let is_cleaned =
                tables.issue_mut(&task.project, &task.issue).is_none_or(|issue| issue.cleaned_at.is_some());
            if is_cleaned || tables.is_open(&task.project, &task.issue) {
                return Err(StoreError::NotOpen { id: format!("{}#{}", task.project, task.issue) });
            }
            tables.insert_task(task)
        })
        .await
    }

    async fn issue(&self, project: &ProjectName, key: &IssueKey) -> Result<Option<Issue>, StoreError> {
        let is_it = |issue: &&Issue| issue.project == *project && issue.key == *key;
        self.read("issue", |tables| tables.issues.iter().find(is_it).cloned()).await
    }

    async fn issues(&self, project: Option<&ProjectName>, limit: u32) -> Result<Vec<Issue>, StoreError> {
        self.read("issues", |tables| {
            let is_its = |issue: &&Issue| project.is_none_or(|project| issue.project == *project);
            let mut found: Vec<Issue> = tables.issues.iter().filter(is_its).cloned().collect();
            found.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.key.cmp(&b.key)));
            found.truncate(limit as usize);
            found
        })
        .await
    }

    async fn move_base(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        base_sha: &str,
        start_sha: Option<&str>,
    ) -> Result<(), StoreError> {
        self.write("move_base", |tables| {
            if let Some(issue) = tables.issue_mut(project, key) {
                base_sha.clone_into(&mut issue.base_sha);
                issue.start_sha = start_sha.map(str::to_owned);
            }
            Ok(())
        })
        .await
    }

    async fn is_taken(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        branch: &BranchName,
    ) -> Result<bool, StoreError> {
        let takes = |issue: &Issue| {
            issue.project == *project
                && (issue.key == *key || (issue.branch == *branch && issue.cleaned_at.is_none()))
        };
        self.read("is_taken", |tables| tables.issues.iter().any(takes)).await
    }

    async fn mark_cleaned(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.write("mark_cleaned", |tables| {
            let not_open = || StoreError::NotOpen { id: format!("{project}#{key}") };
            if tables.is_open(project, key) {
                return Err(not_open());
            }
            let issue = tables.issue_mut(project, key).ok_or_else(not_open)?;
            issue.cleaned_at.get_or_insert(at);
            Ok(())
        })
        .await
    }

    async fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
        self.read("task", |tables| tables.tasks.iter().find(|record| record.task.id == *id).cloned()).await
    }

    async fn tasks_of(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<TaskRecord>, StoreError> {
        let is_its = |record: &&TaskRecord| record.task.project == *project && record.task.issue == *issue;
        self.read("tasks_of", |tables| tables.tasks.iter().filter(is_its).cloned().collect()).await
    }

    async fn open_tasks(&self) -> Result<Vec<TaskRecord>, StoreError> {
        let is_open = |record: &&TaskRecord| !record.state.status().is_terminal();
        self.read("open_tasks", |tables| {
            let mut found: Vec<TaskRecord> = tables.tasks.iter().filter(is_open).cloned().collect();
            found.sort_by(|a, b| a.task.id.cmp(&b.task.id));
            found
        })
        .await
    }

    async fn transition(
        &self,
        record: &TaskRecord,
        event: TaskEvent,
        at: Timestamp,
    ) -> Result<TaskRecord, StoreError> {
        self.write("transition", |tables| tables.move_task(record, event, at)).await
    }

    async fn request_cancel(&self, id: &TaskId, at: Timestamp) -> Result<(), StoreError> {
        self.write("request_cancel", |tables| {
            if let Some(record) = tables.task_mut(id).filter(|record| !record.state.status().is_terminal()) {
                record.cancel_requested_at.get_or_insert(at);
            }
            Ok(())
        })
        .await
    }

    async fn record_stop(&self, id: &TaskId, reason: StopReason) -> Result<(), StoreError> {
        self.write("record_stop", |tables| {
            if let Some(record) = tables.task_mut(id) {
                record.stop_reason.get_or_insert(reason);
            }
            Ok(())
        })
        .await
    }

    async fn record_report(
        &self,
        id: &TaskId,
        usage: &Usage,
        summary: Option<&str>,
        questions: &[String],
    ) -> Result<(), StoreError> {
        self.write("record_report", |tables| {
            if let Some(record) = tables.task_mut(id) {
                record.usage = usage.clone();
                record.summary = summary.map(str::to_owned).or_else(|| record.summary.take());
                record.questions = questions.to_vec();
            }
            Ok(())
        })
        .await
    }

    async fn begin_attempt(&self, attempt: &Attempt) -> Result<(), StoreError> {
        self.write("begin_attempt", |tables| {
            let is_same = |known: &Attempt| known.task == attempt.task && known.number == attempt.number;
            if !tables.attempts.iter().any(is_same) {
                tables.attempts.push(attempt.clone());
            }
            Ok(())
        })
        .await
    }

    async fn attempt_container(&self, task: &TaskId, number: u32, container: &str) -> Result<(), StoreError> {
        self.write("attempt_container", |tables| {
            for attempt in tables.attempts.iter_mut().filter(|a| a.task == *task && a.number == number) {
                attempt.container = Some(container.to_owned());
            }
            Ok(())
        })
        .await
    }

    async fn finish_attempt(
        &self,
        task: &TaskId,
        number: u32,
        at: Timestamp,
        result: &str,
    ) -> Result<(), StoreError> {
        self.write("finish_attempt", |tables| {
            let is_it = |attempt: &&mut Attempt| {
                attempt.task == *task && attempt.number == number && attempt.finished_at.is_none()
            };
            for attempt in tables.attempts.iter_mut().filter(is_it) {
                attempt.finished_at = Some(at);
                attempt.result = Some(result.to_owned());
            }
            Ok(())
        })
        .await
    }

    async fn attempts(&self, task: &TaskId) -> Result<Vec<Attempt>, StoreError> {
        self.read("attempts", |tables| {
            let mut found: Vec<Attempt> =
                tables.attempts.iter().filter(|attempt| attempt.task == *task).cloned().collect();
            found.sort_by_key(|attempt| attempt.number);
            found
        })
        .await
    }
}
