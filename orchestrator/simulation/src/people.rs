//! What people do on the forge: drawn before the world begins, and done whatever comes of it.

use std::time::Duration;

use crate::chance::Chance;
use crate::hub::ALICE;
use crate::world::{Event, State};

/// One thing that somebody does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Says something on the issue of this index.
    Say(usize, &'static str),
    /// Takes the first command back.
    Unsay(usize),
    /// Closes it.
    Close(usize),
    /// Opens it again.
    Reopen(usize),
    /// Pushes to the base.
    PushBase,
    /// Pushes to the branch of its pull request.
    PushWork(usize),
    /// Ends its pull request.
    EndPull(usize, Merged),
}

/// How a pull request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merged {
    /// With a merge.
    Yes,
    /// Without.
    No,
}

/// What is done, and when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    acts: Vec<(Duration, Act)>,
    next: usize,
    /// The issues, by index.
    pub(crate) issues: Vec<u64>,
    /// The first command on each.
    first: Vec<Option<u64>>,
}

const FIRST: [&str; 8] = [
    "/cloud-code run",
    "/cloud-code run",
    "/cloud-code run Refuse empty passwords",
    "/cloud-code run",
    "/cloud-code Refuse empty passwords",
    "/cloud-code plan How would you do it?",
    "/cloud-code ask Where is it checked?",
    "/cloud-code run codex",
];
const LATER: [&str; 18] = [
    "/cloud-code run Go on",
    "/cloud-code run Add a test",
    "/cloud-code run Once more",
    "/cloud-code cancel",
    "/cloud-code cancel",
    "/cloud-code retry",
    "/cloud-code retry",
    "/cloud-code approve",
    "/cloud-code approve",
    "/cloud-code reject Not so",
    "/cloud-code status",
    "/cloud-code cost",
    "/cloud-code config budget 2",
    "/cloud-code handoff codex Take over",
    "/cloud-code plan What next?",
    "/cloud-code ask Why so?",
    "The second of the two.",
    "/cloud-code fly",
];

impl Script {
    /// Draws what happens.
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let count = match chance.below(100) {
            0..65 => 1,
            65..90 => 2,
            _ => 3,
        };
        let mut acts = Vec::new();
        for index in 0..count {
            let begin = chance.between(0, 20_000);
            let first = chance.pick(&FIRST).unwrap_or(FIRST[0]);
            acts.push((Duration::from_millis(begin), Act::Say(index, first)));
            for _ in 0..chance.below(4) {
                let at = Duration::from_millis(begin + chance.between(500, 240_000));
                acts.push((at, later(chance, index)));
            }
        }
        acts.sort_by_key(|(at, _)| *at);
        Self { acts, next: 0, issues: Vec::new(), first: vec![None; count] }
    }
}

fn later(chance: &mut Chance, index: usize) -> Act {
    match chance.below(100) {
        0..72 => Act::Say(index, chance.pick(&LATER).unwrap_or(LATER[0])),
        72..76 => Act::Unsay(index),
        76..80 => Act::Close(index),
        80..83 => Act::Reopen(index),
        83..90 => Act::PushBase,
        90..94 => Act::PushWork(index),
        94..98 => Act::EndPull(index, Merged::Yes),
        _ => Act::EndPull(index, Merged::No),
    }
}

impl State {
    /// Opens the issues, and has everything happen in its time.
    pub(crate) fn begin_script(&mut self) {
        for index in 0..self.script.first.len() {
            let number = self.open_issue(&format!("Fix the login check {index}"));
            self.script.issues.push(number);
        }
        let times: Vec<Duration> = self.script.acts.iter().map(|(at, _)| *at).collect();
        for at in times {
            self.later(at, Event::People);
        }
    }

    /// Somebody does the next thing.
    pub(crate) fn act(&mut self) {
        let Some((_, act)) = self.script.acts.get(self.script.next).cloned() else { return };
        self.script.next += 1;
        let issue = |state: &Self, index: usize| state.script.issues.get(index).copied().unwrap_or_default();
        match act {
            Act::Say(index, text) => {
                let number = issue(self, index);
                let id = self.say(number, text);
                if let Some(first) = self.script.first.get_mut(index) {
                    first.get_or_insert(id);
                }
            }
            Act::Unsay(index) => {
                if let Some(id) = self.script.first.get(index).copied().flatten() {
                    self.unsay(issue(self, index), id);
                }
            }
            Act::Close(index) => self.set_open(issue(self, index), false),
            Act::Reopen(index) => self.set_open(issue(self, index), true),
            Act::PushBase => self.push_by_others("main"),
            Act::PushWork(index) => {
                if let Some((_, branch)) = self.pull_of(issue(self, index)) {
                    self.push_by_others(&branch);
                }
            }
            Act::EndPull(index, merged) => {
                if let Some((pull, _)) = self.pull_of(issue(self, index)) {
                    self.end_pull(pull, merged == Merged::Yes, ALICE);
                }
            }
        }
    }

    /// The pull request that holds an issue's work, as a person would find it.
    fn pull_of(&self, number: u64) -> Option<(u64, String)> {
        let stem = format!("cloud-code/issue-{number}");
        let is_its = |branch: &str| branch == stem || branch.starts_with(&format!("{stem}-"));
        let found = self.hub.pulls.iter().rev().find(|(_, pull)| is_its(&pull.branch));
        found.map(|(number, pull)| (*number, pull.branch.clone()))
    }
}
