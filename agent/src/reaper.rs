//! The one owner of `waitpid`.
//!
//! As PID 1 (or a subreaper) the agent inherits every orphan, and `waitpid(-1)` takes whichever child ended first.
//! So nobody else may wait: a second waiter would steal an exit status. `tokio::process` was rejected for that.

use std::cell::RefCell;
use std::collections::HashMap;

use cloud_code_task_schema::ExitReport;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
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
            let (pid, exit) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, ExitReport { code: Some(code), signal: None }),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, ExitReport { code: None, signal: Some(signal as i32) })
                }
                Ok(WaitStatus::StillAlive) => return,
                Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
                // No children at all.
                Err(_) => return,
            };
            if let Some(sender) = self.waiting.borrow_mut().remove(&pid) {
                // Whoever asked may have given up by now; then nobody needs the status.
                let _ = sender.send(exit);
            }
        }
    }
}
