//! Reading and writing the contract's files: whole or not at all, capped, and never through a link.
//!
//! The reader distrusts the writer: the other side of the folder may be an agent that a coding CLI took over.
//! So a file is opened without following a link, must be a regular file, and is cut off at its cap before a
//! byte of it is parsed.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// `tasking.yaml` in the control directory.
pub const TASKING_FILE: &str = "tasking.yaml";
/// `reporting.yaml` in the control directory.
pub const REPORTING_FILE: &str = "reporting.yaml";
/// `events.jsonl` in the control directory.
pub const EVENTS_FILE: &str = "events.jsonl";
/// The folder of raw logs in the control directory.
pub const LOGS_DIR: &str = "logs";
/// The folder of the project's own prompts in the control directory.
pub const PROMPTS_DIR: &str = "prompts";
/// The prompts that a project may replace, each by `<name>.md`.
pub const PROMPT_NAMES: [&str; 11] = [
    "body",
    "task",
    "plan",
    "review",
    "ask",
    "follow-up",
    "interrupted",
    "packet",
    "hand-off",
    "verify-failed",
    "commit-message",
];
/// Cap of one prompt file.
pub const MAX_PROMPT_BYTES: u64 = 64 * 1024;
/// Cap of each YAML file. Higher and a hostile report costs the host memory; lower and long histories do not fit.
pub const MAX_YAML_BYTES: u64 = 1024 * 1024;
/// Cap of one event line.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;
/// How a temp file's name ends; it begins with a dot and the file's own name.
const TEMP_SUFFIX: &str = ".tmp";
/// Names tried for a temp file. A clash of 64 random bits is no accident; more tries would only please an attacker.
const MAX_TEMP_TRIES: u32 = 8;
/// Age at which a temp file is a leftover. Lower could take a living writer's file on a slow disk.
const LEFTOVER_AGE: Duration = Duration::from_secs(600);

/// Why a file of the contract could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there (yet).
    #[error("{path} does not exist")]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// It is a link, a folder, a pipe or a device.
    #[error(
        "{path} is not a regular file; links are refused because the other side could point them anywhere"
    )]
    NotRegular {
        /// Which file.
        path: PathBuf,
    },
    /// It is larger than its cap.
    #[error("{path} is larger than {max} bytes")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The cap.
        max: u64,
    },
    /// It is not UTF-8.
    #[error("{path} is not valid UTF-8 (byte {offset})")]
    NotUtf8 {
        /// Which file.
        path: PathBuf,
        /// The first bad byte.
        offset: usize,
    },
    /// The system refused.
    #[error("cannot read {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads a whole text file of at most `max` bytes, refusing links and everything that is not a regular file.
pub fn read_capped(path: &Path, max: u64) -> Result<String, ReadError> {
    let at = || path.to_path_buf();
    let (file, meta) = open_regular(path)?;
    if meta.len() > max {
        return Err(ReadError::TooLarge { path: at(), max });
    }
    // With room for all of it, and one byte more to see its end, it is read at once and not in small pieces.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).map_or(0, |length| length + 1));
    file.take(max + 1).read_to_end(&mut bytes).map_err(|source| ReadError::Io { path: at(), source })?;
    if bytes.len() as u64 > max {
        return Err(ReadError::TooLarge { path: at(), max });
    }
    String::from_utf8(bytes)
        .map_err(|error| ReadError::NotUtf8 { path: at(), offset: error.utf8_error().valid_up_to() })
}

/// Opens a file for reading without following a link and without waiting for a pipe's other end.
pub(crate) fn open_regular(path: &Path) -> Result<(File, Metadata), ReadError> {
    let at = || path.to_path_buf();
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ReadError::Missing { path: at() });
        }
        Err(source) => {
            // A link answers ELOOP, a socket or a device without a driver ENXIO.
            let special = [Errno::ELOOP as i32, Errno::ENXIO as i32, Errno::ENODEV as i32];
            return Err(match source.raw_os_error() {
                Some(code) if special.contains(&code) => ReadError::NotRegular { path: at() },
                _ => ReadError::Io { path: at(), source },
            });
        }
    };
    let meta = file.metadata().map_err(|source| ReadError::Io { path: at(), source })?;
    if meta.is_file() { Ok((file, meta)) } else { Err(ReadError::NotRegular { path: at() }) }
}

