//! Who waits for whom, and that nobody waits for itself.

use std::collections::BTreeSet;

use cloud_code_model::{ConfigKey, IssueKey, ProjectName, Thread};

use crate::{EngineError, Rows};

/// The issues that one is to wait for, as was said in its thread.
pub(crate) async fn awaited(
    store: &dyn Rows,
    project: &ProjectName,
    thread: &Thread,
) -> Result<Vec<IssueKey>, EngineError> {
    let said = thread.facts.config.get(&ConfigKey::After).map(String::as_str).unwrap_or_default();
    numbered(store, project, thread.number, said).await
}

/// The same of what is being said just now: the numbers of issues, with commas between them.
pub(crate) async fn numbered(
    store: &dyn Rows,
    project: &ProjectName,
    own: u64,
    said: &str,
) -> Result<Vec<IssueKey>, EngineError> {
    let mut found = Vec::new();
    let numbers = said.split(',').filter_map(|number| number.trim().parse::<u64>().ok());
    for number in numbers.filter(|number| *number != own) {
        let known = store.thread(project, number).await?;
        // Of an issue that nobody asked us about yet, the key will be its number.
        found.extend(known.and_then(|thread| thread.facts.issue).or_else(|| number.to_string().parse().ok()));
    }
    Ok(found)
}

/// The issue by way of which one would come to wait for itself if it waited for these.
pub async fn waits_for_itself(
    store: &dyn Rows,
    project: &ProjectName,
    issue: &IssueKey,
    depends_on: &[IssueKey],
) -> Result<Option<IssueKey>, EngineError> {
    let mut left = depends_on.to_vec();
    let mut seen = BTreeSet::new();
    while let Some(key) = left.pop() {
        if !seen.insert(key.clone()) {
            continue;
        }
        let next = waits_for(store, project, &key).await?;
        if key == *issue || next.contains(issue) {
            return Ok(Some(key));
        }
        left.extend(next);
    }
    Ok(None)
}

/// What an issue waits for: its tasks that have not ended, and those that it will have.
async fn waits_for(
    store: &dyn Rows,
    project: &ProjectName,
    issue: &IssueKey,
) -> Result<Vec<IssueKey>, EngineError> {
    let tasks = store.tasks_of(project, issue).await?;
    let open = tasks.into_iter().filter(|record| !record.state.status().is_terminal());
    let mut found: Vec<IssueKey> = open.flat_map(|record| record.task.queue.depends_on).collect();
    let thread = match store.thread_of_issue(project, issue).await? {
        Some(thread) => Some(thread),
        None => match issue.as_str().parse() {
            Ok(number) => store.thread(project, number).await?,
            Err(_) => None,
        },
    };
    if let Some(thread) = thread {
        found.extend(awaited(store, project, &thread).await?);
    }
    Ok(found)
}
