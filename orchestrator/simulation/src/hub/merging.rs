//! What others check of a commit, and merges that are done for us.

use std::time::Duration;

use cloud_code_forge::{CheckFacts, Merged, PullFacts, PullState};
use cloud_code_model::MergeWord;

use super::BOT;
use crate::world::State;

/// The checks of others of one commit: they run for a while, then they have passed or failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checks {
    until: Duration,
    end: Option<Verdict>,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
}

/// A merge that was done for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merge {
    /// Which pull request.
    pub(crate) pull: u64,
    /// Which commit.
    pub(crate) head: String,
    /// Whether its checks had passed, or there were none.
    pub(crate) was_fit: bool,
    /// What had been said of it when the forge was asked.
    pub(crate) word: Option<MergeWord>,
}

impl State {
    pub(super) fn checks_of_others(&mut self, sha: &str) -> CheckFacts {
        let known = match self.hub.others.get(sha) {
            Some(known) => *known,
            None => {
                let end = match self.chance.below(100) {
                    0..40 => None,
                    40..88 => Some(Verdict::Passed),
                    _ => Some(Verdict::Failed),
                };
                let until = self.now() + Duration::from_millis(self.chance.between(0, 180_000));
                let drawn = Checks { until, end };
                self.hub.others.insert(sha.to_owned(), drawn);
                drawn
            }
        };
        let mut facts = CheckFacts { is_whole: true, ..CheckFacts::default() };
        let name = || vec!["tests".to_owned()];
        match known.end {
            None => {}
            Some(_) if self.now() < known.until => facts.running = name(),
            Some(Verdict::Passed) => facts.passed = 1,
            Some(Verdict::Failed) => facts.failed = name(),
        }
        facts
    }

    /// As the adapter has it: what is merged already is done, and only the named commit is merged.
    pub(super) fn merge(&mut self, pull: &PullFacts, head: &str, word: Option<MergeWord>) -> Merged {
        match pull.state {
            PullState::Merged => return Merged::Done,
            PullState::Open if pull.head_sha == head => {}
            PullState::Open | PullState::Closed => return Merged::HeadMoved,
        }
        let is_odd = self.faults.given > 0 || self.faults.left > 0;
        match self.chance.below(100) {
            0..10 if is_odd => {
                self.count("merges not now");
                return Merged::NotNow;
            }
            10..14 if is_odd => {
                self.count("merges refused");
                return Merged::Refused { message: "A review is required.".to_owned() };
            }
            _ => {}
        }
        let checks = self.checks_of_others(head);
        let was_fit = checks.failed.is_empty() && checks.running.is_empty();
        self.hub.merges.push(Merge { pull: pull.number, head: head.to_owned(), was_fit, word });
        self.count("merges");
        self.end_pull(pull.number, true, BOT);
        Merged::Done
    }
}
