//! Where everything lies, and the few ways in.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloud_code_model::{ByteSize, HistorySettings, IssueKey, ProjectName};
use cloud_code_task_schema::{MAX_YAML_BYTES, TaskId, parse_strict, read_capped};
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, FILES};
use crate::attempt::AttemptFile;
use crate::error::At;
use crate::{Drops, HistoryError};

/// The file that ties an attempt together.
pub(crate) const ATTEMPT: &str = "attempt.yaml";
/// What a folder's name begins with while it is being written.
pub(crate) const WRITING: &str = ".writing-";
/// Files here may hold what a task saw.
const FOLDER_MODE: u32 = 0o700;
/// What a file takes at least: a block of the common file systems.
const BLOCK: u64 = 4096;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of disk that all of it takes at most.
    pub max_size: u64,
    /// How long an attempt is kept.
    pub max_age: Duration,
    /// Bytes of one attempt's files before they are compressed; above it they are cut.
    pub max_attempt_size: u64,
}

impl Caps {
    /// The caps of an installation's settings; absent keys take their defaults.
    pub fn of(settings: &HistorySettings) -> Self {
        let bytes = |size: Option<ByteSize>, default: ByteSize| size.unwrap_or(default).bytes();
        Self {
            max_size: bytes(settings.max_size, HistorySettings::MAX_SIZE),
            max_age: settings.max_age.unwrap_or(HistorySettings::MAX_AGE).as_duration(),
            max_attempt_size: bytes(settings.max_attempt_size, HistorySettings::MAX_ATTEMPT_SIZE),
        }
    }
}

/// Names an attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Its project.
    pub project: ProjectName,
    /// Its issue.
    pub issue: IssueKey,
    /// Its task.
    pub task: TaskId,
    /// Which attempt at it.
    pub attempt: u32,
}

/// The history of one installation. Several processes may use it at one time.
#[derive(Debug, Clone)]
pub struct History {
    root: PathBuf,
    caps: Caps,
}

/// An attempt that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What ties it together.
    pub file: AttemptFile,
    folder: PathBuf,
}

impl Kept {
    /// Its files.
    pub fn archive(&self) -> Archive {
        Archive::in_folder(&self.folder)
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl History {
    /// Names it; nothing is read or made.
    pub fn new(root: impl Into<PathBuf>, caps: Caps) -> Self {
        Self { root: root.into(), caps }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How much is kept.
    pub const fn caps(&self) -> &Caps {
        &self.caps
    }

    pub(crate) fn issue_folder(&self, project: &ProjectName, issue: &IssueKey) -> PathBuf {
        self.root.join(project.as_str()).join(issue.as_str())
    }

    pub(crate) fn folder(&self, key: &Key) -> PathBuf {
        self.issue_folder(&key.project, &key.issue).join(format!("{}.{}", key.task, key.attempt))
    }

    /// Whether an attempt is kept.
    pub fn has(&self, key: &Key) -> bool {
        self.folder(key).join(ATTEMPT).is_file()
    }

    /// An attempt; none when it is not kept.
    pub fn attempt(&self, key: &Key) -> Result<Option<Kept>, HistoryError> {
        let folder = self.folder(key);
        if !self.has(key) {
            return Ok(None);
        }
        read_attempt(&folder).map(|file| Some(Kept { file, folder }))
    }

    /// Every attempt of an issue that is kept, as they ended. One that does not read is told and left aside.
    pub fn attempts(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<Kept>, HistoryError> {
        let mut kept = Vec::new();
        for folder in folders(&self.issue_folder(project, issue))? {
            match read_attempt(&folder) {
                Ok(file) => kept.push(Kept { file, folder }),
                Err(error) => tracing::warn!(error = %error, "an attempt of the history is left aside"),
            }
        }
        let order = |kept: &Kept| (kept.file.finished_at, kept.file.task.to_string(), kept.file.attempt);
        kept.sort_by_key(order);
        Ok(kept)
    }

    /// What was dropped.
    pub fn drops(&self) -> Drops {
        Drops::new(&self.root)
    }

    /// Waits for its turn to change the ledger. It ends when the file is dropped.
    pub(crate) fn turn(&self) -> Result<File, HistoryError> {
        make_folder(&self.root)?;
        let path = self.root.join("lock");
        let file = File::options().create(true).append(true).mode(0o600).open(&path).at(&path)?;
        file.lock().at(&path)?;
        Ok(file)
    }
}

/// What an attempt's folder takes on the disk: whole blocks, its own folder and its issue's. More than most file systems
/// need, so that a cap by it is kept on all of them.
pub(crate) fn size_on_disk(folder: &Path) -> Result<u64, HistoryError> {
    let mut bytes = 2 * BLOCK;
    for name in [FILES, ATTEMPT] {
        let path = folder.join(name);
        bytes += fs::metadata(&path).at(&path)?.len().next_multiple_of(BLOCK);
    }
    Ok(bytes)
}

fn read_attempt(folder: &Path) -> Result<AttemptFile, HistoryError> {
    let path = folder.join(ATTEMPT);
    let unreadable = |why: String| HistoryError::Unreadable { path: path.clone(), why };
    let text = read_capped(&path, MAX_YAML_BYTES).map_err(|error| unreadable(error.to_string()))?;
    parse_strict(ATTEMPT, &text).map_err(|problems| unreadable(problems.to_string()))
}

/// The folders in a folder, by name, but for hidden ones; none where it is missing.
pub(crate) fn folders(parent: &Path) -> Result<Vec<PathBuf>, HistoryError> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at(parent),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.at(parent)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && entry.file_type().at(parent)?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn make_folder(path: &Path) -> Result<(), HistoryError> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).at(path)
}

/// Puts a folder's entries on the disk.
pub(crate) fn sync_folder(path: &Path) -> Result<(), HistoryError> {
    match File::open(path).at(path)?.sync_all() {
        // Some network and FUSE file systems cannot sync a folder at all; the rename stands there without it.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => Ok(()),
        synced => synced.at(path),
    }
}

/// Removes a folder of ours; a missing one is success.
pub(crate) fn remove_folder(path: &Path) -> Result<(), HistoryError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.at(path),
    }
}

/// Replaces a file that is derived from others: whole or not at all, and not synced, since it can be made anew.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), HistoryError> {
    let temp = path.with_added_extension("new");
    fs::write(&temp, bytes).at(&temp)?;
    fs::rename(&temp, path).at(path)
}
