//! A line that changes in place, with what stays above it.

use std::time::Duration;

use cloud_code_engine::{Notice, Observer};
use cloud_code_task_schema::EventKind;
use indicatif::{ProgressBar, ProgressStyle};

use super::{event_line, step_line, usage_line};
use crate::ui;

/// How often the line moves when nothing happens: often enough to look alive, rare enough to cost nothing.
const TICK: Duration = Duration::from_millis(120);

/// The live line.
#[derive(Debug)]
pub(crate) struct Live {
    bar: ProgressBar,
    usage: String,
    step: String,
}

impl Live {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self { bar, usage: String::new(), step: String::new() }
    }

    fn show(&self) {
        let usage = if self.usage.is_empty() { String::new() } else { format!("  [{}]", self.usage) };
        self.bar.set_message(format!("{}{usage}", self.step));
    }
}

impl Observer for Live {
    fn notice(&mut self, notice: Notice<'_>) {
        match notice {
            Notice::Step(step) => {
                if let Some(line) = step_line(step) {
                    self.step = line;
                }
            }
            Notice::Event(event) => {
                if let Some(line) = event_line(event) {
                    match event.kind {
                        // Lasting: what a person wants to scroll back to.
                        EventKind::Message { .. }
                        | EventKind::Committed { .. }
                        | EventKind::Question { .. } => {
                            self.bar.println(format!("  {line}"));
                        }
                        EventKind::Warning { .. }
                        | EventKind::Verify { .. }
                        | EventKind::LogTruncated { .. } => {
                            self.bar.println(format!("  {line}"));
                        }
                        _ => self.step = line,
                    }
                }
            }
            Notice::Report(report) => {
                self.usage = usage_line(&report.usage);
                if let Some(step) = &report.current_step {
                    self.step = ui::one_line(step);
                }
            }
            Notice::Warning(message) => self.bar.println(format!("  warning: {}", ui::one_line(&message))),
            Notice::State(record) if record.state.status().is_terminal() => self.bar.finish_and_clear(),
            Notice::PullRequest { url } => self.bar.println(format!("  pull request: {}", ui::one_line(url))),
            Notice::State(_) | Notice::Delivered { .. } | Notice::Pushed { .. } => {}
        }
        self.show();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
