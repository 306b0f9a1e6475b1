//! Holds the caps: what is too old goes, then the oldest until the rest fits; attempts of open issues go last.

use std::fs;
use std::time::Duration;

use cloud_code_model::{IssueKey, ProjectName};
use jiff::{SignedDuration, Timestamp};

use crate::dropped::{Dropped, Reason};
use crate::ledger::{Entry, Ledger, Sums, day_of};
use crate::place::{self, Caps};
use crate::{History, HistoryError};

/// Which part of the cap is made free beyond it, so that not every attempt at a full store rewrites a day of the ledger.
const SLACK: u64 = 64;

/// What a pruning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Attempts that were dropped.
    pub attempts: u64,
    /// Bytes of disk that they took.
    pub bytes: u64,
    /// Bytes of disk that all of it takes now.
    pub left: u64,
}

/// Whether an issue has a task that has not ended.
type IsOpen<'a> = &'a dyn Fn(&ProjectName, &IssueKey) -> bool;

impl History {
    /// Whether something is over the caps: to be asked before it is found out which issues are open.
    pub fn is_over(&self, now: Timestamp) -> Result<bool, HistoryError> {
        let sums = self.sums()?;
        let limit = before(now, self.caps().max_age);
        let is_old = |first: Timestamp| limit.is_some_and(|limit| first < limit);
        let is_aged = sums.days.values().any(|day| day.first_at.is_some_and(is_old));
        Ok(is_aged || sums.bytes() + self.drops().length() > self.caps().max_size)
    }

    /// Drops what is over the caps. Killed at any point, the next one goes on.
    pub fn prune(&self, now: Timestamp, is_open: IsOpen<'_>) -> Result<Pruned, HistoryError> {
        let _turn = self.turn()?;
        let ledger = self.ledger();
        let sums = ledger.sums()?;
        let mut pruning = Pruning { history: self, ledger, sums, now, is_open, done: Pruned::default() };
        pruning.by_age()?;
        pruning.by_size()?;
        Ok(Pruned { left: pruning.size(), ..pruning.done })
    }

    /// Drops all that is kept of an issue, because a person asked for it. Returns how many attempts.
    pub fn forget_issue(
        &self,
        project: &ProjectName,
        issue: &IssueKey,
        now: Timestamp,
    ) -> Result<u64, HistoryError> {
        let _turn = self.turn()?;
        let kept = self.attempts(project, issue)?;
        let days: std::collections::BTreeSet<String> =
            kept.iter().map(|kept| day_of(kept.file.kept_at)).collect();
        let ledger = self.ledger();
        let sums = ledger.sums()?;
        let is_open = |_: &ProjectName, _: &IssueKey| false;
        let mut pruning =
            Pruning { history: self, ledger, sums, now, is_open: &is_open, done: Pruned::default() };
        for day in days {
            pruning.drop_of(&day, Reason::Cleaned, |entry, _| {
                entry.key.project == *project && entry.key.issue == *issue
            })?;
        }
        // What a killed writer left, and attempts that were never noted.
        place::remove_folder(&self.issue_folder(project, issue))?;
        Ok(kept.len() as u64)
    }
}

struct Pruning<'a> {
    history: &'a History,
    ledger: Ledger,
    sums: Sums,
    now: Timestamp,
    is_open: IsOpen<'a>,
    done: Pruned,
}

impl Pruning<'_> {
    fn size(&self) -> u64 {
        self.sums.bytes() + self.history.drops().length()
    }

    fn days(&self) -> Vec<String> {
        self.sums.days.keys().cloned().collect()
    }

    fn by_age(&mut self) -> Result<(), HistoryError> {
        let Some(limit) = before(self.now, self.history.caps().max_age) else { return Ok(()) };
        for day in self.days() {
            let first = self.sums.days.get(&day).and_then(|day| day.first_at);
            if first.is_none_or(|first| first >= limit) {
                // Days are in order, but a clock that was set back may have left a younger one before an older.
                continue;
            }
            let is_open = self.is_open;
            self.drop_of(&day, Reason::Age, |entry, _| {
                entry.at < limit && !is_open(&entry.key.project, &entry.key.issue)
            })?;
        }
        Ok(())
    }

    fn by_size(&mut self) -> Result<(), HistoryError> {
        let Caps { max_size, .. } = *self.history.caps();
        if self.size() <= max_size {
            return Ok(());
        }
        let goal = max_size - max_size / SLACK;
        for take_open in [false, true] {
            for day in self.days() {
                let size = self.size();
                if size <= goal {
                    return Ok(());
                }
                let is_open = self.is_open;
                self.drop_of(&day, Reason::Size, |entry, dropped| {
                    size.saturating_sub(dropped) > goal
                        && (take_open || !is_open(&entry.key.project, &entry.key.issue))
                })?;
            }
        }
        Ok(())
    }

    /// Drops those of a day that `goes` says, which is told the bytes that are gone before.
    ///
    /// Noted first: a crash then leaves a note too many, which counts once, and not a drop that nobody was told of.
    fn drop_of(
        &mut self,
        day: &str,
        reason: Reason,
        goes: impl Fn(&Entry, u64) -> bool,
    ) -> Result<(), HistoryError> {
        let mut bytes = 0;
        let (gone, stays): (Vec<Entry>, Vec<Entry>) = self.ledger.day(day)?.into_iter().partition(|entry| {
            let goes = goes(entry, bytes);
            bytes += if goes { entry.bytes } else { 0 };
            goes
        });
        if gone.is_empty() {
            return Ok(());
        }
        let note = |entry: &Entry| Dropped {
            key: entry.key.clone(),
            at: self.now,
            kept_at: entry.at,
            bytes: entry.bytes,
            reason,
        };
        self.history.drops().note(&gone.iter().map(note).collect::<Vec<_>>())?;
        for entry in &gone {
            self.remove(entry)?;
        }
        self.done.attempts += gone.len() as u64;
        self.done.bytes += bytes;
        self.ledger.put_day(&mut self.sums, day, &stays)?;
        self.ledger.put_sums(&self.sums)
    }

    fn remove(&self, entry: &Entry) -> Result<(), HistoryError> {
        place::remove_folder(&self.history.folder(&entry.key))?;
        let issue = self.history.issue_folder(&entry.key.project, &entry.key.issue);
        // Only empty ones go; that others are in use is no failure.
        if fs::remove_dir(&issue).is_ok()
            && let Some(project) = issue.parent()
        {
            let _ = fs::remove_dir(project);
        }
        Ok(())
    }
}

fn before(now: Timestamp, age: Duration) -> Option<Timestamp> {
    now.checked_sub(SignedDuration::try_from(age).ok()?).ok()
}