/// Replaces `path` with `content`: temp file in the same folder, fsync, rename, fsync of the folder. The file gets
/// mode 0644 whatever the umask is; a link at `path` is replaced, never followed.
///
/// On an error nothing is left behind and the old file stands as it was, but for one case: the folder's own fsync,
/// which comes after the rename. A killed writer may leave a temp file; a later write removes it.
pub fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the path ends in no file name; name a file in a folder")
    })?;
    sweep_leftovers(dir, name);
    let (temp, file) = create_temp(dir, name)?;
    if let Err(error) = fill(file, content).and_then(|()| fs::rename(&temp, path)) {
        // The write already failed; a temp file that also cannot be removed changes nothing for the reader.
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    match File::open(dir)?.sync_all() {
        // Some network and FUSE file systems cannot sync a folder at all; the rename stands there without it.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
        synced => synced,
    }
}

/// Makes a new file under a name nobody can guess. `O_EXCL` refuses whatever is already there, a planted link too.
fn create_temp(dir: &Path, name: &OsStr) -> io::Result<(PathBuf, File)> {
    let mut tries = 0;
    loop {
        // The standard library's randomly keyed hash: unique enough for a name, and no dependency.
        let salt = RandomState::new().build_hasher().finish();
        let mut temp_name = temp_prefix(name);
        temp_name.push(format!("{salt:016x}{TEMP_SUFFIX}"));
        let temp = dir.join(temp_name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp) {
            Ok(file) => return Ok((temp, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < MAX_TEMP_TRIES => {
                tries += 1
            }
            Err(error) => return Err(error),
        }
    }
}

fn fill(mut file: File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.sync_all()
}

fn temp_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    prefix
}

/// Removes temp files that a killed writer left. Failing at it harms no one: the next write tries again.
fn sweep_leftovers(dir: &Path, name: &OsStr) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let prefix = temp_prefix(name);
    for entry in entries.flatten() {
        let found = entry.file_name();
        let bytes = found.as_bytes();
        let ours = bytes.starts_with(prefix.as_bytes()) && bytes.ends_with(TEMP_SUFFIX.as_bytes());
        if !ours {
            continue;
        }
        // Of the entry itself: a link is not followed.
        let modified = entry.metadata().and_then(|meta| meta.modified());
        if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFTOVER_AGE)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The control directory of one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlDir {
    root: PathBuf,
}

impl ControlDir {
    /// Names the folder; nothing is read or made.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.root
    }
    /// `tasking.yaml`.
    pub fn tasking(&self) -> PathBuf {
        self.root.join(TASKING_FILE)
    }
    /// `reporting.yaml`.
    pub fn reporting(&self) -> PathBuf {
        self.root.join(REPORTING_FILE)
    }
    /// `events.jsonl`.
    pub fn events(&self) -> PathBuf {
        self.root.join(EVENTS_FILE)
    }
    /// `logs/`.
    pub fn logs(&self) -> PathBuf {
        self.root.join(LOGS_DIR)
    }
    /// The raw log of one attempt.
    pub fn log(&self, task: &crate::TaskId, attempt: u32) -> PathBuf {
        self.logs().join(format!("{task}.{attempt}.log"))
    }
    /// What the CLI was told in one attempt.
    pub fn prompt_log(&self, task: &crate::TaskId, attempt: u32) -> PathBuf {
        self.logs().join(format!("{task}.{attempt}.prompt.md"))
    }
    /// `prompts/`, the project's own prompts.
    pub fn prompts(&self) -> PathBuf {
        self.root.join(PROMPTS_DIR)
    }
    /// The project's own prompt of one name, out of [`PROMPT_NAMES`].
    pub fn prompt(&self, name: &str) -> PathBuf {
        self.prompts().join(format!("{name}.md"))
    }
}
