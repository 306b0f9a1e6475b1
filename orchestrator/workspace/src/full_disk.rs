//! Whether a disk is full, and whether that was the reason of a failure.

use std::error::Error;
use std::io;
use std::path::Path;

use git2::ErrorClass;

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

/// Whether one of its causes is the system's word for a full disk: there may be room again by the time that somebody looks.
pub fn is_of_a_full_disk(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if says_so(error) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn says_so(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    }
    if let Some(error) = error.downcast_ref::<git2::Error>() {
        return error.class() == ErrorClass::Os && is_gits_word(error.message());
    }
    match error.downcast_ref::<GitError>() {
        Some(GitError::Failed { stderr, .. }) => stderr.lines().any(is_gits_word),
        _ => false,
    }
}

/// git ends a line with the system's word, and quotes a name that stands there. The disk of the other side is none of ours.
fn is_gits_word(line: &str) -> bool {
    let line = line.trim_end();
    !THEIRS.iter().any(|start| line.starts_with(start)) && WORDS.iter().any(|words| line.ends_with(words))
}

/// What stands before a line that the other side wrote.
const THEIRS: [&str; 2] = ["remote: ", "fatal: remote error: "];
/// ENOSPC and EDQUOT, in the language that git is run with.
const WORDS: [&str; 2] = [": No space left on device", ": Disk quota exceeded"];

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use git2::ErrorCode;
    use rustix::io::Errno;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it is not written")]
    struct Unwritten<E: Error + 'static>(#[source] E);

    #[test]
    fn a_full_disk_is_known_by_the_error_of_the_system_however_deep() {
        let system = |number: Errno| Unwritten(Unwritten(io::Error::from(number)));
        assert!(is_of_a_full_disk(&system(Errno::NOSPC)));
        assert!(is_of_a_full_disk(&system(Errno::DQUOT)));
        assert!(!is_of_a_full_disk(&system(Errno::ACCESS)));
        assert!(!is_of_a_full_disk(&Unwritten(std::fmt::Error)));
    }

    #[test]
    fn it_is_known_by_what_git_says_of_this_machine() {
        assert!(is_gits_word("fatal: unable to write loose object file: No space left on device"));
        assert!(is_gits_word("error: unable to create file src/a b.rs: Disk quota exceeded\r"));
        for theirs in ["remote: fatal: write error", "fatal: remote error: upload-pack: write error"] {
            assert!(!is_gits_word(&format!("{theirs}: No space left on device")), "{theirs}");
        }
        assert!(!is_gits_word("error: invalid path 'x: No space left on device'"), "a name");
        assert!(!is_gits_word("No space left on device"), "a name");
        let failed = |stderr: &str| GitError::Failed {
            step: "fetch",
            status: ExitStatus::from_raw(128 << 8),
            stderr: stderr.into(),
            stdout: Box::default(),
        };
        let full = "fatal: write error: No space left on device\nfatal: index-pack failed";
        assert!(is_of_a_full_disk(&Unwritten(failed(full))));
        assert!(!is_of_a_full_disk(&Unwritten(failed("fatal: not a git repository"))));
        let library = |class, words| Unwritten(git2::Error::new(ErrorCode::GenericError, class, words));
        assert!(is_of_a_full_disk(&library(
            ErrorClass::Os,
            "failed to write chunk: No space left on device"
        )));
        assert!(!is_of_a_full_disk(&library(ErrorClass::Reference, "x: No space left on device")), "a name");
    }

    #[test]
    fn a_disk_that_nobody_can_ask_is_not_called_full() {
        assert!(!disk_is_full(Path::new("/nowhere/at/all")));
    }
}
