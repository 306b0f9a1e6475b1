//! The status comment, the label and the check of a thread, from what is known of it. Pure: what stands on the forge is
//! derived, so that any look can write it again, and equal text is not written twice.

use std::collections::BTreeMap;

use cloud_code_forge::{CheckStatus, Conclusion, LabelSpec};
use cloud_code_model::{
    Issue, Level, Published, Pull, PullState, Reported, Subject, TaskRecord, TaskState, Thread, reads_only,
};
use cloud_code_task_schema::{Mode, TaskId, TaskReport, TaskReportStatus};

use super::merges;
use crate::public;
use crate::words::{code, cost_line, end_of, foreign, verify_lines};

/// Most characters of an agent's summary in the comment; the rest is in the pull request and in `cloud-code status`.
const MAX_SUMMARY: usize = 6_000;
/// Most characters of a failure's message.
const MAX_FAILURE: usize = 2_000;
/// Most lines of progress.
const MAX_PROGRESS: usize = 5;
/// Most earlier tasks that are listed.
const MAX_EARLIER: usize = 20;

/// Where a thread is, in one of six words that are also labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for its turn.
    Queued,
    /// An agent works.
    Working,
    /// A person must answer or say yes.
    NeedsInput,
    /// The work stands in a pull request.
    InReview,
    /// It ended badly.
    Failed,
    /// Nothing is left to do: merged, closed, or answered.
    Done,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Queued, Self::Working, Self::NeedsInput, Self::InReview, Self::Failed, Self::Done];

    /// As in the comment's first line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Working => "working",
            Self::NeedsInput => "needs-input",
            Self::InReview => "in-review",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }

    /// The label's name.
    pub(crate) fn label(self) -> String {
        format!("cloud-code: {}", self.as_str())
    }

    const fn color(self) -> &'static str {
        match self {
            Self::Queued => "c5def5",
            Self::Working => "fbca04",
            Self::NeedsInput => "d876e3",
            Self::InReview => "1d76db",
            Self::Failed => "d73a4a",
            Self::Done => "0e8a16",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Queued => "cloud-code will begin when a place is free",
            Self::Working => "cloud-code is working on this",
            Self::NeedsInput => "cloud-code waits for an answer or a yes",
            Self::InReview => "cloud-code's pull request waits for review",
            Self::Failed => "cloud-code could not do this; the status comment says why",
            Self::Done => "cloud-code has nothing left to do here",
        }
    }

    /// Whether only a person or an event moves it on.
    pub(crate) const fn is_settled(self) -> bool {
        match self {
            Self::Queued | Self::Working => false,
            Self::NeedsInput | Self::InReview | Self::Failed | Self::Done => true,
        }
    }
}

/// Our labels: a thread carries exactly one of them, or none.
pub(crate) fn label_family() -> Vec<LabelSpec> {
    let label = |phase: Phase| LabelSpec {
        name: phase.label(),
        color: phase.color().to_owned(),
        description: phase.description().to_owned(),
    };
    Phase::ALL.into_iter().map(label).collect()
}

/// What the comment is made of.
pub(crate) struct StatusView<'a> {
    /// The thread.
    pub(crate) thread: &'a Thread,
    /// Our issue.
    pub(crate) issue: &'a Issue,
    /// Its tasks, oldest first; never empty.
    pub(crate) tasks: &'a [TaskRecord],
    /// What the agents reported.
    pub(crate) reports: &'a BTreeMap<TaskId, TaskReport>,
    /// Requests that wait for the running task's end.
    pub(crate) waiting: usize,
    /// What begins a command here.
    pub(crate) prefix: &'a str,
    /// How far its last task is from the limits of its budgets.
    pub(crate) budget: &'a [Level],
    /// The branch's page, without the branch's name at its end.
    pub(crate) tree_url: &'a str,
}

