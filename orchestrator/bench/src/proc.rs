//! What the kernel says of another process, and children that do not outlive the bench.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt;

/// Bytes of a kibibyte: the unit of /proc/PID/status.
const KIB: f64 = 1024.0;
/// Where utime stands in /proc/PID/stat, counted behind the program's name; stime follows.
const UTIME_FIELD: usize = 11;
/// Between two looks at a child that is about to end. A look costs two system calls.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long a helper may take to end after it was asked to. It has nothing to finish.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// Memory that a process holds now, and the most it ever held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Memory {
    /// Resident bytes.
    pub(crate) resident: f64,
    /// Of these, bytes shared with nobody: no pages of program files.
    pub(crate) anonymous: f64,
    /// Most resident bytes so far.
    pub(crate) peak: f64,
}

/// Reads VmRSS, RssAnon and VmHWM. None when the process is gone (or has ended and holds nothing any more).
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * KIB)
    };
    Some(Memory { resident: bytes("VmRSS")?, anonymous: bytes("RssAnon")?, peak: bytes("VmHWM")? })
}

/// Processor time of a process: in clock ticks as `ps` shows it, and in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessorTime {
    /// utime + stime.
    pub(crate) ticks: u64,
    /// From schedstat, over all threads that live.
    pub(crate) nanos: u64,
}

/// Reads it.
pub(crate) fn processor_time(pid: u32) -> Result<ProcessorTime> {
    let ticks = processor_ticks(pid)?;
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = thread?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}: this kernel keeps no scheduler statistics", path.display())
        })?;
        nanos +=
            text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(ProcessorTime { ticks, nanos })
}

/// utime + stime of a process, in clock ticks.
fn processor_ticks(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat =
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}: the process is gone"))?;
    // The name in parentheses may hold anything, spaces too.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    Ok(fields
        .split_whitespace()
        .skip(UTIME_FIELD)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum())
}

/// Seconds of processor time that a process used, its ended threads included and its children not. In clock ticks: good for
/// what takes seconds.
pub(crate) fn processor_seconds(pid: u32) -> Result<f64> {
    let ticks_a_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?
        .context("the kernel does not say how long a clock tick is")?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand ticks")]
    Ok(processor_ticks(pid)? as f64 / ticks_a_second as f64)
}

/// Kills every process whose environment has this text in the value of this variable; those of other users too, where
/// this one may.
pub(crate) fn kill_marked(variable: &str, text: &str) {
    let start = format!("{variable}=");
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let is_marked = environment.split(|byte| *byte == 0).any(|pair| {
            let pair = String::from_utf8_lossy(pair);
            pair.strip_prefix(&start).is_some_and(|value| value.contains(text))
        });
        if is_marked {
            // One that ended meanwhile needs no signal.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// A child that is killed and reaped when it is dropped.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
}

impl Guarded {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads its standard output up to the first line's end.
    pub(crate) fn first_line(&mut self) -> Result<String> {
        let out = self.child.stdout.as_mut().context("the child's standard output is not a pipe")?;
        let mut line = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte)? == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Kills and reaps it: no signal that it could heed.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end; `look` is called meanwhile.
    pub(crate) fn watch(mut self, deadline: Duration, mut look: impl FnMut(u32)) -> Result<Output> {
        let end = Instant::now() + deadline;
        let status = loop {
            interrupt::check()?;
            look(self.pid());
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() >= end {
                bail!("process {} did not end within {} s", self.pid(), deadline.as_secs());
            }
            std::thread::sleep(LOOK_EVERY);
        };
        // Both fit a pipe's 64 KiB, or the child would not have ended.
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let Some(pipe) = self.child.stdout.as_mut() {
            pipe.read_to_end(&mut stdout)?;
        }
        if let Some(pipe) = self.child.stderr.as_mut() {
            pipe.read_to_end(&mut stderr)?;
        }
        Ok(Output { status, stdout, stderr })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let end = Instant::now() + END_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Runs a program to its end; an error with its words when it fails.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program} failed ({}): {}", output.status, last_words(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a failed program said last.
pub(crate) fn last_words(output: &Output) -> String {
    let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join(" / ")
}

/// Lines of a failed program that are repeated: the reason and its hint.
const LAST_LINES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_used_a_processor() {
        let me = std::process::id();
        let memory = memory(me).unwrap();
        assert!(
            memory.anonymous > 0.0 && memory.resident >= memory.anonymous && memory.peak >= memory.resident
        );
        assert!(processor_time(me).unwrap().nanos > 0);
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = Guarded::start(Command::new("sleep").arg("600")).unwrap();
        let pid = child.pid();
        assert!(memory(pid).is_some());
        drop(child);
        assert_eq!(memory(pid), None);
    }
}
