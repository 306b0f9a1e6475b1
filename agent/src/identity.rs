//! Who the agent is and as whom the CLI runs.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, geteuid, getpid, setgroups};

/// Where names of users stand.
const PASSWD: &str = "/etc/passwd";
/// The name given to a uid that has none.
const FALLBACK_NAME: &str = "cloud-code";

/// Why the CLI cannot run as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// Only root can become somebody else.
    #[error(
        "--user {wanted} needs root, and the agent runs as uid {own}: leave --user out to run the CLI as that user"
    )]
    NotRoot {
        /// The wanted uid.
        wanted: Uid,
        /// The agent's.
        own: Uid,
    },
    /// The kernel refused.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: nix::Error,
    },
}

/// As whom the CLI runs.
#[derive(Debug, Clone)]
pub(crate) struct CliUser {
    /// `None`: as the agent itself.
    pub(crate) switch_to: Option<(Uid, Gid)>,
    /// Its login name.
    pub(crate) name: String,
}

/// A new UUID: the kernel's own generator.
pub(crate) fn new_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() {
        // Without /proc: unique enough, in the form of a UUID of version 8 (made in a way of one's own).
        let time = jiff::Timestamp::now().as_nanosecond().unsigned_abs();
        let (high, low) = (time >> 48 & 0xffff_ffff, time & 0xffff_ffff_ffff);
        format!("{high:08x}-{:04x}-8000-8000-{low:012x}", std::process::id() & 0xffff)
    } else {
        id.to_owned()
    }
}

/// Takes the role of a reaper, gives up the way to more privileges, and closes inherited files to children.
pub(crate) fn take_role() -> Result<(), IdentityError> {
    if getpid().as_raw() != 1 {
        prctl::set_child_subreaper(true)
            .map_err(|source| IdentityError::Kernel { what: "become a child subreaper", source })?;
    }
    prctl::set_no_new_privs().map_err(|source| IdentityError::Kernel { what: "set no_new_privs", source })?;
    close_inherited_files_on_exec();
    Ok(())
}

/// Gives up the groups that root came with: files are opened for the CLI's user with its own group only.
fn leave_groups() -> Result<(), IdentityError> {
    setgroups(&[]).map_err(|source| IdentityError::Kernel { what: "leave the supplementary groups", source })
}

/// Settles as whom the CLI runs.
pub(crate) fn cli_user(wanted: Option<(Uid, Gid)>, home: &Path) -> Result<CliUser, IdentityError> {
    let own = geteuid();
    // Names in it may be of any encoding; uids are digits.
    let passwd = String::from_utf8_lossy(&std::fs::read(PASSWD).unwrap_or_default()).into_owned();
    let uid = wanted.map_or(own, |(uid, _)| uid);
    if let Some((wanted, _)) = wanted.filter(|(wanted, _)| !own.is_root() && *wanted != own) {
        return Err(IdentityError::NotRoot { wanted, own });
    }
    let switch_to = wanted.filter(|_| own.is_root());
    if switch_to.is_some() {
        leave_groups()?;
    }
    let name = match name_of(&passwd, uid) {
        Some(name) => name,
        None => {
            if let (1, Some((uid, gid))) = (getpid().as_raw(), switch_to) {
                // A read-only root file system is no failure: node and ssh complain, the rest works.
                let _ = add_to_passwd(uid, gid, home, &passwd);
            }
            FALLBACK_NAME.to_owned()
        }
    };
    Ok(CliUser { switch_to, name })
}

fn name_of(passwd: &str, uid: Uid) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid.as_raw())).then(|| name.to_owned())
    })
}

/// Only as PID 1, that is in a container: on a host the file is not ours.
fn add_to_passwd(uid: Uid, gid: Gid, home: &Path, passwd: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o644).open(PASSWD)?;
    let newline = if passwd.is_empty() || passwd.ends_with('\n') { "" } else { "\n" };
    let home = home.display().to_string();
    if home.contains([':', '\n']) {
        return Err(io::Error::other("the home directory's name does not fit a line of /etc/passwd"));
    }
    let shell = crate::environment::shell();
    file.write_all(format!("{newline}{FALLBACK_NAME}:x:{uid}:{gid}::{home}:{shell}\n").as_bytes())
}

/// Whoever started the agent may have left files open; no child may inherit them.
fn close_inherited_files_on_exec() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        set_close_on_exec(fd);
    }
}

#[expect(unsafe_code, reason = "an inherited descriptor exists only as a number")]
fn set_close_on_exec(fd: RawFd) {
    // SAFETY: the number was just listed as open and is borrowed for this one call, which neither reads, writes nor
    // closes it; a number that was closed meanwhile (the listing's own) only makes the call fail.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let _ = fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_uid() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nnode:x:1000:1000::/home/node:/bin/bash\n";
        assert_eq!(name_of(passwd, Uid::from_raw(1000)).as_deref(), Some("node"));
        assert_eq!(name_of(passwd, Uid::from_raw(1001)), None);
    }
}
