//! What this machine may be short of for a while, and whether that was the reason of a failure.
//!
//! Such a failure says nothing of the work at hand: whatever met it is tried again, and must not take "it could not be read"
//! for "it is not there".

use std::error::Error;
use std::io;
use std::path::Path;

use git2::ErrorClass;
use rustix::io::Errno;

use crate::program::GitError;

/// A disk with less than this is full for our purpose: a git object, a log line or a page of the database needs some
/// kilobytes, and none of them fits any more. Higher would blame the disk for other failures.
const FULL_BELOW_BYTES: u64 = 128 * 1024;

/// Whether the disk that holds `path` has no room for anything more.
pub fn disk_is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| {
        disk.f_bavail * disk.f_frsize < FULL_BELOW_BYTES || (disk.f_files > 0 && disk.f_favail == 0)
    })
}

/// What there was not enough of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Room on a disk.
    Disk,
    /// Descriptors, processes or memory.
    System,
}

/// Whether one of its causes is the system's word for a shortage: it may have passed by the time that somebody looks.
pub fn shortage(error: &(dyn Error + 'static)) -> Option<Shortage> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let told = match (error.downcast_ref(), error.downcast_ref(), error.downcast_ref()) {
            (Some(error), _, _) => of_system(error),
            (_, Some(error), _) => of_library(error),
            (_, _, Some(error)) => of_program(error),
            (None, None, None) => None,
        };
        if told.is_some() {
            return told;
        }
        cause = error.source();
    }
    None
}

fn of_system(error: &io::Error) -> Option<Shortage> {
    match (error.kind(), Errno::from_io_error(error)) {
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => Some(Shortage::Disk),
        (io::ErrorKind::OutOfMemory, _) | (_, Some(Errno::MFILE | Errno::NFILE)) => Some(Shortage::System),
        _ => None,
    }
}

fn of_library(error: &git2::Error) -> Option<Shortage> {
    if error.class() == ErrorClass::Os { word(error.message()) } else { None }
}

fn of_program(error: &GitError) -> Option<Shortage> {
    match error {
        // Elsewhere the same word only says that somebody else is first.
        GitError::Spawn { source, .. } if Errno::from_io_error(source) == Some(Errno::AGAIN) => {
            Some(Shortage::System)
        }
        GitError::Failed { stderr, .. } => stderr.lines().find_map(word),
        _ => None,
    }
}

/// git ends a line with the system's word, and quotes a name that stands there. What the other side lacks is none of ours. Of
/// memory git may lack what we do not give it, so that word is about the work.
fn word(line: &str) -> Option<Shortage> {
    let line = line.trim_end();
    let is_theirs = THEIRS.iter().any(|start| line.starts_with(start));
    let known = WORDS.iter().find(|(words, _)| !is_theirs && line.ends_with(words))?;
    Some(known.1)
}

/// What stands before a line that the other side wrote.
const THEIRS: [&str; 2] = ["remote: ", "fatal: remote error: "];
/// ENOSPC, EDQUOT, EMFILE and ENFILE, in the language that git is run with.
const WORDS: [(&str, Shortage); 4] = [
    (": No space left on device", Shortage::Disk),
    (": Disk quota exceeded", Shortage::Disk),
    (": Too many open files", Shortage::System),
    (": Too many open files in system", Shortage::System),
];

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use git2::ErrorCode;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it is not written")]
    struct Unwritten<E: Error + 'static>(#[source] E);

    #[test]
    fn a_shortage_is_known_by_the_error_of_the_system_however_deep() {
        let system = |number: Errno| shortage(&Unwritten(Unwritten(io::Error::from(number))));
        for full in [Errno::NOSPC, Errno::DQUOT] {
            assert_eq!(system(full), Some(Shortage::Disk), "{full}");
        }
        for lacking in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert_eq!(system(lacking), Some(Shortage::System), "{lacking}");
        }
        for other in [Errno::ACCESS, Errno::NOENT, Errno::AGAIN, Errno::LOOP] {
            assert_eq!(system(other), None, "{other}");
        }
        let told = |kind: io::ErrorKind| shortage(&Unwritten(io::Error::from(kind)));
        assert_eq!(told(io::ErrorKind::StorageFull), Some(Shortage::Disk), "without a number");
        assert_eq!(told(io::ErrorKind::OutOfMemory), Some(Shortage::System), "without a number");
        assert_eq!(shortage(&Unwritten(std::fmt::Error)), None);
    }

    #[test]
    fn it_is_known_by_what_git_says_of_this_machine() {
        let loose = "fatal: unable to write loose object file: No space left on device";
        assert_eq!(word(loose), Some(Shortage::Disk));
        assert_eq!(
            word("error: unable to create file src/a b.rs: Disk quota exceeded\r"),
            Some(Shortage::Disk)
        );
        assert_eq!(word("fatal: unable to open 'x': Too many open files"), Some(Shortage::System));
        for theirs in ["remote: fatal: write error", "fatal: remote error: upload-pack: write error"] {
            assert_eq!(word(&format!("{theirs}: No space left on device")), None, "{theirs}");
        }
        for name in ["error: invalid path 'x: No space left on device'", "No space left on device"] {
            assert_eq!(word(name), None, "{name}");
        }
        let failed = |stderr: &str| GitError::Failed {
            step: "fetch",
            status: ExitStatus::from_raw(128 << 8),
            stderr: stderr.into(),
            stdout: Box::default(),
        };
        let full = "fatal: write error: No space left on device\nfatal: index-pack failed";
        assert_eq!(shortage(&Unwritten(failed(full))), Some(Shortage::Disk));
        assert_eq!(shortage(&Unwritten(failed("fatal: not a git repository"))), None);
        let spawn = |errno: Errno| GitError::Spawn { step: "fetch", source: errno.into() };
        assert_eq!(shortage(&spawn(Errno::AGAIN)), Some(Shortage::System));
        assert_eq!(shortage(&spawn(Errno::NOENT)), None);
        let library = |class, words| Unwritten(git2::Error::new(ErrorCode::GenericError, class, words));
        let chunk = "failed to write chunk: No space left on device";
        assert_eq!(shortage(&library(ErrorClass::Os, chunk)), Some(Shortage::Disk));
        assert_eq!(shortage(&library(ErrorClass::Reference, "x: No space left on device")), None, "a name");
    }

    #[test]
    fn a_disk_that_nobody_can_ask_is_not_called_full() {
        assert!(!disk_is_full(Path::new("/nowhere/at/all")));
    }
}
