//! Merging a pull request of ours: what is known of it, and what people said.
//!
//! Everything here is about one commit, the newest of the branch. When the branch gets another one, all of it begins anew:
//! what somebody said yes to is what is merged, and nothing else.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a pull request's commits come into the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MergeMethod {
    /// All of them, and a commit that joins the two.
    Merge,
    /// One commit that holds them all.
    Squash,
    /// All of them, made anew on top of the base.
    Rebase,
}

impl MergeMethod {
    /// As the settings and GitHub spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Squash => "squash",
            Self::Rebase => "rebase",
        }
    }
}

/// What is known of merging a pull request as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merging {
    /// The newest commit of the branch. All that follows is about this one.
    pub head_sha: String,
    /// When it was there at the latest, by the forge's clock: what was said before may have been about another one.
    pub there_by: Timestamp,
    /// When it was seen first, by ours.
    pub seen_at: Timestamp,
    /// What a person said.
    #[serde(default)]
    pub verdict: Option<MergeVerdict>,
    /// Who said yes to a commit that is not the newest any more. It counts for nothing, and is told.
    #[serde(default)]
    pub lapsed: Option<Approver>,
    /// Why it is not merged.
    pub hold: MergeHold,
    /// What the forge refused last, until something changes.
    #[serde(default)]
    pub refused: Option<MergeRefused>,
    /// When we saw it merged. Not said of what a person merged.
    #[serde(default)]
    pub merged_at: Option<Timestamp>,
}

/// A person's word on merging one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeVerdict {
    /// Yes or no.
    pub word: MergeWord,
    /// Whose.
    pub by: Approver,
    /// When it was said: by the forge's clock, to whole seconds; from the command line by ours.
    pub at: Timestamp,
}

/// Who says yes or no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Approver {
    /// Somebody of the forge, by the login of that moment.
    Person {
        /// The login.
        login: String,
    },
    /// Whoever may use the command line of this machine. A name there is no login of the forge.
    CommandLine,
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person { login } => f.write_str(login),
            Self::CommandLine => f.write_str("the command line"),
        }
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeWord {
    /// Merge it.
    Yes,
    /// Leave it open.
    No,
}

/// A refusal of the forge, with what was so then: it is asked again when something of that has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRefused {
    /// A digest of what was known of the pull request.
    pub facts: String,
    /// Why, as it is told.
    pub hold: MergeHold,
}

/// Why a pull request is not merged. Words for people are made of it; nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MergeHold {
    /// Nobody has looked yet, or the forge has still to work out whether it can be merged.
    Looking,
    /// A task or a request is open: the branch may get another commit.
    Work,
    /// The issue was closed.
    IssueClosed,
    /// Somebody else opened it, or its branch is not ours. People merge it.
    NotOurs,
    /// It goes to another branch than the project's base. People merge it.
    OtherBase {
        /// Where it goes.
        base: String,
    },
    /// It is a draft.
    Draft,
    /// It conflicts with its base.
    Conflict,
    /// Checks run still.
    ChecksRun {
        /// Some of their names.
        names: Vec<String>,
    },
    /// Checks have failed.
    ChecksFail {
        /// Some of their names.
        names: Vec<String>,
    },
    /// There is no check, and one may still begin.
    ChecksMayCome,
    /// Checks cannot be read one by one, and the forge says that not all of them have passed.
    ChecksUnclear,
    /// Reviews ask for changes.
    ChangesAsked {
        /// Whose.
        by: Vec<String>,
    },
    /// Nothing is in its way but that nobody has said yes.
    WaitsForYes,
    /// Somebody said no.
    Declined,
    /// Nothing is in its way.
    Nothing,
    /// The forge refuses it: a rule of the base is not kept, or a permission is missing.
    Refused {
        /// The forge's words.
        message: String,
    },
    /// This way of merging is not allowed in the repository.
    MethodRefused {
        /// The forge's words.
        message: String,
    },
    /// The base takes pull requests by a queue alone.
    Queue {
        /// The forge's words.
        message: String,
    },
}

impl Merging {
    /// Of a commit that is seen for the first time. `before` is what was known of the one that was the newest until now.
    pub fn of(head_sha: &str, there_by: Timestamp, seen_at: Timestamp, before: Option<&Self>) -> Self {
        let lapsed = before.and_then(|before| match &before.verdict {
            Some(verdict) if verdict.word == MergeWord::Yes => Some(verdict.by.clone()),
            Some(_) => None,
            None => before.lapsed.clone(),
        });
        Self {
            head_sha: head_sha.to_owned(),
            there_by,
            seen_at,
            verdict: None,
            lapsed,
            hold: MergeHold::Looking,
            refused: None,
            merged_at: None,
        }
    }

    /// Notes what somebody said of this commit, and gives whether it counts. Words may come in another order than they were
    /// said, and the last one said counts; of a yes and a no in the same second the no does. What the forge refused is tried
    /// again with it.
    #[must_use]
    pub fn say(&mut self, word: MergeWord, by: Approver, at: Timestamp) -> bool {
        let is_overtaken = self.verdict.as_ref().is_some_and(|known| {
            let is_later = known.at > at || known.at == at && known.word == MergeWord::No;
            match word {
                MergeWord::Yes => is_later,
                // Of the command line's word the time is our clock's, which may be ahead: a no is rather heard once too often.
                MergeWord::No => known.at > at && known.by != Approver::CommandLine,
            }
        });
        if !is_overtaken {
            self.note(MergeVerdict { word, by, at });
        }
        !is_overtaken
    }

