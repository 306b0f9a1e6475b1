//! Reads the agent's event log and report on, and tells the observer what is new. Foreign data: nothing here decides.

use cloud_code_task_schema::{ControlDir, EventItem, EventReader, TaskId, TaskReport};

use crate::facts::{Facts, ReportFact};
use crate::observe::{Notice, Observer};

/// Follows one task's control directory.
#[derive(Debug)]
pub struct Follower {
    task: TaskId,
    reader: EventReader,
    report: Option<TaskReport>,
}

impl Follower {
    /// Begins at the start of the log.
    pub fn new(control: ControlDir, task: TaskId) -> Self {
        Self { task, reader: EventReader::new(control.events()), report: None }
    }

    /// Tells the observer every event and report since the last call.
    pub fn pump(&mut self, facts: &Facts, observer: &mut dyn Observer) {
        loop {
            let items = self.reader.poll();
            if items.is_empty() {
                break;
            }
            for item in items {
                match item {
                    EventItem::Event(event) => {
                        // Events without a task are the agent's own, and concern whoever watches; those of agents
                        // that came for earlier tasks of the issue do not.
                        let since = facts.record.task.created_at;
                        if event.task.as_ref().map_or(event.at >= since, |task| *task == self.task) {
                            observer.notice(Notice::Event(&event));
                        }
                    }
                    EventItem::Skipped { line, reason } => {
                        observer.notice(Notice::Warning(format!(
                            "events.jsonl line {line} is left out: {reason}"
                        )));
                    }
                    EventItem::Restarted => {
                        observer.notice(Notice::Warning(
                            "events.jsonl was replaced, reading from its start".into(),
                        ));
                    }
                }
            }
        }
        if let ReportFact::Task { report, .. } = &facts.report
            && self.report.as_ref() != Some(report.as_ref())
        {
            observer.notice(Notice::Report(report));
            self.report = Some(report.as_ref().clone());
        }
    }
}
