//! Whose containers these are, and what is already known of them. Everything here can be learnt again from the engine;
//! it only saves the requests that would prove the same thing twice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cloud_code_model::InstanceId;

use super::inspect::Seen;
use crate::{ContainerId, Labels, RuntimeError, Stdin};

#[derive(Debug, Clone, Copy)]
enum Known {
    /// Created by this object and not started by it: it cannot run, and its stdin is known.
    Fresh(Stdin),
    /// Ours, in a state that must be asked for.
    Met,
}

pub(super) struct Ownership {
    instance: InstanceId,
    known: Mutex<HashMap<ContainerId, Known>>,
}

impl Ownership {
    pub(super) fn new(instance: InstanceId) -> Self {
        Self { instance, known: Mutex::default() }
    }

    /// A panic elsewhere cannot leave the map half-changed: each use is one call.
    fn known(&self) -> MutexGuard<'_, HashMap<ContainerId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses labels of another instance.
    pub(super) fn require(&self, labels: &Labels, what: &str) -> Result<(), RuntimeError> {
        if labels.instance == self.instance {
            Ok(())
        } else {
            Err(RuntimeError::NotOurs { id: what.to_owned() })
        }
    }

    /// Accepts what was seen as ours, or refuses it.
    pub(super) fn claim(&self, id: &str, seen: Option<Seen>) -> Result<Seen, RuntimeError> {
        let not_ours = || RuntimeError::NotOurs { id: id.to_owned() };
        let seen = seen.ok_or_else(not_ours)?;
        self.require(&seen.facts.labels, id)?;
        self.known().entry(seen.facts.id.clone()).or_insert(Known::Met);
        Ok(seen)
    }

    pub(super) fn knows(&self, id: &ContainerId) -> bool {
        self.known().contains_key(id)
    }

    pub(super) fn remember_fresh(&self, id: &ContainerId, stdin: Stdin) {
        self.known().insert(id.clone(), Known::Fresh(stdin));
    }

    /// True for a container that was created here and never started.
    pub(super) fn is_fresh(&self, id: &ContainerId) -> bool {
        matches!(self.known().get(id), Some(Known::Fresh(_)))
    }

    /// The stdin of a container that was created here and never started; it counts as started from now on.
    pub(super) fn take_fresh(&self, id: &ContainerId) -> Option<Stdin> {
        let mut known = self.known();
        let entry = known.get_mut(id)?;
        match std::mem::replace(entry, Known::Met) {
            Known::Fresh(stdin) => Some(stdin),
            Known::Met => None,
        }
    }

    pub(super) fn forget(&self, id: &ContainerId) {
        self.known().remove(id);
    }
}
