//! Starts a child process: as the CLI's user, in a session of its own, with a clean environment and only three files.
//!
//! no_new_privs is set once on the agent itself (`identity.rs`) and inherited; dropping from root to the user clears
//! every capability. The child has no controlling terminal because it leads a new session.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use cloud_code_task_schema::ExitReport;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, getppid, setsid};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::reaper::Reaper;

/// What to start.
pub(crate) struct Launch<'a> {
    pub(crate) argv: &'a [String],
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) directory: &'a Path,
    pub(crate) user: Option<(Uid, Gid)>,
    pub(crate) input: Input,
}

/// What the child finds on its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing: `/dev/null`. Several CLIs hang on an open, silent pipe.
    Nothing,
    /// A pipe that the agent writes and closes.
    Pipe,
}

/// A started child.
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) exit: oneshot::Receiver<ExitReport>,
    pub(crate) stdin: Option<pipe::Sender>,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
}

impl Child {
    /// Starts it. Returns after the `exec`, so an error tells that the program is missing or may not be executed.
    pub(crate) fn start(launch: &Launch<'_>, reaper: &Reaper) -> io::Result<Self> {
        let (program, arguments) =
            launch.argv.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(launch.env).current_dir(launch.directory);
        command.stdin(match launch.input {
            Input::Nothing => Stdio::null(),
            Input::Pipe => Stdio::piped(),
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some((uid, gid)) = launch.user {
            // The standard library drops the supplementary groups along with them.
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        settle_in_child(&mut command);
        let mut child = command.spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        let exit = reaper.expect(pid);
        let missing = || io::Error::other("a pipe of the child is missing");
        let stdin = child.stdin.take().map(|end| pipe::Sender::from_owned_fd(end.into())).transpose()?;
        let stdout = pipe::Receiver::from_owned_fd(child.stdout.take().ok_or_else(missing)?.into())?;
        let stderr = pipe::Receiver::from_owned_fd(child.stderr.take().ok_or_else(missing)?.into())?;
        // Dropping the standard library's handle neither kills nor waits; the reaper does.
        Ok(Self { pid, exit, stdin, stdout, stderr })
    }
}

/// Signals a child's whole group. The group may be gone already; that is what was wanted.
pub(crate) fn signal_group(pid: Pid, signal: Signal) {
    let _ = killpg(pid, signal);
}

/// What the child does to itself before the `exec`: it leads a session, and it dies with the agent. As PID 1 the agent
/// takes everything with it anyway; elsewhere a CLI that survives a kill of the agent would work on beside the one that
/// the next agent starts.
#[expect(unsafe_code, reason = "the standard library has no other way to act between fork and exec")]
fn settle_in_child(command: &mut Command) {
    let agent = Pid::this();
    let settle = move || {
        setsid()?;
        // After the change of user, which would take it back. The kernel sends it when the thread ends that forked:
        // the agent's only one that does.
        set_pdeathsig(Signal::SIGKILL)?;
        // The agent may have died before that.
        if getppid() == agent { Ok(()) } else { Err(io::Error::from_raw_os_error(nix::libc::ESRCH)) }
    };
    // SAFETY: the closure runs in the child between fork and exec; it makes three async-signal-safe system calls,
    // allocates nothing and touches no memory of the parent.
    unsafe {
        command.pre_exec(settle);
    }
}
