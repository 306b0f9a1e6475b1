//! From a request to a task, or to an answer. One thread's requests are worked on in their order; those that need the
//! worktree wait for the task that has it. Threads do not wait for each other: a repository that takes minutes to fetch,
//! or a forge that does not answer, holds up its own thread and nobody else's.

mod desk;
mod gates;
mod lanes;
mod mend;
mod merge_gate;
mod work;

use cloud_code_forge::ForgeError;
use cloud_code_model::{Ask, Command, IntentRecord, ProjectName};

use self::desk::Desk;
pub(super) use self::lanes::run;
use super::{Inner, says};
use crate::EngineError;

/// What became of a request.
enum Acted {
    /// Something, for the log.
    Settled(String),
    /// A task has the worktree.
    Waits,
}

async fn in_thread(
    inner: &Inner,
    name: &ProjectName,
    number: u64,
    records: &[IntentRecord],
) -> Result<(), EngineError> {
    let Some(project) = inner.projects.get(name) else { return Ok(()) };
    let forge = inner.projects.forge(&project).await?;
    let desk = Desk { inner, project: &project, forge: forge.as_ref() };
    let mut is_busy = false;
    for record in records {
        let intent = &record.intent;
        if is_busy && needs_worktree(&intent.ask) {
            continue;
        }
        // Settled meanwhile: the issue was closed, a `cancel` took it back.
        if !desk.is_waiting(intent).await? {
            continue;
        }
        let thread = match desk.inner.thread_or_new(&project, forge.as_ref(), number).await {
            // Deleted before we looked: there is nowhere to answer.
            Err(EngineError::Forge(error @ (ForgeError::NotFound { .. } | ForgeError::Gone { .. }))) => {
                inner.store.settle_intent(name, &intent.key, &error.to_string(), inner.clock.now()).await?;
                continue;
            }
            thread => thread?,
        };
        let acted = desk.act(thread, record, records).await.map_err(|error| inner.or_shortage(error));
        let acted = match acted {
            Ok(acted) => acted,
            Err(error) if can_pass(&error) => return Err(error),
            Err(error) => {
                inner.reply(name, intent, says::not_begun(&error, &project.triggers.prefix)).await?;
                Acted::Settled(error.chain())
            }
        };
        match acted {
            Acted::Settled(outcome) => {
                tracing::info!(project = %name, intent.key = intent.key, outcome, "a request was settled");
                inner.store.settle_intent(name, &intent.key, &outcome, inner.clock.now()).await?;
            }
            Acted::Waits => is_busy = true,
        }
        inner.touch(name, number);
        // As long as a request waits, nothing is merged.
        inner.look_at_merge(name, number);
    }
    Ok(())
}

/// Whether the same request may succeed later without anybody asking again.
pub(super) fn can_pass(error: &EngineError) -> bool {
    match error {
        EngineError::Forge(error) => error.can_pass(),
        EngineError::Store(_) | EngineError::Job(_) => true,
        error => error.is_of_the_machine() || error.is_unreachable(),
    }
}

fn needs_worktree(ask: &Ask) -> bool {
    match ask {
        Ask::Command { command } => match command {
            Command::Run { .. } | Command::Plan { .. } | Command::Ask { .. } => true,
            Command::Retry | Command::Handoff { .. } => true,
            Command::Approve | Command::Reject { .. } | Command::Cancel => false,
            Command::Status | Command::Config { .. } | Command::Cost | Command::Logs | Command::Help => false,
        },
        Ask::Answer { .. } | Ask::Changes { .. } | Ask::Line { .. } | Ask::ChecksFailed { .. } => true,
        Ask::BaseConflict { .. } => true,
        Ask::Mistake { .. } => false,
    }
}

/// Whether a request decides something, so that who asks must be somebody who may at that moment.
fn decides(ask: &Ask) -> bool {
    match ask {
        Ask::Command { command } => match command {
            Command::Approve | Command::Reject { .. } | Command::Cancel | Command::Config { .. } => true,
            _ => needs_worktree(ask),
        },
        // Nobody's hand: our own pull request vouches for them.
        Ask::ChecksFailed { .. } | Ask::BaseConflict { .. } => false,
        Ask::Mistake { .. } => false,
        Ask::Answer { .. } | Ask::Changes { .. } | Ask::Line { .. } => true,
    }
}
