//! The end of an attempt: commit what is there, describe it, judge it, report it, and only then say so.

use cloud_code_task_schema::{EventKind, ExitReport, Failure, Mode, Task, TaskReport, TaskReportStatus};
use jiff::Timestamp;

use crate::commit_message::with_trailers;
use crate::git::{Git, GitError, Leftover, Work};
use crate::journal::Subject;
use crate::parse::clip_to;
use crate::session::git_failure;
use crate::shared::Shared;
use crate::verdict::{Changed, Outcome, RunEnd, weigh};

/// Cap of a summary: the body of a pull request has room for twice this.
const MAX_SUMMARY_BYTES: usize = 32 * 1024;
/// What the end is made from.
pub(crate) struct Finish<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) task: &'a Task,
    pub(crate) git: Git<'a>,
    pub(crate) base: Option<String>,
    pub(crate) end: RunEnd,
    pub(crate) last_words: Option<String>,
    /// Of the agent's own commit, without trailers.
    pub(crate) message: String,
    pub(crate) exit: Option<ExitReport>,
    pub(crate) staging: Staging,
    /// What verify commands left in the tree.
    pub(crate) leftovers: Vec<Leftover>,
}

/// Whether the CLI's work is in the index already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Staging {
    /// Not yet.
    ToDo,
    /// Before the verify commands ran: what differs now is theirs.
    Done,
}

/// Ends the attempt.
pub(crate) async fn finish(shared: &Shared, finish: Finish<'_>) {
    let message = with_trailers(&finish.message, &finish.task.commit);
    let committed = match finish.task.mode {
        Mode::Edit => commit(&finish, &message).await,
        // Nothing to commit, and nothing changed; else it ended as `not_read_only`.
        Mode::Plan | Mode::Review | Mode::Ask => Ok((OwnCommit::None, finish.git.standing())),
    };
    let (own_commit, work) = match committed {
        Ok((own_commit, work)) => (own_commit, Ok(work)),
        Err(error) => (OwnCommit::None, Err(error)),
    };
    let end = conclude(shared, &finish, work.as_ref());
    let work = work.unwrap_or_default();
    if work.left_out > 0 {
        let text = format!(
            "{} commits or files are left out of the report; the repository has them all",
            work.left_out
        );
        shared.journal().warn(Some(finish.subject), text);
    }
    // Git may have run filters that the CLI's own HOME names: they too end with the task.
    let _ = crate::sweep::sweep(&shared.reaper).await;
    tell(shared, &finish, &end, &work, (own_commit == OwnCommit::Made).then_some(message));
}

/// Whether the agent made a commit itself.
#[derive(PartialEq, Eq)]
enum OwnCommit {
    Made,
    None,
}

async fn commit(finish: &Finish<'_>, message: &str) -> Result<(OwnCommit, Work), GitError> {
    if finish.staging == Staging::ToDo {
        finish.git.stage(&finish.leftovers).await?;
    }
    let made = finish.git.commit(message).await?;
    let work = finish.git.work_since(finish.base.as_deref()).await?;
    Ok((if made { OwnCommit::Made } else { OwnCommit::None }, work))
}

/// The status and what goes with it.
struct End {
    status: TaskReportStatus,
    failure: Option<Failure>,
    question: Option<String>,
}

impl End {
    const fn plain(status: TaskReportStatus) -> Self {
        Self { status, failure: None, question: None }
    }

    const fn badly(status: TaskReportStatus, failure: Failure) -> Self {
        Self { status, failure: Some(failure), question: None }
    }
}

fn conclude(shared: &Shared, finish: &Finish<'_>, work: Result<&Work, &GitError>) -> End {
    let failed_git = work.err().map(git_failure);
    if let (Some(failure), true) = (&failed_git, finish.end != RunEnd::Well) {
        shared.journal().warn(Some(finish.subject), failure.message.clone());
    }
    match (&finish.end, failed_git) {
        (RunEnd::Badly(status, failure), _) => End::badly(*status, failure.clone()),
        (RunEnd::Cancelled, _) => End::plain(TaskReportStatus::Cancelled),
        (RunEnd::Interrupted, _) => End::plain(TaskReportStatus::InProgress),
        (RunEnd::Well, Some(failure)) => End::badly(TaskReportStatus::Failed, failure),
        (RunEnd::Well, None) => {
            let changed = work.is_ok_and(|work| !work.commits.is_empty() || !work.files.is_empty());
            let changed = if changed { Changed::Yes } else { Changed::No };
            match weigh(finish.task.mode, changed, finish.last_words.as_deref()) {
                Outcome::Completed => End::plain(TaskReportStatus::Completed),
                Outcome::Nothing(failure) => End::badly(TaskReportStatus::Failed, failure),
                Outcome::Asks(question) => End {
                    status: TaskReportStatus::Blocked,
                    failure: None,
                    question: Some(clip_to(&question, MAX_SUMMARY_BYTES)),
                },
            }
        }
    }
}

fn tell(shared: &Shared, finish: &Finish<'_>, end: &End, work: &Work, commit_message: Option<String>) {
    let mut journal = shared.journal();
    for commit in &work.commits {
        let kind = EventKind::Committed { sha: commit.sha.clone(), message: commit.message.clone() };
        journal.event(Some(finish.subject), kind);
    }
    if let Some(text) = &end.question {
        journal.event(Some(finish.subject), EventKind::Question { text: text.clone() });
    }
    let ended = end.status.is_ended();
    let fill = |report: &mut TaskReport| {
        report.status = end.status;
        report.finished_at = ended.then(Timestamp::now);
        report.current_step = (!ended).then(|| "Stopped with the agent; the next one takes it up".to_owned());
        report.failure.clone_from(&end.failure);
        report.exit = finish.exit;
        report.summary = finish.last_words.as_deref().map(|words| clip_to(words.trim(), MAX_SUMMARY_BYTES));
        report.commit_message = commit_message;
        report.commits.clone_from(&work.commits);
        report.head.clone_from(&work.head);
        report.files_modified.clone_from(&work.files);
        report.questions = end.question.iter().cloned().collect();
    };
    journal.update_task(&finish.subject.task, fill);
    // First the report, durably; a crash before the event is mended from it, the other way round work is repeated.
    // A full disk is told by the journal, and the next tick tries again.
    let _ = journal.write_through();
    if ended {
        let kind = EventKind::TaskEnded { status: end.status, failure: end.failure.clone() };
        journal.event(Some(finish.subject), kind);
    }
}

/// The end of a task that was cancelled before it ran.
pub(crate) fn cancel_unstarted(shared: &Shared, subject: &Subject) {
    let mut journal = shared.journal();
    journal.update_now(|reporting| {
        let attempt = subject.attempt;
        let report = reporting
            .tasks
            .entry(subject.task.clone())
            .or_insert_with(|| crate::recovery::bare_report(TaskReportStatus::Received, attempt));
        report.status = TaskReportStatus::Cancelled;
        report.attempt = attempt;
        report.finished_at = Some(Timestamp::now());
        report.current_step = None;
        report.failure = None;
    });
    let _ = journal.write_through();
    let kind = EventKind::TaskEnded { status: TaskReportStatus::Cancelled, failure: None };
    journal.event(Some(subject), kind);
}
