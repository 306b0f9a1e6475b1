//! Bases that moved. Word of a push only notes the branch and wakes this loop: fetching takes as long as the repository is
//! large, and deliveries do not wait for that. What is noted stays until it was looked at, so a kill forgets nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use cloud_code_model::{Issue, ProjectName, PullState, TaskRecord, TaskState, Thread};
use futures_util::{StreamExt, stream};

use super::projects::ServedProject;
use super::receive::{lasts, not_before};
use super::{Inner, receive};
use crate::EngineError;
use crate::catch_up::conflict_intent;

/// How many repositories are fetched at one time.
const AT_ONCE: usize = 4;
/// What the cursor of a branch that moved begins with; its value is the newest commit that we were told of.
const MOVED: &str = "moved ";

/// Notes that a branch moved.
pub(super) async fn moved(
    inner: &Inner,
    project: &ProjectName,
    branch: &str,
    to: &str,
) -> Result<receive::Worked, EngineError> {
    inner.store.set_cursor(&format!("{MOVED}{project} {branch}"), to).await?;
    inner.wakes.bases.notify_one();
    Ok(receive::Worked::Done(format!("`{branch}` moved")))
}

/// A branch that moved, as it was noted.
struct Moved {
    cursor: String,
    branch: String,
    to: String,
}

pub(super) async fn look(inner: Arc<Inner>) -> Result<(), EngineError> {
    let mut projects: BTreeMap<String, Vec<Moved>> = BTreeMap::new();
    for (cursor, to) in inner.store.cursors(MOVED).await? {
        let noted = cursor.strip_prefix(MOVED).and_then(|noted| noted.split_once(' '));
        let Some((project, branch)) = noted else { continue };
        let (project, branch) = (project.to_owned(), branch.to_owned());
        projects.entry(project).or_default().push(Moved { cursor, branch, to });
    }
    if projects.is_empty() {
        return Ok(());
    }
    stream::iter(projects)
        .for_each_concurrent(AT_ONCE, |(name, moved)| {
            let inner = &inner;
            async move {
                if let Err(error) = in_project(inner, &name, &moved).await {
                    tracing::warn!(project = name, error = %error.chain(), "a base that moved has to wait");
                }
            }
        })
        .await;
    Ok(())
}

async fn in_project(inner: &Inner, name: &str, moved: &[Moved]) -> Result<(), EngineError> {
    let served = inner.projects.iter().find(|project| project.name.to_string() == name);
    if let Some(project) = served {
        if inner.base_pauses.rests(&project.name) {
            return Ok(());
        }
        match hold_against(inner, project, moved).await.map_err(|error| inner.or_shortage(error)) {
            Ok(()) => inner.base_pauses.passed(&project.name),
            Err(error) if lasts(&error, 0) => tracing::warn!(
                project = name, error = %error.chain(),
                "a base that moved cannot be looked at; the next task of each issue does it"
            ),
            Err(error) => {
                inner.base_pauses.failed(project.name.clone(), not_before(&error));
                return Err(error);
            }
        }
    }
    for branch in moved {
        inner.store.drop_cursor(&branch.cursor, &branch.to).await?;
    }
    Ok(())
}

/// Published work that is to be held against its base.
struct Held {
    thread: Thread,
    issue: Issue,
    last: TaskRecord,
    head: String,
}

/// The threads whose work may be held against a base: those with a pull request that is not merged, and those that are about
/// to get one.
async fn with_work(inner: &Inner, project: &ProjectName) -> Result<Vec<Thread>, EngineError> {
    let mut threads = inner.store.unmerged_threads(project).await?;
    for open in inner.store.open_tasks().await? {
        if open.task.project != *project || !matches!(open.state, TaskState::Publishing { .. }) {
            continue;
        }
        let thread = inner.store.thread_of_issue(project, &open.task.issue).await?;
        threads.extend(thread.filter(|thread| threads.iter().all(|known| known.number != thread.number)));
    }
    Ok(threads)
}

async fn hold_against(inner: &Inner, project: &ServedProject, moved: &[Moved]) -> Result<(), EngineError> {
    let mut looked = 0;
    let mut held: Vec<Held> = Vec::new();
    for thread in with_work(inner, &project.name).await? {
        let Some(key) = &thread.facts.issue else { continue };
        let Some(issue) = inner.store.issue(&thread.project, key).await? else { continue };
        let base = moved.iter().find(|moved| moved.branch == issue.base.as_str());
        let Some(base) = base.filter(|_| issue.cleaned_at.is_none()) else { continue };
        let Some(last) = inner.store.tasks_of(&thread.project, key).await?.pop() else { continue };
        match (&last.state, &thread.published.pull, &thread.facts.requester) {
            // It may have looked at the base just before.
            (TaskState::Publishing { head, .. }, _, Some(requester)) => {
                let at = inner.clock.now();
                let intent = conflict_intent(&thread, &issue, requester.clone(), head, &base.to, at);
                inner.store.put_intent(&thread.project, &intent, at).await?;
                looked += 1;
                inner.touch(&thread.project, thread.number);
            }
            (state, Some(pull), _) if pull.state == PullState::Open && state.status().is_terminal() => {
                let head = pull.head_sha.clone();
                held.push(Held { thread, issue, last, head });
            }
            // The running task looks at the base when it has ended.
            _ => {}
        }
    }
    if let Some(first) = held.first() {
        let engine = inner.engines.of(first.last.task.plan.runtime);
        let fetched = engine.fetch_now(&project.repository, &project.name, &first.issue.base).await?;
        for Held { thread, issue, last, head } in &held {
            let engine = inner.engines.of(last.task.plan.runtime);
            if let Some(conflict) = engine.conflict_in(&fetched, issue, head).await? {
                engine.hand_over_conflict(thread, issue, last, head, &conflict).await?;
            }
            looked += 1;
            inner.touch(&thread.project, thread.number);
        }
    }
    if looked > 0 {
        let branches: Vec<&str> = moved.iter().map(|moved| moved.branch.as_str()).collect();
        tracing::info!(project = %project.name, branches = branches.join(" "), looked, "a base has moved");
        inner.wakes.requests.notify_one();
    }
    Ok(())
}
