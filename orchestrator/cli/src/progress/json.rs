//! One JSON object a line, for programs. Every object has `kind`; the others depend on it.

use cloud_code_engine::{Notice, Observer};
use serde_json::json;

use crate::ui;

/// JSON lines on standard output.
#[derive(Debug)]
pub(crate) struct JsonLines;

impl Observer for JsonLines {
    fn notice(&mut self, notice: Notice<'_>) {
        let line = match notice {
            Notice::Step(step) => json!({"kind": "step", "step": step.name()}),
            Notice::State(record) => json!({
                "kind": "state",
                "task": record.task.id,
                "project": record.task.project,
                "issue": record.task.issue,
                "state": record.state,
            }),
            Notice::Event(event) => json!({"kind": "event", "event": event}),
            Notice::Report(report) => json!({
                "kind": "report",
                "status": report.status,
                "current_step": report.current_step,
                "usage": report.usage,
                "conversation": report.conversation,
                "summary": report.summary,
                "questions": report.questions,
            }),
            Notice::Warning(message) => json!({"kind": "warning", "message": message}),
            Notice::Pushed { url, branch } => json!({"kind": "pushed", "url": url, "branch": branch}),
            Notice::PullRequest { url } => json!({"kind": "pull_request", "url": url}),
            Notice::Delivered { repository } => json!({"kind": "delivered", "repository": repository}),
        };
        ui::out(line.to_string());
    }
}
