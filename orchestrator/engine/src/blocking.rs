//! Where blocking work (git, files) runs: on threads of its own, so that nothing waits behind it.
//!
//! A caller that plays thousands of life cycles on one thread and under a clock of its own has nobody who could wait, and
//! the threads' order would differ from one run to the next. It says so for its thread, and the work is done at once.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::EngineError;

thread_local! {
    static IS_INLINE: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, blocking work that this thread asks for is done on this thread.
#[derive(Debug)]
pub struct Inline {
    before: bool,
    /// It is this thread's.
    _thread: PhantomData<*const ()>,
}

/// Has the blocking work of this thread done on this thread. Not for a program that serves anybody.
#[must_use = "it ends when this is dropped"]
pub fn run_inline() -> Inline {
    Inline { before: IS_INLINE.replace(true), _thread: PhantomData }
}

impl Drop for Inline {
    fn drop(&mut self) {
        IS_INLINE.set(self.before);
    }
}

/// Runs blocking work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    if IS_INLINE.get() {
        return work();
    }
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => result,
        Err(error) => Err(EngineError::Job(error.to_string())),
    }
}

/// Begins blocking work that nobody waits for.
pub(crate) fn beside(work: impl FnOnce() + Send + 'static) {
    if IS_INLINE.get() {
        return work();
    }
    let span = tracing::Span::current();
    drop(tokio::task::spawn_blocking(move || span.in_scope(work)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_unless_the_thread_wants_it_here() {
        let here = std::thread::current().id();
        let place = || blocking(|| Ok(std::thread::current().id()));
        assert_ne!(place().await.unwrap(), here);
        {
            let _inline = run_inline();
            assert_eq!(place().await.unwrap(), here);
        }
        assert_ne!(place().await.unwrap(), here);
    }
}