impl StatusView<'_> {
    fn last(&self) -> Option<&TaskRecord> {
        self.tasks.last()
    }

    /// The pull request of this work. After a merge, what comes next has one of its own.
    pub(crate) fn pull(&self) -> Option<&Pull> {
        let published = &self.thread.published;
        let is_of_this = published.of.as_ref().is_none_or(|of| *of == self.issue.key);
        published.pull.as_ref().filter(|_| is_of_this)
    }

    /// Its pull request, if how it is merged is to be told: as long as somebody works, that is what is told.
    fn merging(&self) -> Option<&Published> {
        self.pull()?;
        merges::is_done(self.tasks).then_some(&self.thread.published)
    }

    fn report(&self) -> Option<&TaskReport> {
        self.reports.get(&self.last()?.task.id)
    }

    /// What the last task's agent reported, for the table. A report goes with its workspace, so what was shown of it is
    /// kept with what was written.
    pub(crate) fn reported(&self) -> Option<Reported> {
        let task = &self.last()?.task.id;
        match self.report() {
            Some(report) => Some(Reported { task: task.clone(), rows: report_rows(report) }),
            None => self.thread.written.reported.clone().filter(|kept| kept.task == *task),
        }
    }

    /// Where the thread is.
    pub(crate) fn phase(&self) -> Phase {
        let Some(last) = self.last() else { return Phase::Queued };
        let pull = self.pull().map(|pull| pull.state);
        match &last.state {
            TaskState::Queued | TaskState::BackingOff { .. } => Phase::Queued,
            TaskState::Preparing | TaskState::Running { .. } => Phase::Working,
            TaskState::Importing { .. } | TaskState::Publishing { .. } => Phase::Working,
            TaskState::AwaitingApproval { .. } | TaskState::NeedsInput { .. } => Phase::NeedsInput,
            TaskState::OverBudget { .. } => Phase::NeedsInput,
            TaskState::Failed { .. } => Phase::Failed,
            _ if pull == Some(PullState::Merged) || self.thread.facts.is_closed => Phase::Done,
            _ if pull == Some(PullState::Open) => Phase::InReview,
            TaskState::Done { .. } if self.waits_for_plan() => Phase::NeedsInput,
            TaskState::Done { .. } | TaskState::Cancelled { .. } => Phase::Done,
        }
    }

    /// Whether somebody said no to a plan.
    fn is_declined(&self, task: &TaskRecord) -> bool {
        self.thread.facts.declined.as_ref() == Some(&task.task.id)
    }

    /// Whether the last task was a plan that the project wants a yes to.
    fn waits_for_plan(&self) -> bool {
        self.last().is_some_and(|last| {
            matches!(last.state, TaskState::Done { .. })
                && last.task.mode == Mode::Plan
                && last.task.plan.publish.plan_first
                && !self.thread.facts.is_closed
                && !self.is_declined(last)
                && self.tasks.iter().all(|task| reads_only(task.task.mode))
        })
    }
}

/// The whole comment, without its marker.
pub(crate) fn status_comment(view: &StatusView<'_>) -> String {
    let Some(last) = view.last() else { return String::new() };
    let mut out = vec![format!("### cloud-code: {}", view.phase().as_str()), sentence(view, last)];
    match &last.state {
        TaskState::Running { .. } => out.extend(progress(view)),
        TaskState::Failed { failure, .. } => {
            let told = public::failed(failure);
            out.push(quoted(&foreign(&told.why, MAX_FAILURE)));
            out.push(helps(&told.helps));
        }
        TaskState::NeedsInput { .. } => {
            for question in &last.questions {
                out.push(quoted(&foreign(question, MAX_FAILURE)));
            }
        }
        _ => {}
    }
    let has_ended =
        last.state.status().is_terminal() || matches!(last.state, TaskState::AwaitingApproval { .. });
    if let Some(summary) = last.summary.as_deref().filter(|text| has_ended && !text.trim().is_empty()) {
        out.push(foreign(summary, MAX_SUMMARY));
    }
    out.extend(view.merging().and_then(|published| merges::words::paragraph(published, view.prefix)));
    out.push(table(view, last));
    if view.tasks.len() > 1 {
        out.push(earlier(view));
    }
    for line in view.thread.facts.left_out.iter().chain(&view.thread.published.remarks) {
        out.push(foreign(line, MAX_FAILURE));
    }
    out.push(format!("<sub>{}</sub>", next(view, last)));
    out.join("\n\n")
}

