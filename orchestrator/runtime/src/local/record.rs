//! What is written down of a local container, in a folder of its own: `container.json` (who it is, which process),
//! `exit.json` (how that process ended), `output.log`. Each file has one writer and is replaced whole.
//!
//! `container.json` is not synced: it speaks of processes, none of which outlives a power cut, and two waits for the disk
//! a write are most of what a start takes. One whose text never reached the disk says so by being torn, and means nothing
//! where nothing runs that carries its mark. How a process ended is synced: that is worth knowing on the next boot too.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cloud_code_task_schema::{ReadError, read_capped, write_atomic};
use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::mark::Mark;
use super::process::{ProcessId, ProcessTable};
use crate::{ContainerSpec, Exit, Labels, RuntimeError, Stdin};

const RECORD: &str = "container.json";
const EXIT: &str = "exit.json";
const OUTPUT: &str = "output.log";

/// Bytes: a record holds a command line and an environment, both far below this; more is not ours.
const MAX_RECORD_BYTES: u64 = 1024 * 1024;

/// Only this user: the records show what runs, the output what it said.
const PRIVATE: u32 = 0o700;

/// Docker's rule for names, so that a name that works here works there.
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 2..=128;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) command: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) working_dir: Option<PathBuf>,
    pub(super) stdin: Stdin,
    pub(super) phase: Phase,
}

/// How far it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// Never started.
    Created,
    /// About to be started. Stays only if the orchestrator died in that moment; then the mark tells whether it was.
    Starting,
    /// Started as this process.
    Started(Run),
}

/// One start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) process: ProcessId,
    pub(super) started_at: Option<Timestamp>,
}

/// `exit.json`: the end of a run, with the run, so that it is never read as the end of another one.
#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    run: Run,
    exit: Exit,
    /// Whether all that the agent had started was seen to be gone. An older version does not say so.
    #[serde(default)]
    swept: bool,
}

impl Record {
    pub(super) fn of(spec: &ContainerSpec) -> Result<Self, RuntimeError> {
        if spec.command.is_empty() {
            return Err(RuntimeError::Refused {
                doing: "creating a local agent",
                message: "it has no command".to_owned(),
            });
        }
        Ok(Self {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            command: spec.command.clone(),
            env: spec.env.clone(),
            working_dir: spec.working_dir.clone(),
            stdin: spec.stdin,
            phase: Phase::Created,
        })
    }

    /// The run, if there is one. A record that stayed at "starting" is resolved by looking for the agent: the process
    /// that carries the mark and leads its session.
    pub(super) fn running_or_orphaned(&self, folder: &Folder) -> Option<Run> {
        match &self.phase {
            Phase::Created => None,
            Phase::Started(run) => Some(run.clone()),
            Phase::Starting => {
                let table = ProcessTable::read();
                let mark = folder.mark();
                let mut leaders =
                    table.alive().filter(|(pid, stat)| stat.session == *pid && mark.is_on(*pid));
                // The CLI leads sessions of its own; the agent is the oldest of them.
                let first = leaders.by_ref().min_by_key(|(pid, stat)| (stat.started_ticks, *pid))?;
                Some(Run { process: ProcessId::of(first.0)?, started_at: None })
            }
        }
    }

    pub(super) fn process(&self) -> Option<&ProcessId> {
        match &self.phase {
            Phase::Started(run) => Some(&run.process),
            Phase::Created | Phase::Starting => None,
        }
    }

    pub(super) fn started_at(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Started(run) => run.started_at,
            Phase::Created | Phase::Starting => None,
        }
    }
}

/// Makes the folder of all records and gives its real path.
pub(super) fn prepare(state_dir: &Path) -> Result<PathBuf, RuntimeError> {
    let make = || {
        fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(state_dir)?;
        fs::set_permissions(state_dir, fs::Permissions::from_mode(PRIVATE))?;
        fs::canonicalize(state_dir)
    };
    make().map_err(|source| RuntimeError::State { path: state_dir.to_path_buf(), source })
}

/// What the name of a folder begins with that is half made, or half removed; our process id follows.
const NEW: &str = ".new-";
const OLD: &str = ".old-";

