//! Where PostgreSQL's programs are, and whom they may run as.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian puts them, one folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";
const NEEDED: [&str; 4] = ["initdb", "pg_ctl", "createdb", "psql"];
/// Whom the server may run as when this is root. Debian's package makes the first; the second is everywhere.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// The folder that has all of them.
#[derive(Debug, Clone)]
pub struct Programs {
    /// That folder.
    pub folder: PathBuf,
}

impl Programs {
    /// Looks in `PATH`, asks `pg_config`, and looks where Debian has them, the newest first.
    pub fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let named = std::env::split_paths(&path).collect::<Vec<_>>();
        let told = Command::new("pg_config").arg("--bindir").output().ok();
        let told =
            told.and_then(|told| String::from_utf8(told.stdout).ok()).map(|told| PathBuf::from(told.trim()));
        named
            .into_iter()
            .chain(told)
            .chain(debian())
            .find(|folder| has_all(folder))
            .map(|folder| Self { folder })
    }
}

fn has_all(folder: &Path) -> bool {
    folder.is_absolute() && NEEDED.iter().all(|name| folder.join(name).is_file())
}

fn debian() -> Vec<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<u32> =
        versions.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions.into_iter().map(|version| Path::new(DEBIAN).join(version.to_string()).join("bin")).collect()
}

/// A user and its group by `/etc/passwd`.
pub(crate) fn unprivileged_user() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    USERS.iter().find_map(|name| {
        let mut fields =
            users.lines().map(|line| line.split(':')).find(|line| line.clone().next() == Some(*name))?;
        Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}