/// What is so, in one sentence.
fn sentence(view: &StatusView<'_>, last: &TaskRecord) -> String {
    let cli = last.cli();
    let title = code(&last.task.title, 120);
    let mut text = match &last.state {
        TaskState::Queued => format!("**{cli}** will work on {title} when a place is free."),
        TaskState::Preparing => format!("**{cli}** is being started for {title}."),
        TaskState::Running { .. } if last.cancel_requested_at.is_some() => {
            format!("**{cli}** was told to stop; what it has done is being kept.")
        }
        TaskState::Running { .. } => match view.report().map(|report| report.status) {
            Some(TaskReportStatus::Verifying) => {
                format!("**{cli}** has worked on {title}, which is being verified.")
            }
            Some(_) | None => format!("**{cli}** works on {title}."),
        },
        TaskState::Importing { .. } => format!("**{cli}** has ended; its commits are being checked."),
        TaskState::BackingOff { failure, until, attempt, .. } => format!(
            "**{cli}** was held up at {title}: `{}`. Attempt {attempt} of {} begins by itself at {}.",
            failure.kind,
            last.task.plan.retries.attempts,
            until.strftime("%Y-%m-%d %H:%M UTC")
        ),
        TaskState::OverBudget { failure, .. } => format!(
            "**{cli}** was stopped at {title}: {}. What it has done is kept, and goes on when somebody with write \
             access says yes.",
            foreign(&failure.message, MAX_FAILURE)
        ),
        TaskState::AwaitingApproval { .. } => {
            format!(
                "**{cli}** has done {title}. It is not pushed before somebody with write access says yes."
            )
        }
        TaskState::Publishing { .. } => format!("**{cli}** has done {title}; the branch is being pushed."),
        TaskState::Done { head: Some(_) } => match view.pull().map(|pull| pull.state) {
            Some(PullState::Merged) => {
                format!("**{cli}** has done {}, and it is merged.", code(&view.issue.title, 120))
            }
            Some(PullState::Closed) => format!("**{cli}** has done {title}. Its pull request was closed."),
            Some(PullState::Open) => format!("**{cli}** has done {title}."),
            None => {
                format!("**{cli}** has done {title}. Its base has all of it, so there is no pull request.")
            }
        },
        TaskState::Done { head: None } if view.waits_for_plan() => {
            format!(
                "**{cli}** has a plan for {title}. Nothing is changed before somebody with write access says yes."
            )
        }
        TaskState::Done { head: None } if last.task.mode == Mode::Plan => {
            format!("**{cli}** has a plan for {title} and changed nothing.")
        }
        TaskState::Done { head: None } if reads_only(last.task.mode) => {
            format!("**{cli}** has looked at {title} and changed nothing.")
        }
        TaskState::Done { head: None } => {
            format!(
                "**{cli}** has ended {title} and there was nothing to change, so there is no pull request."
            )
        }
        TaskState::NeedsInput { .. } => format!("**{cli}** asks before it goes on with {title}:"),
        TaskState::Failed { failure, .. } => format!("**{cli}** could not do {title}: `{}`.", failure.kind),
        TaskState::Cancelled { head: Some(_) } => {
            format!("{title} was stopped. What **{cli}** had done is kept and not pushed.")
        }
        TaskState::Cancelled { head: None } => format!("{title} was stopped."),
    };
    match view.waiting {
        0 => {}
        1 => text.push_str(" One more request waits for its end."),
        more => text.push_str(&format!(" {more} more requests wait for its end.")),
    }
    text
}

