//! Ending an agent with everything it started. CLIs run their tools in sessions of their own, so neither a pid nor a
//! process group names them all; what does is the tree below the agent (their subreaper) together with the mark.
//!
//! Order: the agent is halted, not killed, while its descendants are ended, because as long as it lives the orphans
//! fall to it and stay findable. It goes last.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::mark::Mark;
use super::process::{ProcessId, ProcessTable};
use crate::RuntimeError;

/// How long to go on killing. A process in an uninterruptible wait dies when its I/O returns; beyond this it is named.
const SWEEP_DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks: a killed process needs a moment to be gone.
const SWEEP_POLL: Duration = Duration::from_millis(5);

/// Ends `agent` (if given and alive), its descendants, and all that carry the mark. Blocking.
pub(super) fn end_all(agent: Option<&ProcessId>, mark: &Mark) -> Result<(), RuntimeError> {
    let agent = agent.filter(|agent| agent.is_alive());
    let deadline = Instant::now() + SWEEP_DEADLINE;
    if let Some(agent) = agent {
        // It may just have ended: the sweep below is the same.
        let _ = agent.signal(Signal::SIGSTOP);
    }
    let mut survivors = until_none(deadline, || {
        let table = ProcessTable::read();
        let below = agent.map(|agent| table.descendants(agent.pid)).unwrap_or_default();
        let victims = table.alive().map(|(pid, _)| pid).filter(|pid| !is_self(*pid));
        let is_agent = |pid: i32| agent.is_some_and(|agent| agent.pid == pid);
        victims.filter(|pid| !is_agent(*pid) && (below.contains(pid) || mark.is_on(*pid))).collect()
    });
    if let Some(agent) = agent {
        survivors
            .extend(until_none(deadline, || agent.is_alive().then_some(agent.pid).into_iter().collect()));
    }
    if survivors.is_empty() { Ok(()) } else { Err(RuntimeError::Survivors { pids: survivors }) }
}

/// Never ourselves, should an orchestrator be run by an agent of its own.
fn is_self(pid: i32) -> bool {
    u32::try_from(pid) == Ok(std::process::id())
}

/// Kills what `victims` names until it names nothing, the deadline passes, or only those remain that refuse.
fn until_none(deadline: Instant, victims: impl Fn() -> BTreeSet<i32>) -> Vec<i32> {
    loop {
        let found: Vec<ProcessId> = victims().into_iter().filter_map(ProcessId::of).collect();
        let refused =
            found.iter().filter(|process| process.signal(Signal::SIGKILL) == Err(Errno::EPERM)).count();
        let is_over = found.len() == refused || Instant::now() >= deadline;
        if is_over {
            return found.iter().map(|process| process.pid).collect();
        }
        std::thread::sleep(SWEEP_POLL);
    }
}