    /// Notes what somebody says at this moment, so after whatever was said, also where two clocks differ.
    pub fn say_now(&mut self, word: MergeWord, by: Approver, now: Timestamp) {
        let at = self.verdict.as_ref().map_or(now, |known| now.max(known.at));
        self.note(MergeVerdict { word, by, at });
    }

    fn note(&mut self, verdict: MergeVerdict) {
        self.verdict = Some(verdict);
        self.lapsed = None;
        self.refused = None;
        // What hung on the last word is not so any more, and nobody is to read so until the next look.
        if matches!(self.hold, MergeHold::WaitsForYes | MergeHold::Declined) {
            self.hold = MergeHold::Looking;
        }
    }

    /// Whether somebody said this of the commit.
    pub fn is_said(&self, word: MergeWord) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.word == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn alice() -> Approver {
        Approver::Person { login: "alice".to_owned() }
    }

    #[test]
    fn a_yes_lapses_with_its_commit() {
        let mut first = Merging::of("a1", NOW, NOW, None);
        assert!(first.say(MergeWord::Yes, alice(), NOW));
        let second = Merging::of("b2", NOW, NOW, Some(&first));
        assert!(!second.is_said(MergeWord::Yes));
        assert_eq!(second.lapsed, Some(alice()));
        let third = Merging::of("c3", NOW, NOW, Some(&second));
        assert_eq!(third.lapsed, Some(alice()), "it is told until somebody speaks again");
    }

    #[test]
    fn a_no_says_nothing_of_the_next_commit() {
        let mut first = Merging::of("a1", NOW, NOW, None);
        assert!(first.say(MergeWord::No, alice(), NOW));
        let second = Merging::of("b2", NOW, NOW, Some(&first));
        assert_eq!((second.verdict, second.lapsed), (None, None));
    }

    #[test]
    fn the_word_that_was_said_last_counts_in_whatever_order_they_come() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (yes, no) = (MergeWord::Yes, MergeWord::No);
        let after = |words: &[(MergeWord, i64)]| {
            let mut merging = Merging::of("a1", NOW, NOW, None);
            let counted: Vec<bool> =
                words.iter().map(|(word, second)| merging.say(*word, alice(), at(*second))).collect();
            (merging.verdict.unwrap().word, counted)
        };
        assert_eq!(after(&[(no, 5), (yes, 3)]), (no, vec![true, false]));
        assert_eq!(after(&[(yes, 5), (no, 3)]), (yes, vec![true, false]));
        assert_eq!(after(&[(yes, 3), (no, 5)]), (no, vec![true, true]));
        assert_eq!(after(&[(no, 5), (yes, 5)]), (no, vec![true, false]));
        assert_eq!(after(&[(yes, 5), (no, 5)]), (no, vec![true, true]));
        assert_eq!(after(&[(yes, 5), (yes, 5)]), (yes, vec![true, true]), "the same once more");
        let mut ahead = Merging::of("a1", NOW, NOW, None);
        ahead.say_now(yes, Approver::CommandLine, at(30));
        assert!(ahead.say(no, alice(), at(9)), "our clock may be ahead");
        assert!(!ahead.say(yes, alice(), at(8)));
        // Here and now, by a clock that is behind.
        let mut merging = Merging::of("a1", NOW, NOW, None);
        assert!(merging.say(no, alice(), at(9)));
        merging.say_now(yes, Approver::CommandLine, at(4));
        assert!(merging.is_said(yes) && merging.verdict.is_some_and(|verdict| verdict.at == at(9)));
    }

    #[test]
    fn what_hung_on_the_last_word_is_looked_at_anew() {
        let after = |hold: &MergeHold| {
            let mut merging = Merging { hold: hold.clone(), ..Merging::of("a1", NOW, NOW, None) };
            assert!(merging.say(MergeWord::Yes, alice(), NOW));
            merging.hold
        };
        let runs = MergeHold::ChecksRun { names: vec!["build".into()] };
        assert_eq!(after(&MergeHold::WaitsForYes), MergeHold::Looking);
        assert_eq!(after(&MergeHold::Declined), MergeHold::Looking);
        assert_eq!(after(&runs), runs);
    }

    #[test]
    fn a_new_word_lets_the_forge_be_asked_again() {
        let mut merging = Merging::of("a1", NOW, NOW, None);
        merging.refused = Some(MergeRefused { facts: "f".into(), hold: MergeHold::Conflict });
        assert!(merging.say(MergeWord::Yes, alice(), NOW));
        assert_eq!(merging.refused, None);
    }

    #[test]
    fn a_thread_of_an_earlier_version_knows_nothing_of_merging() {
        let published: crate::Published = serde_json::from_str(r#"{"remarks": ["rebased"]}"#).unwrap();
        assert_eq!(published.merging, None);
    }
}
