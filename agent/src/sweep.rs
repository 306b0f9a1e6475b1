//! Nothing outlives its task.
//!
//! CLIs start their tools in sessions of their own, so killing a pid or a group misses them. As PID 1 the agent kills
//! everything else in its namespace, at once and without a race. Elsewhere it is a child subreaper: every orphan
//! becomes its child, and it kills descendants until none is left.
//!
//! A process that starts its successor and ends is gone before the list of all processes is read to its end. But its
//! successor is an orphan, so between two looks the agent goes through its own children, which takes microseconds.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::reaper::Reaper;

/// How long to look for survivors. A process stuck in the kernel cannot be killed and must not hold the agent.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at all processes. KILL takes effect in well under a millisecond.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

/// Longest stretch in which only the own children are looked at.
const HUNT_LIMIT: Duration = Duration::from_millis(50);

/// What a sweep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Processes that were alive and are gone.
    pub(crate) killed: usize,
    /// Processes that would not die.
    pub(crate) left: usize,
}

/// Kills every process that descends from the agent (as PID 1: every other process).
pub(crate) async fn sweep(reaper: &Reaper) -> Swept {
    reaper.reap();
    let me = std::process::id();
    let deadline = Instant::now() + SWEEP_LIMIT;
    let mut seen = HashSet::new();
    loop {
        let alive = if me == 1 { all_but_me() } else { descendants_or_orphans(me) };
        if alive.is_empty() {
            return Swept { killed: seen.len(), left: 0 };
        }
        seen.extend(alive.iter().copied());
        if Instant::now() >= deadline {
            return Swept { killed: seen.len() - alive.len(), left: alive.len() };
        }
        if me == 1 {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        } else {
            for pid in &alive {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            hunt(me, &mut seen);
        }
        sleep(SWEEP_PAUSE).await;
        reaper.reap();
    }
}

/// Everything that descends from `root`; as PID 1, everything else.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let alive = if root == 1 { all_but_me() } else { descendants(root) };
    alive.into_iter().filter_map(|pid| u32::try_from(pid).ok()).collect()
}

/// Kills own children as they appear, without a rest until none has appeared for a while.
fn hunt(me: u32, seen: &mut HashSet<i32>) {
    let began = std::time::Instant::now();
    let mut last_found = began;
    while last_found.elapsed() < SWEEP_PAUSE && began.elapsed() < HUNT_LIMIT {
        for pid in children(me) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            if seen.insert(pid) {
                last_found = std::time::Instant::now();
            }
        }
    }
}

/// The children of the agent's first thread: those it started, and every orphan. Dead ones stay until they are reaped.
/// On a kernel that does not list them only the looks at all processes are left.
fn children(me: u32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn descendants_or_orphans(me: u32) -> Vec<i32> {
    let found = descendants(me);
    if !found.is_empty() {
        return found;
    }
    children(me).into_iter().filter(|pid| process(*pid).is_some_and(|child| child.lives)).collect()
}

fn all_but_me() -> Vec<i32> {
    processes()
        .into_iter()
        .filter(|process| process.pid != 1 && process.lives)
        .map(|process| process.pid)
        .collect()
}

fn descendants(root: u32) -> Vec<i32> {
    let Ok(root) = i32::try_from(root) else { return Vec::new() };
    let processes = processes();
    let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
    for process in &processes {
        children.entry(process.parent).or_default().push(process);
    }
    let (mut found, mut todo) = (Vec::new(), vec![root]);
    while let Some(parent) = todo.pop() {
        for process in children.remove(&parent).into_iter().flatten() {
            todo.push(process.pid);
            if process.lives {
                found.push(process.pid);
            }
        }
    }
    found
}

struct Process {
    pid: i32,
    parent: i32,
    lives: bool,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect()
}

fn process(pid: i32) -> Option<Process> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let (parent, lives) = parse_stat(&stat)?;
    Some(Process { pid, parent, lives })
}

/// Parent and life from `/proc/<pid>/stat`. The name in brackets may itself contain brackets and blanks.
fn parse_stat(stat: &[u8]) -> Option<(i32, bool)> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((parent, !matches!(state, "Z" | "X" | "x")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_process_name_does_not_confuse() {
        assert_eq!(parse_stat(b"12 (a) Z 1 (b) S 7 12 12 0"), Some((7, true)));
        assert_eq!(parse_stat(b"12 (sh) Z 7 12 12 0"), Some((7, false)));
        assert_eq!(parse_stat(b"garbage"), None);
    }
}
