//! What is kept, by the day it was kept: one line an attempt, and the sum of each day.
//!
//! So that a cap can be held without looking at what is kept: the sums say how much there is, and the oldest day's lines
//! say what goes. A table in the database was rejected: the files must be capped also where the database is elsewhere,
//! and a restored backup of it must not forget them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::At;
use crate::place::{self, Key};
use crate::{History, HistoryError};

const FOLDER: &str = "ledger";
const SUMS: &str = "sums.json";
const SUFFIX: &str = ".jsonl";

/// One attempt that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) key: Key,
    pub(crate) at: Timestamp,
    pub(crate) bytes: u64,
}

/// What each day takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub(crate) days: BTreeMap<String, Day>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Day {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    /// Length of the day's file: another one means that the sum is not of what is in it.
    pub(crate) length: u64,
    /// When the first of them was kept.
    pub(crate) first_at: Option<Timestamp>,
}

impl Sums {
    /// Attempts that are kept.
    pub fn count(&self) -> u64 {
        self.days.values().map(|day| day.count).sum()
    }

    /// Bytes of disk that they take, the ledger's own included.
    pub fn bytes(&self) -> u64 {
        self.days.values().map(|day| day.bytes + day.length).sum()
    }
}

/// The ledger of one history. Whoever calls holds the turn.
pub(crate) struct Ledger {
    root: PathBuf,
    folder: PathBuf,
}

impl History {
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger { root: self.root().to_owned(), folder: self.root().join(FOLDER) }
    }

    /// What is kept, by the ledger.
    pub fn sums(&self) -> Result<Sums, HistoryError> {
        let _turn = self.turn()?;
        self.ledger().sums()
    }
}

impl Ledger {
    /// Notes an attempt.
    pub(crate) fn add(&self, entry: &Entry) -> Result<(), HistoryError> {
        if !self.folder.is_dir() {
            // The attempt is in its place already: the walk finds it.
            self.rebuild()?;
            return self.ensure(entry);
        }
        let mut sums = self.sums()?;
        let name = day_of(entry.at);
        let path = self.day_path(&name);
        let line = line_of(&path, entry)?;
        let mut file = File::options().create(true).append(true).open(&path).at(&path)?;
        file.write_all(&line).at(&path)?;
        file.sync_data().at(&path)?;
        let day = sums.days.entry(name).or_default();
        day.take(entry);
        day.length += line.len() as u64;
        self.put_sums(&sums)
    }

    /// Notes an attempt unless that is done.
    pub(crate) fn ensure(&self, entry: &Entry) -> Result<(), HistoryError> {
        let noted = self.day(&day_of(entry.at))?;
        if noted.iter().any(|known| known.key == entry.key) { Ok(()) } else { self.add(entry) }
    }

