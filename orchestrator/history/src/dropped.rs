//! `dropped.jsonl`: what was dropped, when and why. Never silent, and bounded itself.
//!
//! Its first line counts what was dropped so long ago that its own line had to go.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use cloud_code_model::{IssueKey, ProjectName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::HistoryError;
use crate::error::At;
use crate::place::{self, Key};

/// Length at which the older half goes: some ten thousand attempts, three weeks of 500 a day.
const MOST_BYTES: u64 = 2 << 20;

/// Why an attempt was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The whole was over its cap.
    Size,
    /// It was older than its cap.
    Age,
    /// A person asked for it.
    Cleaned,
}

impl Reason {
    /// For people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Size => "the history was over history.max_size",
            Self::Age => "it was older than history.max_age",
            Self::Cleaned => "it was cleaned",
        }
    }
}

/// An attempt that was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Which.
    #[serde(flatten)]
    pub key: Key,
    /// When.
    pub at: Timestamp,
    /// When it had been kept.
    pub kept_at: Timestamp,
    /// Bytes of disk that it took.
    pub bytes: u64,
    /// Why.
    pub reason: Reason,
}

/// What was dropped so long ago that nothing but the count is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Earlier {
    earlier_attempts: u64,
    earlier_bytes: u64,
}

/// The file.
#[derive(Debug, Clone)]
pub struct Drops {
    path: PathBuf,
}

impl Drops {
    pub(crate) fn new(root: &Path) -> Self {
        Self { path: root.join("dropped.jsonl") }
    }

    /// What was dropped of an issue, as far as its lines are there, oldest first.
    pub fn of_issue(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<Dropped>, HistoryError> {
        let (_, mut dropped) = self.read()?;
        dropped.retain(|one| one.key.project == *project && one.key.issue == *issue);
        Ok(dropped)
    }

    /// How many attempts were dropped in all, and the bytes of disk that they took.
    pub fn totals(&self) -> Result<(u64, u64), HistoryError> {
        let (earlier, dropped) = self.read()?;
        let bytes: u64 = dropped.iter().map(|one| one.bytes).sum();
        Ok((earlier.earlier_attempts + dropped.len() as u64, earlier.earlier_bytes + bytes))
    }

    /// Length of the file.
    pub(crate) fn length(&self) -> u64 {
        fs::metadata(&self.path).map(|meta| meta.len()).unwrap_or(0)
    }

    /// Notes what is about to be dropped. Whoever calls holds the turn.
    pub(crate) fn note(&self, dropped: &[Dropped]) -> Result<(), HistoryError> {
        if dropped.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for one in dropped {
            push_line(&self.path, &mut text, one)?;
        }
        let mut file = File::options().create(true).append(true).open(&self.path).at(&self.path)?;
        file.write_all(text.as_bytes()).at(&self.path)?;
        drop(file);
        if self.length() > MOST_BYTES { self.forget_half() } else { Ok(()) }
    }

    fn forget_half(&self) -> Result<(), HistoryError> {
        let (mut earlier, dropped) = self.read()?;
        let (old, new) = dropped.split_at(dropped.len() / 2);
        earlier.earlier_attempts += old.len() as u64;
        earlier.earlier_bytes += old.iter().map(|one| one.bytes).sum::<u64>();
        let mut text = String::new();
        push_line(&self.path, &mut text, &earlier)?;
        for one in new {
            push_line(&self.path, &mut text, one)?;
        }
        place::replace(&self.path, text.as_bytes())
    }

    /// All lines. One that was noted twice, because its drop was broken off, counts once; a torn one not at all.
    fn read(&self) -> Result<(Earlier, Vec<Dropped>), HistoryError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Earlier::default(), Vec::new()));
            }
            Err(error) => return Err(error).at(&self.path),
        };
        let (mut earlier, mut dropped) = (Earlier::default(), Vec::<Dropped>::new());
        let mut seen = std::collections::HashSet::new();
        for line in BufReader::new(file).lines() {
            let line = line.at(&self.path)?;
            if let Ok(one) = serde_json::from_str::<Dropped>(&line) {
                if seen.insert((one.key.clone(), one.kept_at)) {
                    dropped.push(one);
                }
            } else if let Ok(count) = serde_json::from_str::<Earlier>(&line) {
                earlier = count;
            }
        }
        Ok((earlier, dropped))
    }
}

fn push_line<T: Serialize>(path: &Path, text: &mut String, value: &T) -> Result<(), HistoryError> {
    let line = serde_json::to_string(value)
        .map_err(|error| HistoryError::Unwritable { path: path.to_owned(), why: error.to_string() })?;
    text.push_str(&line);
    text.push('\n');
    Ok(())
}