fn scratch_prefix(what: &str) -> String {
    format!("{what}{}-", std::process::id())
}

/// Removes the folders that killed processes left half made or half removed, and those whose record a power cut took. The
/// name tells whose a half-made one was; where that number is in use again, the folder waits for another start.
pub(super) fn sweep(state_dir: &Path) -> Result<(), RuntimeError> {
    let failed = |source| RuntimeError::State { path: state_dir.to_path_buf(), source };
    for entry in fs::read_dir(state_dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let of = name.to_str().and_then(|name| name.strip_prefix(NEW).or_else(|| name.strip_prefix(OLD)));
        let Some(of) = of else { continue };
        let maker = of.split_once('-').and_then(|(pid, _)| pid.parse::<i32>().ok());
        let is_alive = maker.is_some_and(|pid| ProcessId::of(pid).is_some());
        if is_alive {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            // Another process that starts does the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(failed)?,
        }
    }
    for name in names(state_dir)? {
        if let Some(folder) = Folder::named(state_dir, &name)
            && matches!(folder.read(), Ok(None))
        {
            folder.remove()?;
        }
    }
    Ok(())
}

/// Names of all records, in order; folders half made or half removed are not among them.
pub(super) fn names(state_dir: &Path) -> Result<Vec<String>, RuntimeError> {
    let failed = |source| RuntimeError::State { path: state_dir.to_path_buf(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(state_dir).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok().filter(|name| is_name(name)));
    }
    names.sort();
    Ok(names)
}

fn is_name(name: &str) -> bool {
    NAME_LENGTHS.contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// The folder of one container, which may not exist.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    state_dir: PathBuf,
    name: String,
}

impl Folder {
    /// `None` for a name that could not have been created, such as one that leaves the state folder.
    pub(super) fn named(state_dir: &Path, name: &str) -> Option<Self> {
        is_name(name).then(|| Self { state_dir: state_dir.to_path_buf(), name: name.to_owned() })
    }

    fn path(&self) -> PathBuf {
        self.state_dir.join(&self.name)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark::of(&self.path())
    }

    /// The value of the mark's variable.
    pub(super) fn mark_value(&self) -> PathBuf {
        self.path()
    }

    pub(super) fn output(&self) -> PathBuf {
        self.path().join(OUTPUT)
    }

