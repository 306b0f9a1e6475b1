//! Files that the agent puts into the CLI's HOME: the prompt, defaults of its settings, what is never committed.
//!
//! HOME belongs to the CLI, which may have put links anywhere in it. So the agent, which may be root, touches it with
//! the rights of the CLI's user only; then a link leads nowhere that user could not go by itself.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cloud_code_task_schema::CliManifest;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

/// Names, below HOME, what the CLI drops into the worktree; git reads it as one more `.gitignore`.
pub(crate) const NEVER_COMMIT: &str = ".cloud-code-never-commit";
/// The folder for temporary files, below HOME, where the system has none.
pub(crate) const TEMP_FOLDER: &str = ".cloud-code-tmp";
/// Caches that no project wants and not every project ignores. A file that git tracks already is not concerned.
const CACHES: [&str; 10] = [
    ".cache/",
    ".DS_Store",
    ".gradle/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".tox/",
    "*.pyc",
    "__pycache__/",
    "node_modules/",
];

/// HOME, and who owns it.
pub(crate) struct Home<'a> {
    pub(crate) path: &'a Path,
    pub(crate) user: Option<(Uid, Gid)>,
}

impl Home<'_> {
    /// Writes a new file, in place of whatever bears the name.
    pub(crate) fn put(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        self.as_owner(|| {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir_all(&path)?,
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            write_new(&path, content)
        })?;
        Ok(path)
    }

    /// Removes what [`Home::put`] wrote. Left behind it would only be untidy.
    pub(crate) fn remove(&self, path: &Path) {
        let _ = self.as_owner(|| fs::remove_file(path));
    }

    /// Writes the manifest's defaults, and the list of what is never committed. Says what could not be written.
    /// `inside` are folders of the agent that lie in the worktree, if any, from its top.
    pub(crate) fn furnish(&self, manifest: &CliManifest, inside: &[String]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut note = |name: &str, result: io::Result<()>| {
            if let Err(error) = result {
                problems.push(format!("{} cannot be written: {error}", self.path.join(name).display()));
            }
        };
        if !crate::preflight::has_temp_folder() {
            note(
                TEMP_FOLDER,
                self.as_owner(|| {
                    DirBuilder::new().recursive(true).mode(0o700).create(self.path.join(TEMP_FOLDER))
                }),
            );
        }
        for (name, content) in &manifest.home_defaults {
            note(name, self.put_default(name, content));
        }
        if let Err(error) = self.renew_never_commit(manifest, inside) {
            note(NEVER_COMMIT, Err(error));
        }
        problems
    }

    /// Writes the list of what is never committed, whatever the CLI made of it: git is about to read it.
    pub(crate) fn renew_never_commit(&self, manifest: &CliManifest, inside: &[String]) -> io::Result<()> {
        let own = inside.iter().map(|folder| format!("/{folder}/\n"));
        let patterns = CACHES.into_iter().chain(manifest.never_commit.iter().map(String::as_str));
        let list: String = own.chain(patterns.map(|pattern| format!("{pattern}\n"))).collect();
        self.put(NEVER_COMMIT, &list).map(drop)
    }

    /// Whether the owner may make files there. None is left behind, nor seen by anybody.
    pub(crate) fn try_writing(&self, folder: &Path) -> io::Result<()> {
        let nameless = nix::libc::O_TMPFILE;
        let made =
            self.as_owner(|| OpenOptions::new().write(true).custom_flags(nameless).mode(0o600).open(folder));
        match made {
            // A file system without nameless files tells nothing; what cannot be written will say so itself.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(nix::libc::EOPNOTSUPP | nix::libc::EISDIR | nix::libc::EINVAL)
                ) =>
            {
                Ok(())
            }
            result => result.map(drop),
        }
    }

    fn put_default(&self, name: &str, content: &str) -> io::Result<()> {
        let path = self.path.join(name);
        if path.symlink_metadata().is_ok() {
            return Ok(());
        }
        self.as_owner(|| {
            if let Some(folder) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
            }
            match write_new(&path, content) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                result => result,
            }
        })
    }

    /// Files are opened with the owner's rights; the agent has one thread, so nobody else is touched.
    fn as_owner<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some((uid, gid)) = self.user else { return act() };
        // The group first: afterwards there is no right left to change it.
        let (old_gid, old_uid) = (setfsgid(gid), setfsuid(uid));
        // The calls tell only what was; a second one tells what is.
        let switched = setfsuid(uid) == uid && setfsgid(gid) == gid;
        let result = if switched { act() } else { Err(io::Error::from(io::ErrorKind::PermissionDenied)) };
        setfsuid(old_uid);
        setfsgid(old_gid);
        result
    }
}

fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(content.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn manifest() -> CliManifest {
        let text = "{name: x, command: [x], home_defaults: {.x/settings.json: '{}'}, never_commit: ['.x*']}";
        cloud_code_task_schema::parse_manifest("cli.yaml", text).unwrap()
    }

    #[test]
    fn defaults_are_written_once_and_the_cli_may_change_them() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home { path: dir.path(), user: None };
        assert_eq!(home.furnish(&manifest(), &[]), Vec::<String>::new());
        fs::write(dir.path().join(".x/settings.json"), "changed").unwrap();
        home.furnish(&manifest(), &[]);
        assert_eq!(fs::read_to_string(dir.path().join(".x/settings.json")).unwrap(), "changed");
        assert!(fs::read_to_string(dir.path().join(NEVER_COMMIT)).unwrap().ends_with("node_modules/\n.x*\n"));
    }

    #[test]
    fn a_planted_link_leads_nowhere_the_owner_could_not_go() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let (dir, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (uid, gid) = (Uid::from_raw(1000), Gid::from_raw(1000));
        nix::unistd::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        symlink(secret.path(), dir.path().join(".x")).unwrap();
        let home = Home { path: dir.path(), user: Some((uid, gid)) };
        let problems = home.furnish(&manifest(), &[]);
        assert!(problems.len() == 1 && problems[0].contains("Permission denied"), "{problems:?}");
        assert_eq!(fs::read_dir(secret.path()).unwrap().count(), 0);
        assert_eq!(fs::metadata(dir.path().join(NEVER_COMMIT)).unwrap().uid(), 1000);
        assert_eq!(fs::metadata(home.put("prompt", "p").unwrap()).unwrap().gid(), 1000);
        let mine = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(fs::metadata(mine.path()).unwrap().uid(), 0);
    }
}