    /// The attempts of a day, as they were kept. A line that was torn by a crash is none: its attempt is noted again when
    /// its task goes on.
    pub(crate) fn day(&self, name: &str) -> Result<Vec<Entry>, HistoryError> {
        let path = self.day_path(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).at(&path),
        };
        let mut seen = BTreeSet::new();
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
        Ok(entries.filter(|entry| seen.insert(entry.key.clone())).collect())
    }

    /// Replaces the attempts of a day.
    pub(crate) fn put_day(&self, sums: &mut Sums, name: &str, entries: &[Entry]) -> Result<(), HistoryError> {
        let path = self.day_path(name);
        if entries.is_empty() {
            sums.days.remove(name);
            return match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.at(&path),
            };
        }
        let mut text = Vec::new();
        let mut day = Day::default();
        for entry in entries {
            text.extend(line_of(&path, entry)?);
            day.take(entry);
        }
        day.length = text.len() as u64;
        place::replace(&path, &text)?;
        sums.days.insert(name.to_owned(), day);
        Ok(())
    }

    /// The sums; those that are not of what is in the ledger are made anew, and without a ledger all of it.
    pub(crate) fn sums(&self) -> Result<Sums, HistoryError> {
        if !self.folder.is_dir() {
            return self.rebuild();
        }
        let known: Sums = fs::read(self.sums_path())
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let mut sums = Sums::default();
        for (name, length) in self.days()? {
            let day = match known.days.get(&name) {
                Some(day) if day.length == length => *day,
                Some(_) | None => self.recount(&name)?,
            };
            sums.days.insert(name, day);
        }
        Ok(sums)
    }

    pub(crate) fn put_sums(&self, sums: &Sums) -> Result<(), HistoryError> {
        let path = self.sums_path();
        place::replace(&path, &words(&path, sums)?)
    }

    /// A day as it stands in its file, whose last line gets its end if a crash took that.
    fn recount(&self, name: &str) -> Result<Day, HistoryError> {
        let path = self.day_path(name);
        let mut text = fs::read(&path).at(&path)?;
        if text.last().is_some_and(|byte| *byte != b'\n') {
            text.push(b'\n');
            place::replace(&path, &text)?;
        }
        let mut day = Day { length: text.len() as u64, ..Day::default() };
        self.day(name)?.iter().for_each(|entry| day.take(entry));
        Ok(day)
    }

    /// The ledger from what is kept, and the only walk through all of it: there is none yet, or somebody removed it.
    fn rebuild(&self) -> Result<Sums, HistoryError> {
        let mut days: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let history = History::new(&self.root, NO_CAPS);
        for project in place::folders(&self.root)? {
            for issue in place::folders(&project)? {
                let (Some(project), Some(issue)) = (name_of(&project), name_of(&issue)) else { continue };
                for kept in history.attempts(&project, &issue)? {
                    let bytes = place::size_on_disk(kept.folder())?;
                    let entry = Entry { key: kept.file.key(), at: kept.file.kept_at, bytes };
                    days.entry(day_of(entry.at)).or_default().push(entry);
                }
            }
        }
        place::make_folder(&self.folder)?;
        let mut sums = Sums::default();
        for (name, mut entries) in days {
            entries.sort_by_key(|entry| entry.at);
            self.put_day(&mut sums, &name, &entries)?;
        }
        self.put_sums(&sums)?;
        Ok(sums)
    }

    /// The days' files with their lengths.
    fn days(&self) -> Result<Vec<(String, u64)>, HistoryError> {
        let mut days = Vec::new();
        for entry in fs::read_dir(&self.folder).at(&self.folder)? {
            let entry = entry.at(&self.folder)?;
            let file = entry.file_name();
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(SUFFIX)) else { continue };
            days.push((name.to_owned(), entry.metadata().at(&self.folder)?.len()));
        }
        days.sort();
        Ok(days)
    }

    fn day_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }

    fn sums_path(&self) -> PathBuf {
        self.folder.join(SUMS)
    }
}

impl Day {
    fn take(&mut self, entry: &Entry) {
        self.count += 1;
        self.bytes += entry.bytes;
        self.first_at = Some(self.first_at.map_or(entry.at, |first| first.min(entry.at)));
    }
}

/// For reading alone.
const NO_CAPS: place::Caps =
    place::Caps { max_size: u64::MAX, max_age: std::time::Duration::MAX, max_attempt_size: u64::MAX };

/// A folder's name, if it is one that we give.
fn name_of<T: std::str::FromStr>(folder: &Path) -> Option<T> {
    folder.file_name()?.to_str()?.parse().ok()
}

/// The day, in UTC.
pub(crate) fn day_of(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

fn line_of(path: &Path, entry: &Entry) -> Result<Vec<u8>, HistoryError> {
    let mut line = words(path, entry)?;
    line.push(b'\n');
    Ok(line)
}

fn words<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, HistoryError> {
    serde_json::to_vec(value)
        .map_err(|error| HistoryError::Unwritable { path: path.to_owned(), why: error.to_string() })
}
