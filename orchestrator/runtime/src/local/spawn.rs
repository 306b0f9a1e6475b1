//! Starting one agent so that it outlives us, and learning of its end for as long as we live.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use super::mark::MARK_VARIABLE;
use super::process::ProcessId;
use super::record::{Folder, Record, Run};
use super::sweep;
use crate::{Exit, RuntimeError};

/// What a shell reports for a program ended by signal n: 128 + n.
const SIGNAL_EXIT_BASE: i32 = 128;

/// An agent that was just started.
pub(super) struct Started {
    pub(super) run: Run,
    child: Child,
    stdin: Option<std::process::ChildStdin>,
}

pub(super) fn spawn(folder: &Folder, record: &Record, inherit: &[String]) -> Result<Started, RuntimeError> {
    let Some((program, arguments)) = record.command.split_first() else {
        return Err(RuntimeError::Refused {
            doing: "starting a local agent",
            message: "its record has no command".to_owned(),
        });
    };
    let failed = |source| RuntimeError::Spawn { program: program.clone(), source };
    let open = || {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(folder.output())?;
        Ok((file.try_clone()?, file))
    };
    let (stdout, stderr) = open().map_err(|source| RuntimeError::State { path: folder.output(), source })?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(inherit.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(&record.env)
        .env(MARK_VARIABLE, folder.mark_value())
        .stdin(match record.stdin {
            crate::Stdin::Secrets => Stdio::piped(),
            crate::Stdin::Closed => Stdio::null(),
        })
        .stdout(stdout)
        .stderr(stderr);
    if let Some(dir) = &record.working_dir {
        command.current_dir(dir);
    }
    detach(&mut command);
    let mut child = command.spawn().map_err(failed)?;
    let pid = i32::try_from(child.id()).map_err(|error| failed(io::Error::other(error)))?;
    // It is our child and not reaped, so the kernel knows it, be it as a zombie.
    let process = ProcessId::of(pid).ok_or_else(|| failed(io::Error::other("/proc does not show it")))?;
    let stdin = child.stdin.take();
    Ok(Started { run: Run { process, started_at: Some(Timestamp::now()) }, child, stdin })
}

/// A session of its own, so that a terminal's end does not reach it; and a subreaper, so that its orphans become its
/// children and not init's. Both outlive the exec; the second is not passed on to what the agent starts.
#[expect(unsafe_code, reason = "the standard library has no safe way to make a session or a subreaper")]
fn detach(command: &mut Command) {
    let prepare = || {
        nix::unistd::setsid()?;
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed. These are two plain system calls: no
    // allocation, no lock, and an `Errno` turns into an `io::Error` without either.
    unsafe {
        command.pre_exec(prepare);
    }
}

impl Started {
    /// Writes the document and closes stdin. It fits the pipe, so this cannot block. An agent that ended or closed its
    /// stdin before is no error here: its exit tells.
    pub(super) fn hand_over(&self, document: Option<SecretString>) -> io::Result<()> {
        let (Some(mut stdin), Some(document)) = (self.stdin.as_ref(), document) else { return Ok(()) };
        match stdin.write_all(document.expose_secret().as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// Hands the child to a thread that waits for it: not a task, because it must go on when the async runtime is
    /// being shut down.
    pub(super) fn reap(self, folder: &Folder) -> watch::Receiver<Option<Exit>> {
        let Self { run, mut child, stdin } = self;
        drop(stdin);
        let folder = folder.clone();
        let (tell, end) = watch::channel(None);
        let reaper = std::thread::Builder::new().name(format!("reap-{}", run.process.pid)).spawn(move || {
            let exit = until_ended(run.process.pid);
            // What the agent left behind is ended before its end is announced, as in a container.
            let swept = sweep::end_all(None, &folder.mark());
            if let Err(error) = &swept {
                tracing::warn!(container.id = %folder.mark_value().display(), "{error}");
            }
            if let Err(error) = folder.write_exit(&run, &exit, swept.is_ok()) {
                tracing::warn!(container.id = %folder.mark_value().display(), "cannot record an exit code: {error}");
            }
            // Reaped last: until then the kernel shows a zombie, which readers take for "not ended yet".
            let _ = child.wait();
            tell.send_replace(Some(exit));
        });
        if let Err(error) = reaper {
            tracing::warn!("no thread to wait for a local agent, its exit code will be unknown: {error}");
        }
        end
    }
}

/// Waits for the end without reaping.
fn until_ended(pid: i32) -> Exit {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    let code = loop {
        match waitid(Id::Pid(Pid::from_raw(pid)), flags) {
            Ok(WaitStatus::Exited(_, code)) => break Some(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => break Some(SIGNAL_EXIT_BASE + signal as i32),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            // Somebody else in this process reaped it: the code is lost.
            Err(_) => break None,
        }
    };
    Exit { code, oom_killed: false, finished_at: Some(Timestamp::now()) }
}
