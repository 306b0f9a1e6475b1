//! Copies what an agent left in its object folder into a folder of the host's, so that nothing that is checked
//! later can still be changed. Only loose objects and packs by their exact names; indexes, alternates, configuration
//! and everything else there is ignored, and a file that is not plainly a file is a refusal.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use crate::fsops::{self, ReadError};
use crate::ident::is_lower_hex;

/// Limits on the quarantine as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    /// Bytes of all object files together.
    pub(crate) bytes: u64,
    /// Directory entries looked at.
    pub(crate) entries: u64,
}

/// Why the object folder was not copied.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// A name that belongs to an object is a link, a pipe, a device or a folder.
    #[error("{name} in the quarantine is not a regular file")]
    NotAFile {
        /// Relative to the object folder.
        name: String,
    },
    /// A file has a second name, which git never leaves behind.
    #[error("{name} in the quarantine has several names (hard links)")]
    HardLinked {
        /// Relative to the object folder.
        name: String,
    },
    /// More than the cap.
    #[error("the quarantine holds more than {cap} bytes")]
    TooLarge {
        /// The cap.
        cap: u64,
    },
    /// More names than the cap.
    #[error("the quarantine holds more than {cap} names")]
    TooMany {
        /// The cap.
        cap: u64,
    },
    /// It could not be read or copied.
    #[error("cannot copy {name} from the quarantine")]
    Io {
        /// Relative to the object folder.
        name: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Copies object files from `objects` to `into`, an empty folder of the host's. Returns the copied packs.
pub(crate) fn copy(objects: &Path, into: &Path, caps: Caps) -> Result<Vec<PathBuf>, QuarantineError> {
    let top = open(|| fsops::open_dir_path(objects), "objects")?;
    let Some(top) = top else { return Ok(Vec::new()) };
    let mut copier = Copier { into, caps, bytes: 0, entries: 0, packs: Vec::new() };
    for name in copier.names(&top, "objects")? {
        let text = name.name.to_string_lossy();
        let is_fanout = text.len() == 2 && is_lower_hex(text.as_bytes());
        if is_fanout || text == "pack" {
            let Some(folder) = open(|| fsops::open_dir(&top, &name.name), &text)? else { continue };
            copier.copy_folder(&folder, &text, is_fanout)?;
        }
    }
    Ok(copier.packs)
}

/// A folder, or none if it vanished.
fn open(
    opening: impl Fn() -> Result<OwnedFd, Errno>,
    name: &str,
) -> Result<Option<OwnedFd>, QuarantineError> {
    match opening() {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => Err(QuarantineError::NotAFile { name: name.to_owned() }),
        Err(errno) => Err(QuarantineError::Io { name: name.to_owned(), source: errno.into() }),
    }
}

struct Entry {
    name: CString,
    inode: u64,
}

struct Copier<'a> {
    into: &'a Path,
    caps: Caps,
    bytes: u64,
    entries: u64,
    packs: Vec<PathBuf>,
}

impl Copier<'_> {
    fn names(&mut self, folder: &OwnedFd, name: &str) -> Result<Vec<Entry>, QuarantineError> {
        let io = |errno: Errno| QuarantineError::Io { name: name.to_owned(), source: errno.into() };
        let mut names = Vec::new();
        for entry in Dir::read_from(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            self.entries += 1;
            if self.entries > self.caps.entries {
                return Err(QuarantineError::TooMany { cap: self.caps.entries });
            }
            if !fsops::is_dot(entry.file_name()) {
                names.push(Entry { name: entry.file_name().to_owned(), inode: entry.ino() });
            }
        }
        Ok(names)
    }

    fn copy_folder(&mut self, folder: &OwnedFd, under: &str, loose: bool) -> Result<(), QuarantineError> {
        let entries = self.names(folder, under)?;
        let into = self.into.join(under);
        let io = |source| QuarantineError::Io { name: under.to_owned(), source };
        fs::create_dir_all(&into).map_err(io)?;
        for entry in &entries {
            let text = entry.name.to_string_lossy();
            let wanted = if loose { is_loose_name(&text) } else { is_pack_name(&text) };
            if !wanted {
                continue;
            }
            // git makes a loose object by linking its temp file; killed in between, both names remain.
            let twin = entries.iter().any(|other| {
                other.inode == entry.inode && other.name.to_bytes().starts_with(b"tmp_obj_") && loose
            });
            let target = into.join(&*text);
            self.copy_file(folder, &entry.name, &format!("{under}/{text}"), &target, 1 + u64::from(twin))?;
            if !loose {
                self.packs.push(target);
            }
        }
        Ok(())
    }

    fn copy_file(
        &mut self,
        folder: impl AsFd,
        name: &CStr,
        shown: &str,
        target: &Path,
        names: u64,
    ) -> Result<(), QuarantineError> {
        let shown = || shown.to_owned();
        let io = |source| QuarantineError::Io { name: shown(), source };
        let file = match fsops::open_regular(folder, name) {
            Ok(file) => file,
            Err(ReadError::Missing) => return Ok(()),
            Err(ReadError::Io(source)) => return Err(io(source)),
            Err(ReadError::NotAFile | ReadError::TooLarge { .. }) => {
                return Err(QuarantineError::NotAFile { name: shown() });
            }
        };
        if file.metadata().map_err(io)?.nlink() > names {
            return Err(QuarantineError::HardLinked { name: shown() });
        }
        let room = self.caps.bytes.saturating_sub(self.bytes);
        let mut out = fsops::create_new(target, 0o444).map_err(io)?;
        let copied = io::copy(&mut file.take(room + 1), &mut out).map_err(io)?;
        if copied > room {
            return Err(QuarantineError::TooLarge { cap: self.caps.bytes });
        }
        self.bytes += copied;
        Ok(())
    }
}

fn is_loose_name(name: &str) -> bool {
    name.len() == 38 && is_lower_hex(name.as_bytes())
}

fn is_pack_name(name: &str) -> bool {
    let id = name.strip_prefix("pack-").and_then(|rest| rest.strip_suffix(".pack"));
    id.is_some_and(|id| id.len() == 40 && is_lower_hex(id.as_bytes()))
}

/// True if `path` is a folder and no link: the object folder itself.
pub(crate) fn is_folder(path: &Path) -> bool {
    rustix::fs::lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
