//! A gate at a write: the fake stops just before or just after the n-th one takes effect, and a test can kill the
//! client there.

use tokio::sync::watch;

use crate::faults::matches;

/// On which side of the effect to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing has happened yet.
    Before,
    /// It has happened; the answer is withheld.
    After,
}

/// A write that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The method.
    pub method: String,
    /// The path without a prefix.
    pub path: String,
    /// On which side of its effect it is held.
    pub when: When,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum State {
    #[default]
    Open,
    Armed {
        left: usize,
        when: When,
        method: String,
        pattern: String,
    },
    /// The n-th write has come and is on its way to its stopping point.
    Chosen,
    Held(Held),
    Released,
    Cut,
}

/// The gate.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: watch::Sender<State>,
}

/// What the gate says about one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Free,
    Stop(When),
}

impl Gate {
    /// Stops at the n-th write that fits method and pattern, both as for faults.
    pub(crate) fn arm(&self, method: &str, pattern: &str, n: usize, when: When) {
        let (method, pattern) = (method.to_ascii_uppercase(), pattern.to_owned());
        self.state.send_replace(State::Armed { left: n.max(1), when, method, pattern });
    }

    /// Counts a write.
    pub(crate) fn count(&self, wrote: &str, path: &str) -> Pass {
        let mut pass = Pass::Free;
        self.state.send_modify(|state| {
            if let State::Armed { left, when, method, pattern } = state
                && (method == "*" || method == wrote)
                && matches(pattern, path)
            {
                *left -= 1;
                if *left == 0 {
                    pass = Pass::Stop(*when);
                    *state = State::Chosen;
                }
            }
        });
        pass
    }

    /// Stops here until released; false when the connection is to be cut instead.
    pub(crate) async fn stop(&self, held: Held) -> bool {
        let mut seen = self.state.subscribe();
        self.state.send_replace(State::Held(held));
        let on = seen.wait_for(|state| !matches!(state, State::Held(_))).await;
        on.is_ok_and(|state| *state != State::Cut)
    }

    pub(crate) async fn held(&self) -> Held {
        let mut seen = self.state.subscribe();
        loop {
            if let State::Held(held) = &*seen.borrow_and_update() {
                return held.clone();
            }
            if seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(crate) fn release(&self) {
        self.state.send_replace(State::Released);
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }
}
