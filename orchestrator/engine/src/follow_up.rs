//! The next task of an issue: in the same worktree, on the same branch, in the same HOME. With the same CLI its
//! conversation goes on; another CLI gets a packet instead.

use std::collections::BTreeMap;
use std::sync::Arc;

use cloud_code_model::{Brief, Issue, NewTask, ProjectPlan, QueuePlace, TaskRecord, reads_only};
use cloud_code_store::StoreError;
use cloud_code_task_schema::{CliName, ControlDir, Handoff, Mode, TaskId, TaskReport, parse_reporting};

use crate::gather::read_control;
use crate::open::title;
use crate::packet::packet;
use crate::perform::delivered_head;
use crate::{Engine, EngineError, blocking};

/// What a person asks for after an issue's last task has ended.
#[derive(Debug, Clone)]
pub struct FollowUpRequest {
    /// Which issue.
    pub issue: Issue,
    /// What it runs with. Another CLI than the last task's makes it a hand-off.
    pub plan: ProjectPlan,
    /// What to do, or the answer to what was asked; the first line is the title.
    pub text: String,
    /// May it edit, or only read?
    pub mode: Mode,
    /// Who asks.
    pub requested_by: Option<String>,
    /// The key of the intent that asks, when it came from a forge.
    pub intent: Option<String>,
    /// What else the prompt says.
    pub brief: Brief,
    /// Its place among those that wait.
    pub queue: QueuePlace,
}

impl Engine {
    /// Checks everything that can be known before the start, then adds the task. Nothing is made when it is refused.
    pub async fn follow_up(&self, request: FollowUpRequest) -> Result<TaskRecord, EngineError> {
        self.check_and_follow_up(request)
            .await
            .map_err(|error| error.or_shortage(self.settings.layout.home()))
    }

    async fn check_and_follow_up(&self, request: FollowUpRequest) -> Result<TaskRecord, EngineError> {
        let FollowUpRequest { mut issue, plan, text, mode, requested_by, intent, mut brief, queue } = request;
        let title = title(&text)?;
        let name = format!("{}#{}", issue.project, issue.key);
        let records = self.store.tasks_of(&issue.project, &issue.key).await?;
        // A worktree made anew would begin at the base, and its work would take the place of what was delivered.
        let paths = self.settings.layout.issue(&issue.project, &issue.key);
        let is_lost =
            records.iter().any(|record| record.state.head().is_some()) && !self.git.has_tree(&paths);
        if issue.cleaned_at.is_some() || is_lost {
            return Err(EngineError::Cleaned { issue: name, repo: plan.repo, branch: issue.branch });
        }
        if let Some(open) = records.iter().find(|record| !record.state.status().is_terminal()) {
            let status = open.state.status();
            return Err(match open.cancel_requested_at {
                Some(_) => EngineError::BeingStopped { issue: name },
                None => EngineError::StillOpen { issue: name, status },
            });
        }
        self.check_startable(&plan, mode).await?;
        let repo = self.repo(&issue.project, &plan.repo)?;
        self.check_prompts(&plan, &repo, issue.trusted_sha()).await?;
        if !reads_only(mode) {
            let (branch, delivered) = (issue.branch.clone(), delivered_head(&records).map(str::to_owned));
            blocking(move || repo.check_delivery(&branch, delivered.as_deref())).await?;
        }
        let theirs = self.take_in(&mut issue, &plan, mode).await?;
        let notes: Vec<String> = theirs.into_iter().chain(brief.notes.take()).collect();
        brief.notes = Some(notes.join("\n\n")).filter(|notes| !notes.is_empty());
        let reports = self.reports(&issue).await?;
        let (continues, handoff) = match tie(&records, &reports, &plan.cli) {
            Tie::Conversation(task) => (Some(task), None),
            Tie::Packet => (None, Some(self.packet_of(&issue, &records, &reports).await?)),
            Tie::Nothing => (None, None),
        };
        let task = NewTask {
            id: self.ids.task_id(),
            project: issue.project.clone(),
            issue: issue.key.clone(),
            title,
            description: text.trim().to_owned(),
            brief,
            mode,
            continues,
            handoff,
            plan,
            requested_by,
            intent,
            queue,
            created_at: self.clock.now(),
        };
        let mut all = records;
        all.push(TaskRecord::queued(task.clone()));
        crate::open::check_tasking(&issue, &all)?;
        // Of a driver that was killed between the end of its task and the removal of its container.
        if let Some(last) = all.iter().rev().nth(1) {
            self.remove_leftovers(last).await?;
        }
        self.store.add_task(&task).await?;
        self.store
            .task(&task.id)
            .await?
            .ok_or_else(|| EngineError::Store(StoreError::Missing { what: "task", id: task.id.to_string() }))
    }

