//! File work in folders that an agent writes: no link is ever followed, nothing read without a cap, and nothing
//! recurses, because an agent chooses the depth.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

/// A folder opened as such: what it names cannot become a link afterwards.
pub(crate) fn open_dir(parent: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a folder by path. Only the last component is protected against links: its parents must be the host's.
pub(crate) fn open_dir_path(path: &Path) -> Result<OwnedFd, Errno> {
    open_dir(rustix::fs::CWD, &c_path(path)?)
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}

/// Why a small file could not be read as one.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("the file is missing")]
    Missing,
    /// It is a link, a folder, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is larger than its kind ever is.
    #[error("it is larger than {cap} bytes")]
    TooLarge {
        /// The cap.
        cap: u64,
    },
    /// The system refused.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

/// Reads a regular file of at most `cap` bytes under `folder`, without following a link or waiting on a pipe.
pub(crate) fn read_small(folder: impl AsFd, name: &CStr, cap: u64) -> Result<Vec<u8>, ReadError> {
    let file = open_regular(folder, name)?;
    let mut bytes = Vec::new();
    file.take(cap + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() as u64 > cap {
        return Err(ReadError::TooLarge { cap });
    }
    Ok(bytes)
}

/// Opens a regular file for reading; a link, pipe, device or folder of that name is refused before it is opened.
pub(crate) fn open_regular(folder: impl AsFd, name: &CStr) -> Result<File, ReadError> {
    let folder = folder.as_fd();
    let from = |errno: Errno| match errno {
        Errno::NOENT => ReadError::Missing,
        Errno::LOOP => ReadError::NotAFile,
        other => ReadError::Io(other.into()),
    };
    // Looked at before opening, because opening a device can act; looked at again after, because it may have changed.
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotAFile);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(from)?);
    if file.metadata().map_err(ReadError::Io)?.is_file() { Ok(file) } else { Err(ReadError::NotAFile) }
}

/// How the name of a file begins that is not whole yet. A killed process leaves it; the sweep knows it by this.
pub(crate) const WRITING_PREFIX: &str = ".writing-";

/// Whether a file is on the disk before it takes its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Yes: a power cut leaves the old one or the new one.
    Now,
    /// No: something later vouches for it, or it is written again when it is not as it must be.
    Later,
}

/// Writes a file whole: temp file in the same folder, rename. A link of that name is replaced, not followed.
pub(crate) fn write_whole(
    path: &Path,
    bytes: &[u8],
    owner: Option<(u32, u32)>,
    sync: Sync,
) -> io::Result<()> {
    write_whole_from(path.parent().unwrap_or(Path::new("/")), path, bytes, owner, sync)
}

/// The same with the temp file in another folder of that disk: in a worktree a killed writer's would be committed.
pub(crate) fn write_whole_from(
    folder: &Path,
    path: &Path,
    bytes: &[u8],
    owner: Option<(u32, u32)>,
    sync: Sync,
) -> io::Result<()> {
    let mut temp = tempfile::Builder::new().prefix(WRITING_PREFIX).tempfile_in(folder)?;
    temp.write_all(bytes)?;
    temp.as_file().set_permissions(Permissions::from_mode(0o644))?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(temp.as_file(), Some(uid), Some(gid))?;
    }
    if sync == Sync::Now {
        temp.as_file().sync_all()?;
    }
    temp.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Waits until the disk has all that was written to the file system of `path`.
pub(crate) fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(open_dir_path(path)?)?)
}

/// Makes a folder with a mode that the umask does not change, and hands it to its owner. An existing folder is
/// taken over; anything else of that name is an error.
pub(crate) fn make_dir(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    if let Err(error) = fs::create_dir(path)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let folder = File::from(open_dir_path(path)?);
    folder.set_permissions(Permissions::from_mode(mode))?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(&folder, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// Gives everything under `path`, and `path` itself, to another user. Links change hands themselves, not their targets.
pub(crate) fn chown_tree(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let opened = open_dir_path(&folder)?;
        rustix::fs::fchown(&opened, Some(uid), Some(gid))?;
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            if is_dot(entry.file_name()) {
                continue;
            }
            if is_dir(&opened, entry.file_name(), entry.file_type())? {
                folders.push(folder.join(OsStr::from_bytes(entry.file_name().to_bytes())));
            } else {
                rustix::fs::chownat(
                    &opened,
                    entry.file_name(),
                    Some(uid),
                    Some(gid),
                    AtFlags::SYMLINK_NOFOLLOW,
                )?;
            }
        }
    }
    Ok(())
}

/// Removes whatever `path` is: a link itself, a file, or a folder with all it holds, of any depth and any mode.
/// A missing path is success.
///
/// Folders are lifted to the top one by one, so neither the stack nor the number of open files grows with depth.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let Ok(stat) = rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW) else {
        return match fs::symlink_metadata(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return fs::remove_file(path);
    }
    let top = open_writable(rustix::fs::CWD, &c_path(path)?)?;
    let mut lifted = 0_u64;
    loop {
        let mut folders = Vec::new();
        clear_files(&top, &mut folders)?;
        if folders.is_empty() {
            break;
        }
        for name in folders {
            let folder = open_writable(&top, &name)?;
            let mut inner = Vec::new();
            clear_files(&folder, &mut inner)?;
            for child in inner {
                lift(&folder, &child, &top, &mut lifted)?;
            }
            rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        }
    }
    fs::remove_dir(path)
}

/// Moves `folder/child` to a free name at the top.
fn lift(folder: &OwnedFd, child: &CStr, top: &OwnedFd, lifted: &mut u64) -> io::Result<()> {
    // Moving a folder rewrites its `..`, which needs write permission on it.
    drop(open_writable(folder, child)?);
    loop {
        *lifted += 1;
        let name = CString::new(format!(".lifted-{lifted}")).unwrap_or_default();
        match rustix::fs::renameat(folder, child, top, &name) {
            Ok(()) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(other) => return Err(other.into()),
        }
    }
}

fn clear_files(folder: &OwnedFd, folders: &mut Vec<CString>) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_dot(name) {
            continue;
        }
        if is_dir(folder, name, entry.file_type())? {
            folders.push(name.to_owned());
        } else {
            match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(other) => return Err(other.into()),
            }
        }
    }
    Ok(())
}

/// Opens a folder after making sure that its owner may list and change it.
fn open_writable(parent: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    let parent = parent.as_fd();
    // O_PATH needs no permission on the folder and cannot be led astray by a link; its /proc name then takes chmod.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&handle)?;
    if stat.st_mode & 0o700 != 0o700 {
        let by_fd = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        fs::set_permissions(by_fd, Permissions::from_mode(0o700))?;
    }
    Ok(open_dir(parent, name)?)
}

fn is_dir(folder: impl AsFd, name: &CStr, kind: FileType) -> io::Result<bool> {
    match kind {
        FileType::Directory => Ok(true),
        FileType::Unknown => {
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        }
        _ => Ok(false),
    }
}

pub(crate) fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Whether a user that is in no other group may reach into every folder above `path` and list `path` itself.
pub(crate) fn reachable_by(path: &Path, (uid, gid): (u32, u32)) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.ancestors().all(|folder| {
        fs::metadata(folder).is_ok_and(|meta| {
            let bit = match (meta.uid() == uid, meta.gid() == gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            meta.mode() & bit != 0
        })
    })
}

/// Opens (or makes) nothing but a new file for the host.
pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(mode).open(path)
}
