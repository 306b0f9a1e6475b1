//! Puts secrets and settings on disk so that they are there after a power cut, and readable by this user alone.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

/// The folder of secrets, below the home folder.
pub(crate) const SECRETS_DIR: &str = "secrets";
const SECRET_FOLDER_MODE: u32 = 0o700;
const SECRET_MODE: u32 = 0o600;
const SETTINGS_MODE: u32 = 0o644;
/// What a replaced secret is kept as: the forge may still know the old one.
const OLD: &str = "old";

/// Writes a secret below the home folder. One that is replaced is kept beside it as `NAME.old`.
pub(crate) fn secret(home: &Path, name: &str, content: &[u8]) -> Result<PathBuf> {
    let folder = home.join(SECRETS_DIR);
    DirBuilder::new()
        .recursive(true)
        .mode(SECRET_FOLDER_MODE)
        .create(&folder)
        .and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(SECRET_FOLDER_MODE)))
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(name);
    match fs::read(&path) {
        Ok(there) if there != content => {
            fs::rename(&path, path.with_added_extension(OLD))
                .with_context(|| format!("cannot keep the old {}", path.display()))?;
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    write(&path, content, SECRET_MODE)?;
    sync_folder(home)?;
    Ok(path)
}

/// Writes a settings file.
pub(crate) fn settings(path: &Path, content: &str) -> Result<()> {
    let folder = path.parent().ok_or_else(|| anyhow!("{} is in no folder", path.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // The person's own choice of who may read it stays.
    let mode = fs::metadata(path).map_or(SETTINGS_MODE, |there| there.permissions().mode() & 0o777);
    write(path, content.as_bytes(), mode)
}

/// A file with what it should hold, or with what it held before: never with half of it.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let temp = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let written = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temp)?;
        // Whatever the umask says.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temp, path)
    };
    if let Err(error) = written() {
        // What is left of a failed attempt is of no use to anybody.
        let _ = fs::remove_file(&temp);
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot bring {} to disk", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_for_this_user_alone_and_an_old_one_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let path = secret(home.path(), "key", b"one").unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        secret(home.path(), "key", b"one").unwrap();
        assert!(!path.with_added_extension("old").exists());
        secret(home.path(), "key", b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let old = path.with_added_extension("old");
        assert_eq!((fs::read(&old).unwrap(), mode(&old)), (b"one".to_vec(), 0o600));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2, "something was left behind");
    }

    #[test]
    fn a_settings_file_keeps_its_mode() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("projects/shop.yaml");
        settings(&path, "a: 1\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        settings(&path, "a: 2\n").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("a: 2\n", 0o640));
    }
}
