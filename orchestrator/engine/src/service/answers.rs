//! Comments that are written once: what a person is told about a request, what an agent asks, what it answers. Each has a
//! key, so that a second look at the same thing changes nothing.

use cloud_code_model::{Ask, Command, Intent, Note, Place, ProjectName, TaskRecord, TaskState, Thread};
use cloud_code_task_schema::TaskId;

use super::Inner;
use crate::EngineError;
use crate::catch_up::{left_key, left_words};
use crate::words::{cost_line, foreign};

/// Most characters of an agent's answer; a forge takes 65,536 for a comment.
const MAX_ANSWER: usize = 30_000;

/// The key of the comment that holds a task's questions.
pub(super) fn question_key(task: &TaskId) -> String {
    format!("question-{task}")
}

impl Inner {
    /// Answers a request, once, where it was made.
    pub(super) async fn reply(
        &self,
        project: &ProjectName,
        intent: &Intent,
        body: String,
    ) -> Result<(), EngineError> {
        let note = Note {
            project: project.clone(),
            key: intent.key.clone(),
            number: intent.number,
            place: intent.place.clone(),
            body: format!("@{} {body}", intent.actor.login),
            created_at: self.clock.now(),
        };
        self.store.put_note(&note).await?;
        self.touch_notes();
        Ok(())
    }

    /// What the ends of a thread's tasks are to be answered with: questions to whoever asked for the work, and answers
    /// to questions about it. Done again it changes nothing.
    pub(super) async fn answer_ends(&self, thread: &Thread, tasks: &[TaskRecord]) -> Result<(), EngineError> {
        for task in tasks {
            let asked = match &task.task.intent {
                Some(key) => self.store.intent(&thread.project, key).await?,
                None => None,
            };
            let Some(asked) = asked.map(|record| record.intent) else { continue };
            let note = |key: String, place: Place, body: String| Note {
                project: thread.project.clone(),
                key,
                number: asked.number,
                place,
                body,
                created_at: self.clock.now(),
            };
            // Checks fail by nobody's hand: whoever asked for the work is asked what comes of it.
            let asker = match &asked.ask {
                Ask::ChecksFailed { .. } | Ask::BaseConflict { .. } => {
                    thread.facts.requester.as_ref().unwrap_or(&asked.actor)
                }
                Ask::Command { .. }
                | Ask::Answer { .. }
                | Ask::Mistake { .. }
                | Ask::Changes { .. }
                | Ask::Line { .. } => &asked.actor,
            };
            let at = format!("@{}", asker.login);
            if let (TaskState::Failed { .. }, Ask::BaseConflict { base, .. }) = (&task.state, &asked.ask) {
                let number = thread.published.pull.as_ref().map_or(asked.number, |pull| pull.number);
                let left = note(left_key(task), Place::Issue, format!("{at} {}", left_words(task, base)));
                self.store.put_note(&Note { number, ..left }).await?;
            }
            match &task.state {
                TaskState::NeedsInput { .. } => {
                    let questions: Vec<String> = task
                        .questions
                        .iter()
                        .map(|question| quoted(&foreign(question, MAX_ANSWER)))
                        .collect();
                    let body = format!(
                        "{at} **{}** asks before it goes on:\n\n{}\n\nAnswer with a comment.",
                        task.cli(),
                        questions.join("\n\n")
                    );
                    self.store
                        .put_note(&note(question_key(&task.task.id), asked.place.clone(), body))
                        .await?;
                }
                TaskState::Done { .. } if wants_an_answer(&asked) => {
                    let key = format!("answer-{}", task.task.id);
                    self.store.put_note(&note(key, asked.place.clone(), answer(&at, task))).await?;
                }
                TaskState::Failed { failure, .. } if wants_an_answer(&asked) => {
                    let body = format!(
                        "{at} **{}** could not do this: `{}`.\n\n{}",
                        task.cli(),
                        failure.kind,
                        quoted(&foreign(&crate::public::failed(failure).why, MAX_ANSWER))
                    );
                    let key = format!("answer-{}", task.task.id);
                    self.store.put_note(&note(key, asked.place.clone(), body)).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a request gets an answer of its own beside the status comment: a question does, and what was said on a line.
fn wants_an_answer(intent: &Intent) -> bool {
    let is_question = matches!(&intent.ask, Ask::Command { command: Command::Ask { .. } });
    is_question || matches!(intent.place, Place::ReviewComment { .. })
}

fn answer(at: &str, task: &TaskRecord) -> String {
    let summary = task.summary.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let said =
        summary.map_or_else(|| "It ended without a word.".to_owned(), |text| foreign(text, MAX_ANSWER));
    let commit = match task.state.head() {
        Some(head) => format!("\n\nDone in {head}."),
        None => String::new(),
    };
    format!("{at}\n\n{said}{commit}\n\n<sub>{}: {}</sub>", task.cli(), cost_line(&task.usage))
}

fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}
