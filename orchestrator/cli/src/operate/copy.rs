//! Copies a tree that others write meanwhile, without following them anywhere.
//!
//! Agents own their worktrees, and a backup may run as root: a folder that turns into a symbolic link between two looks must
//! not lead out of the tree. So every step is taken from the open folder above, and no link is followed. `cp -a` was weighed:
//! it fails when a file goes away under it, which an agent's temporary files do all the time, and does not say that this
//! was all.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Sockets, pipes and devices, of which a copy would be none.
    pub(crate) left_out: u64,
}

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}", path.display())]
pub(crate) struct CopyError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn at<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> CopyError {
    move |source| CopyError { doing, path: path.to_owned(), source: source.into() }
}

/// Copies trees, and keeps count.
#[derive(Debug)]
pub(crate) struct Copier {
    /// Only root may give files away.
    keeps_owner: bool,
    pub(crate) copied: Copied,
}

impl Copier {
    pub(crate) fn new() -> Self {
        Self { keeps_owner: nix::unistd::geteuid().is_root(), copied: Copied::default() }
    }

    /// Copies a file, link or whole folder to where nothing is yet. One that is gone is no error.
    pub(crate) fn copy(&mut self, from: &Path, to: &Path) -> Result<(), CopyError> {
        let Some((parent, name)) = from.parent().zip(from.file_name()) else { return Ok(()) };
        let folder = openat(CWD, parent, FOLDER, Mode::empty()).map_err(at("cannot open", parent))?;
        self.entry(&folder, Path::new(name), from, to)
    }

    fn entry(&mut self, folder: &OwnedFd, name: &Path, from: &Path, to: &Path) -> Result<(), CopyError> {
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(at("cannot look at", from)(error)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(folder, name, &stat, from, to),
            FileType::RegularFile => self.file(folder, name, &stat, from, to),
            FileType::Symlink => self.link(folder, name, &stat, from, to),
            FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => {
                self.copied.left_out += 1;
                Ok(())
            }
            FileType::Unknown => Ok(()),
        }
    }

    fn folder(
        &mut self,
        parent: &OwnedFd,
        name: &Path,
        stat: &Stat,
        from: &Path,
        to: &Path,
    ) -> Result<(), CopyError> {
        let Some(folder) = gone(openat(parent, name, FOLDER, Mode::empty()), "cannot open", from)? else {
            return Ok(());
        };
        // Nobody else looks into it before it has its own mode.
        fs::DirBuilder::new().mode(0o700).create(to).map_err(at("cannot make", to))?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder).map_err(at("cannot read", from))? {
            let entry = entry.map_err(at("cannot read", from))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(std::ffi::OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort_by_key(|name| (order(name), name.clone()));
        for name in names {
            let name = Path::new(&name);
            self.entry(&folder, name, &from.join(name), &to.join(name))?;
        }
        self.finish(&File::open(to).map_err(at("cannot open", to))?, stat, to)
    }

    fn file(
        &mut self,
        folder: &OwnedFd,
        name: &Path,
        stat: &Stat,
        from: &Path,
        to: &Path,
    ) -> Result<(), CopyError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let Some(source) = gone(openat(folder, name, flags, Mode::empty()), "cannot open", from)? else {
            return Ok(());
        };
        let mut target = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(at("cannot make", to))?;
        let bytes = io::copy(&mut File::from(source), &mut target).map_err(at("cannot copy", from))?;
        self.copied.files += 1;
        self.copied.bytes += bytes;
        self.finish(&target, stat, to)
    }

    fn link(
        &mut self,
        folder: &OwnedFd,
        name: &Path,
        stat: &Stat,
        from: &Path,
        to: &Path,
    ) -> Result<(), CopyError> {
        let Some(target) = gone(readlinkat(folder, name, Vec::new()), "cannot read", from)? else {
            return Ok(());
        };
        symlink(Path::new(std::ffi::OsStr::from_bytes(target.to_bytes())), to)
            .map_err(at("cannot make", to))?;
        if self.keeps_owner {
            lchown(to, Some(stat.st_uid), Some(stat.st_gid)).map_err(at("cannot give away", to))?;
        }
        self.copied.files += 1;
        Ok(())
    }