    /// Makes the folder with its record in one step; false when the name is taken.
    pub(super) fn create(&self, record: &Record) -> Result<bool, RuntimeError> {
        let state = |path: &Path, source| RuntimeError::State { path: path.to_path_buf(), source };
        let draft = tempfile::Builder::new()
            .prefix(&scratch_prefix(NEW))
            .tempdir_in(&self.state_dir)
            .map_err(|source| state(&self.state_dir, source))?;
        replace(&draft.path().join(RECORD), record)?;
        let is_taken = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
        };
        let mut moved = fs::rename(draft.path(), self.path());
        if moved.as_ref().is_err_and(is_taken) && self.read()?.is_none() {
            self.remove()?;
            moved = fs::rename(draft.path(), self.path());
        }
        match moved {
            Ok(()) => {
                // Renamed away: nothing is left for the guard to remove.
                let _ = draft.keep();
                Ok(true)
            }
            Err(error) if is_taken(&error) => Ok(false),
            Err(source) => Err(state(&self.path(), source)),
        }
    }

    /// None also for one that a power cut took.
    pub(super) fn read(&self) -> Result<Option<Record>, RuntimeError> {
        let path = self.path().join(RECORD);
        match read_json(&path) {
            Err(RuntimeError::StateCorrupt { .. }) if is_torn(&path) && !self.is_marked() => Ok(None),
            read => read,
        }
    }

    /// Whether anything runs that was started here.
    fn is_marked(&self) -> bool {
        let mark = self.mark();
        ProcessTable::read().alive().any(|(pid, _)| mark.is_on(pid))
    }

    pub(super) fn write(&self, record: &Record) -> Result<(), RuntimeError> {
        replace(&self.path().join(RECORD), record)
    }

    /// How that run ended, if it was written down.
    pub(super) fn read_exit(&self, run: &Run) -> Result<Option<Exit>, RuntimeError> {
        let ended: Option<Ended> = read_json(&self.path().join(EXIT))?;
        Ok(ended.filter(|ended| ended.run.process == run.process).map(|ended| ended.exit))
    }

    /// Writes down how a run ended, and whether nothing of it is left.
    pub(super) fn write_exit(&self, run: &Run, exit: &Exit, swept: bool) -> Result<(), RuntimeError> {
        replace_and_sync(&self.path().join(EXIT), &Ended { run: run.clone(), exit: exit.clone(), swept })
    }

    /// Whether nothing that was ever started here can still live: a look at every process of the machine is spared then.
    pub(super) fn is_over(&self, record: &Record) -> Result<bool, RuntimeError> {
        match &record.phase {
            Phase::Created => Ok(true),
            Phase::Starting => Ok(false),
            Phase::Started(run) => {
                let ended: Option<Ended> = read_json(&self.path().join(EXIT))?;
                Ok(ended.is_some_and(|ended| ended.swept && ended.run.process == run.process))
            }
        }
    }

    pub(super) fn forget_exit(&self) -> Result<(), RuntimeError> {
        let path = self.path().join(EXIT);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RuntimeError::State { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes the folder out of sight in one step, then deletes it.
    pub(super) fn remove(&self) -> Result<(), RuntimeError> {
        let state = |path: PathBuf| move |source| RuntimeError::State { path, source };
        let bin = tempfile::Builder::new()
            .prefix(&scratch_prefix(OLD))
            .tempdir_in(&self.state_dir)
            .map_err(state(self.state_dir.clone()))?;
        match fs::rename(self.path(), bin.path().join(&self.name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(state(self.path()))?,
        }
        bin.close().map_err(state(self.path()))
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RuntimeError> {
    let corrupt = |reason: String| RuntimeError::StateCorrupt { path: path.to_path_buf(), reason };
    let text = match read_capped(path, MAX_RECORD_BYTES) {
        Ok(text) => text,
        Err(ReadError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(corrupt(error.to_string())),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| corrupt(error.to_string()))
}

/// Whether a file holds the beginning of a record at the most, as one does that was never synced.
fn is_torn(path: &Path) -> bool {
    let text = read_capped(path, MAX_RECORD_BYTES).unwrap_or_default();
    let text = text.trim_end_matches('\0');
    text.is_empty() || serde_json::from_str::<IgnoredAny>(text).is_err_and(|error| error.is_eof())
}

fn json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, RuntimeError> {
    let failed =
        |error: serde_json::Error| RuntimeError::State { path: path.to_path_buf(), source: error.into() };
    serde_json::to_vec_pretty(value).map_err(failed)
}

/// Replaces a file whole and waits until the disk has it.
fn replace_and_sync<T: Serialize>(path: &Path, value: &T) -> Result<(), RuntimeError> {
    let text = json(path, value)?;
    write_atomic(path, &text).map_err(|source| RuntimeError::State { path: path.to_path_buf(), source })
}

/// Replaces a file whole and waits for nothing.
fn replace<T: Serialize>(path: &Path, value: &T) -> Result<(), RuntimeError> {
    let text = json(path, value)?;
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut temp = tempfile::NamedTempFile::new_in(folder)?;
        temp.write_all(&text)?;
        temp.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|source| RuntimeError::State { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_half_made_goes_and_a_living_ones_stays() {
        let dir = tempfile::tempdir().unwrap();
        let dead = i32::MAX;
        let goes = [
            format!("{NEW}{dead}-a"),
            format!("{OLD}{dead}-b"),
            format!("{NEW}abcdef"),
            "no-record".to_owned(),
        ];
        let stays = [format!("{}c", scratch_prefix(NEW)), "cloud-code-x-1".to_owned()];
        for name in goes.iter().chain(&stays) {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("cloud-code-x-1").join(RECORD), "of another version").unwrap();
        sweep(dir.path()).unwrap();
        assert!(!goes.iter().any(|name| dir.path().join(name).exists()));
        assert!(stays.iter().all(|name| dir.path().join(name).exists()));
    }
}
