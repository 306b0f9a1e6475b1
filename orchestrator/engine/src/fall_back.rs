//! Another CLI takes over where the provider of this one cannot be waited for: an account whose window is used up until
//! tomorrow need not keep the work waiting until then.

use cloud_code_model::{Ask, Command, Intent, Place, TaskRecord};
use cloud_code_task_schema::{CliName, Failure, FailureKind};

use crate::{Engine, EngineError};

/// What the CLI is told that takes over.
const TAKE_OVER: &str = "The coding CLI before you could not go on, because its provider does not answer it for now. What it left \
     is described below. Look at what is there, then go on until the goal is reached.";

/// The CLI that takes over after such a failure, if the project names one.
pub(crate) fn fall_back(record: &TaskRecord, failure: &Failure) -> Option<CliName> {
    // Without a request there is nobody in whose name to hand over: a person at a terminal decides.
    record.task.intent.as_ref()?;
    let other = record.task.plan.fallback_cli.clone().filter(|other| other != record.cli())?;
    let can_help = matches!(
        failure.kind,
        FailureKind::RateLimited | FailureKind::UsageLimit | FailureKind::Overloaded | FailureKind::Auth
    );
    can_help.then_some(other)
}

impl Engine {
    /// Asks for the hand-over in the name of who asked for the work, once for each task. It is done when the task has ended.
    pub(crate) async fn ask_for_fall_back(
        &self,
        record: &TaskRecord,
        cli: CliName,
    ) -> Result<(), EngineError> {
        let task = &record.task;
        let Some(thread) = self.store.thread_of_issue(&task.project, &task.issue).await? else {
            return Ok(());
        };
        let Some(requester) = thread.facts.requester.clone() else { return Ok(()) };
        let now = self.clock.now();
        let intent = Intent {
            key: format!("fallback-{}", task.id),
            number: thread.number,
            subject: thread.facts.subject,
            actor: requester,
            at: now,
            place: Place::Issue,
            ask: Ask::Command { command: Command::Handoff { cli, text: TAKE_OVER.to_owned() } },
            head_sha: None,
        };
        self.store.put_intent(&task.project, &intent, now).await?;
        Ok(())
    }
}
