//! Why the host, and not the agent, ended a container. Stored before the container is stopped: its exit code alone
//! would look like a crash to whoever reads the facts next.

use serde::{Deserialize, Serialize};

/// Why the host ended a container itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The agent was told to cancel and did not.
    CancelIgnored,
    /// A person did not want to wait for a cancelled task to end by itself.
    Killed,
    /// The agent let the task run past its wall clock.
    Overtime,
    /// The agent stopped giving signs of life.
    HeartbeatLost,
    /// A budget is used up.
    Budget,
    /// The service was stopped with its agents. Not a failure of the attempt: the next one goes on where this one was.
    ServiceStopped,
}

impl StopReason {
    /// For people, without a trailing period.
    pub const fn message(self) -> &'static str {
        match self {
            Self::CancelIgnored => "the agent did not end after it was told to cancel",
            Self::Killed => "the container was to be ended at once",
            Self::Overtime => "the agent let the task run past its time limit",
            Self::Budget => "a budget is used up",
            Self::HeartbeatLost => "the agent stopped giving signs of life",
            Self::ServiceStopped => "the service was stopped with its agents",
        }
    }
}
