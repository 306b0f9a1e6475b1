//! One trace for each attempt at a task, with a span for each of its phases and each step of the host.
//!
//! Spans are told when they are over, with their names and times; who sends them somewhere makes their ids from the task's id
//! and the attempt's number. So nothing has to be kept, and an attempt that outlives a restart goes on in the same trace.
//! Spans that are open in the process while the work lasts were weighed: a task outlives the process that watches it.

use std::sync::OnceLock;
use std::time::SystemTime;

/// What kind of span it is, from the widest to the narrowest; the ids of the wider ones follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span<'a> {
    /// The whole attempt: the root.
    Attempt,
    /// The time in one status, by its name.
    Phase(&'a str),
    /// Something that the host did while the task was in that status.
    Step {
        /// The status; none for what is tidied up when the attempt is over.
        phase: Option<&'a str>,
        /// What.
        name: &'static str,
    },
}

/// A span that is over.
#[derive(Debug, Clone, Copy)]
pub struct Over<'a> {
    /// Which.
    pub span: Span<'a>,
    /// Of which task.
    pub task: &'a str,
    /// Of which project.
    pub project: &'a str,
    /// With which CLI.
    pub cli: &'a str,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// From when.
    pub from: SystemTime,
    /// Until when.
    pub to: SystemTime,
    /// How it ended: a status, or a kind of failure.
    pub result: Option<&'a str>,
    /// Why it ended badly. It may hold what a forge or git said.
    pub error: Option<&'a str>,
}

/// Who sends spans somewhere. Called on the engine's tasks: it must not wait.
pub trait Tracer: Send + Sync {
    /// A span is over.
    fn over(&self, over: &Over<'_>);
}

static TRACER: OnceLock<Box<dyn Tracer>> = OnceLock::new();

/// From now on spans go there. The first one counts.
pub fn trace_with(tracer: Box<dyn Tracer>) {
    // A second one would get half of each trace.
    drop(TRACER.set(tracer));
}

/// Who sends spans, if anybody does.
pub fn tracer() -> Option<&'static dyn Tracer> {
    TRACER.get().map(Box::as_ref)
}