fn progress(view: &StatusView<'_>) -> Option<String> {
    let report = view.report()?;
    let step = report.current_step.iter().map(|step| format!("- now: {}", code(step, 160)));
    let newest = report.progress.iter().rev().take(MAX_PROGRESS);
    let lines = step.chain(newest.map(|line| format!("- {} {}", time(line.at), code(&line.message, 160))));
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn time(at: jiff::Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

fn table(view: &StatusView<'_>, last: &TaskRecord) -> String {
    let mut rows = vec![("Branch", branch(view))];
    if let Some(pull) = view.pull() {
        rows.push(("Pull request", format!("#{}", pull.number)));
    }
    let reported = view.reported();
    let reported = reported.iter().flat_map(|reported| &reported.rows);
    rows.extend(reported.map(|(name, value)| (name.as_str(), value.clone())));
    rows.push(("Used", cost_line(&last.usage)));
    let near = view.budget.iter().filter(|level| level.is_near());
    rows.extend(near.map(|level| ("Budget", format!("{} %: {level}", level.percent))));
    let rows = rows.into_iter().map(|(name, value)| format!("| {name} | {} |", value.replace('|', "\\|")));
    format!("| | |\n| --- | --- |\n{}", rows.collect::<Vec<_>>().join("\n"))
}

fn report_rows(report: &TaskReport) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let commits: Vec<String> = report
        .commits
        .iter()
        .map(|commit| {
            let subject = commit.message.lines().next().unwrap_or_default();
            format!("{} {}", code(commit.sha.get(..8).unwrap_or(&commit.sha), 8), code(subject, 100))
        })
        .take(MAX_EARLIER)
        .collect();
    if !commits.is_empty() {
        rows.push(("Commits".to_owned(), commits.join("<br>")));
    }
    let verify = verify_lines(report);
    if !verify.is_empty() {
        let items: Vec<&str> = verify.iter().map(|line| line.trim_start_matches("- ")).collect();
        rows.push(("Verified".to_owned(), items.join("<br>")));
    }
    if let Some(model) = report.model.as_deref() {
        rows.push(("Model".to_owned(), code(model, 80)));
    }
    rows
}

/// The branch, as a link once it is pushed.
fn branch(view: &StatusView<'_>) -> String {
    let name = view.issue.branch.as_str();
    match view.pull() {
        Some(_) => format!("[{}]({}/{name})", code(name, 120), view.tree_url),
        None => code(name, 120),
    }
}

fn earlier(view: &StatusView<'_>) -> String {
    let earlier = view.tasks.split_last().map_or(view.tasks, |(_, earlier)| earlier);
    let skipped = earlier.len().saturating_sub(MAX_EARLIER);
    let mut lines: Vec<String> = Vec::new();
    if skipped > 0 {
        lines.push(format!("- {skipped} more before these"));
    }
    lines.extend(earlier.iter().skip(skipped).map(|task| {
        let title = code(&task.task.title, 100);
        format!("- {title} by {}: {}; {}", task.cli(), end_of(&task.state), cost_line(&task.usage))
    }));
    format!(
        "<details><summary>Earlier tasks ({})</summary>\n\n{}\n\n</details>",
        earlier.len(),
        lines.join("\n")
    )
}

/// What can be said next.
fn next(view: &StatusView<'_>, last: &TaskRecord) -> String {
    let prefix = view.prefix;
    if let Some(next) = view.merging().and_then(|published| merges::words::next(published, prefix)) {
        return next;
    }
    match &last.state {
        TaskState::AwaitingApproval { .. } => {
            format!("`{prefix} approve` pushes it, `{prefix} reject what to change` sends it back")
        }
        TaskState::OverBudget { .. } => {
            format!("`{prefix} approve` allows as much again, `{prefix} reject` ends it here")
        }
        TaskState::Done { .. } if view.waits_for_plan() => {
            format!(
                "`{prefix} approve` begins the work, `{prefix} reject what to change` asks for another plan"
            )
        }
        TaskState::Done { .. } if last.task.mode == Mode::Plan && !view.is_declined(last) => {
            format!("`{prefix} approve` carries the plan out, `{prefix} plan what else` makes another")
        }
        TaskState::NeedsInput { .. } => {
            format!("Answer with a comment; somebody else than who asked writes `{prefix} the answer`")
        }
        TaskState::Failed { .. } => {
            format!("`{prefix} retry` tries again, `{prefix} handoff CLI` lets another one try")
        }
        state if state.status().is_terminal() => match view.thread.facts.subject {
            Subject::Issue => format!("`{prefix} what comes next` goes on, `{prefix} help` says what else"),
            Subject::PullRequest => format!("`{prefix} help` says what can be said here"),
        },
        _ => format!("`{prefix} cancel` stops it and keeps what is done, `{prefix} logs` shows what it does"),
    }
}

fn helps(all: &[String]) -> String {
    match all {
        [one] => format!("What helps: {}.", foreign(one, MAX_FAILURE)),
        more => {
            let lines = more.iter().map(|one| format!("- {}.", foreign(one, MAX_FAILURE)));
            format!("What helps:\n\n{}", lines.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}

/// How the check of our pull request's newest commit should stand. One that is merged or closed waits for nothing more,
/// whatever works still.
pub(crate) fn check_status(view: &StatusView<'_>) -> CheckStatus {
    let is_done = view.last().is_some_and(|last| matches!(last.state, TaskState::Done { head: Some(_) }));
    match (view.pull().map(|pull| pull.state), view.phase()) {
        (Some(PullState::Merged | PullState::Closed), _) if is_done => {
            CheckStatus::Completed { conclusion: Conclusion::Success }
        }
        (Some(PullState::Merged), _) => CheckStatus::Completed { conclusion: Conclusion::Neutral },
        (Some(PullState::Closed), _) => CheckStatus::Completed { conclusion: Conclusion::Cancelled },
        (_, Phase::Queued) => CheckStatus::Queued,
        (_, Phase::Working) => CheckStatus::InProgress,
        (_, Phase::NeedsInput) => CheckStatus::Completed { conclusion: Conclusion::ActionRequired },
        (_, Phase::InReview | Phase::Done) => CheckStatus::Completed { conclusion: Conclusion::Success },
        (_, Phase::Failed) => CheckStatus::Completed { conclusion: Conclusion::Failure },
    }
}

/// The check's one line.
pub(crate) fn check_title(view: &StatusView<'_>) -> String {
    let step = view.report().and_then(|report| report.current_step.as_deref());
    match (view.pull().map(|pull| pull.state), view.last().map(|last| &last.state), step) {
        (Some(PullState::Merged), ..) => "merged".to_owned(),
        (Some(PullState::Closed), ..) => "closed".to_owned(),
        (_, Some(TaskState::Running { .. }), Some(step)) => {
            cloud_code_intake::disarm(step).replace('\n', " ")
        }
        _ => view.phase().as_str().to_owned(),
    }
}
