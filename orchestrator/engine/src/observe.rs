//! What a driver tells whoever watches: steps of the host and events of the agent, as they happen.

use std::path::PathBuf;

use cloud_code_model::TaskRecord;
use cloud_code_task_schema::{Event, TaskReport};

use crate::decide::Step;

/// One thing that happened.
#[derive(Debug)]
pub enum Notice<'a> {
    /// The host is about to do a step.
    Step(&'a Step),
    /// The task's row changed.
    State(&'a TaskRecord),
    /// The agent logged an event.
    Event(&'a Event),
    /// The agent's report of the task changed.
    Report(&'a TaskReport),
    /// Something is odd and the work goes on.
    Warning(String),
    /// The branch was pushed.
    Pushed {
        /// The repository's address in a browser.
        url: &'a str,
        /// The branch.
        branch: &'a cloud_code_task_schema::BranchName,
    },
    /// The work has a pull request.
    PullRequest {
        /// Its address in a browser.
        url: &'a str,
    },
    /// The branch was handed to the user's repository.
    Delivered {
        /// Where.
        repository: PathBuf,
    },
}

/// Somebody who watches. Called on the driver's task: it must not block.
pub trait Observer: Send {
    /// Something happened.
    fn notice(&mut self, notice: Notice<'_>);
}

/// Nobody watches.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn notice(&mut self, _: Notice<'_>) {}
}
