//! The figures, one a module.

mod agent_idle;
mod agent_latency;
mod agent_size;
mod claim;
mod dispatch;
mod exec;
mod intake;
mod load;
mod orchestrator_memory;
mod readopt;
mod start;
mod worktree;

use anyhow::Result;
use clap::ValueEnum;

use crate::result::Measured;
use crate::scene::Scene;

/// Bytes of a mebibyte, the unit of the promises.
const MIB: f64 = 1024.0 * 1024.0;

/// Names of figures, as `--only` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FigureName {
    /// The agent's file.
    AgentSize,
    /// Memory and processor time of an agent that has nothing to do.
    AgentIdle,
    /// From the rename of `tasking.yaml` to the CLI's start.
    AgentLatency,
    /// `cloud-code run` beside `docker run`.
    Dispatch,
    /// A worktree of 50,000 files beside `git worktree add`.
    Worktree,
    /// Most memory of `cloud-code run`.
    OrchestratorMemory,
    /// Webhooks taken in beside a handler that only answers.
    Intake,
    /// From the start of `serve` until it is ready.
    Start,
    /// From a request to the CLI's start, through the local runtime.
    Exec,
    /// A thousand tasks, a hundred at once, through the local runtime.
    Load,
    /// A restart while five hundred agents live.
    Readopt,
    /// Claims of issues by several workers at once, on both stores.
    Claim,
}

impl FigureName {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 12] = [
        Self::AgentSize,
        Self::AgentIdle,
        Self::AgentLatency,
        Self::Dispatch,
        Self::Worktree,
        Self::OrchestratorMemory,
        Self::Intake,
        Self::Start,
        Self::Exec,
        Self::Load,
        Self::Readopt,
        Self::Claim,
    ];

    /// As on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AgentSize => "agent-size",
            Self::AgentIdle => "agent-idle",
            Self::AgentLatency => "agent-latency",
            Self::Dispatch => "dispatch",
            Self::Worktree => "worktree",
            Self::OrchestratorMemory => "orchestrator-memory",
            Self::Intake => "intake",
            Self::Start => "start",
            Self::Exec => "exec",
            Self::Load => "load",
            Self::Readopt => "readopt",
            Self::Claim => "claim",
        }
    }

    /// Measures it.
    pub(crate) fn measure(self, scene: &Scene) -> Result<Measured> {
        match self {
            Self::AgentSize => agent_size::measure(scene),
            Self::AgentIdle => agent_idle::measure(scene),
            Self::AgentLatency => agent_latency::measure(scene),
            Self::Dispatch => dispatch::measure(scene),
            Self::Worktree => worktree::measure(scene),
            Self::OrchestratorMemory => orchestrator_memory::measure(scene),
            Self::Intake => intake::measure(scene),
            Self::Start => start::measure(scene),
            Self::Exec => exec::measure(scene),
            Self::Load => load::measure(scene),
            Self::Readopt => readopt::measure(scene),
            Self::Claim => claim::measure(scene),
        }
    }
}
