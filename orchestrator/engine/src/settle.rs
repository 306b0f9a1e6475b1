//! Has the disk take what was prepared, beside the agents that already work in it. Tasks that begin together wait for one
//! flush of the disk and not for one each.

use std::sync::{Mutex, PoisonError};

use cloud_code_workspace::IssuePaths;

use crate::blocking::beside;
use crate::facts::Facts;
use crate::{Engine, Git};

/// What waits to be settled.
#[derive(Debug, Default)]
pub(crate) struct Settler {
    due: Mutex<Vec<IssuePaths>>,
    /// One flush at a time; who waits for it finds that the next took all there was.
    flushing: Mutex<()>,
}

impl Settler {
    fn add(&self, paths: IssuePaths) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).push(paths);
    }

    /// Settles all that is due. Blocks.
    fn run(&self, git: &dyn Git) {
        let _one_at_a_time = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let due = std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner));
        if due.is_empty() {
            return;
        }
        // Nothing is lost by it but the safety of a power cut in these moments; a driver that begins anew asks again.
        if let Err(error) = git.settle(&due) {
            tracing::warn!(workspaces = due.len(), error = %error, "cannot settle workspaces");
        }
    }
}

impl Engine {
    /// Returns at once.
    pub(crate) fn settle(&self, facts: &Facts) {
        self.settler.add(self.paths(&facts.record));
        let (settler, git) = (self.settler.clone(), self.git.clone());
        beside(move || settler.run(git.as_ref()));
    }
}
