//! How a run looks: a live line on a terminal, plain lines in a pipe, JSON lines for programs.

mod json;
mod live;
mod packet;
mod plain;
mod words;

use cloud_code_engine::Observer;

pub(crate) use packet::handoff_lines;
pub(crate) use words::{event_line, snake, step_line, usage_line};

/// The observer that fits where the output goes.
pub(crate) fn observer(json: bool) -> Box<dyn Observer> {
    if json {
        Box::new(json::JsonLines)
    } else if crate::ui::is_live() {
        Box::new(live::Live::new())
    } else {
        Box::new(plain::Plain)
    }
}