    fn finish(&self, made: &File, stat: &Stat, to: &Path) -> Result<(), CopyError> {
        if self.keeps_owner {
            std::os::unix::fs::fchown(made.as_fd(), Some(stat.st_uid), Some(stat.st_gid))
                .map_err(at("cannot give away", to))?;
        }
        // After the owner: a change of owner takes some bits away.
        made.set_permissions(fs::Permissions::from_mode(stat.st_mode & 0o7777))
            .map_err(at("cannot set the mode of", to))?;
        // git compares times before it compares contents.
        let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
        let time = SystemTime::UNIX_EPOCH + seconds + nanos(stat);
        made.set_modified(time).map_err(at("cannot set the time of", to))
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn nanos(stat: &Stat) -> Duration {
    Duration::from_nanos(stat.st_mtime_nsec)
}

/// What went away meanwhile, or turned into something else, was not meant to stay.
fn gone<T>(got: Result<T, Errno>, doing: &'static str, path: &Path) -> Result<Option<T>, CopyError> {
    match got {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::INVAL) => Ok(None),
        Err(error) => Err(at(doing, path)(error)),
    }
}

/// Of a repository the names of commits come before the commits: those that are named are there then, because nothing
/// takes objects out of a mirror. Loose names before the packed ones, so that one that moves over is found in either.
fn order(name: &std::ffi::OsStr) -> u8 {
    match name.as_bytes() {
        b"refs" => 0,
        b"packed-refs" => 1,
        b"objects" => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_copy_has_contents_modes_times_and_links_and_follows_none() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("deep/er")).unwrap();
        fs::write(from.join("deep/er/file"), "words").unwrap();
        fs::set_permissions(from.join("deep/er/file"), fs::Permissions::from_mode(0o444)).unwrap();
        fs::set_permissions(from.join("deep/er"), fs::Permissions::from_mode(0o500)).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        File::open(from.join("deep/er/file")).unwrap().set_modified(old).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "never").unwrap();
        symlink("../outside", from.join("way-out")).unwrap();
        symlink("nowhere", from.join("dangling")).unwrap();
        let _socket = UnixListener::bind(from.join("socket")).unwrap();

        let mut copier = Copier::new();
        copier.copy(&from, &to).unwrap();
        assert_eq!(copier.copied, Copied { files: 3, bytes: 5, left_out: 1 });
        let file = fs::metadata(to.join("deep/er/file")).unwrap();
        assert_eq!(fs::read_to_string(to.join("deep/er/file")).unwrap(), "words");
        assert_eq!((file.mode() & 0o7777, file.modified().unwrap()), (0o444, old));
        assert_eq!(fs::metadata(to.join("deep/er")).unwrap().mode() & 0o7777, 0o500);
        assert_eq!(fs::read_link(to.join("way-out")).unwrap(), Path::new("../outside"));
        assert!(to.join("dangling").is_symlink() && !to.join("socket").exists());
        for folder in [&from, &to] {
            fs::set_permissions(folder.join("deep/er"), fs::Permissions::from_mode(0o700)).unwrap();
        }
    }

    #[test]
    fn what_is_gone_is_no_error_and_what_is_there_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut copier = Copier::new();
        copier.copy(&dir.path().join("gone"), &dir.path().join("to")).unwrap();
        assert_eq!(copier.copied, Copied::default());
        fs::write(dir.path().join("a"), "a").unwrap();
        fs::write(dir.path().join("b"), "b").unwrap();
        assert!(copier.copy(&dir.path().join("a"), &dir.path().join("b")).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "b");
    }
}
