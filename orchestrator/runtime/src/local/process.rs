//! Processes as the kernel shows them. A pid alone is never trusted: it is reused, so it always travels with the
//! process's start time and the boot it belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::ContainerUsage;

/// Kernel clock ticks in a second, as /proc shows them to every program (USER_HZ), whatever the kernel's own rate.
const TICKS_PER_SECOND: u64 = 100;

/// One process, for ever: this pid, started at this tick of this boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub(super) pid: i32,
    started_ticks: u64,
    boot: String,
}

impl ProcessId {
    /// The process that has this pid now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started_ticks: Stat::read(pid)?.started_ticks, boot: boot_id().to_owned() })
    }

    fn stat(&self) -> Option<Stat> {
        Stat::read(self.pid).filter(|stat| stat.started_ticks == self.started_ticks && self.boot == boot_id())
    }

    /// True while the kernel knows it, be it as a zombie.
    pub(super) fn exists(&self) -> bool {
        self.stat().is_some()
    }

    /// True while it can still do something.
    pub(super) fn is_alive(&self) -> bool {
        self.stat().is_some_and(|stat| !stat.is_zombie)
    }

    /// Signals it, if it still is this process.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        if !self.is_alive() {
            return Err(Errno::ESRCH);
        }
        kill(Pid::from_raw(self.pid), signal)
    }
}

/// The fields of `/proc/<pid>/stat` that matter here.
#[derive(Debug, Clone)]
pub(super) struct Stat {
    pub(super) parent: i32,
    pub(super) session: i32,
    pub(super) is_zombie: bool,
    pub(super) started_ticks: u64,
    cpu_ticks: u64,
    threads: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Field numbers are those of proc(5), less the three up to the state. The name may hold spaces and brackets, so
    /// reading begins after its last bracket.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            is_zombie: matches!(*fields.first()?, "Z" | "X"),
            started_ticks: number(22)?,
            // utime, stime, and the same of children that were waited for.
            cpu_ticks: (14..=17).filter_map(number).sum(),
            threads: number(20)?,
        })
    }
}

/// All processes at one moment. Not atomic: a process may fork while it is read, so a sweep reads it again until it
/// finds nothing.
pub(super) struct ProcessTable(BTreeMap<i32, Stat>);

impl ProcessTable {
    pub(super) fn read() -> Self {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        Self(pids.filter_map(|pid| Some((pid, Stat::read(pid)?))).collect())
    }

    /// Everything that can still act, with its state.
    pub(super) fn alive(&self) -> impl Iterator<Item = (i32, &Stat)> {
        self.0.iter().filter(|(_, stat)| !stat.is_zombie).map(|(pid, stat)| (*pid, stat))
    }

    /// All that descend from `root`, itself left out.
    pub(super) fn descendants(&self, root: i32) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        let mut frontier = vec![root];
        while let Some(parent) = frontier.pop() {
            for (pid, stat) in &self.0 {
                if stat.parent == parent && found.insert(*pid) {
                    frontier.push(*pid);
                }
            }
        }
        found
    }

    /// What `root` and its descendants use.
    pub(super) fn usage(&self, root: i32) -> ContainerUsage {
        let mut family = self.descendants(root);
        family.insert(root);
        let stats = family.iter().filter_map(|pid| self.0.get(pid));
        let (ticks, pids) =
            stats.fold((0, 0), |(ticks, pids), stat| (ticks + stat.cpu_ticks, pids + stat.threads));
        ContainerUsage {
            memory_bytes: family.iter().map(|pid| resident_bytes(*pid)).sum(),
            cpu_time: Duration::from_millis(ticks * (1000 / TICKS_PER_SECOND)),
            pids,
        }
    }
}

fn resident_bytes(pid: i32) -> u64 {
    const KIB: u64 = 1024;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * KIB
}

/// Empty where the kernel does not say, which then is equal everywhere on that machine. Read once: no process outlives its
/// boot.
fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    BOOT.get_or_init(read)
}

pub(super) fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text = "77 (a) R (b) S 1 2 3 0 -1 4194560 1 0 0 0 10 20 30 40 20 0 5 0 9876 1 2 3";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.session, stat.is_zombie), (1, 3, false));
        assert_eq!((stat.started_ticks, stat.cpu_ticks, stat.threads), (9876, 100, 5));
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let me = ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.is_alive());
        let earlier = ProcessId { started_ticks: me.started_ticks - 1, ..me.clone() };
        assert!(!earlier.exists());
        assert_eq!(earlier.signal(Signal::SIGKILL), Err(Errno::ESRCH));
        assert!(!ProcessId { boot: "another".to_owned(), ..me }.exists());
    }
}