    async fn packet_of(
        &self,
        issue: &Issue,
        records: &[TaskRecord],
        reports: &BTreeMap<TaskId, TaskReport>,
    ) -> Result<Handoff, EngineError> {
        let head = records.iter().rev().find_map(|record| record.state.head().map(str::to_owned));
        let stat = match (head, records.last()) {
            (Some(head), Some(last)) => {
                let repo = self.repo(&issue.project, &last.task.plan.repo)?;
                let base = issue.base_sha.clone();
                Some(blocking(move || repo.diff_stat(&base, &head)).await?)
            }
            (Some(_) | None, _) => None,
        };
        Ok(packet(records, reports, stat.as_deref()))
    }

    /// What the agent said of the issue's tasks. A report that cannot be read says nothing: the rows are enough.
    async fn reports(&self, issue: &Issue) -> Result<BTreeMap<TaskId, TaskReport>, EngineError> {
        let control = ControlDir::new(self.settings.layout.issue(&issue.project, &issue.key).control);
        blocking(move || Ok(heard(&control)?.reports)).await
    }
}

/// What an agent reported of a workspace.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The highest generation it acted on, 0 before the first.
    pub(crate) generation: u64,
    /// By task.
    pub(crate) reports: BTreeMap<TaskId, TaskReport>,
}

impl Heard {
    /// The tasks that the agent ended, with the attempt up to which it will never run them again.
    pub(crate) fn ended(&self) -> BTreeMap<TaskId, u32> {
        let ended = self.reports.iter().filter(|(_, report)| report.status.is_ended());
        ended.map(|(id, report)| (id.clone(), report.attempt)).collect()
    }
}

/// Reads the report as it stands; an unreadable one counts as none.
pub(crate) fn heard(control: &ControlDir) -> Result<Heard, EngineError> {
    Ok(heard_in(&report_text(control)?))
}

/// What was heard, with the text that said so.
#[derive(Debug)]
pub(crate) struct LastHeard {
    text: String,
    pub(crate) heard: Heard,
}

/// The same for one who listens often: a text that stands as it stood is not parsed again.
pub(crate) fn heard_again(
    control: &ControlDir,
    last: Option<Arc<LastHeard>>,
) -> Result<Arc<LastHeard>, EngineError> {
    let text = report_text(control)?;
    Ok(match last {
        Some(last) if last.text == text => last,
        Some(_) | None => Arc::new(LastHeard { heard: heard_in(&text), text }),
    })
}

fn report_text(control: &ControlDir) -> Result<String, EngineError> {
    Ok(read_control(&control.reporting())?.unwrap_or_default())
}

fn heard_in(text: &str) -> Heard {
    parse_reporting("reporting.yaml", text).map_or_else(
        |_| Heard::default(),
        |report| Heard { generation: report.observed_generation, reports: report.tasks },
    )
}

/// How a new task is tied to what was before.
#[derive(Debug, PartialEq, Eq)]
enum Tie {
    /// The conversation of that task goes on.
    Conversation(TaskId),
    /// Another CLI worked before.
    Packet,
    /// There was nothing before.
    Nothing,
}

