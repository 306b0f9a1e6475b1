//! The one owner of `waitpid`.
//!
//! As PID 1 (or a subreaper) the agent inherits every orphan, and `waitpid(-1)` takes whichever child ended first.
//! So nobody else may wait: a second waiter would steal an exit status. `tokio::process` was rejected for that.

use std::cell::RefCell;
use std::collections::HashMap;

use cloud_code_task_schema::ExitReport;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;
use tokio::sync::oneshot;

/// Collects the dead and tells those who asked.
#[derive(Default)]
pub(crate) struct Reaper {
    waiting: RefCell<HashMap<Pid, oneshot::Sender<ExitReport>>>,
}

impl Reaper {
    /// Asks for the exit of a child. Call it in the same step as the spawn, before [`Reaper::reap`] can run.
    pub(crate) fn expect(&self, pid: Pid) -> oneshot::Receiver<ExitReport> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(pid, sender);
        receiver
    }

    /// Collects every child that has ended. Never blocks.
    pub(crate) fn reap(&self) {
        loop {
            let (pid, exit) = match wait_for_any() {
                Ok(Some(ended)) => ended,
                Err(Errno::EINTR) => continue,
                // Nobody has ended, or there are no children at all.
                Ok(None) | Err(_) => return,
            };
            if let Some(sender) = self.waiting.borrow_mut().remove(&pid) {
                // Whoever asked may have given up by now; then nobody needs the status.
                let _ = sender.send(exit);
            }
        }
    }
}

/// The wrapper of `nix` knows only the classic signals: for a child that a real-time signal ended it returns an error,
/// with the child already gone and its number lost.
#[expect(unsafe_code, reason = "the status is needed as the kernel writes it")]
fn wait_for_any() -> Result<Option<(Pid, ExitReport)>, Errno> {
    let mut status = 0;
    // SAFETY: the call writes one integer, to the place that is borrowed for it, and keeps nothing.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    let pid = Errno::result(pid)?;
    // Without WUNTRACED and WCONTINUED only ends are told.
    let exit = if libc::WIFSIGNALED(status) {
        ExitReport { code: None, signal: Some(libc::WTERMSIG(status)) }
    } else {
        ExitReport { code: Some(libc::WEXITSTATUS(status)), signal: None }
    };
    Ok((pid != 0).then_some((Pid::from_raw(pid), exit)))
}
