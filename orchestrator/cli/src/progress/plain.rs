//! One line for each thing that happened, for pipes and logs.

use cloud_code_engine::{Notice, Observer};

use super::{event_line, step_line};
use crate::ui;

/// Plain lines on standard error.
#[derive(Debug)]
pub(crate) struct Plain;

impl Observer for Plain {
    fn notice(&mut self, notice: Notice<'_>) {
        let line = match notice {
            Notice::Step(step) => step_line(step),
            Notice::Event(event) => event_line(event),
            Notice::Warning(message) => Some(format!("warning: {}", ui::one_line(&message))),
            Notice::Pushed { url, branch } => Some(format!("pushed {branch} to {}", ui::one_line(url))),
            Notice::PullRequest { url } => Some(format!("pull request: {}", ui::one_line(url))),
            Notice::Delivered { .. } | Notice::State(_) | Notice::Report(_) => None,
        };
        if let Some(line) = line {
            ui::err(format!("  {line}"));
        }
    }
}