/// Sessions belong to their CLI, so only tasks since the last change of CLI can go on. Of these the newest with a
/// session is the best: a later one may have ended before its CLI said anything.
fn tie(records: &[TaskRecord], reports: &BTreeMap<TaskId, TaskReport>, cli: &CliName) -> Tie {
    let own: Vec<&TaskRecord> = records.iter().rev().take_while(|record| record.cli() == cli).collect();
    let report = |record: &TaskRecord| reports.get(&record.task.id);
    let with_session =
        own.iter().find(|record| report(record).is_some_and(|report| report.session_id.is_some()));
    let reported = own.iter().find(|record| report(record).is_some());
    match with_session.or(reported) {
        Some(record) => Tie::Conversation(record.task.id.clone()),
        // This CLI never got to work, but another one did.
        None if own.len() < records.len() => Tie::Packet,
        // It did work, on another host that is dead: its conversation stayed there, with its reports.
        None if own.iter().any(|record| record.summary.is_some() || record.state.head().is_some()) => {
            Tie::Packet
        }
        None => own.first().map_or(Tie::Nothing, |record| Tie::Conversation(record.task.id.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_code_model::{ProjectSettings, TaskState};
    use jiff::Timestamp;

    fn record(id: &str, cli: &str) -> TaskRecord {
        let task = NewTask {
            id: id.parse().unwrap(),
            project: "shop".parse().unwrap(),
            issue: "login".parse().unwrap(),
            title: "Fix".into(),
            description: "Fix".into(),
            brief: Brief::default(),
            mode: Mode::Edit,
            continues: None,
            handoff: None,
            plan: ProjectSettings::default().plan("/srv/shop".into(), cli.parse().unwrap()),
            requested_by: None,
            intent: None,
            queue: Default::default(),
            created_at: Timestamp::UNIX_EPOCH,
        };
        TaskRecord { state: TaskState::Done { head: None }, ..TaskRecord::queued(task) }
    }

    fn reports(sessions: &[(&str, Option<&str>)]) -> BTreeMap<TaskId, TaskReport> {
        let tasks: String = sessions
            .iter()
            .map(|(id, session)| {
                let session = session.unwrap_or("null");
                format!("  {id}: {{status: completed, attempt: 1, finished_at: 2026-11-20T10:00:00Z, session_id: {session}}}\n")
            })
            .collect();
        let text = format!(
            "version: 1\nobserved_generation: 1\nupdated_at: 2026-11-20T10:00:00Z\nheartbeat_at: 2026-11-20T10:00:00Z\n\
             agent: {{version: '1', instance: i, cli: codex, started_at: 2026-11-20T10:00:00Z}}\nstatus: idle\ntasks:\n{tasks}"
        );
        parse_reporting("reporting.yaml", &text).unwrap().tasks
    }

    #[test]
    fn a_conversation_goes_on_where_its_cli_last_had_one() {
        let tied = |records: &[(&str, &str)], sessions: &[(&str, Option<&str>)], cli: &str| {
            let records: Vec<TaskRecord> = records.iter().map(|(id, cli)| record(id, cli)).collect();
            tie(&records, &reports(sessions), &cli.parse().unwrap())
        };
        let with = |id: &str| Tie::Conversation(id.parse().unwrap());
        let claude = "claude-code";
        assert_eq!(tied(&[("T1", claude)], &[("T1", Some("s"))], claude), with("T1"));
        // The second was taken back before its CLI started: the session is the first one's.
        let two = [("T1", claude), ("T2", claude)];
        assert_eq!(tied(&two, &[("T1", Some("s"))], claude), with("T1"));
        assert_eq!(tied(&two, &[("T1", Some("s")), ("T2", Some("s"))], claude), with("T2"));
        // Nothing is known of any session: the agent makes do with what was asked.
        assert_eq!(tied(&two, &[("T1", None), ("T2", None)], claude), with("T2"));

        assert_eq!(tied(&[("T1", claude)], &[("T1", Some("s"))], "codex"), Tie::Packet);
        let there_and_back = [("T1", claude), ("T2", "codex")];
        let heard = [("T1", Some("s")), ("T2", Some("t"))];
        assert_eq!(tied(&there_and_back, &heard, "codex"), with("T2"));
        assert_eq!(
            tied(&there_and_back, &heard, claude),
            Tie::Packet,
            "its session knows nothing of codex's work"
        );
        // A hand-off that never got to its CLI is made again.
        assert_eq!(tied(&there_and_back, &[("T1", Some("s"))], "codex"), Tie::Packet);
        assert_eq!(tied(&[], &[("T1", None)], "codex"), Tie::Nothing);
    }

    #[test]
    fn what_ended_here_and_not_there_is_not_taken_up_again() {
        let at = Timestamp::UNIX_EPOCH;
        let issue = Issue {
            project: "shop".parse().unwrap(),
            key: "login".parse().unwrap(),
            title: "Fix".into(),
            branch: "cloud-code/login".parse().unwrap(),
            base: "main".parse().unwrap(),
            base_sha: "0".repeat(40),
            start_sha: None,
            settings_sha: None,
            created_at: at,
            cleaned_at: None,
        };
        let mut records = ["T1", "T2", "T3", "T4"].map(|id| record(id, "codex"));
        // Its agent ended the first attempt, and never began the second.
        records[2].attempt = 2;
        records[3].state = TaskState::Preparing;
        records[3].task.continues = "T1".parse().ok();
        let ended: BTreeMap<TaskId, u32> = [("T1".parse().unwrap(), 1), ("T3".parse().unwrap(), 1)].into();
        let tasking = crate::next_tasking(&issue, &records, None, 0, &ended, at).unwrap();
        let statuses: Vec<_> = tasking.tasks.iter().map(|task| task.status).collect();
        use cloud_code_task_schema::Assignment::{Assigned, Cancelled};
        assert_eq!(statuses, [Assigned, Cancelled, Cancelled, Assigned]);
        assert_eq!(tasking.tasks[3].continues, records[3].task.continues);
        assert_eq!(crate::next_tasking(&issue, &records, Some(&tasking), 0, &ended, at), None);
    }
}
