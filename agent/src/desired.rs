//! What the orchestrator wants: the last good `tasking.yaml`, and what is wrong with the newest one.
//!
//! A bad file never takes running work away; it stands beside the last good one until it is replaced.

use std::path::PathBuf;

use cloud_code_task_schema::{
    Assignment, CliName, Failure, FailureKind, MAX_YAML_BYTES, ReadError, Task, TaskId, Tasking,
    parse_tasking, read_capped,
};

/// Longest message about a bad file; a hostile one could otherwise fill the report.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// What reading the file brought.
#[derive(Debug, PartialEq)]
pub(crate) enum Reading {
    /// There is none (yet).
    Missing,
    /// A good file; it is now what is wanted.
    Accepted,
    /// Its generation is lower than one already seen; it is left alone.
    Backwards {
        /// In the file.
        found: u64,
        /// The highest seen.
        seen: u64,
    },
    /// It cannot be used.
    Refused,
}

/// The desired state.
pub(crate) struct Desired {
    path: PathBuf,
    cli: CliName,
    highest: u64,
    current: Option<Tasking>,
    refused: Option<Failure>,
}

impl Desired {
    /// Nothing read yet. `seen` is the highest generation an earlier agent acted on.
    pub(crate) const fn new(path: PathBuf, cli: CliName, seen: u64) -> Self {
        Self { path, cli, highest: seen, current: None, refused: None }
    }

    /// Reads the file as it stands.
    pub(crate) fn read(&mut self) -> Reading {
        let text = match read_capped(&self.path, MAX_YAML_BYTES) {
            Ok(text) => text,
            Err(ReadError::Missing { .. }) => return Reading::Missing,
            Err(error) => {
                let source =
                    std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                return self.refuse(format!("{error}{source}"));
            }
        };
        match parse_tasking(&self.path.display().to_string(), &text) {
            Ok(tasking) if tasking.cli != self.cli => {
                let message = format!(
                    "{}: cli: this container runs `{}`, not `{}`",
                    self.path.display(),
                    self.cli,
                    tasking.cli
                );
                self.refuse(message)
            }
            Ok(tasking) if tasking.generation < self.highest => {
                self.refused = None;
                Reading::Backwards { found: tasking.generation, seen: self.highest }
            }
            Ok(tasking) => {
                self.highest = tasking.generation;
                self.current = Some(tasking);
                self.refused = None;
                Reading::Accepted
            }
            Err(diagnostics) => self.refuse(diagnostics.to_string()),
        }
    }

    fn refuse(&mut self, message: String) -> Reading {
        let message = crate::parse::clip_to(&message, MAX_MESSAGE_BYTES);
        self.refused = Some(Failure::new(FailureKind::InvalidTasking, message));
        Reading::Refused
    }

    /// What is wrong with the newest file; cleared by the next good one.
    pub(crate) const fn refused(&self) -> Option<&Failure> {
        self.refused.as_ref()
    }

    /// The highest generation acted on.
    pub(crate) const fn generation(&self) -> u64 {
        self.highest
    }

    /// The tasks in their order; none before the first good file.
    pub(crate) fn tasks(&self) -> &[Task] {
        self.current.as_ref().map_or(&[], |tasking| tasking.tasks.as_slice())
    }

    /// Whether a task is no longer wanted. One that vanished from the list is left alone: lists only grow.
    pub(crate) fn is_cancelled(&self, id: &TaskId) -> bool {
        self.tasks().iter().any(|task| task.id == *id && task.status == Assignment::Cancelled)
    }
}
