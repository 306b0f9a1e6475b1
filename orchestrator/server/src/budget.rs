//! The memory that all bodies together may take.
//!
//! A body is a stranger's until its signature is checked, and that needs the whole body. Without a common bound a
//! thousand strangers with 25 MiB each would fill the memory. Waiting for room was rejected: readers that each hold a
//! part and wait for more would wait for each other.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for. A semaphore counts in 32 bits, and a byte each would be needlessly fine.
const GRAIN: usize = 1024;

/// The common bound.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
}

/// A body as it grows. Its part of the bound is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) held: Held,
}

/// Part of the bound.
#[derive(Debug)]
pub(crate) struct Held {
    free: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

/// There is no room for this body now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes.div_ceil(GRAIN).min(Semaphore::MAX_PERMITS))) }
    }

    pub(crate) fn body(&self) -> Body {
        Body { bytes: Vec::new(), held: Held { free: self.free.clone(), permit: None } }
    }
}

impl Body {
    /// Adds a piece. The memory is taken piece by piece: a length that is only announced costs nothing.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), NoRoom> {
        self.held.grow_to(self.bytes.len() + piece.len())?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

impl Held {
    fn grow_to(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let missing =
            bytes.div_ceil(GRAIN) - self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Ok(missing) = u32::try_from(missing) else { return Err(NoRoom) };
        if missing == 0 {
            return Ok(());
        }
        let more = self.free.clone().try_acquire_many_owned(missing).map_err(|_| NoRoom)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_bound_and_give_it_back() {
        let budget = Budget::new(4 * GRAIN);
        let (mut one, mut other) = (budget.body(), budget.body());
        for _ in 0..6 {
            one.push(&[1; GRAIN / 2]).unwrap();
        }
        other.push(&[2; GRAIN]).unwrap();
        assert_eq!(other.push(&[2; 1]), Err(NoRoom));
        assert_eq!(other.bytes, [2; GRAIN], "a refused piece is not kept");
        drop(one);
        other.push(&[2; 3 * GRAIN]).unwrap();
        drop(other);
        assert_eq!(budget.free.available_permits(), 4);
    }
}
